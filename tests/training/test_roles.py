"""Whole runs of other shapes: pairs of two sizes, optimizers with rates of their own, code beside a config."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from restore.data.batches import Batch
from restore.errors import ConfigError
from restore.objectives.objective import Objective, Phase
from restore.training.checkpoint import load_checkpoint
from restore.training.config import check_buildable, load_settings
from restore.training.loop import learning_rate, train
from restore.training.run import run, trained_network
from tests.data.conftest import save
from tests.data.test_roles import random, small
from tests.training.test_loop import assert_same, log_of
from tests.training.tiny import draw, settings

CODE = '''
import torch
import torch.nn.functional as F
from torch import nn
from restore.degradations.degradation import CLEAN, Role, Sample
from restore.models.spec import ModelSpec
from restore.objectives.supervised import Supervised


class Twice(nn.Module):
    """Twice as large."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 12, 3, padding=1))

    def forward(self, x):
        return F.interpolate(x, scale_factor=2) + F.pixel_shuffle(self.layers(x), 2)

    def spec(self):
        return ModelSpec("upscale", channels=3, scale=2, multiple_of=2, radius=2,
                         parameters=sum(p.numel() for p in self.parameters()))


class Half:
    """Pictures half as large; the second one, if there is one, is mixed in."""

    conditions = ()

    def __init__(self, mixed: float = 0.0) -> None:
        self.mixed = mixed
        self.roles = {**CLEAN, "second": Role(independent=True)}

    def draw(self, pictures, seed, step, first_index):
        clean = torch.lerp(pictures["clean"], pictures["second"], self.mixed)
        return Sample({"picture": F.avg_pool2d(clean, 2)}, {"result": pictures["clean"]})


class Louder(Supervised):
    """Supervised, times a factor."""

    def __init__(self, network: nn.Module, losses=None, degradation=None, *, factor: float = 1.0) -> None:
        super().__init__(network, losses, degradation)
        self.factor = factor

    def forward(self, batch, phase, step):
        return {name: self.factor * value for name, value in super().forward(batch, phase, step).items()}
'''
CONFIG = """
name: twice
task: upscale
model: {name: "mine.py:Twice"}
objective: {name: "mine.py:Louder", losses: {l1: 1.0}, arguments: {factor: 2}}
degradation: {name: "mine.py:Half", arguments: {mixed: 0.25}}
data: {crop: 32, held_out: 2, train: [photos], cache: cache}
train: {steps: 6, batch: 4, log_every: 2, validate_every: 3, device: cpu, precision: fp32}
"""


@pytest.fixture
def config(tmp_path, monkeypatch) -> Path:
    for number in range(5):
        picture = random(number, 67, 90)
        save(tmp_path / f"photos/{number}.png", picture)
        save(tmp_path / f"small/{number}.png", small(picture))
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "mine.py").write_text(CODE)
    (tmp_path / "conf" / "mine.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    return Path("conf/mine.yaml")


def test_a_network_of_scale_2_trains_validates_and_shows(config, tmp_path):
    """All code is the user's own, beside the config; the shown input is enlarged beside output and target."""
    chosen = load_settings(config)
    check_buildable(chosen)
    progress = run(chosen, tmp_path / "run")
    assert progress.step == 6 and progress.skipped == 0
    assert set(progress.validation) == {"psnr_input", "psnr"}
    grid = cv2.imread(str(tmp_path / "run/validation/00000006.png"))
    assert grid.shape == (2 * 64, 3 * 64, 3)  # two pictures of 64 x 64: input, output, target
    shown, _, target = np.split(grid.astype(float), 3, axis=1)
    assert 0 < np.abs(shown - target).mean() < 60, "the same picture, softer"
    network, _, _ = trained_network(tmp_path / "run", chosen)
    assert network(torch.rand(1, 3, 8, 8)).shape == (1, 3, 16, 16)
    doubled = load_settings(config, ["objective.arguments.factor=4", "train.steps=2"])
    run(doubled, tmp_path / "loud")
    once = load_settings(config, ["objective.arguments.factor=2", "train.steps=2"])
    run(once, tmp_path / "once")
    assert log_of(tmp_path / "loud")[0]["loss"] == pytest.approx(2 * log_of(tmp_path / "once")[0]["loss"], rel=0.05)


@pytest.mark.parametrize("crop", [30, 34])
def test_the_crop_must_suit_the_input_of_the_network(config, crop):
    with pytest.raises(ConfigError, match=rf"data\.crop is {crop}\. This network needs a multiple of 4"):
        check_buildable(load_settings(config, [f"data.crop={crop}"]))


PAIRS = [
    "degradation={name: pairs, arguments: {scale: 0.25}}",
    "data.roles.picture=small",
    "model.name=conf/four.py:Four",
]


@pytest.mark.parametrize("words", [(), PAIRS])
def test_resume_is_exact_with_roles(config, tmp_path, words):
    """Pictures of their own in every batch, or pairs of two sizes: in one go, or in two."""
    (tmp_path / "conf" / "four.py").write_text(
        "from torch import nn\nfrom restore.models.spec import ModelSpec\n"
        "class Four(nn.Sequential):\n"
        "    def __init__(self):\n"
        "        super().__init__(nn.Conv2d(3, 48, 3, padding=1), nn.PixelShuffle(4))\n"
        "    def spec(self):\n"
        "        return ModelSpec('upscale', channels=3, scale=4, radius=1, parameters=1344)\n"
    )
    chosen = load_settings(config, words)
    check_buildable(chosen)
    run(chosen, tmp_path / "whole")
    run(load_settings(config, [*words, "train.steps=6"]), tmp_path / "parts", notify=_stop(at=4))
    assert load_checkpoint(tmp_path / "parts")[1]["progress"]["step"] < 6
    run(chosen, tmp_path / "parts", resume=True)
    whole, parts = (load_checkpoint(tmp_path / name)[1] for name in ("whole", "parts"))
    for key in ("objective", "average", "optimizers"):
        assert_same(whole[key], parts[key], key)
    assert log_of(tmp_path / "whole") == log_of(tmp_path / "parts")


def _stop(at: int):
    """Ask to stop once a step is logged."""
    import os
    import signal

    def notify(entry: dict) -> None:
        if entry["step"] == at and "loss" in entry:
            os.kill(os.getpid(), signal.SIGINT)

    return notify


class TwoRates(Objective):
    """Two numbers, each with a phase and a learning rate of its own; the gradient of both is 1."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Conv2d(3, 3, 1)
        self.fast, self.slow = (nn.Parameter(torch.zeros(())) for _ in range(2))
        self.phases = (
            Phase("fast", [self.fast], learning_rate=2.0), Phase("slow", [self.slow], every=2, learning_rate=0.25),
        )  # fmt: skip

    @property
    def averaged(self) -> nn.Module:
        return self.network

    def forward(self, batch: Batch, phase: str, step: int) -> dict[str, Tensor]:
        return {"loss": self.fast if phase == "fast" else self.slow}

    def preview(self, batch: Batch, network: nn.Module) -> dict[str, Tensor]:
        return {}


def test_each_phase_steps_by_its_own_rate(tmp_path):
    """AdamW goes by its rate where the gradient never changes."""
    objective, chosen = TwoRates(), settings(steps=5, learning_rate=1e-2)
    train(objective, draw, chosen, tmp_path)
    rates = [learning_rate(step / 5, step, chosen) for step in range(5)]
    assert float(objective.fast) == pytest.approx(-2 * sum(rates), rel=1e-5)
    assert float(objective.slow) == pytest.approx(-0.25 * sum(rates[::2]), rel=1e-5)
    optimizers = load_checkpoint(tmp_path)[1]["optimizers"]
    assert optimizers["fast"]["param_groups"][0]["lr"] == pytest.approx(2 * rates[-1])
    assert optimizers["slow"]["param_groups"][0]["lr"] == pytest.approx(0.25 * rates[-1])


def test_a_role_that_is_missing_is_named_before_training(config, tmp_path):
    with pytest.raises(ConfigError, match=r"data\.roles\.picture is missing"):
        run(load_settings(config, ["degradation={name: pairs, arguments: {scale: 0.5}}"]), tmp_path / "run")
    with pytest.raises(ConfigError, match=r"data\.roles\.secnd is nothing .* Did you mean 'second'"):
        run(load_settings(config, ["data.roles.secnd=small"]), tmp_path / "run")
