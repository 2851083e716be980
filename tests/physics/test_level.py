"""The level as a curve over intensity and as a map: known variances, known scales, known neighbourhoods."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from restore.physics.filters import gaussian_kernels
from restore.physics.level import KNOTS, MAP_RADIUS, level_map, noise_curve
from restore.physics.noise import add_correlated
from restore.physics.random import generator_for, normal

PLACES = torch.linspace(0, 1, KNOTS)


def ramp(low: float, high: float, count: int = 1, side: int = 256, channels: int = 3) -> Tensor:
    return torch.linspace(low, high, side).expand(count, channels, side, side).contiguous()


def white(like: Tensor, seed: int = 0) -> Tensor:
    return normal(like.shape, generator_for(seed), like.device)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("law", [(4e-3, 0.0, 0.0), (1e-3, 8e-3, 0.0), (1e-4, 0.0, 2e-2), (6e-3, -1.8e-2, 1.6e-2)])
def test_curve_recovers_the_variance(law: tuple[float, float, float], channels: int) -> None:
    clean = ramp(0, 1, channels=channels)
    a, b, c = law
    noise = white(clean) * (a + b * clean + c * clean.square()).sqrt()
    expected = a + b * PLACES + c * PLACES.square()
    off = (noise_curve(noise, clean)[0].square() - expected).abs()
    assert (off / expected.mean()).max() < 0.1 and (off / expected)[2:-2].max() < 0.1


def test_curve_is_constant_outside_the_intensities_seen() -> None:
    clean = ramp(0.3, 0.6)
    curve = noise_curve(white(clean) * clean.sqrt() * 0.1, clean)[0]
    dark, seen, bright = curve[PLACES < 0.3], curve[(PLACES > 0.3) & (PLACES < 0.6)], curve[PLACES > 0.61]
    assert torch.allclose(dark, dark[:1], rtol=1e-5) and torch.allclose(bright, bright[:1], rtol=1e-5)
    assert (seen.diff() > 0).all() and dark[0] < seen[0] and bright[0] > seen[-1]
    assert dark[0].square() == pytest.approx(0.3e-2, rel=0.15) and bright[0].square() == pytest.approx(0.6e-2, rel=0.15)


def test_curve_stays_positive_where_a_parabola_would_not() -> None:
    clean = ramp(0, 1)
    noise = white(clean) * (clean > 0.75) * 0.1
    curve = noise_curve(noise, clean)[0]
    assert curve.isfinite().all()
    assert curve.min().square() == pytest.approx(0.05 * noise.square().mean().item(), rel=0.1)
    assert curve[PLACES.gt(0.2) & PLACES.lt(0.5)].max() == curve.min()  # there the parabola lies below


def test_no_noise_has_no_level() -> None:
    clean = torch.rand(2, 3, 32, 32, generator=generator_for(1))
    assert noise_curve(torch.zeros_like(clean), clean).abs().max() == 0


def test_curve_of_a_flat_picture_is_its_root_mean_square() -> None:
    clean = torch.full((1, 3, 128, 128), 0.4)
    noise = white(clean) * 0.07
    assert torch.allclose(noise_curve(noise, clean), torch.tensor(0.07), rtol=0.02)


def test_white_noise_is_not_coarse_and_blur_makes_it_ever_coarser() -> None:
    """In a batch of one level; sampling lifts white noise a little, as the largest of three estimates."""
    blur = torch.tensor([0.0, 0.4, 0.7, 1.0, 1.5])
    clean = torch.full((5, 3, 192, 192), 0.5)
    kernels = gaussian_kernels(blur, torch.ones(5), torch.zeros(5))
    noise = add_correlated(clean, torch.full((5,), 0.05), generator_for(2), kernels) - clean
    ratio = noise_curve(noise, clean)[:, 0] / noise.square().mean((1, 2, 3)).sqrt()
    assert 0.999 < ratio[0] < 1.05**0.5 and (ratio.diff() > 0.03).all() and ratio[-1] > 2.5


def test_checkerboard_noise_is_as_strong_as_it_is() -> None:
    """What vanishes at coarse scales keeps the level of its pixels: the factor is never below 1."""
    clean = torch.full((1, 1, 64, 64), 0.5)
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    noise = (((rows + columns) % 2) * 0.2 - 0.1).expand_as(clean)
    assert torch.allclose(noise_curve(noise, clean), torch.tensor(0.1), rtol=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
def test_map_is_the_curve_at_the_local_brightness(channels: int) -> None:
    """Between knots the curve is linear; brightness is clamped to its ends."""
    curve = (0.02 + 0.1 * PLACES).expand(7, -1)
    levels = torch.tensor([-0.2, 0.0, 0.03, 0.5, 0.77, 1.0, 1.3])
    flat = levels.view(-1, 1, 1, 1).expand(-1, channels, 20, 24)
    level = level_map(flat, curve)
    expected = (0.02 + 0.1 * levels.clamp(0, 1)).view(-1, 1, 1, 1).expand(-1, 1, 20, 24)
    assert level.shape == expected.shape and torch.allclose(level, expected, atol=1e-6)


def test_brightness_is_the_mean_of_the_channels() -> None:
    colour = torch.tensor([0.9, 0.3, 0.0]).view(1, 3, 1, 1).expand(1, 3, 16, 16)
    assert torch.allclose(level_map(colour, PLACES[None]), torch.tensor(0.4), atol=1e-6)


def test_a_pixel_changes_the_map_within_its_radius() -> None:
    side, at = 31, 15
    x = torch.full((1, 1, side, side), 0.4)
    probe = x.clone()
    probe[..., at, at] = 0.9
    change = (level_map(probe, PLACES[None]) - level_map(x, PLACES[None]))[0, 0]
    inside = torch.zeros(side, side, dtype=torch.bool)
    inside[at - MAP_RADIUS : at + MAP_RADIUS + 1, at - MAP_RADIUS : at + MAP_RADIUS + 1] = True
    assert torch.allclose(change[inside], torch.tensor(0.5 / (2 * MAP_RADIUS + 1) ** 2), atol=1e-6)
    assert (change[~inside] == 0).all()


def test_a_border_counts_only_what_is_there() -> None:
    x = torch.full((1, 1, 9, 9), 0.6)
    assert torch.allclose(level_map(x, PLACES[None]), torch.tensor(0.6), atol=1e-6)


def test_map_moves_with_the_picture() -> None:
    x = torch.rand(1, 3, 48, 64, generator=generator_for(3))
    whole = level_map(x, PLACES[None])
    part = level_map(x[..., 5:40, 9:50], PLACES[None])
    inner = slice(MAP_RADIUS, -MAP_RADIUS)
    assert torch.allclose(part[..., inner, inner], whole[..., 5:40, 9:50][..., inner, inner], atol=1e-6)


def test_samples_of_a_batch_do_not_see_each_other() -> None:
    clean = torch.rand(5, 3, 40, 40, generator=generator_for(4))
    noise = white(clean) * torch.tensor([0.01, 0.05, 0.1, 0.2, 0.3]).view(-1, 1, 1, 1)
    curve = noise_curve(noise, clean)
    level = level_map(clean + noise, curve)
    for i in range(5):
        alone = slice(i, i + 1)
        assert torch.allclose(noise_curve(noise[alone], clean[alone]), curve[alone], rtol=1e-4)
        assert torch.allclose(level_map((clean + noise)[alone], curve[alone]), level[alone], rtol=1e-5)
