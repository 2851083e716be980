"""Tasks of every shape through the command line and the Python API: what goes in, what comes out, and resuming."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

import restore as package
from restore.inference.history import read_ledger
from restore.inference.ledger import LEDGER_NAME
from restore.inference.tile import TileRunner
from restore.picture import Picture
from tests.cli.conftest import command, environment


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setenv("RESTORE_TASKS", "tests.toys")


def pixels(seed: int, shape=(40, 52, 3), dtype=np.uint8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def write(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    package.write(array, path)
    return path


def read(path: Path) -> np.ndarray:
    return package.read(path).numpy()


# --- two pictures in


def test_two_inputs_a_file_each(restore, tmp_path):
    a, b = pixels(0), pixels(1)
    write(tmp_path / "a.png", a), write(tmp_path / "b.png", b)
    ran = restore("mean", tmp_path / "a.png", tmp_path / "b.png", tmp_path / "out.png", "--json")
    assert ran.code == 0
    assert np.abs(read(tmp_path / "out.png") - (a.astype(np.float32) + b) / 2).max() <= 0.51
    (entry,) = ran.json["files"]
    assert entry["inputs"] == [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    assert list(entry["outputs"]) == ["result"] and entry["outputs"]["result"]["bytes"] > 0


def test_two_inputs_of_folders_are_paired_by_name(restore, tmp_path):
    for number in range(3):
        write(tmp_path / f"a/{number}.png", pixels(number))
        write(tmp_path / f"b/{number}.tif", pixels(number + 10))
    write(tmp_path / "a/alone.png", pixels(9))
    ran = restore("mean", tmp_path / "a", tmp_path / "b", tmp_path / "out")
    assert ran.code == 1 and "alone" in ran.err  # what has no partner is a failure, the others are done
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == ["0.png", "1.png", "2.png"]
    both = (pixels(1).astype(np.float32) + pixels(11)) / 2
    assert np.abs(read(tmp_path / "out/1.png") - both).max() <= 0.51


def test_two_inputs_of_different_size_are_refused(restore, tmp_path):
    write(tmp_path / "a.png", pixels(0)), write(tmp_path / "b.png", pixels(1, (40, 53, 3)))
    ran = restore("mean", tmp_path / "a.png", tmp_path / "b.png", tmp_path / "out.png")
    assert ran.code == 1 and "the pictures differ: 52 x 40 (3 channels, 8 bits) and 53 x 40" in ran.err
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize("other", [np.uint16, np.float32])
def test_two_inputs_of_different_depth_are_refused(restore, tmp_path, other):
    deep = pixels(1).astype(other) * (257 if other is np.uint16 else 1 / 255)
    write(tmp_path / "a.png", pixels(0)), write(tmp_path / "b.tif", deep.astype(other))
    for first, second in (("a.png", "b.tif"), ("b.tif", "a.png")):
        ran = restore("mean", tmp_path / first, tmp_path / second, tmp_path / "out.tif")
        assert ran.code == 1 and "8 bits" in ran.err and "Give pictures of one size, depth" in ran.err
        assert not (tmp_path / "out.tif").exists()


# --- two pictures out


def spread(x: np.ndarray) -> np.ndarray:
    return x.max(-1) - x.min(-1)


def test_an_extra_output_bare_and_with_a_path(restore, tmp_path):
    x = pixels(0)
    write(tmp_path / "in.png", x)
    assert restore("split", tmp_path / "in.png", tmp_path / "out.png", "--spread").code == 0
    assert np.array_equal(read(tmp_path / "out.png"), 255 - x)
    assert np.array_equal(read(tmp_path / "out_spread.png"), spread(x))  # grey: H x W
    assert restore("split", tmp_path / "in.png", tmp_path / "o2.png", "--spread", tmp_path / "map.png").code == 0
    assert np.array_equal(read(tmp_path / "map.png"), spread(x))
    before = (tmp_path / "in.png").read_bytes()
    ran = restore("split", "--spread", tmp_path / "in.png", tmp_path / "out.png", "--overwrite")
    assert ran.code == 2 and "the word after --spread is where its output goes" in ran.err
    assert (tmp_path / "in.png").read_bytes() == before
    assert not (tmp_path / "o2_spread.png").exists()
    assert restore("split", tmp_path / "in.png", tmp_path / "o3.png").code == 0
    assert not (tmp_path / "o3_spread.png").exists()  # not asked for


def test_strength_mixes_the_result_and_not_the_map(restore, tmp_path):
    x = pixels(0)
    write(tmp_path / "in.png", x)
    assert restore("split", tmp_path / "in.png", tmp_path / "out.png", "--spread", "--strength", 0).code == 0
    assert np.array_equal(read(tmp_path / "out.png"), x)
    assert np.array_equal(read(tmp_path / "out_spread.png"), spread(x))


def test_two_outputs_of_a_folder_and_the_ledger(restore, tmp_path):
    for number in range(3):
        write(tmp_path / f"in/{number}.png", pixels(number))
    words = ("split", tmp_path / "in", tmp_path / "out", "--spread")
    assert restore(*words).code == 0
    names = [f"{n}.png" for n in range(3)] + [f"{n}_spread.png" for n in range(3)]
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == sorted(names)
    lines = [line for line in read_ledger(tmp_path / "out" / LEDGER_NAME) if line.get("status") == "ok"]
    assert [set(line["outputs"]) for line in lines] == [{"result", "spread"}] * 3
    (tmp_path / "out/1_spread.png").unlink()  # one output gone: the job is done again, the others are not
    before = (tmp_path / "out/0.png").stat().st_mtime_ns
    ran = restore(*words, "--resume", "--json")
    statuses = {Path(entry["input"]).name: entry["status"] for entry in ran.json["files"]}
    assert statuses == {"0.png": "skipped", "1.png": "ok", "2.png": "skipped"}
    assert (tmp_path / "out/0.png").stat().st_mtime_ns == before
    assert np.array_equal(read(tmp_path / "out/1_spread.png"), spread(pixels(1)))


def test_a_path_for_an_extra_output_is_for_one_file(restore, tmp_path):
    write(tmp_path / "in/0.png", pixels(0))
    ran = restore("split", tmp_path / "in", tmp_path / "out", "--spread", "map.png")
    assert ran.code == 2 and "--spread" in ran.err


def test_outputs_that_would_meet_are_refused(restore, tmp_path):
    write(tmp_path / "in/a.png", pixels(0)), write(tmp_path / "in/a_spread.png", pixels(1))
    ran = restore("split", tmp_path / "in", tmp_path / "out", "--spread")
    assert ran.code != 0 and "two pictures would be written here" in ran.err


def test_as_many_outputs_as_asked_for(restore, tmp_path):
    a, b = pixels(0), pixels(1)
    write(tmp_path / "a.png", a), write(tmp_path / "b.png", b)
    words = ("between", tmp_path / "a.png", tmp_path / "b.png", tmp_path / "out.png", "--count", 4)
    assert restore(*words).code == 0
    for step in range(4):
        expected = a + (b.astype(np.float32) - a) * step / 3
        assert np.abs(read(tmp_path / f"out_step{step}.png") - expected).max() <= 0.51
    assert not (tmp_path / "out.png").exists()
    result = package.load("between", count=2).restore(a, b)
    assert list(result.pictures) == ["step0", "step1"]
    assert np.array_equal(result.pictures["step1"].pixels, b)


# --- a kill in the middle


@pytest.mark.skipif(os.name == "nt", reason="sends SIGKILL")
def test_resume_after_a_kill_does_what_is_missing(tmp_path):
    for number in range(12):
        write(tmp_path / f"in/{number:02}.png", pixels(number, (400, 500, 3)))
    words = command("split", tmp_path / "in", tmp_path / "out", "--spread", "--workers", "1")
    child = subprocess.Popen(words, env=environment(RESTORE_TASKS="tests.toys"), stderr=subprocess.DEVNULL)
    ledger = tmp_path / "out" / LEDGER_NAME
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and (not ledger.exists() or ledger.read_text().count('"ok"') < 2):
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    entries = [entry for entry in read_ledger(ledger) if entry.get("status") == "ok"]
    there = [all((ledger.parent / out["path"]).exists() for out in entry["outputs"].values()) for entry in entries]
    done = sum(there)  # a line comes before its outputs get their names: the last one may be without
    assert 1 <= done < 12 and all(there[:-1])
    again = subprocess.run(
        [*words, "--resume", "--json"], env=environment(RESTORE_TASKS="tests.toys"), capture_output=True, check=False
    )
    assert again.returncode == 0
    statuses = [entry["status"] for entry in json.loads(again.stdout)["files"]]
    assert statuses.count("skipped") == done and statuses.count("ok") == 12 - done
    for number in range(12):
        x = pixels(number, (400, 500, 3))
        assert np.array_equal(read(tmp_path / f"out/{number:02}.png"), 255 - x)
        assert np.array_equal(read(tmp_path / f"out/{number:02}_spread.png"), spread(x))
    assert not list((tmp_path / "out").glob(".*partial*"))


# --- sequences


def means(frames: list[np.ndarray]) -> list[np.ndarray]:
    last = len(frames) - 1
    return [
        np.mean([frames[max(i - 1, 0)], frames[i], frames[min(i + 1, last)]], axis=0, dtype=np.float64)
        for i in range(len(frames))
    ]


def test_a_window_of_three_over_a_stack(restore, tmp_path):
    frames = [pixels(number, (30, 34), np.uint16) for number in range(5)]
    tifffile.imwrite(tmp_path / "stack.tif", np.stack(frames), photometric="minisblack")
    assert restore("window", tmp_path / "stack.tif", tmp_path / "out.tif", "--frames", "all").code == 0
    got = tifffile.imread(tmp_path / "out.tif")
    assert np.abs(got - np.stack(means(frames))).max() <= 1


def test_a_window_of_three_over_numbered_frames(restore, tmp_path):
    frames = [pixels(number) for number in range(11)]
    for number, frame in enumerate(frames):
        write(tmp_path / f"shot/f{number}.png", frame)  # 10 comes after 9
    ran = restore("window", tmp_path / "shot", tmp_path / "out", "--frames-dir")
    assert ran.code == 0, ran.err
    for number, expected in enumerate(means(frames)):
        assert np.abs(read(tmp_path / f"out/f{number}.png") - expected).max() <= 0.51
    ran = restore("window", tmp_path / "shot", tmp_path / "out", "--frames-dir")
    assert ran.code != 0  # what is there is not written over


def test_frames_from_python():
    frames = [pixels(number) for number in range(4)]
    results = list(package.load("window").frames(frames))
    for result, expected in zip(results, means(frames), strict=True):
        assert np.abs(result.picture.pixels - expected).max() <= 0.51


# --- twice as large


@pytest.mark.parametrize("samples", [1, 3, 4])
def test_twice_as_large_in_strips_with_alpha_and_comparison(restore, tmp_path, samples):
    x = pixels(0, (61, 47, samples))
    if samples == 4:
        x[..., 3] = 255
        x[20:40, 10:30, 3] = 0
    write(tmp_path / "in.png", x if samples > 1 else x[..., 0])
    assert restore("double", tmp_path / "in.png", tmp_path / "out.png", "--tile", 16, "--compare").code == 0
    out = package.read(tmp_path / "out.png").pixels
    assert out.shape == (122, 94, samples)
    large = x.repeat(2, 0).repeat(2, 1)
    inside = np.zeros((61, 47), bool)
    inside[23:37, 13:27] = True  # away from the edge of what is transparent
    if samples == 4:
        assert (out[46:74, 26:54, 3] == 0).all() and (out[:30, :, 3] == 255).all()
        assert np.array_equal(out[:30, :, :3], large[:30, :, :3])
    else:
        assert np.array_equal(out, large)
    assert cv2.imread(str(tmp_path / "out_compare.png")).shape[:2] == (122, 2 * 94 + 4)


def test_strength_zero_at_another_scale_is_the_plainly_enlarged_picture(restore, tmp_path):
    y, x = np.mgrid[:40, :48]
    smooth = np.rint(120 + 60 * np.sin(y / 9) + 40 * np.cos(x / 7)).astype(np.uint8)
    write(tmp_path / "in.png", smooth)
    assert restore("double", tmp_path / "in.png", tmp_path / "out.png", "--strength", 0).code == 0
    reference = cv2.resize(smooth, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    assert np.abs(read(tmp_path / "out.png").astype(int) - reference)[4:-4, 4:-4].max() <= 1
    tiled = package.load("double", strength=0.3, tile=16)(smooth)
    assert np.array_equal(tiled, package.load("double", strength=0.3)(smooth))


# --- by place, by condition


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_what_depends_on_the_place_is_tiled_exactly(restore, tmp_path, dtype, monkeypatch):
    x = pixels(0, (300, 333, 3), dtype)
    write(tmp_path / "in.png", x)
    whole = package.load("shade")(x)
    for tile in (16, 50, 128):
        assert np.array_equal(package.load("shade", tile=tile)(x), whole)
    part = package.load("shade", crop=(100, 120, 60, 70))(x)
    assert np.array_equal(part, whole[120:190, 100:160])

    calls, forward = [], TileRunner.__call__

    def short(self, tile, place, note):
        calls.append(tile.shape)
        if len(calls) > 4 and tile.shape[-1] * tile.shape[-2] > 60 * 60:
            raise MemoryError("too large")
        return forward(self, tile, place, note)

    monkeypatch.setattr(TileRunner, "__call__", short)
    ran = restore("shade", tmp_path / "in.png", tmp_path / "out.png", "--tile", 96)
    assert ran.code == 0 and "went on with smaller ones" in ran.err
    assert np.array_equal(read(tmp_path / "out.png"), whole)


def test_a_network_with_a_condition(restore, tmp_path):
    x = pixels(0) // 2
    write(tmp_path / "in.png", x), write(tmp_path / "grey.png", x[..., 0])
    for name, source in (("in", x), ("grey", x[..., 0])):
        assert restore("brighter", tmp_path / f"{name}.png", tmp_path / f"{name}_o.png", "--gain", 0.2).code == 0
        assert np.array_equal(read(tmp_path / f"{name}_o.png"), source + 51)


def test_toys_are_in_the_help_and_answer_for_options(restore, tmp_path):
    write(tmp_path / "in.png", pixels(0))
    assert restore("between", tmp_path / "in.png", tmp_path / "o.png").code != 0  # one input only
    ran = restore("brighter", tmp_path / "in.png", tmp_path / "o.png", "--gain", 2)
    assert ran.code == 2 and "--gain cannot be '2'. It is a number, from 0 to 1" in ran.err
    ran = restore("split", tmp_path / "in.png", tmp_path / "o.png", "--spread", "--dry-run")
    assert ran.code == 0 and "(52 x 40, 3 x 8 bit, toy)" in ran.out
    assert not (tmp_path / "o.png").exists()


def test_a_batch_of_toys_gives_the_same_bytes_with_any_workers(tmp_path):
    for number in range(5):
        write(tmp_path / f"in/{number}.png", pixels(number))
    for workers in (0, 4):
        words = command("split", tmp_path / "in", tmp_path / f"out{workers}", "--spread", "--workers", workers)
        subprocess.run(words, env=environment(RESTORE_TASKS="tests.toys"), check=True, capture_output=True)
    for path in (tmp_path / "out0").glob("*.png"):
        assert path.read_bytes() == (tmp_path / "out4" / path.name).read_bytes()


def test_a_picture_object_gives_a_result(tmp_path):
    x = pixels(0)
    result = package.load("split", spread=True)(Picture.from_array(x))
    assert np.array_equal(result.picture.pixels, 255 - x) and list(result.pictures) == ["result", "spread"]
    assert result.provenance["task"] == "split"
    package.write(result, tmp_path / "r.png")
    assert np.array_equal(read(tmp_path / "r.png"), 255 - x)
    assert np.array_equal(read(tmp_path / "r_spread.png"), spread(x))
