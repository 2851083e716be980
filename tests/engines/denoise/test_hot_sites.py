"""Stacks of one sensor: sites that are hot in every frame are healed, what is real is kept."""

from __future__ import annotations

from contextlib import ExitStack, closing

import numpy as np
import pytest
import tifffile

import restore
from restore.analysis.hot_sites import find_hot_sites, healed
from restore.errors import UnsupportedError
from restore.files import frames_of
from tests.sensor_stack import SIDE, at, psnr, stack, written


@pytest.fixture
def opened():
    with ExitStack() as stack:
        yield lambda path: stack.enter_context(closing(frames_of(path)))


@pytest.mark.parametrize(
    "options",
    [{}, {"method": "zero-shot"}, {"method": "classical"}, {"weights": "cbsn"}, {"sigma": 2}],
    ids=["auto", "zero-shot", "classical", "weights", "sigma"],
)
def test_sites_hot_in_every_frame_are_healed_and_beads_and_sparks_kept(tmp_path, options):
    noisy, truth, hot, beads, sparks = stack()
    results = list(restore.load("denoise", device="cpu", **options).frames(written(tmp_path, noisy)))
    assert [result.decisions["hot pixels"] for result in results] == [
        "30 sites of the sensor, replaced by the neighbours' median in every frame"
    ] * 6
    for t, result in enumerate(results):
        frame = result.picture.numpy()
        assert psnr(at(frame, hot), at(truth[t], hot)) > 38 > 20 > psnr(at(noisy[t], hot), at(truth[t], hot))
        assert np.array_equal(at(frame, sparks[t]), at(noisy[t], sparks[t]))
        assert np.all(at(frame, beads) > 0.9 * at(truth[t], beads))


@pytest.mark.parametrize("frames", [2, 3])
def test_a_short_stack_is_not_touched(tmp_path, opened, frames):
    path = written(tmp_path, stack(frames)[0])
    with_auto, kept = (
        list(restore.load("denoise", hot_pixels=choice, device="cpu").frames(path)) for choice in ("auto", "keep")
    )
    for one, other in zip(with_auto, kept, strict=True):
        assert np.array_equal(one.picture.pixels, other.picture.pixels) and one.decisions == other.decisions
    assert not len(find_hot_sites(opened(path)))


class TestSites:
    @pytest.fixture
    def found(self, tmp_path, opened):
        return lambda frames: find_hot_sites(opened(written(tmp_path, frames)))

    def test_dead_ones_are_found_and_what_changes_sides_is_not(self, found):
        noisy, *_ = stack(sites=0)
        noisy[:, 40, 41] = 0
        noisy[::2, 20, 21], noisy[1::2, 20, 21] = 0, 60000
        y, x, channel = found(noisy).where
        assert (y.tolist(), x.tolist(), channel.tolist()) == ([40], [41], [0])

    @pytest.mark.parametrize("width", [0.5, 0.7, 1.0, 1.5])
    @pytest.mark.parametrize("shift", [0.0, 0.3, 0.5])
    def test_sharp_stars_are_none(self, found, width, shift):
        rng = np.random.default_rng(1)
        yy, xx = np.mgrid[:128, :128]
        stars = sum(
            30000 * np.exp(-((yy - y - shift) ** 2 + (xx - x) ** 2) / (2 * width**2))
            for y in range(8, 125, 30) for x in range(8, 125, 30)
        )  # fmt: skip
        frames = np.rint(1000 + stars + rng.normal(0, 30, (6, 128, 128))).clip(0, 65535).astype(np.uint16)
        assert not len(found(frames))

    def test_of_colours_the_one_that_is_hot(self, tmp_path, opened):
        rng = np.random.default_rng(2)
        frames = np.rint(rng.normal(20000, 200, (5, 48, 48, 3))).astype(np.uint16)
        frames[:, 10, 12, 1] = 50000
        path = tmp_path / "in.tif"
        tifffile.imwrite(path, frames, photometric="rgb")
        sites = find_hot_sites(opened(path))
        assert [index.tolist() for index in sites.where] == [[10], [12], [1]]
        result = [frame.read_rows(0, 48) for frame in healed(opened(path))[0]]
        assert abs(float(result[2][10, 12, 1]) - 20000) < 600
        result[2][10, 12, 1] = 50000
        assert np.array_equal(result[2], frames[2])

    def test_rows_in_any_pieces_are_those_of_the_whole(self, tmp_path, opened):
        noisy, _, hot, *_ = stack()
        frame = healed(opened(written(tmp_path, noisy)))[0].frame(3)
        whole = frame.read_rows(0, SIDE)
        assert np.count_nonzero(whole[..., 0] != noisy[3]) == len(hot)
        for step in (1, 7):
            pieces = [frame.read_rows(top, min(top + step, SIDE)) for top in range(0, SIDE, step)]
            assert np.array_equal(np.concatenate(pieces), whole)

    def test_missing_data_around_a_site_do_not_count(self, tmp_path, opened):
        noisy, _, hot, *_ = stack()
        frames = noisy.astype(np.float32)
        y, x = hot[0]
        frames[:, y - 1, x - 1 : x + 2] = np.nan
        clean, _ = healed(opened(written(tmp_path, frames)))
        row = clean.frame(2).read_rows(y, y + 1)[0, :, 0]
        assert abs(row[x] - (row[x - 1] + row[x + 1]) / 2) < 500
        assert np.isnan(clean.frame(2).read_rows(y - 1, y)[0, x, 0])

    def test_a_pattern_and_pages_of_other_sizes_are_none(self, found, opened, tmp_path):
        frames = np.random.default_rng(0).normal(5000, 20, (5, 60, 60))
        frames[:, ::4, ::4] += 9000  # 6 % of the samples
        assert not len(found(np.rint(frames).astype(np.uint16)))
        with tifffile.TiffWriter(tmp_path / "mixed.tif") as writer:
            for side in (64, 64, 64, 64, 32):
                page = np.full((side, side), 1000, np.uint16)
                page[5, 5] = 60000
                writer.write(page, photometric="minisblack")
        assert not len(find_hot_sites(opened(tmp_path / "mixed.tif")))

    def test_a_frame_that_is_refused_is_named(self, found):
        frames = stack()[0].astype(np.float32)
        frames[2, 3, 4] = np.inf
        with pytest.raises(UnsupportedError, match="page 3"):
            found(frames)
