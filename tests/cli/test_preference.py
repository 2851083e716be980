"""`restore score --preference A B OUT.html`, as people type it."""

from __future__ import annotations

import numpy as np
import pytest

from tests.cli.test_evaluate import flat, write


@pytest.fixture
def results(tmp_path):
    """Two folders of three pictures, and their truth."""
    for folder, level in (("a", 100), ("b", 110), ("truth", 105)):
        for number in range(3):
            write(tmp_path / f"{folder}/{number}.png", flat(level + number))
    return tmp_path


def test_a_page_is_written_and_said(restore, results):
    ran = restore("score", "--preference", results / "a", results / "b", results / "new/sheet.html", "--seed", 4)
    assert ran.code == 0 and ran.err == ""
    assert ran.out == f"{results}/new/sheet.html: 3 choices, seed 4; open it in a browser\n"
    assert "data:image/png" in (results / "new/sheet.html").read_text()


def test_json_says_the_order(restore, results):
    words = ("score", "--preference", results / "a", results / "b", results / "sheet.html")
    ran = restore(*words, "--truth", results / "truth", "--json")
    assert ran.code == 0 and ran.json["seed"] == 0 and ran.json["page"] == f"{results}/sheet.html"
    assert sorted(each["name"] for each in ran.json["trials"]) == ["0", "1", "2"]
    assert {each["left"] for each in ran.json["trials"]} == {"A", "B"}
    assert ran.json["trials"][0]["place"] == [0, 0, 40, 32]


def test_nothing_is_overwritten_unasked(restore, results):
    words = ("score", "--preference", results / "a", results / "b", results / "sheet.html")
    (results / "sheet.html").write_text("mine")
    ran = restore(*words)
    assert ran.code == 1 and "sheet.html: exists already. Add --overwrite to replace it" in ran.err
    assert (results / "sheet.html").read_text() == "mine"
    assert restore(*words, "--overwrite").code == 0 and "data:image" in (results / "sheet.html").read_text()


def test_what_cannot_be_compared_is_named_and_left_out(restore, results):
    write(results / "a/0.png", flat(1, (32, 44, 3)))
    (results / "b/1.png").unlink()
    ran = restore("score", "--preference", results / "a", results / "b", results / "sheet.html", "--json")
    assert ran.code == 1 == ran.json["exit_code"] and [each["name"] for each in ran.json["trials"]] == ["2"]
    lines = ran.err.splitlines()
    assert any(f"a/1.png: {results}/b holds no counterpart" in line for line in lines)
    assert any("0.png: the sizes differ: 40 x 32 and 44 x 32 pixels" in line for line in lines)
    for number in (1, 2):
        write(results / f"b/{number}.png", flat(100 + number))
    ran = restore("score", "--preference", results / "a", results / "b", results / "none.html", "--json")
    assert ran.code == 3 and ran.json["page"] is None and not (results / "none.html").exists()
    assert "both pictures are the same" in ran.err


def test_two_pictures(restore, results):
    deep = np.full((32, 40, 3), 25700, np.uint16)
    a, b = write(results / "x.png", deep), write(results / "y.png", deep + 257)
    ran = restore("score", "--preference", a, b, results / "sheet.html")
    assert ran.code == 0 and "1 choice, seed 0" in ran.out


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--preference", "a", "b"), "--preference takes two results and the page to write"),
        (("--preference", "a", "b", "c.png"), "c.png: the page is HTML. Name it *.html"),
        (("--preference", "a", "b", "c.html", "--metrics", "psnr"), "--metrics measures, and --preference asks people"),
        (("--preference", "a", "b", "c.html", "--border", "4"), "--border measures"),
        (("a", "b", "--truth", "c"), "--truth goes with --preference. Leave it out"),
        (("a", "b", "--overwrite"), "--overwrite goes with --preference"),
        (("a", "b", "--seed", "1"), "--seed goes with --preference"),
    ],
)
def test_mistakes(restore, words, text):
    ran = restore("score", *words)
    assert ran.code == 2 and text in ran.err
