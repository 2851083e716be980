"""Denoisers of others to compare with: weight-free packages, and published networks whose weights the user has.

The networks' layers are read from their files: DnCNN (Zhang et al., TIP 2017; colour, blind) and FFDNet (Zhang, Zuo,
Zhang, TIP 2018; colour, given the level), as the KAIR project publishes them. None of them is part of the package.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.degradations.cases import Array
from restore.degradations.noise_cases import NoiseCase
from restore.evaluation.methods import Method
from restore.evaluation.pictures import to_unit_picture
from restore.evaluation.samples import Sample

Peer = Callable[[Tensor, float], Tensor]  # 1 x 3 x H x W, white = 1; true sigma, 8-bit units -> the same


class DnCNN(nn.Module):
    """Convolutions with ReLU between them predict the noise."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__()
        self.model = plain_layers(state)

    def forward(self, x: Tensor, sigma: float) -> Tensor:
        return x - self.model(x)


class FFDNet(nn.Module):
    """The same at half resolution (pixel-unshuffle 2), given the level in a 13th plane; predicts the picture."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__()
        self.model = plain_layers(state)

    def forward(self, x: Tensor, sigma: float) -> Tensor:
        height, width = x.shape[-2:]
        planes = F.pixel_unshuffle(F.pad(x, (0, width % 2, 0, height % 2), mode="replicate"), 2)
        level = planes.new_full((1, 1, *planes.shape[-2:]), sigma / 255)
        return F.pixel_shuffle(self.model(torch.cat([planes, level], 1)), 2)[..., :height, :width]


def plain_layers(state: dict[str, Tensor]) -> nn.Sequential:
    """3 x 3 convolutions at the even places of a Sequential, ReLU between them, with these weights."""
    layers: list[nn.Module] = []
    for key, weight in state.items():
        if key.endswith(".weight"):
            layers += [nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1), nn.ReLU()]
    net = nn.Sequential(*layers[:-1])
    net.load_state_dict({key.removeprefix("model."): value for key, value in state.items()})
    return net.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def network_peers(folder: Path) -> dict[str, Method]:
    """FFDNet and DnCNN from `ffdnet_color.pth` and `dncnn_color_blind.pth`, in float32, channels last."""

    def load(name: str) -> dict[str, Tensor]:
        return torch.load(folder / name, weights_only=True, map_location="cpu")

    ffdnet, dncnn = FFDNet(load("ffdnet_color.pth")), DnCNN(load("dncnn_color_blind.pth"))
    return {"FFDNet (true level)": _method(ffdnet), "DnCNN (blind)": _method(dncnn, takes_level=False)}


def package_peers() -> dict[str, Method]:
    """scikit-image's and OpenCV's non-local means, and CBM3D where it is installed, given the true level."""
    import cv2
    from skimage.restoration import denoise_nl_means

    def nlm(sample: Sample) -> Array:
        s = sample.noise_level / 255
        options = {"h": 0.5 * s, "sigma": s, "fast_mode": True, "patch_size": 5, "patch_distance": 6}
        return like(sample, denoise_nl_means(_unit(sample), channel_axis=-1, **options))

    def opencv(sample: Sample) -> Array:  # takes 8 bits alone
        codes, level = np.rint(_unit(sample).clip(0, 1) * 255).astype(np.uint8), sample.noise_level * 0.8
        return like(sample, cv2.fastNlMeansDenoisingColored(codes, None, level, level, 7, 21) / 255)

    methods: dict[str, Method] = {"scikit-image NLM": nlm, "OpenCV NLM": opencv}
    try:
        import bm3d
    except ImportError:
        return methods
    methods["CBM3D (bm3d 4)"] = lambda sample: like(sample, bm3d.bm3d_rgb(_unit(sample), sample.noise_level / 255))
    return methods


def given_level(method: Method, level: float) -> Method:
    """A method that is given this level (8-bit units), whatever the noise is."""

    return lambda sample: method(replace(sample, case=None, noise_level=level))


def like(sample: Sample, unit: Array) -> Array:
    """H x W x C, white = 1, as an array of the sample's type."""
    if sample.damaged.dtype == np.float32:
        return unit.astype(np.float32)
    top = np.iinfo(sample.damaged.dtype).max
    return np.clip(np.rint(unit * top), 0, top).astype(sample.damaged.dtype)


def _unit(sample: Sample) -> Array:
    return to_unit_picture(sample.damaged)[0].movedim(0, -1).double().numpy()


def _method(peer: Peer, *, takes_level: bool = True) -> Method:
    """Poisson noise goes through Anscombe's transform for networks that take a level."""

    def run(sample: Sample) -> Array:
        x = to_unit_picture(sample.damaged).contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            shot = takes_level and isinstance(sample.case, NoiseCase) and sample.case.noise == "poisson"
            photons = sample.case.level if shot else 0.0
            y = _stabilised(peer, x, photons) if photons else peer(x, sample.noise_level)
        return like(sample, y[0].movedim(0, -1).numpy())

    return run


def _stabilised(peer: Peer, x: Tensor, photons: float) -> Tensor:
    """2 sqrt(counts + 3/8) has noise of std 1; back by the closed form of Makitalo and Foi, TIP 2011."""
    white = 2 * (photons + 3 / 8) ** 0.5
    d = (peer(2 * (x.clamp(min=0) * photons + 3 / 8).sqrt() / white, 255 / white) * white).clamp(min=0.5)
    root = 1.5**0.5
    return (d**2 / 4 + root / 4 / d - 11 / 8 / d**2 + root * 5 / 8 / d**3 - 1 / 8).clamp(min=0) / photons
