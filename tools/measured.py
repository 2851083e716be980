"""A log of measurements, JSON lines: one for each set and method, with the commit; and what a card says of them."""

from __future__ import annotations

import datetime
import json
import math
import subprocess
from pathlib import Path
from typing import Any

from restore.evaluation.run import Summary
from restore.zoo.card import Result

PSNR = "psnr"


def facts() -> dict[str, Any]:
    """Day and commit."""
    command = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return {"date": datetime.date.today().isoformat(), "commit": commit}


def write(log: Path, entry: dict[str, Any]) -> None:
    with log.open("a") as file:
        file.write(json.dumps(entry) + "\n")


def entry(summary: Summary) -> dict[str, Any]:
    """A method over a set, rounded."""
    kept = summary.as_dict()
    kept["means"] = {name: round(value, 4) for name, value in summary.means.items() if value != float("inf")}
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in kept.items()}


def results_of(log: Path, ours: str) -> list[Result]:
    """For a card: the newest measurement of each set in which `ours` took part, with the others beside."""
    sets: dict[str, dict[str, float]] = {}
    for line in log.read_text().splitlines():
        entry = json.loads(line)
        value = entry["means"].get(PSNR, math.inf)
        if math.isfinite(value):
            sets.setdefault(entry["set"], {})[entry["method"]] = round(value, 2)
    return [
        Result(set=name, metric="psnr_rgb_rounded", value=values.pop(ours), peers=values)
        for name, values in sets.items()
        if ours in values
    ]
