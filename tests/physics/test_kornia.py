"""What is taken from kornia equals the formulas written out here, and costs nothing until it is used."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from restore.physics.color import LUMA, linear_to_srgb, srgb_to_linear, to_luma
from restore.physics.filters import filter_each, gaussian_kernels, gaussian_taps
from restore.physics.random import generator_for
from tests.fresh import printed_by

DTYPES = [torch.float32, torch.float64]


def _picture(dtype: torch.dtype, *shape: int) -> Tensor:
    """Values from -0.4 to 1.6: the curves and sums hold beyond [0, 1] too."""
    return torch.rand(*shape, dtype=dtype, generator=generator_for(0)) * 2 - 0.4


def _filtered(x: Tensor, kernels: Tensor) -> Tensor:
    weight = kernels[:, None].repeat_interleave(x.shape[1], 0)
    y = F.conv2d(x.reshape(1, -1, *x.shape[-2:]), weight, groups=len(weight))
    return y.view(*x.shape[:2], *y.shape[-2:])


def _linear(x: Tensor) -> Tensor:
    return torch.where(x <= 0.04045, x / 12.92, ((x.clamp(min=0.04045) + 0.055) / 1.055).pow(2.4))


def _srgb(x: Tensor) -> Tensor:
    return torch.where(x <= 0.0031308, x * 12.92, 1.055 * x.clamp(min=0.0031308).pow(1 / 2.4) - 0.055)


def _luma(x: Tensor) -> Tensor:
    return sum(weight * plane for weight, plane in zip(LUMA, x.split(1, 1), strict=True))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("batch", "channels", "rows", "columns"), [(4, 3, 7, 7), (1, 1, 5, 3), (3, 2, 4, 6)])
def test_filters_each_sample_with_its_kernel(dtype, batch, channels, rows, columns):
    x = _picture(dtype, batch, channels, 20, 23).requires_grad_()
    kernels = _picture(dtype, batch, rows, columns).requires_grad_()
    ours, plain = filter_each(x, kernels), _filtered(x, kernels)
    assert ours.shape == (batch, channels, 21 - rows, 24 - columns) and ours.dtype == dtype
    torch.testing.assert_close(ours, plain)
    weights = torch.rand(ours.shape, dtype=dtype, generator=generator_for(1))
    for mine, theirs in zip(
        torch.autograd.grad((ours * weights).sum(), (x, kernels)),
        torch.autograd.grad((plain * weights).sum(), (x, kernels)),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize(("ours", "plain"), [(srgb_to_linear, _linear), (linear_to_srgb, _srgb)])
def test_the_srgb_curves(dtype, channels, ours, plain):
    x = _picture(dtype, 2, channels, 5, 7).requires_grad_()
    torch.testing.assert_close(ours(x), plain(x))
    (mine,), (theirs,) = (torch.autograd.grad(curve(x).sum(), x) for curve in (ours, plain))
    assert mine.isfinite().all()
    torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("dtype", DTYPES)
def test_luma(dtype):
    x = _picture(dtype, 2, 3, 9, 8).requires_grad_()
    torch.testing.assert_close(to_luma(x), _luma(x))
    (mine,), (theirs,) = (torch.autograd.grad(luma(x).square().sum(), x) for luma in (to_luma, _luma))
    torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize(("window", "sigma"), [(7, 7 / 6), (11, 1.5), (37, 6.1), (1, 0.4)])
def test_gaussian_taps(window, sigma):
    from kornia.filters import get_gaussian_kernel1d

    torch.testing.assert_close(
        gaussian_taps(window, sigma), get_gaussian_kernel1d(window, sigma, dtype=torch.float64)[0]
    )


@pytest.mark.parametrize(("std", "roundness"), [(0.7, 1.0), (1.6, 0.4)])
def test_gaussian_kernels_without_a_turn(std, roundness):
    from kornia.filters import get_gaussian_kernel2d

    ours = gaussian_kernels(torch.tensor([std]), torch.tensor([roundness]), torch.zeros(1))
    torch.testing.assert_close(ours, get_gaussian_kernel2d((7, 7), (std * roundness, std)))  # (rows, columns)


def test_tensors_made_in_inference_mode_do_not_leak_into_training():
    with torch.inference_mode():
        to_luma(torch.rand(1, 3, 4, 4))
    x = torch.rand(1, 3, 4, 4, requires_grad=True)
    to_luma(x).sum().backward()
    assert x.grad is not None and x.grad[0, 1].mean().item() == pytest.approx(LUMA[1])


def test_kornia_is_not_imported_before_it_is_used():
    """Neither by the package, nor its help, nor a loaded network: one process, one after the other."""
    code = (
        "import sys, restore\n"
        "before = ['kornia' in sys.modules]\n"
        "from restore.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "before.append('kornia' in sys.modules)\n"
        "restore.load('denoise', device='cpu')\n"
        "before.append('kornia' in sys.modules)\n"
        "import torch; from restore.physics.color import to_luma; to_luma(torch.zeros(1, 3, 2, 2))\n"
        "print(*before, 'kornia' in sys.modules)\n"
    )
    assert printed_by(code).splitlines()[-1] == "False False False True"
