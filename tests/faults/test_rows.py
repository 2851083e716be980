"""The table of hostile inputs is whole, and what no other test holds of it, through the command line."""

from __future__ import annotations

import ast
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

import restore as package
from restore.inference.tile_planning import plan_picture
from restore.io import read_picture
from restore.models.spec import ModelSpec
from tests import corpus
from tests.cli.conftest import write_noisy
from tests.data.conftest import save, scene
from tests.faults.rows import LAST, ROWS, TABLE

TESTS = Path(__file__).parents[1]


# --- the table -----------------------------------------------------------------------------------------------


def names_in(path: Path) -> set[str]:
    """The tests of a file: `function` or `Class::method`."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    classes = {node.name: node.body for node in body if isinstance(node, ast.ClassDef)}
    pairs = [("", body), *((f"{name}::", inside) for name, inside in classes.items())]
    return {start + node.name for start, nodes in pairs for node in nodes if isinstance(node, ast.FunctionDef)}


def test_every_number_has_a_row_with_tests():
    assert sorted(TABLE) == list(range(1, LAST + 1))
    assert [number for number, row in TABLE.items() if not row.tests] == []
    counts = {"rows": len(TABLE), "with tests here": 0, "in part not built": 0}
    counts["with tests here"] = sum(any(name.startswith(ROWS) for name in row.tests) for row in TABLE.values())
    counts["in part not built"] = sum(bool(row.not_built) for row in TABLE.values())
    assert counts == {"rows": 102, "with tests here": 18, "in part not built": 5}


def test_every_test_of_the_table_exists():
    named = {test for row in TABLE.values() for test in row.tests}
    there = {file: names_in(TESTS / file) for file in {test.partition("::")[0] for test in named}}
    assert [test for test in sorted(named) if test.partition("::")[2] not in there[test.partition("::")[0]]] == []


def test_every_test_here_is_in_the_table():
    numbered = {name for name in names_in(Path(__file__)) if name.startswith("test_") and name[5].isdigit()}
    assert numbered == {
        test.removeprefix(ROWS) for row in TABLE.values() for test in row.tests if test.startswith(ROWS)
    }


# --- bytes and sizes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "format"), [("out.png", "png"), ("out.jpg", "jpeg"), ("out.tif", "tiff"), ("", "png")]
)
def test_10_the_output_is_what_its_name_says(restore, tmp_path, name, format):
    source, data = tmp_path / "a.png", corpus.encoded("jpg")
    source.write_bytes(data)
    ran = restore("denoise", source, *([tmp_path / name] if name else []))
    written = read_picture(tmp_path / (name or "a_denoised.png"))
    assert (ran.code, written.info.format, written.pixels.shape) == (0, format, (48, 64, 3))
    assert source.read_bytes() == data


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (251, 509), (3, 30_000)], ids=str)
@pytest.mark.parametrize("method", ["classical", "network"])
def test_19_to_28_extreme_sizes(restore, tmp_path, size, method):
    source = write_noisy(tmp_path / "a.png", shape=(*size, 3))
    ran = restore("denoise", source, tmp_path / "out.png", "--method", method, "--json")
    before, after = read_picture(source).pixels, read_picture(tmp_path / "out.png").pixels
    assert (ran.code, after.shape, after.dtype) == (0, (*size, 3), np.uint8), ran.err
    measured = min(size) > 3
    assert measured == ("not measured" not in ran.json["files"][0]["decisions"]["noise"])
    assert measured or np.array_equal(after, before), "what cannot be measured stays as it is"


def test_29_more_samples_than_32_bits_count(restore, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(corpus.png_header(50_000, 50_000))
    ran = restore("denoise", path, tmp_path / "out.png", "--max-pixels", "3G", "--dry-run")
    assert ran.code == 0 and "(50000 x 50000, 3 x 8 bit, classical)" in ran.out
    plan = plan_picture(50_000, 50_000, ModelSpec("toy", radius=10), (512, 512))
    assert plan.tiles * 512**2 >= 50_000**2 > 2**31 > 100 * np.prod(plan.shape)
    ran = restore("denoise", path, tmp_path / "out.png", "--max-pixels", "3G")
    assert ran.code == 1 and f"{path}: cannot read all of this PNG: it ends early (50000 of its rows" in ran.err
    assert list(tmp_path.iterdir()) == [path]


# --- frames --------------------------------------------------------------------------------------------------

GAIN_MAP = b'<x:xmpmeta xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"/>'
MOTION = b'<x:xmpmeta GCamera:MotionPhoto="1"/>'


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (corpus.encoded("jpg", xmp=GAIN_MAP), "further pictures in the file (gain map, second view) are not carried"),
        (corpus.mpo(), "further pictures in the file (gain map, second view) are not carried"),
        (corpus.encoded("jpg", xmp=MOTION) + b"\0\0\0\x18ftypmp42", "the video of this motion photo is not carried"),
    ],
    ids=["gain map", "mpo", "motion photo"],
)
def test_52_what_else_a_jpeg_holds_is_said_and_not_lost(restore, tmp_path, data, words):
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    ran = restore("denoise", path, tmp_path / "out.jpg")
    assert ran.code == 0 and f"restore: warning: {path}: {words}\n" in ran.err
    ran = restore("denoise", path, "--in-place")
    said = "in place would throw the file's other pictures away, or its video. Name an output"
    assert (ran.code, ran.err, path.read_bytes()) == (1, f"restore: error: {path}: {said}\n", data)


# --- files ---------------------------------------------------------------------------------------------------


def test_53_a_path_longer_than_260(restore, tmp_path):
    folder = tmp_path.joinpath(*["d" * 80] * 4)
    source = write_noisy(folder / "a.png")
    assert len(str(source)) > 320 and restore("denoise", source).code == 0
    assert sorted(path.name for path in folder.iterdir()) == ["a.png", "a_denoised.png"]


@pytest.mark.parametrize(
    ("name", "written"), [("A.PNG", "A_denoised.PNG"), ("b.JpEg", "b_denoised.JpEg"), ("none", "none_denoised.png")]
)
def test_54_the_case_of_an_extension(restore, tmp_path, name, written):
    (tmp_path / name).write_bytes(corpus.encoded("jpg"))
    assert restore("denoise", tmp_path / name).code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, written])
    assert read_picture(tmp_path / written).info.format == ("jpeg" if "JpEg" in written else "png")


def test_62_a_file_that_may_not_be_read(restore, tmp_path, monkeypatch):
    for name in ("a", "b", "c"):
        write_noisy(tmp_path / "in" / f"{name}.png")
    real = Path.open

    def refuse(self, *words, **named):  # root may read anything: the answer is faked
        if self.name == "b.png":
            raise PermissionError(13, "Permission denied", str(self))
        return real(self, *words, **named)

    monkeypatch.setattr(Path, "open", refuse)
    ran = restore("denoise", tmp_path / "in", tmp_path / "out")
    said = f"restore: error: {tmp_path / 'in/b.png'}: cannot read this file (Permission denied). "
    assert ran.code == 1 and f"{said}Check the path and permissions\n" in ran.err
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == ["a.png", "c.png"]


def test_64_temporary_files_lie_beside_their_output(restore, tmp_path, monkeypatch):
    moved, real = [], Path.replace

    def watched(self, target):
        moved.append((self.parent, Path(target)))
        return real(self, target)

    monkeypatch.setattr(Path, "replace", watched)
    monkeypatch.setenv("TMPDIR", "/nowhere")
    (tmp_path / "out").mkdir()
    assert restore("denoise", write_noisy(tmp_path / "in/a.png"), tmp_path / "out/a.png").code == 0
    assert moved == [(tmp_path / "out", tmp_path / "out/a.png")]


# --- processes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", ["CUDA error: device-side assert triggered\nCompile with", "CUDA error: GPU is lost"])
def test_73_and_76_a_device_that_fails(restore, tmp_path, monkeypatch, error):
    """Every file says so, nothing is written, and the same command does the rest where the device works again."""
    for name in ("a", "b"):
        write_noisy(tmp_path / "in" / f"{name}.png")
    calls = []

    def lost(self, *_):
        calls.append(1)
        raise RuntimeError(error)

    words = ("denoise", tmp_path / "in", tmp_path / "out", "--method", "network", "--sigma", "15")
    with monkeypatch.context() as patch:
        patch.setattr("torch.nn.Conv2d.forward", lost)
        ran = restore(*words)
    fix = "Run it again (folders with --resume), or with --device cpu"
    for name in ("a", "b"):
        said = f"{tmp_path / 'in' / name}.png: the device failed ({error.splitlines()[0]}). {fix}\n"
        assert f"restore: error: {said}" in ran.err
    assert (ran.code, len(calls), list((tmp_path / "out").glob("*.png"))) == (1, 2, [])
    ran = restore(*words, "--resume", "--json")
    assert (ran.code, ran.json["summary"]["ok"]) == (0, 2)


def test_77_a_clock_that_runs_backwards(restore, tmp_path, monkeypatch):
    for name in ("a", "b"):
        write_noisy(tmp_path / "in" / f"{name}.png")
    assert restore("denoise", tmp_path / "in", tmp_path / "steady").code == 0
    days = iter(range(10_000, 0, -1))
    monkeypatch.setattr(time, "time", lambda: 86_400.0 * next(days))
    ran = restore("denoise", tmp_path / "in", tmp_path / "out", "--json")
    assert ran.code == 0 and all(entry["seconds"] >= 0 for entry in ran.json["files"])
    for name in ("a.png", "b.png"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "steady" / name).read_bytes()


SOURCES = sorted(Path(package.__file__).parent.rglob("*.py"))


def test_79_no_processes_are_started():
    """So it does not matter how processes start, nor whether there is a main module."""
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        assert not any(word in text for word in ("multiprocessing", "ProcessPool", "os.fork")), path


def test_80_nothing_depends_on_assert():
    """The only ones tell a type checker that something is not None."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Assert):
                assert ast.unparse(node.test).endswith(" is not None"), f"{path}:{node.lineno}"


# --- data ----------------------------------------------------------------------------------------------------


def test_95_pairs_turned_on_one_side(restore, tmp_path, monkeypatch):
    """What EXIF turns is compared as it is seen; another depth alone is no mismatch."""
    monkeypatch.chdir(tmp_path)
    for number in range(2):
        save(Path("clean") / f"{number}.png", scene(number, 24, 32))
        save(Path("noisy") / f"{number}.png", scene(number, 24, 32))
    turned = corpus.encoded("png", scene(0, 24, 32), exif=b"Exif\0\0" + corpus.exif(6))
    Path("noisy/0.png").write_bytes(turned)
    cv2.imwrite("noisy/1.png", scene(1, 24, 32).astype(np.uint16) * 257)
    ran = restore("data", "pairs", "noisy", "clean")
    said = "1 pairs\n\nnot a pair (1):\n  noisy/0.png is 24 x 32, clean/0.png is 32 x 24\n"
    assert (ran.code, ran.out) == (1, said)
