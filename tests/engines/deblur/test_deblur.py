"""Heads and what becomes of them; grey, alpha, depth and tiles; what is refused."""

import numpy as np
import pytest
import torch

import restore as program
from restore.engines.deblur import engine as engine_module
from restore.engines.deblur.answers import SPREAD_OF_WHITE, Wanted, spread
from restore.engines.deblur.engine import DeblurEngine
from restore.engines.deblur.network import DeblurNetwork
from restore.engines.deblur.options import NetworkOptions
from restore.errors import ConfigError, RestoreError, WeightsError
from restore.inference.options import RunOptions
from restore.models.heads import split_heads
from restore.models.spec import ModelSpec
from restore.zoo.weights import read_network
from tests.inference.engines import picture

from .tiny import HEADS, Offsets, deblurrers, soft_scene, write_tiny

pytestmark = pytest.mark.usefixtures("deblurrers")
__all__ = ["deblurrers"]


def answers(path, pixels):
    """K x H x W x C of a weights file's network, run as it is on a picture of a size that it takes."""
    loaded = read_network(path)
    with torch.inference_mode():
        y = loaded.net(torch.from_numpy(pixels).movedim(-1, 0)[None])
    return split_heads(y, loaded.spec.heads)[0].movedim(1, -1).numpy()


def restored(pixels, **options):
    return program.load("deblur", method="network", device="cpu", force=True, **options).restore(pixels)


def engine_of(monkeypatch, offsets, **options):
    """The engine over a network whose head h adds the h-th number."""
    net = Offsets(offsets)
    network = DeblurNetwork(net, net.spec(), "offsets", "0")
    monkeypatch.setattr(engine_module, "network_of", lambda weights, model: network)
    return DeblurEngine(NetworkOptions(force=True, **options))


def test_the_mean_of_the_heads_or_one_of_them(deblurrers):
    pixels = soft_scene()
    each = answers(deblurrers / "deblur.safetensors", pixels)
    assert np.abs(each[0] - each[1]).max() > 0.01, "a test of heads that are the same says nothing"
    result = restored(pixels)
    assert result.decisions["method"] == "network deblur, mean of 3 heads" and list(result.pictures) == ["result"]
    np.testing.assert_allclose(result.picture.pixels, each.mean(0), atol=1e-6)
    for head in range(1, HEADS + 1):
        one = restored(pixels, head=head)
        assert one.decisions["method"] == f"network deblur, head {head} of 3"
        np.testing.assert_allclose(one.picture.pixels, each[head - 1], atol=1e-6)


def test_every_head_beside_the_result(deblurrers):
    pixels = soft_scene()
    result = restored(pixels, all_heads=True, head=2)
    assert list(result.pictures) == ["result", "head_1", "head_2", "head_3"]
    for head, expected in enumerate(answers(deblurrers / "deblur.safetensors", pixels), 1):
        np.testing.assert_allclose(result.pictures[f"head_{head}"].pixels, expected, atol=1e-6)
    assert np.array_equal(result.pictures["head_2"].pixels, result.picture.pixels)


def test_weights_of_one_head(deblurrers):
    pixels = soft_scene()
    result = restored(pixels, weights="single")
    assert result.decisions["method"] == "network single"
    expected = answers(deblurrers / "single.safetensors", pixels)[0]
    np.testing.assert_allclose(result.picture.pixels, expected, atol=1e-6)
    assert np.array_equal(restored(pixels, weights="single", head=1).picture.pixels, result.picture.pixels)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize(("offsets", "deviation"), [((0.02, 0.02, 0.02), 0), ((0.0, 0.04), 0.02), ((0.0, 0.3), 0.15)])
def test_uncertainty_is_the_standard_deviation_of_the_heads(monkeypatch, offsets, deviation, dtype):
    engine = engine_of(monkeypatch, offsets, uncertainty=True)
    result = program.Restorer("deblur", engine).restore(picture(20, 24, 3, dtype).pixels)
    map_ = result.pictures["uncertainty"]
    assert map_.pixels.shape == (20, 24, 1) and map_.pixels.dtype == np.uint8
    level = min(255, round(255 * deviation / SPREAD_OF_WHITE))
    assert np.abs(map_.pixels.astype(int) - level).max() <= (1 if 0 < level < 255 else 0)
    assert "white is 32/255" in result.decisions["uncertainty"]
    assert b"white is 32/255" in (map_.info.metadata.xmp or b"")


def test_spread_is_over_heads_then_the_mean_of_channels():
    values = torch.zeros(1, 2, 3, 1, 2)
    values[0, 0, :, 0, 0] = torch.tensor([0.2, 0.4, 0.6])
    np.testing.assert_allclose(spread(values)[0, 0, 0].numpy(), [0.2, 0], atol=1e-7)


def test_strength_mixes_the_pictures_and_not_the_map(monkeypatch):
    engine = engine_of(monkeypatch, (0.0, 0.04), uncertainty=True, all_heads=True)
    pixels = soft_scene()
    result = program.Restorer("deblur", engine, RunOptions(strength=0.5)).restore(pixels)
    np.testing.assert_allclose(result.picture.pixels, pixels + 0.01, atol=1e-6)
    np.testing.assert_allclose(result.pictures["head_2"].pixels, pixels + 0.02, atol=1e-6)
    assert (result.pictures["uncertainty"].pixels == round(255 * 0.02 / SPREAD_OF_WHITE)).all()


@pytest.mark.parametrize("options", [{}, {"head": 2}, {"all_heads": True, "uncertainty": True}])
@pytest.mark.slow
def test_tiles_leave_no_trace(options):
    pixels = picture(150, 170, 3, "uint8").pixels
    whole = restored(pixels, **options)
    for tile in (64, 100):
        tiled = restored(pixels, tile=tile, **options)
        for name, expected in whole.pictures.items():
            assert np.abs(tiled.pictures[name].pixels.astype(int) - expected.pixels).max() == 0, name


@pytest.mark.parametrize("channels", [1, 2, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_grey_alpha_and_depth(channels, dtype):
    pixels = picture(21, 18, channels, dtype).pixels
    result = restored(pixels, all_heads=True, uncertainty=True)
    for name in ("result", "head_1", "head_3"):
        made = result.pictures[name].pixels
        assert made.shape == pixels.shape and made.dtype == dtype
        if channels % 2 == 0:
            assert np.array_equal(made[..., -1], pixels[..., -1])
    assert result.pictures["uncertainty"].pixels.shape == (21, 18, 1)


def test_grey_is_given_as_three_equal_colours(deblurrers):
    grey = soft_scene(channels=1)
    each = answers(deblurrers / "deblur.safetensors", np.repeat(grey, 3, -1)).mean(-1, keepdims=True)
    np.testing.assert_allclose(restored(grey).picture.pixels, each.mean(0), atol=1e-5)
    np.testing.assert_allclose(restored(grey, head=3).picture.pixels, each[2], atol=1e-5)


def test_published_weights(tmp_path):
    arguments = {"width": 4, "encoder_blocks": (1, 1), "decoder_blocks": (1, 1)}
    from restore.models import build

    net = build("nafnet", **arguments)
    torch.save({"params": net.state_dict()}, tmp_path / "net.pth")
    pixels = soft_scene(48, 48)
    result = restored(pixels, weights=tmp_path / "net.pth")
    with torch.inference_mode():
        expected = net.eval()(torch.from_numpy(pixels).movedim(-1, 0)[None])[0].movedim(0, -1).numpy()
    np.testing.assert_allclose(result.picture.pixels, expected, atol=1e-5)
    assert result.warnings == ()


@pytest.mark.parametrize(("options", "words"), [
    ({"head": 4}, "head is 4, and the network of deblur gives 3 pictures. Give 1 to 3, or leave it out for their mean"),
    ({"head": 2, "weights": "single"}, "head is 2, and the network of single gives 1 picture. Leave it out"),
    ({"head": 0}, "head cannot be 0. It is a whole number, 1 or more"),
    ({"all_heads": True, "weights": "single"}, "all_heads needs several heads, and the network of single gives 1 pic"),
    ({"uncertainty": True, "weights": "single"}, "uncertainty needs several heads, and the network of single gives"),
])  # fmt: skip
def test_what_needs_other_heads_is_refused(options, words):
    with pytest.raises(ConfigError) as caught:
        program.load("deblur", method="network", **options)
    assert str(caught.value).startswith(words)


def test_weights_that_are_not_there_or_of_another_task(deblurrers):
    with pytest.raises(RestoreError, match="for the task 'denoise', not 'deblur'"):
        program.load("deblur", method="network", weights="denoise")
    with pytest.raises(WeightsError, match="nowhere"):
        program.load("deblur", method="network", weights="nowhere")


def test_fingerprints_tell_what_shapes_a_result(deblurrers, tmp_path):
    other = write_tiny(tmp_path, seed=1)
    made = [{}, {"head": 1}, {"head": 2}, {"all_heads": True}, {"uncertainty": True}, {"force": True},
            {"weights": other}]  # fmt: skip
    assert len({program.load("deblur", method="network", **options).fingerprint for options in made}) == len(made)


def test_from_python(deblurrers):
    pixels = soft_scene()
    expected = answers(deblurrers / "deblur.safetensors", pixels).mean(0)
    np.testing.assert_allclose(program.deblur(pixels, force=True), expected, atol=1e-6)
    with pytest.raises(ConfigError, match="uncertainty is an output of the result"):
        program.load("deblur", method="network", uncertainty="u.png")


def test_a_network_of_several_heads_in_any_task_has_an_output_for_each():
    from restore.engines.network import NetworkEngine

    net = Offsets((0.0, 0.1))
    engine = NetworkEngine(net, net.spec(), "offsets", "0")
    assert [(each.name, each.ending, each.channels) for each in engine.spec.outputs] == [
        ("head_1", "head1", None), ("head_2", "head2", None),
    ]  # fmt: skip
    assert Wanted(2).outputs[0].ending == ""


@pytest.mark.parametrize("task", ["deblur", "deconv"])
def test_the_files_that_judge_psfs_are_in_the_fingerprint(task, monkeypatch):
    def fingerprint() -> str:
        options = {"method": "psf"} if task == "deblur" else {"psf": "estimate"}
        return program.load(task, **options).fingerprint

    before = fingerprint()
    assert fingerprint() == before
    monkeypatch.setattr(f"restore.engines.{task}.engine.digest", lambda: "others")
    assert fingerprint() != before


def test_a_window_of_frames_keeps_the_middle_where_nothing_is_done_and_sees_all_else():
    class Neighbours(torch.nn.Module):
        """The frame in the middle, and half of what the others are apart."""

        def forward(self, x):
            before, middle, after = x.chunk(3, 1)
            return middle + 0.5 * (after - before)

    spec = ModelSpec("deblur", window=3, channels=3)
    x = torch.rand(2, 3, 3, 8, 8)
    answers = DeblurNetwork(Neighbours(), spec, "neighbours", "").answers(x).pictures
    assert torch.allclose(answers[:, 0], x[:, 1] + 0.5 * (x[:, 2] - x[:, 0]), atol=1e-6)
