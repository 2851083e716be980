"""Networks that deblur at once, with one head or several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from restore.engines.deblur.guard import damage_of
from restore.engines.network import NetworkEngine
from restore.errors import WeightsError
from restore.models.nafnet import with_global_pooling
from restore.models.spec import ModelSpec
from restore.zoo import load
from restore.zoo.weights import Loaded

SHIPPED = "deblur"
"""Name of the shipped weights."""
POOLED_AGAIN = "local pooling spoilt a tile (gross change, values beyond white, or a checkerboard); it was done again "
POOLED_AGAIN += "with global pooling"
LEFT = "the network spoilt a tile (gross change, values beyond white, or a checkerboard); it was left as it was"


class Answers(NamedTuple):
    """What a method says about tiles.

    Attributes:
        pictures: B x K x C x H x W unit values.
        notes: what the user should know about how they were made.
        ranked: the first is the best; else their mean is.
    """

    pictures: Tensor
    notes: tuple[str, ...] = ()
    ranked: bool = False


class DeblurNetwork(NetworkEngine):
    """Every head of a network.

    Where tiles are blended anyway ("local", as with local pooling) each tile is looked at: one that the network has
    spoilt (`restore.engines.deblur.guard`) is done again with global pooling, where it has local, else left as it is.
    Networks whose tiles are exact are not watched: a decision by tiles would make the tiles visible.
    """

    def __init__(self, net: nn.Module, spec: ModelSpec, name: str, sha256: str) -> None:
        super().__init__(net, spec, name, sha256)
        self.count = spec.heads
        self._device, self._dtype = torch.device("cpu"), torch.float32
        self._watched = spec.tiling == "local"
        plain = with_global_pooling(net) if self._watched else None
        self._plain = None if plain is None else NetworkEngine(plain, spec, name, sha256)

    def cast(self, dtype: torch.dtype, device: torch.device) -> Self:
        cast = super().cast(dtype, device)
        cast._dtype, cast._device = dtype, device  # the plain one is cast where it is needed: it seldom is
        return cast

    def answers(self, x: Tensor) -> Answers:
        """B x T x C x H x W unit values, T frames of which the middle one is wanted (one, but for networks of windows)
        -> what each head makes of it; C is any number."""
        pictures = _stacked(self, x)
        if not self._watched or not bool(torch.isfinite(pictures).all()):
            return Answers(pictures)  # what is not finite is done again by the runner, in float32
        notes: list[str] = []
        for i in range(len(x)):
            if _is_spoilt(x[i, x.shape[1] // 2], pictures[i]):
                pictures[i], note = self._again(x[i : i + 1])
                notes.append(note)
        return Answers(pictures, tuple(dict.fromkeys(notes)))

    def _again(self, x: Tensor) -> tuple[Tensor, str]:
        """(K x C x H x W, what to say) for a tile 1 x T x C x H x W that was spoilt."""
        middle = x[0, x.shape[1] // 2]
        if self._plain is not None:
            pictures = _stacked(self._plain.cast(self._dtype, self._device), x)[0]
            if bool(torch.isfinite(pictures).all()) and not _is_spoilt(middle, pictures):
                return pictures, POOLED_AGAIN
        return middle.expand(self.count, -1, -1, -1), LEFT


def _stacked(network: NetworkEngine, x: Tensor) -> Tensor:
    """B x 1 x C x H x W -> B x K x C x H x W."""
    outputs = network.run(x)
    names: Sequence[str] = [output.name for output in network.spec.outputs]
    return torch.stack([outputs[name] for name in names], 1)


def _is_spoilt(x: Tensor, pictures: Tensor) -> bool:
    return damage_of(x, pictures.flatten(0, 1)).spoilt


def checked_network(weights: str | Path | None, model: str | None = None) -> Loaded:
    """A weights file, weights by name, or the shipped ones, of which a deblurring engine can be made.

    Raises `WeightsError` for weights that are not there, of another task, or whose network changes a picture's size.
    """
    loaded = load(SHIPPED if weights is None else weights, "deblur", model)
    spec = loaded.spec
    if spec.scale > 1 or len(spec.outputs) > 1 or len(spec.inputs) > 1 or spec.standardised:
        what = "this network does not make one picture, or one for each head, of a picture of the same size"
        raise WeightsError(what, where=weights, fix="Use other weights")
    return loaded


def network_of(weights: str | Path | None, model: str | None = None) -> DeblurNetwork:
    """The network of a weights file, of weights by name, or of the shipped ones. Raises as `checked_network`."""
    loaded = checked_network(weights, model)
    return DeblurNetwork(loaded.net, loaded.spec, loaded.name, loaded.sha256)
