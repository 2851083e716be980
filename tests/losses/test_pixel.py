"""Pixel and frequency losses: known values, closed forms, gradients at equality."""

from __future__ import annotations

import math

import pytest
import torch

from restore.losses.frequency import fft_loss
from restore.losses.pixel import charbonnier_loss, gradient_loss, l1_loss, l2_loss, phase_loss, tv_loss

from .golden import golden_pair

GOLDEN = {  # on the pair of 192 x 192
    l1_loss: 0.07666071,
    l2_loss: 0.00865050,
    charbonnier_loss: 0.07668320,
    gradient_loss: 0.121624,
    fft_loss: 0.00373828,
}


@pytest.mark.parametrize("loss", GOLDEN)
def test_known_values(loss):
    x, y = golden_pair(192, 192)
    assert loss(x, y).item() == pytest.approx(GOLDEN[loss], abs=5e-7 if loss is gradient_loss else 1e-8)
    assert loss(x.float(), y.float()).item() == pytest.approx(GOLDEN[loss], abs=1e-6)
    assert loss(x, y).dtype == torch.float64


@pytest.mark.parametrize("loss", [*GOLDEN, tv_loss])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float16])
def test_gradients_at_equality_are_finite(loss, kind):
    x = torch.full((1, 3, 16, 16), 0.5, dtype=kind, requires_grad=True)
    value = loss(x, x.detach().clone())
    (gradient,) = torch.autograd.grad(value, x)
    assert value.dtype == torch.float32 and gradient.dtype == kind
    assert gradient.abs().max() == 0
    assert value.item() == pytest.approx(1e-3 if loss is charbonnier_loss else 0.0, rel=1e-5)


@pytest.mark.parametrize("loss", [*GOLDEN, tv_loss])
def test_gradcheck(loss):
    x, y = (each[..., :9, :8].clone() for each in golden_pair(16, 16))
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda a: loss(a, y), x)


@pytest.mark.parametrize("loss", [*GOLDEN, tv_loss])
def test_autocast_changes_nothing(loss):
    x, y = (each.float() for each in golden_pair(32, 32))
    with torch.autocast("cpu", torch.bfloat16):
        inside = loss(x, y)
    assert inside.dtype == torch.float32 and inside == loss(x, y)


@pytest.mark.parametrize("loss", GOLDEN)
def test_shapes_must_agree(loss):
    with pytest.raises(ValueError, match=r"one shape, not \(1, 3, 8, 8\) and \(1, 1, 8, 8\)"):
        loss(torch.zeros(1, 3, 8, 8), torch.zeros(1, 1, 8, 8))


def test_total_variation_of_a_ramp_is_its_slope():
    ramp = (0.01 * torch.arange(20.0)[:, None] - 0.03 * torch.arange(30.0)).expand(2, 3, 20, 30)
    assert tv_loss(ramp).item() == pytest.approx(0.04, rel=1e-5)
    assert tv_loss(ramp, torch.rand(2, 3, 20, 30)) == tv_loss(ramp), "the target plays no part"
    assert gradient_loss(ramp + 0.2, torch.zeros_like(ramp)).item() == pytest.approx(0.04, rel=1e-4)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (15, 33), (64, 8)])
def test_fft_of_an_impulse_and_of_a_constant(height, width):
    """An orthonormal transform spreads a pixel evenly (wherever it lies), and keeps a constant in one bin."""
    zero = torch.zeros(1, 1, height, width)
    for place in ((0, 0), (7, 3)):
        impulse = zero.clone()
        impulse[0, 0, place[0], place[1]] = 0.5
        assert fft_loss(impulse, zero).item() == pytest.approx(0.5 / math.sqrt(height * width), rel=1e-5)
    bins = height * (width // 2 + 1)
    assert fft_loss(zero + 0.5, zero).item() == pytest.approx(0.5 * math.sqrt(height * width) / bins, rel=1e-5)


def test_fft_of_white_noise_does_not_depend_on_the_size():
    """|F| of unit white noise is Rayleigh distributed: mean sqrt(pi) / 2."""
    generator = torch.Generator().manual_seed(0)
    for side in (32, 64, 250):
        noise = torch.randn((1 + 250_000 // side**2, 1, side, side), generator=generator)
        assert fft_loss(noise, torch.zeros_like(noise)).item() == pytest.approx(math.sqrt(math.pi) / 2, rel=0.01)


def test_smoothness_by_hand():
    """INFWIDE's TV: twice the mean squared differences."""
    from restore.losses.pixel import smoothness_loss

    x = torch.tensor([[[[0.0, 1.0, 3.0], [2.0, 2.0, 2.0]]]])
    assert float(smoothness_loss(x)) == pytest.approx(2 * ((1 + 4 + 0 + 0) / 4 + (4 + 1 + 1) / 3))


def test_the_phase_loss_sees_patterns_of_its_period_alone():
    """In closed form: a of every 16th pixel differs by a(1 - 1/16) there and a/16 elsewhere from the phases' mean."""
    y = torch.rand(1, 3, 64, 66, generator=torch.Generator().manual_seed(0))  # two columns are left out
    pattern = torch.zeros(4, 4)
    pattern[1, 2] = 0.1
    regular = torch.nn.functional.pad(pattern.repeat(16, 16), (0, 2))
    assert phase_loss(y + regular, y).item() == pytest.approx(0.1 * 2 * 15 / 256, rel=1e-4)
    assert phase_loss(y + 0.1, y).item() == pytest.approx(0, abs=1e-6)
    assert phase_loss(y + pattern[:3, :3].repeat(22, 22)[:64, :66], y) < 0.003, "of another period"
    with pytest.raises(ValueError, match="looks at 32 px at once, not at 28"):
        phase_loss(y[..., :31, :], y[..., :31, :])


def phase_of(x: torch.Tensor, **options: int) -> float:
    return phase_loss(x, torch.zeros_like(x), **options).item()


def test_the_phase_loss_of_any_pattern_is_its_mean_deviation():
    generator = torch.Generator().manual_seed(0)
    for scale in (2, 3, 4):
        tile = torch.rand(2, 3, scale, scale, generator=generator, dtype=torch.float64)
        deviation = (tile - tile.mean((2, 3), keepdim=True)).abs().mean().item()
        pattern = tile.tile(1, 1, 17, 18)
        assert phase_of(pattern, scale=scale, window=4) == pytest.approx(deviation)
        assert phase_of(pattern[..., 1:, 1:], scale=scale, window=4) == pytest.approx(deviation), "wherever it begins"
    assert phase_of(tile.tile(1, 1, 17, 18), scale=4, window=4) == pytest.approx(deviation)


@pytest.mark.parametrize("window", [4, 8, 16])
def test_the_phase_loss_of_white_noise_is_that_of_its_local_means(window):
    """Means of n = window^2 values, less the mean of 16 of them: sqrt(2 / pi) sqrt(15 / 16 / n)."""
    noise = torch.randn(1, 1, 512, 512, generator=torch.Generator().manual_seed(0))
    expected = math.sqrt(2 / math.pi) * math.sqrt(15 / 16) / window
    assert phase_of(noise, window=window) == pytest.approx(expected, rel=0.03)


def test_the_phase_loss_of_an_edge_is_far_below_that_of_a_pattern():
    """One step of the same height, wherever it lies, costs less than a tenth."""
    steps = [(torch.arange(128) >= at).double().expand(1, 1, 128, 128) for at in (62, 63, 64)]
    pattern = (torch.arange(128) % 2).double().expand(1, 1, 128, 128)
    assert phase_of(pattern) == pytest.approx(0.5)
    assert max(map(phase_of, steps)) < 0.05


def test_the_phase_loss_leaves_out_what_is_beyond_a_multiple_and_has_a_gradient():
    x, y = golden_pair(16, 16)
    assert phase_loss(x[..., :15], y[..., :15], 2, 4) == phase_loss(x[..., :14], y[..., :14], 2, 4)
    x = x[..., :9, :8].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda a: phase_loss(a, y[..., :9, :8], 2, 4), x)
    half = torch.full((1, 3, 32, 32), 0.5, dtype=torch.bfloat16, requires_grad=True)
    (gradient,) = torch.autograd.grad(phase_loss(half, half.detach().clone()), half)
    assert gradient.abs().max() == 0
    with torch.autocast("cpu", torch.bfloat16):
        inside = phase_loss(x.float(), y[..., :9, :8].float(), 2, 4)
    assert inside.dtype == torch.float32
    with pytest.raises(ValueError, match="one shape"):
        phase_loss(x, y, 2, 4)
