"""The sheet for people's choices: its pairs, where crops are taken, who is on the left, and what the file holds."""

from __future__ import annotations

import base64
import html.parser
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from restore.errors import ConfigError, UnsupportedError
from restore.report.preference import Candidates, Trial, find_candidates, sides, trial_of, write_preference


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def flat(level: int, height: int = 20, width: int = 30) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def trial(name: str = "one", **images: int) -> Trial:
    return Trial(name, (0, 0, 4, 4), {key: flat(level, 4, 4) for key, level in (images or {"A": 10, "B": 20}).items()})


class Page(html.parser.HTMLParser):
    """Scripts by type, and every address that the page names."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.scripts: dict[str, str] = {}
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self._open: str | None = None
        self.feed(path.read_text())
        self.close()
        self.data = json.loads(self.scripts["application/json"])

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append(tag)
        self.addresses += [
            value for name, value in given.items() if name in ("src", "href", "data", "action") and value
        ]
        self._open = given.get("type", "javascript") if tag == "script" else None

    def handle_endtag(self, tag):
        self._open = None

    def handle_data(self, data):
        if self._open is not None:
            self.scripts[self._open] = self.scripts.get(self._open, "") + data


def pixels_of(url: str) -> np.ndarray:
    kind, _, text = url.partition(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def test_the_crop_is_where_the_two_differ_most(tmp_path):
    a = np.random.default_rng(0).integers(0, 200, (90, 120, 3), np.uint8)
    b = a.copy()
    b[5:10, 5:10] += 9  # a little here
    b[40:60, 70:95] += 30  # most there
    files = Candidates("x", save(tmp_path / "a.png", a), save(tmp_path / "b.png", b), save(tmp_path / "t.png", 255 - a))
    shown = trial_of(files, side=32)
    left, top, width, height = shown.place
    assert (width, height) == (32, 32)
    assert left <= 70 and left + width >= 95 and top <= 40 and top + height >= 60
    inside = (slice(top, top + 32), slice(left, left + 32))
    assert np.array_equal(shown.images["A"], a[inside]) and np.array_equal(shown.images["B"], b[inside])
    assert np.array_equal(shown.images["truth"], 255 - a[inside])
    whole = trial_of(files)
    assert whole.place == (0, 0, 120, 90) and np.array_equal(whole.images["B"], b)


def test_depths_and_grey_are_shown_as_8_bits(tmp_path):
    a = np.linspace(0, 65535, 600).reshape(20, 30).astype(np.uint16)
    files = Candidates("x", save(tmp_path / "a.png", a), save(tmp_path / "b.png", 65535 - a))
    images = trial_of(files).images
    assert images["A"].shape == (20, 30, 1) and np.array_equal(images["A"][..., 0], np.rint(a / 257))


def test_what_cannot_be_compared(tmp_path):
    a, wide, grey = (
        save(tmp_path / f"{name}.png", pixels)
        for name, pixels in (("a", flat(1)), ("wide", flat(2, width=31)), ("grey", flat(3)[..., 0]))
    )
    with pytest.raises(UnsupportedError, match="the sizes differ: 31 x 20 and 30 x 20 pixels"):
        trial_of(Candidates("x", a, wide))
    with pytest.raises(UnsupportedError, match="one has 1 colour channels, the other 3"):
        trial_of(Candidates("x", a, grey))
    b = save(tmp_path / "b.png", flat(2))
    with pytest.raises(UnsupportedError, match="the sizes differ: 31 x 20"):
        trial_of(Candidates("x", a, b, wide))
    with pytest.raises(UnsupportedError, match=r"a\.png: both pictures are the same \(as .*c\.png\)\. Leave them out"):
        trial_of(Candidates("x", a, save(tmp_path / "c.png", flat(1))))


def test_folders_are_paired_by_names_and_the_rest_is_named(tmp_path):
    for name in ("a/one.png", "a/sub/two.png", "a/three.png", "a/lone.png"):
        save(tmp_path / name, flat(1))
    for name in ("b/one.bmp", "b/sub/two.png", "b/three.png", "b/other.png", "t/one.png", "t/sub/two.png"):
        save(tmp_path / name, flat(2))
    a, b, truth = (tmp_path / name for name in "abt")
    found, lines = find_candidates(a, b)
    assert {each.name for each in found} == {"one", "sub/two", "three"}
    assert lines == [f"{a}/lone.png: {b} holds no counterpart", f"{b}/other.png: {a} holds no counterpart"]
    found, lines = find_candidates(a, b, truth)
    assert {each.name: each.truth for each in found} == {"one": truth / "one.png", "sub/two": truth / "sub/two.png"}
    assert lines[2:] == [f"{a}/three.png: {truth} holds no truth of it"]


def test_endings_and_single_files(tmp_path):
    one, two = (save(tmp_path / f"x_{end}.png", flat(1)) for end in ("l1", "mix"))
    assert find_candidates(tmp_path, tmp_path, endings=("_l1", "_mix")) == ([Candidates("x", one, two)], [])
    assert find_candidates(one, two, one) == ([Candidates("x_l1", one, two, one)], [])
    with pytest.raises(ConfigError, match=r"x_l1\.png: some are folders, the others are not"):
        find_candidates(one, tmp_path)


@pytest.mark.parametrize("count", [1, 2, 14, 101])
def test_each_is_on_the_left_in_half_of_the_trials(count):
    drawn = [sides(count, seed) for seed in range(40)]
    assert all(each.count("A") in (count // 2, count - count // 2) for each in drawn)
    assert drawn[3] == sides(count, 3)
    if count > 2:
        assert len({tuple(each) for each in drawn}) > 3
        firsts = sum(each[0] == "A" for each in drawn)
        assert 8 < firsts < 32
    if count % 2:
        assert {each.count("A") for each in drawn} == {count // 2, count - count // 2}


def test_the_page_holds_all_that_is_shown(tmp_path):
    trials = [trial(f"n{number}", A=number, B=100 + number, truth=200 + number) for number in range(6)]
    shown = write_preference(trials, ("mine", "theirs"), tmp_path / "sheet.html", seed=5)
    page = Page(tmp_path / "sheet.html")
    assert [{key: each[key] for key in ("name", "place", "left")} for each in page.data["trials"]] == shown
    assert [each["name"] for each in shown] != [f"n{number}" for number in range(6)]  # in random order
    assert sorted(each["name"] for each in shown) == [f"n{number}" for number in range(6)]
    assert [each["left"] for each in shown] == sides(6, 5)
    for each in page.data["trials"]:
        number = int(each["name"][1:])
        levels = {key: np.unique(pixels_of(url)).tolist() for key, url in each["images"].items()}
        assert levels == {"A": [number], "B": [100 + number], "truth": [200 + number]}
    assert (page.data["A"], page.data["B"], page.data["seed"]) == ("mine", "theirs", 5)
    assert page.data["question"] == "Which one is more like the original above?"
    again = tmp_path / "again.html"
    write_preference(trials, ("mine", "theirs"), again, seed=5)
    assert again.read_bytes() == (tmp_path / "sheet.html").read_bytes()


def test_the_page_names_nothing_outside_itself(tmp_path):
    write_preference([trial()], ("a", "b"), tmp_path / "sheet.html")
    page, text = Page(tmp_path / "sheet.html"), (tmp_path / "sheet.html").read_text()
    assert page.addresses == [] and "link" not in page.tags
    assert "default-src 'none'; img-src data:" in text
    assert "://" not in text and "innerHTML" not in text
    assert page.data["question"] == "Which one looks better?"


def test_names_cannot_become_markup(tmp_path):
    evil = "</script><script>alert('x')</script><!-- & \"q\" \u2028 é"
    write_preference([trial(evil)], (evil, "b"), tmp_path / "sheet.html")
    page = Page(tmp_path / "sheet.html")
    assert page.data["trials"][0]["name"] == evil and page.data["A"] == evil
    assert page.tags.count("script") == 2 and "alert" not in page.scripts["javascript"]


def test_nothing_to_choose(tmp_path):
    with pytest.raises(ConfigError, match="there is nothing to choose between"):
        write_preference([], ("a", "b"), tmp_path / "sheet.html")
    assert list(tmp_path.iterdir()) == []
