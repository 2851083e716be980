"""Blur drawn for training: pure in (seed, step, index), circular, in two regimes."""

from __future__ import annotations

import pytest
import torch

from restore.physics.fourier import convolve, otf
from restore.physics.random_blur import SIDE, BlurRecipe, blur, draw_bank


@pytest.fixture(scope="module")
def bank():
    return draw_bank(24)


@pytest.fixture
def clean():
    return torch.rand(4, 3, 48, 56, generator=torch.Generator().manual_seed(0))


def test_the_bank(bank):
    assert bank.shape == (24, 1, SIDE, SIDE) and bank.min() >= 0
    assert torch.allclose(bank.sum((1, 2, 3)), torch.ones(24), atol=1e-5)
    assert torch.equal(bank, draw_bank(24))


@pytest.mark.parametrize("regime", ["gaussian", "low-light"])
def test_a_sample_depends_on_its_number_alone(bank, clean, regime):
    recipe = BlurRecipe(regime=regime)
    whole = blur(clean, recipe, bank, 3, 7, 10)
    part = blur(clean[2:], recipe, bank, 3, 7, 12)
    assert all(torch.equal(a[2:], b) for a, b in zip(whole, part, strict=True))
    assert not torch.equal(blur(clean, recipe, bank, 3, 8, 10).psf, whole.psf)
    assert torch.allclose(convolve(clean, otf(whole.psf, (48, 56))), whole.clean, atol=1e-6)
    assert len({float(psf[0, 18, 18]) for psf in whole.psf}) > 1


def test_white_noise_of_the_levels_asked_for(bank):
    flat = torch.full((200, 3, 37, 37), 0.5)
    made = blur(flat, BlurRecipe(sigma=(2.55, 12.75), clipped=0.5), bank, 0, 0, 0)
    stds = (made.noisy - made.clean).std((1, 2, 3)) * 255
    assert 2.4 < stds.min() < 3 and 11 < stds.max() < 13.5 and stds.median() < 7
    codes = made.noisy * 255
    rounded = ((codes - codes.round()).abs().amax((1, 2, 3)) < 1e-3).float().mean()
    assert 0.4 < rounded < 0.6


def test_low_light_is_clipped_and_dark_noise_is_strong(bank):
    light = torch.ones(60, 3, 37, 37)
    made = blur(light, BlurRecipe(regime="low-light", white=0.5), bank, 0, 0, 0)
    assert float(made.noisy.max()) == pytest.approx(1 / 1.2) and float(made.clean.min()) > 0.999
    stds = (blur(0.2 * light, BlurRecipe(regime="low-light", white=0.5), bank, 0, 0, 0).noisy).std((1, 2, 3)) * 255
    assert 0.3 < float((stds > 14).float().mean()) < 0.7


@pytest.mark.parametrize("wrong", [{"regime": "dusk"}, {"sigma": (5, 3)}, {"clipped": 2}, {"bank": 0}, {"white": -1}])
def test_recipes_that_make_no_sense(wrong):
    with pytest.raises(ValueError, match=r"regime|sigma lies"):
        BlurRecipe(**wrong)
