"""Pictures made smaller on purpose, to test super-resolution: what `restore degrade downscale` and `real-world` run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from restore.analysis.value_range import damage_scale
from restore.degradations.real_world import describe
from restore.engines.degrade.engine import digest, lossy
from restore.engines.degrade.options import DownscaleOptions, RealWorldOptions
from restore.errors import UnsupportedError
from restore.inference.engine import Condition, EngineOptions, Outputs, Place
from restore.models.spec import ModelSpec, OutputSize
from restore.physics.random import generator_for, hash_seed
from restore.physics.real_world import RealWorldRecipe, damage, plan_real_world
from restore.picture import PictureInfo, PictureSource


def _accept(target: PictureInfo) -> tuple[dict[str, str], list[str]]:
    return {}, lossy(target)


class DownscaleEngine:
    """Antialiased bicubic resampling (MATLAB's `imresize`), streamed: the runner does it on the way out."""

    def __init__(self, options: DownscaleOptions) -> None:
        self._factor = options.factor
        self.fingerprint = f"degrade:downscale:{self._factor:g}"
        self.spec = ModelSpec("degrade", size=OutputSize(factor=1 / self._factor))

    def cast(self, dtype: torch.dtype, device: torch.device) -> DownscaleEngine:
        return self

    def prepare(self, sources: Mapping[str, PictureSource], options: EngineOptions) -> Condition:
        decisions = {"damage": f"smaller by {self._factor:g}, bicubic, antialiased"}
        return Condition(damage_scale(sources["picture"]), decisions=decisions, accept=_accept)

    def __call__(self, x: torch.Tensor, condition: Condition, places: Sequence[Place]) -> Outputs:
        return {"result": x[:, 0]}


class RealWorldEngine:
    """The high-order pipeline of pictures from the wild, drawn for each picture; on the CPU, in 8 bits."""

    def __init__(self, options: RealWorldOptions) -> None:
        self._factor = int(options.factor)
        self.fingerprint = f"degrade:real-world:{self._factor}"
        self.spec = ModelSpec("degrade", reduction=self._factor, tiling="whole")

    def cast(self, dtype: torch.dtype, device: torch.device) -> RealWorldEngine:
        return self

    def prepare(self, sources: Mapping[str, PictureSource], options: EngineOptions) -> Condition:
        """Raises `UnsupportedError` for a picture that is neither grey nor RGB."""
        source = sources["picture"]
        info, factor = source.info, self._factor
        if info.channels not in (1, 3):
            raise UnsupportedError(
                f"JPEG has grey or RGB, this picture {info.channels} channels", where=info.path, fix="Use downscale"
            )
        seed = hash_seed(options.seed or 0, digest(source))
        plan = plan_real_world(RealWorldRecipe(), generator_for(seed))
        decisions = {**describe(plan), "values": "rounded to 8 bits, as the last JPEG leaves them"}
        height, width = info.height // factor * factor, info.width // factor * factor
        if (height, width) != (info.height, info.width):
            decisions["size"] = f"cut to {width} x {height} px, a multiple of {factor}, first"
        largest = max(each.scale for each in (plan.first, plan.second) if each)
        return Condition(damage_scale(source), (plan, seed), decisions, cost=f"{largest:.2f}", accept=_accept)

    def __call__(self, x: torch.Tensor, condition: Condition, places: Sequence[Place]) -> Outputs:
        """1 x 1 x C x H x W unit values of a whole picture -> 1 x C x H/factor x W/factor, rounded down."""
        plan, seed = condition.data
        height, width = (side // self._factor * self._factor for side in x.shape[-2:])
        picture = x[:, 0, :, :height, :width].float().cpu().clamp(0, 1)
        generator = generator_for(seed, 1)
        return {"result": damage(picture, plan, self._factor, generator).to(x.device)}
