"""Non-local Bayes: what it gains, that tiles change nothing, and what it must survive."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from restore.analysis.noise import NoiseModel, estimate_noise
from restore.classical.nl_bayes import PRESETS, Params, Pass, multiple_of, nl_bayes, nl_bayes_phases, radius
from restore.physics.resample import pixel_shuffle_batch, pixel_unshuffle_batch

FAST, QUALITY = PRESETS["fast"], PRESETS["quality"]


@pytest.fixture(scope="module")
def clean() -> Tensor:
    data = pytest.importorskip("skimage.data")
    return torch.from_numpy(data.astronaut()).permute(2, 0, 1)[None, :, :192, 128:320] / 255


def add_noise(clean: Tensor, sigma: float, kernel: int = 1, seed: int = 0) -> Tensor:
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed))
    if kernel > 1:
        noise = F.avg_pool2d(noise, kernel, 1, padding=kernel // 2) * kernel
    return ((clean + noise * sigma / 255).clamp(0, 1) * 255).round() / 255


def psnr(a: Tensor, b: Tensor) -> float:
    return float(-10 * torch.log10((a - b).square().mean()))


def test_fast_gains_on_white_noise(clean: Tensor) -> None:
    y = add_noise(clean, 25)
    z = nl_bayes(y, estimate_noise(list(y)), FAST)
    assert psnr(z, clean) > psnr(y, clean) + 8.5
    assert psnr(z, clean) > 29.5


def test_quality_beats_fast(clean: Tensor) -> None:
    y = add_noise(clean, 25)[..., :128, :128]
    noise = NoiseModel.white(25 / 255)
    assert psnr(nl_bayes(y, noise, QUALITY), clean[..., :128, :128]) > psnr(nl_bayes(y, noise), clean[..., :128, :128])


def test_passes_beat_their_pilot(clean: Tensor) -> None:
    y, noise = add_noise(clean, 25), NoiseModel.white(25 / 255)
    assert psnr(nl_bayes(y, noise), clean) > psnr(nl_bayes(y, noise, replace(FAST, passes=())), clean) + 0.4


def test_clipping_is_corrected(clean: Tensor) -> None:
    y, noise = add_noise(clean, 50), NoiseModel.white(50 / 255)
    assert psnr(nl_bayes(y, noise), clean) > psnr(nl_bayes(y, noise, replace(FAST, correct_clipping=False)), clean) + 1


def test_black_and_white_come_back_black_and_white() -> None:
    steps = torch.tensor([0.0, 1.0]).repeat_interleave(48).expand(1, 3, 96, 96)
    z = nl_bayes(add_noise(steps, 50), NoiseModel.white(50 / 255))
    assert float(z[..., :40].mean()) < 0.03
    assert float(z[..., 56:].mean()) > 0.97


def test_shot_noise_curve_helps(clean: Tensor) -> None:
    counts = torch.poisson(clean * 30, generator=torch.Generator().manual_seed(0))
    y = ((counts / 30).clamp(0, 1) * 255).round() / 255
    noise = estimate_noise(list(y))
    flat = NoiseModel.white(noise.sigma)
    assert psnr(nl_bayes(y, noise), clean) > psnr(nl_bayes(y, flat), clean) + 0.3


def test_noise_alike_in_the_colours(clean: Tensor) -> None:
    """Half of its variance: one of three channels tells of the others."""
    shared = (add_noise(clean * 0 + 0.5, 25)[:, :1] - 0.5) * 0.5**0.5
    y = (add_noise(clean, 25 * 0.5**0.5) + shared).clamp(0, 1)
    noise = estimate_noise(list(y))
    assert noise.structured and not noise.correlated
    luma, *others = (row[0] for row in noise.spectrum)
    assert luma == pytest.approx(2.0, abs=0.4) and others == pytest.approx([0.5, 0.5], abs=0.2)
    alone = replace(noise, spectrum=NoiseModel.white(1.0).spectrum)
    assert psnr(nl_bayes(y, noise), clean) > psnr(nl_bayes(y, alone), clean) + 0.5


def test_correlated_noise(clean: Tensor) -> None:
    y = add_noise(clean, 25, kernel=3)
    noise = estimate_noise(list(y))
    full = psnr(nl_bayes(y, noise), clean)
    assert full > psnr(y, clean) + 3
    assert full > psnr(nl_bayes(y, noise.as_white()), clean) + 1.5
    phases = nl_bayes_phases(y, NoiseModel.white(25 / 255), 3)  # a 3 x 3 box leaves them white
    assert psnr(phases, clean) > psnr(y, clean) + 3


def test_no_noise_changes_nothing(clean: Tensor) -> None:
    z = nl_bayes(clean, NoiseModel.white(0.0))
    assert torch.equal(z, clean)
    assert z is not clean


def test_a_clean_picture_stays(clean: Tensor) -> None:
    assert psnr(nl_bayes(clean, estimate_noise(list(clean))), clean) > 42


@pytest.mark.parametrize("params", [FAST, Params(3, (Pass(4, 4, 8, 32), Pass(7, 3, 6, 24)))], ids=["fast", "two"])
@pytest.mark.parametrize("correlated", [False, True])
def test_a_tile_gives_what_the_whole_picture_gives(clean: Tensor, params: Params, correlated: bool) -> None:
    y = add_noise(F.pad(clean, (0, 128, 0, 64), mode="reflect"), 20, kernel=3 if correlated else 1)
    noise = estimate_noise(list(y)) if correlated else NoiseModel.white(20 / 255)
    assert noise.correlated == correlated
    whole = nl_bayes(y, noise, params)
    halo, step = radius(params), multiple_of(params)
    top, left = 96, 144
    start_row, start_column = max(0, top - halo) // step * step, (left - halo) // step * step
    tile = nl_bayes(y[..., start_row : top + 32 + halo, start_column : left + 48 + halo], noise, params)
    inside = tile[..., top - start_row : top + 32 - start_row, left - start_column : left + 48 - start_column]
    torch.testing.assert_close(inside, whole[..., top : top + 32, left : left + 48], atol=1e-5, rtol=0)


def test_nothing_beyond_the_radius_matters(clean: Tensor) -> None:
    y, noise = add_noise(clean, 20), NoiseModel.white(20 / 255)
    changed = y.clone()
    far = 96 + radius(FAST) + 1
    changed[..., far:] = torch.rand(changed[..., far:].shape, generator=torch.Generator().manual_seed(1))
    difference = (nl_bayes(changed, noise) - nl_bayes(y, noise)).abs().amax((0, 1, 2))
    assert float(difference[:97].max()) == 0
    assert float(difference[far:].max()) > 0.01


def test_batch_items_do_not_meet_and_runs_repeat(clean: Tensor) -> None:
    y = torch.cat([add_noise(clean, 20), add_noise(clean.flip(-1), 20, seed=1)])[..., :96, :96]
    torch.manual_seed(5)
    before, noise = torch.get_rng_state(), NoiseModel.white(20 / 255)
    both = nl_bayes(y, noise)
    assert torch.equal(both[1:], nl_bayes(y[1:], noise))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 9), (3, 2, 3), (4, 7, 40), (8, 16, 16), (1, 33, 5)])
def test_any_size_and_channels(preset: str, shape: tuple[int, int, int]) -> None:
    x = torch.rand(1, *shape, generator=torch.Generator().manual_seed(0))
    z = nl_bayes(x, NoiseModel.white(0.1, shape[0]), PRESETS[preset])
    assert z.shape == x.shape
    assert bool(z.isfinite().all())
    assert float(z.min()) >= 0 and float(z.max()) <= 1


def test_flat_pictures_with_many_equal_patches_are_covered() -> None:
    """All distances tie: a reference must still be in its own group, or pixels are left without an estimate."""
    for value in (0.0, 0.5, 1.0):
        x = torch.full((1, 3, 64, 80), value)
        z = nl_bayes(x, NoiseModel.white(0.001))
        torch.testing.assert_close(z, x, atol=2e-3, rtol=0)


def test_huge_contrast_and_tiny_noise_stay_finite() -> None:
    x = (torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    z = nl_bayes(x, NoiseModel.white(0.1 / 255))
    assert psnr(z, x) > 60


def test_channels_must_agree() -> None:
    with pytest.raises(ValueError, match="B x 3 x H x W"):
        nl_bayes(torch.rand(1, 1, 8, 8), NoiseModel.white(0.1))


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_phases_are_interleaved_back(factor: int) -> None:
    x = torch.arange(2 * 3 * 12 * 18, dtype=torch.float32).view(2, 3, 12, 18)
    phases = pixel_unshuffle_batch(x, factor)
    assert phases.shape == (2 * factor**2, 3, 12 // factor, 18 // factor)
    assert torch.equal(phases[1], x[1, :, ::factor, ::factor])
    assert torch.equal(pixel_shuffle_batch(phases, factor), x)
    assert nl_bayes_phases(torch.rand(1, 3, 11, 17), NoiseModel.white(0.1), factor).shape == (1, 3, 11, 17)


def test_phases_need_multiples() -> None:
    with pytest.raises(ValueError, match="not a multiple of factor 2"):
        pixel_unshuffle_batch(torch.rand(1, 3, 5, 4), 2)
    with pytest.raises(ValueError, match="whole sets"):
        pixel_shuffle_batch(torch.rand(3, 3, 5, 4), 2)
