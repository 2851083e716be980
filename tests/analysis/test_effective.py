"""The blind level against noise that is known: white exactly, coarse noise within its spread, texture as none."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from restore.analysis.effective import COUNT, LevelRegression, effective_curve, effective_level, features, soft_floor
from restore.analysis.noise import NoiseModel, estimate_noise
from restore.physics.level import KNOTS, level_map
from restore.physics.noise import quantise
from restore.physics.noise_mixture import NoiseRecipe, degrade
from restore.physics.random import generator_for


@pytest.fixture(scope="module")
def photographs() -> list[Tensor]:
    """1 x 3 x H x W each."""
    from skimage import data

    pictures = [data.astronaut(), data.chelsea(), data.coffee()]
    return [torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255 for picture in pictures]


def shown(noisy: Tensor) -> float:
    """Mean of the level map that a network would see, 8-bit units."""
    curve = effective_curve(estimate_noise([noisy[0]]), [noisy[0]])
    return float(level_map(noisy, curve[None]).mean()) * 255


def test_clean_photographs_have_next_to_no_noise(photographs: list[Tensor]) -> None:
    assert max(shown(picture) for picture in photographs) < 2


@pytest.mark.parametrize("sigma", [5, 15, 25, 50])
def test_white_noise_is_found_exactly(photographs: list[Tensor], sigma: float) -> None:
    for picture in photographs:
        noise = sigma / 255 * torch.randn(picture.shape, generator=generator_for(1))
        assert shown(quantise(picture + noise)) == pytest.approx(sigma, rel=0.1)


@pytest.mark.parametrize(("kind", "bias"), [("camera", 0.75), ("developed", 0.4)])
def test_the_level_of_coarse_noise_is_found_within_its_spread(
    photographs: list[Tensor], kind: str, bias: float
) -> None:
    ratios = []
    for index in range(15):
        clean = photographs[index % 3]
        done = degrade(clean, NoiseRecipe({kind: 1}, cameras=("dslr", "phone", "smoothed")), 5, 0, index)
        level = float(done.level_map.mean()) * 255
        if level > 3:
            ratios.append(math.log2(max(shown(done.noisy), 0.3) / level))
    assert len(ratios) >= 8
    assert abs(sorted(ratios)[len(ratios) // 2]) < bias  # octaves
    assert sum(abs(ratio) < 1 for ratio in ratios) >= 0.65 * len(ratios)


def test_grey_pictures_and_small_ones_have_an_answer_or_say_none(photographs: list[Tensor]) -> None:
    grey = photographs[0].mean(1)
    noisy = quantise(grey + 20 / 255 * torch.randn(grey.shape, generator=generator_for(2)))
    assert shown(noisy[None]) == pytest.approx(20, rel=0.15)
    assert effective_level([torch.rand(3, 30, 30, generator=generator_for(3))]) is None
    assert features([torch.rand(3, 64, 64, generator=generator_for(3))]) is None
    small = NoiseModel.white(0.1)
    assert torch.equal(effective_curve(small, [torch.rand(3, 30, 30)]), small.curve())


def test_features_are_levels_in_octaves(photographs: list[Tensor]) -> None:
    """Noise alone: every band of flat blocks shows it, and twice the noise is one more."""
    flat = torch.full((3, 256, 256), 0.5)
    noise = torch.randn(flat.shape, generator=generator_for(4))
    once, twice = (features([flat + sigma / 255 * noise]) for sigma in (10, 20))
    assert once is not None and twice is not None and once.shape == (COUNT,)
    assert torch.allclose(twice - once, torch.ones(COUNT), atol=1e-3)
    assert float(once[0]) == pytest.approx(math.log2(10), abs=0.1)


def test_the_untrained_regression_passes_on_the_finest_level() -> None:
    net = LevelRegression()
    torch.nn.init.zeros_(net.layers[-1].weight)
    torch.nn.init.zeros_(net.layers[-1].bias)
    x = torch.randn(4, COUNT, generator=generator_for(5))
    assert torch.equal(net(x), x[:, 0])
    assert soft_floor(torch.tensor([-30.0, 10.0])).tolist() == pytest.approx([-1, 10], abs=1e-3)


def test_the_curve_keeps_the_shape_of_the_noise_model(photographs: list[Tensor]) -> None:
    generator = generator_for(6)
    noisy = (torch.poisson(photographs[0] * 30, generator=generator) / 30).clamp(0, 1)
    curve = effective_curve(estimate_noise([noisy[0]]), [noisy[0]])
    seen = torch.linspace(0, 1, KNOTS)[4:13]
    assert torch.allclose(curve[4:13], (seen / 30).sqrt(), rtol=0.15)
