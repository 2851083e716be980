"""Plug-and-play: its data step, its schedule, and that a denoiser helps."""

from __future__ import annotations

import pytest
import torch

from restore.classical.plug_and_play import plug_and_play
from restore.classical.wiener import wiener
from restore.physics.fourier import convolve, correlate, otf

from .blurred import circular, psnr, scene, shake


def test_the_levels_fall_to_the_noise_evenly():
    levels = []

    def watch(x, level):
        levels.append(level)
        return x

    plug_and_play(torch.rand(1, 1, 20, 24), torch.ones(1, 1), 5 / 255, watch, iterations=6)
    steps = torch.tensor(levels).log().diff()
    assert levels[0] == pytest.approx(49 / 255) and levels[-1] == pytest.approx(5 / 255)
    assert torch.allclose(steps, steps[:1].expand(5), atol=1e-5)


def test_the_data_step_is_the_minimum():
    """K^T (K z - y) + alpha (z - x) = 0 for the first z, which starts from y."""
    y, psf = torch.rand(1, 1, 32, 30, dtype=torch.float64), shake(9)
    seen = []

    def watch(x, level):
        seen.append(x)
        return x

    plug_and_play(y, psf, 0.02, watch, iterations=2)
    transfer = otf(psf, (32, 30))
    alpha = 0.23 * (0.02 / (49 / 255)) ** 2
    slope = correlate(convolve(seen[0], transfer) - y, transfer) + alpha * (seen[0] - y)
    assert float(slope.abs().max()) < 1e-12


def test_a_denoiser_is_worth_its_time():
    """A plain smoother of the given level in its place: still better than Wiener's best."""
    import cv2

    def smoother(x, level):
        picture = x[0, 0].float().numpy()
        return torch.from_numpy(cv2.bilateralFilter(picture, 5, 3 * level, 2.0))[None, None].to(x)

    x, psf = scene()[..., 100:356, 130:386], shake()
    y = circular(x, psf, 0.03)
    linear = max(psnr(wiener(y, psf, weight), x) for weight in (0.03, 0.1, 0.3))
    assert psnr(plug_and_play(y, psf, 0.03, smoother), x) > linear + 0.3


def test_a_made_up_border_is_no_measurement():
    """Nothing but the first step depends on it; where everything is known, nothing changes."""
    y, psf = torch.rand(1, 1, 40, 48, dtype=torch.float64), shake(9)
    known = torch.zeros(1, 1, 40, 48, dtype=torch.bool)
    known[..., :32, :40] = True

    def still(x, level):
        return torch.full_like(x, 0.5) if level > 0.19 else x

    def solved(y, known):
        return plug_and_play(y, psf, 0.02, still, iterations=2, known=known)

    other = torch.where(known, y, 0.9)
    assert torch.allclose(solved(y, known), solved(other, known), atol=1e-12)
    assert not torch.allclose(solved(y, None), solved(other, None), atol=1e-3)
    assert torch.equal(solved(y, torch.ones_like(known)), solved(y, None))


def test_the_denoiser_sees_all_orientations():
    shown = []

    def watch(x, level):
        shown.append(x)
        return x

    y = torch.rand(1, 1, 20, 24, dtype=torch.float64)
    delta = torch.ones(1, 1, dtype=torch.float64)  # no blur: every step leaves y as it is
    assert torch.allclose(plug_and_play(y, delta, 0.02, watch), y, atol=1e-12)
    corners = {tuple(x[0, 0, [0, 0, -1, -1], [0, -1, 0, -1]].tolist()) for x in shown}
    assert len(shown) == len(corners) == 8
    assert [x.shape[-2:] == (20, 24) for x in shown] == [True] * 4 + [False] * 4
