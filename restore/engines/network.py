"""A trained network as an engine: any number of channels in, the noise level told to it where it asks."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from restore.analysis.statistics import mean_and_std
from restore.analysis.value_range import find_scale
from restore.engines.measure import measure_level
from restore.errors import ModelError
from restore.inference.engine import Condition, EngineOptions
from restore.models.spec import ModelSpec
from restore.physics.level import MAP_RADIUS, level_map
from restore.picture import PictureSource


def from_weights(weights: str | Path, model: str | None = None) -> NetworkEngine:
    """The engine of a weights file, or of shipped weights by name. Raises `WeightsError`.

    Args:
        model: the network's class, for weights of one outside this program (`restore.zoo.weights.load_weights`).
    """
    from restore.zoo.resolver import resolve
    from restore.zoo.weights import load_weights

    path = resolve(weights)
    loaded = load_weights(path, model)
    return NetworkEngine(loaded.net, loaded.spec, path.stem, loaded.sha256)


class NetworkEngine:
    """A network of `restore.models` (or the user's own) that takes one picture at a time.

    A picture whose channels are not the network's is restored channel by channel: each is shown to the network
    as grey, repeated over its colours, and the answer's colours are averaged.

    A network with `condition_channels` is given the noise level as a map (`restore.physics.level`), in units of
    [0, 1]: of the user's sigma if given, else of the picture's measured noise curve.

    A network that is `standardised` is shown channels of mean 0 and std 1 over the whole picture, measured once.

    A network with a `residual` method is run in its own type and added to the colours in float32, so that low
    precision touches the correction only.

    Args:
        net: B x (channels + condition_channels) x H x W -> B x (outputs * channels) x sH x sW.
        spec: of the net; the engine's own spec takes any number of channels.
        name, sha256: of the weights, for the fingerprint.
    """

    def __init__(self, net: nn.Module, spec: ModelSpec, name: str, sha256: str) -> None:
        if spec.inputs != 1:
            raise ModelError(f"{name} takes {spec.inputs} pictures at once, this engine gives one")
        like = next(net.parameters(), torch.empty(0))
        self._runs_in = like.dtype, like.device
        self._layout = torch.channels_last if like.device.type in ("cpu", "cuda") else torch.contiguous_format
        self._net = net.eval().to(memory_format=self._layout)
        self._net_spec, self.name, self._sha256 = spec, name, sha256
        self._planes: int = getattr(net, "condition_channels", 0)
        self.standardised: bool = getattr(net, "standardised", False)
        self.blind: bool = getattr(net, "blind", False)
        self._casts: dict[tuple[torch.dtype, torch.device], NetworkEngine] = {}
        self.spec = replace(spec, channels=None, radius=spec.radius + (MAP_RADIUS if self._planes else 0))
        self.fingerprint = f"network:{name}:{sha256}"

    def cast(self, dtype: torch.dtype, device: torch.device) -> NetworkEngine:
        """The same engine computing in `dtype` on `device`; made once, then remembered."""
        if (dtype, device) == self._runs_in:
            return self
        if (dtype, device) not in self._casts:
            net = deepcopy(self._net).to(device=device, dtype=dtype)
            self._casts[dtype, device] = NetworkEngine(net, self._net_spec, self.name, self._sha256)
        return self._casts[dtype, device]

    def prepare(self, sources: Sequence[PictureSource], options: EngineOptions) -> Condition:
        scale = find_scale(sources[0])
        decisions = {"method": f"network {self.name}"}
        if self.standardised:
            return Condition(scale, mean_and_std(sources[0], scale), decisions)
        if not self._planes:
            return Condition(scale, None, decisions)
        found = measure_level(sources[0], scale, options)
        return Condition(scale, found.curve, decisions | {"noise": found.told})

    @torch.no_grad()
    def __call__(self, x: Tensor, condition: Condition) -> Tensor:
        """B x 1 x C x H x W unit values -> B x outputs x C x sH x sW, float32."""
        if not self.standardised:
            return self._restored(x, condition)
        mean, std = (value.to(x.device)[:, None, None] for value in condition.data)
        return self._restored((x - mean) / std, condition) * std + mean

    def _restored(self, x: Tensor, condition: Condition) -> Tensor:
        channels, colours = x.shape[2], self._net_spec.channels
        level = None
        if self._planes:
            level = level_map(x[:, 0], condition.data.to(x.device).expand(len(x), -1))  # B x 1 x H x W
        if colours is None or channels == colours:
            y = self._run(x[:, 0], level)  # B x outputs x C x sH x sW
        else:
            grey = x.flatten(0, 2)[:, None].expand(-1, colours, -1, -1)  # B C x colours x H x W
            each = None if level is None else level.repeat_interleave(channels, 0)
            y = self._run(grey, each).mean(2).unflatten(0, (-1, channels)).transpose(1, 2)
        return y

    def _run(self, colours: Tensor, level: Tensor | None) -> Tensor:
        """N x colours x H x W, its level map N x 1 x H x W -> N x outputs x colours x sH x sW float32."""
        planes = colours if level is None else torch.cat([colours, level.expand(-1, self._planes, -1, -1)], 1)
        planes = planes.to(self._runs_in[0]).contiguous(memory_format=self._layout)
        residual = getattr(self._net, "residual", None)
        y = self._net(planes).float() if residual is None else colours.float() + residual(planes).float()
        return y.unflatten(1, (len(self.spec.outputs), -1))
