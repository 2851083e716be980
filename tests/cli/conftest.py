"""Small noisy pictures, and the command line run in this process (fast) or in its own (real)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from restore.cli.main import main


def write_noisy(path: Path, seed: int = 0, shape: tuple[int, ...] = (32, 40, 3), dtype: str = "uint8") -> Path:
    """A smooth picture with noise of sigma 15 (8-bit units)."""
    rng = np.random.default_rng(seed)
    high, wide = np.mgrid[: shape[0], : shape[1]]
    clean = 128 + 60 * np.sin(high / 9) * np.cos(wide / 7)
    noisy = np.clip(clean.reshape(*shape[:2], *(1,) * (len(shape) - 2)) + rng.normal(0, 15, shape), 0, 255)
    pixels = np.rint(noisy * (257 if dtype == "uint16" else 1)).astype(dtype)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, pixels)[1].tobytes())
    return path


@dataclass
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.out)


@pytest.fixture
def restore(capfd):
    """`restore(…words…)` in this process; the classical method unless a method is named."""

    def run(*words: object) -> Ran:
        args = [str(word) for word in words]
        if args and args[0] == "denoise":
            args += ["--threads", "1"] + ([] if "--method" in args else ["--method", "classical"])
        capfd.readouterr()
        code = main(args)
        return Ran(int(code), *capfd.readouterr())

    return run


def command(*words: object) -> list[str]:
    """The real command."""
    return [sys.executable, "-m", "restore", *map(str, words)]


def environment(**changes: str) -> dict[str, str]:
    """This process's environment, quiet about terminals, with changes."""
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"} | changes


def run_command(*words: object, env: dict[str, str] | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the real command to its end."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.run(command(*words), text=True, env=env or environment(), timeout=120, check=False, **pipes)
