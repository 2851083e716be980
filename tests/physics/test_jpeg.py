"""The batched JPEG against libjpeg (through OpenCV), and what it must leave alone."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from restore.physics.jpeg import jpeg

SAMPLING = {True: cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420, False: cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444}


@pytest.fixture(scope="module")
def photo() -> Tensor:
    """1 x 3 x 117 x 154, sides that are no multiples of 16."""
    data = pytest.importorskip("skimage.data")
    return torch.from_numpy(data.astronaut()[20:137, 150:304].copy()).permute(2, 0, 1)[None] / 255


def libjpeg(x: Tensor, quality: int, subsampled: bool) -> Tensor:
    codes = np.ascontiguousarray((x[0] * 255).round().byte().permute(1, 2, 0).numpy()[..., ::-1])
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, SAMPLING[subsampled]]
    decoded = cv2.imdecode(cv2.imencode(".jpg", codes, options)[1], cv2.IMREAD_UNCHANGED)
    return torch.from_numpy(np.atleast_3d(decoded)[..., ::-1].copy()).permute(2, 0, 1)[None] / 255


def psnr(a: Tensor, b: Tensor) -> float:
    return float(-10 * torch.log10((a - b).square().mean()))


@pytest.mark.parametrize("subsampled", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
def test_agrees_with_libjpeg(photo: Tensor, channels: int, subsampled: bool) -> None:
    """In one batch: every sample has its own quality."""
    x = photo[:, :channels]
    qualities = (20, 49, 50, 75, 90, 95)
    ours = jpeg(x.expand(len(qualities), -1, -1, -1), torch.tensor(qualities), subsampled=subsampled)
    for mine, quality in zip(ours, qualities, strict=True):
        theirs = libjpeg(x, quality, subsampled)
        assert psnr(mine[None], theirs) > 42
        assert psnr(mine[None], x) == pytest.approx(psnr(theirs, x), abs=0.25)


def test_gives_8_bit_values_and_keeps_flat_grey() -> None:
    x = torch.full((2, 3, 20, 24), 128 / 255)
    assert torch.equal(jpeg(x, torch.tensor([10, 100])), x)
    y = jpeg(torch.rand(2, 3, 20, 24, generator=torch.Generator().manual_seed(0)) * 3 - 1, torch.tensor([5, 80])) * 255
    assert torch.allclose(y, y.round(), atol=1e-4) and y.min() >= 0 and y.max() <= 255


def test_chroma_loses_resolution_only_when_subsampled() -> None:
    x = torch.full((1, 3, 32, 32), 0.5)
    x[:, 0, :, ::2], x[:, 2, :, ::2] = 0.75, 0.25
    best = torch.tensor([100])
    assert psnr(jpeg(x, best, subsampled=False), x) > 45
    assert psnr(jpeg(x, best, subsampled=True), x) < 25
