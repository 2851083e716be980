"""MultiOutput: a network of ours whose last layer gives several pictures, so that one blur may have several answers.

Source: Liu et al., "Multi-Outputs Is All You Need For Deblur", 2022, https://arxiv.org/abs/2208.13029. A head is no
more than C more output channels of the last convolution; the network before it is shared.

    input               B x C x h x w
    trunk               B x w x …                    the network's own
    last convolution    B x (H c) x …                c = C, or C u^2 where it is shuffled; head-major
    shuffle, base       B x (H C) x sh x sw          the network's own; what it adds the answer to is added to each head

    NAFNet, width w, H heads: (H - 1) C (9 w + 1) more parameters

A network takes part by two things: a text `output_layer`, the dotted name of that convolution, and a last sum by
`restore.models.blocks.added`, which repeats the base. Whatever follows the layer must treat groups of channels alike.

Differences from the source: which also gives the attention of multi-stage networks several pictures; these have one
output layer. The first weights of a further head are those of the first, each at the next feature.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from restore.errors import ConfigError
from restore.models import build, model_class
from restore.models.spec import ModelSpec, spec_of
from restore.physics.random import generator_for

NOISE = 1e-2
"""Std of what tells heads apart that begin with the same weights, over the std of these: heads of the shipped networks
differ by less than 1/255 then. A tenth of it would be lost in the rounding of bfloat16."""
_MOST = 64


class MultiOutput(nn.Module):
    """A network with H heads: B x C x h x w -> B x (H C) x sh x sw, head-major (`restore.models.heads.split_heads`).

    Args:
        network: a name of `restore.models.MODELS`, an import path, or "my_file.py:MyNet"; its class names its
            `output_layer`.
        heads: how many pictures it gives.
        arguments: of the network.

    Raises `ConfigError` for a network that cannot have several heads, or a number of heads outside 1 to 64.
    """

    def __init__(self, network: str, heads: int = 4, arguments: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        if not 1 <= heads <= _MOST:
            raise ConfigError(f"MultiOutput: heads is {heads}", fix=f"Give 1 to {_MOST}")
        if issubclass(model_class(network), MultiOutput):
            raise ConfigError("MultiOutput: the network has several heads already", fix="Name the network inside")
        self.heads = heads
        self.network = build(network, **(arguments or {}))
        spec = spec_of(self.network)
        if spec.channels is None or len(spec.outputs) > 1 or spec.heads > 1:
            what = f"{type(self.network).__name__} cannot have several heads"
            raise ConfigError(what, why="it has not one output of known channels", fix="Name another network")
        self._name, layer = _output_layer(self.network)
        self.network.set_submodule(self._name, _widened(layer, heads))

    def forward(self, x: Tensor, **conditions: Tensor) -> Tensor:
        """B x C x h x w -> B x (heads C) x sh x sw; conditions as the network's."""
        return self.network(x, **conditions)

    def residual(self, x: Tensor, **conditions: Tensor) -> Tensor:
        """What `forward` adds to the picture of each head, where the network has such a method."""
        return self.network.residual(x, **conditions)  # type: ignore[operator]

    @torch.no_grad()
    def begin_with(self, other: nn.Module, noise: float = NOISE, seed: int = 0) -> bool:
        """Take all weights of the network with one head, by itself or in a `MultiOutput`; every head begins as that
        network and a little noise. Of one with as many heads, what the network's own `begin_with` takes.

        Without noise all heads win alike: the first would learn, the others would have no gradient.

        Args:
            noise: its std, in the weights of the last layer, over their std.
            seed: of the noise.
        Returns:
            False for any other network, of which nothing is taken.
        """
        if isinstance(other, MultiOutput) and other.heads == self.heads:
            begin = getattr(self.network, "begin_with", None)
            return begin is not None and bool(begin(other.network))
        if isinstance(other, MultiOutput) and other.heads == 1:
            other = other.network
        if type(other) is not type(self.network) or _output_layer(other)[0] != self._name:
            return False
        state = dict(other.state_dict())
        names = [f"{self._name}.{part}" for part in ("weight", "bias") if f"{self._name}.{part}" in state]
        state |= {name: torch.cat([state[name]] * self.heads) for name in names}
        if self.heads > 1:
            weight = state[names[0]]
            drawn = torch.randn(weight.shape, generator=generator_for(seed))
            state[names[0]] = weight + noise * weight.std() * drawn.to(weight)
        self.network.load_state_dict(state)
        return True

    def spec(self) -> ModelSpec:
        """The network's own, with the number of heads and the channels of all of them."""
        spec = spec_of(self.network)
        channels = self.heads * (spec.outputs[0].channels or spec.channels or 1)
        return replace(
            spec,
            heads=self.heads,
            outputs=(replace(spec.outputs[0], channels=channels),),
            parameters=sum(p.numel() for p in self.parameters()),
        )


def _output_layer(net: nn.Module) -> tuple[str, nn.Conv2d]:
    """(dotted name, layer) of the convolution that makes the picture. Raises `ConfigError` if there is none."""
    name = getattr(net, "output_layer", None)
    layer = net.get_submodule(name) if isinstance(name, str) and name in dict(net.named_modules()) else None
    if not isinstance(name, str) or not isinstance(layer, nn.Conv2d) or layer.groups > 1:
        fix = 'Give its class an attribute output_layer = "name of its last convolution", and add by blocks.added'
        raise ConfigError(f"{type(net).__name__} cannot have several heads: it names no output layer", fix=fix)
    return name, layer


@torch.no_grad()
def _widened(layer: nn.Conv2d, heads: int) -> nn.Conv2d:
    """A convolution with `heads` times the outputs. The first are its own; of each other head the inputs are
    exchanged, so that they begin different and equally large, and sub-pixels that began equal stay so."""
    wide = nn.Conv2d(
        layer.in_channels, heads * layer.out_channels, layer.kernel_size, layer.stride,  # type: ignore[arg-type]
        layer.padding, layer.dilation,  # type: ignore[arg-type]
        bias=layer.bias is not None, padding_mode=layer.padding_mode,  # type: ignore[arg-type]
    )  # fmt: skip
    wide.weight.copy_(torch.cat([layer.weight.roll(head, 1) for head in range(heads)]))
    if layer.bias is not None and wide.bias is not None:
        wide.bias.copy_(layer.bias.repeat(heads))
    return wide
