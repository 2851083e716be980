"""Methods of others to compare with: weight-free packages, and published networks whose weights the user has.

The networks' layers are read from their files: DnCNN (Zhang et al., TIP 2017; colour, blind) and FFDNet (Zhang, Zuo,
Zhang, TIP 2018; colour, given the level), as the KAIR project publishes them; IMDN (Hui, Gao, Yang, Wang, ACM MM 2019;
super-resolution by 4), as its authors do. None of them is part of the package.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from restore.degradations.cases import Array
from restore.degradations.noise_cases import NoiseCase
from restore.evaluation.methods import Method
from restore.evaluation.pictures import to_unit_picture
from restore.evaluation.samples import Sample
from restore.physics.resample import resize

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


class Distillation(nn.Module):
    """IMDN's block: of three convolutions a quarter of the channels is kept aside each time; all is put together,
    weighted by channel (mean + std over the picture), and added to the input."""

    def __init__(self, width: int, kept: int) -> None:
        super().__init__()
        self.kept, rest = kept, width - kept
        self.c1, self.c2, self.c3 = (nn.Conv2d(each, width, 3, padding=1) for each in (width, rest, rest))
        self.c4, self.c5 = nn.Conv2d(rest, kept, 3, padding=1), nn.Conv2d(width, width, 1)
        attention = nn.Sequential(nn.Conv2d(width, 4, 1), nn.ReLU(), nn.Conv2d(4, width, 1), nn.Sigmoid())
        self.cca = nn.ModuleDict({"conv_du": attention})

    def forward(self, x: Tensor) -> Tensor:
        parts, rest = [], x
        for layer in (self.c1, self.c2, self.c3):
            y = F.leaky_relu(layer(rest), 0.05)
            parts.append(y[:, : self.kept])
            rest = y[:, self.kept :]
        y = torch.cat([*parts, self.c4(rest)], 1)
        contrast = y.std((2, 3), correction=0, keepdim=True) + y.mean((2, 3), keepdim=True)
        return self.c5(y * self.cca["conv_du"](contrast)) + x


class IMDN(nn.Module):
    """Six blocks, all of their outputs joined, and sub-pixels by 4: B x 3 x h x w -> B x 3 x 4h x 4w."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__()
        state = {key.removeprefix("module."): value for key, value in state.items()}
        width, kept = state["fea_conv.weight"].shape[0], state["IMDB1.c4.weight"].shape[0]
        names = [f"IMDB{number}" for number in range(1, 7)]
        for name in names:
            self.add_module(name, Distillation(width, kept))
        self.blocks = [self.get_submodule(name) for name in names]
        self.fea_conv, self.LR_conv = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        self.c = nn.Sequential(nn.Conv2d(len(names) * width, width, 1), nn.LeakyReLU(0.05))
        self.upsampler = nn.Sequential(nn.Conv2d(width, 48, 3, padding=1), nn.PixelShuffle(4))
        self.load_state_dict(state)
        self.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        x = y = self.fea_conv(x)
        outputs = [y := block(y) for block in self.blocks]
        return self.upsampler(self.LR_conv(self.c(torch.cat(outputs, 1))) + x)


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


def upscalers(factor: int, folder: Path | None) -> dict[str, Method]:
    """Bicubic (MATLAB's), Lanczos (Pillow's), and IMDN from `IMDN_x4.pth` of a folder for a factor of 4."""
    methods: dict[str, Method] = {"bicubic": _enlarging(factor), "Lanczos (Pillow)": _lanczos(factor)}
    if folder and factor == 4:
        imdn = IMDN(torch.load(folder / "IMDN_x4.pth", weights_only=True, map_location="cpu"))
        methods["IMDN"] = _method(lambda x, sigma: imdn(x), takes_level=False)
    return methods


def _enlarging(factor: int) -> Method:
    def run(sample: Sample) -> Array:
        x = to_unit_picture(sample.damaged)
        return like(sample, resize(x, (factor * x.shape[-2], factor * x.shape[-1]))[0].movedim(0, -1).numpy())

    return run


def _lanczos(factor: int) -> Method:
    def run(sample: Sample) -> Array:
        height, width, channels = sample.damaged.shape
        picture = Image.fromarray(sample.damaged[..., 0] if channels == 1 else sample.damaged)
        large = picture.resize((factor * width, factor * height), Image.Resampling.LANCZOS)
        return np.asarray(large).reshape(factor * height, factor * width, channels)

    return run


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
