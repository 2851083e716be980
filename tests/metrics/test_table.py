import pytest
import torch

from restore.errors import ConfigError
from restore.metrics.table import ALIASES, METRICS, function_of, measure, resolve
from tests.metrics.golden import golden_pair


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if not metric.weights])
def test_every_metric_moves_its_way(name):
    x, _ = golden_pair(200, 200)
    generator = torch.Generator().manual_seed(0)
    x = (x + 0.02 * torch.randn(x.shape, generator=generator, dtype=x.dtype)).clamp(0, 1).float()
    noise = torch.randn(x.shape, generator=generator)
    few, many = (measure([name], x + sigma * noise, x)[name] for sigma in (0.1, 0.3))
    assert few.shape == (1,)
    if METRICS[name].reference:  # a pattern of sines is no photograph
        assert (few > many) == (METRICS[name].better == "higher")
    assert callable(function_of(name))


def test_names():
    assert resolve(["ssim", "psnr", "ssim_valid11"]) == ["ssim_valid11", "psnr"]
    assert resolve(["psnr", "ssim", "ms_ssim", "naturalness"], luma=True) == [
        "psnr_y",
        "ssim_y_valid11",
        "ms_ssim_y_valid11",
        "naturalness",
    ]
    assert set(ALIASES.values()) <= set(METRICS)
    with pytest.raises(ConfigError, match=r"no metric is called 'psnrr'\. Did you mean 'psnr"):
        resolve(["psnrr"])


def test_a_reference_is_asked_for():
    with pytest.raises(ConfigError, match="psnr compares with a truth"):
        measure(["psnr"], torch.zeros(1, 3, 8, 8))


def test_options_reach_the_metrics():
    x = torch.zeros(1, 1, 8, 8)
    y = x.clone()
    y[..., 0, 0] = 0.4 / 255
    assert measure(["psnr"], x, y, rounded=True)["psnr"] == measure(["psnr"], x, y, border=1)["psnr"] == 100
    assert measure(["psnr"], x, y)["psnr"] < 90
