"""Pictures as cameras blur them: extents, light, noise, and that a sample depends on its number alone."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import torch

from restore.physics import camera_blur
from restore.physics.blur_field import FieldBlur, draw_fields, field_at
from restore.physics.camera_blur import KINDS, CameraBlurRecipe, blur_as_camera
from restore.physics.color import linear_to_srgb, srgb_to_linear
from restore.physics.fourier import convolve, otf
from restore.physics.jpeg import jpeg
from restore.physics.random import generator_for

PLAIN = {"varying": 0.0, "lights": (1.0, 1.0), "noise": (0.0, 0.0), "jpeg": 0.0}


def clean(count: int = 6, side: int = 80) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def plain(kind: str, **fields) -> CameraBlurRecipe:
    return CameraBlurRecipe({kind: 1.0}, **{**PLAIN, **fields})


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_depends_on_its_number_alone(kind):
    recipe = CameraBlurRecipe({kind: 1.0}, jpeg=0.5, length=(2.0, 12.0))
    whole = blur_as_camera(clean(), recipe, 3, 7, 10)
    part = blur_as_camera(clean()[2:4], recipe, 3, 7, 12)
    for name in ("psf", "varying", "linear"):
        assert torch.allclose(getattr(whole, name)[2:4], getattr(part, name), atol=1e-6)
    assert ((whole.blurred[2:4] - part.blurred).abs() > 1e-6).float().mean() < 1e-4  # roundings at a half
    other = blur_as_camera(clean(), recipe, 3, 8, 10).blurred
    assert not torch.equal(other, whole.blurred)
    margin = recipe.margin
    assert torch.equal(whole.clean, clean()[..., margin:-margin, margin:-margin])
    assert torch.allclose(whole.psf.sum((1, 2, 3)), torch.ones(6), atol=1e-4)
    codes = whole.blurred * 255
    assert torch.allclose(codes, codes.round(), atol=1e-3) and whole.blurred.min() >= 0 and whole.blurred.max() <= 1


def test_draws_that_trainings_have_learned_from():
    """Recorded before there were fields: neither they nor their weight of 0 move any draw."""
    weights = {"shake": 0.6, "line": 0.12, "disc": 0.08, "gaussian": 0.05, "none": 0.15}
    x = clean(8)
    made, same = (blur_as_camera(x, recipe, 3, 5, 10) for recipe in (
        CameraBlurRecipe(), CameraBlurRecipe({**weights, "field": 0.0})
    ))  # fmt: skip
    assert all(torch.equal(a, b) for a, b in zip(made, same, strict=True))
    means = [0.589088, 0.496948, 0.590321, 0.499306, 0.5901, 0.613778, 0.633484, 0.499806]
    assert made.blurred.mean((1, 2, 3)).tolist() == pytest.approx(means, abs=2e-5)
    power = [0.047696, 1.0, 0.018008, 0.055961, 0.081944, 0.034044, 0.026372, 0.079252]
    assert made.psf.square().sum((1, 2, 3)).tolist() == pytest.approx(power, abs=2e-5)
    assert made.varying.nonzero()[:, 0].tolist() == [0, 2]
    assert (~made.linear).nonzero()[:, 0].tolist() == [3, 7]


def test_none_is_noise_and_jpeg_alone():
    made = blur_as_camera(clean(), plain("none"), 1, 2, 3)
    assert (made.blurred - made.clean).abs().max() <= 0.5 / 255 + 1e-6
    flat = torch.full((40, 3, 80, 80), 0.5)
    noisy = blur_as_camera(flat, plain("none", noise=(3.0, 3.0)), 1, 2, 3)
    std = (noisy.blurred - noisy.clean).std((1, 2, 3)) * 255
    assert std.mean() == pytest.approx((9 + 1 / 12) ** 0.5, rel=0.01)
    squeezed = blur_as_camera(clean(), plain("none", jpeg=1.0, quality=(80.0, 80.0)), 1, 2, 3)
    rounded = (squeezed.clean * 255).round() / 255
    assert torch.equal(squeezed.blurred, jpeg(rounded, torch.full((6,), 80.0)))


@pytest.mark.parametrize("kind", ["shake", "line", "disc", "gaussian"])
@pytest.mark.parametrize("linear", [0.0, 1.0])
def test_uniform_blur_is_scipys_convolution(kind, linear):
    recipe = plain(kind, linear=linear, length=(11.0, 11.0), radius=(3.0, 3.0))
    x = clean(2)
    made = blur_as_camera(x, recipe, 1, 2, 3)
    light = srgb_to_linear(x.double()) if linear else x.double()
    blurred = np.stack([
        [scipy.ndimage.convolve(plane.numpy(), psf[0].double().numpy(), mode="wrap") for plane in each]
        for each, psf in zip(light, made.psf, strict=True)
    ])  # fmt: skip
    expected = torch.from_numpy(blurred).clamp(0, 1)
    expected = linear_to_srgb(expected) if linear else expected
    margin = recipe.margin
    assert (made.blurred - expected[..., margin:-margin, margin:-margin]).abs().max() <= 0.51 / 255
    assert made.linear.all() == bool(linear) and not made.varying.any()


def test_extents_are_those_asked_for():
    """What lies beyond the extent is at most the bilinear spread over one pixel at each end."""
    made = blur_as_camera(clean(), plain("line", length=(9.0, 9.0)), 1, 2, 3)
    for psf in made.psf[:, 0]:
        rows, columns = (torch.arange(len(psf)) - len(psf) // 2 for _ in range(2))
        variance = (psf.sum(1) @ rows.square().float()) + (psf.sum(0) @ columns.square().float())
        assert float(variance) == pytest.approx(81 / 12, abs=0.5)  # of a line, and the bilinear spread


def test_ramps_go_from_one_psf_to_the_other():
    recipe, x = plain("shake", varying=1.0, linear=0.0, length=(4.0, 12.0)), clean(8)
    made = blur_as_camera(x, recipe, 1, 2, 3)
    plan = camera_blur._planned(recipe, [generator_for(1, 2, 3 + i) for i in range(8)])
    share = camera_blur._ramps(plan.ramp.float(), (80, 80))
    assert made.varying.all() and torch.equal(made.psf, plan.psf)
    first, second = (convolve(x, otf(psf, (80, 80))) for psf in (plan.psf, plan.other))
    margin = recipe.margin
    expected = ((1 - share) * first + share * second)[..., margin:-margin, margin:-margin]
    assert (made.blurred - expected).abs().max() <= 0.51 / 255
    assert int(((first - second).abs().amax((1, 2, 3)) > 0.1).sum()) >= 6
    assert share.min() == 0 and share.max() == 1 and (share.amin((1, 2, 3)) < 0.5).all()
    slopes = share[0, 0].diff(dim=0)[:, 1:], share[0, 0].diff(dim=1)[1:]  # a plane, but for its ends
    steep = [slope[(share[0, 0, 1:, 1:] > 0.1) & (share[0, 0, 1:, 1:] < 0.9)] for slope in slopes]
    assert all(float(slope.std()) < 1e-5 for slope in steep) and float(torch.stack(steep).norm(dim=0)[0]) > 1 / 100


def test_lights_above_white_stay_brighter_than_the_others():
    x = torch.full((16, 1, 80, 80), 0.2)
    x[..., 36:44, 36:44] = 1
    dim, lit = (
        blur_as_camera(x, plain("disc", linear=1.0, radius=(6.0, 6.0), lights=lights), 1, 2, 3)
        for lights in ((1.0, 1.0), (3.0, 3.0))
    )
    brighter = (lit.blurred - dim.blurred).amax((1, 2, 3)) > 0.05
    assert 1 <= int(brighter.sum()) <= 9 and (lit.blurred >= dim.blurred).all()  # a quarter of them


def test_fields_are_those_drawn_for_the_sample():
    recipe, x = plain("field", linear=1.0, length=(14.0, 14.0)), clean(3, 90)
    made = blur_as_camera(x, recipe, 4, 5, 6)
    field = 14 * field_at(draw_fields([generator_for(4, 5, 6 + i, 1) for i in range(3)]), (90, 90))
    margin = recipe.margin
    expected = linear_to_srgb(FieldBlur(field, longest=14.4).forward(srgb_to_linear(x)).clamp(0, 1))
    assert (made.blurred - expected[..., margin:-margin, margin:-margin]).abs().max() <= 0.51 / 255
    assert made.varying.all() and torch.allclose(made.psf.sum((1, 2, 3)), torch.ones(3), atol=1e-4)
    mixed = blur_as_camera(x, CameraBlurRecipe({"field": 1.0, "shake": 1.0}, **PLAIN), 4, 5, 6)
    assert mixed.varying.any() and not mixed.varying.all()


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"weights": {"shak": 1.0}}, "there is no blur 'shak'; there are shake, line"),
        ({"weights": {"shake": 0.0}}, "weights of blurs"),
        ({"weights": {"shake": -1.0, "line": 3.0}}, "weights of blurs"),
        ({"length": (5.0, 3.0)}, "length is"),
        ({"quality": (0.0, 3.0)}, "quality is"),
        ({"varying": 1.5}, "varying is 1.5: a share"),
        ({"power": 0.0}, "power is 0.0"),
    ],
)
def test_recipes_that_make_no_sense(fields, says):
    with pytest.raises(ValueError, match=says):
        CameraBlurRecipe(**fields)
