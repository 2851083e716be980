"""A training run from its settings: cache, network, objective, loop. What `restore train` and tools/train_zoo share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from restore import degradations, objectives
from restore.data.batches import CropBatches, validation_batches
from restore.data.sources import Cached, LeftOut, open_data
from restore.errors import ConfigError
from restore.inference.memory import tune_allocator
from restore.models import build
from restore.models.spec import spec_of
from restore.objectives.objective import Objective
from restore.training.checkpoint import load_checkpoint
from restore.training.initial_weights import begin_from, load_initial_weights
from restore.training.log import Notify
from restore.training.loop import Progress, train
from restore.training.provenance import commit, machine
from restore.training.settings import Settings
from restore.version import __version__


def run(
    settings: Settings,
    folder: Path,
    *,
    resume: bool = False,
    init_from: nn.Module | None = None,
    stages: Sequence[dict[str, Any]] = (),
    before: Sequence[dict[str, Any]] = (),
    command: str = "",
    notify: Notify = lambda entry: None,
    cached: Cached | None = None,
    left_out: LeftOut = lambda line: None,
) -> Progress:
    """Train as the settings say, in `folder`; their `stages` are not looked at (see `restore.training.stages`).

    Args:
        resume: go on from the newest checkpoint in `folder`.
        init_from: a trained network to start from, with a fresh schedule, in place of `settings.begin`: the same, or
            one that this one's `begin_with` takes (of fewer heads).
        stages, before: runs that `init_from` went through, as `run_of`: of the same training, and of the weights
            that one began with. A resumed run knows its own.
        command: that repeats the training, for the card.
        notify: see `restore.training.loop.train`.
        cached: called with (files decoded, files) while the crop cache is built.
        left_out: called with a line for every picture that is not learned from.
    Raises:
        ConfigError: the objective needs a trained network and there is none; before any data is read.
    """
    tune_allocator()  # a step frees and takes the same large blocks again and again
    objective = build_objective(settings)
    if resume:
        facts = load_checkpoint(folder)[1]["facts"]
        stages, before = facts.get("stages", ()), facts.get("before", ())
    elif init_from is not None:
        begin_from(objective.averaged, init_from)
    elif settings.begin:
        before = [
            each.model_dump() for each in load_initial_weights(objective.averaged, settings.begin, settings.model)
        ]
    elif not objective.from_scratch:
        raise untrained(settings)
    spec = spec_of(objective.averaged)
    channels, roles = spec.channels or 3, objective.roles
    learning, held = open_data(settings.data, roles, cached, left_out)
    draw = CropBatches(learning, settings.data.crop, channels, settings.train.seed, roles)
    validation = validation_batches(held, channels, multiple_of=spec.multiple_of * spec.scale, roles=roles)
    facts = {
        "settings": asdict(settings), "restore": __version__, "pictures": len(learning["clean"].entries),
        "machine": machine(), "commit": commit(), "command": command, "stages": stages, "before": before,
    }  # fmt: skip
    return train(
        objective,
        draw,
        settings.train,
        folder,
        validation=validation,
        resume=resume,
        facts=_plain(facts),
        notify=notify,
    )


def untrained(settings: Settings) -> ConfigError:
    """Of an objective that may not begin with random weights (`from_scratch`), and is to."""
    return ConfigError(
        f"the objective {settings.objective.name!r} needs a trained network to begin with",
        why="against a discriminator, one that has learned nothing learns little but its artefacts",
        fix="Give begin: NAME, --init-from or a stage before it, or objective.arguments.from_scratch=true",
    )


def build_objective(settings: Settings) -> Objective:
    """The objective with its freshly initialised networks; the caller's random state is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.train.seed)
        network = build(settings.model.name, **settings.model.arguments)
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


def run_of(progress: Progress, facts: dict[str, Any]) -> dict[str, Any]:
    """The fields of a card's `TrainingRun`, from a checkpoint."""
    texts = {name: facts.get(name, "") for name in ("machine", "commit", "command")}
    return {"steps": progress.step, "seconds": round(progress.seconds, 1), **texts}


def _plain(value: Any) -> Any:
    """Nested tuples as lists: what `weights_only` reads back."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, list | tuple) else value
