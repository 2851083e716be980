"""The pipeline of pictures from the wild: what it draws, and what each step does."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
import torch.nn.functional as F

from restore.physics.blur_kernels import SINC, Kernel, kernel_values
from restore.physics.jpeg import jpeg
from restore.physics.random import generator_for
from restore.physics.real_world import (
    MODES,
    PassPlan,
    PassRecipe,
    RealWorldPlan,
    RealWorldRecipe,
    damage,
    degrade_real_world,
    plan_real_world,
    poisson_noise,
)

COUNT = 10_000
HOST = torch.device("cpu")
CLEAN = torch.rand(4, 3, 48, 56, generator=torch.Generator().manual_seed(0))
QUIET = PassPlan(None, 1.0, "bicubic", True, 0.0, False, 100)
PLAIN = RealWorldPlan(QUIET, QUIET, None, "bicubic", True, 0)


@pytest.fixture(scope="module")
def plans():
    recipe = RealWorldRecipe()
    return [plan_real_world(recipe, generator_for(0, 0, item)) for item in range(COUNT)]


def within(count, share, of=COUNT):
    assert abs(count - of * share) <= 3 * math.sqrt(of * share * (1 - share)) + 1e-9, (count / of, share)


def damaged(x, plan, factor=1, seed=0):
    return damage(x, plan, factor, generator_for(seed))


def test_choices_are_drawn_as_often_as_the_table_says(plans):
    passes = [[plan.first for plan in plans], [plan.second for plan in plans]]
    for each, blur, up, down in zip(passes, (1, 0.8), (0.2, 0.3), (0.7, 0.4), strict=True):
        blurred = [one.kernel.kind for one in each if one.kernel]
        within(len(blurred), blur)
        kinds = Counter(blurred)
        within(kinds[SINC], 0.1, len(blurred))
        within(kinds["isotropic"], 0.9 * 0.45, len(blurred))
        within(kinds["plateau-anisotropic"], 0.9 * 0.03, len(blurred))
        within(sum(one.scale > 1 for one in each), up)
        within(sum(one.scale < 1 for one in each), down)
        within(sum(one.gaussian for one in each), 0.5)
        within(sum(one.grey for one in each), 0.4)
        for mode in MODES:
            within(sum(one.mode == mode for one in each), 1 / 3)
    within(sum(plan.sinc is not None for plan in plans), 0.8)
    within(sum(plan.compressed_last for plan in plans), 0.5)
    for mode in MODES:
        within(sum(plan.mode == mode for plan in plans), 1 / 3)


def test_numbers_are_drawn_from_their_ranges(plans):
    for part, scale, sigma, noise, poisson in (
        ("first", (0.15, 1.5), 3.0, (1, 30), (0.05, 3)),
        ("second", (0.3, 1.2), 1.5, (1, 25), (0.05, 2.5)),
    ):
        each = [getattr(plan, part) for plan in plans]
        for values, (low, high) in (
            ([one.scale for one in each], scale),
            ([one.noise for one in each if one.gaussian], noise),
            ([one.noise for one in each if not one.gaussian], poisson),
            ([float(one.quality) for one in each], (30, 95)),
            ([one.kernel.sigma[0] for one in each if one.kernel and one.kernel.kind != SINC], (0.2, sigma)),
        ):
            assert low <= min(values) < low + 0.01 * (high - low) and high - 0.01 * (high - low) < max(values) <= high
    cutoffs = [plan.sinc.cutoff for plan in plans if plan.sinc]
    assert math.pi / 3 <= min(cutoffs) < 1.06 and 3.13 < max(cutoffs) <= math.pi
    assert {plan.sinc.size for plan in plans if plan.sinc} == {21}


def test_a_sample_is_a_function_of_seed_step_and_number():
    recipe = RealWorldRecipe()
    whole = degrade_real_world(CLEAN, recipe, 4, 5, 6, 7)
    parts = [degrade_real_world(CLEAN[i : i + 1], recipe, 4, 5, 6, 7 + i) for i in range(4)]
    assert torch.equal(whole, torch.cat(parts))
    assert torch.equal(whole, degrade_real_world(CLEAN, recipe, 4, 5, 6, 7))
    for other in ((6, 6, 7), (5, 7, 7), (5, 6, 8)):
        assert not torch.equal(whole, degrade_real_world(CLEAN, recipe, 4, *other))


def test_without_damage_only_jpeg_of_quality_100_is_left():
    x = F.interpolate(CLEAN[:1, :, :6, :7], scale_factor=8.0, mode="bicubic").clamp(0, 1)
    full = torch.tensor([100.0])
    assert torch.equal(damaged(x, PLAIN), jpeg(jpeg(x, full), full))


def test_flat_pictures_stay_flat_through_blur_and_resizing():
    flat = torch.tensor([0.2, 0.6, 0.4]).view(1, 3, 1, 1).mul(255).round().div(255).expand(1, 3, 48, 56)
    kernels = [Kernel("plateau-anisotropic", 21, (3.0, 0.7), 1.0, 2.0), Kernel(SINC, 21, cutoff=1.2)]
    for scale, mode in ((0.3, "area"), (0.77, "bilinear"), (1.5, "bicubic")):
        first, second = (QUIET._replace(kernel=kernel, scale=scale, mode=mode) for kernel in kernels)
        plan = PLAIN._replace(first=first, second=second, sinc=kernels[1])
        assert (damaged(flat, plan, 2) - flat[..., :24, :28]).abs().max() <= 1.01 / 255  # JPEG rounds colours


def test_blur_is_the_correlation_with_the_kernel_reflected_at_the_borders():
    kernel = Kernel("generalised-anisotropic", 9, (2.0, 0.8), 0.7, 1.4)
    plan = PLAIN._replace(first=QUIET._replace(kernel=kernel))
    weights = kernel_values(kernel, HOST)[None].expand(3, 1, 9, 9)
    blurred = F.conv2d(F.pad(CLEAN[:1], (4, 4, 4, 4), mode="reflect"), weights, groups=3)
    assert (damaged(CLEAN[:1], plan) - damaged(blurred, PLAIN)).abs().max() <= 1.01 / 255


def test_the_sinc_after_the_last_jpeg_rings():
    edge = torch.zeros(1, 3, 48, 48)
    edge[..., 24:] = 0.8
    ringing = PLAIN._replace(sinc=Kernel(SINC, 21, cutoff=math.pi / 3), compressed_last=False)
    row = damaged(edge, ringing)[0, 1, 24]
    assert row.max() > 0.84 and float(row[:16].max()) < 0.05


def test_gaussian_noise_has_its_level_and_grey_noise_is_grey():
    flat = torch.full((1, 3, 96, 96), 128 / 255)
    for grey in (False, True):
        plan = PLAIN._replace(second=QUIET._replace(noise=10.0, grey=grey))
        noise = (damaged(flat, plan) - flat)[0]
        luma = (noise * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(0)
        share = 1.0 if grey else math.sqrt(0.299**2 + 0.587**2 + 0.114**2)  # independent channels average out
        assert float(luma.std()) * 255 == pytest.approx(10 * share, rel=0.05)
        if grey:
            assert (noise[0] - noise[2]).abs().max() < 2.01 / 255


def test_poisson_noise_has_as_many_photons_as_the_picture_has_values():
    codes = torch.arange(100.0).repeat_interleave(200).view(1, 1, 100, 200) / 255
    noise = poisson_noise(codes, generator_for(1))
    level = noise[0, 0].std(1)
    assert torch.allclose(level[40:], (codes[0, 0, 40:, 0] / 128).sqrt(), rtol=0.25)
    assert float((level[40:] / (codes[0, 0, 40:, 0] / 128).sqrt()).mean()) == pytest.approx(1, abs=0.03)
    assert abs(float(noise.mean())) < 0.002
    assert not poisson_noise(torch.zeros(1, 3, 8, 8), generator_for(1)).any()


def test_the_poisson_factor_scales_the_noise():
    ramp = torch.linspace(0.3, 0.7, 256).expand(1, 3, 96, 256)
    level = []
    for factor in (0.5, 1.0):
        plan = PLAIN._replace(second=QUIET._replace(gaussian=False, grey=True, noise=factor))
        level.append(float((damaged(ramp, plan) - damaged(ramp, PLAIN)).std()))
    assert level[1] / level[0] == pytest.approx(2, rel=0.05)


def test_low_qualities_show_blocks():
    x = F.interpolate(CLEAN[:1, :, :6, :7], scale_factor=8.0, mode="bicubic").clamp(0, 1)
    one = damaged(x, PLAIN._replace(second=QUIET._replace(quality=10)))
    steps = (one[..., 1:] - one[..., :-1]).abs().mean((0, 1, 2))
    assert float(steps[7::8].mean()) > 1.3 * float(steps[3::8].mean())


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (8, 8), (17, 5)])
def test_the_smallest_pictures_grey_or_not(size):
    for item, channels in ((0, 1), (1, 3), (2, 1), (3, 3)):
        made = degrade_real_world(torch.rand(1, channels, *size), RealWorldRecipe(), 1, 0, 0, item)
        assert made.shape == (1, channels, *size) and bool(made.isfinite().all())


def test_plans_take_as_many_numbers_whatever_they_are():
    """So that noise follows at the same place of the stream."""
    states = []
    for recipe in (RealWorldRecipe(), RealWorldRecipe(share_clean=1.0), RealWorldRecipe(PassRecipe(sinc=1.0))):
        generator = generator_for(4)
        plan_real_world(recipe, generator)
        states.append(generator.get_state())
    assert all(torch.equal(states[0], other) for other in states)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: PassRecipe(blur=2), "blur is 2: a share"),
        (lambda: PassRecipe(resize=(0, 0, 0)), "resize is .* not all 0"),
        (lambda: PassRecipe(scale=(1.1, 1.5)), "begins at 1 or below"),
        (lambda: PassRecipe(quality=(0, 95)), r"quality is \(0, 95\): two numbers of 1 to 100"),
        (lambda: RealWorldRecipe(share_clean=-0.1), r"share_clean is -0\.1: a share"),
        (lambda: RealWorldRecipe(sinc_size=20), "sinc_size is 20: an odd number"),
        (lambda: RealWorldRecipe(cutoff=(1.0, 4.0)), "cutoff is .* two numbers"),
    ],
)
def test_recipes_that_make_no_sense(make, says):
    with pytest.raises(ValueError, match=says):
        make()
