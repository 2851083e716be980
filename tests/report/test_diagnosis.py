"""The drawn report: what it shows is where it should be, and is right."""

from __future__ import annotations

import numpy as np
import pytest

from restore.analysis.colours import ColourView
from restore.engines.denoise.network_choice import diagnose
from restore.io.codecs import open_picture
from restore.picture import Picture, ValueScale
from restore.report.diagnosis import HEIGHT, WIDTH, _flattest, _means, _stretched, draw_diagnosis, write_diagnosis
from restore.report.plot import Axes, Line, fitted, font, plot, round_ticks


def noisy(shape=(200, 300, 3), sigma=12.0, white=255.0, dtype=np.uint8):
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    clean = 110 + 50 * np.sin(rows / 25) + 40 * np.cos(columns / 30)
    values = clean.reshape(*shape[:2], *(1,) * (len(shape) - 2)) + sigma * rng.standard_normal(shape)
    return np.rint(np.clip(values, 0, 255) * white / 255).astype(dtype)


def parts(sheet):
    """(left panel, right panel, left plot, right plot) without the words around them."""
    return sheet[44:364, 16:472], sheet[44:364, 488:944], sheet[424:618, 68:458], sheet[424:618, 540:930]


@pytest.mark.parametrize(
    "array",
    [
        noisy(), noisy((200, 300)), noisy((200, 300, 4)), noisy((90, 100, 5)), noisy((700, 1000, 3)),
        noisy((200, 300, 3), white=1023, dtype=np.uint16), (noisy() / 255).astype(np.float32), noisy((9, 500, 3)),
        noisy((1, 1, 3)), np.zeros((50, 60, 3), np.uint8),
    ],
    ids=["rgb", "grey", "rgba", "5", "large", "10 bit", "float", "low", "dot", "black"],
)  # fmt: skip
def test_any_picture_can_be_drawn_and_no_panel_is_blank(array):
    source = Picture.from_array(array)
    actual = diagnose(source)
    sheet = draw_diagnosis(source, actual)
    assert (sheet.shape, sheet.dtype) == ((HEIGHT, WIDTH, 3), np.uint8)
    picture, patch, level, correlation = parts(sheet)
    assert (picture != picture[0, 0]).any() and (level < 100).any()
    if array.size > 5000 and array.any():
        assert patch[:, 60:-60].std() > 20  # the noise is stretched
    assert ((correlation[..., 2] > 150) & (correlation[..., 0] < 90)).any() == actual.measurable  # the blue line
    facts = sheet[680:, 110:]
    assert (facts < 100).sum() > 200


def test_the_level_is_drawn_where_the_axis_says():
    source = Picture.from_array(noisy(sigma=12.0))
    actual = diagnose(source)
    ink = (parts(draw_diagnosis(source, actual))[2].max(-1) < 90).nonzero()
    rows = ink[0][(ink[1] > 100) & (ink[1] < 300)]
    height = 15 * (1 - np.median(rows) / 194)  # the axis ends at 15
    assert height == pytest.approx(actual.level_at(128), abs=0.4)


def test_the_flattest_part_is_found_and_clipped_ones_are_not():
    array = np.random.default_rng(1).integers(0, 256, (40, 60), np.uint8).repeat(8, 0).repeat(8, 1)
    array[160:248, 240:360] = 140
    array[200:204, 300:304] = 150  # nearly flat
    view = ColourView(Picture.from_array(array))
    for clipped in (False, True):
        if clipped:
            array[8:120, 8:160] = 255  # flatter, but says nothing
        patch, (x, y) = _flattest(view, ValueScale())
        assert (240 <= x <= 248, 160 <= y <= 168, patch.shape) == (True, True, (80, 112, 3))
        assert np.ptp(patch) == pytest.approx(10 / 255)


def test_means_are_those_of_boxes_whatever_the_bands():
    array = np.random.default_rng(2).integers(0, 256, (1200, 37, 3), np.uint8)
    means = _means(ColourView(Picture.from_array(array)), ValueScale(), 8)
    expected = array[:, :32].reshape(150, 8, 4, 8, 3).mean((1, 3)) / 255
    np.testing.assert_allclose(means, expected, atol=1e-6)


def test_three_stds_fill_the_contrast():
    patch = 0.3 + 0.02 * np.random.default_rng(3).standard_normal((80, 112, 3))
    stretched, gain = _stretched(patch)
    assert gain == pytest.approx(0.5 / 0.06, rel=0.05)
    assert stretched.mean() == pytest.approx(127.5, abs=1) and stretched.std() == pytest.approx(255 / 6, rel=0.05)
    assert _stretched(np.full((80, 112, 3), 0.4))[1] == 32  # nothing to see: not magnified without end


def test_the_file_is_an_8_bit_png_and_what_fails_leaves_nothing(tmp_path):
    source = Picture.from_array(noisy())
    actual = diagnose(source)
    write_diagnosis(source, actual, tmp_path / "new" / "r.png")
    written = open_picture(tmp_path / "new" / "r.png")
    assert (written.info.dtype, written.info.samples) == ("uint8", 3)
    np.testing.assert_array_equal(written.read_rows(0, HEIGHT), draw_diagnosis(source, actual))

    class Broken(Picture):
        def read_rows(self, start, stop):
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        write_diagnosis(Broken(source.info, source.pixels), actual, tmp_path / "broken.png")
    assert not (tmp_path / "broken.png").exists()


def test_a_plot_has_its_line_from_corner_to_corner():
    axes = Axes("t", "x", (0, 10), (0, 1), (0, 5, 10), (0, 1))
    drawn = np.asarray(plot((266, 276), axes, [Line([(0, 0), (10, 1)], (255, 0, 0), width=3)]))
    red = (drawn[..., 0] > 200) & (drawn[..., 1] < 80)
    rows, columns = red.nonzero()
    assert (columns.min(), columns.max()) == (pytest.approx(52, abs=3), pytest.approx(252, abs=3))
    np.testing.assert_allclose(rows, 230 - (columns - 52), atol=4)


@pytest.mark.parametrize(
    ("top", "ticks"), [(1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (13, [0, 5, 10, 15]), (42, [0, 10, 20, 30, 40, 50])]
)
def test_ticks_are_round_and_reach_the_top(top, ticks):
    assert round_ticks(top) == ticks


def test_long_names_are_cut_and_foreign_letters_escaped():
    assert fitted("a.png", 200, 15) == "a.png"
    cut = fitted("long name " * 30, 200, 15)
    assert cut.endswith("...") and font(15).getlength(cut) <= 200
    assert fitted("ф.png", 200, 15) == "\\u0444.png"
