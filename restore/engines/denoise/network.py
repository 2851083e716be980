"""Denoising networks as engines: the noise level of the picture is measured, or given, and laid out as a map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from restore.engines.denoise.ap_bsn import ApBsnEngine
from restore.engines.denoise.diagnosis import LEFT_ALONE
from restore.engines.denoise.noise_bounded import NoiseBoundedEngine
from restore.engines.denoise.noise_level import HARDLY_ANY, left_alone, level_of, measure_level
from restore.engines.network import NetworkEngine
from restore.inference.engine import Condition, Engine, EngineOptions, Outputs, Place
from restore.models.spec import ModelSpec
from restore.physics.level import MAP_RADIUS, level_map
from restore.picture import PictureSource, ValueScale
from restore.zoo import load

_BEYOND = 0.5  # of the unit range, that networks are shown on either side of it
WITHOUT_WEIGHTS = "or work without weights: --method zero-shot"


class DenoisingNetwork(NetworkEngine):
    """A network that may ask for the noise level: a map in units of [0, 1] (`restore.physics.level`).

    Where that is next to nothing, the picture stays as it is: what such a network would take away is then not noise.

    Args:
        sigma: level in 8-bit units instead of the picture's measured noise curve.
        hot: what becomes of hot pixels (`DenoiseOptions`).
    """

    provides = ("noise_level",)

    def __init__(
        self, net: nn.Module, spec: ModelSpec, name: str, sha256: str, sigma: float | None = None, hot: str = "auto"
    ) -> None:
        super().__init__(net, spec, name, sha256)
        self.sigma, self.hot_pixels = sigma, hot
        if self.spec.conditions:
            self.spec = replace(self.spec, radius=self.spec.radius + MAP_RADIUS)
        self.fingerprint += "" if sigma is None else f":sigma={sigma:g}"
        self.fingerprint += ":hot-pixels=remove" if hot == "remove" else ""

    def prepare(self, sources: Mapping[str, PictureSource], options: EngineOptions) -> Condition:
        condition = super().prepare(sources, options)
        level = 0.0 if condition.data is None or not self.spec.conditions else level_of(condition.data)
        kept = left_alone(sources["picture"], condition.scale, level / 255, self.hot_pixels)
        return replace(condition, kept=kept, noise_level=level if self.sigma or level >= HARDLY_ANY else 0.0)

    def measure(self, source: PictureSource, scale: ValueScale) -> tuple[Any, dict[str, str]]:
        if not self.spec.conditions:
            return super().measure(source, scale)
        level = measure_level(source, scale, self.sigma)
        decisions = {"noise": level.summary}
        if level.negligible:
            decisions["method"] = LEFT_ALONE.format(
                "hardly any noise" if level.noise.reliable else "it is not measured"
            )
        return level.curve, decisions

    def __call__(self, x: Tensor, condition: Condition, places: Sequence[Place]) -> Outputs:
        if self.spec.conditions and not self.sigma and level_of(condition.data) < HARDLY_ANY:
            return {output.name: x[:, 0] for output in self.spec.outputs}
        inside = x.clamp(-_BEYOND, 1 + _BEYOND)  # lights and stars, which would ring, keep what exceeds it
        outputs = super().__call__(inside, condition, places)
        beyond = (x - inside)[:, 0].detach()
        return {name: y + beyond for name, y in outputs.items()}

    def conditions(self, x: Tensor, data: Any, places: Sequence[Place]) -> dict[str, Tensor]:
        if not self.spec.conditions:
            return {}
        return {"noise_level": level_map(x[:, 0], data.to(x.device).expand(len(x), -1))}


def network_of(
    weights: str | Path, model: str | None = None, sigma: float | None = None, hot_pixels: str = "auto"
) -> DenoisingNetwork:
    """The engine of a weights file, or of shipped weights by name. Raises `WeightsError`.

    Args:
        model: the network's class, for weights of one outside this program (`restore.zoo.weights.read_network`).
    """
    loaded = load(weights, "denoise", model, otherwise=WITHOUT_WEIGHTS)
    return DenoisingNetwork(loaded.net, loaded.spec, loaded.name, loaded.sha256, sigma, hot_pixels)


def wrapped_for_inference(network: DenoisingNetwork) -> Engine:
    """How a network is used: blind ones as AP-BSN is, C-BSN without removing more than the noise."""
    if network.spec.blind:
        return ApBsnEngine(network)
    return NoiseBoundedEngine(network, network.sigma) if network.spec.standardised else network
