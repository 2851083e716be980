"""Denoising that learns from the user's own noisy pictures: a shipped network goes on learning on them.

White noise: the shipped network for white noise, by Neighbor2Neighbor unless Noise2Void or Blind2Unblind is asked for.
Correlated noise: C-BSN by its three losses, or AP-BSN.
Before that, the network and the zero-shot method lose the same pixels; what predicts them better is used, and a tie
goes to zero-shot, as do pictures whose noise is weaker than the error of guessing a pixel: there a method that guesses
well need not denoise well. What was learned is kept in the user's folder, named by pictures and settings.
"""

from __future__ import annotations

import copy
import datetime
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from restore.analysis.effective import effective_curve
from restore.analysis.noise import NoiseModel, estimate_noise
from restore.engines.denoise.holdout import HeldOut, block_side, clearly_better, errors, hold_out
from restore.engines.denoise.learners import LEARNERS, NoiseStats, WithNoiseLevel, crop_side, crops
from restore.engines.denoise.network import WITHOUT_WEIGHTS, DenoisingNetwork, wrapped_for_inference
from restore.engines.denoise.options import SelfSupervisedOptions, ZeroShotOptions
from restore.engines.denoise.training_crops import collect_crops, crops_of
from restore.engines.denoise.zero_shot import ZeroShotEngine
from restore.engines.fitting import FitSettings, fit
from restore.inference.engine import Condition, Engine, EngineOptions, Outputs, Place
from restore.io.atomic import check_writable
from restore.io.home import home
from restore.models.spec import ModelSpec
from restore.physics.random import generator_for
from restore.picture import PictureSource
from restore.zoo import load
from restore.zoo.card import DataSource, Result, WeightsCard
from restore.zoo.resolver import resolve
from restore.zoo.weights import Loaded, label_of, read_network, save_weights

_VALIDATED, _SCORED = 500_000, 3_000_000  # pixels of the pictures that are scored while it learns, and at the end
_WEAK = 2.0  # held-out error over the noise's variance: beyond, scenes are harder to guess than the noise is strong
_VERSION = 5  # of all this: another one learns again

log = logging.getLogger(__name__)


class SelfSupervisedEngine:
    """Learns from noisy pictures, or reuses what it learned from them before, then denoises.

    Args:
        options: where to learn from; nothing: from each picture itself.
    """

    def __init__(self, options: SelfSupervisedOptions | None = None) -> None:
        self._options = options or SelfSupervisedOptions()
        adapt = self._options.adapt
        self._paths = () if isinstance(adapt, bool) else _paths(adapt)
        self._runs_in: tuple[torch.dtype, torch.device] = torch.float32, torch.device("cpu")
        self._collected: tuple[list[Tensor], str] | None = None
        self._fitted: dict[str, Fitted] = {}
        self.spec = ModelSpec("denoise", dtypes=("float32", "float16"))

    @property
    def fingerprint(self) -> str:
        """Of the options and of all pictures that are learned from."""
        settings = {name: value for name, value in asdict(self._options).items() if name != "adapt"}
        own = self._crops()[1] if self._paths else "each its own"
        return f"self-supervised:{json.dumps(settings, sort_keys=True)}:{own}"

    def cast(self, dtype: torch.dtype, device: torch.device) -> SelfSupervisedEngine:
        cast = copy.copy(self)
        cast._runs_in = dtype, device
        return cast

    def prepare(self, sources: Mapping[str, PictureSource], options: EngineOptions) -> Condition:
        """Learn, or load what was learned; then measure the picture as that denoiser does.

        Raises `ConfigError` where there is no picture to learn from, or none large enough.
        """
        if self._paths:
            pictures, digest = self._crops()
        else:
            pictures = crops_of(sources["picture"], 4)
            digest = _digest(pictures)
        key = f"{digest}:{options.seed or 0}"
        fitted = self._fitted.get(key)
        if fitted is None:
            fitted = load_or_learn(pictures, digest, self._options, self._paths, options)
            self._fitted = {key: fitted}  # the last one: pictures that learn each on its own come one by one
        inner = fitted.engine.prepare(sources, options)
        kept = replace(inner.kept, remove=self._options.hot_pixels == "remove")
        return replace(
            inner, data=(fitted.engine, inner), kept=kept, decisions=inner.decisions | fitted.decisions,
            spec=inner.spec or fitted.engine.spec, cost=fitted.engine.fingerprint,
        )  # fmt: skip

    def __call__(self, x: Tensor, condition: Condition, places: Sequence[Place]) -> Outputs:
        engine, inner = condition.data
        return engine.cast(*self._runs_in)(x, inner, places)

    def _crops(self) -> tuple[list[Tensor], str]:
        if self._collected is None:
            pictures = collect_crops(self._paths)
            self._collected = pictures, _digest(pictures)
        return self._collected


class Fitted(NamedTuple):
    """A denoiser, and decisions on how it was chosen."""

    engine: Engine
    decisions: dict[str, str]


def load_or_learn(
    pictures: list[Tensor], digest: str, own: SelfSupervisedOptions, paths: Sequence[Path], options: EngineOptions
) -> Fitted:
    """What was learned from pictures C x H x W before, or is learned now, on the device and with the seed of
    `options`.

    Args:
        digest: of the pictures.
        paths: where they came from, for the card.
    """
    noise = estimate_noise(pictures)
    name = own.learner
    if name == "auto":
        name = "cbsn" if noise.correlated else "neighbor2neighbor"
    learner, settings, seed = LEARNERS[name], FitSettings(budget=own.budget), options.seed or 0
    load(learner.begin, "denoise", otherwise=WITHOUT_WEIGHTS)  # a clear error where it is missing
    begin = resolve(learner.begin)
    facts = [_VERSION, asdict(settings), name, learner.crop, learner.batch, seed, read_network(begin).sha256, digest]
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    place = home() / "fits" / f"{key}.safetensors"
    reused = place.is_file()
    if not reused:
        check_writable(place)
        _learn(pictures, noise, name, settings, place, paths, options)
    return choose(read_network(place), own.sigma, reused=reused, limited=own.budget is not None)


def _learn(
    pictures: list[Tensor],
    noise: NoiseModel,
    name: str,
    settings: FitSettings,
    place: Path,
    paths: Sequence[Path],
    options: EngineOptions,
) -> None:
    """Learn, compare with zero-shot, and save the network and the comparison at `place`."""
    learner, seed, device = LEARNERS[name], options.seed or 0, options.device
    begin = resolve(learner.begin)
    label = label_of(begin)
    arguments = {**label.arguments, **learner.arguments}
    start = read_network(begin, label.model, arguments)
    crop = crop_side(pictures, learner.crop, learner.multiple)
    side = block_side(noise.correlation_length if noise.correlated else 0.0)
    held_out = [hold_out(x, side, generator_for(seed, i)) for i, x in enumerate(pictures)]
    covered = [each.pixels for each in held_out]
    validated, scored = _subset(held_out, _VALIDATED), _subset(held_out, _SCORED)
    stats = NoiseStats(effective_curve(noise, pictures), noise.correlation_length)
    objective = learner.objective(start.net, stats).to(device).train()
    log.info("learning from %d pictures by %s, %s", len(pictures), name, _kind(noise))

    def loss(step: int) -> Tensor:
        batch = crops(covered, crop, learner.batch, step, seed)
        batch = replace(batch, pictures={role: x.to(device) for role, x in batch.pictures.items()})
        return objective(batch, objective.phases[0].name, step + 1)["loss"]

    def validate(net: nn.Module) -> float:
        return float(_errors(net, start, validated, device).mean())

    if validate(start.net) > _WEAK * noise.sigma**2:
        settings = replace(settings, patience=0)  # whatever it learned would not be used
    parameters = objective.phases[0].parameters
    done = fit(objective.averaged, parameters, loss, validate, settings, log.info, options.progress)
    theirs = errors(ZeroShotEngine(), scored)
    ours = _errors(done.network, start, scored, device)
    log.info("held-out error %.3g, of zero-shot %.3g", ours.mean(), theirs.mean())
    limit = f" --learner {name}" + (f" --budget {settings.budget:g}s" if settings.budget else "")
    sources = ", ".join(path.name for path in paths) or "the picture itself"
    card = WeightsCard(
        name=place.stem, task="denoise", summary=f"Learned from noisy pictures alone by {name}, {_kind(noise)}.",
        data=(DataSource(name=sources, licence="the user's own"),),
        steps=done.steps, seconds=round(done.seconds, 1), date=datetime.datetime.now(datetime.UTC).date(),
        licence="the user's own", command=f"--adapt {paths[0].name if paths else ''}{limit}".replace("  ", " "),
        results=(
            Result(
                set="held-out pixels", metric="mean_square", value=float(ours.mean()),
                peers={"zero-shot": float(theirs.mean())},
            ),
            Result(set="held-out pixels", metric="clearly_better", value=float(clearly_better(ours, theirs))),
            Result(set="held-out pixels", metric="noise_variance", value=noise.sigma**2),
        ),
    )  # fmt: skip
    save_weights(place, _without_level(done.network).cpu(), label.model, arguments, card)


def choose(fitted: Loaded, sigma: float | None = None, *, reused: bool, limited: bool) -> Fitted:
    """What was learned, or zero-shot where that did no worse.

    Args:
        sigma: the user's noise level, 8-bit units.
        reused: it was learned by an earlier run.
        limited: by time.
    """
    assert fitted.card is not None
    scores, better, variance = fitted.card.results
    outcome = f"held-out error {scores.value:.3g}, zero-shot {scores.peers['zero-shot']:.3g}"
    outcome += ", learned before" if reused else ""
    facts = {"fit": outcome + (", within a budget of time: not exactly repeatable" if limited else "")}
    weak = scores.value > _WEAK * variance.value
    if weak or not better.value:
        why = "the noise is too weak to judge by held-out pixels" if weak else "learning did not clearly beat it"
        return Fitted(ZeroShotEngine(ZeroShotOptions(sigma=sigma)), facts | {"method": f"zero-shot fast: {why}"})
    name, summary = fitted.card.name, fitted.card.summary.rstrip(".")
    network = DenoisingNetwork(fitted.net, fitted.spec, name, fitted.sha256, sigma)
    method = f"self-supervised, {fitted.card.steps} steps: {summary[0].lower()}{summary[1:]}"
    return Fitted(wrapped_for_inference(network), facts | {"method": method})


def _errors(net: nn.Module, start: Loaded, held_out: Sequence[HeldOut], device: torch.device) -> Tensor:
    still = copy.deepcopy(_without_level(net)).requires_grad_(False).cpu()  # an engine puts its network into eval mode
    return errors(wrapped_for_inference(DenoisingNetwork(still, start.spec, "learning", "")), held_out, device)


def _without_level(net: nn.Module) -> nn.Module:
    return net.network if isinstance(net, WithNoiseLevel) else net


def _subset(held_out: Sequence[HeldOut], most: int) -> list[HeldOut]:
    """Evenly spread ones, with about as many pixels as `most`; one at least."""
    pixels = sum(each.pixels.shape[-2] * each.pixels.shape[-1] for each in held_out)
    return list(held_out[:: max(1, -(-pixels // most))])


def _kind(noise: NoiseModel) -> str:
    return f"noise {'correlated' if noise.correlated else 'white'}, level {255 * noise.sigma:.1f}"


def _paths(adapt: str | Path | Sequence[str | Path]) -> tuple[Path, ...]:
    return (Path(adapt),) if isinstance(adapt, str | Path) else tuple(map(Path, adapt))


def _digest(pictures: Sequence[Tensor]) -> str:
    digest = hashlib.sha256()
    for x in pictures:
        digest.update(f"{list(x.shape)}".encode())
        digest.update(x.contiguous().numpy().data)
    return digest.hexdigest()[:16]
