"""`restore score --preference A B OUT.html`: a page on which people choose between two results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from restore.cli.console import one_line, put, put_json, say
from restore.cli.scores import code_of
from restore.errors import ConfigError, RestoreError, counted

if TYPE_CHECKING:
    from restore.cli.evaluate import Score


def write_sheet(score: Score) -> int:
    """Write the page of a command line; what cannot be compared is named, and left out."""
    from restore.io.paths import check_output
    from restore.report.preference import find_candidates, trial_of, write_preference

    a, b, page = _paths(score)
    score.refuse_measuring()
    for source in (a, b):
        check_output(source, page, overwrite=score.overwrite)
    candidates, problems = find_candidates(a, b, score.truth, score.pairs or ("", ""))
    trials = []
    for files in candidates:
        try:
            trials.append(trial_of(files))
        except RestoreError as error:
            problems.append(str(error.at(files.a)))
    for line in problems:
        say(f"restore: error: {one_line(line)}")
    seed = score.seed or 0
    shown = write_preference(trials, (a, b), page, seed=seed) if trials else []
    code = code_of(len(problems), bool(trials))
    if score.json:
        facts = {"page": str(page) if trials else None, "seed": seed, "trials": shown, "problems": problems}
        put_json({"command": "score", "preference": [a, b], **facts, "exit_code": int(code)})
    elif trials:
        put(f"{one_line(str(page))}: {counted(len(trials), 'choice')}, seed {seed}; open it in a browser")
    return code


def _paths(score: Score) -> tuple[str, str, Path]:
    if len(score.paths) != 3:
        fix = "restore score --preference mine/ theirs/ sheet.html"
        raise ConfigError("--preference takes two results and the page to write", fix=fix)
    a, b, page = score.paths
    if Path(page).suffix.lower() not in (".html", ".htm"):
        raise ConfigError("the page is HTML", where=page, fix="Name it *.html")
    return a, b, Path(page)
