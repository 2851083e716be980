"""INFWIDE: model_infwide.pth of https://github.com/zhihongz/INFWIDE (the names only; the code has no licence)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from restore.zoo.published.form import Published

_MARK = "FeatModule1.FeatureBlock.0.body.0.weight"
_DENOISE = {"m_head": "head", "m_body": "body", "m_tail": "tail"}
_DENOISE |= {f"m_down{i}": f"downs.{i - 1}" for i in (1, 2, 3)} | {f"m_up{i}": f"ups.{3 - i}" for i in (1, 2, 3)}
_UNET = {name: name.replace("_first", "1").replace("_second", "2") for name in (
    "encoder_first", "encoder_second", "decoder_second", "decoder_first")}  # fmt: skip
_CROSS = {"XRD1": "down1", "XRD2": "down2", "XRU2": "up2", "XRU1": "up1"}


def infwide(state: Mapping[str, Tensor]) -> Published | None:
    """INFWIDE's weights, or None."""
    if _MARK not in state:
        return None
    by_scale = _heads_by_scale(state)
    return Published("infwide", {}, {_infwide(name, by_scale): value for name, value in state.items()})


def _heads_by_scale(state: Mapping[str, Tensor]) -> bool:
    """Whether InBlock12 is of the first scale, second branch (else of the first branch, second scale)."""
    head = state.get("MergeRefineModule.InBlock12.inBlock.0.body.0.weight")
    return head is None or head.shape[1] == 3


def _infwide(name: str, by_scale: bool) -> str:
    part, _, rest = name.partition(".")
    if part == "DenoiseUnet":
        block, _, rest = rest.partition(".")
        rest = re.sub(r"res\.([02])\.", lambda match: f"conv{int(match[1]) // 2 + 1}.", rest)
        return f"denoise.{_DENOISE.get(block, block)}.{rest}"
    rest = _unwrapped(rest)
    if part == "FeatModule1":
        return rest.replace("FeatureBlock", "features", 1)
    if part == "FSRefineModule":
        return _refine(rest)
    return f"merge.{_merge(rest, by_scale)}" if part == "MergeRefineModule" else name


def _unwrapped(name: str) -> str:
    """Without the wrappers `.body.0` around every convolution; the two of a residual block become conv1 and conv2."""
    name = re.sub(r"\.body\.([02])\.body\.0\.", lambda match: f".conv{int(match[1]) // 2 + 1}.", name)
    return name.replace(".body.0.", ".")


def _refine(name: str) -> str:
    block, _, rest = name.partition(".")
    if block == "InBlock2":
        return rest.replace("inBlock", "refine.0", 1)
    if block == "RefineUnet":
        stage, _, rest = rest.partition(".")
        return f"refine.1.{_UNET.get(stage, stage)}.{rest}"
    first = {"OutBlock_a": 2, "OutBlock_b": 5}.get(block, 0)
    return re.sub(r"^outLayers\.(\d+)", lambda match: f"refine.{first + int(match[1])}", rest)


def _merge(name: str, by_scale: bool) -> str:
    block, _, rest = name.partition(".")
    if match := re.fullmatch(r"InBlock([12])([12])", block):
        scale, branch = (match[1], match[2]) if by_scale else (match[2], match[1])
        return rest.replace("inBlock", f"{'at_half' if scale == '1' else 'at_full'}.{int(branch) - 1}", 1)
    if block == "XRFUnet":
        side, layer, rest = rest.split(".", 2)
        kind, number = ("branches", layer[-1]) if layer in ("conv1", "conv2") else ("scales", layer[-2])
        rest = re.sub(r"^1\.", "", rest) if kind == "scales" else rest
        return f"unet.{_CROSS.get(side, side)}.{kind}.{int(number) - 1}.{rest}"
    return rest.replace("outLayers", {"OutBlock_a1": "refine.0", "OutBlock_a2": "refine.1"}.get(block, "tail"), 1)
