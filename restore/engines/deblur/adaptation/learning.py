"""A deblurrer that goes on learning from the pictures at hand, without a truth, and is kept only where that helped.

    frames -> baseline answers -> sharp tiles, and the blur (domain) -> pairs -> a short training -> is it better?

Source: He et al., "Domain-adaptive Video Deblurring via Test-time Blurring", ECCV 2024
(https://arxiv.org/abs/2407.09059). Differences: the blur is rendered, not drawn by a diffusion model, and measured
without trained estimators; the published code kept the epoch that was best against the test set's truth, here tiles
that are not learned from, blurred anew by another mixture, decide: how far to go from the first weights to the learned
ones, and whether at all.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from restore.data.batches import Batch
from restore.degradations.degradation import Sample
from restore.engines.deblur.adaptation.domain import Domain, measure_domain
from restore.engines.deblur.adaptation.judging import (
    LEAST_GAIN,
    SEEN,
    SHARP_LOSS,
    Answer,
    HeldOut,
    compare_on_input,
    least_likely_gain,
    tile_psnrs,
)
from restore.engines.deblur.adaptation.mining import FEWEST, Tile, sharpest_tiles
from restore.engines.deblur.adaptation.reblur import HELD_OUT, LEARNED, MARGIN, Mixture, Reblur
from restore.engines.deblur.adaptation.seen import Frame, windows
from restore.engines.fitting import Fit, FitSettings, fit
from restore.losses import per_sample
from restore.models.heads import split_heads
from restore.models.spec import ModelSpec
from restore.objectives.multi_output import MultiOutputLearning
from restore.physics.random import generator_for

_BATCH = 4
_HELD_SHARE, _HELD_MOST, _HELD_COPIES = 0.22, 24, 2  # of the tiles; tiles; blurs of each
_GAP = 5  # frames between what is learned from and what is held out
_WAYS = (0.25, 0.5, 0.75, 1.0)  # from the first weights to the learned ones
_TRIED = 1 << 16  # px, of a band that is deblurred at once

log = logging.getLogger(__name__)

SETTINGS = FitSettings(steps=160, validate_every=20, patience=4, learning_rate=5e-4, average=0.95, clip=0.1)


@dataclass(frozen=True)
class Safeguards:
    """What keeps a bad fit from being used; all on but for experiments that show what each is for."""

    acceptance: bool = True
    interpolation: bool = True
    on_input: bool = True


class Adapted(NamedTuple):
    """What came out.

    Attributes:
        network: with the learned weights; None: the first ones are kept.
        report: why, as JSON takes it.
        interrupted: whether the fit was stopped early by the user.
        tried: the best of what was learned, kept or not; None: nothing could be.
    """

    network: nn.Module | None
    report: dict[str, Any]
    interrupted: bool = False
    tried: nn.Module | None = None


def adapt(
    network: nn.Module,
    spec: ModelSpec,
    frames: Sequence[Frame],
    *,
    quality: float = 0.0,
    seed: int = 0,
    settings: FitSettings = SETTINGS,
    device: torch.device | None = None,
    mixture: Mixture = LEARNED,
    safeguards: Safeguards = Safeguards(),
    progress: Callable[[float], None] | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Adapted:
    """Let a deblurring network go on learning from frames; it is left as it was.

    Args:
        network: B x (T C) x H x W -> B x (heads C) x H x W, of `spec`.
        quality: of the JPEG files that the frames came from; 0: none.
        settings: of the fit.
        mixture: of the blurs that it learns from.
        stopped: is asked before every step whether that is enough.
    """
    device = device or torch.device("cpu")
    learner = _Learner(copy.deepcopy(network).to(device), spec, frames, device)
    before = learner.answers(learner.network)
    tiles = sharpest_tiles(frames, before)
    facts: dict[str, Any] = {"frames": len(frames), "sharp_tiles": len(tiles), "seed": seed}
    if not tiles:
        return _kept("no part of the input is sharp enough to learn from", facts)
    domain = measure_domain(frames, before, quality)
    facts |= _of_domain(domain)
    learned, held = _divided(frames, tiles)
    facts |= {"learned_tiles": len(learned), "held_out_tiles": len(held)}
    if len(learned) < FEWEST // 2 or len(held) < 2:
        return _kept("too few parts of the input are sharp", facts)
    held_out = learner.held_out(held, domain, seed)
    done = learner.fit(learned, domain, mixture, held_out, seed, settings, progress, stopped)
    facts |= {"steps": done.steps, "total_steps": done.total_steps, "seconds": round(done.seconds, 1)}
    return _judged(learner, done, held_out, before, domain, facts, seed, safeguards)


def _judged(
    learner: _Learner,
    done: Fit,
    held_out: HeldOut,
    before: Sequence[Tensor],
    domain: Domain,
    facts: dict[str, Any],
    seed: int,
    safeguards: Safeguards,
) -> Adapted:
    """What is kept of a fit."""
    first, z = (tile_psnrs(learner.answer(learner.first), samples) for samples in held_out)
    facts |= {"held_out": round(float(first.mean()), 3), "sharp": round(float(z.mean()), 3)}
    best, way, gains = None, 0.0, torch.zeros_like(first)
    for share in _WAYS if safeguards.interpolation else (1.0,):
        network = _between(learner.first, done.network, share)
        v, sharp = (tile_psnrs(learner.answer(network), samples) for samples in held_out)
        harmless = float((sharp.clamp(max=SEEN) - z.clamp(max=SEEN)).mean()) >= -SHARP_LOSS
        better = best is None or float((v - first).mean()) > float(gains.mean())
        if better and (harmless or not safeguards.acceptance):
            best, way, gains = network, share, v - first
            facts |= {"held_out_after": round(float(v.mean()), 3), "sharp_after": round(float(sharp.mean()), 3)}
    gain, least = float(gains.mean()), least_likely_gain(gains, seed)
    facts |= {"way": way, "gain": round(gain, 3), "least_likely_gain": round(least, 3)}
    if best is None:
        return _kept("it spoils what is sharp", facts, done)
    if safeguards.acceptance and (gain < LEAST_GAIN or least <= 0):
        return _kept(f"held-out parts gain {gain:+.2f} dB (at least {least:+.2f})", facts, done, best)
    after = learner.answers(best)
    if not all(bool(torch.isfinite(x).all()) for x in after):
        return _kept("its answers are not finite", facts, done, best)
    seen = compare_on_input(learner.frames, before, after, domain.fitted)
    facts |= {"on_input": {name: round(value, 3) for name, value in asdict(seen).items()}}
    if safeguards.on_input and seen.objection:
        return _kept(seen.objection, facts, done, best)
    facts |= {"decision": "adapted", "why": f"held-out parts gain {gain:+.2f} dB"}
    return Adapted(best.cpu(), facts, done.interrupted, best)


def _kept(why: str, facts: dict[str, Any], done: Fit | None = None, tried: nn.Module | None = None) -> Adapted:
    return Adapted(None, facts | {"decision": "keep", "why": why}, done is not None and done.interrupted, tried)


def _of_domain(domain: Domain) -> dict[str, Any]:
    return {
        "fitted_tiles": len(domain.fitted),
        "lengths": [round(blur.length, 1) for blur in domain.blurs],
        "angles": [round(blur.angle * 57.29578) for blur in domain.blurs],
        "shutter": None if domain.shutter is None else round(domain.shutter, 2),
        "noise": round(255 * domain.noise, 2),
    }


def _divided(frames: Sequence[Frame], tiles: Sequence[Tile]) -> tuple[list[Tile], list[Tile]]:
    """(tiles to learn from, tiles that are held out): the last in time and place, with a gap between them."""
    ordered = sorted(tiles, key=lambda tile: (tile.frame, tile.top, tile.left))
    count = max(2, min(_HELD_MOST, round(_HELD_SHARE * len(ordered))))
    held = ordered[-count:]
    clip = max(frame.number for frame in frames) >= 4 * _GAP
    gap = _GAP if clip else 1

    def apart(one: Tile, other: Tile) -> bool:
        a, b = frames[one.frame], frames[other.frame]
        if a.sequence != b.sequence or abs(a.number - b.number) >= gap:
            return True
        if a.number != b.number or clip:
            return False
        return abs(one.top - other.top) >= one.side or abs(one.left - other.left) >= one.side

    return [tile for tile in ordered[:-count] if all(apart(tile, other) for other in held)], held


class _Learner:
    """A network, its first weights, and the frames that it sees."""

    def __init__(self, network: nn.Module, spec: ModelSpec, frames: Sequence[Frame], device: torch.device) -> None:
        self.network, self.spec, self.frames, self.device = network.eval(), spec, frames, device
        self.first = copy.deepcopy(network).eval().requires_grad_(False)
        self._windows = windows(frames, spec.window)

    def answer(self, network: nn.Module) -> Answer:
        """The mean of a network's heads."""

        @torch.no_grad()
        def of(x: Tensor) -> Tensor:
            colours = self.spec.channels or x.shape[-3]
            if x.shape[-3] != colours:  # grey is given as three colours
                x = x.expand(*x.shape[:-3], colours, *x.shape[-2:])
                return of(x).mean(-3, keepdim=True)
            flat = x.flatten(1, 2) if x.ndim == 5 else x
            height, width = flat.shape[-2:]
            step = self.spec.multiple_of
            padded = nn.functional.pad(flat, (0, -width % step, 0, -height % step), mode="replicate")
            y = network(padded.to(self.device, memory_format=torch.channels_last)).float()
            return split_heads(y, self.spec.heads).mean(1)[..., :height, :width].cpu()

        return of

    def answers(self, network: nn.Module) -> list[Tensor]:
        """To every frame, C x H x W."""
        answer = self.answer(network.eval())
        return [answer(self._shown(window)[None])[0] for window in self._windows]

    def _shown(self, window: Tensor) -> Tensor:
        return window if self.spec.window > 1 else window[0]

    def crops(self, tiles: Sequence[Tile]) -> list[Tensor]:
        """Tiles with a margin, (T x) C x P x P; and those around which there is room at half size, too, which are
        sharper and hold less noise."""
        found = []
        for tile in tiles:
            found.append(self._crop(tile.frame, tile.top, tile.left, tile.side, 1))
            height, width = self.frames[tile.frame].pixels.shape[-2:]
            if min(height, width) >= 2 * tile.side:
                top = min(max(tile.top - tile.side // 2, 0), height - 2 * tile.side)
                left = min(max(tile.left - tile.side // 2, 0), width - 2 * tile.side)
                found.append(self._crop(tile.frame, top, left, 2 * tile.side, 2))
        return found

    def _crop(self, frame: int, top: int, left: int, side: int, factor: int) -> Tensor:
        window, margin = self._windows[frame], MARGIN * factor
        height, width = window.shape[-2:]
        rows, columns = (
            _mirrored(torch.arange(first - margin, first + side + margin), whole)
            for first, whole in ((top, height), (left, width))
        )
        part = window[..., rows[:, None], columns]
        if factor > 1:
            part = nn.functional.avg_pool2d(part, factor)
        colours = self.spec.channels or part.shape[1]
        return self._shown(part.expand(-1, colours, -1, -1).contiguous())

    def held_out(self, tiles: Sequence[Tile], domain: Domain, seed: int) -> HeldOut:
        """Blurred anew, several times each, and as they are."""
        crops = self.crops(tiles)
        kind = Reblur(domain, HELD_OUT, self.spec.window)
        blurred, sharp = [], []
        for i, crop in enumerate(crops):
            blurred += [kind.draw({"clean": crop[None]}, seed + 1, again, i) for again in range(_HELD_COPIES)]
            inner = (..., slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
            middle = crop if crop.ndim == 3 else crop[len(crop) // 2]
            sharp.append(Sample({"picture": crop[inner][None]}, {"result": middle[inner][None]}))
        return HeldOut(tuple(blurred), tuple(sharp))

    def fit(
        self,
        tiles: Sequence[Tile],
        domain: Domain,
        mixture: Mixture,
        held_out: HeldOut,
        seed: int,
        settings: FitSettings,
        progress: Callable[[float], None] | None,
        stopped: Callable[[], bool],
    ) -> Fit:
        """The short training."""
        crops = self.crops(tiles)
        losses = {"psnr": (0.01, per_sample.psnr)}  # what is hardly blurred counts as much as what is
        network = self.network.train()
        objective = MultiOutputLearning(network, losses, Reblur(domain, mixture, self.spec.window), choice="relaxed")
        objective.to(self.device)

        def loss(step: int) -> Tensor:
            batch = _batch(crops, self.spec.window == 1, seed, step)
            return objective(batch.to_device(self.device), "restore", step)["loss"]

        first = float(tile_psnrs(self.answer(self.first), held_out.sharp).clamp(max=SEEN).mean())

        def validate(candidate: nn.Module) -> float:
            v, sharp = (tile_psnrs(self.answer(candidate.eval()), samples) for samples in held_out)
            spoilt = first - SHARP_LOSS - float(sharp.clamp(max=SEEN).mean())
            return max(0.0, spoilt) - float(v.mean())

        log.info("adapting on %d tiles, %d held out", len(tiles), len(held_out.sharp))
        return fit(network, network.parameters(), loss, validate, settings, _in_decibels, progress, stopped)


class _Crops(Batch):
    """A batch whose pictures are values in [0, 1] already."""

    def to_device(self, device: torch.device) -> _Crops:
        return replace(self, pictures={role: x.to(device) for role, x in self.pictures.items()})


def _batch(crops: Sequence[Tensor], turned: bool, seed: int, step: int) -> _Crops:
    """Crops of one size, turned and mirrored where their neighbours in time are not shown beside them."""
    generator = generator_for(seed, step)

    def chance(count: int) -> int:
        return int(torch.randint(count, (1,), generator=generator))

    side = crops[chance(len(crops))].shape[-1]
    alike = [crop for crop in crops if crop.shape[-1] == side]
    chosen = []
    for _ in range(_BATCH):
        x = alike[chance(len(alike))]
        turns, mirrored = chance(4), chance(2)
        x = x.rot90(turns, (-2, -1)) if turned else x
        chosen.append(x.flip(-1) if turned and mirrored else x)
    return _Crops({"clean": torch.stack(chosen)}, seed=seed, step=step, first_index=0)


@torch.no_grad()
def _between(first: nn.Module, last: nn.Module, share: float) -> nn.Module:
    """A network with weights between two others'."""
    network = copy.deepcopy(first)
    for own, learned in zip(network.parameters(), last.parameters(), strict=True):
        own.lerp_(learned, share)
    return network.eval()


def _mirrored(places: Tensor, whole: int) -> Tensor:
    """Indices folded at the border."""
    last = max(whole - 1, 1)
    return last - (last - places.abs() % (2 * last)).abs()


def _in_decibels(line: str) -> None:
    log.info("%s", line)
