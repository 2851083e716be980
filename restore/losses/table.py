"""All losses by name, for configs:

    losses: {charbonnier: 1.0, ms_ssim: {weight: 0.2, levels: 3}, perceptual: {weight: 0.1, backbone: vgg16_caffe}}

A loss is a function (output, target, *, options) -> scalar, or a module class made with options. Importing this
imports none of them.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from restore.errors import ConfigError, RestoreError, brief, nearest
from restore.naming import imported

if TYPE_CHECKING:
    from torch import Tensor

LOSSES: dict[str, str] = {
    "l1": "restore.losses.pixel:l1_loss",
    "l2": "restore.losses.pixel:l2_loss",
    "charbonnier": "restore.losses.pixel:charbonnier_loss",
    "gradient": "restore.losses.pixel:gradient_loss",
    "tv": "restore.losses.pixel:tv_loss",
    "phase": "restore.losses.pixel:phase_loss",
    "smoothness": "restore.losses.pixel:smoothness_loss",
    "log_mse": "restore.losses.layers_apart:log_mse_loss",
    "fft": "restore.losses.frequency:fft_loss",
    "ssim": "restore.losses.ssim:ssim_loss",
    "ms_ssim": "restore.losses.ssim:ms_ssim_loss",
    "ms_ssim_l1": "restore.losses.ssim:ms_ssim_l1_loss",
    "ms_ssim_l1_full": "restore.losses.ssim:ms_ssim_l1_full_loss",
    "perceptual": "restore.losses.perceptual:PerceptualLoss",
    "style": "restore.losses.perceptual:StyleLoss",
    "lpips": "restore.losses.lpips:LPIPS",
}
PER_SAMPLE_LOSSES: dict[str, str] = {
    name: f"restore.losses.per_sample:{name}" for name in ("psnr", "l1", "l2", "charbonnier", "fft")
}
"""Those of objectives that choose among several answers: ... x C x H x W, twice -> ..."""
Loss = Callable[["Tensor", "Tensor"], "Tensor"]


def build_losses(
    wanted: Mapping[str, float | Mapping[str, Any]], known: Mapping[str, str] = LOSSES
) -> dict[str, tuple[float, Loss]]:
    """name -> (weight, loss) from a config's `losses`: a weight each, or options with `weight` among them (1.0);
    `known` are the names there are.

    Raises `ConfigError` for an unknown name or option (naming the nearest), and what the losses themselves raise when
    they are made, such as `MissingWeightsError`.
    """
    built = {}
    for name, value in wanted.items():
        options = dict(value) if isinstance(value, Mapping) else {"weight": value}
        weight = options.pop("weight", 1.0)
        if isinstance(weight, bool) or not isinstance(weight, int | float):
            raise ConfigError(f"the weight of loss {name!r} cannot be {brief(weight)}", fix="Give a number")
        built[name] = float(weight), _made(name, known, options)
    return built


def build_loss(name: str, /, **options: Any) -> Loss:
    """A loss of `LOSSES`, or "my_pkg.my_file:my_loss", with its options bound. Raises as `build_losses`."""
    return _made(name, LOSSES, options)


def _made(name: str, known: Mapping[str, str], options: Mapping[str, Any]) -> Loss:
    loss_type = imported(name, known, "loss", "my_loss")
    is_class = inspect.isclass(loss_type)
    pictures = 0 if is_class else 2
    taken = list(inspect.signature(loss_type).parameters)[pictures:]
    for option in options:
        if option not in taken:
            takes = f"It takes {', '.join(('weight', *taken))}"
            raise ConfigError(f"loss {name!r} has no option {option!r}", fix=f"{nearest(option, taken)}{takes}")
    try:
        loss: Any = loss_type(**options) if is_class else functools.partial(loss_type, **options)
    except RestoreError:
        raise
    except (TypeError, ValueError) as error:
        raise ConfigError(f"loss {name!r} cannot be made with {brief(options, 200)}", why=str(error)) from error
    return loss
