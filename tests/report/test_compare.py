"""Before | after: the right pixels side by side, whatever the sample types."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from restore.io.atomic import AtomicFile
from restore.io.codecs import open_picture
from restore.picture import Picture
from restore.report.compare import GAP, write_comparison

RNG = np.random.default_rng(0)
EIGHT = RNG.integers(0, 256, (150, 21, 3), np.uint8)  # more rows than are handled at once
EIGHT[0, 0] = 255


def halves(path):
    picture = open_picture(path)
    pixels = picture.read_rows(0, picture.info.height)
    wide = (pixels.shape[1] - GAP) // 2
    assert (pixels[:, wide : wide + GAP] == 255).all()
    return pixels[:, :wide], pixels[:, wide + GAP :]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (EIGHT, EIGHT[::-1]),
        (EIGHT, (EIGHT[::-1] * np.uint16(257))),  # --depth 16
        (EIGHT, (EIGHT[::-1] / 255).astype(np.float32)),  # --depth float
        (EIGHT * np.uint16(257), EIGHT[::-1]),  # --depth 8
        (EIGHT * np.uint16(1), EIGHT[::-1] * np.uint16(1)),  # 8-bit data in a 16-bit file
        ((EIGHT * 37.5 - EIGHT.min()).astype(np.float32), (EIGHT[::-1] * 37.5 - EIGHT.min()).astype(np.float32)),
    ],
    ids=["8", "8-16", "8-float", "16-8", "narrow 16", "float"],
)
def test_both_halves_show_the_same_values_alike(tmp_path, before, after):
    write_comparison(Picture.from_array(before), Picture.from_array(after), AtomicFile(tmp_path / "c.png"))
    left, right = halves(tmp_path / "c.png")
    assert np.abs(left.astype(int) - EIGHT).max() <= 1
    assert np.array_equal(right, left[::-1])


def test_crop_grey_and_alpha(tmp_path):
    rgba = np.dstack([EIGHT, RNG.integers(0, 256, (150, 21, 1), np.uint8)])
    after = Picture.from_array(rgba[10:40, 5:16])
    write_comparison(Picture.from_array(rgba), after, AtomicFile(tmp_path / "rgba.png"), (5, 10, 11, 30))
    left, right = halves(tmp_path / "rgba.png")
    assert np.array_equal(left, EIGHT[10:40, 5:16]) and np.array_equal(left, right)
    grey = Picture.from_array(EIGHT[:, :, 0])
    write_comparison(grey, grey, AtomicFile(tmp_path / "grey.png"))
    assert open_picture(tmp_path / "grey.png").info.channels == 1


@pytest.mark.parametrize("scale", [2, 3, 8])
@pytest.mark.parametrize("crop", [None, (5, 10, 11, 130)])
def test_an_enlarged_result_is_beside_the_enlarged_input(tmp_path, scale, crop):
    x, y, width, height = crop or (0, 0, 21, 150)
    part = EIGHT[y : y + height, x : x + width]
    after = RNG.integers(0, 256, (scale * height, scale * width, 3), np.uint8)
    write_comparison(Picture.from_array(EIGHT), Picture.from_array(after), AtomicFile(tmp_path / "c.png"), crop)
    left, right = halves(tmp_path / "c.png")
    assert np.array_equal(right, after)
    assert all(np.array_equal(left[i::scale, j::scale], part) for i in range(scale) for j in range(scale))


class Forwards(Picture):
    """No row is read a second time, as streams like it."""

    next_row = 0

    def read_rows(self, start, stop):
        assert start >= self.next_row
        self.next_row = stop
        return super().read_rows(start, stop)


@pytest.mark.parametrize("shape", [(300, 43), (375, 52), (150, 21), (75, 10), (1000, 30), (7, 300)])
def test_any_size_is_beside_the_input_made_as_large_by_its_own_pixels(tmp_path, shape):
    after = RNG.integers(0, 256, (*shape, 3), np.uint8)
    before = Forwards(Picture.from_array(EIGHT).info, EIGHT)
    write_comparison(before, Picture.from_array(after), AtomicFile(tmp_path / "c.png"))
    left, right = halves(tmp_path / "c.png")
    rows, columns = (np.arange(n) * m // n for n, m in zip(shape, EIGHT.shape, strict=False))
    assert np.array_equal(right, after) and np.array_equal(left, EIGHT[rows][:, columns])


def test_nothing_half_written_stays(tmp_path):
    class Broken(Picture):
        def read_rows(self, start, stop):
            raise OSError("gone")

    broken = Broken(replace(Picture.from_array(EIGHT).info), EIGHT)
    with pytest.raises(OSError, match="gone"):
        write_comparison(Picture.from_array(EIGHT), broken, AtomicFile(tmp_path / "c.png"))
    assert list(tmp_path.iterdir()) == []
