"""`restore data check` and `restore data pairs`: check pictures before training on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from restore.cli.console import one_line, put, put_json
from restore.cli.flags import HIDE
from restore.cli.options import Flag, hint, number, parse_endings, reads
from restore.errors import ConfigError, ExitCode, counted
from restore.options import INF


@dataclass(frozen=True)
class Data:
    """Check pictures before training on them: `data check FOLDER`, `data pairs DAMAGED CLEAN`."""

    paths: Annotated[Positional[tuple[str, ...]], arg(metavar="check|pairs FOLDER...", help_behavior_hint="")] = ()
    """check FOLDER: unreadable and small files, duplicates, test pictures among them.
    pairs DAMAGED CLEAN: which files belong together by name, and which do not."""
    test: Annotated[Path | None, reads("FOLDER", Path), HIDE] = None
    """check: pictures that must not be among those to learn from."""
    crop: Annotated[int, number("--crop", int, 1, INF)] = 96
    """check: smallest side that can be used."""
    endings: Annotated[tuple[str, str], reads("DAMAGED,CLEAN", parse_endings("--endings")), HIDE] = ("", "")
    """pairs: ends of the names, when both lie in one folder or are named apart: _real,_mean."""
    json: Flag = False
    """Print one JSON object."""
    debug: Flag = False
    """Show the traceback of the error that ended the program."""

    def run(self) -> int:
        actions: dict[str, tuple[int, Callable[[Data, Sequence[str]], int]]] = {
            "check": (1, _check),
            "pairs": (2, _pairs),
        }
        action, *folders = self.paths or ("",)
        if action not in actions:
            raise ConfigError(f"restore data cannot do {action!r}", fix=hint(action, list(actions)))
        wanted, run = actions[action]
        if len(folders) != wanted:
            raise ConfigError(f"restore data {action} takes {wanted} folder{'s' * (wanted > 1)}, not {len(folders)}")
        return run(self, folders)


def _check(options: Data, folders: Sequence[str]) -> int:
    from restore.data.check import check_folder

    report = check_folder(folders[0], test=[options.test] if options.test else [], crop=options.crop)
    lists = {
        "unreadable": [f"{one_line(path)}: {reason}" for path, reason in report.unreadable],
        f"smaller than {options.crop} px": [one_line(path) for path in report.small],
        "alike": [f"{one_line(a)} = {one_line(b)}" for a, b in report.duplicates],
        "also in the test set": [f"{one_line(a)} = {one_line(b)}" for a, b in report.leaks],
    }
    if options.json:
        put_json({"command": "data check", "pictures": report.pictures, "sides": report.sides, **lists})
    else:
        put(f"{counted(report.pictures, 'picture')}, shorter sides {report.sides[0]} to {report.sides[1]} px")
        _put_lists(lists)
    return ExitCode.OK if report.clean else ExitCode.SOME_FAILED


def _pairs(options: Data, folders: Sequence[str]) -> int:
    from restore.data.pairs import match_pairs

    damaged, clean = options.endings
    matches = match_pairs(folders[0], folders[1], damaged_ending=damaged, clean_ending=clean)
    mismatches = matches.mismatches()
    if options.json:
        put_json({"command": "data pairs", "pairs": len(matches.pairs), "mismatches": mismatches})
    else:
        put(f"{len(matches.pairs)} pairs")
        _put_lists({"not a pair": mismatches})
    return ExitCode.SOME_FAILED if mismatches else ExitCode.OK


def _put_lists(lists: dict[str, list[str]]) -> None:
    for title, lines in lists.items():
        if lines:
            put(f"\n{title} ({len(lines)}):")
        for line in lines:
            put(f"  {line}")
