"""Nothing is written over that this program did not write, and nothing it wrote is taken for an input."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

import restore as package
from restore.inference.history import read_ledger
from restore.inference.ledger import LEDGER_NAME

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
@pytest.mark.parametrize("what", ["device", "file", "pipe", "folder"])
def test_only_a_regular_file_is_a_ledger(restore, photos, tmp_path, what):
    out, ledger = tmp_path / "out", tmp_path / "out" / LEDGER_NAME
    out.mkdir()
    (tmp_path / "mine.txt").write_text("mine\n")
    if what == "pipe":
        os.mkfifo(ledger)
    elif what == "folder":
        ledger.mkdir()
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
