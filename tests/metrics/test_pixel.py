import math

import numpy as np
import pytest
import torch

from restore.errors import ConfigError
from restore.metrics.pixel import CEILING, psnr, psnr_y, studio_luma
from tests.metrics.golden import golden_pair


def test_golden_values():
    x, y = golden_pair(192, 192)
    assert psnr(x, y).item() == pytest.approx(20.629586, abs=1e-6)
    assert psnr_y(x, y).item() == pytest.approx(23.916128, abs=1e-6)
    assert psnr_y(x, y, border=4).item() == pytest.approx(23.920991, abs=1e-6)


def test_each_picture_has_its_own_value():
    x, y = golden_pair(64, 64)
    both = psnr(torch.cat([x, x]), torch.cat([y, x]))
    assert both.shape == (2,) and both[0] == psnr(x, y)[0] and both[1] == CEILING
    assert psnr(x, x, ceiling=60).item() == 60 and psnr(x, y, ceiling=60) == psnr(x, y)


def test_known_error():
    x = torch.full((1, 3, 8, 8), 0.5)
    assert psnr(x, x + 0.1).item() == pytest.approx(20, abs=1e-5)
    off = x.clone()
    off[..., 0, 0] = 1.0  # on the border alone
    assert psnr(x, off, border=1).item() == CEILING


def test_rounding_clips_and_rounds():
    x = torch.zeros(1, 1, 4, 4)
    assert psnr(x - 0.3, x, rounded=True).item() == CEILING
    assert psnr(x + 0.4 / 255, x, rounded=True).item() == CEILING
    assert psnr(x + 0.6 / 255, x, rounded=True).item() == pytest.approx(20 * math.log10(255), abs=1e-4)


def test_half_precision_is_left_before_squaring():
    x = torch.full((1, 1, 4, 4), 0.5, dtype=torch.float16)
    assert psnr(x, x + 2**-11).item() == pytest.approx(20 * math.log10(2**11), abs=1e-6)


def test_studio_luma_of_white_black_and_grey():
    white = torch.ones(1, 3, 1, 1, dtype=torch.float64)
    assert studio_luma(white).item() == pytest.approx(235 / 255, rel=1e-12)
    assert studio_luma(0 * white).item() == 16 / 255
    grey = torch.rand(1, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    assert studio_luma(grey) is grey
    with pytest.raises(ConfigError, match="luma needs RGB or grey, not 4 channels"):
        studio_luma(torch.zeros(1, 4, 4, 4))


def test_errors():
    x = torch.zeros(1, 3, 8, 8)
    with pytest.raises(ValueError, match=r"not .1, 3, 8, 8. and .1, 1, 8, 8."):
        psnr(x, x[:, :1])
    for border in (4, -1):
        with pytest.raises(ConfigError, match=f"a border of {border} px leaves nothing of 8 x 8"):
            psnr(x, x, border=border)


@pytest.mark.parametrize("size", [(48, 64), (33, 37)])
def test_parity_with_scikit_image(size):
    metrics = pytest.importorskip("skimage.metrics")
    x, y = golden_pair(*size)
    a, b = (each[0].movedim(0, -1).numpy() for each in (x, y))
    expected = metrics.peak_signal_noise_ratio(a, b, data_range=1)
    assert psnr(x, y).item() == pytest.approx(expected, abs=1e-9)
    codes = [np.rint(each * 255).astype(np.uint8) for each in (a, b)]
    expected = metrics.peak_signal_noise_ratio(*codes, data_range=255)
    assert psnr(x, y, rounded=True).item() == pytest.approx(expected, abs=1e-5)


def test_parity_with_torchmetrics():
    reference = pytest.importorskip("torchmetrics.functional.image")
    x, y = golden_pair(40, 50)
    expected = reference.peak_signal_noise_ratio(x.float(), y.float(), data_range=1.0)
    assert psnr(x, y).item() == pytest.approx(expected.item(), abs=1e-4)
