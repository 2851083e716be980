"""The only way to weights: a name or a file, and a task that must be theirs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import restore.zoo
from restore.errors import WeightsError
from restore.models.spec import ModelSpec
from restore.zoo import resolver
from restore.zoo.resolver import available_for
from restore.zoo.weights import label_of, save_weights
from tests.zoo.tiny import ARGUMENTS, CARD, tiny

OTHERWISE = "or work without weights: --method rl"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A packaged zoo of weights for two tasks, and nothing else on this machine."""
    monkeypatch.setenv("RESTORE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(resolver, "PACKAGED", tmp_path)
    monkeypatch.chdir(tmp_path)
    for name, task in (("clean", "denoise"), ("clean_white", "denoise"), ("sharp", "deconv")):
        card = CARD.model_copy(update={"name": name, "task": task})
        save_weights(tmp_path / f"{name}.safetensors", tiny(), "plain_unet", ARGUMENTS, card)
    return tmp_path


def test_weights_of_the_task_come_with_their_name_and_hash(folder):
    loaded = restore.zoo.load("clean", "denoise")
    assert (loaded.name, loaded.path, loaded.spec.task) == ("clean", folder / "clean.safetensors", "denoise")
    assert all(torch.equal(v, tiny().state_dict()[n]) for n, v in loaded.net.state_dict().items())
    assert restore.zoo.load(folder / "sharp.safetensors", "deconv").sha256 == loaded.sha256


@pytest.mark.parametrize(
    ("asked", "where"), [("sharp", "sharp.safetensors"), ("./sharp.safetensors", "sharp.safetensors")]
)
def test_weights_of_another_task_are_one_sentence(asked, where):
    with pytest.raises(WeightsError) as caught:
        restore.zoo.load(asked, "denoise")
    assert str(caught.value) == (
        f"{where}: these weights are for the task 'deconv', not 'denoise'. Use weights of that task: clean, clean_white"
    )


def test_the_way_out_is_the_callers(folder):
    with pytest.raises(WeightsError, match=f"not 'deconv'. Use weights of that task: sharp, {OTHERWISE}$"):
        restore.zoo.load("clean", "deconv", otherwise=OTHERWISE)
    with pytest.raises(WeightsError, match=f"No weights of that task are on this machine, {OTHERWISE}$"):
        restore.zoo.load("clean", "unroll", otherwise=OTHERWISE)
    with pytest.raises(WeightsError, match=rf"Put the file into {folder / 'home' / 'weights'}, {OTHERWISE}$"):
        restore.zoo.load("absent", "deconv", otherwise=OTHERWISE)


def test_labels_are_read_without_the_tensors(folder):
    path = folder / "sharp.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1  # which loading would notice
    path.write_bytes(data)
    assert label_of(path).card.task == "deconv" and available_for("deconv") == ["sharp"]
    path.write_bytes(b"<html>")
    assert available_for("deconv") == []
    with pytest.raises(WeightsError, match="HTML"):
        label_of(path)


class Odd(nn.Module):
    """Says that it takes 2 inputs, as a number."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def spec(self) -> ModelSpec:
        return ModelSpec("denoise", inputs=2)  # type: ignore[arg-type]


def test_a_network_that_describes_itself_wrongly_is_one_sentence(folder):
    path, name = folder / "odd.safetensors", f"{__name__}:Odd"
    save_weights(path, Odd(), name, {}, CARD)
    with pytest.raises(WeightsError) as caught:
        restore.zoo.load(path, "deblur", name)
    assert str(caught.value) == (
        f"{path}: the network Odd cannot be used (this spec describes no network: inputs is 2). Give a tuple of names"
    )


def test_importing_the_zoo_imports_no_torch():
    import subprocess
    import sys

    code = "import sys, restore.zoo; sys.exit('torch' in sys.modules or 'pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
