"""NAFNet: the checkpoints of https://github.com/megvii-research/NAFNet, whose names are ours.

GoPro and REDS files (blur) have 1, 1, 1, 28 blocks in their encoders, SIDD's (camera noise) 2, 2, 4, 8 and 12 in the
middle. Blur gets local pooling, with which its published figures were measured (33.71 dB on GoPro for width 64, 33.08
without); noise gets global pooling, as published. Where local pooling gives coloured patterns, as was seen in 0.3 % of
photographs with the REDS weights, `local_side: 0` among the network's arguments turns it off. A file of several heads
is `restore.models.multi_output` over NAFNet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from restore.zoo.published.form import NUMBER, Published, conv_sizes, count_numbers

_MARKS = ("encoders.0.0.sca.1.weight", "encoders.0.0.beta", "ups.0.0.weight")
_SIDD = {"encoder_blocks": (2, 2, 4, 8), "middle_blocks": 12, "decoder_blocks": (2, 2, 2, 2)}


def nafnet(state: Mapping[str, Tensor]) -> Published | None:
    """NAFNet's weights, of one head or several, or None. Its relative "Baseline" has other names in its blocks."""
    first, last = conv_sizes(state, "intro"), conv_sizes(state, "ending")
    if first is None or last is None or not all(mark in state for mark in _MARKS):
        return None
    levels = range(count_numbers(state, rf"downs\.{NUMBER}\."))
    blocks = {
        "encoder_blocks": tuple(count_numbers(state, rf"encoders\.{level}\.{NUMBER}\.") for level in levels),
        "middle_blocks": count_numbers(state, rf"middle_blks\.{NUMBER}\."),
        "decoder_blocks": tuple(count_numbers(state, rf"decoders\.{level}\.{NUMBER}\.") for level in levels),
    }
    heads = max(1, last[0] // max(1, first[1]))
    arguments: dict[str, Any] = {"channels": first[1], "width": first[0], **blocks}
    task = ""
    if blocks == _SIDD:
        arguments, task = {**arguments, "local_side": 0}, "denoise"
    if heads == 1:
        return Published("nafnet", arguments, dict(state), task)
    wide = {"network": "nafnet", "heads": heads, "arguments": arguments}
    return Published("multi_output", wide, {f"network.{name}": value for name, value in state.items()}, task)
