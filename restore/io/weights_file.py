"""Bytes of a weights file to named tensors, trusting nothing: every refusal gives its reason.

Formats are recognised by content. `*.safetensors` is data only. Pickled files (`.pth`, `.pt`, `.ckpt`) are read
with `weights_only=True` and never otherwise: there is no fallback to a loader that runs code.
"""

from __future__ import annotations

import json
import pickle
import pickletools
import warnings
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

import safetensors.torch
import torch
from torch import Tensor

from restore.errors import WeightsError
from restore.io.regular_file import checked_members, foreign_errors, open_regular

MAX_HEADER, MAX_TENSORS = 4 << 20, 10_000  # bytes of JSON and names in it
_PICKLES = 5  # of a file of torch before 1.6: magic number, protocol, system, objects, keys
_LONGEST_WORD = 512
MAX_FILE = 4 << 30
"""Bytes of a file of weights or of a checkpoint."""
DAMAGED = "the weights file is damaged"
DOWNLOAD_AGAIN = "Delete it and download or copy it again"
CONVERT = "Get it as .safetensors, or as a plain state_dict written by torch.save(net.state_dict(), path)"

_NESTS = ("params_ema", "params", "state_dict", "model")  # where training programs put the state_dict
_PREFIXES = ("module.", "_orig_mod.")  # left by DataParallel and torch.compile
_NOT_WEIGHTS = {
    b"<": "it is an HTML or XML page, as a login or error page saved in its place would be",
    b"version https://git-lfs": "it is a Git LFS pointer, not the file itself",
    b"{": "it is JSON text",
    b"%PDF": "it is a PDF",
    b"\x89PNG": "it is a picture",
    b"\xff\xd8\xff": "it is a picture",
}


@dataclass(frozen=True)
class Stored:
    """Tensors by name, on the CPU in their stored types, and the header's texts (empty for pickled files)."""

    state: dict[str, Tensor]
    metadata: dict[str, str] = field(default_factory=dict)


def read_weights(path: Path) -> Stored:
    """The tensors of a weights file. Raises `WeightsError` naming the file, the reason and what to do."""
    try:
        with _opened(path) as file:
            head = file.read(64)
        if head[8:9] == b"{":  # after the 8 bytes of its length, the header of a safetensors file
            return _read_safetensors(path)
        if not head:
            raise WeightsError("the file is empty", where=path, fix=DOWNLOAD_AGAIN)
        for start, what in _NOT_WEIGHTS.items():
            if head.lstrip().startswith(start):
                raise WeightsError("these are no weights", where=path, why=what, fix=DOWNLOAD_AGAIN)
        pickled = head.startswith((b"PK\x03\x04", b"\x80"))
        return _read_pickled(path) if pickled else _read_safetensors(path)
    except OSError as error:
        raise _unreadable(path, error) from error


def read_texts(path: Path) -> dict[str, str]:
    """The texts in the header of a safetensors file, without its tensors; none for other files.

    Raises `WeightsError` as `read_weights`.
    """
    try:
        with _opened(path) as file:
            is_safetensors = file.read(9)[8:] == b"{"
        return _check_header(path) if is_safetensors else read_weights(path).metadata
    except OSError as error:
        raise _unreadable(path, error) from error


def _opened(path: Path) -> BufferedReader:
    return open_regular(path, MAX_FILE, fix="Give a .safetensors or .pth file", refusal=WeightsError)


def _read_safetensors(path: Path) -> Stored:
    metadata = _check_header(path)
    with foreign_errors(path, DAMAGED, WeightsError, DOWNLOAD_AGAIN):
        state = safetensors.torch.load(path.read_bytes())
    return Stored(_without_prefix(state), metadata)


def _check_header(path: Path) -> dict[str, str]:
    """The texts in the header, once its length, its JSON and the size of the data are as they should be."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 10 or length > size - 8:
            raise _damaged(path, f"its header would be {length} bytes long, the file has {size}")
        if length > MAX_HEADER:
            raise _damaged(path, f"its header is {length} bytes long, more than {MAX_HEADER}")
        text = file.read(length)
    _check_number(path, text.count(b'"data_offsets"'))  # before anything is made of them
    try:
        header = json.loads(text, object_pairs_hook=_without_duplicates)
        metadata = header.pop("__metadata__", {})
        ends = [entry["data_offsets"][1] for entry in header.values()]
        expected = 8 + length + max(ends, default=0)
        texts = {str(key): value for key, value in metadata.items() if isinstance(value, str)}
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise _damaged(path, f"its header is not what safetensors writes: {str(error)[:200]}") from error
    _check_number(path, len(header))
    if size < expected:
        raise _damaged(path, f"it ends after {size} of {expected} bytes: the download or copy was cut short")
    return texts


def _check_number(path: Path, tensors: int) -> None:
    if tensors > MAX_TENSORS:
        raise _damaged(path, f"it names {tensors} tensors, more than {MAX_TENSORS}")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise ValueError("a name occurs twice")
    return entries


def _read_pickled(path: Path) -> Stored:
    return Stored(_without_prefix(_tensors(path, load_pickled(path))))


def load_pickled(path: Path) -> Any:
    """What torch.save wrote, if it is data alone. Raises `WeightsError` naming the file, the reason and what to do."""
    with _opened(path) as file:
        if file.read(4) == b"PK\x03\x04":  # else pickled as before torch 1.6
            _check_archive(path)
        else:
            _check_words(file, path)
    what = "the file holds more than weights, or is damaged"
    with foreign_errors(path, what, WeightsError, CONVERT), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the error says it in one line
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:  # torch's own text advises to run what the file holds
            raise WeightsError(what, where=path, why="it holds other objects than tensors", fix=CONVERT) from error


def _check_words(file: BinaryIO, path: Path) -> None:
    """Refuse pickles with endless words: torch searches what it says of them by a pattern that takes for ever."""
    file.seek(0)
    words: list[int] = []
    with suppress(Exception):  # what is no pickle torch refuses
        for _ in range(_PICKLES):
            words += (len(word) for _, word, _ in pickletools.genops(file) if isinstance(word, str))
    if max(words, default=0) > _LONGEST_WORD:
        raise _damaged(path, "a name in it is longer than any")


def _check_archive(path: Path) -> None:
    """Refuse archives that are programs, and those that would unpack to more than they are."""
    with foreign_errors(path, DAMAGED, WeightsError, DOWNLOAD_AGAIN), zipfile.ZipFile(path) as archive:
        entries = checked_members(archive, MAX_FILE)
    if any("/code/" in entry.filename or entry.filename.endswith("/constants.pkl") for entry in entries):
        raise WeightsError("this is TorchScript, a program", where=path, fix=CONVERT)
    if sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise _damaged(path, "it would unpack to more bytes than it has, which torch.save never writes")


def _tensors(path: Path, loaded: Any) -> dict[str, Tensor]:
    """The state_dict inside what a training program saved."""
    while isinstance(loaded, Mapping):
        nest = next((key for key in _NESTS if isinstance(loaded.get(key), Mapping)), None)
        if nest is None:
            break
        loaded = loaded[nest]
    if not isinstance(loaded, Mapping) or not loaded:
        what = type(loaded).__name__
        raise WeightsError("the file holds no state_dict", where=path, why=f"found {what}", fix=CONVERT)
    for name, value in loaded.items():
        plain = isinstance(value, Tensor) and value.layout is torch.strided and value.device.type == "cpu"
        if not isinstance(name, str) or not plain or value.is_quantized:
            why = f"{name!r} is not a plain tensor but {type(value).__name__}"
            raise WeightsError("the file holds no plain state_dict", where=path, why=why, fix=CONVERT)
    return {name: value.detach() for name, value in loaded.items()}


def _without_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    while prefix := next((p for p in _PREFIXES if state and all(name.startswith(p) for name in state)), ""):
        state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def _unreadable(path: Path, error: OSError) -> WeightsError:
    why = error.strerror or str(error)
    return WeightsError("the weights cannot be read", where=path, why=why, fix="Check the file")


def _damaged(path: Path, why: str) -> WeightsError:
    return WeightsError(DAMAGED, where=path, why=why, fix=DOWNLOAD_AGAIN)
