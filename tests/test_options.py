"""Options as declared: values are checked whoever makes the object, and errors name the option."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest

from restore.errors import ConfigError
from restore.options import (
    INF,
    Alias,
    Budget,
    ExtraOutput,
    FromInputs,
    Number,
    OneOf,
    OptionalPath,
    Options,
    Parsed,
    Text,
    aliases_of,
    declared,
    flag,
    in_python,
    kinds_of,
    seconds_of,
)
from tests.fresh import printed_by


def _pair(text: str) -> tuple[int, int]:
    first, _, second = text.partition("x")
    return int(first), int(second)


@dataclass(frozen=True)
class Toy(Options):
    """Of a toy."""

    side_length: Annotated[int, Number(2, 8, "PIXELS", whole=True)] = 4
    """A side."""
    level: Annotated[float | None, Number(0, INF, auto=True)] = None
    """A level."""
    kind: Annotated[str, OneOf("disc", "line")] = "disc"
    """A kind."""
    name: Annotated[str, Text("NAME"), Alias("title")] = ""
    """A name."""
    size: Annotated[tuple[int, int], Parsed("WxH", _pair, "Write it as 3x4", lambda pair: min(pair) > 0)] = (1, 1)
    """A size."""
    time: Budget = None
    """A time."""
    map: Annotated[bool | str, ExtraOutput()] = False
    """A map."""
    adapt: Annotated[bool | str, FromInputs(), Alias("fit"), Alias("learn")] = False
    """What to learn from."""
    depth: Annotated[str, OneOf("8", "16")] = "8"
    """A depth."""
    turned: bool = False
    """Turned."""


@dataclass(frozen=True)
class More(Toy):
    """One option more, and a default of its own."""

    side_length: Annotated[int, Number(2, 16, "PIXELS", whole=True)] = 9
    """A longer side."""
    share: Annotated[float, Number(0, 1, "SHARE")] = 0.5
    """A share."""


@pytest.mark.parametrize(
    "given",
    [
        {}, {"side_length": 2}, {"side_length": 8}, {"level": 0}, {"level": 1e9}, {"level": None}, {"kind": "line"},
        {"size": (3, 4)}, {"time": 0.5}, {"map": True}, {"map": "out.png"}, {"adapt": "folder"}, {"turned": True},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_allowed_is_kept(given):
    made = Toy(**given)
    assert all(getattr(made, name) == value for name, value in given.items())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"side_length": 1}, "--side-length cannot be 1. It is a whole number, from 2 to 8"),
        ({"side_length": 9}, "--side-length cannot be 9. It is a whole number, from 2 to 8"),
        ({"side_length": 4.0}, "--side-length cannot be 4.0. It is a whole number, from 2 to 8"),
        ({"side_length": True}, "--side-length cannot be True. It is a whole number, from 2 to 8"),
        ({"side_length": "4"}, "--side-length cannot be '4'. It is a whole number, from 2 to 8"),
        ({"side_length": None}, "--side-length cannot be None. It is a whole number, from 2 to 8"),
        ({"level": -0.1}, "--level cannot be -0.1. It is auto, or a number, 0 or more"),
        ({"level": float("nan")}, "--level cannot be nan. It is auto, or a number, 0 or more"),
        ({"kind": "lime"}, "--kind cannot be 'lime'. Did you mean 'line'?"),
        ({"kind": "oval"}, "--kind cannot be 'oval'. Choose from disc, line"),
        ({"size": (0, 4)}, "--size cannot be (0, 4). Write it as 3x4"),
        ({"size": 4}, "--size cannot be 4. Write it as 3x4"),
        ({"time": 0}, "--time cannot be 0. Give seconds, above 0"),
        ({"time": "90x"}, "a budget cannot be '90x'. Write it as 90s, 65m or 2h"),
        ({"size": "3"}, "--size cannot be '3'. Write it as 3x4"),
        ({"map": ""}, "--map cannot be ''. Give a path, or True"),
        ({"map": 3}, "--map cannot be 3. Give a path, or True"),
        ({"map": ["a"]}, "--map cannot be ['a']. Give a path, or True"),
        ({"adapt": []}, "--adapt cannot be []. Give a path, or True"),
        ({"adapt": ["a", 3]}, "--adapt cannot be ['a', 3]. Give a path, or True"),
        ({"depth": 9}, "--depth cannot be 9. Choose from 8, 16"),
        ({"depth": True}, "--depth cannot be True. Choose from 8, 16"),
        ({"time": INF}, "--time cannot be inf. Give seconds, above 0"),
    ],
    ids=str,
)
def test_what_is_not_allowed_is_named(given, message):
    with pytest.raises(ConfigError) as caught:
        Toy(**given)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"time": "90s"}, 90.0), ({"size": "3x4"}, (3, 4)), ({"depth": 16}, "16"), ({"depth": "16"}, "16"),
        ({"adapt": ["a", Path("b")]}, ["a", Path("b")]), ({"adapt": Path("b")}, Path("b")),
    ],
    ids=str,
)  # fmt: skip
def test_python_may_give_what_the_command_line_takes_and_plain_numbers(given, kept):
    ((name, _),) = given.items()
    assert getattr(Toy(**given), name) == kept and type(getattr(Toy(**given), name)) is type(kept)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Use --frames first", "Use restore.read(path, frames='first')"),
        ("use --salvage for", "use restore.read(path, salvage=True) for"),
        ("Use --max-pixels 12 if", "Use restore.read(path, max_pixels=12) if"),
        ("Add --depth 8 or --depth float", "Add depth=8 or depth='float'"),
        ("--psf-size and no--flag", "psf_size and no--flag"),
    ],
)
def test_advice_in_python(text, words):
    assert in_python(text) == words


def test_a_subclass_checks_its_own_and_what_it_inherits():
    assert (More().side_length, More(side_length=16).share) == (9, 0.5)
    for given, option in (({"side_length": 17}, "side-length"), ({"share": 2}, "share"), ({"kind": "x"}, "kind")):
        with pytest.raises(ConfigError, match=f"--{option} cannot be"):
            More(**given)


def test_what_is_declared():
    fields = {name: (type(kind), default) for name, kind, default in declared(Toy)}
    assert fields == {
        "side_length": (Number, 4), "level": (Number, None), "kind": (OneOf, "disc"), "name": (Text, ""),
        "size": (Parsed, (1, 1)), "time": (Parsed, None), "map": (ExtraOutput, False), "adapt": (FromInputs, False),
        "depth": (OneOf, "8"),
    }  # fmt: skip
    assert kinds_of(More)["side_length"] == Number(2, 16, "PIXELS", whole=True)
    assert aliases_of(Toy) == aliases_of(More) == {"title": "name", "fit": "adapt", "learn": "adapt"}


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Number(whole=True), "12", 12),
        (Number(), "1e-2", 0.01),
        (Number(auto=True), "auto", None),
        (OneOf("a", "b"), "b", "b"),
        (Text(), "any word", "any word"),
        (Parsed("WxH", _pair, ""), "3x4", (3, 4)),
        (OptionalPath(), "", True),
        (OptionalPath(), "there/out.png", "there/out.png"),
    ],
)
def test_words_become_values(kind, text, value):
    assert kind.parse(text) == value and type(kind.parse(text)) is type(value)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Number(whole=True), "1.5"), (Number(), "x"), (Number(0, 1), "1.01"), (Number(), "auto"), (Number(0), "nan"),
        (OneOf("a", "b"), "c"), (Parsed("WxH", _pair, ""), "3"), (Parsed("N", int, "", lambda n: n > 3), "3"),
    ],
)  # fmt: skip
def test_words_that_are_no_values(kind, text):
    with pytest.raises(ValueError):
        kind.parse(text)


def test_what_stands_for_a_value_in_the_help():
    assert [kind.metavar for kind in (Number(), OneOf("a", "b"), OptionalPath(), FromInputs("[FOLDER]"))] == [
        "N", "{a,b}", "[FILE]", "[FOLDER]",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("65m", 3900), ("1.5h", 5400), ("2d", 172800), (" 5M ", 300)]
)
def test_times(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-5", "0s", "5w", "inf", "nan", "soon"])
def test_what_is_no_time(text):
    with pytest.raises(ConfigError, match=r"a budget cannot be .*\. Write it as 90s, 65m or 2h"):
        seconds_of(text)


def test_names_on_the_command_line_and_in_python():
    assert flag("psf_size") == "--psf-size"
    assert in_python("--psf-size does not go with --method rl") == "psf_size does not go with method rl"
    assert in_python("Give --psf FILE, or (--save-psf)") == "Give psf FILE, or (save_psf)"
    kept = "a -- b, pre--fix, --9, well-known, ---x"
    assert in_python(kept) == kept


def test_declaring_options_imports_nothing_heavy():
    code = (
        "import sys, restore.options, restore.tasks, restore.inference.options, restore.io.options\n"
        "for task in restore.tasks.TASKS.values():\n"
        "    for method in task.methods.values(): restore.tasks.options_class(method)()"
        " if 'deconv' not in method.options else restore.tasks.options_class(method)\n"
        "print([name for name in ('torch', 'numpy', 'cv2', 'tyro', 'pydantic') if name in sys.modules])"
    )
    assert printed_by(code) == "[]"
