"""Pictures made worse on purpose, for test cases: what `restore degrade` runs.

Every row's noise is a function of (seed, picture, row), so that tiles as wide as the picture leave no trace.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F

from restore.analysis.value_range import damage_scale, iterate_rows
from restore.degradations.noise import describe, recipe_of, without_colour
from restore.engines.degrade.options import DegradeOptions
from restore.errors import UnsupportedError
from restore.inference.engine import Condition, EngineOptions, Outputs, Place
from restore.models.spec import ModelSpec
from restore.physics.noise_mixture import KINDS, NO_JPEG, NoisePlan, add_noise, plan_noise
from restore.physics.random import RowSeeds, generator_for, hash_seed
from restore.picture import PictureInfo, PictureSource

_CONTEXT = 16  # rows around a tile: a block of JPEG, whose chroma the next one sees, or more than a camera reaches


class _Planned(NamedTuple):
    """What becomes of a picture: the plan, and the seed of its noise."""

    plan: NoisePlan
    seed: int


class DegradeEngine:
    """Adds noise to a picture, on the CPU.

    Args:
        options: of the kind.
        kind: "gaussian", …; see `restore.tasks`.
    """

    def __init__(self, options: DegradeOptions, kind: str) -> None:
        self._recipe, self._random = recipe_of(kind, asdict(options)), kind == "random"
        self._clip = True if options.clip else False if options.unclipped else None
        self.fingerprint = f"degrade:{kind}:{sorted(asdict(options).items())}"
        self.spec = ModelSpec("degrade", tiling="rows", multiple_of=_CONTEXT, radius=_CONTEXT)

    def cast(self, dtype: torch.dtype, device: torch.device) -> DegradeEngine:
        return self

    def prepare(self, sources: Mapping[str, PictureSource], options: EngineOptions) -> Condition:
        """Raises `UnsupportedError` for a kind of noise that needs grey or RGB."""
        source = sources["picture"]
        info, scale = source.info, damage_scale(source)
        seed = hash_seed(options.seed or 0, digest(source))
        odd = info.channels not in (1, 3)
        recipe = without_colour(self._recipe) if odd and self._random else self._recipe
        plan = plan_noise(recipe, [generator_for(seed)])
        kind = KINDS[plan.kinds[0]]
        if odd and (kind == "camera" or plan.formats[0] != NO_JPEG):
            raise UnsupportedError(
                f"{'a camera' if kind == 'camera' else 'JPEG'} has grey or RGB, this picture {info.channels} channels",
                where=info.path, fix="Use gaussian, poisson, speckle, salt-pepper, correlated or resize",
            )  # fmt: skip
        both = kind == "camera" and plan.formats[0] != NO_JPEG  # the block beside must be right too
        spec = replace(self.spec, radius=2 * _CONTEXT) if both else None
        return Condition(scale, _Planned(plan, seed), {"damage": describe(plan)}, spec, accept=self._accept)

    def _accept(self, target: PictureInfo) -> tuple[dict[str, str], list[str]]:
        """Decisions and warnings about the file that is written.

        Raises `UnsupportedError` if values beyond black and white are to be kept and it cannot hold them.
        """
        holds = target.dtype == "float32"
        if self._clip is False and not holds:
            raise UnsupportedError(
                f"{target.format.upper()} with {target.bits} bits cannot hold values below black or above white",
                where=target.path,
                fix="Give a float picture, write a .tif with --depth float, or leave out --unclipped",
            )
        clip = not holds if self._clip is None else self._clip
        return {"values": f"clipped and rounded to {target.dtype}" if clip else "not clipped"}, lossy(target)

    def __call__(self, x: torch.Tensor, condition: Condition, places: Sequence[Place]) -> Outputs:
        """1 x 1 x C x H x W unit values of whole rows -> the same, with noise."""
        (place,) = places
        planned: _Planned = condition.data
        height, width = min(x.shape[-2], place.height - place.top), min(x.shape[-1], place.width)
        picture = x[:, 0, :, :height, :width].cpu()
        noisy = add_noise(picture, planned.plan, RowSeeds(planned.seed, place.top, place.height))
        if self._clip:
            noisy = noisy.clamp(0, 1)
        beyond = (0, x.shape[-1] - width, 0, x.shape[-2] - height)  # padding of the tile, cut off again
        return {"result": F.pad(noisy, beyond).to(x.device)}


def lossy(target: PictureInfo) -> list[str]:
    """The warning about a file that damages a picture once more, if it does."""
    if target.format not in ("jpeg", "webp"):
        return []
    return [f"{target.format.upper()} compresses what was made; .png keeps it as it is"]


def digest(source: PictureSource) -> int:
    """64 bits of a hash of the stored pixels."""
    state = hashlib.sha256()
    for rows in iterate_rows(source):
        state.update(rows.tobytes())
    return int.from_bytes(state.digest()[:8], "big")
