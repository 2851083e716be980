"""`restore inspect`: what is printed, as words and as JSON; files that fail; drawn reports."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from tests import corpus

from .conftest import write_noisy


@pytest.fixture
def photo(tmp_path):
    return write_noisy(tmp_path / "photo.png", shape=(160, 200, 3))


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "photos"
    write_noisy(root / "a.png", 1, (120, 130, 3))
    write_noisy(root / "sub/b.jpg", 2, (120, 130, 3))
    (root / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nnope")
    (root / "notes.txt").write_text("not a picture")
    return root


def write_kind(path, kind):
    """A gentle picture with white, correlated or no noise."""
    noise = np.random.default_rng(0).standard_normal((162, 178, 3))
    if kind == "correlated":
        noise = sum(noise[i : i + 160, j : j + 176] for i in range(3) for j in range(3)) / 3
    rows, columns = np.mgrid[:160, :176]
    clean = 120 + 60 * np.sin(rows / 30) + 40 * np.cos(columns / 25)
    values = clean[..., None] + (0 if kind == "clean" else 18) * noise[:160, :176]
    path.write_bytes(cv2.imencode(".png", np.clip(np.rint(values), 0, 255).astype(np.uint8))[1].tobytes())
    return path


def test_one_line_a_fact(restore, photo):
    ran = restore("inspect", photo)
    assert (ran.code, ran.err) == (0, "")
    name, *facts = ran.out.splitlines()
    assert name == str(photo)
    actual = dict(line.strip().split(": ", 1) for line in facts)
    assert list(actual) == ["picture", "noise", "curve", "correlation", "clipped", "method"]
    assert actual["picture"] == "200 x 160 px, 3 x 8 bit, png"
    level = float(actual["noise"].removeprefix("level ").split()[0])
    assert level == pytest.approx(15, rel=0.1) and actual["noise"].endswith("(measured), white")
    assert actual["curve"].startswith("dark ") and ", middle " in actual["curve"] and ", bright " in actual["curve"]
    assert actual["method"] == "network denoise_white: white noise"


def test_verbose_prints_the_whole_curves(restore, photo):
    out = restore("inspect", photo, "-v").out
    assert " at 0, " in out and " at 255\n" in out
    assert "autocorrelation at 0 to 7 px: 1.00, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00\n" in out


def test_json_has_the_numbers_and_nothing_else_is_on_stdout(restore, photo, folder):
    ran = restore("inspect", photo, folder, "--json")
    printed = ran.json
    assert (ran.code, printed["command"], printed["exit_code"]) == (1, "inspect", 1)
    assert printed["summary"]["ok"] == 3 and printed["summary"]["skipped"] == 1 and printed["summary"]["failed"] == 1
    by_name = {entry["input"]: entry for entry in printed["files"]}
    actual = by_name[str(photo)]
    assert actual["status"] == "ok" and actual["level"] == pytest.approx(15, rel=0.1)
    assert np.shape(actual["curve"]) == (17, 2) and actual["curve"][0][0] == 0 and actual["curve"][-1][0] == 255
    assert actual["weights"] == "denoise_white" and actual["measurable"] is True and "report" not in actual
    assert by_name[str(folder / "bad.png")]["error"]["code"] in ("E_DECODE", "E_TRUNCATED")
    assert by_name[str(folder / "notes.txt")]["reason"] == "not a picture's extension"


@pytest.mark.parametrize("kind", ["white", "correlated", "clean"])
def test_the_report_is_what_denoise_does(restore, tmp_path, kind):
    photo = write_kind(tmp_path / "photo.png", kind)
    printed = restore("inspect", photo, "--json").json["files"][0]
    done = restore("denoise", photo, tmp_path / "out.png", "--method", "auto", "--json").json["files"][0]
    assert printed["decisions"] == done["decisions"]
    assert printed["weights"] == ("denoise_white" if kind == "white" else "denoise")
    what = "none, the picture stays as it is" if kind == "clean" else f"network {printed['weights']}"
    assert done["decisions"]["method"] == f"{what}: {printed['why']}"


def test_one_bad_file_stops_nothing(restore, folder):
    ran = restore("inspect", folder)
    assert ran.code == 1
    assert [line for line in ran.out.splitlines() if not line.startswith(" ")] == [
        str(folder / "a.png"), str(folder / "sub/b.jpg"),
    ]  # fmt: skip
    errors = ran.err.splitlines()
    assert errors[0].startswith(f"restore: error: {folder / 'bad.png'}: ")
    assert errors[-1] == "2 inspected, 1 not pictures, 1 failed"
    quiet = restore("inspect", folder, "-q")
    assert quiet.out == ran.out and quiet.err.splitlines() == errors[:1]


def test_reading_options_reach_the_reader(restore, photo):
    ran = restore("inspect", photo, "--max-pixels", "100")
    assert ran.code == 1 and "more than the limit of 100" in ran.err and ran.out == ""
    photo.write_bytes(photo.read_bytes()[:30000])
    assert restore("inspect", photo).code == 1
    ran = restore("inspect", photo, "--salvage")
    assert ran.code == 1 and "salvaged" in ran.err and "method: " in ran.out


def test_a_report_for_one_picture(restore, photo, tmp_path):
    target = tmp_path / "noise.png"
    ran = restore("inspect", photo, "--report", target, "--json")
    assert ran.code == 0 and ran.json["files"][0]["report"] == str(target)
    drawn = cv2.imdecode(np.frombuffer(target.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    assert drawn.shape == (844, 960, 3) and drawn[430:610, 80:450].std() > 5
    target.write_bytes(b"mine")
    ran = restore("inspect", photo, "--report", target)
    assert ran.code == 1 and target.read_bytes() == b"mine"
    assert ran.err.startswith(f"restore: error: {target}: exists already. Add --overwrite")
    assert restore("inspect", photo, "--report", target, "--overwrite").code == 0
    assert cv2.imdecode(np.frombuffer(target.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED).shape == drawn.shape


def test_reports_for_several_pictures(restore, photo, folder, tmp_path):
    def names(out):
        return sorted(path.relative_to(out).as_posix() for path in out.rglob("*.png"))

    assert restore("inspect", folder, "--report", tmp_path / "out").code == 1  # for the bad file
    assert names(tmp_path / "out") == ["a_noise.png", "sub/b_noise.png"]
    assert restore("inspect", photo, folder / "a.png", "--report", f"{tmp_path / 'two'}/").code == 0
    assert names(tmp_path / "two") == ["a_noise.png", "photo_noise.png"]
    assert restore("inspect", photo, "--report", f"{tmp_path / 'one'}/").code == 0
    assert names(tmp_path / "one") == ["photo_noise.png"]


def test_two_pictures_of_one_name_do_not_share_a_report(restore, folder, tmp_path):
    write_noisy(folder / "a.jpg", 5, (120, 130, 3))
    ran = restore("inspect", folder / "a.png", folder / "a.jpg", "--report", tmp_path / "out", "--overwrite")
    assert ran.code == 1
    assert f"two reports would be written here, of {folder / 'a.png'} and {folder / 'a.jpg'}" in ran.err


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ([], 2, "no picture was named. Name a picture or a folder, for example: restore inspect in.png"),
        (["missing.png"], 3, "missing.png: there is no such file or folder"),
        (["photo.png", "--report", "x.jpg"], 2, "--report cannot be 'x.jpg'. Name a .png file"),
        (["photo.png", "photo.png", "--report", "x.png"], 2, "--report x.png is one file for several pictures"),
        (["photo.png", "--report", "photo.png", "--overwrite"], 1, "photo.png: is the input itself"),
        (["photo.png", "--quality", "3"], 2, "there is no option --quality"),
        (["photo.png", "--frames", "all"], 2, "--frames cannot be 'all'. Choose from one, first"),
        (["photo.png", "--in-place"], 2, "there is no option --in-place"),
    ],
)
def test_mistakes_are_one_line(restore, photo, monkeypatch, words, code, says):
    monkeypatch.chdir(photo.parent)
    before = photo.read_bytes()
    ran = restore("inspect", *words)
    assert (ran.code, ran.out, ran.err.count("\n")) == (code, "", 1)
    assert says in ran.err and photo.read_bytes() == before
    asked = restore("inspect", *words, "--json")
    assert json.loads(asked.out)["exit_code"] == code


def test_advice_about_damage_names_the_flag(restore, tmp_path):
    """Also where the damage shows only while rows are read."""
    path = tmp_path / "rows.png"
    path.write_bytes(corpus.png_header(50_000, 50_000))
    ran = restore("inspect", path, "--max-pixels", "3G")
    said = "it ends early (50000 of its rows are missing). Copy the file again, or use --salvage for the part that is"
    assert (ran.code, ran.err) == (1, f"restore: error: {path}: cannot read all of this PNG: {said} readable\n")


def test_unexpected_errors_stay_with_their_file(restore, photo, folder, monkeypatch):
    def broken(*args):
        raise ZeroDivisionError("surprise")

    monkeypatch.setattr("restore.engines.denoise.network_choice.measure_level", broken)
    ran = restore("inspect", photo)
    assert ran.code == 1 and "unexpected ZeroDivisionError (surprise)" in ran.err and "Traceback" not in ran.err
    assert "Traceback" in restore("inspect", photo, "-v").err


def test_an_interrupt_ends_it_with_what_was_done(restore, folder, monkeypatch):
    from restore.engines.denoise import network_choice

    seen, measure = [], network_choice.measure_level

    def second_is_interrupted(*args):
        seen.append(args)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return measure(*args)

    monkeypatch.setattr(network_choice, "measure_level", second_is_interrupted)
    ran = restore("inspect", folder, "--json")
    assert ran.code == 130 and ran.json["summary"]["interrupted"] is True and ran.json["summary"]["ok"] == 1
