"""Deblurring by a network that first adapts to the pictures at hand; what was learned is kept in the user's folder.

It is named by the pictures, the settings and the weights that it began with, and used again where they are the same.
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
from typing import Any, NamedTuple

import torch

from restore.engines.deblur.adaptation.learning import SETTINGS, Adapted, adapt
from restore.engines.deblur.adaptation.seen import Frame, collect_frames, frames_of, jpeg_quality
from restore.engines.deblur.engine import NETWORK, DeblurEngine
from restore.engines.deblur.network import SHIPPED, checked_network
from restore.engines.deblur.options import AdaptOptions, NetworkOptions
from restore.inference.engine import Condition, EngineOptions, Outputs, Place
from restore.interrupts import stop_requested
from restore.io.atomic import AtomicFile, check_writable
from restore.io.home import home
from restore.picture import PictureSource
from restore.zoo.card import DataSource, Result, WeightsCard
from restore.zoo.resolver import resolve
from restore.zoo.weights import label_of, save_weights

_VERSION = 2  # of all this: another one learns again
log = logging.getLogger(__name__)


class Learned(NamedTuple):
    """What is known after a fit, of now or before.

    Attributes:
        weights: a file of what was learned; None: the weights it began with are better.
        report: why.
        reused: whether it is from before.
    """

    weights: Path | None
    report: dict[str, Any]
    reused: bool

    @property
    def summary(self) -> str:
        """One sentence for the user."""
        report = self.report
        text = f"adapted, {report['why']}" if self.weights else f"kept the first weights: {report['why']}"
        if report.get("interrupted"):
            return f"{text} (stopped early: not exactly repeatable)"
        if report.get("budget") is not None:
            return f"{text} (within a budget of time: not exactly repeatable)"
        return f"{text}, learned before" if self.reused else text


class AdaptingDeblurEngine:
    """Adapts a deblurring network, or uses what it learned from the same pictures before, then deblurs by it.

    Args:
        options: what to adapt to; nothing: each picture by itself.
    """

    def __init__(self, options: AdaptOptions | None = None) -> None:
        self._options = options or AdaptOptions()
        given = self._options.adapt
        self._paths = () if isinstance(given, bool) else _paths(given)
        self._runs_in: tuple[torch.dtype, torch.device] = torch.float32, torch.device("cpu")
        self._frames: list[Frame] | None = None
        self._adapted: dict[str, tuple[DeblurEngine, Learned]] = {}
        self._plain = self._engine(self._options.weights)
        self.spec = self._plain.spec

    @property
    def fingerprint(self) -> str:
        """Of the weights, the options, and all frames that are learned from."""
        own = _digest(self._seen()) if self._paths else "each its own"
        return f"adapting:{_VERSION}:{self._plain.fingerprint}:budget={self._options.budget}:{own}"

    def cast(self, dtype: torch.dtype, device: torch.device) -> AdaptingDeblurEngine:
        cast = copy.copy(self)
        cast._runs_in = dtype, device
        return cast

    def prepare(self, sources: Mapping[str, PictureSource], options: EngineOptions) -> Condition:
        """Adapt, or load what was learned; then measure the picture as any network of deblurring does."""
        frames = self._seen() if self._paths else frames_of(sources["picture"])
        key = f"{_digest(frames)}:{options.seed or 0}"
        if key not in self._adapted:
            learned = load_or_learn(frames, self._options, self._paths, options)
            engine = self._engine(learned.weights) if learned.weights else self._plain
            self._adapted = {key: (engine, learned)}  # the last one: pictures that adapt each by itself come in turn
        engine, learned = self._adapted[key]
        inner = engine.prepare(sources, options)
        decisions = inner.decisions | {"adaptation": learned.summary}
        return replace(inner, data=(engine, inner), decisions=decisions)

    def __call__(self, x: torch.Tensor, condition: Condition, places: Sequence[Place]) -> Outputs:
        engine, inner = condition.data
        return engine.cast(*self._runs_in)(x, inner, places)

    def _seen(self) -> list[Frame]:
        if self._frames is None:
            self._frames = collect_frames(self._paths)
        return self._frames

    def _engine(self, weights: str | Path | None) -> DeblurEngine:
        own = self._options
        options = NetworkOptions(own.force, own.head, own.all_heads, own.uncertainty, weights, own.model)
        return DeblurEngine(options, NETWORK)


def load_or_learn(frames: Sequence[Frame], own: AdaptOptions, paths: Sequence[Path], options: EngineOptions) -> Learned:
    """What was learned from these frames before, or is learned now, on the device and with the seed of `options`."""
    begin = resolve(own.weights or SHIPPED)
    network, label = checked_network(own.weights, own.model), label_of(begin)
    seed, settings = options.seed or 0, replace(SETTINGS, budget=own.budget)
    quality = jpeg_quality(paths)
    facts = [_VERSION, asdict(settings), network.sha256, seed, quality, options.device.type, _digest(frames)]
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    place = home() / "fits" / f"deblur-{key}.safetensors"
    report = _read(place.with_suffix(".json"))
    if report is not None and (report["decision"] == "keep" or place.is_file()):
        return Learned(place if report["decision"] == "adapted" else None, report, reused=True)
    check_writable(place)
    with stop_requested() as stop:
        done = adapt(
            network.net, network.spec, frames, quality=quality, seed=seed, settings=settings, device=options.device,
            progress=options.progress, stopped=stop.is_set,
        )  # fmt: skip
    report = done.report | {"interrupted": done.interrupted, "budget": own.budget, "began_with": network.name}
    if done.network is not None:
        save_weights(place, done.network, label.model, label.arguments, _card(place, done, paths, own.budget))
    if not done.interrupted:
        _write(place.with_suffix(".json"), report)
    log.info("adaptation: %s", report["why"])
    return Learned(place if done.network is not None else None, report, reused=False)


def save_learned(learned: Learned, own: AdaptOptions, out: Path) -> None:
    """Write the weights that are best for the pictures, learned or the first ones, and beside them why (JSON)."""
    begin = resolve(own.weights or SHIPPED)
    source = learned.weights or begin
    loaded, label = checked_network(source, own.model), label_of(begin)
    card = loaded.card
    if card is not None:
        kept = None if learned.weights else f"{card.summary.rstrip('.')}. Kept as they were: {learned.report['why']}."
        card = card.model_copy(update={"name": out.stem} | ({"summary": kept} if kept else {}))
        save_weights(out, loaded.net, label.model, label.arguments, card)
    _write(out.with_suffix(".json"), learned.report)


def _card(place: Path, done: Adapted, paths: Sequence[Path], budget: float | None) -> WeightsCard:
    report = done.report
    sources = ", ".join(path.name for path in paths) or "the picture itself"
    limit = f" --budget {budget:g}s" if budget else ""
    return WeightsCard(
        name=place.stem, task="deblur", summary=f"Adapted to {sources} without a truth.",
        data=(DataSource(name=sources, licence="the user's own"),),
        steps=report["steps"], seconds=report["seconds"], date=datetime.datetime.now(datetime.UTC).date(),
        licence="the user's own", command=f"--adapt {paths[0].name if paths else ''}{limit}".replace("  ", " "),
        results=(
            Result(
                set="held-out parts, blurred anew", metric="psnr_rgb", value=report["held_out_after"],
                peers={"before": report["held_out"]},
            ),
            Result(
                set="held-out parts as they are", metric="psnr_rgb", value=report["sharp_after"],
                peers={"before": report["sharp"]},
            ),
        ),
    )  # fmt: skip


def _read(path: Path) -> dict[str, Any] | None:
    try:
        report = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return report if isinstance(report, dict) and report.get("decision") in ("adapted", "keep") else None


def _write(path: Path, report: Mapping[str, Any]) -> None:
    file = AtomicFile(path)
    try:
        file.file.write(json.dumps(report, indent=2).encode())
        file.commit(lambda partial: None)
    finally:
        file.abort()


def _paths(given: str | Path | Sequence[str | Path]) -> tuple[Path, ...]:
    return (Path(given),) if isinstance(given, str | Path) else tuple(map(Path, given))


def _digest(frames: Sequence[Frame]) -> str:
    digest = hashlib.sha256()
    for frame in frames:
        digest.update(f"{frame.sequence} {frame.number} {list(frame.pixels.shape)}".encode())
        digest.update(frame.pixels.contiguous().numpy().data)
    return digest.hexdigest()[:16]
