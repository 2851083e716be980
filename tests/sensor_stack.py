"""A stack of one sensor with hot sites, still beads 2 px wide, and sparks of one pixel that are elsewhere each time."""

from __future__ import annotations

import numpy as np
import tifffile

SIDE, SITES, BEADS, SPARKS = 96, 30, 6, 12


def places(number: int, rng: np.random.Generator) -> np.ndarray:
    """Places on a grid of 8 px, so that none are neighbours: number x 2."""
    cells = rng.choice((SIDE // 8) ** 2, number, replace=False)
    return np.stack([cells // (SIDE // 8), cells % (SIDE // 8)], 1) * 8 + 3


def stack(frames: int = 6, sites: int = SITES, noise: float = 40.0):
    """(frames, truth, hot sites, beads, sparks of each frame): moving waves, still beads 2 px wide, 16 bits."""
    rng = np.random.default_rng(5)
    taken = places(sites + BEADS + frames * SPARKS, rng)
    hot, beads = taken[:sites], taken[sites : sites + BEADS]
    sparks = taken[sites + BEADS :].reshape(frames, SPARKS, 2)
    yy, xx = np.mgrid[:SIDE, :SIDE]
    still = sum(9000 * np.exp(-((yy - y) ** 2 + (xx - x) ** 2) / 1.44) for y, x in beads)  # FWHM 2 px
    truth = np.stack([8000 + 3000 * np.sin((xx + 2 * yy + 9 * t) / 15) + still for t in range(frames)])
    strength = rng.uniform(6000, 40000, sites)
    noisy = truth + rng.normal(0, noise, truth.shape)
    noisy[:, hot[:, 0], hot[:, 1]] += strength
    for frame, at in zip(noisy, sparks, strict=True):
        frame[at[:, 0], at[:, 1]] += 15000
    return np.clip(np.rint(noisy), 0, 65535).astype(np.uint16), truth, hot, beads, sparks


def written(tmp_path, frames, name="in.tif", **options):
    tifffile.imwrite(tmp_path / name, frames, photometric="minisblack", **options)
    return tmp_path / name


def psnr(x, truth):
    return 10 * np.log10(65535**2 / np.mean((x.astype(float) - truth) ** 2))


def at(frame, sites):
    return frame[sites[:, 0], sites[:, 1]].astype(float)
