"""Everything that is not a file of weights is refused with its reason, quickly, and no code in it is run."""

from __future__ import annotations

import json
import os
import pickle
import random
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from restore.errors import WeightsError
from restore.zoo.weights import read_network, save_weights, tensors_sha256
from tests.zoo.tiny import ARGUMENTS, CARD, message, tiny

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
    assert "it is a folder, not a file" in message(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    assert "a pipe, socket or device, not a file" in message(tmp_path / "fifo")


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
    net, spec, card, sha256, _ = read_network(path, "plain_unet", ARGUMENTS)
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
            loaded = read_network(path, "plain_unet", ARGUMENTS)
        except WeightsError as error:
            assert str(path) in str(error)
        else:
            assert kind != "safetensors" or loaded.sha256 == expected


def test_endless_words_of_a_pickle_are_refused_before_torch_searches_them(tmp_path):
    path = tmp_path / "old.pth"
    path.write_bytes(b"\x80\x02c" + b"x.y " * 5000 + b"\nz\n.")
    assert "a name in it is longer than any" in message(path, model="plain_unet", arguments=ARGUMENTS)
