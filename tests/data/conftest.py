"""A few generated photographs-to-be on disk."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest


def scene(seed: int, height: int = 80, width: int = 100) -> np.ndarray:
    """A smooth random picture with edges, H x W x 3 uint8."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 8, 3)).astype(np.uint8)
    picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    cv2.circle(picture, (int(rng.integers(width)), int(rng.integers(height))), 15, rng.integers(0, 256, 3).tolist(), -1)
    return picture


def save(path: Path, picture: np.ndarray) -> Path:
    """Write an RGB, grey or RGBA array with OpenCV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if picture.ndim == 3:
        picture = picture[..., [2, 1, 0, *range(3, picture.shape[2])]]
    assert cv2.imwrite(str(path), picture)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder: a.png, b.png, deeper/c.png, of different sizes."""
    folder = tmp_path / "photos"
    save(folder / "a.png", scene(1))
    save(folder / "b.png", scene(2, 64, 120))
    save(folder / "deeper" / "c.png", scene(3, 90, 70))
    return folder
