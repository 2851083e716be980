"""Noise against theory: moments, correlation, and reproducibility whatever the batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from restore.analysis.clipping import clipped_moments
from restore.physics.dct import dct_matrix
from restore.physics.filters import gaussian_kernels
from restore.physics.level import level_map, noise_curve
from restore.physics.noise import (
    add_correlated,
    add_developed,
    add_gaussian,
    add_grain,
    add_poisson,
    add_resized,
    add_salt_pepper,
    add_speckle,
    quantise,
)
from restore.physics.noise_mixture import KINDS, NoiseRecipe, add_noise, degrade, plan_noise
from restore.physics.random import generator_for

LEVELS = torch.tensor([0.02, 0.2, 0.5, 0.95])


@pytest.fixture
def flat() -> Tensor:
    """Four constant pictures, 4 x 3 x 128 x 128, of the intensities `LEVELS`."""
    return LEVELS.view(4, 1, 1, 1).expand(4, 3, 128, 128).contiguous()


def each(*values: float) -> Tensor:
    return torch.tensor(values)


def spread(x: Tensor) -> Tensor:
    return x.std((1, 2, 3))


def lag1(noise: Tensor) -> Tensor:
    """Correlation of neighbours in a row, for each sample."""
    noise = noise - noise.mean((1, 2, 3), keepdim=True)
    return (noise[..., 1:] * noise[..., :-1]).mean((1, 2, 3)) / noise.square().mean((1, 2, 3))


def test_gaussian_std_for_each_sample(flat: Tensor) -> None:
    sigma = each(0.0, 0.02, 0.1, 0.3)
    noise = add_gaussian(flat, sigma, generator_for(1)) - flat
    assert torch.allclose(spread(noise), sigma, rtol=0.02, atol=1e-7)
    assert noise.mean().abs() < 2e-3 and lag1(noise[1:]).abs().max() < 0.02


def test_poisson_variance_is_intensity_over_photons(flat: Tensor) -> None:
    photons = each(5, 30, 200, 1000)
    noisy = add_poisson(flat, photons, generator_for(2))
    assert torch.allclose(noisy.mean((1, 2, 3)), LEVELS, rtol=0.02)
    assert torch.allclose(spread(noisy), (LEVELS / photons).sqrt(), rtol=0.02)


def test_speckle_grows_with_intensity(flat: Tensor) -> None:
    noisy = add_speckle(flat, each(0.1, 0.1, 0.2, 0.2), generator_for(3))
    assert torch.allclose(spread(noisy), LEVELS * each(0.1, 0.1, 0.2, 0.2), rtol=0.02)


def test_salt_and_pepper_hit_their_share(flat: Tensor) -> None:
    share = each(0.0, 0.05, 0.2, 0.5)
    noisy = add_salt_pepper(flat, share, generator_for(4))
    for value in (0.0, 1.0):
        assert torch.allclose((noisy == value).float().mean((1, 2, 3)), share / 2, atol=0.005)
    assert torch.equal(noisy[0], flat[0])


def test_correlated_noise_keeps_its_level_and_depends_on_the_signal(flat: Tensor) -> None:
    blur, dependence = each(0.0, 0.7, 1.2, 1.5), each(0.0, 1.0, 0.5, 1.0)
    kernels = gaussian_kernels(blur, torch.ones(4), torch.zeros(4))
    noise = add_correlated(flat, torch.full((4,), 0.05), generator_for(5), kernels, dependence) - flat
    assert torch.allclose(spread(noise), 0.05 * (1 + dependence * (2 * LEVELS - 1)).sqrt(), rtol=0.03)
    # neighbours under a Gaussian kernel of std s: exp(-1 / (4 s^2))
    assert lag1(noise).tolist() == pytest.approx([0, *torch.exp(-0.25 / blur[1:].square()).tolist()], abs=0.04)


def test_resized_noise_keeps_its_level_and_is_coarse(flat: Tensor) -> None:
    factor = each(1.0, 1.3, 2.0, 2.5)
    noise = add_resized(flat, torch.full((4,), 0.05), generator_for(6), factor, each(0.0, 0.3, 0.5, 0.9)) - flat
    assert torch.allclose(spread(noise), torch.full((4,), 0.05), rtol=0.04)
    assert lag1(noise)[0].abs() < 0.02 and (lag1(noise).diff() > 0.05).all()


def test_kernels_are_turned_and_of_sum_one() -> None:
    long = gaussian_kernels(each(1.2, 1.2), each(0.5, 0.5), each(0.0, math.pi / 2))
    assert torch.allclose(long.sum((1, 2)), torch.ones(2))
    assert torch.allclose(long[0], long[1].T, atol=1e-6)
    assert long[0, 3, 5] > 2 * long[0, 5, 3]  # the long axis lies along the row


@pytest.mark.parametrize("channels", [1, 3])
def test_clipped_moments_of_a_degraded_batch(channels: int) -> None:
    """What comes out of `degrade` is Foi's clipped Gaussian, and the level map holds the level before clipping."""
    flat = LEVELS.view(4, 1, 1, 1).expand(4, channels, 192, 192)
    noisy, level, kind = degrade(flat, NoiseRecipe(sigma=(50, 50)), seed=3, step=0)
    mean, std = clipped_moments(LEVELS, torch.full((4,), 50 / 255))
    assert torch.allclose(noisy.mean((1, 2, 3)), mean, atol=0.004)
    assert torch.allclose(spread(noisy), std, rtol=0.02)
    assert torch.allclose(level * 255, torch.tensor(50.0), rtol=0.05) and level.shape == (4, 1, 192, 192)
    assert kind.tolist() == [KINDS.index("gaussian")] * 4
    assert torch.equal(noisy, quantise(noisy)) and noisy.unique().numel() <= 256


@pytest.fixture
def ramp() -> Tensor:
    """Four colour pictures, 4 x 3 x 160 x 160, that go from 0.1 to 0.9 from left to right."""
    return torch.linspace(0.1, 0.9, 160).expand(4, 3, 160, 160).contiguous()


@pytest.mark.parametrize(
    ("recipe", "law"),
    [
        (NoiseRecipe({"gaussian": 1}, sigma=(25, 25), clipped=0), lambda x: torch.full_like(x, 25 / 255)),
        (NoiseRecipe({"poisson": 1}, photons=(50, 50), clipped=0), lambda x: (x / 50).sqrt()),
        (NoiseRecipe({"speckle": 1}, speckle=(0.2, 0.2), clipped=0), lambda x: 0.2 * x),
    ],
    ids=["gaussian", "poisson", "speckle"],
)
def test_level_map_of_white_noise_is_its_law(ramp: Tensor, recipe: NoiseRecipe, law: Callable) -> None:
    """At the local brightness of the noisy picture, as a network could know it."""
    level = degrade(ramp, recipe, seed=2, step=0).level_map[..., 8:-8]
    expected = law(ramp[:, :1, :, 8:-8])
    assert level.shape == (4, 1, 160, 144)
    assert (level / expected).log().abs().mean() < 0.04
    assert torch.allclose(level.mean(), expected.mean(), rtol=0.02)


def block_power(kernel: Tensor, side: int) -> float:
    """side^2 times the variance of means over side x side px of unit white noise filtered with a kernel of energy 1."""
    size = kernel.shape[-1]
    total = 0.0
    for dy in range(-side + 1, side):
        for dx in range(-side + 1, side):
            if max(abs(dy), abs(dx)) < size:
                one = kernel[max(dy, 0) : size + min(dy, 0), max(dx, 0) : size + min(dx, 0)]
                other = kernel[max(-dy, 0) : size + min(-dy, 0), max(-dx, 0) : size + min(-dx, 0)]
                total += float((one * other).sum()) * (1 - abs(dy) / side) * (1 - abs(dx) / side)
    return total


@pytest.mark.parametrize("blur", [0.5, 1.0, 1.5])
def test_level_of_correlated_noise_is_that_of_its_coarsest_scale(blur: float) -> None:
    flat, sigma = torch.full((4, 3, 192, 192), 0.5), torch.full((4,), 10 / 255)
    kernels = gaussian_kernels(torch.full((4,), blur), torch.ones(4), torch.zeros(4))
    noisy = add_correlated(flat, sigma, generator_for(5), kernels)
    level = level_map(noisy, noise_curve(noisy - flat, flat)) * 255
    unit = (kernels[0] / kernels[0].square().sum().sqrt()).double()
    factor = max(1.0, block_power(unit, 2), block_power(unit, 4))
    assert factor > 1.5  # the case is a real one
    assert torch.allclose(level, torch.tensor(10 * factor**0.5), rtol=0.05)


@pytest.mark.parametrize("kind", ["resize", "camera"])
def test_level_of_coarse_noise_is_above_its_std(kind: str) -> None:
    flat = torch.full((8, 3, 128, 128), 0.5)
    recipe = NoiseRecipe({kind: 1}, coarse_sigma=(10, 10), factor=(2, 2.5), clipped=0, camera_jpeg=0)
    noisy, level, _ = degrade(flat, recipe, 0, 0)
    assert (level.mean((1, 2, 3)) > 1.3 * (noisy - flat).square().mean((1, 2, 3)).sqrt()).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_level_of_jpegs_counts_what_compression_changed(channels: int) -> None:
    """The mean of its square is the power of all that differs from the clean picture, at its strongest scale."""
    x = torch.rand(4, channels, 96, 96, generator=generator_for(8))
    flat = torch.full_like(x, 0.5)
    alone = NoiseRecipe({"jpeg": 1}, quality=(60, 60))
    after = NoiseRecipe({"gaussian": 1}, sigma=(20, 20), jpeg=1, quality=(30, 30), clipped=0)
    for clean, recipe in ((x, alone), (flat, after)):
        noisy, level, _ = degrade(clean, recipe, 0, 0)
        change = noisy - clean
        blocks = [change.unfold(2, side, side).unfold(3, side, side).mean((4, 5)) * side for side in (1, 2, 4)]
        power = torch.stack([each.square().mean((1, 2, 3)) for each in blocks]).amax(0)
        assert torch.allclose(level.square().mean((1, 2, 3)), power, rtol=0.03) and power.min() > 1e-4
        assert torch.equal(noisy, quantise(noisy))


def test_level_error_is_one_factor_for_each_sample() -> None:
    flat = torch.full((400, 1, 16, 16), 0.5)
    recipe = NoiseRecipe(sigma=(20, 20), clipped=0)
    wrong, right = (degrade(flat, replace(recipe, level_error=error), 0, 0) for error in (0.2, 0.0))
    factor = (wrong.level_map / right.level_map).flatten(1).log()
    assert torch.equal(wrong.noisy, right.noisy) and factor.std(1).max() < 1e-5
    assert factor[:, 0].std().item() == pytest.approx(0.2, rel=0.1) and factor.mean().abs() < 0.03


MIXED = NoiseRecipe(dict.fromkeys(KINDS, 1.0), clipped=0.5, level_error=0.1, jpeg=0.3)


def test_a_sample_depends_on_seed_step_and_index_alone() -> None:
    clean = torch.rand(48, 3, 40, 32, generator=generator_for(9))
    whole = degrade(clean, MIXED, seed=5, step=7)
    assert len(set(whole.kind.tolist())) == len(KINDS)  # the batch is a real mixture
    for start, stop in ((0, 1), (3, 10), (10, 48)):
        part = degrade(clean[start:stop], MIXED, seed=5, step=7, first_index=start)
        for mine, theirs in zip(part, whole, strict=True):
            assert torch.allclose(mine, theirs[start:stop], atol=1e-6)
    for other in ({"seed": 6, "step": 7}, {"seed": 5, "step": 8}):
        assert not torch.allclose(degrade(clean, MIXED, **other).noisy, whole.noisy, atol=0.01)


def test_samples_of_a_batch_differ_and_shares_are_kept() -> None:
    recipe = NoiseRecipe({"gaussian": 3, "none": 1}, sigma=(5, 55), clipped=0.25)
    clean = torch.full((300, 3, 64, 64), 0.5)  # large enough for the coarse scales of each to be known
    noisy, level, kind = degrade(clean, recipe, 0, 0)
    quiet = kind == KINDS.index("none")
    assert quiet.float().mean().item() == pytest.approx(0.25, abs=0.07)
    assert (level[quiet] == 0).all() and (level[~quiet, 0, 0, 0] > 2 / 255).all()
    assert level[~quiet].mean().item() * 255 == pytest.approx(30, rel=0.06)
    whole_steps = (noisy * 255 - (noisy * 255).round()).abs().amax((1, 2, 3)) < 1e-4
    assert whole_steps[~quiet].float().mean().item() == pytest.approx(0.25, abs=0.08)


def test_levels_even_in_their_logarithm():
    recipe = NoiseRecipe(sigma=(1, 64), even_in_log=True, clipped=0)
    plan = plan_noise(recipe, [generator_for(0, 0, key) for key in range(4000)])
    octaves = torch.histc((plan.values["sigma"] * 255).log2(), 6, 0, 6) / 4000
    assert torch.allclose(octaves, torch.full((6,), 1 / 6), atol=0.03)
    with pytest.raises(ValueError, match="even_in_log needs a lower end above 0"):
        NoiseRecipe(sigma=(0, 50), even_in_log=True)


def test_the_callers_random_state_is_untouched() -> None:
    before = torch.get_rng_state()
    degrade(torch.rand(8, 3, 16, 16, generator=generator_for(0)), MIXED, 1, 1)
    assert torch.equal(torch.get_rng_state(), before)


def test_mistakes_in_a_recipe_are_named() -> None:
    with pytest.raises(ValueError, match="no noise 'gausian'"):
        NoiseRecipe({"gausian": 1})
    with pytest.raises(ValueError, match="must not be negative"):
        NoiseRecipe({"gaussian": -1, "none": 3})
    with pytest.raises(ValueError, match="2 generators for a batch of 3"):
        add_gaussian(torch.zeros(3, 1, 4, 4), torch.ones(3), [generator_for(0), generator_for(1)])


class _NoWaiting(TorchDispatchMode):
    """Fails on what reads a tensor's values on the host: on a GPU it would wait for all work before it."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        waits = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal", "masked_select", "_linalg_check_errors")
        assert name not in (*waits, "_unique2"), f"{name} waits for the device"
        assert not (name == "index" and any(i is not None and i.dtype == torch.bool for i in args[1])), "a mask waits"
        return func(*args, **(kwargs or {}))


def test_the_step_never_waits_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan is drawn on the CPU before; all tensors of the rest are the device's."""
    clean = torch.rand(48, 3, 32, 32, generator=generator_for(9))
    chances = [generator_for(5, 7, index) for index in range(48)]
    plan = plan_noise(MIXED, chances)
    assert len(set(plan.kinds)) == len(KINDS) and len(set(plan.formats)) == 3
    expected = degrade(clean, MIXED, 5, 7)
    from_host = torch.tensor

    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("waits for the device")

    def tensor(*args: object, **options: object) -> Tensor:
        assert "device" not in options, "a copy from the host that waits: use .to(device, non_blocking=True)"
        return from_host(*args, **options)

    for name in ("item", "tolist", "numpy", "cpu", "new_tensor", "__bool__", "__float__", "__int__", "__index__"):
        monkeypatch.setattr(Tensor, name, refuse)
    monkeypatch.setattr(torch, "tensor", tensor)
    with _NoWaiting():
        noisy = add_noise(clean, plan, chances)
        curve = noise_curve(noisy - clean, clean)
        level_map(noisy, curve)
    monkeypatch.undo()
    assert torch.equal(noisy, expected.noisy)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_step_never_waits_for_a_gpu() -> None:
    clean = torch.rand(48, 3, 32, 32, device="cuda")
    degrade(clean, MIXED, 5, 6)  # constants are brought over
    torch.cuda.set_sync_debug_mode("error")
    try:
        degrade(clean, MIXED, 5, 7)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_developed_noise_is_fine_in_luma_and_coarse_in_chroma(flat: Tensor) -> None:
    """And as strong, at coarse scales, as white noise of its level."""
    narrow, wide = (gaussian_kernels(torch.full((4,), std), torch.ones(4), torch.zeros(4), 6) for std in (0.6, 2.0))
    level, share = torch.full((4,), 0.05), torch.full((4,), 1.5)
    noise = add_developed(flat, level, generator_for(7), narrow, wide, share, torch.zeros(4)) - flat
    planes = torch.einsum("oc,nchw->nohw", dct_matrix(3), noise)
    luma, chroma = planes[:, :1], planes[:, 1:]
    assert lag1(luma).mean() < 0.6 and lag1(chroma).mean() > 0.9
    coarse = torch.nn.functional.avg_pool2d(planes, 16).square().mean((0, 2, 3)).sqrt() * 16
    assert torch.allclose(coarse, torch.tensor([0.05, 0.075, 0.075]), rtol=0.15)
    grey = add_developed(flat[:, :1], level, generator_for(7), narrow, wide, share, torch.ones(4)) - flat[:, :1]
    variance = grey.square().mean((1, 2, 3))  # 2 x, as of a sensor
    assert torch.allclose(variance / variance[2], LEVELS / 0.5, rtol=0.15)


def test_grain_is_alike_in_all_colours_and_of_the_middle_tones(flat: Tensor) -> None:
    kernels = gaussian_kernels(torch.full((4,), 0.6), torch.ones(4), torch.zeros(4), 6)
    noise = add_grain(flat, torch.full((4,), 0.05), generator_for(7), kernels) - flat
    assert torch.allclose(noise[:, :1].expand_as(noise), noise, atol=1e-6)
    std, middle = noise.std((1, 2, 3)), float(kernels[0].square().sum().sqrt()) * 0.05
    assert torch.allclose(std, 2 * (LEVELS * (1 - LEVELS)).sqrt() * middle, rtol=0.1)
    assert not add_grain(torch.ones(1, 3, 8, 8), torch.ones(1), generator_for(1), kernels[:1]).sub(1).any()


def test_networks_may_be_told_too_much_of_coarse_noise() -> None:
    clean = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    recipe = NoiseRecipe(weights={"developed": 1, "gaussian": 1}, steepness=(2, 9), reduction=(0, 2))
    true, told = (degrade(clean, replace(recipe, coarse_told=range_), 3, 4) for range_ in ((1, 1), (2, 2)))
    assert torch.equal(true.noisy, told.noisy)
    coarse = (true.kind == KINDS.index("developed")).view(-1, 1, 1, 1)
    assert 0 < coarse.sum() < 8
    assert torch.allclose(told.level_map, torch.where(coarse, 2 * true.level_map, true.level_map))
