"""A training run from its settings: cache, network, objective, loop. What `restore train` and tools/train_zoo share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import nn

from restore.data.batches import CropBatches, hold_out, validation_batches
from restore.data.cache import CropCache, open_cache
from restore.data.pairs import match_pairs, pair_caches
from restore.errors import ConfigError
from restore.inference.memory import tune_allocator
from restore.losses.table import build_losses
from restore.models import build, model_class
from restore.models.spec import spec_of
from restore.naming import imported
from restore.objectives.adversarial import Adversarial
from restore.objectives.blind_spot import BlindSpot
from restore.objectives.deconvolution import Deconvolution
from restore.objectives.noisy_alone import Blind2Unblind, Neighbor2Neighbor, Noise2Void
from restore.objectives.objective import Objective
from restore.objectives.supervised import Supervised
from restore.physics.noise import NoiseRecipe
from restore.physics.random_blur import BlurRecipe
from restore.training.checkpoint import load_checkpoint
from restore.training.loop import Progress, train
from restore.training.settings import ObjectiveSettings, Settings
from restore.version import __version__

OBJECTIVES = {
    "supervised": "restore.training.run:supervised",
    "adversarial": "restore.training.run:adversarial",
    "deconvolution": "restore.training.run:deconvolution",
    "blind_spot": "restore.training.run:blind_spot",
    "noise2void": "restore.training.run:noise2void",
    "neighbor2neighbor": "restore.training.run:neighbor2neighbor",
    "blind2unblind": "restore.training.run:blind2unblind",
}
DISCRIMINATOR = "restore.objectives.discriminator:PatchDiscriminator"
Made = TypeVar("Made", bound=Supervised)
Tell = Callable[[dict[str, Any]], None]
Cached = Callable[[int, int], None]


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
    channels = spec.channels or 3
    learning, held = open_data(settings, cached)
    draw = CropBatches(learning.clean, settings.data.crop, channels, settings.train.seed, learning.noisy)
    looks = validation_batches(held.clean, channels, noisy=held.noisy, multiple_of=spec.multiple_of)
    facts = {"settings": asdict(settings), "restore": __version__, "pictures": len(learning.clean.entries)}
    return train(
        objective, draw, settings.train, folder, validation=looks, resume=resume, facts=_plain(facts), tell=tell
    )


class Pictures(NamedTuple):
    """Clean pictures, and their damaged partners where there are some."""

    clean: CropCache
    noisy: CropCache | None

    def only(self, numbers: Sequence[int]) -> Pictures:
        return Pictures(self.clean.only(numbers), self.noisy and self.noisy.only(numbers))


def open_data(settings: Settings, cached: Cached | None = None) -> tuple[Pictures, Pictures]:
    """(pictures to learn from, pictures to validate on). Raises `ConfigError` or `FileError`."""
    data = settings.data
    if not data.train:
        raise ConfigError("there is nothing to learn from", fix="Give data.train=[FOLDER]")
    if not data.cache:
        raise ConfigError("data.cache is not set", fix="Name a folder for decoded pictures")
    options = {"exclude": data.exclude, "scales": data.scales, "progress": cached}
    pictures = Pictures(open_cache(data.train, data.cache, **options), None)
    if data.noisy:
        if len(data.train) != 1:
            raise ConfigError("data.noisy is the partner of one folder", fix="Give one folder in data.train")
        matched = match_pairs(data.noisy, data.train[0])
        noisy, clean = pair_caches(open_cache([data.noisy], data.cache, **options), pictures.clean, matched.pairs)
        pictures = Pictures(clean, noisy)
    if data.validation:
        return pictures, Pictures(open_cache(data.validation, data.cache), None)
    learning, held = hold_out(pictures.clean, data.held_out)
    return pictures.only(learning), pictures.only(held)


def build_objective(settings: Settings) -> Objective:
    """The objective with its freshly initialised networks; the caller's random state is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.train.seed)
        network = model_class(settings.model.name)(**settings.model.arguments)
        return objective_factory(settings.objective.name)(network, settings.objective)


def objective_factory(name: str) -> Callable[[nn.Module, ObjectiveSettings], Objective]:
    """(network, settings) -> objective: of `OBJECTIVES`, "my_pkg.my_file:my_function" or "my_file.py:my_function"."""
    return imported(name, OBJECTIVES, "objective", "my_objective")


def trained_network(folder: Path, settings: Settings) -> tuple[nn.Module, Progress, dict[str, Any]]:
    """(the averaged network, how far it is, facts) of a run's newest checkpoint, on the CPU in eval mode."""
    _, state = load_checkpoint(folder)
    network = build_objective(settings).averaged
    averaged = {name.removeprefix("module."): value for name, value in state["average"].items() if name != "n_averaged"}
    network.load_state_dict(averaged)
    return network.eval(), Progress(**state["progress"]), state["facts"]


def supervised(network: nn.Module, settings: ObjectiveSettings) -> Supervised:
    """The objective "supervised"."""
    return _made(Supervised, settings, network, **settings.arguments)


def adversarial(network: nn.Module, settings: ObjectiveSettings) -> Adversarial:
    """The objective "adversarial"; `discriminator` among its arguments names a class and its arguments."""
    rest = dict(settings.arguments)
    described = dict(rest.pop("discriminator", {}))
    described.setdefault("channels", spec_of(network).channels or 3)
    discriminator = build(described.pop("name", DISCRIMINATOR), **described)
    return _made(Adversarial, settings, network, discriminator, **rest)


def deconvolution(network: nn.Module, settings: ObjectiveSettings) -> Deconvolution:
    """The objective "deconvolution"; `blur` among its arguments has the fields of `BlurRecipe`."""
    rest = dict(settings.arguments)
    described = dict(rest.pop("blur", {}))
    if isinstance(described.get("sigma"), list):
        described["sigma"] = tuple(described["sigma"])
    try:
        recipe = BlurRecipe(**described)
    except (TypeError, ValueError) as error:
        raise ConfigError("objective.arguments.blur is not a recipe of blur", why=str(error)) from error
    try:
        return Deconvolution(network, build_losses(settings.losses), recipe=recipe, **rest)
    except TypeError as error:
        raise ConfigError("objective.arguments do not suit the objective", why=str(error)) from error


def blind_spot(network: nn.Module, settings: ObjectiveSettings) -> Objective:
    """The objective "blind_spot"; with `noise`, the pictures are clean and made noisy, else they are noisy."""
    return _from_noisy(BlindSpot, network, settings)


def noise2void(network: nn.Module, settings: ObjectiveSettings) -> Objective:
    return _from_noisy(Noise2Void, network, settings)


def neighbor2neighbor(network: nn.Module, settings: ObjectiveSettings) -> Objective:
    return _from_noisy(Neighbor2Neighbor, network, settings)


def blind2unblind(network: nn.Module, settings: ObjectiveSettings) -> Objective:
    return _from_noisy(Blind2Unblind, network, settings)


def _from_noisy(made: Callable[..., Objective], network: nn.Module, settings: ObjectiveSettings) -> Objective:
    noise = _noise(settings) if settings.noise else None
    try:
        return made(network, noise, **settings.arguments)
    except TypeError as error:
        raise ConfigError("objective.arguments do not suit the objective", why=str(error)) from error


def _noise(settings: ObjectiveSettings) -> NoiseRecipe:
    recipe: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.noise.items()}
    try:
        return NoiseRecipe(**recipe)
    except (TypeError, ValueError) as error:
        raise ConfigError("objective.noise is not a noise recipe", why=str(error)) from error


def _made(made: type[Made], settings: ObjectiveSettings, /, *networks: nn.Module, **rest: Any) -> Made:
    noise = _noise(settings)
    try:
        return made(*networks, losses=build_losses(settings.losses), noise=noise, **rest)
    except TypeError as error:
        raise ConfigError("objective.arguments do not suit the objective", why=str(error)) from error


def _plain(value: Any) -> Any:
    """Nested tuples as lists: what `weights_only` reads back."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, list | tuple) else value
