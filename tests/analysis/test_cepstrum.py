"""Motion and defocus off the cepstrum: exact on blurred photographs with noise."""

from __future__ import annotations

import pytest

from restore.analysis.cepstrum import find_disc, find_line
from restore.physics.psf import disc, motion
from tests.classical.blurred import scene, seen


@pytest.mark.parametrize("sigma", [0.002, 0.01])
@pytest.mark.parametrize(("length", "angle"), [(15, 20), (21, 75), (31, 130), (41, 5)])
def test_lines(length, angle, sigma):
    _, y = seen(scene(), motion(length, angle).double(), sigma)
    found = find_line(y[0, 0])
    assert abs(found.length - length) <= 0.5 and abs(found.angle - angle) <= 1
    assert found.confidence > max(6.5, find_disc(y[0, 0]).confidence)


@pytest.mark.parametrize("sigma", [0.002, 0.01])
@pytest.mark.parametrize("radius", [5, 8, 12])
def test_discs(radius, sigma):
    _, y = seen(scene(), disc(radius).double(), sigma)
    found = find_disc(y[0, 0])
    assert found.radius == pytest.approx(radius, rel=0.05)
    assert found.confidence > max(10, find_line(y[0, 0]).confidence)


def test_a_sharp_picture_shows_neither():
    assert find_line(scene()[0, 0]).confidence < 8 and find_disc(scene()[0, 0]).confidence < 8
