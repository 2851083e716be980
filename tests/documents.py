"""The commands and Python blocks of README.md and docs/*.md."""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))


def blocks(page: Path, *languages: str) -> list[str]:
    """Fenced blocks of the languages, without their fences."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [text for language, text in found if language in languages]


def lines(page: Path) -> list[list[str]]:
    """Commands of the `sh` blocks, as words without comments and redirections; `a && b` are two."""
    texts = [part for block in blocks(page, "sh") for line in block.splitlines() for part in line.split("&&")]
    return [words for text in texts if (words := _words(text))]


def restore_lines(page: Path) -> list[list[str]]:
    """What follows `restore` in those that are of this program."""
    return [words for line in lines(page) if (words := _after_restore(line))]


def mentions(page: Path) -> list[list[str]]:
    """What follows `restore` in commands that are shown elsewhere: in the text, in indented and in other blocks."""
    text = page.read_text(encoding="utf-8")
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    found = [" ".join(span.split()) for span in re.findall(r"`(restore [a-z-][^`]*)`", prose)]
    found += re.findall(r"^    (restore [a-z].*?)(?:   .*)?$", prose, re.MULTILINE)  # "command   what it does"
    found += [line for block in blocks(page, "") for line in re.findall(r"^(?:\$ )?(restore [a-z].*)$", block, re.M)]
    return [_after_restore(_words(each)) for each in found]


def _words(text: str) -> list[str]:
    words = shlex.split(text, comments=True)
    return words[: words.index(">")] if ">" in words else words


def _after_restore(words: list[str]) -> list[str]:
    if ["-m", "restore"] in ([*pair] for pair in pairwise(words)):
        return words[words.index("restore") + 1 :]
    return words[1:] if Path(words[0]).name == "restore" else []
