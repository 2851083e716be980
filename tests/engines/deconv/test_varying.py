"""PSFs that vary over the picture: better than one for all of it, and the same in tiles."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from restore.errors import ConfigError, FileError
from restore.inference.engine import EngineOptions, Place
from restore.physics.operators import VaryingBlur, grid_maps
from restore.physics.psf import motion
from restore.picture import Picture
from tests.classical.blurred import scene
from tests.engines.deconv.test_engine import deconvolution, quality
from tests.inference.engines import restore


@pytest.fixture(scope="module")
def psfs():
    """Sharp, and shaken."""
    sharp = torch.zeros(1, 11)
    sharp[0, 5] = 1
    return torch.stack([sharp, motion(11, 0)])


@pytest.fixture(scope="module")
def pair(psfs):
    """(truth, blurred) codes: sharp on the left, shaken on the right."""
    truth = scene()[..., 120:248, 150:310].float()
    y = VaryingBlur(psfs, grid_maps(1, 2), truth, (128, 160)).forward(truth)
    codes = (y[0].movedim(0, -1).clamp(0, 1) * 255).round().byte().numpy()
    return (truth[0].movedim(0, -1) * 255).numpy(), codes


@pytest.fixture
def grid(tmp_path, psfs):
    np.savez(tmp_path / "grid.npz", psfs=psfs[None].numpy())
    return tmp_path / "grid.npz"


def inner(x):
    """Without the made-up border."""
    return x[:, 8:-8]


def test_one_psf_for_all_of_the_picture_is_worse_at_either_end(grid, pair):
    truth, codes = pair
    result, report = restore(deconvolution("auto", grid), Picture.from_array(codes))
    assert "rl-tv" in report.decisions["method"] and "2 PSFs" in report.decisions["method"]
    gain = quality(inner(result), inner(truth)) - quality(inner(codes), inner(truth))
    one, _ = restore(deconvolution("rl-tv", motion(11, 0).numpy()), Picture.from_array(codes))
    assert gain > 2 and quality(inner(one), inner(truth)) < quality(inner(result), inner(truth)) - 2


def test_what_is_refused(tmp_path, grid, psfs, pair):
    with pytest.raises(ConfigError, match="Use --method rl or rl-tv"):
        restore(deconvolution("wiener", grid), Picture.from_array(pair[1]))
    np.savez(tmp_path / "wrong.npz", psfs=psfs.numpy())
    with pytest.raises(FileError, match="does not describe a PSF that varies"):
        deconvolution("auto", tmp_path / "wrong.npz")
    np.savez(tmp_path / "maps.npz", psfs=psfs.numpy(), maps=-np.ones((2, 4, 4)))
    with pytest.raises(FileError, match="weights of 0 or more"):
        deconvolution("auto", tmp_path / "maps.npz")


def framed(psf):
    """In the middle of 11 x 11 px."""
    rows, columns = ((11 - side) // 2 for side in psf.shape)
    return torch.nn.functional.pad(psf, (columns, columns, rows, rows))


BORDER = 24  # px at the picture's border, where every tile and the whole make up what lies beyond in their own way


@pytest.fixture(scope="module")
def large(psfs):
    """(PSFs at the corners, codes of a picture of several tiles)."""
    corners = torch.stack([framed(psf) for psf in (torch.ones(1, 1), psfs[1], motion(9, 90), motion(9, 45))])
    x = scene()[..., 60:380, 60:420].float()
    y = VaryingBlur(corners, grid_maps(2, 2), x, (320, 360)).forward(x)
    return corners, (y[0].movedim(0, -1).clamp(0, 1) * 255).round().byte().numpy()


@pytest.fixture
def engine(tmp_path, large):
    np.savez(tmp_path / "four.npz", psfs=large[0].unflatten(0, (2, 2)).numpy())
    return deconvolution("rl-tv", tmp_path / "four.npz", iterations=30)


def test_tiled_is_the_whole_to_within_one_code(engine, large):
    codes = large[1]
    tiled, report = restore(engine, Picture.from_array(codes), tile=48)
    whole, once = restore(engine, Picture.from_array(codes), tile=2000)
    assert (report.tiles, report.mode, once.tiles) == (9, "blend", 1)
    inside = (slice(BORDER, -BORDER), slice(BORDER, -BORDER))
    difference = np.abs(tiled.astype(int) - whole)[inside]
    assert difference.max() <= 1 and difference.mean() < 0.01
    assert np.abs(whole.astype(int) - codes)[inside].mean() > 3  # of what the method did


def test_a_tile_that_did_not_know_its_place_would_be_wrong(engine, large):
    codes = large[1]
    condition = engine.prepare({"picture": Picture.from_array(codes)}, EngineOptions())
    x = torch.from_numpy(codes).movedim(-1, 0)[None, None].float() / 255
    whole = engine(x, condition, [Place(0, 0, 320, 360)])["result"]
    here, elsewhere = (
        (engine(x[..., 180:], condition, [place])["result"] - whole[..., 180:])[..., 40:-40, 40:-40].abs().mean()
        for place in (Place(0, 180, 320, 360), Place(0, 0, 320, 360))
    )
    assert here < 1e-4 < 1e-2 < elsewhere
