"""Gaps are filled from their surroundings, alike in all bands, and come back as they were stored."""

from __future__ import annotations

import numpy as np
import pytest

from restore.analysis.colours import ColourView, Kept
from restore.analysis.impulses import are_few, find_impulses, least_step, neighbours_median
from restore.picture import Picture


def ramp(height: int = 120, width: int = 90) -> np.ndarray:
    yy, xx = np.mgrid[:height, :width]
    noise = np.random.default_rng(0).normal(0, 3, (height, width))
    return (1000 + 2 * xx + 3 * yy + noise).astype(np.float32)


def test_a_hole_is_filled_from_what_is_around_it_and_far_inside_by_the_median():
    picture = ramp()
    picture[20:100, 20:80] = np.nan
    view = ColourView(Picture.from_array(picture))
    rows = view.read_rows(0, 120)[..., 0]
    assert np.isfinite(rows).all() and np.array_equal(rows[:20], picture[:20])
    assert abs(rows[21, 50] - (1000 + 100 + 63)) < 20  # near the rim
    assert rows[60, 50] == pytest.approx(np.nanmedian(picture))
    known = view.read_known(0, 120)
    assert known is not None and np.array_equal(~known, np.isnan(picture))


@pytest.mark.parametrize("kept", [Kept(), Kept(flat=True, impulses=200.0)])
def test_bands_agree(kept):
    picture = ramp(300, 40)
    picture[40:60, 5:30] = -9999
    picture[100:160, :] = 1.0
    picture[200, 20] = 60_000
    source = Picture.from_array(picture)
    whole = ColourView(source, kept).read_rows(0, 300)
    view = ColourView(source, kept)
    parts = [view.read_rows(start, min(start + 37, 300)) for start in range(0, 300, 37)]
    assert np.array_equal(np.concatenate(parts), whole)
    assert np.array_equal(ColourView(source, kept).read_rows(130, 220), whole[130:220])


def test_every_row_is_read_once_where_bands_go_down():
    class Counting(Picture):
        reads: list[int] = []

        def read_rows(self, start, stop):
            self.reads.extend(range(start, stop))
            return super().read_rows(start, stop)

    picture = ramp(300, 40)
    picture[40:60, 5:30] = np.nan
    base = Picture.from_array(picture)
    view = ColourView(Counting(base.info, base.pixels))
    _ = view.missing
    _ = view._median
    Counting.reads.clear()
    for start in range(0, 300, 30):
        view.read_rows(start, start + 30)
    assert sorted(Counting.reads) == list(range(300))


def test_what_is_kept_comes_back_as_stored():
    picture = ramp()
    picture[:16] = 5.0
    picture[50, 30] = 9000
    view = ColourView(Picture.from_array(picture), Kept(flat=True, impulses=500.0))
    kept = view.read_kept(0, 120)
    assert kept is not None
    stored, mask = kept
    assert np.array_equal(stored[..., 0], picture)
    assert mask[:16].all() and mask[50, 30].all() and mask.sum() == 16 * 90 + 1
    filled = view.read_rows(0, 120)[..., 0]
    assert abs(filled[50, 30] - (1000 + 60 + 150)) < 10 and filled[:16].min() > 900
    wider = ColourView(Picture.from_array(picture), Kept(flat=True, margin=5)).read_kept(0, 120)
    assert wider is not None and wider[1][:21].all() and wider[1].sum() == 21 * 90
    removing = ColourView(Picture.from_array(picture), Kept(impulses=500.0, remove=True)).read_kept(0, 120)
    assert removing is not None and not removing[1].any()


def test_a_picture_without_gaps_is_passed_on():
    picture = Picture.from_array(np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8))
    view = ColourView(picture)
    assert view.whole and view.read_known(0, 40) is None and view.read_kept(0, 40) is None
    assert np.shares_memory(view.read_rows(3, 9), picture.pixels)


def test_transparent_pixels_are_not_known():
    picture = np.random.default_rng(0).integers(0, 255, (40, 40, 4), dtype=np.uint8)
    picture[..., 3] = 255
    picture[:10, :, 3] = 0
    known = ColourView(Picture.from_array(picture)).read_known(0, 40)
    assert known is not None and not known[:10].any() and known[10:].all()


class TestImpulses:
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
    @pytest.mark.parametrize("value", [0, 250])
    def test_single_samples_are_found_in_their_channel(self, dtype, value):
        rows = np.random.default_rng(0).integers(110, 130, (50, 60, 3)).astype(dtype)
        for y, x, channel in ((0, 0, 0), (20, 30, 1), (49, 59, 2)):
            rows[y, x, channel] = value
        where = find_impulses(rows, 50.0)
        assert sorted(zip(*map(np.ndarray.tolist, where), strict=True)) == [(0, 0, 0), (20, 30, 1), (49, 59, 2)]
        assert np.all((neighbours_median(rows, where) >= 110) & (neighbours_median(rows, where) < 130))

    def test_spots_lines_and_edges_are_none(self):
        rows = np.full((60, 60, 1), 20, np.uint8)
        rows[10:12, 10:12] = 250  # a spot of four
        rows[:, 30] = 250  # a line
        rows[40:] = 200  # an edge
        assert not len(find_impulses(rows, 13.0)[0])

    def test_noise_alone_has_few(self):
        import torch

        noise = torch.randn(3, 300, 300, generator=torch.Generator().manual_seed(0)) * 0.06 + 0.5
        assert least_step(0.06) == pytest.approx(0.36) and least_step(0.0) == 0.05
        assert not len(find_impulses(noise.movedim(0, -1).numpy(), least_step(0.06))[0])
        assert are_few([noise], least_step(0.06))
        noise.view(-1)[::101] = 1.5  # 1 %
        assert not are_few([noise], least_step(0.06))
