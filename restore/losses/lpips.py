"""LPIPS v0.1: Zhang, Isola, Efros, Shechtman, Wang, CVPR 2018, https://arxiv.org/abs/1801.03924

    features of (2 x - 1 - shift) / scale -> unit length over channels -> squared difference
    -> weighted sum over channels (weights learned from people's judgements, never negative)
    -> mean over positions -> sum over taps

    net      channels of its taps               learned weights
    alex     64 192 384 256 256                 1,152    the usual metric
    vgg      64 128 256 512 512                 1,472    the usual loss
    squeeze  64 128 256 384 384 512 512         2,240

True LPIPS needs two files: torchvision's backbone and the learned weights, which the package `lpips` carries (located,
not imported). Differences: 1e-8 under the root instead of 1e-10 beside it (finite gradients where all features are
0); no dropout.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from restore.errors import ConfigError, WeightsError, nearest
from restore.io.weights_file import read_weights
from restore.losses.backbones import Features, load_features
from restore.losses.files import WeightsFile, find
from restore.losses.perceptual import unit
from restore.losses.pixel import at_least_float32

NETS: dict[str, tuple[str, dict[str, int]]] = {  # net -> backbone, channels of its taps
    "alex": ("alex", {"relu1": 64, "relu2": 192, "relu3": 384, "relu4": 256, "relu5": 256}),
    "vgg": ("vgg16", {"relu1_2": 64, "relu2_2": 128, "relu3_3": 256, "relu4_3": 512, "relu5_3": 512}),
    "squeeze": (
        "squeeze",
        {"relu1": 64, "relu2": 128, "relu3": 256, "relu4": 384, "relu5": 384, "relu6": 512, "relu7": 512},
    ),
}
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


def head_file(net: str) -> WeightsFile:
    """The learned weights of LPIPS v0.1 on a net."""
    get = "pip install lpips brings it"
    return WeightsFile(f"lpips_v0.1_{net}.pth", "11 kB at most", package=("lpips", f"weights/v0.1/{net}.pth"), get=get)


class LPIPS(nn.Module):
    """The distance, with nothing to train, always in eval mode.

    Args:
        net: "alex", "vgg" or "squeeze".
        weights, seed: of the backbone, as for `restore.losses.backbones.load_features`. With "random" the values are
            not LPIPS, and `is_lpips` is False.
        head: a file of learned weights; "": searched for; "uniform": 1/C each, which is not LPIPS either.
    Raises:
        ConfigError: no such net. MissingWeightsError: a file is not on this machine.
        WeightsError: a file is damaged, or not what is asked for (a backbone given as head, or the reverse).
    """

    shift: Tensor
    scale: Tensor

    def __init__(
        self, net: str = "alex", *, weights: str = "", head: str = "", seed: int = 0, allow_download: bool | None = None
    ) -> None:
        super().__init__()
        if net not in NETS:
            known = f"Known: {', '.join(NETS)}"
            raise ConfigError(f"LPIPS has no net {net!r}", fix=f"{nearest(net, NETS)}{known}")
        backbone, self.taps = NETS[net]
        needed_by = f"LPIPS on {net}"
        self.features: Features = load_features(
            backbone, weights=weights, seed=seed, allow_download=allow_download, needed_by=needed_by
        )
        self.is_lpips = weights != "random" and head != "uniform"
        for name, values in (("shift", _SHIFT), ("scale", _SCALE)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)
        heads = [torch.full((n,), 1 / n) for n in self.taps.values()] if head == "uniform" else read_head(net, head)
        for place, each in enumerate(heads):
            self.register_buffer(f"head{place}", each, persistent=False)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Mean over the batch: a scalar; x, y: B x 3 x H x W, RGB in [0, 1]."""
        return self.distances(x, y).mean()

    def distances(self, x: Tensor, y: Tensor) -> Tensor:
        """One value a picture: B. Raises `ValueError` if the shapes differ, `TooSmallError` for tiny pictures."""
        if x.shape != y.shape:
            raise ValueError(f"LPIPS compares tensors of one shape, not {tuple(x.shape)} and {tuple(y.shape)}")
        with torch.autocast(x.device.type, enabled=False):
            of_x, of_y = (self.features.run(self._prepared(each), list(self.taps)) for each in (x, y))
            total = torch.zeros(len(x), device=x.device)
            for place, tap in enumerate(self.taps):
                weights: Tensor = getattr(self, f"head{place}")
                squared = (unit(of_x[tap]) - unit(of_y[tap])).square()
                total = total + torch.einsum("bchw,c->b", squared, weights) / squared[0, 0].numel()
        return total

    def _prepared(self, x: Tensor) -> Tensor:
        return (2 * at_least_float32(x).expand(-1, 3, -1, -1) - 1 - self.shift) / self.scale


def read_head(net: str, head: str | Path = "") -> list[Tensor]:
    """Learned weights by tap, C each, from the `lpips` package or a file of its layout.

    Raises `WeightsError` unless every one is there, of its shape and not negative.
    """
    path = find(head_file(net), f"LPIPS on {net}", head or None)
    state = read_weights(path).state
    channels = NETS[net][1].values()
    expected = {f"lin{place}.model.1.weight": (1, count, 1, 1) for place, count in enumerate(channels)}
    if {key: tuple(value.shape) for key, value in state.items()} != expected:
        why = f"it holds {len(state)} tensors, such as {next(iter(state), 'none')}; wanted are {', '.join(expected)}"
        raise WeightsError(f"these are not the learned weights of LPIPS on {net}", where=path, why=why)
    if any((value < 0).any() for value in state.values()):
        raise WeightsError("LPIPS has no negative weights", where=path, fix="Take the original file")
    return [state[key].float().flatten() for key in expected]
