"""Adversarial training from a config: its second stage begins with a trained network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from restore.errors import ConfigError, FileError
from restore.training.checkpoint import load_checkpoint
from restore.training.config import load_stages
from restore.training.export import export
from restore.training.stages import train_stages
from tests.data.conftest import save, scene

TEXT = """
name: small
task: upscale
model: {name: compact_sr, arguments: {scale: 2, width: 4, blocks: 1}}
objective: {name: supervised, losses: {l1: 1.0}}
degradation: {name: downscale, arguments: {factor: 2}}
data: {crop: 32, held_out: 1, train: [PHOTOS], cache: CACHE}
train: {steps: 6, batch: 2, device: cpu, precision: fp32, log_every: 1}
"""
SECOND = """
stages:
  - {share: 1}
  - {share: 2, settings: {objective.name: adversarial, objective.arguments: {discriminator: {width: 4, depth: 2}}}}
"""
ALONE = ["objective.name=adversarial", "objective.arguments.discriminator={width: 4, depth: 2}"]
FORCED = "objective.arguments.from_scratch=true"
REFUSED = r"'adversarial' needs a trained network to begin with.*Give begin: NAME.*from_scratch=true"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    for number in range(3):
        save(tmp_path / "photos" / f"{number}.png", scene(number, 64, 72))
    path = tmp_path / "small.yaml"
    path.write_text(TEXT.replace("PHOTOS", str(tmp_path / "photos")).replace("CACHE", str(tmp_path / "cache")))
    return path


def test_a_network_that_has_learned_nothing_is_refused_before_data_is_read(config, tmp_path):
    nowhere = [*ALONE, "data.train=[nowhere]"]
    with pytest.raises(ConfigError, match=REFUSED):
        train_stages(load_stages(config, nowhere), tmp_path / "run")
    with pytest.raises((ConfigError, FileError), match="nowhere"):
        train_stages(load_stages(config, [*nowhere, FORCED]), tmp_path / "run")
    assert not (tmp_path / "run").exists() and not (tmp_path / "cache").exists()


def test_weights_an_earlier_stage_a_checkpoint_or_force_will_do(config, tmp_path):
    assert train_stages(load_stages(config), tmp_path / "fidelity").step == 6
    export(tmp_path / "fidelity", load_stages(config)[0], tmp_path / "fidelity.safetensors")
    begun = load_stages(config, [*ALONE, f"begin={tmp_path / 'fidelity.safetensors'}"])
    assert train_stages(begun, tmp_path / "begun").step == 6
    more = [replace(each, begin="", train=replace(each.train, steps=8)) for each in begun]
    assert train_stages(more, tmp_path / "begun", resume=True).step == 8
    assert train_stages(load_stages(config, [*ALONE, FORCED]), tmp_path / "forced").step == 6
    config.write_text(config.read_text() + SECOND)
    assert train_stages(load_stages(config), tmp_path / "staged").step == 4
    state = load_checkpoint(tmp_path / "staged" / "stage2")[1]["objective"]
    assert any(name.startswith("discriminator.") for name in state)
