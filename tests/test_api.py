"""The Python API: arrays give arrays, all else results; nothing heavy is imported before it is needed."""

from dataclasses import replace

import numpy as np
import pytest

import restore
from restore.errors import ConfigError, UnsupportedError
from restore.picture import Picture
from tests.fresh import printed_by


def _noisy(shape, dtype=np.uint8):
    rng = np.random.default_rng(0)
    unit = np.clip(0.5 + 0.05 * rng.standard_normal(shape), 0, 1)
    return unit.astype(np.float32) if dtype is np.float32 else (unit * np.iinfo(dtype).max).astype(dtype)


@pytest.mark.parametrize("shape", [(40, 50), (40, 50, 1), (40, 50, 2), (40, 50, 3), (40, 50, 4), (40, 50, 5)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_arrays_give_arrays_of_the_same_shape_and_type(shape, dtype):
    noisy = _noisy(shape, dtype)
    before = noisy.copy()
    clean = restore.denoise(noisy, device="cpu")
    assert (clean.shape, clean.dtype) == (noisy.shape, noisy.dtype)
    np.testing.assert_array_equal(noisy, before)  # the input is never changed
    if len(shape) == 2 or shape[2] not in (2, 4):
        assert clean.std() < 0.5 * noisy.std()


def test_paths_and_pictures_give_results_and_strength_zero_gives_the_input(tmp_path):
    noisy = _noisy((30, 40, 3), np.uint16)
    restore.write(noisy, tmp_path / "a.png")
    read = restore.read(tmp_path / "a.png")
    np.testing.assert_array_equal(read.pixels, noisy)
    same = restore.denoise(tmp_path / "a.png", strength=0.0)
    assert isinstance(same, restore.Result) and list(same.pictures) == ["result"]
    np.testing.assert_array_equal(same.picture.pixels, noisy)
    clean = restore.denoise(str(tmp_path / "a.png"))
    assert clean.picture.info.format == "png"
    restore.write(clean, tmp_path / "b.png")
    np.testing.assert_array_equal(restore.read(tmp_path / "b.png").pixels, clean.picture.pixels)
    np.testing.assert_array_equal(restore.denoise(read).picture.pixels, clean.picture.pixels)


def test_a_result_says_what_was_done():
    restorer = restore.load("denoise", method="zero-shot", preset="quality", device="cpu", precision="fp32")
    result = restorer.restore(_noisy((60, 70, 3)))  # of an array too
    assert result.decisions["method"] == "zero-shot quality"
    done = result.provenance
    assert (done["task"], done["settings"], done["version"]) == ("denoise", restorer.fingerprint, restore.__version__)
    assert (done["device"], done["precision"], done["height"], done["width"]) == ("cpu", "float32", 60, 70)
    assert done["halo"] == restorer.spec.radius > 0 and done["tiles"] == 1 and result.warnings == ()


def test_the_fingerprint_follows_what_shapes_the_pixels_and_nothing_else():
    def fingerprint(**options):
        return restore.load("denoise", **options).fingerprint

    base = fingerprint()
    assert base == fingerprint(tile=64, max_memory=1 << 30, device="cpu")
    different = [{"strength": 0.5}, {"sigma": 3.0}, {"preset": "quality"}, {"pd": 2}, {"method": "classical"}]
    assert len({base, *(fingerprint(**options) for options in different)}) == len(different) + 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "dream"}, "unknown task 'dream'. Use denoise"),
        ({"method": "magic"}, "unknown method 'magic' for denoise. Use auto, network, zero-shot"),
        (
            {"method": "classical", "preset": "fast"},
            "preset does not go with method classical. It belongs to method zero",
        ),
        ({"colour": 3}, "there is no option colour here. Leave it out"),
        ({"sigmma": 3}, "there is no option sigmma here. Did you mean 'sigma'? Leave it out"),
        ({"strenght": 1}, "there is no option strenght here. Did you mean 'strength'? Leave it out"),
        ({"sigma": 300.0}, "sigma cannot be 300.0. It is a number, from 0 to 255"),
        ({"method": "zero-shot", "precision": "fp16"}, "does not stay accurate in fp16"),
        ({"device": "toaster"}, "there is no device 'toaster'"),
        ({"strength": 1.5}, "strength cannot be 1.5. It is a number, from 0 to 1"),
        ({"tile": 0}, "tile cannot be 0. It is a whole number, 16 or more"),
        ({"max_memory": "4X"}, "max_memory cannot be '4X'. Write it as 4G, 512M or 80%"),
        ({"max_memory": 4.0}, "max_memory cannot be 4.0. Give bytes, a share of what is free (0.8), or 4G, 512M, 80%"),
        (
            {"task": "deconv"},
            "deconvolution needs the blur's shape. Give psf FILE, psf motion:LENGTH,ANGLE or psf disc",
        ),
        (
            {"task": "deconv", "psf": "disc:2", "psf_size": 2},
            "psf_size cannot be 2. It is a whole number, from 3 to 199",
        ),
        (
            {"task": "deconv", "psf": "disc:2", "method": "pnp", "iterations": 9},
            "iterations does not go with method pnp",
        ),
        ({"task": "degrade"}, "no kind of damage was named. Give method, one of gaussian, poisson"),
        ({"adapt": 3}, "adapt cannot be 3. Give a path, or True"),
        ({"adapt": ["a", ""]}, "adapt cannot be ['a', '']. Give a path, or True"),
    ],
)
def test_wrong_options_are_answered_by_the_names_that_python_has(options, message):
    with pytest.raises(ConfigError) as caught:
        restore.load(**options)  # not only when it is used
    assert message in str(caught.value) and "--" not in str(caught.value)
    assert str(caught.value) == caught.value.args[0]


@pytest.mark.parametrize("array", [np.zeros((4, 4)), np.zeros(4, np.uint8), np.zeros((0, 4), np.uint8)])
def test_arrays_that_are_no_pictures_are_refused(array):
    with pytest.raises(restore.RestoreError, match="is not a picture"):
        restore.denoise(array)


def test_importing_restore_imports_nothing_heavy():
    heavy = ("torch", "torchvision", "kornia", "lpips", "cv2", "skimage")
    code = f"import sys, restore, restore.cli.main; print([m for m in {heavy} if m in sys.modules])"
    assert printed_by(code) == "[]"


def test_restore_survives_without_its_optional_packages():
    """torchvision and friends are made unimportable, as a broken installation makes them."""
    code = (
        "import sys\n"
        "for name in ('torchvision', 'lpips', 'pillow_heif'): sys.modules[name] = None\n"
        "import numpy as np, restore\n"
        "noisy = np.random.default_rng(0).integers(90, 110, (40, 40, 3)).astype('uint8')\n"
        "print(restore.denoise(noisy, device='cpu').shape)\n"
    )
    assert printed_by(code) == "(40, 40, 3)"


def test_a_weights_file_is_all_that_the_network_method_needs(tmp_path):
    import torch

    from restore.models.plain_unet import PlainUNet
    from restore.physics.level import level_map
    from restore.zoo.weights import save_weights

    torch.manual_seed(0)
    arguments = {"channels": 3, "condition_channels": 1, "widths": [8], "blocks": [1]}
    net = PlainUNet(**arguments)
    path = tmp_path / "tiny.safetensors"
    save_weights(path, net, "plain_unet", arguments, _card())
    noisy = _noisy((50, 70, 3))
    restorer = restore.load("denoise", weights=path, device="cpu", precision="fp32")
    clean = restorer.restore(noisy)
    x = torch.from_numpy(noisy).movedim(-1, 0)[None].float() / 255
    level = restorer.prepare([Picture.from_array(noisy)]).data
    with torch.no_grad():
        expected = net(x, noise_level=level_map(x, level[None]))[0]
    expected = (expected.clamp(0, 1) * 255).round().movedim(0, -1).to(torch.uint8).numpy()
    np.testing.assert_array_equal(clean.picture.pixels, expected)
    assert clean.decisions["method"] == "network tiny"


def _card():
    from datetime import date

    from restore.zoo.card import WeightsCard

    return WeightsCard(name="tiny", task="denoise", summary="a test", date=date(2026, 1, 1), licence="Apache-2.0")


@pytest.mark.parametrize("depth", ["uint8", "uint16"])
def test_plain_convolutions_give_the_same_bytes_whatever_the_tile(depth):
    import torch

    from restore.engines.network import NetworkEngine
    from restore.inference.options import RunOptions
    from restore.models.plain_unet import PlainUNet

    torch.manual_seed(0)
    net = PlainUNet(widths=(16, 32), blocks=(1, 1, 1)).eval()
    noisy = np.random.default_rng(1).integers(0, np.iinfo(depth).max, (700, 900, 3)).astype(depth)
    results = []
    for tile in (128, 256, 1024):
        engine = NetworkEngine(net, net.spec(), "seeded", "0")
        options = RunOptions(device="cpu", tile=tile, precision="fp32")
        results.append(restore.Restorer("denoise", engine, options)(noisy))
    limit = 0 if depth == "uint8" else 1
    assert np.abs(results[0].astype(int) - results[2]).max() <= limit
    assert np.abs(results[1].astype(int) - results[2]).max() <= limit


def test_inspect_tries_what_denoise_tries(monkeypatch):
    """What the network takes away may change the decision: both follow."""

    def gentle(self, diagnosis, source, device):
        return replace(diagnosis, why="as it was tried")

    monkeypatch.setattr("restore.engines.denoise.network_choice.DiagnosingDenoiser._gentle", gentle)
    pixels = np.random.default_rng(0).integers(100, 140, (64, 64, 3), dtype=np.uint8)
    found = restore.inspect(pixels)
    assert found.why == "as it was tried"
    assert found.facts["method"] == restore.load("denoise", device="cpu").restore(pixels).decisions["method"]


def test_inspect_takes_what_denoise_takes(tmp_path):
    noisy = _noisy((120, 130, 3))
    restore.write(noisy, tmp_path / "a.png")
    actual = [
        restore.inspect(each)
        for each in (noisy, Picture.from_array(noisy), tmp_path / "a.png", str(tmp_path / "a.png"))
    ]
    assert isinstance(actual[0], restore.Diagnosis)
    assert {each.level.value for each in actual} == {actual[0].level.value} and {each.weights for each in actual} == {
        "denoise_white"
    }
    assert actual[0].level.value == pytest.approx(0.05 * 255, rel=0.2)
    assert actual[2].info.path == tmp_path / "a.png"
    with pytest.raises(UnsupportedError, match="is not a picture"):
        restore.inspect(np.zeros((4, 4)))


@pytest.mark.parametrize("wrong", [b"x", None, [[1, 2]], 3])
def test_what_is_no_picture_is_refused(wrong):
    with pytest.raises(UnsupportedError, match=f"a {type(wrong).__name__} is no picture"):
        restore.denoise(wrong)


def test_a_path_for_an_output_is_refused_where_nothing_is_written(monkeypatch):
    monkeypatch.setenv("RESTORE_TASKS", "tests.toys")
    with pytest.raises(
        ConfigError, match=r"^spread is an output of the result, and nothing is written here\. Give spread=True"
    ):
        restore.load("split", spread="map.png")
    assert list(restore.load("split", spread=True).restore(np.zeros((8, 8, 3), np.uint8)).pictures) == [
        "result",
        "spread",
    ]
