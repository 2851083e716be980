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
