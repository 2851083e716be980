"""All metrics by name, each with what it needs and its convention in words. Imports nothing heavy.

values = measure(["psnr", "ssim"], x, y, border=0, rounded=True)    # {"psnr": B values, "ssim_valid11": …}
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from restore.errors import ConfigError, nearest
from restore.naming import imported

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Metric:
    """A measure of pictures.

    Attributes:
        function: "module:function", (x[, y], border, rounded) -> B values.
        convention: what the number is, in one line.
        better: which way.
        unit: of the number, "" for none.
        reference: whether it compares with a second picture.
        weights: file of weights it needs beyond the package's own, "" for none.
        digits: after the point, for display.
    """

    function: str
    convention: str
    better: Literal["higher", "lower"] = "higher"
    unit: str = ""
    reference: bool = True
    weights: str = ""
    digits: int = 4


_LUMA = "luma Y of BT.601, studio range 16..235"
_WINDOW = "Gaussian 11 taps, sigma 1.5, valid positions only"
_STRUCTURE, _FEATURES = "restore.metrics.structure", "restore.metrics.features"
METRICS: dict[str, Metric] = {
    "psnr": Metric(
        "restore.metrics.pixel:psnr", "RGB, one MSE over all channels, 100 dB when equal", unit="dB", digits=2
    ),
    "psnr_y": Metric("restore.metrics.pixel:psnr_y", f"{_LUMA}, 100 dB when equal", unit="dB", digits=2),
    "psnr_aligned": Metric(
        "restore.metrics.aligned:psnr_aligned",
        "RGB, as psnr, the better of the picture and its best global shift (1/100 px, up to 8 px, Fourier); 12 px more "
        "left out on each side",
        unit="dB",
        digits=2,
    ),
    "ssim_valid11": Metric(f"{_STRUCTURE}:ssim_valid11", f"RGB, mean of channels, {_WINDOW}"),
    "ssim_y_valid11": Metric(f"{_STRUCTURE}:ssim_y_valid11", f"{_LUMA}, {_WINDOW}"),
    "ms_ssim_valid11": Metric(f"{_STRUCTURE}:ms_ssim_valid11", f"RGB, mean of channels, 5 scales, {_WINDOW}"),
    "ms_ssim_y_valid11": Metric(f"{_STRUCTURE}:ms_ssim_y_valid11", f"{_LUMA}, 5 scales, {_WINDOW}"),
    "ssim_daala": Metric(
        "restore.metrics.daala:ssim_daala",
        f"{_LUMA}, as daala's dump_ssim and the SRGAN paper: Gaussian of sigma 1.5 height / 256 px, cut off at the "
        "border; not comparable with other SSIMs",
    ),
    "lite0_distance": Metric(
        f"{_FEATURES}:lite0_distance",
        "unit-normalised features of EfficientNet-Lite0, blocks 0, 2, 4, 10 summed; not calibrated, not LPIPS",
        better="lower",
        weights="efficientnet-lite0",
    ),
    "vgg16_caffe_distance": Metric(
        f"{_FEATURES}:vgg16_caffe_distance",
        "unit-normalised features of Oxford's VGG16, relu1_2, 2_2, 3_3, 4_3, 5_3 summed; not calibrated, not LPIPS",
        better="lower",
        weights="vgg16_caffe",
    ),
    "lpips_alex_v0.1": Metric(f"{_FEATURES}:lpips_alex", "LPIPS v0.1, AlexNet", better="lower", weights="alexnet"),
    "lpips_vgg_v0.1": Metric(f"{_FEATURES}:lpips_vgg", "LPIPS v0.1, VGG16", better="lower", weights="vgg16"),
    "lpips_squeeze_v0.1": Metric(
        f"{_FEATURES}:lpips_squeeze", "LPIPS v0.1, SqueezeNet 1.1", better="lower", weights="squeezenet1_1"
    ),
    "naturalness": Metric(
        "restore.metrics.naturalness:naturalness",
        "luma; distance from good photographs in NIQE's form, our own fit: not NIQE's numbers",
        better="lower",
        reference=False,
        digits=3,
    ),
}
ALIASES = {
    "ssim": "ssim_valid11",
    "ssim_y": "ssim_y_valid11",
    "ms_ssim": "ms_ssim_valid11",
    "ms_ssim_y": "ms_ssim_y_valid11",
    "lpips": "lpips_alex_v0.1",
}
"""Short names, for typing; results carry the full ones."""


def resolve(names: Sequence[str], *, luma: bool = False) -> list[str]:
    """Full names of metrics, each once, in order.

    Args:
        luma: take the form of the luma wherever there is one.
    Raises:
        ConfigError: an unknown name, naming the nearest.
    """
    full = []
    for name in names:
        resolved = ALIASES.get(name, name)
        if resolved not in METRICS:
            hint = nearest(name, [*METRICS, *ALIASES])
            raise ConfigError(f"no metric is called {name!r}", fix=f"{hint}Known: {', '.join(METRICS)}")
        if luma:
            resolved = _luma_form(resolved) if _luma_form(resolved) in METRICS else resolved
        full.append(resolved)
    return list(dict.fromkeys(full))


def measure(
    names: Sequence[str], x: Tensor, y: Tensor | None = None, *, border: int = 0, rounded: bool = False
) -> dict[str, Tensor]:
    """Values of metrics by full name, B each.

    Args:
        names: of `METRICS`, or short.
        x: what is judged, B x C x H x W, white = 1.
        y: its truth; None if no metric needs one.
        border: pixels left out on each side.
        rounded: clip to [0, 1] and round to 8 bits first.
    Raises:
        ConfigError: an unknown name, or one that needs a truth which is not there; and as the metrics say.
    """
    values = {}
    for name in resolve(names):
        if METRICS[name].reference and y is None:
            raise ConfigError(f"{name} compares with a truth", fix="Give two pictures, or choose naturalness")
        pictures = (x, y) if METRICS[name].reference else (x,)
        values[name] = function_of(name)(*pictures, border=border, rounded=rounded)
    return values


def function_of(name: str) -> Callable[..., Tensor]:
    """The function behind a full name."""
    return imported(METRICS[name].function, {}, "metric", "my_metric")


def require_weights(names: Sequence[str]) -> None:
    """Raise `MissingWeightsError` now, not at the first picture, if one of these metrics lacks its weights."""
    import torch

    x = torch.zeros(1, 3, 64, 64)
    for name in resolve(names):
        if METRICS[name].weights:
            function_of(name)(x, x)


def _luma_form(name: str) -> str:
    """psnr -> psnr_y, ssim_valid11 -> ssim_y_valid11."""
    stem, underscore, window = name.partition("_valid11")
    return f"{stem}_y{underscore}{window}"
