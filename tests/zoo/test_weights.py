"""Weights survive the trip to disk; everything that is not such a file is refused with its reason, quickly."""

from __future__ import annotations

import datetime
import json
import os
import pickle
import random
import struct
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from restore.errors import FileError, WeightsError
from restore.io.weights_file import Stored
from restore.models import build
from restore.models.probe import verify_spec
from restore.models.spec import ModelSpec
from restore.zoo import weights
from restore.zoo.card import DataSource, Result, WeightsCard
from restore.zoo.weights import load_weights, save_weights, tensors_sha256

ARGUMENTS = {"channels": 1, "condition_channels": 1, "widths": [4, 6], "blocks": [1, 1, 1]}
CARD = WeightsCard(
    name="tiny",
    task="deblur",
    summary="Four channels, for tests.",
    data=(DataSource(name="noise", licence="CC0"),),
    steps=10,
    seconds=1.5,
    machine="this one",
    command="restore train denoise/tiny",
    date=datetime.date(2026, 1, 31),
    licence="Apache-2.0",
    results=(Result(set="noise, seed 0", metric="psnr_y", value=30.25, peers={"bm3d": 29.5}),),
)


def tiny(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build("plain_unet", **ARGUMENTS).eval()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.safetensors"
    save_weights(path, tiny(), "plain_unet", ARGUMENTS, CARD)
    return path


def message(path: Path, **named: Any) -> str:
    """The error of loading `path`, which takes less than a CPU second and names the file."""
    start = time.process_time()
    with pytest.raises(WeightsError) as caught:
        load_weights(path, **named)
    assert time.process_time() - start < 1
    assert str(caught.value).startswith(str(path))
    assert caught.value.fix or caught.value.why
    return str(caught.value)


def rewritten(path: Path, *, state: dict[str, torch.Tensor] | None = None, label: Any = None, **changes: Any) -> Path:
    """The file with other tensors, another label, or changes to its label."""
    with safetensors.safe_open(path, "pt") as file:
        written = json.loads(file.metadata()["restore"])
    state = safetensors.torch.load_file(path) if state is None else state
    text = json.dumps({**written, **changes}) if label is None else label
    safetensors.torch.save_file(state, path, {"restore": text})
    return path


# ---- the way there and back


def test_round_trip_is_exact(saved):
    net, spec, card, sha256, path = load_weights(saved)
    original = tiny()
    x, level = torch.rand(1, 1, 12, 16), torch.rand(1, 1, 12, 16)
    with torch.no_grad():
        assert torch.equal(net(x, noise_level=level), original(x, noise_level=level))
    assert path == saved
    assert not net.training
    assert all(p.dtype == torch.float32 for p in net.parameters())
    assert sha256 == tensors_sha256(original.state_dict())
    assert card == CARD.model_copy(update={"sha256": sha256})
    assert spec.task == "deblur" and spec.radius == original.spec().radius
    verify_spec(net, spec)


def test_half_storage_loads_as_float32(tmp_path):
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    save_weights(whole, tiny(), "plain_unet", ARGUMENTS, CARD)
    save_weights(half, tiny(), "plain_unet", ARGUMENTS, CARD, half=True)
    header = 8 + int.from_bytes(half.read_bytes()[:8], "little")
    values = tiny().spec().parameters
    assert half.stat().st_size == header + 2 * values
    net = load_weights(half).net
    for name, value in tiny().state_dict().items():
        assert net.state_dict()[name].dtype == torch.float32
        assert torch.equal(net.state_dict()[name], value.half().float())


def test_saving_twice_gives_the_same_bytes(saved, tmp_path):
    again = tmp_path / "again.safetensors"
    save_weights(again, tiny(), "plain_unet", ARGUMENTS, CARD)
    assert again.read_bytes() == saved.read_bytes()


def test_loading_leaves_the_callers_seed_alone(saved):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_weights(saved)
    assert torch.equal(torch.rand(3), expected)


def test_measured_types_of_the_card_win(tmp_path):
    path = tmp_path / "tiny.safetensors"
    card = CARD.model_copy(update={"dtypes": ("float32", "bfloat16")})
    save_weights(path, tiny(), "plain_unet", ARGUMENTS, card)
    assert load_weights(path).spec.dtypes == ("float32", "bfloat16")


def test_the_hash_covers_names_shapes_and_values():
    state = {"a": torch.zeros(2, 3), "b": torch.ones(1)}
    first = tensors_sha256(state)
    assert tensors_sha256(dict(reversed(state.items()))) == first
    others = [
        {"a": torch.zeros(3, 2), "b": torch.ones(1)},
        {"c": torch.zeros(2, 3), "b": torch.ones(1)},
        {"a": torch.zeros(2, 3), "b": torch.ones(1) + 1e-7},
        {"a": torch.zeros(2, 3), "b": torch.ones(1).half()},
    ]
    assert len({first, *map(tensors_sha256, others)}) == 5


# ---- saving refuses what could not be loaded


def test_saving_refuses_other_arguments(tmp_path):
    path = tmp_path / "x.safetensors"
    with pytest.raises(WeightsError, match=r"head.weight is 4 x 8 x 3 x 3, the network's is 5 x 8"):
        save_weights(path, tiny(), "plain_unet", {**ARGUMENTS, "widths": [5, 6]}, CARD)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("value", "half"), [(torch.nan, False), (1e6, True)])
def test_saving_refuses_what_is_not_finite(tmp_path, value, half):
    net = tiny()
    net.get_parameter("tail.bias").data[1] = value
    with pytest.raises(WeightsError, match=r"1 of 4 values of tail.bias are NaN or infinite"):
        save_weights(tmp_path / "x.safetensors", net, "plain_unet", ARGUMENTS, CARD, half=half)


def test_saving_keeps_the_old_file_when_the_disk_fails(saved, monkeypatch):
    before = saved.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileError, match="No space left on device"):
        save_weights(saved, tiny(1), "plain_unet", ARGUMENTS, CARD)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_saving_reads_back_before_it_replaces(saved, monkeypatch):
    before = saved.read_bytes()

    def other(_: Path) -> Stored:
        return Stored({"head.weight": torch.zeros(1)})

    monkeypatch.setattr(weights, "read_weights", other)
    with pytest.raises(FileError, match="the weights read back are not those written"):
        save_weights(saved, tiny(1), "plain_unet", ARGUMENTS, CARD)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_saving_under_another_ending_is_refused(tmp_path):
    with pytest.raises(WeightsError, match=r"Name it \*\.safetensors"):
        save_weights(tmp_path / "x.pth", tiny(), "plain_unet", ARGUMENTS, CARD)


# ---- damaged and hostile safetensors files


def raw(path: Path, header: object, data: bytes = b"", length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def entry(start: int, stop: int, shape: tuple[int, ...] = (2,)) -> dict[str, Any]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [start, stop]}


@pytest.mark.parametrize(
    ("header", "data", "length", "words"),
    [
        ({"a": entry(0, 8)}, b"12345678", 10**18, "its header would be 1000000000000000000 bytes long"),
        ({"a": entry(0, 8)}, b"1234", None, "the download or copy was cut short"),
        ({"a": entry(0, 2**60, (2**58,))}, b"1234", None, "cut short"),
        ({"a": entry(0, 8), "b": entry(4, 12)}, b"x" * 12, None, "damaged"),
        ({"a": entry(-8, 0)}, b"x" * 12, None, "damaged"),
        ({"a": entry(0, 8, (2**40, 2**40))}, b"x" * 8, None, "damaged"),
        ({"a": entry(0, 8)}, b"x" * 16, None, "damaged"),
        ({"a": {"dtype": "F99", "shape": [2], "data_offsets": [0, 8]}}, b"x" * 8, None, "damaged"),
        ({"a": {}}, b"", None, "its header is not what safetensors writes"),
        ({"a": 3}, b"", None, "its header is not what safetensors writes"),
        (b"{" * 50, b"", None, "its header is not what safetensors writes"),
        (b'{"a":' + b"[" * 100_000, b"", None, "its header is not what safetensors writes"),
        (b'{"a":{},"a":{}}', b"", None, "a name occurs twice"),
        (b'{"a":\xff\xfe}', b"", None, "its header is not what safetensors writes"),
        (b"{" + b" " * (5 << 20) + b"}", b"", None, "more than 4194304"),
        (
            {f"t{i}": entry(0, 0, (0,)) for i in range(30_000)},
            b"",
            None,
            "it names 30000 tensors, more than 10000",
        ),
    ],
)
def test_damaged_safetensors(tmp_path, header, data, length, words):
    assert words in message(raw(tmp_path / "x.safetensors", header, data, length))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the file is empty"),
        (b"x", "damaged"),
        (b"<!DOCTYPE html><title>Log in</title>", "HTML or XML page"),
        (b"\n  <html>", "HTML or XML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS pointer"),
        (b'{"error": "not found"}', "JSON text"),
        (b"\x89PNG\r\n\x1a\n" + bytes(64), "picture"),
        (os.urandom(4096), "damaged"),
    ],
)
@pytest.mark.parametrize("name", ["x.safetensors", "x.pth"])
def test_other_files_saved_as_weights(tmp_path, name, data, words):
    path = tmp_path / name
    path.write_bytes(data)
    assert words in message(path, model="plain_unet")


def test_a_header_whose_length_looks_like_a_letter_is_no_page(tmp_path):
    for length in (ord("<"), ord("{"), 0x80):
        path = raw(tmp_path / f"{length}.safetensors", b"{" + b" " * (length - 2) + b"}")
        assert "does not say which network" in message(path)


@pytest.mark.parametrize("share", [0.0005, 0.1, 0.5, 0.99])
def test_truncated_files(saved, share):
    data = saved.read_bytes()
    saved.write_bytes(data[: int(len(data) * share)])
    message(saved)


def test_one_flipped_bit_is_noticed(saved):
    data = bytearray(saved.read_bytes())
    data[-5] ^= 1
    saved.write_bytes(data)
    assert "the weights were changed or damaged (sha256 of the tensors is" in message(saved)


def test_no_such_file_and_no_file(tmp_path):
    assert "there is no such file" in message(tmp_path / "x.safetensors")
    assert "is not a file" in message(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    assert "is not a file" in message(tmp_path / "fifo")


# ---- right file, wrong content


def test_precise_differences(saved):
    state = safetensors.torch.load_file(saved)
    del state["head.bias"]
    state["extra.weight"] = torch.zeros(1)
    state["tail.weight"] = torch.zeros(4, 4, 1, 1)
    state["tail.bias"] = torch.zeros(4, dtype=torch.int8)
    text = message(rewritten(saved, state=state))
    assert "missing: head.bias; not in the network: extra.weight; different: " in text
    assert "tail.weight is 4 x 4 x 1 x 1, the network's is 4 x 4 x 3 x 3" in text
    assert "tail.bias is stored as int8, the network's is float32" in text


def test_long_differences_are_cut(saved):
    text = message(rewritten(saved, state={"a": torch.zeros(1)}))
    assert "missing: head.weight, head.bias, encoders.0.0.conv1.weight, encoders.0.0.conv1.bias and 16 more" in text
    assert "; not in the network: a)" in text


def test_weights_that_are_not_finite(saved):
    state = safetensors.torch.load_file(saved)
    state["head.bias"][:2] = torch.inf
    assert "2 of 4 values of head.bias are NaN or infinite" in message(rewritten(saved, state=state))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_stored_types_load_as_float32(tmp_path, dtype):
    path = tmp_path / "x.safetensors"
    safetensors.torch.save_file({n: v.to(dtype) for n, v in tiny().state_dict().items()}, path)
    net, _, card, *_ = load_weights(path, "plain_unet", ARGUMENTS)
    assert card is None
    assert torch.equal(net.get_parameter("head.bias"), tiny().get_parameter("head.bias").to(dtype).float())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": "plain_unett"}, "Did you mean 'plain_unet'?"),
        ({"model": "os:system"}, "not part of this program"),
        ({"layout": 2}, "layout 2, this version reads 1"),
        ({"card": {}}, "its label cannot be read"),
        ({"label": "not json"}, "its label cannot be read"),
        ({"label": "[1]"}, "its label cannot be read"),
        ({"label": "[" * 100_000}, "its label cannot be read"),
        ({"arguments": [1]}, "its label cannot be read"),
        ({"arguments": {"depth": 3}}, "has no argument 'depth'"),
        ({"arguments": {"widths": [4, 7]}}, "different: head.weight is 4 x 8 x 3 x 3, the network's is 4 x 12"),
        ({"arguments": {"widths": [2000, 2000]}}, "the network's is 2000 x 12 x 3 x 3"),
        ({"arguments": {"widths": [1e99]}}, "argument widths.0 cannot be 1e+99"),
        ({"arguments": {"blocks": [1000000000, 1, 1]}}, "the network cannot be built"),
    ],
)
def test_wrong_labels(saved, changes, words):
    assert words in message(rewritten(saved, **changes))


class Foreign(nn.Module):
    """A network outside the program, with a marker of having been built."""

    built = 0

    def __init__(self, width: int = 2) -> None:
        super().__init__()
        type(self).built += 1
        self.conv = nn.Conv2d(3, width, 1)

    def spec(self) -> ModelSpec:
        return ModelSpec("denoise", channels=3, parameters=8)


class Silent(nn.Conv2d):
    """A network without a spec."""

    def __init__(self) -> None:
        super().__init__(3, 3, 1)


def test_a_file_never_chooses_code(tmp_path):
    path, name = tmp_path / "x.safetensors", f"{__name__}:Foreign"
    save_weights(path, Foreign(), name, {}, CARD)
    Foreign.built = 0
    assert "If you trust that code, name it" in message(path)
    assert Foreign.built == 0
    assert isinstance(load_weights(path, model=name).net, Foreign)


def test_weights_of_another_network_name_both(saved):
    assert "they are of 'plain_unet', not 'drunet'" in message(saved, model="drunet")


def test_a_network_without_a_spec_is_refused(tmp_path):
    path = tmp_path / "x.pth"
    torch.save(Silent().state_dict(), path)
    assert "Silent does not say what it needs" in message(path, model=f"{__name__}:Silent")


# ---- pickled files


class Exploit:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("how", ["torch", "legacy", "pickle"])
def test_pickled_code_is_never_run(tmp_path, how):
    path, marker = tmp_path / "x.pth", tmp_path / "marker"
    content = {"params": tiny().state_dict(), "hook": Exploit(marker)}
    if how == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how == "torch")
    assert "holds more than weights" in message(path, model="plain_unet", arguments=ARGUMENTS)
    assert not marker.exists()


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: {"params": {}, "params_ema": s},
        lambda s: {"state_dict": s, "epoch": 3, "loss": 0.5},
        lambda s: {"model": {"params": s}},
        lambda s: {f"module.{name}": value for name, value in s.items()},
        lambda s: {"state_dict": {f"_orig_mod.module.{name}": value for name, value in s.items()}},
    ],
)
def test_state_dicts_are_found_in_their_wrappings(tmp_path, wrap):
    path = tmp_path / "x.pth"
    torch.save(wrap(tiny().state_dict()), path)
    net, spec, card, sha256, _ = load_weights(path, "plain_unet", ARGUMENTS)
    assert all(torch.equal(v, tiny().state_dict()[n]) for n, v in net.state_dict().items())
    assert (card, spec.task) == (None, "denoise")
    assert sha256 == tensors_sha256(tiny().state_dict())


def test_pickled_weights_need_a_named_model(tmp_path):
    path = tmp_path / "x.pth"
    torch.save(tiny().state_dict(), path)
    assert "does not say which network it belongs to. Name it: model= / --model" in message(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([1, 2], "found list"),
        ({}, "found dict"),
        ({"a": torch.zeros(1), "step": 5}, "'step' is not a plain tensor but int"),
        ({"a": torch.zeros(2, 2).to_sparse()}, "'a' is not a plain tensor"),
        ({"a": torch.zeros(1).expand(10**6, 10**6)}, "not in the network: a"),
    ],
)
def test_pickled_files_without_a_state_dict(tmp_path, content, words):
    path = tmp_path / "x.pth"
    torch.save(content, path)
    assert words in message(path, model="plain_unet")


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_torchscript_is_refused(tmp_path):
    path = tmp_path / "x.pt"
    torch.jit.save(torch.jit.script(nn.Conv2d(1, 1, 1)), str(path))
    assert "this is TorchScript, a program" in message(path, model="plain_unet")


def test_archives_that_unpack_to_more_are_refused(tmp_path):
    path = tmp_path / "x.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", bytes(10_000_000))
    assert "unpack to more bytes than it has" in message(path, model="plain_unet")


@pytest.mark.parametrize("cut", [20, 400, -10])
def test_truncated_pickles(tmp_path, cut):
    path = tmp_path / "x.pth"
    torch.save(tiny().state_dict(), path)
    path.write_bytes(path.read_bytes()[:cut])
    message(path, model="plain_unet", arguments=ARGUMENTS)


@pytest.mark.parametrize("kind", ["safetensors", "pth", "legacy"])
def test_random_damage_is_always_answered(tmp_path, kind):
    """Bytes flipped, cut out or doubled: our error or the very same weights, never anything else."""
    path, rng = tmp_path / f"x.{kind}", random.Random(0)
    if kind == "safetensors":
        save_weights(path, tiny(), "plain_unet", ARGUMENTS, CARD)
    else:
        torch.save(tiny().state_dict(), path, _use_new_zipfile_serialization=kind == "pth")
    whole, expected = path.read_bytes(), tensors_sha256(tiny().state_dict())
    head = 8 + int.from_bytes(whole[:8], "little") if kind == "safetensors" else len(whole)
    for _ in range(60):
        data = bytearray(whole)
        at = rng.randrange(rng.choice([64, head, len(data)]))
        if rng.random() < 0.7:
            data[at] = rng.randrange(256)
        else:
            data[at : at + rng.randrange(9)] = data[at : at + rng.randrange(9)]
        path.write_bytes(data)
        try:
            loaded = load_weights(path, "plain_unet", ARGUMENTS)
        except WeightsError as error:
            assert str(path) in str(error)
        else:
            assert kind != "safetensors" or loaded.sha256 == expected
