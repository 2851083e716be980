"""PSFs as photographs of a point: the same result from every kind of file, with and without the camera's offset."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from restore.engines.deconv.psf import load_psf
from restore.picture import Picture
from tests.classical.blurred import scene, seen
from tests.engines.deconv.test_engine import deconvolution, quality
from tests.inference.engines import restore
from tests.physics.test_psf import bead, noisy


@pytest.fixture(scope="module")
def pair():
    psf = bead()
    pair = seen(scene()[..., 100:360, 100:360], psf / psf.sum(), 1 / 255)
    return tuple((t[0].movedim(0, -1).clamp(0, 1) * 255).round().byte().numpy() for t in pair)


def result_of(psf, pair):
    result, report = restore(deconvolution("hyper-laplacian", psf), Picture.from_array(pair[1]))
    return quality(result, pair[0]), report.decisions["psf"]


@pytest.mark.parametrize("name", ["bead8.png", "bead16.tif", "bead_float.tif", "bead.npy"])
def test_a_point_on_the_offset_of_a_camera_is_as_good_as_the_true_psf(tmp_path, pair, name):
    counts = noisy(bead(), 100.0).numpy()
    values = {
        "bead8.png": np.rint(counts / counts.max() * 255).astype(np.uint8),
        "bead16.tif": np.rint(counts).astype(np.uint16),
        "bead_float.tif": counts.astype(np.float32),
    }
    file = tmp_path / name
    if name in values:
        cv2.imwrite(str(file), values[name])
    else:
        np.save(file, counts)
    dbs, said = result_of(file, pair)
    assert dbs == pytest.approx(result_of(bead().numpy(), pair)[0], abs=0.05)
    assert dbs > quality(pair[1], pair[0]) + 1.5 and "% of the PSF's peak, was taken off" in said


def test_an_even_and_an_off_centre_file_leave_the_picture_in_its_place(tmp_path, pair):
    true = result_of(bead().numpy(), pair)[0]
    for name, psf in {"even": bead(32, (15.5, 15.5)), "aside": noisy(bead(41, (14.0, 25.0)), 100.0)}.items():
        np.save(tmp_path / f"{name}.npy", psf.numpy())
        dbs, said = result_of(tmp_path / f"{name}.npy", pair)
        assert (dbs == pytest.approx(true, abs=0.05) and "the PSF was moved by" in said) or "moved by 0.5 px" in said


def test_backgrounds_of_a_file_of_psfs_are_taken_off_and_said(tmp_path):
    psfs = np.stack([noisy(bead(), 100.0).numpy(), bead().numpy()])[:, None]
    np.savez(tmp_path / "grid.npz", psfs=psfs)
    loaded = load_psf(tmp_path / "grid.npz")
    first, second = loaded.psf.psfs
    assert float((first - second).abs().sum()) < 0.03
    assert {note.rpartition(" (")[2] for note in loaded.notes} == {"number 1 of 2)"}
