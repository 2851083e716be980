"""What runs a network's planes. PyTorch here; other runtimes answer the same calls."""

from __future__ import annotations

from copy import deepcopy
from typing import Protocol

import torch
from torch import Tensor, nn

from restore.models.blocks import added
from restore.models.spec import ModelSpec


class Backend(Protocol):
    """A network ready to run."""

    def __call__(self, x: Tensor, **conditions: Tensor) -> Tensor:
        """B x (N C) x H x W float32, conditions by keyword -> B x (sum of the outputs' channels) x sH x sW float32."""
        ...

    def to(self, dtype: torch.dtype, device: torch.device) -> Backend:
        """The same network computing in another type, on another device; `self` is left as it was."""
        ...


class TorchBackend:
    """A module in channels-last layout and eval mode.

    A network with a `residual` is run in its own type and added to the picture in float32, so that low precision
    touches the correction only.

    Args:
        net: of the spec; moved to channels-last in place.
    """

    def __init__(self, net: nn.Module, spec: ModelSpec) -> None:
        like = next(net.parameters(), torch.empty(0))
        self._dtype, self._device = like.dtype, like.device
        self._layout = torch.channels_last if like.device.type in ("cpu", "cuda") else torch.contiguous_format
        self._net, self._spec = net.eval().to(memory_format=self._layout), spec
        self._adds = spec.residual and spec.scale == 1
        self._others: dict[tuple[torch.dtype, torch.device], TorchBackend] = {}

    def to(self, dtype: torch.dtype, device: torch.device) -> TorchBackend:
        """Made once, then remembered."""
        if (dtype, device) == (self._dtype, self._device):
            return self
        if (dtype, device) not in self._others:
            net = deepcopy(self._net).to(device=device, dtype=dtype)
            self._others[dtype, device] = TorchBackend(net, self._spec)
        return self._others[dtype, device]

    @torch.no_grad()
    def __call__(self, x: Tensor, **conditions: Tensor) -> Tensor:
        planes = x.to(self._dtype).contiguous(memory_format=self._layout)
        cast = {name: value.to(planes) for name, value in conditions.items()}
        if self._adds:
            return added(self._spec.base(x).float(), self._net.residual(planes, **cast).float())  # type: ignore[operator]
        return self._net(planes, **cast).float()
