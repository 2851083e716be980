"""`restore train` as a user types it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch

from restore.training.checkpoint import checkpoints, load_checkpoint
from restore.zoo.weights import read_network
from tests.cli.conftest import command, environment
from tests.data.conftest import save, scene
from tests.training.test_loop import assert_same

CONFIG = """
name: tiny
model: {arguments: {widths: [4], blocks: [1]}}
degradation: {name: noise, arguments: {weights: {gaussian: 1.0}}}
data: {crop: 16, held_out: 1, train: [photos], cache: cache}
train: {steps: 12, batch: 2, log_every: 4, validate_every: 6, device: cpu, precision: fp32}
"""


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A folder with photographs and a config, where the user is."""
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        save(tmp_path / "photos" / f"{number}.png", scene(number, 40, 48))
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    return tmp_path


def test_from_photographs_to_weights(here, restore):
    ran = restore("train", "tiny.yaml", "--json")
    assert ran.code == 0, ran.err
    assert (ran.json["step"], ran.json["skipped"], ran.json["weights"]) == (12, 0, "runs/tiny/tiny.safetensors")
    assert ran.json["validation"].keys() == {"psnr", "psnr_input"}
    loaded = read_network(here / "runs/tiny/tiny.safetensors")
    assert loaded.card is not None and loaded.card.steps == 12
    assert loaded.card.command == "restore train tiny.yaml"
    average = load_checkpoint(here / "runs/tiny")[1]["average"]
    for name, value in loaded.net.state_dict().items():
        assert torch.equal(value, average[f"module.{name}"].half().float())
    assert sorted(p.name for p in (here / "runs/tiny/validation").iterdir()) == ["00000006.png", "00000012.png"]
    assert "step 8  67%  loss 0." in ran.err and " data " in ran.err and " left" in ran.err
    assert re.search(r"step 12  validation  psnr_input \d+\.\d\d dB  psnr ", ran.err)
    assert restore("train", "tiny.yaml").code == 2, "the run there is not overwritten"
    again = restore("train", "tiny.yaml")
    assert "this folder holds a run already. Go on with --resume, or name another folder with --out" in again.err


def test_init_from_starts_a_fresh_schedule_from_weights(here, restore):
    assert restore("train", "tiny.yaml", "-q").code == 0
    weights = "runs/tiny/tiny.safetensors"
    words = ("train", "tiny.yaml", "train.steps=1", "train.learning_rate=1e-9", "train.ema=0", "-q")
    assert restore(*words, "--init-from", weights, "--out", "second").code == 0
    first, second = (read_network(path).net.state_dict() for path in (weights, "second/tiny.safetensors"))
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, atol=1e-3, rtol=1e-3)
    torch.save(first, "mine.pth")
    assert restore(*words, "--init-from", "mine.pth", "--out", "third").code == 0
    ran = restore(*words, "--init-from", "nothing.safetensors", "--out", "fourth")
    assert ran.code == 3 and "not on this machine" in ran.err
    ran = restore(*words, "--init-from", weights, "--out", "fifth", "model.arguments.widths=[8]")
    assert ran.code == 3 and "these are not the weights" in ran.err
    ran = restore(*words, "--init-from", weights, "--resume")
    assert ran.code == 2 and "exclude each other" in ran.err


def test_dry_run_and_schema_start_nothing(here, restore):
    ran = restore("train", "tiny.yaml", "train.budget=2h", "--dry-run")
    assert ran.code == 0 and ran.json["train"]["budget"] == 7200 and ran.json["data"]["crop"] == 16
    ran = restore("train", "--schema")
    assert ran.code == 0 and "TrainSettings" in ran.json["$defs"]
    assert not (here / "runs").exists() and not (here / "cache").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "needs a config. For example: restore train denoise/plain_unet"),
        (("tyny.yaml",), "there is no config 'tyny.yaml'"),
        (("tiny.yaml", "train.step=5"), "Did you mean 'steps'?"),
        (("tiny.yaml", "data.train=[]"), "nothing to learn from. Give data.train=[FOLDER]"),
        (("tiny.yaml", "data.held_out=3"), "Hold out fewer"),
        (("tiny.yaml", "data.crop=64"), "no picture is as large as data.crop, 64 px. Set data.crop to 40 or less"),
        (("tiny.yaml", "train.device=abacus"), "no device 'abacus'"),
    ],
)
def test_mistakes_cost_one_line(here, restore, words, says):
    ran = restore("train", *words, "-q")
    assert ran.code == 2 and ran.err.count("\n") == 1 and says in ran.err
    assert not checkpoints(here / "runs/tiny")


def test_an_unreadable_folder_is_reported(here, restore):
    ran = restore("train", "tiny.yaml", "data.train=[nowhere]", "-q")
    assert ran.code != 0 and "nowhere" in ran.err and ran.err.count("\n") == 1


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_sigint_and_sigterm_save_and_what_follows_is_exact(here, restore):
    """Stopped twice, by each signal, and resumed: the same bits as a run that was left alone."""
    words = ("train", "tiny.yaml", "train.steps=400", "train.log_every=100", "train.validate_every=1000")
    assert restore(*words, "--out", "whole", "-q").code == 0
    stops = []
    for number in (signal.SIGINT, signal.SIGTERM):
        resume = ["--resume"] if stops else []
        with subprocess.Popen(
            command(*words, "--out", "parts", *resume, "train.save_every=0.05"), env=environment(),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            before = stops[-1] if stops else 0
            _wait(lambda process=process, before=before: _newest() > before or process.poll() is not None)
            process.send_signal(number)
            _, printed = process.communicate(timeout=60)
        assert process.returncode == 130, printed
        stops.append(_newest())
        assert f"restore: stopped at step {stops[-1]}; go on with the same command and --resume\n" in printed
    assert 0 < stops[0] < stops[1] < 400, "the signals came before the end, or this tests nothing"
    assert restore(*words, "--out", "parts", "--resume", "-q").code == 0
    whole, parts = (load_checkpoint(Path(name))[1] for name in ("whole", "parts"))
    for key in ("objective", "average", "optimizers"):
        assert_same(whole[key], parts[key], key)
    assert _losses("whole") == _losses("parts") and len(_losses("whole")) == 4


def _newest() -> int:
    actual = checkpoints(Path("parts"))
    return int(actual[-1].stem.rpartition("_")[2]) if actual else 0


def _losses(folder: str) -> list[float]:
    lines = map(json.loads, (Path(folder) / "log.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if "loss" in line]


def _wait(until, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not until() and time.monotonic() < end:
        time.sleep(0.005)


def test_a_dry_run_refuses_what_the_run_would(here, restore):
    """Adversarial training without weights; with a stage before it, weights, a checkpoint or force it is taken."""
    gan = ["objective.name=adversarial", "objective.arguments.discriminator={width: 4, depth: 1}"]
    stages = "stages=[{share: 1}, {share: 1, settings: {objective.name: adversarial}}]"
    for more in ([], ["--dry-run"]):
        ran = restore("train", "tiny.yaml", *gan, *more)
        assert ran.code == 2 and "'adversarial' needs a trained network to begin with" in ran.err
    assert not (here / "runs").exists() and not (here / "cache").exists()
    for words in ([stages], [*gan, "--init-from", "denoise"], [*gan, "--resume"],
                  [*gan, "objective.arguments.from_scratch=true"]):  # fmt: skip
        ran = restore("train", "tiny.yaml", *words, "--dry-run")
        assert ran.code == 0, ran.err
