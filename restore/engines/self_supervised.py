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
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from restore.analysis.effective import effective_curve
from restore.analysis.noise import NoiseModel, estimate_noise
from restore.analysis.sample import sample_crops
from restore.analysis.value_range import find_scale
from restore.engines.denoise import as_meant
from restore.engines.fitting import LEARNERS, FitSettings, Known, LevelTold, crop_side, crops, learn
from restore.engines.hidden_pixels import Hidden, block_side, clearly_better, errors, hide
from restore.engines.network import NetworkEngine
from restore.engines.zero_shot import ZeroShotEngine
from restore.errors import ConfigError, RestoreError
from restore.inference.alpha import ColourView
from restore.inference.engine import Condition, Engine, EngineOptions
from restore.io.codecs import ReadOptions, open_frames
from restore.io.paths import find_pictures
from restore.physics.random import generator_for
from restore.picture import PictureSource
from restore.zoo.card import DataSource, Result, WeightsCard
from restore.zoo.home import home
from restore.zoo.resolver import resolve
from restore.zoo.weights import Loaded, label_of, load_weights, save_weights

_PICTURES, _SIDE, _GRID = 64, 512, 4  # at most: pictures looked at, px of a crop's side, crops along a side of one
_PIXELS = 16 << 20  # learned from at most, all channels
_LOOKED, _SCORED = 500_000, 3_000_000  # pixels of the pictures that are scored while it learns, and at the end
_WEAK = 2.0  # held-out error over the noise's variance: beyond, scenes are harder to guess than the noise is strong
_VERSION = 4  # of all this: another one learns again

log = logging.getLogger(__name__)


def by_fit(fit: str | Path | Sequence[str | Path], budget: float | None = None, learner: str = "auto") -> FittedEngine:
    """The engine that has learned from noisy pictures, or learns now.

    Args:
        fit: pictures, or folders of them, of one kind.
        budget: seconds to learn at most; the result then depends on the machine's speed.
        learner: one of `restore.engines.fitting.LEARNERS`; auto: the one for the noise that is measured.
    Raises:
        ConfigError: there is no picture, or none large enough; an unknown learner.
    """
    if learner not in ("auto", *LEARNERS):
        raise ConfigError(f"unknown learner {learner!r}", fix=f"Use auto, {', '.join(LEARNERS)}")
    paths = [Path(fit)] if isinstance(fit, str | Path) else [Path(each) for each in fit]
    pictures = gathered(paths)
    noise = estimate_noise(pictures)
    if learner == "auto":
        learner = "cbsn" if noise.correlated else "neighbor2neighbor"
    way = LEARNERS[learner]
    begin = resolve(way.begin)
    settings = FitSettings(crop=way.crop, batch=way.batch, budget=budget)
    place = home() / "fits" / f"{_key(pictures, settings, learner, load_weights(begin).sha256)}.safetensors"
    reused = place.is_file()
    if not reused:
        _learn(pictures, noise, learner, settings, place, paths)
    return _chosen(load_weights(place), reused, limited=budget is not None)


def gathered(paths: Sequence[Path]) -> list[Tensor]:
    """Crops C x H x W in unit values that stand for pictures and folders of pictures.

    A file that cannot be read is left out, and told. Raises `ConfigError` if nothing is left.
    """
    files = [file for path in paths for file in (find_pictures(path) if path.is_dir() else [path])]
    step = max(1, len(files) // _PICTURES)
    files = files[::step][:_PICTURES]
    grid = max(1, min(_GRID, round((_PIXELS / _SIDE**2 / max(1, len(files))) ** 0.5)))
    found: list[Tensor] = []
    for file in files:
        if sum(x.numel() for x in found) > _PIXELS:
            break
        try:
            for frame in open_frames(file, ReadOptions(frames="all")):
                try:
                    found += _crops(frame, grid)
                finally:
                    frame.close()
                if sum(x.numel() for x in found) > _PIXELS:
                    break
        except RestoreError as error:
            if len(files) == 1:
                raise
            log.warning("left out: %s", error)
    if not found:
        where = ", ".join(map(str, paths))
        raise ConfigError("there is no picture to learn from", where=where, fix="Give --fit a folder of noisy pictures")
    if len({len(x) for x in found}) > 1:
        raise ConfigError("the pictures to learn from differ in their channels", fix="Give --fit pictures of one kind")
    return found


def _crops(frame: PictureSource, grid: int) -> list[Tensor]:
    view = ColourView(frame)
    return sample_crops(view, find_scale(view), _SIDE, grid)


def _learn(
    pictures: list[Tensor], noise: NoiseModel, learner: str, settings: FitSettings, place: Path, paths: Sequence[Path]
) -> None:
    """Learn, compare with zero-shot, and keep both findings at `place`."""
    way = LEARNERS[learner]
    begin = resolve(way.begin)
    label = label_of(begin)
    arguments = {**label.arguments, **way.arguments}
    start = load_weights(begin, label.model, arguments)
    crop = crop_side(pictures, settings, way.multiple)
    side = block_side(noise.correlation_length if noise.correlated else 0.0)
    hidden = [hide(x, side, generator_for(0, i)) for i, x in enumerate(pictures)]
    shown = [each.pixels for each in hidden]
    looked, scored = _some(hidden, _LOOKED), _some(hidden, _SCORED)
    objective = way.objective(start.net, Known(effective_curve(noise, pictures), noise.correlation_length))
    log.info("learning from %d pictures by %s, %s", len(pictures), learner, _kind(noise))

    def look(net: nn.Module) -> float:
        return float(_errors(net, start, looked).mean())

    if look(start.net) > _WEAK * noise.sigma**2:
        settings = replace(settings, patience=0)  # whatever it learned would not be used
    fit = learn(objective, partial(crops, shown, crop, settings.batch), look, settings, log.info)
    theirs = errors(ZeroShotEngine(), scored)
    ours = _errors(fit.network, start, scored)
    log.info("held-out error %.3g, of zero-shot %.3g", ours.mean(), theirs.mean())
    limit = f" --learner {learner}" + (f" --budget {settings.budget:g}s" if settings.budget else "")
    card = WeightsCard(
        name=place.stem, task="denoise", summary=f"Learned from noisy pictures alone by {learner}, {_kind(noise)}.",
        data=(DataSource(name=", ".join(path.name for path in paths), licence="the user's own"),),
        steps=fit.steps, seconds=round(fit.seconds, 1), date=datetime.datetime.now(datetime.UTC).date(),
        licence="the user's own", command=f"--fit {paths[0].name}{limit}",
        results=(
            Result(
                set="held-out pixels", metric="mean_square", value=float(ours.mean()),
                peers={"zero-shot": float(theirs.mean())},
            ),
            Result(set="held-out pixels", metric="clearly_better", value=float(clearly_better(ours, theirs))),
            Result(set="held-out pixels", metric="noise_variance", value=noise.sigma**2),
        ),
    )  # fmt: skip
    place.parent.mkdir(parents=True, exist_ok=True)
    save_weights(place, _bare(fit.network), label.model, arguments, card)


def _chosen(learned: Loaded, reused: bool, limited: bool) -> FittedEngine:
    """What was learned, or zero-shot where that did no worse."""
    assert learned.card is not None
    scores, better, variance = learned.card.results
    told = f"held-out error {scores.value:.3g}, zero-shot {scores.peers['zero-shot']:.3g}"
    told += ", learned before" if reused else ""
    facts = {"fit": told + (", within a budget of time: not exactly repeatable" if limited else "")}
    weak = scores.value > _WEAK * variance.value
    if weak or not better.value:
        why = "the noise is too weak to judge by hidden pixels" if weak else "learning did not clearly beat it"
        return FittedEngine(ZeroShotEngine(), facts | {"method": f"zero-shot fast: {why}"})
    name = learned.card.name
    summary = learned.card.summary.rstrip(".")
    steps = f"{learned.card.steps} steps"
    engine = as_meant(NetworkEngine(learned.net, learned.spec, name, learned.sha256))
    return FittedEngine(engine, facts | {"method": f"self-supervised, {steps}: {summary[0].lower()}{summary[1:]}"})


class FittedEngine:
    """An engine, with what to tell of how it was found."""

    def __init__(self, engine: Engine, facts: dict[str, str]) -> None:
        self.engine, self._facts = engine, facts
        self.spec, self.fingerprint = engine.spec, f"self-supervised: {engine.fingerprint}"

    def cast(self, dtype: torch.dtype, device: torch.device) -> FittedEngine:
        return FittedEngine(self.engine.cast(dtype, device), self._facts)

    def prepare(self, sources: Sequence[PictureSource], options: EngineOptions) -> Condition:
        condition = self.engine.prepare(sources, options)
        return replace(condition, decisions=condition.decisions | self._facts)

    def __call__(self, x: Tensor, condition: Condition) -> Tensor:
        return self.engine(x, condition)


def _errors(net: nn.Module, start: Loaded, hidden: Sequence[Hidden]) -> Tensor:
    still = copy.deepcopy(_bare(net)).requires_grad_(False)  # an engine puts its network into eval mode
    return errors(as_meant(NetworkEngine(still, start.spec, "learning", "")), hidden)


def _bare(net: nn.Module) -> nn.Module:
    return net.network if isinstance(net, LevelTold) else net


def _some(hidden: Sequence[Hidden], most: int) -> list[Hidden]:
    """Evenly spread ones, with about as many pixels as may be looked at; one at least."""
    pixels = sum(each.pixels.shape[-2] * each.pixels.shape[-1] for each in hidden)
    return list(hidden[:: max(1, -(-pixels // most))])


def _kind(noise: NoiseModel) -> str:
    return f"noise {'correlated' if noise.correlated else 'white'}, level {255 * noise.sigma:.1f}"


def _key(pictures: Sequence[Tensor], settings: FitSettings, learner: str, begin: str) -> str:
    digest = hashlib.sha256(json.dumps([_VERSION, asdict(settings), learner, begin], sort_keys=True).encode())
    for x in pictures:
        digest.update(f"{list(x.shape)}".encode())
        digest.update(x.contiguous().numpy().data)
    return digest.hexdigest()[:16]
