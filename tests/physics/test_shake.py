"""PSFs of cameras: extents, centroids, sums, and that a draw depends on its own generator alone."""

from __future__ import annotations

import math

import pytest
import torch

from restore.physics.psf import motion
from restore.physics.shake import centred_paths, discs, draw_paths, extents, gaussians, lines, rasterised


def generators(count: int, first: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in range(first, first + count)]


def centroid(psf: torch.Tensor) -> torch.Tensor:
    """(right, down) from the middle: B x 1 x side x side -> B x 2"""
    place = torch.arange(psf.shape[-1], dtype=psf.dtype) - psf.shape[-1] // 2
    return torch.stack((psf.sum((1, 2)) @ place, psf.sum((1, 3)) @ place), 1)


def test_paths_have_extent_1_and_their_centroid_in_the_middle():
    paths = draw_paths(generators(20))
    assert paths.shape == (20, 289, 2)
    widths = [
        (path @ torch.tensor([math.cos(a), math.sin(a)])).aminmax()
        for path in paths
        for a in torch.arange(16) * math.pi / 16
    ]
    most = torch.stack([high - low for low, high in widths]).view(20, 16).amax(1)
    assert torch.allclose(most, torch.ones(20), atol=1e-4) and torch.allclose(extents(paths), most, atol=1e-5)
    assert paths.mean(1).abs().max() < 1e-5


def test_a_path_depends_on_its_own_generator():
    whole = draw_paths(generators(6))
    assert torch.allclose(draw_paths(generators(2, 3)), whole[3:5], atol=1e-6)
    assert not torch.allclose(whole[0], whole[1], atol=0.1)


def test_paths_that_do_not_move_stay_points():
    still = centred_paths(torch.full((1, 9, 2), 3.0))
    assert torch.equal(still, torch.zeros(1, 9, 2))
    psf = rasterised(still, 5)
    assert psf[0, 0, 2, 2] == pytest.approx(1, abs=1e-5)
    moved = centred_paths(torch.tensor([[[1.0, 5.0], [3.0, 5.0]]]))
    assert torch.allclose(moved, torch.tensor([[[-0.5, 0.0], [0.5, 0.0]]]))


def test_rasterised_paths():
    length = torch.linspace(2, 24, 12)
    psf = rasterised(draw_paths(generators(12)) * length[:, None, None], 55)
    assert psf.shape == (12, 1, 55, 55) and psf.min() >= 0
    assert torch.allclose(psf.sum((1, 2, 3)), torch.ones(12), atol=1e-4)
    assert centroid(psf).abs().max() < 1e-3
    for each, extent in zip(psf[:, 0], length, strict=True):
        rows, columns = (each > 0).nonzero().float().unbind(1)
        widths = [
            float(
                (columns * math.cos(a) + rows * math.sin(a)).aminmax().max
                - (columns * math.cos(a) + rows * math.sin(a)).min()
            )
            for a in torch.arange(16) * math.pi / 16
        ]
        assert float(extent) - 0.1 <= max(widths) <= float(extent) + 3  # bilinear: a pixel more on each side at most
    point = rasterised(torch.tensor([[[1.25, -0.5]]]), 5)[0, 0]
    expected = torch.zeros(5, 5)
    expected[1, 3:], expected[2, 3:] = torch.tensor([0.375, 0.125]), torch.tensor([0.375, 0.125])
    assert torch.allclose(point, expected, atol=1e-6)


def test_what_leaves_the_psf_is_put_at_its_border():
    psf = rasterised(torch.tensor([[[9.0, 0.0], [0.0, 0.0]]]), 5)[0, 0]
    assert psf[2, 4] == pytest.approx(0.5, abs=1e-3) and psf.sum() == pytest.approx(1, abs=1e-5)


def test_gradients_reach_the_paths():
    path = (2 * draw_paths(generators(1)))[:, ::60].double().requires_grad_()
    assert torch.autograd.gradcheck(lambda p: rasterised(p, 7), path)
    right = rasterised(path, 7)[0, 0].sum(0) @ torch.arange(7, dtype=torch.float64)
    (slope,) = torch.autograd.grad(right, path)
    assert torch.allclose(slope[..., 0], torch.tensor(1 / path.shape[1], dtype=torch.float64))
    assert slope[..., 1].abs().max() < 1e-12


@pytest.mark.parametrize("angle", [0.0, 0.6, math.pi / 2, 2.5])
def test_lines(angle):
    length = torch.tensor([7.0, 16.5])
    made = lines(length, torch.tensor([angle, angle]))
    ends = made[:, -1] - made[:, 0]
    assert torch.allclose(ends.norm(dim=1), length, atol=1e-4)
    assert torch.allclose(ends[:, 1], length * math.sin(angle), atol=1e-4)  # from right to down
    psf = rasterised(made, 21)
    assert centroid(psf).abs().max() < 1e-4
    described = motion(17.5, -math.degrees(angle))  # lengths are in samples there, and angles go up
    margin = [(21 - side) // 2 for side in described.shape]
    inner = psf[1, 0, margin[0] : 21 - margin[0], margin[1] : 21 - margin[1]]
    assert (inner - described).abs().max() < 0.015 * float(described.max())


def test_discs():
    psf = discs(torch.tensor([0.0, 1.0, 4.0, 7.5]), 19)
    assert torch.allclose(psf.sum((1, 2, 3)), torch.ones(4), atol=1e-5) and centroid(psf).abs().max() < 1e-4
    assert psf[0, 0, 9, 9] == 1
    area = psf[:, 0, 9, 9].reciprocal()
    assert area[2:].tolist() == pytest.approx([math.pi * 16, math.pi * 7.5**2], rel=0.03)
    assert (psf[2, 0, 9] > 0).sum() == 9 and torch.equal(psf, psf.mT) and torch.equal(psf, psf.flip(-1))


def test_gaussians():
    psf = gaussians(torch.tensor([0.0, 0.8, 2.5]), 25)
    assert torch.allclose(psf.sum((1, 2, 3)), torch.ones(3), atol=1e-5) and psf[0, 0, 12, 12] == 1
    place = torch.arange(25.0) - 12
    spread = (psf.sum((1, 2)) @ place.square()).sqrt()
    assert spread[1:].tolist() == pytest.approx([0.8, 2.5], rel=1e-3)
