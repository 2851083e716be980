"""Devices and compute types: what `--device auto` and `--precision auto` mean here."""

from __future__ import annotations

import math
import time
from functools import cache

import torch

from restore.errors import ConfigError, brief
from restore.models.spec import ModelSpec

_CLEAR_GAIN = 1.3  # so that runs on one machine decide alike
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_device(name: str = "auto") -> torch.device:
    """`auto` is CUDA, then MPS, then XPU, then the CPU; any torch device name is accepted.

    Raises `ConfigError` for a device that is not there, naming those that are.
    """
    if name == "auto":
        return torch.device(available_devices()[0])
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in available_devices():
        raise ConfigError(
            f"there is no device {brief(name)}",
            why=f"this machine has {', '.join(available_devices())}",
            fix="Use --device auto, or see `restore doctor` for why a GPU is not used",
        )
    return device


def available_devices() -> list[str]:
    """Device types that can be used now, best first; the CPU is always last."""
    gpus = []
    if torch.cuda.is_available():
        gpus.append("cuda")
    if torch.backends.mps.is_available():
        gpus.append("mps")
    if hasattr(torch, "xpu") and torch.xpu.is_available():
        gpus.append("xpu")
    return [*gpus, "cpu"]


def why_no_gpu() -> str:
    """The first reason why no GPU is used, or "" if one is."""
    if available_devices()[0] != "cpu":
        return ""
    if torch.version.cuda is None and getattr(torch.version, "hip", None) is None:
        return f"torch {torch.__version__} is a build without GPU support"
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return str(error).splitlines()[0]
    return "torch finds no GPU"


def gains_from(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether the device computes convolutions faster in `dtype` than in float32."""
    if dtype is torch.float32:
        return True
    if device.type == "cuda":
        return dtype is torch.float16 or torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        return dtype is torch.bfloat16 and _cpu_has_bf16() and _bf16_gain() > _CLEAR_GAIN
    return device.type == "xpu"


def _cpu_has_bf16() -> bool:
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, check, lambda: False)() for check in checks)


@cache
def _bf16_gain() -> float:
    """How many times faster a convolution is in bfloat16 than in float32 on this CPU, measured: a flag does not say."""
    net = torch.nn.Conv2d(64, 64, 3, padding=1)
    x = torch.zeros(1, 64, 96, 96)
    seconds = {torch.float32: math.inf, torch.bfloat16: math.inf}
    with torch.inference_mode():
        for _ in range(5):
            for dtype in seconds:
                layer, tile = net.to(dtype), x.to(dtype)
                started = time.perf_counter()
                layer(tile)
                seconds[dtype] = min(seconds[dtype], time.perf_counter() - started)
    return seconds[torch.float32] / seconds[torch.bfloat16]


def choose_dtype(precision: str, spec: ModelSpec, device: torch.device) -> torch.dtype:
    """The compute type of a run.

    `auto`: bfloat16 where the spec allows it and the device gains from it, else float32 (float16 is never
    chosen unasked). A named precision that the spec does not allow raises `ConfigError`.
    """
    if precision == "auto":
        low = torch.bfloat16
        return low if "bfloat16" in spec.dtypes and gains_from(low, device) else torch.float32
    if precision not in DTYPES:
        raise ConfigError(f"unknown precision {precision!r}", fix=f"Use auto, {', '.join(DTYPES)}")
    dtype = DTYPES[precision]
    if str(dtype).removeprefix("torch.") not in spec.dtypes:
        raise ConfigError(f"this method does not stay accurate in {precision}", fix="Use --precision auto or fp32")
    return dtype
