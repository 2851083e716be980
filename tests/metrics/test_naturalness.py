import itertools
import json

import pytest
import torch
import torch.nn.functional as F

from restore.errors import ConfigError, UnsupportedError
from restore.metrics.naturalness import (
    MODEL,
    Gaussian,
    distance,
    fit_asymmetric,
    fit_generalised,
    gaussian_of,
    naturalness,
    patch_features,
    reference_statistics,
)
from restore.physics.jpeg import jpeg


def generalised(shape: float, samples: int, seed: int) -> torch.Tensor:
    """Positive halves of a generalised Gaussian of scale 1: Gamma(1 / shape) to the power 1 / shape."""
    generator = torch.Generator().manual_seed(seed)
    gamma = torch._standard_gamma(torch.full((samples,), 1 / shape, dtype=torch.float64), generator)
    return gamma ** (1 / shape)


@pytest.mark.parametrize("shape", [0.6, 1.0, 2.0, 3.5])
def test_shape_and_std_are_recovered(shape):
    half = generalised(shape, 200_000, 1)
    generator = torch.Generator().manual_seed(2)
    signs = torch.randint(0, 2, half.shape, generator=generator) * 2 - 1
    x = 3 * half * signs
    found, std = fit_generalised(x[None])
    assert found.item() == pytest.approx(shape, rel=0.03)
    assert std.item() == pytest.approx(x.std().item(), rel=0.01)


@pytest.mark.parametrize(("shape", "left", "right"), [(0.8, 1.0, 2.0), (1.5, 2.0, 0.7), (2.0, 1.0, 1.0)])
def test_asymmetric_scales_are_recovered(shape, left, right):
    """The density is continuous at 0, so each side has a share of the samples that is its scale's."""
    half = generalised(shape, 300_000, 3)
    share = torch.rand(half.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    negative = share < left / (left + right)
    x = torch.where(negative, -left * half, right * half)
    found = torch.stack(fit_asymmetric(x[None]))[:, 0]
    assert found[0].item() == pytest.approx(shape, rel=0.04)
    assert found[1].item() == pytest.approx(x.mean().item(), abs=0.02)
    assert found[2:].tolist() == pytest.approx([left, right], rel=0.04)


def test_distance_of_two_gaussians():
    a = Gaussian(torch.zeros(2).double(), torch.diag(torch.tensor([1.0, 3.0])).double())
    b = Gaussian(torch.tensor([2.0, 2.0]).double(), torch.diag(torch.tensor([3.0, 1.0])).double())
    assert distance(a, b).item() == pytest.approx(2.0) and distance(a, a).item() == 0


def picture(name: str = "astronaut") -> torch.Tensor:
    data = pytest.importorskip("skimage.data")
    return torch.from_numpy(getattr(data, name)()).movedim(-1, 0)[None, :, :384, :384].float() / 255


def grows(values: list[float]) -> bool:
    return all(b > a + 0.2 for a, b in itertools.pairwise(values))


@pytest.mark.parametrize("name", ["astronaut", "chelsea"])
def test_score_grows_with_damage(name):
    x = picture(name)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    clean = naturalness(x).item()
    assert 1.5 < clean < 3
    assert grows([clean, *(naturalness(x + level / 255 * noise).item() for level in (10, 25, 50))])
    blurred = [F.avg_pool2d(F.pad(x, (r,) * 4, mode="replicate"), 2 * r + 1, 1) for r in (1, 2, 4)]
    assert grows([clean, *(naturalness(each).item() for each in blurred)])
    assert grows([clean, *(naturalness(jpeg(x, torch.tensor([q]))).item() for q in (60.0, 30.0, 10.0))])


def test_each_picture_of_a_batch_and_grey():
    x = picture()
    other = x.flip(-1)
    both = naturalness(torch.cat([x, other]))
    assert both.tolist() == [naturalness(x).item(), naturalness(other).item()]
    grey = (0.299 * x[:, 0] + 0.587 * x[:, 1] + 0.114 * x[:, 2])[:, None]
    assert naturalness(grey, rounded=False).item() == pytest.approx(naturalness(x, rounded=False).item(), rel=1e-3)


def test_patches_without_structure_do_not_count():
    x = picture()[:, :1]
    x[..., :96, :96] = 0.25
    features = patch_features(x[0])
    assert features.shape == (15, 36) and bool(features.isfinite().all())
    with pytest.raises(UnsupportedError, match="flat"):
        naturalness(torch.full((1, 3, 192, 192), 0.5))


def test_only_sharp_patches_are_taken_to_fit():
    x = picture()[:, :1]
    x[..., :192, :] = 0.5 + (x[..., :192, :] - 0.5) / 20
    assert 0 < len(patch_features(x[0], sharpest=0.75)) <= 8


def test_small_pictures_are_refused():
    with pytest.raises(ConfigError, match="at least 192 px, not 300 x 191"):
        naturalness(torch.rand(1, 3, 191, 300, generator=torch.Generator().manual_seed(0)))


def test_the_model_says_what_it_was_fitted_on():
    from safetensors import safe_open

    assert MODEL.stat().st_size < 60_000
    with safe_open(MODEL, "pt") as file:
        header = file.metadata()
    assert int(header["pictures"]) > 300 and all(
        "CC" in each or "License" in each for each in json.loads(header["sources"])
    )
    model = reference_statistics()
    assert model.mean.shape == (36,) and torch.equal(model.covariance, model.covariance.T)
    assert torch.linalg.eigvalsh(model.covariance).min() > 0
    assert 0.5 < model.mean[0] < 4  # the shape of natural pictures' coefficients


def test_gaussian_of_is_the_sample_covariance():
    x = torch.tensor([[1.0, 2.0], [3.0, 6.0]])
    assert gaussian_of(x).covariance.tolist() == [[2.0, 4.0], [4.0, 8.0]]
