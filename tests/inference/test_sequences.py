"""Sequences: windows of neighbours, numbered frames, one measurement for all, several inputs and outputs."""

from __future__ import annotations

import os
import weakref

import numpy as np
import pytest
import tifffile

from restore.errors import ModelError
from restore.inference.batch import Job
from restore.inference.ledger import Ledger, find_leftovers
from restore.inference.sequences import windows
from restore.io import codecs, read_picture
from restore.io.codecs import ReadOptions
from restore.models.spec import ModelSpec, Output
from restore.picture import Picture
from tests import corpus

from .clips import KINDS, as_folder, as_stack, averaged, averaging, clip, frames_of, made, run, sequence
from .toys import Computes, Negative, job, records, two_outputs


@KINDS
@pytest.mark.parametrize("size", [3, 5, 9])
@pytest.mark.parametrize("measure", ["each", "once"])
def test_a_window_sees_its_neighbours_and_repeated_edges(tmp_path, kind, size, measure):
    array = clip(6)
    source, target = made(kind, tmp_path / "in", array)
    restorer = averaging(size)
    assert run(sequence(source, target), restorer, measure=measure).failures == []
    assert np.array_equal(frames_of(target), averaged(array, size))
    if measure == "each":
        looked_at = np.stack([pictures[0][:, :, 0] for pictures in restorer.prepared])
        assert np.array_equal(looked_at, array), "each frame is measured by itself, the wanted one"


def test_a_single_picture_is_its_own_neighbour(tmp_path):
    source = tmp_path / "a.png"
    source.write_bytes(corpus.encoded("png"))
    assert run(job(source, tmp_path / "b.png"), averaging(3), read=ReadOptions()).ok == 1
    assert np.array_equal(read_picture(tmp_path / "b.png").pixels, read_picture(source).pixels)


@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_windows_hold_no_more_frames_than_they_show_and_take_each_once(size, count):
    alive, taken, closed = [], [], []

    class Closing(Picture):
        def close(self):
            closed.append(int(self.pixels[0, 0, 0]))

    def frames():
        for index in range(count):
            assert sum(one() is not None for one in alive) < size
            picture = Picture.from_array(np.full((2, 2, 1), index, np.uint8))
            source = Closing(picture.info, picture.pixels)
            alive.append(weakref.ref(source))
            taken.append(index)
            yield source
            del source, picture

    shown = []
    for window in windows(frames(), size):
        shown.append([int(source.pixels[0, 0, 0]) for source in window])
        del window
    half = size // 2
    assert shown == [[min(max(i + k, 0), count - 1) for k in range(-half, half + 1)] for i in range(count)]
    assert taken == closed == list(range(count))


def test_a_window_has_a_middle_and_gives_up_its_frames_early():
    with pytest.raises(ValueError, match="4 frames has no middle"):
        next(windows([], 4))
    closed = []

    class Closing(Picture):
        def close(self):
            closed.append(self)

    picture = Picture.from_array(clip(1)[0])
    some = windows([Closing(picture.info, picture.pixels) for _ in range(5)], 3)
    next(some)
    some.close()
    assert len(closed) == 2


# --- folders -------------------------------------------------------------------------------------------------


def test_frames_keep_their_names_and_the_order_of_their_numbers(tmp_path):
    array = clip(4)
    source = as_folder(tmp_path / "in", array, [2, 10, 9, 400])
    assert run(sequence(source, tmp_path / "out"), averaging(3)).ok == 1
    expected = averaged(array[[0, 2, 1, 3]], 3)
    for number, frame in zip([2, 9, 10, 400], expected, strict=True):
        assert np.array_equal(read_picture(tmp_path / f"out/f_{number}.png").pixels[:, :, 0], frame)
    assert len(list((tmp_path / "out").iterdir())) == 4


def test_a_folder_is_one_job_for_the_ledger(tmp_path):
    source, target = made("folder", tmp_path / "in", clip(4))
    calls = []
    for change in (None, "nothing", "an output", "an input", "another file beside them"):
        if change == "an output":
            (target / "f_9.png").write_bytes(b"x")
        elif change == "an input":
            (source / "f_9.png").write_bytes(corpus.encoded("png", clip(1, 5)[0][:, :, None]))
        elif change == "another file beside them":
            (target / "notes.txt").write_bytes(b"x")
        restorer = averaging(1)
        with Ledger(tmp_path, resume=True) as ledger:
            assert run(sequence(source, target), restorer, ledger, overwrite=True).failures == []
        calls.append(len(restorer.calls))
    assert calls == [4, 0, 4, 4, 0]
    entry = next(one for one in records(tmp_path) if one["status"] == "ok")
    assert entry["inputs"] == ["in"] and entry["outputs"]["result"]["path"] == "out"


@pytest.mark.parametrize("error", [ModelError("not finite"), KeyboardInterrupt()])
def test_a_bad_frame_leaves_no_folder_and_is_named(tmp_path, error):
    source, target = made("folder", tmp_path / "in", clip(4))

    summary = run(sequence(source, target), Negative(fails={"f_10.png": error}))
    assert summary.interrupted or summary.failures == [(str(source), f"{source / 'f_10.png'}: not finite")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_a_killed_run_leaves_a_hidden_folder_that_resume_removes(tmp_path):
    source, target = made("folder", tmp_path / "in", clip(2))
    left = tmp_path / ".out.0123abcd.partial"
    left.mkdir()
    (left / ".f_8.png.0123abcd.partial").write_bytes(b"half")
    assert find_leftovers(tmp_path) == {target: [left]}
    with Ledger(tmp_path, resume=True) as ledger:
        assert run(sequence(source, target), averaging(1), ledger).ok == 1
    assert not left.exists() and len(list(target.iterdir())) == 2


def test_odd_frames_and_foreign_files(tmp_path):
    source, target = made("folder", tmp_path / "in", clip(3))
    for name in ("Thumbs.db", ".hidden", "notes.txt"):
        (source / name).write_bytes(b"x")
    with Ledger(tmp_path) as ledger:
        assert run(sequence(source, target), averaging(1), ledger).ok == 1
    assert "left out, not a frame: notes.txt" in records(tmp_path)[0]["warnings"]
    odd = source / "f_9.png"
    odd.write_bytes(corpus.encoded("png", clip(1, size=(12, 17))[0][:, :, None]))
    restorer = averaging(1)
    summary = run(sequence(source, target), restorer, overwrite=True)
    assert summary.failures[0][1].startswith(f"{odd}: is 17 x 12 with 1 channel of uint8, unlike the first frame")
    assert restorer.calls == [], "it is refused before any work"


def test_folders_are_not_replaced_in_place_and_nothing_is_overwritten(tmp_path):
    source, target = made("folder", tmp_path / "in", clip(3))
    summary = run(sequence(source, source, in_place=True), averaging(1))
    assert "not replaced in place" in summary.failures[0][1]
    assert "is the input itself" in run(sequence(source, source), averaging(1), overwrite=True).failures[0][1]
    target.mkdir()
    (target / "f_9.png").write_bytes(b"mine")
    assert "exists already" in run(sequence(source, target), averaging(1)).failures[0][1]
    assert (target / "f_9.png").read_bytes() == b"mine"
    assert run(sequence(source, target), averaging(1), overwrite=True).ok == 1
    assert np.array_equal(frames_of(target), clip(3))


@KINDS
def test_a_sequence_that_changes_while_it_is_restored_fails(tmp_path, kind):
    source, target = made(kind, tmp_path / "in", clip(3))
    restorer = averaging(1)
    before = restorer.function

    def touching(arrays):
        file = source if source.is_file() else source / "f_8.png"
        os.utime(file, ns=(1, 1))
        return before(arrays)

    restorer.function = touching
    assert "the file changed while it was read" in run(sequence(source, target), restorer).failures[0][1]
    assert not target.exists()


# --- several outputs and inputs, other sizes -----------------------------------------------------------------


@KINDS
def test_two_outputs_are_two_sequences_or_none(tmp_path, kind):
    array = clip(4)
    source, target = made(kind, tmp_path / "in", array)
    second = target.with_name(f"{target.stem}_map{target.suffix}")
    one = sequence(source, target, extra={"map": second})
    failing = two_outputs(fails={"map": ModelError("no map")})
    assert "no map" in run(one, failing).failures[0][1]
    assert not target.exists() and not second.exists() and len(list(tmp_path.iterdir())) == 1
    assert run(one, two_outputs()).ok == 1
    assert np.array_equal(frames_of(target), 255 - array) and np.array_equal(frames_of(second), array // 2)


@KINDS
@pytest.mark.parametrize("measure", ["each", "once"])
def test_two_inputs_go_forward_together(tmp_path, kind, measure):
    first, second = clip(5, 0), clip(5, 1)
    source, target = made(kind, tmp_path / "in", first)
    other, _ = made(kind, tmp_path / "other", second)
    spec = ModelSpec("toy", inputs=("picture", "dark"))
    restorer = Computes(lambda arrays: {"result": np.minimum(*arrays)}, spec)
    both = Job((source, other), {"result": target}, ("in", "other"), {"result": "out"}, sequence=kind == "folder")
    assert run(both, restorer, measure=measure).failures == []
    assert np.array_equal(frames_of(target), np.minimum(first, second))
    if measure == "once":
        ((one, two),) = restorer.prepared
        assert np.array_equal(one[:, :, 0], np.concatenate(first))
        assert np.array_equal(two[:, :, 0], np.concatenate(second))


def test_sequences_of_different_lengths_are_refused(tmp_path):
    first, second = as_stack(tmp_path / "a.tif", clip(5)), as_stack(tmp_path / "b.tif", clip(4))
    spec = ModelSpec("toy", inputs=("picture", "dark"))
    both = Job((first, second), {"result": tmp_path / "o.tif"}, ("a", "b"), {"result": "o.tif"})
    summary = run(both, Computes(lambda arrays: {}, spec))
    assert summary.failures[0][1] == f"{second}: has 4 frames, and the first input has 5"


def doubling() -> Computes:
    """Each pixel becomes four."""
    return Computes(lambda arrays: {"result": arrays[0].repeat(2, 0).repeat(2, 1)}, ModelSpec("toy", scale=2))


def test_the_size_of_the_output_decides_about_big_tiff(tmp_path, monkeypatch):
    array = clip(3)
    source = as_stack(tmp_path / "a.tif", array)
    for limit, magic in ((4 * array.nbytes - 1, b"II+\0"), (4 * array.nbytes, b"II*\0")):
        monkeypatch.setattr("restore.io.streams.BIG_TIFF_ABOVE", limit)
        assert run(job(source, tmp_path / "b.tif"), doubling(), overwrite=True).ok == 1
        assert (tmp_path / "b.tif").read_bytes()[:4] == magic
        assert np.array_equal(tifffile.imread(tmp_path / "b.tif"), array.repeat(2, 1).repeat(2, 2))


def test_the_output_is_what_a_format_must_hold(tmp_path, monkeypatch):
    """A picture that fits a JPEG and whose enlargement does not, and an output with channels of its own."""
    (tmp_path / "a.png").write_bytes(corpus.encoded("png"))
    monkeypatch.setitem(codecs._LARGEST_SIDE, "jpeg", 100)
    restorer = doubling()
    summary = run(job(tmp_path / "a.png", tmp_path / "b.jpg"), restorer)
    assert "JPEG holds at most 100 pixels a side, not 128 x 96" in summary.failures[0][1] and restorer.calls == []
    five = Output("five", "five", channels=5)
    restorer = Computes(lambda arrays: {}, ModelSpec("toy", outputs=(Output(), five)))
    one = job(tmp_path / "a.png", tmp_path / "c.png", extra={"five": tmp_path / "c_five.png"})
    assert "PNG cannot hold 5 channels" in run(one, restorer).failures[0][1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png"]
