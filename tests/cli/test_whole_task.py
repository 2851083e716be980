"""A whole task of someone else's: network, degradation, cases, engine and config, in files of its own, by the CLI."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import restore as package
from tests.cli.conftest import environment, run_command
from tests.data.conftest import save
from tests.data.test_roles import random

ENLARGE = '''\
"""Pictures twice as large: a network, what it learns from, and the task that uses it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch.nn.functional as F
from torch import Tensor, nn

from restore.degradations.degradation import CLEAN, Sample
from restore.engines.network import NetworkEngine
from restore.models.spec import ModelSpec
from restore.options import Options, Text
from restore.tasks import Method, Task
from restore.zoo import load


class Twice(nn.Module):
    """B x 3 x H x W -> B x 3 x 2H x 2W: every pixel four times, and what three layers add to it."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU())
        self.last = nn.Conv2d(width, 12, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2) + F.pixel_shuffle(self.last(self.inner(x)), 2)

    def spec(self) -> ModelSpec:
        parameters = sum(p.numel() for p in self.parameters())
        return ModelSpec("enlarge", channels=3, scale=2, radius=2, parameters=parameters)


class Half:
    """Input: means of 2 x 2 px; target: the picture."""

    roles, conditions = CLEAN, ()

    def draw(self, pictures: Mapping[str, Tensor], seed: int, step: int, first_index: int) -> Sample:
        return Sample({"picture": F.avg_pool2d(pictures["clean"], 2)}, {"result": pictures["clean"]})


@dataclass(frozen=True)
class EnlargeOptions(Options):
    """Of enlarging."""

    weights: Annotated[str | Path, Text("NAME|FILE")] = "twice"
    """Weights of the network."""


class EnlargeEngine(NetworkEngine):
    """The network alone."""

    def __init__(self, options: EnlargeOptions) -> None:
        found = load(options.weights, "enlarge", "enlarge:Twice")
        super().__init__(found.net, found.spec, found.name, found.sha256)


TASKS = {
    "enlarge": Task(
        "Make pictures twice as large.",
        "enlarged",
        {"network": Method("enlarge:EnlargeEngine", "enlarge:EnlargeOptions")},
        cases="enlarge_cases:HalfCase",
    )
}
'''
CASES = '''\
"""Cases of an evaluation: pictures half as large."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from restore.degradations.cases import Array, Case, CaseSample


@dataclass(frozen=True, kw_only=True)
class HalfCase(Case):
    """Means of 2 x 2 px, rounded."""

    def describe(self) -> str:
        return "half as large, means of 2 x 2 px"

    def make(self, pictures: Sequence[Array], index: int) -> CaseSample:
        height, width = (side // 2 * 2 for side in pictures[0].shape[:2])
        clean = pictures[0][:height, :width]
        means = clean.reshape(height // 2, 2, width // 2, 2, -1).mean((1, 3))
        return CaseSample(inputs={"picture": np.rint(means).astype(clean.dtype)}, targets={"result": clean})
'''
CONFIG = """\
name: twice
task: enlarge
model: {name: "enlarge:Twice"}
objective: {losses: {l1: 1.0}}
degradation: {name: "enlarge:Half"}
data: {crop: 32, held_out: 2}
train: {steps: 20000, batch: 4}
evaluation:
  cases:
    half: {}
"""
FILES = {"enlarge.py": ENLARGE, "enlarge_cases.py": CASES, "enlarge.yaml": CONFIG}


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> Path:
    """The files, photographs, and weights of three steps."""
    folder = tmp_path_factory.mktemp("enlarge")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    for number in range(6):
        save(folder / f"photos/{number}.png", random(number, 66, 82))
    save(folder / "photos/grey.png", random(9, 66, 82)[..., 0])
    words = ("data.train=[photos]", "train.steps=3", f"data.cache={folder / 'cache'}", "train.device=cpu")
    ran = enlarge(folder, "train", "enlarge.yaml", *words)
    assert ran.returncode == 0, ran.stderr
    assert "runs/twice/twice.safetensors: 3 steps" in ran.stdout and "psnr_input" in ran.stdout
    return folder


def enlarge(folder: Path, *words: object):
    """The command line, in a process that knows the files by RESTORE_TASKS."""
    paths = os.pathsep.join([environment()["PYTHONPATH"], str(folder)])
    return run_command(*words, env=environment(PYTHONPATH=paths, RESTORE_TASKS="enlarge"), cwd=folder)


def test_it_takes_few_lines():
    written = [line for text in FILES.values() for line in text.splitlines()]
    assert len(written) < 150


def test_it_restores_a_folder_with_the_weights_it_made(here):
    weights = ("--weights", "runs/twice/twice.safetensors")
    for name, tile in (("out", 16), ("whole", 512)):
        ran = enlarge(here, "enlarge", "photos", name, *weights, "--tile", tile, "--device", "cpu")
        assert ran.returncode == 0, ran.stderr
    names = sorted(path.name for path in (here / "photos").iterdir())
    assert sorted(path.name for path in (here / "out").glob("*.png")) == names
    for name in names:
        picture, out = (package.read(here / place / name).numpy() for place in ("photos", "out"))
        assert out.shape == (132, 164, *picture.shape[2:])
        assert np.array_equal(out, package.read(here / "whole" / name).numpy()), "tiled as the whole"
        large = picture.repeat(2, 0).repeat(2, 1).astype(int)
        difference = np.abs(out - large)
        assert difference.max() > 0 and difference.mean() < 4, "it learned a little in three steps"


def test_it_is_in_the_help_and_its_weights_are_its_own(here):
    assert "Make pictures twice as large." in enlarge(here, "--help").stdout
    ran = enlarge(here, "denoise", "photos/0.png", "o.png", "--weights", "runs/twice/twice.safetensors",
                  "--model", "enlarge:Twice")  # fmt: skip
    assert ran.returncode == 3 and "these weights are for the task 'enlarge', not 'denoise'" in ran.stderr
    ran = enlarge(here, "enlarge", "photos/0.png", "o.png")
    assert ran.returncode == 3 and "twice" in ran.stderr


def test_it_is_evaluated(here):
    ran = enlarge(here, "eval", "enlarge.yaml", "photos", "--weights", "runs/twice/twice.safetensors", "--metrics",
                  "psnr", "--device", "cpu")  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert "half: half as large, means of 2 x 2 px" in ran.stdout
    assert "mean of 7" in ran.stdout and "psnr restore" in ran.stdout
