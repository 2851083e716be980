"""Averages of frames: light, saturation, and the noise of a single frame put back."""

from __future__ import annotations

import pytest
import torch

from restore.physics.blurred_noise import blurred_noises
from restore.physics.color import linear_to_srgb, srgb_to_linear
from restore.physics.frame_average import FrameAverageRecipe, average_frames, frame_noises


def clip(count: int = 4, frames: int = 7, sigma: float = 0.0, side: int = 96) -> torch.Tensor:
    """Blocks and waves that move by 1 px a frame, between 0.25 and 0.75; with white noise."""
    rows, columns = torch.meshgrid(*(torch.arange(side + 20).float() for _ in range(2)), indexing="ij")
    scene = 0.5 + 0.15 * torch.sin(rows / 5) * torch.cos(columns / 4) + 0.1 * ((rows // 8 + columns // 8) % 2 - 0.5)
    moved = torch.stack([scene[:side, shift : shift + side] for shift in range(frames)])
    generator = torch.Generator().manual_seed(0)
    pictures = moved[None, :, None].expand(count, -1, 3, -1, -1)
    return pictures + sigma * torch.randn(pictures.shape, generator=generator)


def test_the_average_is_that_of_light_or_of_values():
    frames = clip(12)
    made = average_frames(frames, FrameAverageRecipe(linear=0.5, lights=(1, 1), noise=False), 1, 2, 3)
    light = linear_to_srgb(srgb_to_linear(frames.flatten(0, 1)).view_as(frames).mean(1))
    assert 0 < int(made.linear.sum()) < 12 and not made.added.any()
    for i in range(12):
        assert torch.allclose(made.blurred[i], light[i] if made.linear[i] else frames[i].mean(0), atol=1e-6)
    assert torch.equal(made.middle, frames[:, 3])
    assert (light - frames.mean(1)).abs().max() > 1e-3


def test_a_sample_depends_on_its_number_alone():
    frames = clip(6, sigma=0.02)
    whole, part = (average_frames(x, FrameAverageRecipe(), 1, 2, first) for x, first in ((frames, 3), (frames[2:4], 5)))
    for a, b in zip(whole, part, strict=True):
        assert torch.allclose(a[2:4].float(), b.float(), atol=1e-6)
    assert not torch.equal(average_frames(frames, FrameAverageRecipe(), 1, 3, 3).blurred, whole.blurred)


@pytest.mark.parametrize("sigma", [2.0, 5.0])
def test_the_noise_is_that_of_one_frame(sigma):
    frames = clip(8, sigma=sigma / 255)
    plain = average_frames(frames, FrameAverageRecipe(noise=False), 1, 2, 3).blurred
    made = average_frames(frames, FrameAverageRecipe(), 1, 2, 3)
    before, after = (float(blurred_noises(x).mean()) * 255 for x in (plain, made.blurred))
    assert before < 0.6 * sigma and after == pytest.approx(sigma, rel=0.1)
    assert float((made.blurred - plain).std()) == pytest.approx(float(made.added.square().mean().sqrt()), rel=0.05)


def test_noise_is_not_mistaken_for_texture_or_motion():
    texture = torch.rand(2, 1, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 0.5 + 0.25
    still = texture.expand(-1, 3, -1, -1, -1)
    assert frame_noises(still).max() < 1e-4
    noisy = still + 0.01 * torch.randn(still.shape, generator=torch.Generator().manual_seed(2))
    assert frame_noises(noisy).tolist() == pytest.approx([0.01, 0.01], rel=0.1)
    smooth = clip(2, 3, 0.01)
    assert frame_noises(smooth).tolist() == pytest.approx([0.01, 0.01], rel=0.1)
    clipped = torch.ones(1, 3, 3, 16, 16)
    assert frame_noises(clipped).tolist() == [0]


def test_lights_above_white_are_smeared_brighter():
    frames = torch.full((8, 5, 1, 32, 32), 0.1)
    for t in range(5):
        frames[:, t, :, 12:20, 4 + 4 * t : 8 + 4 * t] = 1
    dim, lit = (
        average_frames(frames, FrameAverageRecipe(1.0, lights, noise=False), 1, 2, 3).blurred
        for lights in ((1.0, 1.0), (3.0, 3.0))
    )
    inside = (..., slice(12, 20), slice(4, 24))
    share = srgb_to_linear(torch.tensor([0.1]))
    expected = linear_to_srgb(torch.cat([(1 + 4 * share) / 5, (3 + 4 * share) / 5]))
    assert torch.allclose(dim[inside], expected[0], atol=1e-5) and torch.allclose(lit[inside], expected[1], atol=1e-5)
    white = average_frames(torch.ones(1, 3, 1, 8, 8), FrameAverageRecipe(1.0), 0, 0, 0)
    assert torch.allclose(white.blurred, torch.ones(1, 1, 8, 8), atol=1e-6)


def test_what_makes_no_sense():
    with pytest.raises(ValueError, match="odd T"):
        average_frames(torch.zeros(1, 4, 3, 8, 8), FrameAverageRecipe(), 0, 0, 0)
    with pytest.raises(ValueError, match="linear is 2: a share"):
        FrameAverageRecipe(linear=2)
