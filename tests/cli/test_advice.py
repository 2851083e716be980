"""Messages of the picture commands blame what is at fault, and advise what is possible."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

import restore as package
from restore.cli.main import parse
from restore.errors import ConfigError


@pytest.fixture(autouse=True)
def here(monkeypatch, tmp_path):
    monkeypatch.setenv("RESTORE_TASKS", "tests.toys")
    monkeypatch.chdir(tmp_path)


def write(path: str, shape: tuple[int, ...] = (40, 52, 3), seed: int = 0, dtype: type = np.uint8) -> np.ndarray:
    array = np.random.default_rng(seed).integers(0, 255, shape).astype(dtype)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    package.write(array, path)
    return array


# --- samples that are not finite


@pytest.mark.parametrize("options", [(), ("--strength", "0"), ("--tile", "16")], ids=str)
@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_the_input_is_blamed_for_a_sample_that_is_not_finite(restore, options, value):
    for path in ("a.tif", "b.tif"):
        write(path, dtype=np.float32)
    broken = package.read("b.tif").pixels.copy()
    broken[31, 20, 1] = value
    package.write(broken, "b.tif")
    where = "b.tif: 1 sample is infinite. Replace such samples with real values, or with NaN, which is left out"
    for words in (("split", "b.tif", "out.tif"), ("mean", "a.tif", "b.tif", "out.tif")):
        if words[0] == "mean" and options[:1] == ("--strength",):
            continue  # the first input alone is what strength 0 gives
        ran = restore(*words, *options)
        assert ran.code == 1 and where in ran.err and "weights" not in ran.err
        assert not Path("out.tif").exists()


# --- which of two inputs a warning is about


def cmyk(path: str, seed: int) -> None:
    array = np.random.default_rng(seed).integers(0, 255, (40, 52, 4)).astype(np.uint8)
    Image.fromarray(array, "CMYK").save(path)


def test_a_warning_names_the_input_it_is_about(restore):
    cmyk("a.jpg", 0), cmyk("b.jpg", 1)
    ran = restore("mean", "a.jpg", "b.jpg", "out.png", "--json")
    lines = [line.partition(": CMYK converted")[0] for line in ran.err.splitlines() if "CMYK" in line]
    assert lines == ["restore: warning: a.jpg", "restore: warning: b.jpg"]
    first, second = ran.json["files"][0]["warnings"]
    assert first.startswith("CMYK converted") and second == f"b.jpg: {first}"


def test_a_damaged_second_input_is_named_and_counted(restore):
    write("a.png"), write("b.png", seed=1)
    data = Path("b.png").read_bytes()
    Path("b.png").write_bytes(data[: len(data) * 2 // 3])
    ran = restore("mean", "a.png", "b.png", "out.png", "--salvage")
    assert ran.code == 1 and "restore: warning: b.png: " in ran.err and "restore: warning: a.png" not in ran.err


def test_a_warning_about_frames_names_the_sequence(restore):
    for folder, seed in (("a", 0), ("b", 9)):
        for number in (1, 2):
            write(f"{folder}/f{number}.png", seed=seed + number)
    Path("b/notes.txt").write_text("x")
    data = Path("b/f2.png").read_bytes()
    Path("b/f2.png").write_bytes(data[: len(data) * 2 // 3])
    ran = restore("mean", "a", "b", "out", "--frames-dir", "--salvage")
    assert ran.code == 1
    warnings = [line for line in ran.err.splitlines() if "warning" in line]
    assert warnings[0] == "restore: warning: b: left out, not a frame: notes.txt"
    assert warnings[1].startswith(f"restore: warning: {Path('b/f2.png')}: ") and len(warnings) == 2


# --- --in-place is advised where it is possible


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("window", "a.png", "a.png"), "Name another output, or give --in-place instead of an output\n"),
        (("mean", "a.png", "b.png", "a.png"), "Name another output, or give --in-place instead of an output\n"),
        (("mean", "a.png", "b.png", "b.png"), "Name another output\n"),
        (("window", "a.png", "a.png", "--crop", "0,0,9,9"), "Name another output\n"),
        (("split", "a.png", "out.png", "--spread", "a.png", "--overwrite"), "Name another output\n"),
        (("between", "x_step0.png", "b.png", "x.png"), "Name another output\n"),
        (("degrade", "gaussian", "a.png", "a.png"), "Name another output\n"),
        (("inspect", "a.png", "--report", "a.png", "--overwrite"), "Name another output\n"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_an_output_that_is_an_input(restore, words, says):
    for path in ("a.png", "b.png", "x_step0.png"):
        write(path)
    before = {path: path.read_bytes() for path in Path().glob("*.png")}
    ran = restore(*words)
    assert ran.code == 1 and "is the input itself: writing would replace it. " + says in ran.err
    assert {path: path.read_bytes() for path in Path().glob("*.png")} == before


def test_the_advice_can_be_followed(restore):
    a, b = write("a.png"), write("b.png", seed=1)
    assert restore("mean", "a.png", "b.png", "--in-place").code == 0
    assert np.abs(package.read("a.png").pixels - (a.astype(float) + b) / 2).max() <= 0.51


# --- words that an option takes for its value


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (
            ("denoise", "--adapt", "n", "o1", "--method", "auto"), 3,
            "o1: there is no such file or folder (n, the word after --adapt, was taken as what to learn from). "
            "To work on it, put --adapt last; to learn from it, write --adapt=n and name a picture",
        ),
        (
            ("denoise", "--fit", "n", "--method", "auto"), 2,
            "no picture was named (n, the word after --adapt, was taken as what to learn from). To work on it",
        ),
        (
            ("split", "--spread", "a.png", "gone.png"), 3,
            "gone.png: there is no such file or folder (a.png, the word after --spread, was taken as where its output "
            "goes). To work on it, put --spread last; to write there, write --spread=a.png and name a picture",
        ),
        (("window", "gone.png"), 3, "gone.png: there is no such file or folder. Check the path"),
    ],
)  # fmt: skip
def test_a_word_that_was_taken_is_said(restore, words, code, says):
    write("a.png"), write("n/a.png")
    ran = restore(*words)
    assert ran.code == code and ran.err.startswith(f"restore: error: {says}")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["denoise", "a", "--adapt", "o", "--fit"], "--adapt and --fit are one option, given twice. Leave --fit out"),
        (["denoise", "a", "--fit=o", "--adapt"], "--adapt and --fit are one option, given twice"),
        (["degrade", "camera", "a", "--preset", "raw", "--camera", "phone"], "--camera and --preset are one option"),
        (["denoise", "a", "--adapt="], "--adapt has an empty value. Give a path, or --adapt alone"),
        (["denoise", "a", "--fit", ""], "--fit has an empty value. Give a path, or --fit alone"),
        (["split", "a", "--spread", "", "o"], "--spread has an empty value. Give a path, or --spread alone"),
    ],
    ids=" ".join,
)
def test_options_given_twice_or_without_their_value(words, says):
    with pytest.raises(ConfigError) as caught:
        parse(words)
    assert str(caught.value).startswith(says)


# --- dry runs


def test_a_dry_run_lists_all_that_is_written(restore):
    write("a.png")
    words = ("split", "a.png", "o.png", "--spread", "--compare", "--dry-run")
    ran = restore(*words)
    assert ran.out == "a.png -> o.png, o_spread.png, o_compare.png  (52 x 40, 3 x 8 bit, toy)\n"
    (entry,) = restore(*words, "--json").json["files"]
    assert entry["outputs"] == {"result": "o.png", "spread": "o_spread.png"} and entry["compare"] == "o_compare.png"
    assert sorted(path.name for path in Path().iterdir()) == ["a.png"]


@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["run", "dry run"])
def test_a_dry_run_refuses_what_the_run_refuses(restore, dry):
    write("a.png"), write("b.png", (40, 53, 3)), write("c.png", seed=1)
    ran = restore("mean", "a.png", "b.png", "o.png", *dry)
    differ = "b.png: the pictures differ: 52 x 40 (3 channels, 8 bits) and 53 x 40 (3 channels, 8 bits)"
    assert ran.code == 1 and differ in ran.out + ran.err
    ran = restore("mean", "a.png", "c.png", "o.png", "--crop", "50,0,9,9", *dry)
    outside = "a.png: the crop 50,0,9,9 is not inside the picture of 52 x 40"
    assert ran.code == 1 and outside in ran.out + ran.err
    for name, shape in (("s", (40, 52)), ("t", (40, 51))):
        tifffile.imwrite(f"{name}.tif", np.zeros((2, *shape), np.uint8), photometric="minisblack")
    ran = restore("mean", "s.tif", "t.tif", "o.tif", "--frames", "all", *dry)
    assert ran.code == 1 and "the pictures differ: 52 x 40 (1 channel, 8 bits) and 51 x 40" in ran.out + ran.err


def test_a_dry_run_names_no_method_that_only_the_picture_can_choose(restore):
    write("a.png")
    ran = restore("deconv", "a.png", "o.png", "--psf", "disc:2", "--dry-run")
    assert ran.out == "a.png -> o.png  (52 x 40, 3 x 8 bit, method chosen per picture)\n"
    ran = restore("deconv", "a.png", "o.png", "--psf", "disc:2", "--method", "rl", "--dry-run")
    assert ran.out.endswith("8 bit, rl)\n")


# --- sequences


def test_frames_dir_is_for_folders(restore):
    write("a.png")
    ran = restore("window", "a.png", "o.png", "--frames-dir")
    says = "--frames-dir is for clips and folders of numbered frames, and a.png is neither. Name one, or leave --frames"
    assert ran.code == 2 and ran.err.startswith(f"restore: error: {says}")


def test_missing_frames_are_a_warning(restore):
    for number in (1, 2, 4):
        write(f"shot/f{number}.png", seed=number)
    ran = restore("window", "shot", "out", "--frames-dir")
    assert ran.code == 0 and "restore: warning: shot: numbers are missing between the frames: 3\n" in ran.err


def test_the_least_memory_is_said_and_is_enough(restore):
    write("a.png", (200, 300, 3))
    ran = restore("window", "a.png", "o.png", "--max-memory", "1K")
    assert ran.code == 1 and "not even the smallest tile fits the memory budget of 1 KiB (it takes about " in ran.err
    least = ran.err.partition("Give --max-memory ")[2].partition(" ")[0]
    assert restore("window", "a.png", "o.png", "--max-memory", least).code == 0
    number, unit = int(least[:-1]), least[-1]
    less = f"{number * 1024 * 9 // 10}K" if unit == "M" else f"{number * 9 // 10}K"
    assert restore("window", "a.png", "o2.png", "--max-memory", less).code == 1
