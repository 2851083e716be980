import pytest
import torch

from restore.errors import ConfigError
from restore.metrics.pixel import studio_luma
from restore.metrics.structure import ms_ssim_valid11, ms_ssim_y_valid11, ssim_valid11, ssim_y_valid11
from tests.metrics.golden import golden_pair


def test_golden_values():
    x, y = golden_pair(192, 192)
    assert ssim_valid11(x, y).item() == pytest.approx(0.9053954, abs=1e-7)
    assert ms_ssim_valid11(x, y).item() == pytest.approx(0.8540926, abs=1e-7)


def test_border_and_rounding_are_those_of_psnr():
    x, y = golden_pair(60, 70)
    inside = (..., slice(5, -5), slice(5, -5))
    assert ssim_valid11(x, y, border=5).item() == ssim_valid11(x[inside], y[inside]).item()
    codes = [(each * 255).round() / 255 for each in (x, y)]
    assert ssim_valid11(x, y, rounded=True).item() == pytest.approx(ssim_valid11(*codes).item(), abs=1e-12)


def test_values_outside_the_range_are_clipped():
    x, y = golden_pair(40, 40)
    assert ssim_valid11(2 * x - 0.5, y).item() == ssim_valid11((2 * x - 0.5).clamp(0, 1), y).item()


def test_luma_forms():
    x, y = golden_pair(180, 176)
    assert ssim_y_valid11(x, y).item() == ssim_valid11(studio_luma(x), studio_luma(y)).item()
    assert ms_ssim_y_valid11(x, y).item() == ms_ssim_valid11(studio_luma(x), studio_luma(y)).item()
    assert ssim_y_valid11(x, y).item() != pytest.approx(ssim_valid11(x, y).item(), abs=1e-3)


def test_small_pictures_are_refused():
    x, y = golden_pair(160, 200)
    with pytest.raises(ConfigError, match="161"):
        ms_ssim_valid11(x, y)


@pytest.mark.parametrize("size", [(48, 64), (33, 37)])
def test_parity_with_scikit_image(size):
    """Its map is of "same" size; ours is where the window lies inside."""
    metrics = pytest.importorskip("skimage.metrics")
    x, y = golden_pair(*size)
    a, b = (each[0].movedim(0, -1).numpy() for each in (x, y))
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    _, full = metrics.structural_similarity(a, b, data_range=1, channel_axis=-1, full=True, **options)
    assert ssim_valid11(x, y).item() == pytest.approx(full[5:-5, 5:-5].mean(), abs=1e-9)


def test_parity_with_pytorch_msssim():
    reference = pytest.importorskip("pytorch_msssim")
    generator = torch.Generator().manual_seed(3)
    for size in ((176, 192), (208, 176)):
        x, y = (each.float() for each in golden_pair(*size))
        y = (y + 0.05 * torch.randn(y.shape, generator=generator)).clamp(0, 1)
        assert ms_ssim_valid11(x, y).item() == pytest.approx(reference.ms_ssim(x, y, data_range=1.0).item(), abs=1e-5)
        assert ssim_valid11(x, y).item() == pytest.approx(reference.ssim(x, y, data_range=1.0).item(), abs=1e-5)
