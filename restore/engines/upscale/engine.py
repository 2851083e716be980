"""Larger pictures: the network that fits a picture and the size asked for, then resampled to exactly that size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace

import torch

from restore.analysis.value_range import find_scale
from restore.engines.network import NetworkEngine
from restore.engines.upscale.damage import measure_damage
from restore.engines.upscale.networks import FIDELITY, FIDELITY_X2, REAL, network_of, sharpened
from restore.engines.upscale.options import NetworkOptions, SharpnessOptions, UpscaleOptions
from restore.errors import ConfigError
from restore.inference.engine import Condition, EngineOptions, Outputs, Place
from restore.models.spec import ModelSpec
from restore.picture import PictureSource, ValueScale

_PLAIN = "plain"
_AS_LARGE = "plainly resampled: the picture is as large already"


class UpscaleEngine:
    """Enlarges pictures: by 2 or less with a network of factor 2 where the method has one, else with one of 4.

    The method "measured" takes for each picture the fidelity network where it is clean, else the one that learned from
    damaged pictures (`restore.engines.upscale.damage`).

    Args:
        options: of the method.
        method: "measured", "fidelity", "gan", "real" or "network" (weights of the options).

    Raises `WeightsError` for weights that are not there or of another task.
    """

    def __init__(self, options: UpscaleOptions | None = None, method: str = "measured") -> None:
        options = options or UpscaleOptions()
        self._method, self._size = method, options.output_size
        self._networks = _networks(options, method)
        self.spec = ModelSpec("upscale", scale=max(net.spec.scale for net in self._networks.values()), size=self._size)
        weights = "+".join(net.fingerprint for net in self._networks.values())
        self.fingerprint = f"upscale:{method}:{self._size}:{weights}"

    def cast(self, dtype: torch.dtype, device: torch.device) -> UpscaleEngine:
        cast = copy(self)
        cast._networks = {name: net.cast(dtype, device) for name, net in self._networks.items()}
        return cast

    def prepare(self, sources: Mapping[str, PictureSource], options: EngineOptions) -> Condition:
        source = sources["picture"]
        info, scale = source.info, find_scale(source)
        factor = self._size.factor_for(info.height // info.stacked, info.width)
        if factor <= 1:
            spec = ModelSpec("upscale", size=self._size)
            return Condition(scale, _PLAIN, {"method": _AS_LARGE}, spec, cost=_PLAIN)
        chosen, decisions = self._chosen(source, scale)
        if chosen == FIDELITY and factor <= 2 and FIDELITY_X2 in self._networks:
            chosen = FIDELITY_X2
        network = self._networks[chosen]
        if network.spec.scale != factor:
            height, width = self._size.of(info.height // info.stacked, info.width)
            size = f"enlarged by {network.spec.scale}, then resampled to {width} x {height} px"
            decisions = {"size": size, **decisions}
        spec = replace(network.spec, size=self._size)
        return Condition(scale, chosen, {"method": f"network {network.name}", **decisions}, spec, cost=chosen)

    def _chosen(self, source: PictureSource, scale: ValueScale) -> tuple[str, dict[str, str]]:
        """(name of the network for a picture, decisions)."""
        if self._method != "measured":
            return next(iter(self._networks)), {}
        damage = measure_damage(source, scale)
        return REAL if damage.serious else FIDELITY, {"picture": damage.summary}

    def __call__(self, x: torch.Tensor, condition: Condition, places: Sequence[Place]) -> Outputs:
        """B x 1 x C x H x W unit values -> {"result": B x C x sH x sW} for the factor s of the network chosen."""
        if condition.data == _PLAIN:
            return {"result": x[:, 0]}
        return self._networks[condition.data](x, condition, places)


def _networks(options: UpscaleOptions, method: str) -> dict[str, NetworkEngine]:
    """What a method may need, by name; the one of the largest factor first."""
    if method == "measured":
        return {name: network_of(name) for name in (FIDELITY, FIDELITY_X2, REAL)}
    if method == "real":
        return {REAL: network_of(REAL)}
    if isinstance(options, SharpnessOptions):
        sharpness = (method == "gan") if options.sharpness is None else options.sharpness
        first = sharpened(float(sharpness))
        return {FIDELITY: first} | ({FIDELITY_X2: network_of(FIDELITY_X2)} if sharpness == 0 else {})
    if not isinstance(options, NetworkOptions) or options.weights is None:
        raise ConfigError("--method network needs weights", fix="Give --weights NAME or FILE")
    return {str(options.weights): network_of(options.weights, options.model)}
