"""SSIM and MS-SSIM: known values, the reference package, safety on flat and opposite pictures."""

from __future__ import annotations

import pytest
import torch

from restore.errors import ConfigError
from restore.losses.ssim import (
    FLOOR,
    least_side,
    ms_ssim,
    ms_ssim_l1_full_loss,
    ms_ssim_l1_loss,
    ms_ssim_loss,
    scale_weights,
    ssim,
    ssim_loss,
)

from .golden import golden_pair, random_pair

GOLDEN = {  # side lengths -> SSIM, MS-SSIM in float64
    (192, 192): (0.90539540, 0.85409260),
    (193, 201): (0.90538159, 0.85409641),  # halving leaves the odd row and column out
    (512, 512): (0.90536923, 0.84816580),
}


def test_the_golden_pair_is_the_golden_pair():
    x, y = golden_pair(192, 192)
    spots = torch.stack([x[0, 0, 0, 0], x[0, 2, 5, 7], y[0, 1, 100, 50]]).tolist()
    assert spots == pytest.approx([0.7, 0.45173109, 0.76105550], abs=1e-7)


@pytest.mark.parametrize("sides", GOLDEN)
def test_known_values(sides):
    x, y = golden_pair(*sides)
    expected = GOLDEN[sides]
    assert [ssim(x, y).item(), ms_ssim(x, y).item()] == pytest.approx(expected, abs=1e-7)
    x, y = x.float(), y.float()
    assert [ssim(x, y).item(), ms_ssim(x, y).item()] == pytest.approx(expected, abs=2e-6)


def exact_window(channels: int = 3) -> torch.Tensor:
    """pytorch-msssim's window in float64; its own is rounded to float32, which costs it 1e-6."""
    place = torch.arange(-5, 6, dtype=torch.float64)
    window = torch.exp(-place.square() / (2 * 1.5**2))
    return (window / window.sum()).expand(channels, 1, 1, 11).contiguous()


def test_equals_pytorch_msssim():
    reference = pytest.importorskip("pytorch_msssim")
    for seed in range(20):
        sides, channels = (176 + 16 * (seed % 2), 176 + 16 * (seed % 3)), 1 + 2 * (seed % 5 == 0)
        x, y = (each.double() for each in random_pair(seed, 1, channels, *sides))
        options = {"data_range": 1.0, "size_average": False, "win": exact_window(channels)}
        ours = torch.stack([ssim(x, y), ms_ssim(x, y)])
        theirs = torch.stack([reference.ssim(x, y, **options), reference.ms_ssim(x, y, **options)])
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-9)
        in_float32 = torch.stack([ssim(x.float(), y.float()), ms_ssim(x.float(), y.float())])
        assert torch.allclose(in_float32.double(), ours, rtol=0, atol=2e-6)


def test_gradients_equal_pytorch_msssims():
    reference = pytest.importorskip("pytorch_msssim")
    x, y = golden_pair(192, 192)
    x.requires_grad_()
    for ours, theirs in ((ssim_loss, reference.ssim), (ms_ssim_loss, reference.ms_ssim)):
        (mine,) = torch.autograd.grad(ours(x, y), x)
        (other,) = torch.autograd.grad(1 - theirs(x, y, data_range=1.0, win=exact_window()), x)
        assert torch.allclose(mine, other, rtol=0, atol=1e-9)


@pytest.mark.slow  # its import alone takes seconds
def test_torchmetrics_is_lower_because_it_keeps_a_padded_border():
    functional = pytest.importorskip("torchmetrics.functional.image")
    x, y = golden_pair(192, 192)
    theirs = functional.structural_similarity_index_measure(x, y, data_range=1.0).item()
    assert 5e-4 < ssim(x, y).item() - theirs < 2e-3
    theirs = functional.multiscale_structural_similarity_index_measure(x, y, data_range=1.0).item()
    assert 5e-3 < ms_ssim(x, y).item() - theirs < 2e-2


def test_one_value_a_picture():
    x, y = random_pair(0, 3, 3, 176, 176)
    y[1] = x[1]
    for measure in (ssim, ms_ssim):
        values = measure(x, y)
        assert values.shape == (3,)
        assert values[1] == 1
        assert torch.allclose(values[2], measure(x[2:], y[2:])[0], atol=1e-6)
        assert torch.allclose(values, measure(y, x), atol=1e-7), "symmetric"


def test_flat_pictures_keep_their_digits():
    """w*x^2 - mu^2 without care gives 1.000132 here in float32."""
    x, y = torch.full((1, 3, 64, 64), 0.70), torch.full((1, 3, 64, 64), 0.71)
    assert ssim(x, y).item() == pytest.approx(0.999899, abs=2e-6)
    assert ssim(x, y).item() <= 1 + 1e-6
    step = torch.cat([x[..., :32], x[..., :32] * 0.01], -1)
    assert ssim(step, step + 1e-4).item() <= 1 + 1e-6


def test_too_small_pictures_name_the_least_side_and_the_ways_out():
    x, y = random_pair(0, 1, 1, 160, 300)
    with pytest.raises(ValueError) as caught:
        ms_ssim(x, y)
    assert isinstance(caught.value, ConfigError)
    assert str(caught.value) == (
        "MS-SSIM with 11 taps and 5 levels needs sides of at least 161 px (the pictures are 160 x 300). "
        "Use larger crops, levels=4 (from 81 px), levels=3 (from 41 px), levels=2 (from 21 px), window=7 (from 97 px); "
        "values compare only with values of the same options"
    )
    with pytest.raises(ValueError, match="SSIM with 11 taps needs sides of at least 11 px"):
        ssim(x[..., :10], y[..., :10])


@pytest.mark.parametrize(("levels", "window", "side"), [(5, 11, 161), (4, 11, 81), (3, 11, 41), (5, 7, 97)])
def test_the_least_side_works_and_one_less_does_not(levels, window, side):
    assert least_side(window, levels) == side
    x, y = random_pair(1, 1, 1, side, side)
    assert 0 < ms_ssim(x, y, levels=levels, window=window).item() < 1
    with pytest.raises(ValueError, match=f"at least {side} px"):
        ms_ssim(x[..., 1:], y[..., 1:], levels=levels, window=window)


def test_weights_of_fewer_scales_sum_to_one():
    assert scale_weights() == (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
    assert sum(scale_weights(3)) == pytest.approx(1)
    x, y = random_pair(1, 1, 1, 48, 48)
    assert ms_ssim(x, y, levels=1).item() == pytest.approx(ssim(x, y).item(), abs=1e-7)


@pytest.mark.parametrize("wrong", [{"levels": 0}, {"levels": 6}, {"window": 10}])
def test_options_that_make_no_sense(wrong):
    with pytest.raises(ConfigError):
        ms_ssim(*random_pair(0, 1, 1, 200, 200), **wrong)


def test_shapes_must_agree():
    x = torch.zeros(1, 3, 192, 192)
    with pytest.raises(ValueError, match=r"not \(1, 3, 192, 192\) and \(3, 192, 192\)"):
        ssim(x, x[0])


@pytest.mark.parametrize("floor", [0.0, FLOOR])
def test_gradcheck(floor):
    x, y = (each.double() for each in random_pair(3, 1, 1, 48, 48))
    x.requires_grad_(), y.requires_grad_()
    options = {"window": 7, "levels": 2, "floor": floor}
    assert torch.autograd.gradcheck(lambda a, b: ms_ssim(a, b, **options), (x, y), fast_mode=True)


def test_opposite_pictures_have_a_gradient():
    """The metric counts negative correlation as 0 and is flat there; the losses are not."""
    x, _ = golden_pair(192, 192)
    x.requires_grad_()
    target = 1 - x.detach()
    (flat,) = torch.autograd.grad(1 - ms_ssim(x, target).mean(), x)
    assert flat.abs().max() == 0
    for loss in (ms_ssim_loss, ms_ssim_l1_loss):
        (gradient,) = torch.autograd.grad(loss(x, target), x)
        assert gradient.isfinite().all() and gradient.abs().max() > 0


def test_the_continuation_meets_the_factor_smoothly_and_never_falls():
    from restore.losses.ssim import _continued

    factor = torch.linspace(-1, 1, 20001, dtype=torch.float64)
    values = _continued(factor, FLOOR)
    assert (values.diff() > 0).all() and (values > 0).all()
    assert values[factor >= FLOOR].equal(factor[factor >= FLOOR])
    at = torch.tensor([FLOOR - 1e-9, FLOOR], dtype=torch.float64, requires_grad=True)
    slopes = torch.autograd.grad(_continued(at, FLOOR).sum(), at)[0]
    assert torch.allclose(slopes, torch.ones(2, dtype=torch.float64), atol=1e-5)


def test_nothing_is_ever_nan():
    extremes = [torch.zeros(1, 1, 48, 48), torch.ones(1, 1, 48, 48), torch.zeros(1, 1, 48, 48)]
    extremes[2][..., 20, 20] = 1
    generator = torch.Generator().manual_seed(0)
    randoms = torch.rand((500, 1, 48, 48), generator=generator)
    pairs = [(a, b) for a in extremes for b in (*extremes, randoms[:1])]
    pairs += [(randoms, randoms.flip(0)), (randoms, 1 - randoms)]
    for x, y in pairs:
        x = x.clone().requires_grad_()
        loss = ms_ssim_loss(x, y, levels=3) + ssim_loss(x, y)
        (gradient,) = torch.autograd.grad(loss, x)
        assert loss.isfinite() and gradient.isfinite().all()


@pytest.mark.parametrize("loss", [ssim_loss, ms_ssim_loss, ms_ssim_l1_loss])
def test_autocast_changes_nothing(loss):
    x, y = (each.float() for each in golden_pair(192, 192))
    with torch.autocast("cpu", torch.bfloat16):
        assert loss(x, y).item() == pytest.approx(loss(x, y).item(), abs=1e-6)
        inside = loss(x, y)
    assert inside.dtype == torch.float32
    assert inside.item() == pytest.approx(loss(x, y).item(), abs=1e-6)
    assert loss(x.half(), y).item() == pytest.approx(inside.item(), abs=1e-3)


@pytest.mark.parametrize("loss", [ssim_loss, ms_ssim_loss])
def test_the_data_range_is_a_unit(loss):
    x, y = (each.float() for each in golden_pair(192, 192))
    assert loss(x * 255, y * 255, data_range=255.0).item() == pytest.approx(loss(x, y).item(), abs=1e-6)


def test_the_mix():
    x, y = (each.float() for each in golden_pair(192, 192))
    assert ms_ssim_l1_loss(x, y, alpha=0.0).item() == pytest.approx(0.07666071, abs=1e-6)
    assert ms_ssim_l1_loss(x, y, alpha=1.0).item() == pytest.approx(1 - 0.85409260, abs=2e-6)
    assert ms_ssim_l1_loss(x, y).item() == pytest.approx(0.84 * (1 - 0.85409260) + 0.16 * 0.07666071, abs=2e-6)


def test_kept_windows_serve_training_after_inference():
    x, y = random_pair(0, 1, 1, 32, 32)
    options = {"window": 9, "sigma": 1.25}
    with torch.inference_mode():
        ssim(x, y, **options)
    x.requires_grad_()
    (1 - ssim(x, y, **options).mean()).backward()
    assert x.grad is not None and x.grad.abs().max() > 0


@pytest.mark.parametrize("sides, value", [((192, 192), 0.37542275), ((193, 201), 0.37519857), ((512, 512), 0.38397615)])
def test_the_mix_at_full_resolution_equals_kornias(sides, value):
    x, y = golden_pair(*sides)
    assert ms_ssim_l1_full_loss(x, y, padding="zeros").item() == pytest.approx(value, abs=1e-5)


def test_the_mix_at_full_resolution_on_batches():
    pairs = [random_pair(seed, 1, 1, 40, 48) for seed in range(3)]
    each = [ms_ssim_l1_full_loss(x, y).item() for x, y in pairs]
    x, y = (torch.cat(side) for side in zip(*pairs, strict=True))
    assert ms_ssim_l1_full_loss(x, y).item() == pytest.approx(sum(each) / 3, abs=1e-6)
    assert ms_ssim_l1_full_loss(x, x).item() == pytest.approx(0, abs=1e-6)
    assert ms_ssim_l1_full_loss(255 * x, 255 * y, data_range=255.0).item() == pytest.approx(sum(each) / 3, abs=1e-6)


def test_the_l1_part_at_full_resolution_is_blurred_within_the_picture():
    x, y = random_pair(0, 2, 3, 40, 48)
    constant = ms_ssim_l1_full_loss(x, x + 0.25, alpha=0.0).item()
    assert constant == pytest.approx(0.25, abs=1e-6)
    assert ms_ssim_l1_full_loss(x, x + 0.25, alpha=0.0, padding="zeros").item() < 0.2
    assert ms_ssim_l1_full_loss(x, y, alpha=0.0).item() == pytest.approx((x - y).abs().mean().item(), rel=0.05)


def test_the_mix_at_full_resolution_refuses():
    x, y = random_pair(0, 1, 3, 16, 40)
    with pytest.raises(ValueError, match="at least 17 px"):
        ms_ssim_l1_full_loss(x, y)
    with pytest.raises(ConfigError, match="Give reflect or zeros"):
        ms_ssim_l1_full_loss(x, y, padding="circular")
