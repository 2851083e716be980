"""How often a sequence is measured, and what is looked at then."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tifffile

from restore.analysis.sample import View
from restore.inference.batch import BatchOptions, run_batch
from restore.inference.ledger import Ledger
from restore.inference.sequences import MEASURED_FRAMES, FramesAsOne, SpooledFrame, spread
from restore.picture import Picture, ValueScale

from .clips import averaging, clip, frames_of, made, run, sequence
from .toys import job, records, two_outputs, write_picture


@pytest.mark.parametrize(
    ("kind", "count"), [("folder", 1), ("folder", 5), ("folder", 40), ("stack", 5), ("stack", 16), ("stack", 40)]
)
def test_measured_once_from_at_most_sixteen_frames(tmp_path, kind, count):
    array = clip(count)
    source, target = made(kind, tmp_path / "in", array)
    restorer = averaging(1)
    with Ledger(tmp_path / "ledger") as ledger:
        assert run(sequence(source, target), restorer, ledger, measure="once").ok == 1
    ((tall,),) = restorer.prepared
    indices = spread(range(count))
    assert len(indices) == min(count, 16) and np.array_equal(tall[:, :, 0], np.concatenate(array[indices]))
    assert {(one.scope, one.mean) for one in restorer.applied} == {("clip", float(tall.mean()))}
    assert len(restorer.applied) == count and np.array_equal(frames_of(target), array)
    decisions = records(tmp_path / "ledger")[0]["decisions"]
    assert decisions["frames"] == str(count) and decisions["measured"] == f"once, on {len(indices)} of the frames"


def test_the_frames_of_a_measurement_are_spread_over_all():
    assert spread(range(3)) == [0, 1, 2] and spread(range(7, 10)) == [7, 8, 9]
    assert spread(range(160)) == list(range(5, 160, 10))
    for count in (1, 15, 16, 17, 100, 65_536):
        indices = spread(range(count))
        assert len(set(indices)) == min(count, MEASURED_FRAMES) and 0 <= indices[0] <= indices[-1] < count


@pytest.mark.parametrize(("kind", "auto"), [("stack", 6), ("folder", 1)])
def test_pages_are_measured_each_and_numbered_frames_once(tmp_path, kind, auto):
    source, target = made(kind, tmp_path / "in", clip(6))
    for measure, expected in (("auto", auto), ("each", 6), ("once", 1)):
        restorer = averaging(1)
        assert run(sequence(source, target), restorer, measure=measure, overwrite=True).ok == 1
        assert len(restorer.prepared) == expected


def test_how_it_is_measured_is_a_setting(tmp_path):
    source, target = made("folder", tmp_path / "in", clip(3))
    done = {}
    for measure in ("each", "once", "once"):
        restorer = averaging(1)
        with Ledger(tmp_path, resume=True) as ledger:
            run(sequence(source, target), restorer, ledger, measure=measure, overwrite=True)
        done[measure] = len(restorer.applied)
    assert done == {"each": 3, "once": 0}


def test_frames_as_one_is_read_in_any_order_from_spooled_frames():
    closed = []

    class Page(Picture):
        def close(self):
            closed.append(self)

        __eq__, __hash__ = object.__eq__, object.__hash__

    array = clip(5)
    pages = [Page(Picture.from_array(frame).info, frame[:, :, None]) for frame in array]
    tall, expected = FramesAsOne([SpooledFrame(page) for page in pages]), np.concatenate(array)[:, :, None]
    assert closed == pages, "pixels are on the disk"
    assert (tall.info.height, tall.info.width) == (60, 16)
    for start, stop in ((0, 60), (5, 7), (10, 14), (11, 40), (12, 24), (0, 0), (59, 60)):
        assert np.array_equal(tall.read_rows(start, stop), expected[start:stop])
    tall.close()
    with pytest.raises(ValueError, match="closed"):
        tall.read_rows(0, 1)


@pytest.mark.parametrize(("size", "measure"), [(3, "each"), (1, "once"), (1, "each")])
def test_pages_that_differ_are_not_measured_together(tmp_path, size, measure):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for shape in ((12, 16), (12, 16), (9, 16)):
            writer.write(np.zeros(shape, np.uint8), photometric="minisblack")
    restorer = averaging(size)
    summary = run(job(tmp_path / "a.tif", tmp_path / "b.tif"), restorer, measure=measure)
    if (size, measure) == (1, "each"):
        assert summary.ok == 1
    else:
        assert summary.failures[0][1].startswith(f"{tmp_path / 'a.tif'}, page 3: is 16 x 9 with")
        assert restorer.prepared == [] and not (tmp_path / "b.tif").exists()


def test_a_condition_of_a_folder_is_prepared_once_for_all_its_files(tmp_path):
    for number in range(4):
        write_picture(tmp_path / f"in/{number}.png", number)

    def fitted(scope):
        restorer = two_outputs()
        prepare = restorer.prepare
        restorer.prepare = lambda sources, progress=None: replace(prepare(sources), scope=scope)
        out = tmp_path / scope
        jobs = [job(tmp_path / f"in/{n}.png", out / f"{n}.png", extra={"map": out / f"{n}_map.png"}) for n in range(4)]
        assert run_batch(jobs, restorer, BatchOptions(workers=2)).ok == 4
        return restorer

    folder, picture = fitted("folder"), fitted("picture")
    assert len(folder.prepared) == 1 and len(folder.applied) == 4 and len(set(folder.applied)) == 1
    assert len(picture.prepared) == 4 and len(set(picture.applied)) == 4


def test_the_middle_of_stacked_frames_is_that_of_the_middle_frame():
    pages = [Picture.from_array(np.full((20, 30), number, np.uint8)) for number in range(4)]
    tall = FramesAsOne(pages)
    assert (tall.info.height, tall.info.stacked) == (80, 4)
    crop = View(tall, ValueScale.nominal(tall.info)).middle(12)[0] * 255
    assert crop.shape == (1, 12, 12) and set(crop.flatten().tolist()) == {1.0}
    crop = View(tall, ValueScale.nominal(tall.info)).middle(64)[0]
    assert crop.shape == (1, 20, 30)  # no more than the frame
