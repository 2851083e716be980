"""Blur that varies over the picture: against convolutions, symmetries, its adjoint, and what is drawn at random."""

from __future__ import annotations

import math

import pytest
import torch

from restore.physics.blur_field import (
    FieldBlur,
    PathBlur,
    at_moments,
    draw_camera_shakes,
    draw_fields,
    exposure_times,
    field_at,
    sample_count,
)
from restore.physics.fourier import convolve_reflected
from restore.physics.shake import draw_paths, extents, lines, rasterised

SIZE = (70, 90)


def generators(count: int, first: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in range(first, first + count)]


def picture(size: tuple[int, int] = SIZE, count: int = 1) -> torch.Tensor:
    """Smooth shades, hard edges and a little texture."""
    rows, columns = torch.meshgrid(*(torch.arange(side).float() for side in size), indexing="ij")
    shades = torch.stack([0.5 + 0.3 * torch.sin(rows / (6 + c)) * torch.cos(columns / (7 + c)) for c in range(3)])
    shades = shades + 0.15 * ((rows // 11 + columns // 13) % 2) + 0.05 * torch.rand(size, generator=generators(1)[0])
    return shades.expand(count, -1, -1, -1).contiguous()


def constant(length: float, angle: float, size: tuple[int, int] = SIZE) -> torch.Tensor:
    vector = torch.tensor([length * math.cos(angle), length * math.sin(angle)])
    return vector.view(1, 2, 1, 1).expand(1, 2, *size)


def smooth(longest: float, seed: int = 0, size: tuple[int, int] = SIZE) -> torch.Tensor:
    return longest * field_at(draw_fields(generators(1, seed)), size)


def test_no_motion_is_the_identity_to_the_bit():
    x = picture()
    zero = FieldBlur(torch.zeros(1, 2, *SIZE))
    assert torch.equal(zero.forward(x), x) and torch.equal(zero.adjoint(x), x)
    still = PathBlur(torch.zeros(1, 5, 2), torch.zeros(1, 5), SIZE)
    assert torch.equal(still.forward(x), x) and torch.equal(still.adjoint(x), x)
    part = constant(9, 0.4).clone()
    part[..., :40] = 0
    assert torch.equal(FieldBlur(part).forward(x)[..., :40], x[..., :40])


@pytest.mark.parametrize("angle", [0.0, 0.4, math.pi / 2, 2.2])
@pytest.mark.parametrize("length", [5.0, 11.0, 20.0])
def test_a_constant_field_is_the_convolution_with_a_line(length, angle):
    x = picture()
    psf = rasterised(lines(torch.tensor([length]), torch.tensor([angle])), 25)[0, 0]
    error = (FieldBlur(constant(length, angle)).forward(x) - convolve_reflected(x, psf)).abs() * 255
    assert error.mean() <= 1 and error.max() <= 3


def test_light_is_kept():
    assert torch.allclose(FieldBlur(smooth(20)).forward(torch.full((1, 3, *SIZE), 0.7)), torch.tensor(0.7), atol=1e-6)
    x = picture()
    for field in (smooth(15), constant(11, 0.7)):
        assert abs(float(FieldBlur(field).forward(x).mean() - x.mean())) <= 1e-3


def test_there_and_back_are_one_blur():
    x, field = picture(), smooth(13)
    assert torch.allclose(FieldBlur(-field).forward(x), FieldBlur(field).forward(x), atol=1e-5)
    bent, other = (FieldBlur(sign * field, torch.tensor([sign * 0.1])).forward(x) for sign in (1.0, -1.0))
    assert torch.allclose(bent, other, atol=1e-5) and not torch.allclose(bent, FieldBlur(field).forward(x), atol=1e-3)


def test_turned_and_mirrored_pictures():
    x, field = picture(), smooth(13)
    blurred = FieldBlur(field).forward(x)
    right, down = field.unbind(1)
    turned = torch.stack((down, -right), 1).rot90(1, (-2, -1))  # what pointed to the right points up
    assert torch.allclose(FieldBlur(turned).forward(x.rot90(1, (-2, -1))), blurred.rot90(1, (-2, -1)), atol=1e-5)
    mirrored = torch.stack((-right, down), 1).flip(-1)
    assert torch.allclose(FieldBlur(mirrored).forward(x.flip(-1)), blurred.flip(-1), atol=1e-5)


def blurs() -> dict[str, FieldBlur | PathBlur]:
    paths, rolls, centres = draw_camera_shakes(generators(2))
    paths, rolls = 9 * at_moments(paths, 15), 0.2 * at_moments(rolls, 15)
    fields = torch.cat([smooth(17), smooth(25, 3)])  # the second reaches beyond the border
    return {
        "field": FieldBlur(fields),
        "bent": FieldBlur(fields, torch.tensor([0.1, -0.05]), shutter=0.3),
        "path": PathBlur(paths, rolls, SIZE, centres * torch.tensor([90.0, 70.0])),
        "small": FieldBlur(torch.full((2, 2, 1, 3), 8.0)),
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["field", "bent", "path", "small"])
def test_the_adjoint(name, dtype):
    size = (1, 3) if name == "small" else SIZE
    x, y = (torch.rand(2, 3, *size, generator=each).to(dtype) for each in generators(2))
    blur = blurs()[name]
    left, right = ((a.double() * b.double()).sum() for a, b in ((blur.forward(x), y), (x, blur.adjoint(y))))
    assert blur.forward(x).dtype == blur.adjoint(y).dtype == dtype
    assert abs(float(left - right)) < 1e-5 * float(x.norm() * y.norm())


def test_gradients_are_those_of_finite_differences():
    x = torch.rand(1, 1, 6, 7, dtype=torch.float64, generator=generators(1)[0]).requires_grad_()
    field = smooth(2.7, size=(6, 7)).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x, f: FieldBlur(f, longest=2.7).forward(x), (x, field))
    assert torch.autograd.gradcheck(lambda x, f: FieldBlur(f, longest=2.7).adjoint(x), (x, field))
    path = (3 * at_moments(draw_paths(generators(1)), 5)).double().requires_grad_()
    rolls = torch.linspace(-0.1, 0.13, 5, dtype=torch.float64)[None].requires_grad_()
    assert torch.autograd.gradcheck(lambda p, r: PathBlur(p, r, (6, 7)).forward(x.detach()), (path, rolls))


def test_a_camera_that_does_not_roll_is_a_convolution():
    x, path = picture(), 8 * draw_paths(generators(1))
    expected = convolve_reflected(x, rasterised(path, 17)[0, 0])
    assert torch.allclose(PathBlur(path, None, SIZE).forward(x), expected, atol=1e-5)
    few = PathBlur(at_moments(path, 33), None, SIZE).forward(x)
    assert (few - expected).abs().max() < 3 / 255 and not torch.allclose(expected, x, atol=0.05)


def test_a_roll_blurs_along_circles_around_its_centre():
    """A point of light far from the centre becomes an arc, one in the centre stays."""
    x = torch.zeros(1, 1, 81, 81)
    x[..., 40, 40] = x[..., 40, 70] = 1
    rolls = torch.linspace(-0.2, 0.2, 65)[None]
    blurred = PathBlur(torch.zeros(1, 65, 2), rolls, (81, 81)).forward(x)[0, 0]
    assert float(blurred[40, 40]) > 0.9
    rows, columns = (blurred[:, 60:] > 1e-4).nonzero().float().unbind(1)
    radii = torch.hypot(rows - 40, columns + 20)
    assert ((radii - 30).abs() < 1.5).all() and float(rows.max() - rows.min()) == pytest.approx(60 * 0.2, abs=2.1)
    turned = PathBlur(torch.zeros(1, 1, 2), torch.full((1, 1), math.pi / 2), (81, 81)).forward(x)[0, 0]
    assert float(turned[70, 40]) == pytest.approx(1, abs=1e-3)  # from the right to below


def test_bent_ways_keep_their_centroid():
    x = torch.zeros(1, 1, 41, 41)
    x[..., 20, 20] = 1
    blurred = FieldBlur(constant(16, 0.0, (41, 41)), torch.tensor([0.1])).adjoint(x)[0, 0]
    rows, columns = (torch.arange(41.0) @ blurred.sum(axis) for axis in (1, 0))
    assert float(rows) == pytest.approx(20, abs=1e-4) and float(columns) == pytest.approx(20, abs=1e-4)
    middle, end = (torch.arange(41.0) @ blurred[:, at] / blurred[:, at].sum() for at in (20, 13))
    assert float(middle - end) == pytest.approx(1.6 * (7 / 8) ** 2, abs=0.2)  # b to the right: the middle lies lower


def test_moments_of_an_exposure():
    assert [sample_count(length) for length in (0, 7.9, 8.1, 11, 12, 64, 500)] == [9, 9, 11, 13, 13, 65, 65]
    times, weights = exposure_times(11)
    assert times[5] == 0 and times[0] == -times[-1] > -0.5 and weights == [1 / 11] * 11
    _, weights = exposure_times(11, 0.25)
    assert sum(weights) == pytest.approx(1) and weights[0] < weights[2] < weights[3] == weights[5]
    with pytest.raises(ValueError, match=r"shutter is 0\.6: a share of 0 to 0\.5"):
        exposure_times(9, 0.6)
    assert torch.equal(at_moments(torch.tensor([[0.0, 1.0, 2.0]]), 4), torch.tensor([[0.25, 0.75, 1.25, 1.75]]))


def test_random_fields_are_smooth_and_their_generators_own():
    drawn = draw_fields(generators(6))
    assert torch.allclose(draw_fields(generators(2, 3)), drawn[3:5], atol=1e-6) and drawn.shape == (6, 2, 4, 4)
    fields = field_at(drawn, (120, 160))
    lengths = fields.square().sum(1).sqrt()
    assert torch.allclose(lengths.amax((1, 2)), torch.ones(6), atol=0.03) and (lengths.amin((1, 2)) < 0.5).all()
    assert fields.diff(dim=-1).abs().max() < 0.1 > fields.diff(dim=-2).abs().max()
    part = field_at(drawn, (120, 160), (31, 17), (40, 50))
    assert torch.allclose(part, fields[..., 31:71, 17:67], atol=1e-6)


def test_random_shakes_with_a_roll():
    paths, rolls, centres = draw_camera_shakes(generators(5))
    for whole, part in zip((paths, rolls, centres), draw_camera_shakes(generators(2, 2)), strict=True):
        assert torch.allclose(part, whole[2:4], atol=1e-6)
    assert torch.allclose(extents(paths), torch.ones(5)) and torch.equal(paths, draw_paths(generators(5)))
    assert torch.allclose(rolls.amax(1) - rolls.amin(1), torch.ones(5)) and rolls.mean(1).abs().max() < 1e-5
    assert 0.2 <= float(centres.min()) <= float(centres.max()) <= 0.8
