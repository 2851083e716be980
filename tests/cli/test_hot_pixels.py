"""`restore denoise --hot-pixels` of stacks and of folders."""

from __future__ import annotations

import numpy as np
import tifffile

from tests.sensor_stack import at, psnr, stack, written


def test_the_command_line_says_it_and_keep_keeps_them(restore, tmp_path):
    noisy, truth, hot, *_ = stack()
    path = written(tmp_path, noisy)
    for words in ((), ("--hot-pixels", "auto", "--measure", "once")):
        ran = restore("denoise", path, tmp_path / "out.tif", "--frames", "all", "--overwrite", *words)
        assert ran.code == 0 and "hot pixels: 30 sites of the sensor" in ran.err
        result = tifffile.imread(tmp_path / "out.tif")
        assert all(psnr(at(y, hot), at(x, hot)) > 38 for x, y in zip(truth, result, strict=True))
    ran = restore("denoise", path, tmp_path / "kept.tif", "--frames", "all", "--hot-pixels", "keep")
    assert ran.code == 0 and "hot pixels" not in ran.err
    kept = tifffile.imread(tmp_path / "kept.tif")
    assert np.array_equal(kept[:, hot[:, 0], hot[:, 1]], noisy[:, hot[:, 0], hot[:, 1]])
    ran = restore("denoise", path, tmp_path / "same.tif", "--frames", "all", "--strength", "0")
    assert ran.code == 0 and np.array_equal(tifffile.imread(tmp_path / "same.tif"), noisy)


def test_pages_of_a_folder_are_no_stack(restore, tmp_path):
    noisy, *_ = stack()
    (tmp_path / "in").mkdir()
    for t, frame in enumerate(noisy[:4]):
        written(tmp_path / "in", frame, f"{t}.tif")
    assert restore("denoise", tmp_path / "in", tmp_path / "out").code == 0
    assert restore("denoise", tmp_path / "in", tmp_path / "kept", "--hot-pixels", "keep").code == 0
    for t in range(4):
        assert np.array_equal(tifffile.imread(tmp_path / f"out/{t}.tif"), tifffile.imread(tmp_path / f"kept/{t}.tif"))
