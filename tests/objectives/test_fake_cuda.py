"""Every objective once on a pretended "cuda": all its phases forward and backward, and what it shows."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable

import pytest
import torch
from torch import nn

import restore.objectives
from restore.data.batches import Batch
from restore.degradations.blur import BlurDegradation
from restore.degradations.noise import NoiseDegradation
from restore.losses.table import PER_SAMPLE_LOSSES, build_losses
from restore.models import build
from restore.objectives.adversarial import Adversarial
from restore.objectives.blind_spot import BlindSpot
from restore.objectives.deconvolution import Deconvolution
from restore.objectives.discriminator import PatchDiscriminator
from restore.objectives.multi_output import MultiOutputLearning
from restore.objectives.objective import Objective
from restore.objectives.reflection import ReflectionRemoval
from restore.objectives.self_supervised import Blind2Unblind, Neighbor2Neighbor, Noise2Void
from restore.objectives.supervised import Supervised
from restore.physics.noise_mixture import KINDS
from tests.fake_cuda import CUDA, gradients, moved, pretended_cuda

STEP = 16


def noise(**options) -> NoiseDegradation:
    """Of all kinds."""
    return NoiseDegradation(**options, weights=dict.fromkeys(KINDS, 1.0))


def unet(condition_channels: int = 0) -> nn.Module:
    return build("plain_unet", condition_channels=condition_channels, widths=(4, 6), blocks=(1, 1, 1))


def wiener() -> nn.Module:
    return build("wiener_unet", steps=1, widths=(4, 6), blocks=(1, 1, 1))


MAKERS: dict[str, Callable[[], Objective]] = {
    "Supervised": lambda: Supervised(unet(1), degradation=noise(grey_every=3)),
    "MultiOutputLearning": lambda: MultiOutputLearning(
        build(
            "multi_output",
            network="plain_unet",
            heads=2,
            arguments={"condition_channels": 1, "widths": (4, 6), "blocks": (1, 1, 1)},
        ),
        build_losses({"psnr": 1.0, "fft": 0.1, "charbonnier": 1.0}, PER_SAMPLE_LOSSES),
        noise(),
        choice="relaxed",
    ),
    "Adversarial": lambda: Adversarial(
        unet(1), PatchDiscriminator(width=4, depth=2), degradation=noise(), kind="wgan", r1=1.0, r1_every=STEP, ramp=1
    ),
    "BlindSpot": lambda: BlindSpot(build("cbsn", width=4), noise(), pd=2, ramp=1),
    "Deconvolution": lambda: Deconvolution(wiener(), degradation=BlurDegradation(regime="low-light", bank=6)),
    "ReflectionRemoval": lambda: ReflectionRemoval(
        build("compact_reflection", widths=(8, 12), blocks=(1, 1, 1)), exclusion=0.1
    ),
    "Noise2Void": lambda: Noise2Void(unet(), noise()),
    "Neighbor2Neighbor": lambda: Neighbor2Neighbor(unet(), noise()),
    "Blind2Unblind": lambda: Blind2Unblind(unet(), noise()),
}


def objectives() -> set[str]:
    """Classes of the room that can be made."""
    found = set()
    for info in pkgutil.iter_modules(restore.objectives.__path__):
        for value in vars(importlib.import_module(f"restore.objectives.{info.name}")).values():
            if inspect.isclass(value) and issubclass(value, Objective) and not inspect.isabstract(value):
                found.add(value.__name__)
    return found


def test_every_objective_has_an_entry():
    assert set(MAKERS) == objectives()


def batch() -> Batch:
    pictures = {role: torch.rand(6, 3, 64, 64, device=CUDA) for role in ("clean", "reflection")}
    return Batch(pictures, seed=1, step=STEP, first_index=0)


@pytest.mark.parametrize("name", MAKERS)
def test_every_phase_learns_on_the_device(name):
    objective = MAKERS[name]()
    with pretended_cuda():
        moved(objective)
        for phase in objective.phases:
            losses = objective(batch(), phase.name, STEP)
            found = gradients(losses["loss"], list(objective.parameters()))
            assert {each.device for each in losses.values()} == {CUDA}
            assert {each.device for each in found if each is not None} == {CUDA}


@pytest.mark.parametrize("name", MAKERS)
def test_what_is_shown_is_on_the_device(name):
    objective = MAKERS[name]()
    with pretended_cuda(), torch.no_grad():
        moved(objective)
        shown = objective.preview(batch(), objective.averaged)
    assert {"input", "output"} <= set(shown)
    assert {each.device for each in shown.values()} == {CUDA}


def test_pairs_damaged_elsewhere():
    objective = MAKERS["Supervised"]()
    clean = torch.rand(2, 3, 32, 32)
    with pretended_cuda():
        moved(objective)
        pairs = Batch({"clean": clean.to(CUDA), "picture": clean.to(CUDA)}, 1, STEP, 0)
        assert objective(pairs, "restore", STEP)["loss"].device == CUDA
        with pytest.raises(RuntimeError, match="cpu"):
            objective(Batch({"clean": clean.to(CUDA), "picture": clean}, 1, STEP, 0), "restore", STEP)
