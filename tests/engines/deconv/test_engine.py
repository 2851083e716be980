"""Deconvolution as an engine: it gains, chooses by what it measures, tiles, and refuses what makes no sense."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
import torch

from restore.engines.blind_psf.search import Judged, Solution
from restore.engines.deconv.engine import DeconvolutionEngine
from restore.engines.deconv.methods import METHODS
from restore.engines.deconv.options import DeconvOptions, IterativeOptions, WeightsOptions
from restore.engines.deconv.psf import load_psf
from restore.errors import ConfigError, FileError, UnsupportedError, WeightsError
from restore.inference.engine import EngineOptions, Place
from restore.physics.color import linear_to_srgb, srgb_to_linear
from restore.physics.psf import motion
from restore.picture import Picture
from tests.classical.blurred import psnr, scene, seen, shake
from tests.inference.engines import restore

OPTIONS = {"rl": IterativeOptions, "rl-tv": IterativeOptions, "pnp": WeightsOptions, "infwide": WeightsOptions}


def deconvolution(method, psf, **options):
    return DeconvolutionEngine(OPTIONS.get(method, DeconvOptions)(psf=psf, **options), method)


def prepared(engine, pixels):
    return engine.prepare({"picture": Picture.from_array(pixels)}, EngineOptions())


@pytest.fixture(scope="module")
def psf():
    return shake(15)


@pytest.fixture(scope="module")
def pair(psf):
    """(truth, blurred): H x W x 3, uint8 codes, the blur coming from beyond the border."""
    return codes_of(scene()[..., 60:380, 130:450], psf)


def codes_of(grey, psf):
    x = grey.expand(-1, 3, -1, -1) * torch.tensor([1.0, 0.9, 0.7]).view(1, 3, 1, 1)
    return tuple((t[0].movedim(0, -1).clamp(0, 1) * 255).round().byte().numpy() for t in seen(x, psf, 0.01))


def quality(a, b):
    return psnr(*(torch.from_numpy(np.asarray(v, np.float64) / 255).movedim(-1, 0)[None] for v in (a, b)))


GAINS = {"pnp": 6.0, "infwide": 6.0, "wiener": 4.0, "rl": 3.0, "rl-tv": 4.5, "hyper-laplacian": 5.0, "auto": 5.0}


@pytest.mark.parametrize("method", ["auto", *METHODS])
def test_every_method_gains(method, psf, pair):
    truth, blurred = pair
    result, report = restore(deconvolution(method, psf.numpy()), Picture.from_array(blurred))
    assert quality(result, truth) > quality(blurred, truth) + GAINS[method]
    assert report.decisions["noise"].startswith("sigma 2.") and "measured" in report.decisions["noise"]


def test_tiles_leave_no_seams(psf):
    pair = codes_of(scene(), psf)
    source = Picture.from_array(pair[1])
    engine = deconvolution("hyper-laplacian", psf.numpy())
    tiled, report = restore(engine, source, tile=96)
    whole, _ = restore(engine, source, tile=2000)
    assert report.tiles > 4 and report.mode != "exact"
    assert np.abs(tiled.astype(int) - whole).mean() < 1.5
    assert abs(quality(tiled, pair[0]) - quality(whole, pair[0])) < 0.15


def test_it_says_what_it_takes_and_clipped_samples_do_not_choose(psf, pair):
    bright = np.clip(pair[1].astype(int) * 3, 0, 255).astype(np.uint8)

    def chosen(method, picture):
        return prepared(deconvolution(method, psf.numpy()), picture).decisions["method"]

    said = [chosen("auto", picture) for picture in (bright, pair[1])]
    assert all(each.startswith("network deconv: misses held-out data by ") for each in said)
    assert chosen("infwide", pair[1]) == "network deconv"
    assert "60 iterations, with a model of clipping" in chosen("rl", bright)


def test_without_the_weights_it_works_without(psf, pair, monkeypatch):
    monkeypatch.setattr("restore.engines.deconv.engine.shipped", lambda: False)
    bright = np.clip(pair[1].astype(int) * 3, 0, 255).astype(np.uint8)
    for picture in (bright, pair[1]):
        condition = prepared(deconvolution("auto", psf.numpy()), picture)
        assert condition.decisions["method"].startswith("hyper-laplacian")


def test_what_clips_a_little_keeps_the_better_method(psf):
    """Three hundredths of the picture above white, and bars of a film frame: neither is worth another method."""
    x = scene()[..., 60:380, 130:450].expand(-1, 3, -1, -1)
    x = x / x.quantile(0.97)
    x[..., :60, :] = 0
    truth, blurred = ((t[0].movedim(0, -1).clamp(0, 1) * 255).round().byte().numpy() for t in seen(x, psf, 0.01))
    quality_of = {
        method: quality(restore(deconvolution(method, psf.numpy()), Picture.from_array(blurred))[0], truth)
        for method in ("auto", "rl", "rl-tv", "hyper-laplacian")
    }
    assert quality_of["auto"] == max(quality_of.values()) > quality(blurred, truth) + 5


def test_lights_beyond_the_clipping_come_back(psf):
    """A picture clipped below white, as a scaled one is: the network may give back more than its white."""
    truth, blurred = seen(scene().expand(-1, 3, -1, -1), psf, 0.03)
    codes, clean = ((t[0].movedim(0, -1).clamp(0, top) * 255).round().byte().numpy()
                    for t, top in ((blurred, 0.6), (truth, 1.0)))  # fmt: skip
    engine = deconvolution("infwide", psf.numpy(), weights="deconv_low_light")
    result, report = restore(engine, Picture.from_array(codes))
    assert "clipped at 0.60" in report.decisions["noise"] and "low_light" in report.decisions["method"]
    assert result.max() > 160 and quality(result, clean) > quality(codes, clean) + 1.5


def test_grey_pictures_go_through_the_network(psf, pair):
    result, _ = restore(deconvolution("infwide", psf.numpy()), Picture.from_array(pair[1][..., 0]))
    grey = pair[0][..., :1]
    assert quality(result.reshape(grey.shape), grey) > quality(pair[1][..., :1], grey) + 4


def test_weights_of_another_task_are_refused(psf):
    with pytest.raises(
        WeightsError, match=r"denoise.safetensors: these weights are for the task 'denoise', not 'deconv'"
    ):
        deconvolution("infwide", psf.numpy(), weights="denoise")


def test_a_given_noise_level_counts(psf, pair):
    condition = prepared(deconvolution("hyper-laplacian", psf.numpy(), noise=12.0), pair[1])
    assert "sigma 12.00 (given)" in condition.decisions["noise"] and "weight 134" in condition.decisions["method"]
    with pytest.raises(ConfigError, match=r"--noise cannot be 300\.0\. It is auto, or a number, from 0 to 255"):
        deconvolution("hyper-laplacian", psf.numpy(), noise=300.0)


def test_the_iterations_are_those_asked_for(psf, pair):
    for method in ("rl", "rl-tv"):
        engine = deconvolution(method, psf.numpy(), iterations=7)
        assert prepared(engine, pair[1]).decisions["method"] == f"{method}, 7 iterations"
        assert engine.fingerprint != deconvolution(method, psf.numpy()).fingerprint


def test_linear_light(psf):
    """A blur of light, seen as sRGB: undone better in light than in codes."""
    from restore.physics.color import linear_to_srgb, srgb_to_linear

    truth, light = seen(srgb_to_linear(scene()), psf, 0.0)
    codes, truth = (
        (linear_to_srgb(v.clamp(0, 1))[0].movedim(0, -1) * 255).round().byte().numpy() for v in (light, truth)
    )
    results = [
        quality(restore(deconvolution("wiener", psf.numpy(), linear=linear), Picture.from_array(codes))[0], truth)
        for linear in (False, True)
    ]
    assert results[1] > results[0] + 0.5


def test_srgb_goes_there_and_back():
    from restore.physics.color import linear_to_srgb, srgb_to_linear

    x = torch.linspace(-0.1, 1.2, 400, dtype=torch.float64)
    assert torch.allclose(linear_to_srgb(srgb_to_linear(x)), x, atol=1e-6)


def test_depth_and_channels_are_kept(psf, pair):
    grey = pair[1][:80, :90, :1].astype(np.uint16) * 257
    result, _ = restore(deconvolution("wiener", psf.numpy()), Picture.from_array(grey))
    assert result.dtype == np.uint16 and result.shape == grey.shape


def test_psf_files(tmp_path, psf):
    import cv2

    np.save(tmp_path / "k.npy", psf.numpy())
    assert torch.allclose(load_psf(tmp_path / "k.npy").psf, load_psf(psf.numpy()).psf, atol=1e-7)
    cv2.imwrite(str(tmp_path / "k.png"), np.rint(psf.numpy() / psf.numpy().max() * 65535).astype(np.uint16))
    assert torch.allclose(load_psf(tmp_path / "k.png").psf, load_psf(psf.numpy()).psf, atol=1e-4)
    assert load_psf("disc:3").psf.shape == (7, 7)


def test_what_is_refused(tmp_path, psf, pair):
    with pytest.raises(UnsupportedError, match="larger than the picture of 12 x 10 px"):
        prepared(deconvolution("wiener", psf.numpy()), pair[1][:10, :12])
    with pytest.raises(ConfigError, match="Give --psf FILE"):
        DeconvOptions()
    with pytest.raises(ConfigError, match="zero everywhere"):
        deconvolution("wiener", np.zeros((5, 5)))
    with pytest.raises(ConfigError, match="NaN"):
        deconvolution("wiener", np.full((3, 3), np.nan))
    with pytest.raises(FileError, match="missing"):
        deconvolution("wiener", tmp_path / "missing.png")
    (tmp_path / "bad.npy").write_bytes(b"nothing")
    with pytest.raises(FileError, match="no array of numbers"):
        deconvolution("wiener", tmp_path / "bad.npy")
    np.save(tmp_path / "words.npy", np.array(["a"]))
    with pytest.raises(FileError, match="cannot have values of type"):
        deconvolution("wiener", tmp_path / "words.npy")


def shaken_in_linear_light(psf):
    """(truth, blurred) in sRGB codes, H x W x 3."""
    pair = (linear_to_srgb(x.clamp(0, 1)) for x in seen(srgb_to_linear(scene()), psf.double(), 0.002))
    return tuple((x[0].movedim(0, -1) * 255).round().byte().numpy() for x in pair)


@pytest.mark.parametrize("kind", ["estimate", "estimate:line"])
def test_a_psf_is_estimated_taken_out_in_linear_light_and_can_be_saved(tmp_path, kind):
    truth, blurred = shaken_in_linear_light(motion(15, 30))
    engine = deconvolution("auto", kind, save_psf=tmp_path / "psfs")
    result, report = restore(engine, Picture.from_array(blurred))
    assert re.search(r"(line|motion) of 1[45]\.\d px at [23]\d degrees", report.decisions["psf"])
    assert report.decisions["method"].endswith("an estimated PSF")
    assert quality(result, truth) > quality(blurred, truth) + 3
    written = load_psf(tmp_path / "psfs" / "picture_psf.png").psf
    assert written.sum() == pytest.approx(1) and 11 <= max(written.shape) <= 21


def test_an_estimate_of_several_kinds_is_that_of_deblur_and_is_given_less_weight(monkeypatch):
    _, blurred = shaken_in_linear_light(motion(9, 0))
    found = Judged(Solution([motion(7, 0)], torch.ones(2, 1, 1), ([1.0], [1.0]), []), 2.0, "a line")
    asked = []
    monkeypatch.setattr("restore.engines.deconv.psf.judge_blur", lambda view, **how: asked.append(how) or found)
    condition = prepared(deconvolution("auto", "estimate"), blurred)
    assert asked[0]["one"] is True
    assert condition.decisions["psf"] == "7 x 1 px; estimated: a line"
    assert condition.decisions["method"] == "hyper-laplacian, weight 1000: an estimated PSF"
    exact = prepared(deconvolution("hyper-laplacian", motion(7, 0).numpy()), blurred).decisions["method"]
    assert float(exact.split("weight ")[1].split(";")[0]) > 1000
    nothing = Judged(None, 0.0, "no PSF is expected to gain 1.5 dB (the best -1.0)")
    monkeypatch.setattr("restore.engines.deconv.psf.judge_blur", lambda view, **how: nothing)
    decisions = prepared(deconvolution("auto", "estimate"), blurred).decisions
    assert decisions["psf"] == f"1 x 1 px; {nothing.summary}: left alone" and decisions["method"].startswith("none")


def test_a_sharp_picture_is_left_alone():
    codes = (scene()[0].movedim(0, -1)[100:356, 130:386] * 255).round().byte().numpy()
    for kind in ("estimate:line", "estimate:disc"):
        result, report = restore(deconvolution("auto", kind), Picture.from_array(codes))
        assert "left alone" in report.decisions["psf"] and "no blur" in report.decisions["method"]
        np.testing.assert_array_equal(result, codes)
    with pytest.raises(ConfigError, match="Use auto, line, disc, shake"):
        deconvolution("auto", "estimate:lens")


@pytest.mark.parametrize(
    ("at_edge", "negative", "why"),
    [
        (0.058, 0.1, "it fills its window of 31 px (5.8% of it lies at the edge, 2% at most; "
         "give a larger --psf-size if the blur is larger)"),
        (0.0, 0.6, "it is noise (negative values add up to 0.60 of the others, 0.45 at most)"),
    ],
)  # fmt: skip
def test_a_shake_that_is_none_leaves_the_picture_alone(at_edge, negative, why, monkeypatch):
    from restore.classical.blind import Estimate

    found = Estimate(shake(15).float(), 0.9, at_edge, negative)
    monkeypatch.setattr("restore.engines.deconv.psf.estimate_psf", lambda luma, size: found)
    codes = (scene()[0].movedim(0, -1)[100:200, 130:230] * 255).round().byte().numpy()
    result, report = restore(deconvolution("auto", "estimate:shake"), Picture.from_array(codes))
    assert report.decisions["psf"] == f"1 x 1 px; estimated: a shake, but {why}: left alone"
    np.testing.assert_array_equal(result, codes)


def test_a_psf_the_wrong_way_round_is_noticed():
    psf = shake(21)
    truth, blurred = ((t[0].movedim(0, -1).clamp(0, 1) * 255).round().byte().numpy() for t in seen(scene(), psf, 0.005))
    wrong = psf.numpy()[::-1, ::-1]
    results = {}
    for flip in (False, True):
        result, report = restore(deconvolution("wiener", wrong, flip_psf=flip), Picture.from_array(blurred))
        assert ("try --flip-psf" in report.decisions["psf"]) == (not flip)
        results[flip] = quality(result, truth)
    assert results[True] > results[False] + 5


def shown(psf, name, folder):
    truth, blurred = seen(scene()[..., 120:280, 150:330], psf, 0.005)
    codes = (blurred[0].movedim(0, -1).clamp(0, 1) * 255).round().byte().numpy()
    picture = Picture.from_array(codes)
    picture = dataclasses.replace(picture, info=dataclasses.replace(picture.info, path=folder / name))
    return picture, (truth[0].movedim(0, -1) * 255).numpy()


def test_a_folder_has_a_psf_for_each_picture(tmp_path):
    np.save(tmp_path / "first.npy", motion(9, 0).numpy())
    np.save(tmp_path / "second_psf.npy", motion(9, 90).numpy())
    engine = deconvolution("wiener", tmp_path)
    for name, angle in (("first.jpg", 0), ("second.jpg", 90)):
        picture, truth = shown(motion(9, angle).double(), name, tmp_path)
        result, report = restore(engine, picture)
        assert quality(result, truth) > quality(picture.pixels, truth) + 3
        assert f"from {name[:5]}" in report.decisions["psf"]
    picture, _ = shown(motion(9, 0).double(), "third.jpg", tmp_path)
    with pytest.raises(FileError, match=r"no PSF for third.*Put third\.png"):
        restore(engine, picture)
    before = engine.fingerprint
    np.save(tmp_path / "first.npy", motion(5, 0).numpy())
    assert deconvolution("wiener", tmp_path).fingerprint != before
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileError, match="no PSF in this folder"):
        deconvolution("wiener", tmp_path / "empty")


def test_where_a_picture_is_clipped():
    from restore.engines.deconv.methods import measure_crops

    x = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert measure_crops([0.9 * x], 0.01).white == 1 and not measure_crops([0.9 * x], 0.01).saturated
    at = measure_crops([x.clamp(max=0.8)], 0.01)
    assert at.white == pytest.approx(0.8) and at.clipped == pytest.approx(0.21, abs=0.02) and at.saturated
    assert measure_crops([0.5 * x], 0.01).white == 1  # merely dark
    assert measure_crops([], 0.01) == (0.01, 1.0, 0.0, 0.0)


def test_plug_and_play_knows_what_was_measured(monkeypatch):
    from restore.classical.boundary import extend
    from restore.engines.deconv import methods
    from restore.engines.deconv.prior import prior_of

    given = {}
    monkeypatch.setattr(methods, "plug_and_play", lambda y, *args, known: given.update(known=known) or y)
    wide = extend(torch.rand(1, 3, 40, 40), torch.ones(5, 5) / 25)
    seen_there = methods.Measured(0.02, 1.0, 0.0)
    solve, summary = methods.by_plug_and_play(torch.ones(5, 5) / 25, seen_there, prior_of())
    solve(wide, Place(0, 0, 40, 40))
    assert torch.equal(given["known"], wide.known()) and not given["known"].all()
    assert summary == "pnp, 8 steps with deconv_prior"


def test_plug_and_play_takes_the_denoiser_that_is_given_the_level():
    assert "deconv_prior" in deconvolution("pnp", "gauss:1").fingerprint
    assert "deconv_prior" not in deconvolution("pnp", "gauss:1", weights="denoise").fingerprint
    with pytest.raises(WeightsError, match="their network cannot be given a noise level"):
        deconvolution("pnp", "gauss:1", weights="cbsn")
