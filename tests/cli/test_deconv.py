"""`restore deconv`, as typed."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from restore.cli.main import main
from restore.errors import ExitCode


@pytest.fixture
def blurred(tmp_path):
    rng = np.random.default_rng(0)
    scene = cv2.resize(rng.random((12, 16, 3)), (96, 80), interpolation=cv2.INTER_NEAREST)
    path = tmp_path / "in.png"
    cv2.imwrite(str(path), np.rint(cv2.blur(scene, (7, 1)) * 255).astype(np.uint8))
    cv2.imwrite(str(tmp_path / "truth.png"), np.rint(scene * 255).astype(np.uint8))
    return path


def psnr(a, b):
    a, b = (cv2.imread(str(path)).astype(float)[:, 8:-8] for path in (a, b))
    return 10 * np.log10(255**2 / np.mean((a - b) ** 2))


@pytest.mark.parametrize("method", ["auto", "wiener", "rl", "rl-tv", "hyper-laplacian", "pnp", "infwide"])
def test_a_picture(blurred, method, capfd):
    out, truth = blurred.with_name("out.png"), blurred.with_name("truth.png")
    assert main(["deconv", str(blurred), str(out), "--psf", "motion:7,0", "--method", method]) == 0
    assert psnr(out, truth) > psnr(blurred, truth) + 2
    printed = capfd.readouterr().err
    assert "psf: 7 x 1 px" in printed and "method:" in printed and "noise: sigma" in printed


def test_default_name_and_a_psf_from_a_file(blurred):
    psf = blurred.with_name("psf.png")
    cv2.imwrite(str(psf), np.full((1, 7), 255, np.uint8))
    assert main(["deconv", str(blurred), "--psf", str(psf), "--boundary", "edgetaper"]) == 0
    assert blurred.with_name("in_deblurred.png").exists()


def test_mistakes_are_explained(blurred, capfd):
    out = str(blurred.with_name("out.png"))
    assert main(["deconv", str(blurred), out]) == ExitCode.USAGE
    assert "Give --psf FILE" in capfd.readouterr().err
    assert main(["deconv", str(blurred), out, "--psf", "motion:7"]) == ExitCode.USAGE
    assert "motion:LENGTH,ANGLE" in capfd.readouterr().err
    assert main(["deconv", str(blurred), out, "--psf", "disc:3", "--noise", "much"]) == ExitCode.USAGE
    assert "--noise cannot be 'much'" in capfd.readouterr().err
    assert main(["deconv", str(blurred), out, "--psf", "disc:3", "--method", "wienr"]) == ExitCode.USAGE
    assert "wiener" in capfd.readouterr().err
    assert main(["deconv", str(blurred), out, "--psf", "disc:60"]) != 0
    assert "larger than the picture" in capfd.readouterr().err


def test_a_psf_is_written_over_nothing_else(blurred):
    words = ["deconv", str(blurred), str(blurred.with_name("out.png")), "--psf", "motion:7,0", "--method", "wiener"]
    before, psf = blurred.read_bytes(), blurred.with_name("psf.png")
    assert main([*words, "--save-psf", str(blurred)]) == ExitCode.SOME_FAILED
    assert blurred.read_bytes() == before and not blurred.with_name("out.png").exists()
    assert main([*words, "--save-psf", str(psf)]) == 0
    assert main([*words, "--save-psf", str(psf), "--overwrite"]) == 0  # the same PSF
    words[words.index("motion:7,0")] = "disc:3"
    assert main([*words, "--save-psf", str(psf), "--overwrite"]) == ExitCode.SOME_FAILED


@pytest.mark.parametrize("method", ["wiener", "rl", "hyper-laplacian", "infwide"])
@pytest.mark.parametrize("shape", [(1, 40), (40, 1), (1, 1)])
def test_pictures_of_one_row_or_column(tmp_path, shape, method):
    source, out = tmp_path / "in.png", tmp_path / "out.png"
    cv2.imwrite(str(source), np.full((*shape, 3), 90, np.uint8))
    psf = "motion:1,0"
    assert main(["deconv", str(source), str(out), "--psf", psf, "--method", method]) == 0
    assert np.abs(cv2.imread(str(out)).astype(int) - 90).max() <= 1
    assert main(["deconv", str(source), str(tmp_path / "e.png"), "--psf", "estimate", "--method", method]) == 0
