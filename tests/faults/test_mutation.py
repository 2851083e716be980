"""Damaged files of every kind are read, or refused by an error of ours that names them, in bounded time and memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_damaged_files_of_every_kind(request, tmp_path):
    """`--seconds N` reads them for longer than CI does; `--seed` chooses other ones."""
    seconds, seed = request.config.getoption("--seconds"), request.config.getoption("--seed")
    command = [sys.executable, "-m", "tests.faults.mutations", str(seed), str(seconds)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RESTORE_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    with (tmp_path / "cases.txt").open("w+") as told:
        try:
            ran = subprocess.run(
                command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=told, text=True, check=False,
                timeout=seconds + 120,
            )  # fmt: skip
            ended = f"ended with {ran.returncode}"
        except subprocess.TimeoutExpired:
            ran, ended = None, "did not come back"
        told.seek(0)
        last = told.read().splitlines()[-10:]
    assert ran is not None and ran.returncode == 0, f"{ended} at: {last}"
    result = json.loads(ran.stdout)
    assert result["wrong"] == []
    assert all(count > 2 * seconds for count in result["read"].values()), result["read"]
