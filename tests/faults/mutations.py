"""Seeded damage to files of every kind that a user hands over, and the readers that must survive it.

    python -m tests.faults.mutations SEED SECONDS

prints one JSON object: how many files of each kind were read, and what went wrong, each with the seed that makes it
again. A case is known to the parent while it runs, so that a crash or a hang is one too.
"""

from __future__ import annotations

import io
import json
import re
import signal
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from restore.errors import RestoreError
from tests import corpus

MOST_SECONDS, MOST_MEMORY = 10, 1 << 30
"""Of one file: wall clock, and bytes above what the process had before the first one."""
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
CONFIG = """\
name: tiny
model: {name: plain_unet, arguments: {widths: [4], blocks: [1]}}
objective: {losses: {l1: 1.0, ssim: {weight: 0.2}}}
degradation: {name: noise, arguments: {weights: {gaussian: 1.0}}}
data: &data {crop: 16, held_out: 1, train: [photos], scales: [1.0, 0.5]}
train: {steps: 12, batch: 2, learning_rate: 1e-3, betas: [0.9, 0.99], budget: 2h}
"""


@dataclass(frozen=True)
class Kind:
    """Whole files of one kind by name, and what reads them."""

    files: dict[str, bytes]
    read: Callable[[Path], object]


def kinds() -> dict[str, Kind]:
    """All kinds of files."""
    return {
        "pictures": Kind(_pictures(), _read_picture),
        "psfs": Kind(_psfs(), _read_psf),
        "configs": Kind({"tiny.yaml": CONFIG.encode()}, _read_config),
        "weights": Kind(_weights(), _read_weights),
        "checkpoints": Kind({"checkpoint_00000001.pt": _checkpoint()}, _read_checkpoint),
        "ledgers": Kind({"restore-ledger.jsonl": _ledger()}, _read_ledger),
        "wheels": Kind({"net.whl": _wheel()}, _import_weights),
    }


# --- whole files ---------------------------------------------------------------------------------------------


def _pictures() -> dict[str, bytes]:
    deep = corpus.pattern(dtype="uint16")
    files = {f"a.{extension}": corpus.encoded(extension) for extension in corpus.FORMATS}
    files |= {f"{name}.tif": corpus.encoded("tif", compression=name) for name in ("tiff_lzw", "jpeg", "packbits")}
    files["deep.tif"] = corpus.encoded("tif", deep)
    files["grey.png"] = corpus.encoded("png", corpus.pattern(samples=1))
    files["alpha.png"] = corpus.encoded("png", corpus.pattern(samples=4))
    files["exif.jpg"] = corpus.encoded("jpg", exif=corpus.exif(6, gps=True))
    return files


def _saved(save: Callable[..., None], *arrays: Any, **named: Any) -> bytes:
    buffer = io.BytesIO()
    save(buffer, *arrays, **named)
    return buffer.getvalue()


def _psfs() -> dict[str, bytes]:
    psf = np.outer(np.hanning(9), np.hanning(9))
    grid = np.broadcast_to(psf, (2, 2, 9, 9))
    return {
        "k.npy": _saved(np.save, psf), "k.png": corpus.encoded("png", (psf * 255).astype("uint8")),
        "k.npz": _saved(np.savez, psfs=grid), "c.npz": _saved(np.savez_compressed, psfs=grid),
    }  # fmt: skip


def _weights() -> dict[str, bytes]:
    import torch

    from restore.zoo.weights import save_weights
    from tests.zoo.tiny import ARGUMENTS, CARD, tiny

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.safetensors"
        save_weights(path, tiny(), "plain_unet", ARGUMENTS, CARD)
        ours = path.read_bytes()
    state = tiny().state_dict()
    old = partial(torch.save, _use_new_zipfile_serialization=False)
    return {
        "tiny.safetensors": ours,
        "tiny.pth": _saved(lambda file: torch.save(state, file)),
        "old.pth": _saved(lambda file: old(state, file)),
    }


def _checkpoint() -> bytes:
    import torch

    state = {"progress": {"step": 3}, "facts": {"machine": "this"}, "average": {"w": torch.ones(40)}}
    return _saved(lambda file: torch.save(state, file))


def _ledger() -> bytes:
    done = {"sha256": "ab" * 32, "bytes": 7, "path": "a.png"}
    lines = [
        {"start": {"pid": 7, "time": "2026-01-31T00:00:00+00:00"}},
        {"status": "ok", "inputs": ["a.png"], "outputs": {"result": done}, "key": "cd" * 32},
        {"status": "failed", "inputs": ["b.png"], "error": {"code": "E_DECODE", "line": "b.png: damaged"}},
    ]  # fmt: skip
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def _wheel() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("net/net.onnx", bytes(5000))
        archive.writestr("net/__init__.py", b"")
    return buffer.getvalue()


# --- their readers -------------------------------------------------------------------------------------------


def _read_picture(path: Path) -> object:
    from restore.io import read_picture
    from restore.io.options import ReadOptions

    return read_picture(path, ReadOptions(max_pixels=4_000_000))


def _read_psf(path: Path) -> object:
    from restore.engines.deconv.psf import load_psf

    return load_psf(path)


def _read_config(path: Path) -> object:
    from restore.cli.train import resolved

    return resolved(str(path), [])


def _read_weights(path: Path) -> object:
    from restore.zoo.weights import read_network

    return read_network(path, None if path.suffix == ".safetensors" else "plain_unet", _tiny_arguments(path))


def _tiny_arguments(path: Path) -> dict[str, Any] | None:
    from tests.zoo.tiny import ARGUMENTS

    return None if path.suffix == ".safetensors" else ARGUMENTS


def _read_checkpoint(path: Path) -> object:
    from restore.training.checkpoint import load_checkpoint

    return load_checkpoint(path.parent)


def _read_ledger(path: Path) -> object:
    from restore.inference.ledger import Ledger

    with Ledger(path.parent, resume=True) as ledger:
        return ledger.history and ledger.history.is_done("cd" * 32, {})


def _import_weights(path: Path) -> object:
    from restore.zoo.backbones import import_file

    return import_file(path)


# --- damage --------------------------------------------------------------------------------------------------


def damaged(data: bytes, rng: np.random.Generator, others: list[bytes]) -> bytes:
    """The same bytes with one to three accidents."""
    is_text = data.isascii() and rng.random() < 0.8
    for _ in range(int(rng.integers(1, 4))):
        how = _odd_word if is_text else _ACCIDENTS[rng.integers(len(_ACCIDENTS))]
        data = how(bytearray(data), rng, others)
    return data


def _odd_word(data: bytearray, rng: np.random.Generator, others: list[bytes]) -> bytes:
    """Of a text: another word in the place of one."""
    words = list(re.finditer(rb"[\w.]+", data))
    start, end = words[rng.integers(len(words))].span() if words else (0, 0)
    return bytes(data[:start] + _WORDS[rng.integers(len(_WORDS))] + data[end:])


def _flip(data: bytearray, rng: np.random.Generator, others: list[bytes]) -> bytes:
    for place in rng.integers(0, max(len(data), 1), int(rng.integers(1, 9))):
        if len(data):
            data[place] ^= 1 << int(rng.integers(8))
    return bytes(data)


def _cut(data: bytearray, rng: np.random.Generator, others: list[bytes]) -> bytes:
    return bytes(data[: int(rng.integers(0, len(data) + 1))])


def _insert(data: bytearray, rng: np.random.Generator, others: list[bytes]) -> bytes:
    place, piece = int(rng.integers(0, len(data) + 1)), _PIECES[rng.integers(len(_PIECES))]
    times = int(rng.integers(1, 400 if rng.random() < 0.8 else 40_000))
    return bytes(data[:place] + piece * times + data[place:])


def _swap_header(data: bytearray, rng: np.random.Generator, others: list[bytes]) -> bytes:
    other, length = others[rng.integers(len(others))], int(rng.integers(1, 65))
    return other[:length] + bytes(data[length:])


def _extreme_number(data: bytearray, rng: np.random.Generator, others: list[bytes]) -> bytes:
    size, order = int(rng.choice([1, 2, 4])), rng.choice(["little", "big"])
    near_start = len(data) if rng.random() < 0.3 else min(len(data), 400)
    place = int(rng.integers(0, max(near_start - size, 1)))
    value = EXTREMES[rng.integers(len(EXTREMES))] & (256**size - 1)
    data[place : place + size] = value.to_bytes(size, str(order))  # type: ignore[arg-type]
    return bytes(data)


def _repeat(data: bytearray, rng: np.random.Generator, others: list[bytes]) -> bytes:
    start, end = sorted(int(place) for place in rng.integers(0, len(data) + 1, 2))
    return bytes(data[:end] + data[start:end] * int(rng.integers(1, 4)) + data[end:])


_ACCIDENTS = (_flip, _flip, _cut, _insert, _swap_header, _extreme_number, _extreme_number, _repeat)
_PIECES = (
    b"\0",
    b"\xff",
    b"9",
    b"[",
    b"{",
    b"(",
    b"\n",
    b" ",
    b"*a ",
    b"&a ",
    b"- ",
    b"PK\x03\x04",
    b"\x80\x02",
    b"%n",
)


_WORDS = (
    b"[]", b"{}", b"null", b"-1", b"0", b"1e999", b"nan", b".inf", b"-.inf", b"9" * 5000, b"9" * 400, b"1" + b"0" * 14,
    b"../..", b"/dev/zero", b"true", b"\"\\0\"", b"a.py:B", b"os:system", b"[1, 2, 3]", b"{a: {b: 1}}", b"x" * 300,
    b"[" * 3000 + b"]" * 3000, b"&z [*z]", b"!!python/object:os.system", b"0.5", b"1.5", b"''",
)  # fmt: skip
# --- the run -------------------------------------------------------------------------------------------------


def cases(seed: int) -> Iterator[tuple[str, str, int]]:
    """(kind, file, seed) for ever, every kind as often as the others."""
    names = {kind: cycle(sorted(entry.files)) for kind, entry in kinds().items()}
    for number, kind in enumerate(cycle(names)):
        yield kind, next(names[kind]), seed + number


def problem(kind: Kind, name: str, seed: int, folder: Path, others: list[bytes]) -> str:
    """What is wrong with how one damaged file was taken, "" if nothing is."""
    path = folder / name
    path.write_bytes(damaged(kind.files[name], np.random.default_rng(seed), others))
    started = time.monotonic()
    try:
        with _alarm():
            kind.read(path)
    except RestoreError as error:
        if name not in str(error):
            return f"the file is not named: {error}"
    except TimeoutError:
        return "took too long"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"[:300]
    finally:
        path.unlink(missing_ok=True)
    return "took too long" if time.monotonic() - started > MOST_SECONDS else ""


@contextmanager
def _alarm() -> Iterator[None]:
    """Raises `TimeoutError` where Python code takes too long; the parent ends what does not come back to Python."""

    def late(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(MOST_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def peak_memory() -> int:
    """The most bytes this process had."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def run(seed: int, seconds: float, tell: Callable[[str], None]) -> dict[str, Any]:
    """Read damaged files for some seconds. `tell` is called with each case before it is read."""
    every, counts, wrong = kinds(), dict.fromkeys(kinds(), 0), []
    others = [data for kind in every.values() for data in kind.files.values()]
    with tempfile.TemporaryDirectory() as folder:
        for kind in every.values():  # what the first whole file of a kind imports is not the damaged one's
            for name, data in kind.files.items():
                (Path(folder) / name).write_bytes(data)
                with suppress(RestoreError):  # a wheel without the known network
                    kind.read(Path(folder) / name)
                (Path(folder) / name).unlink()
        before, end = peak_memory(), time.monotonic() + seconds
        for kind, name, number in cases(seed):
            if time.monotonic() > end:
                break
            case = f"{kind} {name} {number}"
            tell(case)
            what = problem(every[kind], name, number, Path(folder), others)
            if not what and peak_memory() - before > MOST_MEMORY:
                what, before = f"took {peak_memory() - before:,} bytes", peak_memory()
            counts[kind] += 1
            wrong += [f"{case}: {what}"] if what else []
    return {"read": counts, "wrong": wrong}


if __name__ == "__main__":

    def note(case: str) -> None:
        sys.stderr.write(f"{case}\n")
        sys.stderr.flush()

    sys.stdout.write(json.dumps(run(int(sys.argv[1]), float(sys.argv[2]), note)))
