"""Nothing is written over that this program did not write, and nothing it wrote is taken for an input."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

import restore as package
from restore.errors import FileError
from restore.inference.history import read_ledger
from restore.inference.ledger import LEDGER_NAME
from restore.io.atomic import AtomicFile
from tests.cli.conftest import command, environment

PIXELS = {name: np.full((20, 24, 3), value, np.uint8) for name, value in (("a.png", 40), ("b.png", 90), ("c.png", 200))}


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setenv("RESTORE_TASKS", "tests.toys")


@pytest.fixture
def photos(tmp_path) -> Path:
    for name, pixels in PIXELS.items():
        (tmp_path / "in").mkdir(exist_ok=True)
        package.write(pixels, tmp_path / "in" / name)
    return tmp_path / "in"


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*")) if path.is_file() and path.name != LEDGER_NAME
    }  # fmt: skip


def last_line(ran) -> str:
    return ran.err.splitlines()[-1]


def test_what_a_run_refused_stays_refused_when_it_is_resumed(restore, photos, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "b.png").write_bytes(b"mine")
    assert restore("split", photos, out).code == 1
    for _ in range(2):
        ran = restore("split", photos, out, "--resume")
        assert ran.code == 1 and (out / "b.png").read_bytes() == b"mine"
        assert (
            f"{out / 'b.png'}: exists already (it is not as an earlier run wrote it). Move it away, or give" in ran.err
        )
    assert restore("split", photos, out, "--overwrite").code == 0 and (out / "b.png").read_bytes() != b"mine"


def test_a_result_edited_by_hand_is_kept(restore, photos, tmp_path):
    out = tmp_path / "out"
    restore("split", photos, out)
    package.write(PIXELS["a.png"], out / "b.png")
    package.write(PIXELS["c.png"], photos / "b.png")  # the input changed as well
    before = files(out)
    ran = restore("split", photos, out, "--resume")
    assert ran.code == 1 and files(out) == before and "it is not as an earlier run wrote it" in ran.err


def test_results_of_other_options_replace_those_of_an_earlier_run(restore, photos, tmp_path):
    out = tmp_path / "out"
    restore("split", photos, out)
    ran = restore("split", photos, out, "--resume", "--strength", 0)
    assert (ran.code, last_line(ran)) == (0, "3 done")
    assert all(np.array_equal(package.read(out / name).numpy(), pixels) for name, pixels in PIXELS.items())


def test_a_single_result_without_a_ledger_is_not_taken_for_ours(restore, photos, tmp_path):
    words = ("split", photos / "a.png", tmp_path / "a.png")
    assert restore(*words).code == 0
    ran = restore(*words, "--resume")
    assert ran.code == 1 and ran.err.startswith(
        f"restore: error: {tmp_path / 'a.png'}: exists already (no ledger says that restore wrote it). "
        "Move it away, or give --overwrite in place of --resume to replace it"
    )
    (tmp_path / "a.png").unlink()
    assert restore(*words, "--resume").code == 0
    assert "already done" in restore(*words, "--resume").err


@pytest.mark.parametrize("flags", [("--spread",), ("--compare",), ("--spread", "--compare")])
def test_in_place_does_not_take_its_own_outputs_for_inputs(restore, photos, flags):
    words = ("split", photos, "--in-place", *flags)
    assert restore(*words).code == 0
    after = files(photos)
    assert len(after) == 3 * (1 + len(flags))
    ran = restore(*words, "--resume")
    assert (ran.code, last_line(ran)) == (0, f"0 done, 3 done before, {3 * len(flags)} not pictures")
    assert files(photos) == after
    assert restore(*words, "--overwrite").code == 0
    assert files(photos).keys() == after.keys(), "and a second pass changes the three pictures again, no others"
    assert all(np.array_equal(package.read(photos / name).numpy(), pixels) for name, pixels in PIXELS.items())


def test_in_place_with_a_lost_extra_output_does_not_restore_twice(restore, photos):
    restore("split", photos, "--in-place", "--spread")
    (photos / "a_spread.png").unlink()
    before = files(photos)
    assert restore("split", photos, "--in-place", "--spread", "--resume").code == 0 and files(photos) == before


def test_a_missing_comparison_is_work(restore, photos, tmp_path):
    out = tmp_path / "out"
    restore("split", photos, out)
    ran = restore("split", photos, out, "--resume", "--compare")
    assert (ran.code, last_line(ran)) == (0, "3 done") and len(files(out)) == 6
    (out / "b_compare.png").unlink()
    ran = restore("split", photos, out, "--resume", "--compare")
    assert last_line(ran) == "1 done, 2 done before" and (out / "b_compare.png").exists()
    (out / "b_compare.png").write_bytes(b"mine")
    (out / "b.png").unlink()
    ran = restore("split", photos, out, "--resume", "--compare")
    assert ran.code == 1 and (out / "b_compare.png").read_bytes() == b"mine" and not (out / "b.png").exists()


def test_comparisons_are_no_inputs_of_the_next_task(restore, photos, tmp_path):
    restore("split", photos, tmp_path / "out", "--compare")
    ran = restore("split", tmp_path / "out", tmp_path / "next", "--json")
    assert ran.code == 0 and sorted(files(tmp_path / "next")) == sorted(PIXELS)
    reasons = [entry["reason"] for entry in ran.json["files"] if entry["status"] == "skipped"]
    assert reasons == ["a comparison or an extra output of an earlier run"] * 3


def test_a_dry_run_of_a_resumed_one_says_what_is_left(restore, photos, tmp_path):
    out = tmp_path / "out"
    restore("split", photos, out)
    (out / "a.png").unlink()
    (out / "b.png").write_bytes(b"mine")
    ran = restore("split", photos, out, "--resume", "--dry-run", "--json")
    assert [entry["status"] for entry in ran.json["files"]] == ["planned", "refused", "skipped"] and ran.code == 1
    assert not (out / "a.png").exists()


def test_two_names_that_meet_fail_alone(restore, photos, tmp_path):
    package.write(PIXELS["c.png"], photos / "a_spread.png")
    ran = restore("split", photos, tmp_path / "out", "--spread")
    assert (ran.code, last_line(ran)) == (1, f"  failed: {photos / 'a_spread.png'}")
    assert sorted(files(tmp_path / "out")) == ["b.png", "b_spread.png", "c.png", "c_spread.png"]


# --- links and what options name


def test_a_link_among_the_results_rewrites_no_input(restore, photos, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.png").symlink_to("../in/b.png")
    before = files(photos)
    ran = restore("split", photos, tmp_path / "out", "--overwrite")
    assert ran.code == 1 and files(photos) == before and "an input could be replaced" in ran.err
    assert (tmp_path / "out/c.png").exists()


@pytest.mark.parametrize("saved", ["in.png", "psf.png", "out.png"])
def test_neither_a_psf_nor_its_picture_is_replaced(restore, tmp_path, saved):
    package.write(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8), tmp_path / "in.png")
    package.write(np.full((5, 5), 255, np.uint8), tmp_path / "psf.png")
    before = files(tmp_path)
    words = ("deconv", tmp_path / "in.png", tmp_path / "out.png", "--method", "wiener")
    ran = restore(*words, "--psf", "gauss:1.2", "--save-psf", tmp_path / saved)
    assert ran.code != 0 and files(tmp_path) == before
    for flag in ("--psf", "--save-psf"):
        more = () if flag == "--psf" else ("--psf", "gauss:1.2")
        target = tmp_path / ("psf.png" if flag == "--psf" else "new.png")
        ran = restore(*words[:2], target, "--method", "wiener", flag, target, *more, "--overwrite")
        assert ran.code == 1 and "is what another option names: writing would replace it" in ran.err
        assert files(tmp_path) == before


def test_in_place_follows_no_link_out_of_the_folder(restore, photos, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    package.write(PIXELS["a.png"], tmp_path / "elsewhere/x.png")
    (photos / "linked").symlink_to(tmp_path / "elsewhere")
    before = files(tmp_path / "elsewhere")
    ran = restore("split", photos, "--in-place")
    assert ran.code == 1 and files(tmp_path / "elsewhere") == before
    assert f"{photos / 'linked/x.png'}: a link leads out of {photos}, to " in ran.err
    assert np.array_equal(package.read(photos / "a.png").numpy(), 255 - PIXELS["a.png"]), "the others are done"


# --- the ledger itself


@pytest.mark.skipif(sys.platform == "win32", reason="devices and links of POSIX")
@pytest.mark.parametrize("what", ["device", "file", "pipe", "folder", "hard link", "foreign"])
def test_only_a_regular_file_is_a_ledger(restore, photos, tmp_path, what):
    out, ledger = tmp_path / "out", tmp_path / "out" / LEDGER_NAME
    out.mkdir()
    (tmp_path / "mine.txt").write_text("mine\n")
    if what == "pipe":
        os.mkfifo(ledger)
    elif what == "folder":
        ledger.mkdir()
    elif what == "hard link":
        os.link(tmp_path / "mine.txt", ledger)
    elif what == "foreign":
        ledger.write_text("hello\n")
    else:
        ledger.symlink_to("/dev/zero" if what == "device" else tmp_path / "mine.txt")
    for flags in ((), ("--resume",)):
        ran = restore("split", photos, out, *flags)
        assert ran.code == 3 and f"{ledger}: the ledger cannot be written (" in ran.err
    assert (tmp_path / "mine.txt").read_text() == "mine\n" and not (out / "a.png").exists()


@pytest.mark.parametrize(
    "line",
    [
        json.dumps({"status": "ok", "inputs": ["a.png"], "key": "no hex", "outputs": {}}),
        json.dumps({"status": "ok", "inputs": 5, "key": "00", "outputs": {"x": {"path": 1, "bytes": []}}}),
        "[" * 100_000,
        '{"status": "ok", "key": ' + "9" * 5000 + "}",
        "\x00\xff",
    ],
    ids=["key", "types", "nested", "digits", "binary"],
)  # fmt: skip
def test_a_ledger_with_foreign_lines_is_read(restore, photos, tmp_path, line):
    out = tmp_path / "out"
    restore("split", photos, out)
    with (out / LEDGER_NAME).open("a") as ledger:
        ledger.write(line + "\n")
    (out / "b.png").unlink()
    ran = restore("split", photos, out, "--resume")
    assert (ran.code, last_line(ran)) == (0, "1 done, 2 done before")
    assert any(entry.get("status") == "ok" for entry in read_ledger(out / LEDGER_NAME))


def test_an_output_appears_only_after_its_line_is_safe(restore, photos, tmp_path, monkeypatch):
    from restore.inference.ledger import Ledger

    seen = []
    monkeypatch.setattr(Ledger, "add", lambda self, record: seen.append(sorted(files(tmp_path / "out"))))
    assert restore("split", photos, tmp_path / "out", "--workers", 0).code == 0
    shown = [[name for name in names if not name.startswith(".")] for names in seen]
    assert shown == [[], ["a.png"], ["a.png", "b.png"]]


# --- what is no file, what would be thrown away


@pytest.mark.skipif(sys.platform == "win32", reason="devices and links of POSIX")
@pytest.mark.parametrize("flags", [(), ("--overwrite",)])
@pytest.mark.parametrize("link", [False, True])
def test_a_pipe_is_no_output(restore, photos, tmp_path, flags, link):
    os.mkfifo(tmp_path / "pipe")
    target = tmp_path / "out.png"
    target.symlink_to("pipe") if link else (tmp_path / "pipe").rename(target)
    ran = restore("split", photos / "a.png", target, *flags)
    assert ran.code == 1 and f"{target}: cannot write: a device, pipe or socket has this name" in ran.err
    assert stat.S_ISFIFO(target.stat().st_mode)
    with pytest.raises(FileError, match="a device, pipe or socket has this name"):
        AtomicFile(target)


def test_in_place_throws_no_pages_away(restore, tmp_path):
    pages = np.full((3, 16, 16), 90, np.uint8)
    tifffile.imwrite(tmp_path / "stack.tif", pages, photometric="minisblack")
    before = files(tmp_path)
    ran = restore("split", tmp_path / "stack.tif", "--in-place", "--frames", "first")
    assert ran.code == 1 and files(tmp_path) == before
    assert "stack.tif: in place would throw the file's other pictures away, or its video. Name an output" in ran.err
    ran = restore("split", tmp_path / "stack.tif", "--in-place", "--salvage")
    assert ran.code == 2 and "would replace a damaged file by the part of it that can be read" in ran.err


def test_a_picture_named_twice(restore, photos):
    ran = restore("split", photos / "a.png", photos / "a.png", "--in-place")
    assert ran.code == 1 and f"{photos / 'a.png'}: is named twice. Name it once" in ran.err
    assert not (photos / LEDGER_NAME).exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="devices of Linux")
@pytest.mark.parametrize("flags", [("--json",), ("--dry-run",)])
def test_results_that_cannot_be_written_to_stdout_are_an_error(photos, tmp_path, flags):
    words = command("split", photos, tmp_path / "out", *flags)
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, env=environment(), text=True, check=False)
    assert ran.returncode == 1 and "the results cannot be written to standard output (No space left" in ran.stderr


def test_results_inside_the_input_alone_are_no_pictures(restore, photos):
    ran = restore("split", photos, photos / "x")
    assert ran.code == 0
    for name in PIXELS:
        (photos / name).unlink()
    ran = restore("split", photos, photos / "x", "--overwrite")
    assert ran.code == 3 and f"no pictures in {photos} (the results' folder in it is left out)" in ran.err


def test_a_run_of_training_lies_apart_from_its_pictures(restore, photos):
    ran = restore("train", "denoise/plain_unet", f"data.train=[{photos}]", "--out", photos / "run")
    assert ran.code == 2 and f"the run's folder {photos / 'run'} lies in {photos}, whose pictures are" in ran.err


@pytest.mark.parametrize("name", ["torch", "restore", "json", "class"])
def test_a_model_is_not_called_like_a_package(restore, tmp_path, name):
    ran = restore("new-model", name, "--out", tmp_path)
    assert ran.code == 2 and f"a model cannot be called {name!r} (Python " in ran.err
    assert list(tmp_path.iterdir()) == []
