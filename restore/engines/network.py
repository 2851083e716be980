"""A trained network as an engine: any number of channels in, conditions by keyword, as its spec says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from restore.analysis.statistics import mean_and_std
from restore.analysis.value_range import find_scale
from restore.engines.backends import Backend, TorchBackend
from restore.errors import ModelError
from restore.inference.engine import Condition, EngineOptions, Outputs, Place
from restore.models.spec import ModelSpec, Output
from restore.picture import PictureSource


class NetworkEngine:
    """A network of `restore.models`, or the user's own.

    A picture whose channels are not the network's is restored channel by channel: each is given to the network
    as grey, repeated over its colours, and the answer's colours are averaged.

    A network that is `standardised` is given channels of mean 0 and std 1 over the whole picture, measured once.

    A network of several heads (`restore.models.heads`) has an output for each, "head_1" to "head_H".

    Conditions that a network takes come from a subclass, which measures them (`measure`) and lays them out for a
    tile (`conditions`).

    Args:
        net: B x (N C) x H x W -> B x (sum of C_m) x sH x sW.
        spec: of the net; the engine's own spec takes any number of channels.
        name, sha256: of the weights, for decisions and the fingerprint.
    """

    provides: tuple[str, ...] = ()
    """Conditions that this engine can give to a network."""

    def __init__(self, net: nn.Module, spec: ModelSpec, name: str, sha256: str) -> None:
        unknown = [condition for condition in spec.conditions if condition not in self.provides]
        if unknown:
            what = f"the network of {name} must be given {' and '.join(unknown)}, which is not measured here"
            raise ModelError(what, fix="Use weights of this task")
        if spec.standardised and spec.conditions:
            raise ModelError(
                f"the network of {name} takes standardised pictures and a condition", fix="Give it one of both"
            )
        self._backend: Backend = TorchBackend(net, spec)
        self._net_spec, self.name = spec, name
        self.spec = replace(_each_head(spec), channels=None)
        self.fingerprint = f"network:{name}:{sha256}"

    def cast(self, dtype: torch.dtype, device: torch.device) -> Self:
        cast = copy(self)
        cast._backend = self._backend.to(dtype, device)
        return cast

    def prepare(self, sources: Mapping[str, PictureSource], options: EngineOptions) -> Condition:
        source = next(iter(sources.values()))
        scale = find_scale(source)
        data, decisions = self.measure(source, scale)
        return Condition(scale, data, {"method": f"network {self.name}"} | decisions)

    def measure(self, source: PictureSource, scale: Any) -> tuple[Any, dict[str, str]]:
        """(what `conditions` needs, decisions): of a standardised network mean and std of the channels."""
        return (mean_and_std(source, scale) if self.spec.standardised else None), {}

    def conditions(self, x: Tensor, data: Any, places: Sequence[Place]) -> dict[str, Tensor]:
        """Name -> B x … for a tile x: B x N x C x H x W."""
        return {}

    def __call__(self, x: Tensor, condition: Condition, places: Sequence[Place]) -> Outputs:
        """B x N x C x H x W unit values -> {name: B x C_m x sH x sW}, float32."""
        if not self.spec.standardised:
            return self.run(x, **self.conditions(x, condition.data, places))
        mean, std = (value.to(x.device)[:, None, None] for value in condition.data)
        outputs = self.run((x - mean) / std)
        return {name: y * std + mean for name, y in outputs.items()}

    def run(self, x: Tensor, **conditions: Tensor) -> Outputs:
        """B x N x C x H x W, conditions B x … -> {name: B x C_m x sH x sW}: whatever C is."""
        channels, colours = x.shape[2], self._net_spec.channels
        if colours is None or channels == colours:
            return self._split(self._backend(x.flatten(1, 2), **conditions), channels)
        grey = x.transpose(1, 2).flatten(0, 1)[:, :, None].expand(-1, -1, colours, -1, -1)  # B C x N x colours x H x W
        each = {name: value.repeat_interleave(channels, 0) for name, value in conditions.items()}
        outputs = self._split(self._backend(grey.flatten(1, 2), **each), colours)
        averaged = {}
        for output in self.spec.outputs:
            y = outputs[output.name].unflatten(0, (-1, channels))  # B x C x C_m x sH x sW
            averaged[output.name] = y.mean(2) if output.channels is None else y.mean(1)
        return averaged

    def _split(self, y: Tensor, channels: int) -> Outputs:
        sizes = [output.channels_of(channels) for output in self.spec.outputs]
        names = [output.name for output in self.spec.outputs]
        if y.shape[1] != sum(sizes):
            raise ModelError(f"{self.name} gave {y.shape[1]} channels instead of {sum(sizes)}")
        return dict(zip(names, y.split(sizes, 1), strict=True))


def _each_head(spec: ModelSpec) -> ModelSpec:
    """A network's spec with an output for each of its heads, whose channels lie one after the other already."""
    if spec.heads == 1:
        return spec
    main, *others = spec.outputs
    channels = (main.channels or spec.heads) // spec.heads
    heads = tuple(
        Output(f"head_{h}", f"head{h}", None if channels == spec.channels else channels, main.mixes)
        for h in range(1, spec.heads + 1)
    )
    return replace(spec, heads=1, residual=False, outputs=(*heads, *others))
