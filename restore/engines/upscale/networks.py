"""The networks of super-resolution: which one answers what, and how they are loaded."""

from __future__ import annotations

from pathlib import Path

from restore.engines.network import NetworkEngine
from restore.errors import WeightsError
from restore.zoo import load
from restore.zoo.interpolation import interpolated

FIDELITY, FIDELITY_X2, GAN, REAL = "upscale_x4", "upscale_x2", "upscale_x4_gan", "upscale_x4_real"
"""Names of the shipped weights."""


def network_of(weights: str | Path, model: str | None = None) -> NetworkEngine:
    """The engine of a weights file, or of shipped weights by name. Raises `WeightsError`."""
    loaded = load(weights, "upscale", model)
    if loaded.spec.scale < 2:
        what = "this network does not enlarge pictures"
        raise WeightsError(what, where=weights, fix="Give one with a scale of 2 or more, or use another task")
    return NetworkEngine(loaded.net, loaded.spec, loaded.name, loaded.sha256)


def sharpened(sharpness: float) -> NetworkEngine:
    """The fidelity network with this share of the other's weights: at 0 and at 1 exactly one of the two.

    Network interpolation: Wang et al., ECCVW 2018 (ESRGAN), https://arxiv.org/abs/1809.00219, section 3.4.
    Raises `WeightsError`.
    """
    if sharpness in (0, 1):
        return network_of(GAN if sharpness else FIDELITY)
    mixed = interpolated(load(FIDELITY, "upscale"), load(GAN, "upscale"), sharpness)
    return NetworkEngine(mixed.net, mixed.spec, f"{FIDELITY} with {sharpness:.0%} of {GAN}", mixed.sha256)
