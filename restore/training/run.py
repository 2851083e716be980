"""A training run from its settings: cache, network, objective, loop. What `restore train` and tools/train_zoo share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from restore import degradations, objectives
from restore.data.batches import CropBatches, validation_batches
from restore.data.sources import Cached, open_data
from restore.inference.memory import tune_allocator
from restore.models import model_class
from restore.models.spec import spec_of
from restore.objectives.objective import Objective
from restore.training.checkpoint import load_checkpoint
from restore.training.loop import Progress, train
from restore.training.settings import Settings
from restore.version import __version__

Tell = Callable[[dict[str, Any]], None]


def run(
    settings: Settings,
    folder: Path,
    *,
    resume: bool = False,
    init_from: dict[str, torch.Tensor] | None = None,
    tell: Tell = lambda entry: None,
    cached: Cached | None = None,
) -> Progress:
    """Train as the settings say, in `folder`.

    Args:
        resume: go on from the newest checkpoint in `folder`.
        init_from: weights of the network to start from, with a fresh schedule.
        tell: see `restore.training.loop.train`.
        cached: called with (files decoded, files) while the crop cache is built.
    """
    tune_allocator()  # a step frees and takes the same large blocks again and again
    objective = build_objective(settings)
    if init_from is not None:
        objective.averaged.load_state_dict(init_from)
    spec = spec_of(objective.averaged)
    channels, roles = spec.channels or 3, objective.roles
    learning, held = open_data(settings.data, roles, cached)
    draw = CropBatches(learning, settings.data.crop, channels, settings.train.seed, roles)
    validation = validation_batches(held, channels, multiple_of=spec.multiple_of * spec.scale, roles=roles)
    facts = {"settings": asdict(settings), "restore": __version__, "pictures": len(learning["clean"].entries)}
    return train(
        objective, draw, settings.train, folder, validation=validation, resume=resume, facts=_plain(facts), tell=tell
    )


def build_objective(settings: Settings) -> Objective:
    """The objective with its freshly initialised networks; the caller's random state is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.train.seed)
        network = model_class(settings.model.name)(**settings.model.arguments)
        return objective_of(settings, network)


def objective_of(settings: Settings, network: nn.Module) -> Objective:
    """The objective of the settings around a network. Raises `ConfigError` for what it does not use."""
    damage = settings.degradation
    degradation = degradations.build(damage.name, **damage.arguments) if damage.name else None
    asked = settings.objective
    return objectives.build(
        asked.name, network, losses=asked.losses, degradation=degradation, arguments=asked.arguments
    )


def trained_network(folder: Path, settings: Settings) -> tuple[nn.Module, Progress, dict[str, Any]]:
    """(the averaged network, how far it is, facts) of a run's newest checkpoint, on the CPU in eval mode."""
    _, state = load_checkpoint(folder)
    network = build_objective(settings).averaged
    averaged = {name.removeprefix("module."): value for name, value in state["average"].items() if name != "n_averaged"}
    network.load_state_dict(averaged)
    return network.eval(), Progress(**state["progress"]), state["facts"]


def _plain(value: Any) -> Any:
    """Nested tuples as lists: what `weights_only` reads back."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, list | tuple) else value
