"""Super-resolution: checkpoints of BasicSR, Real-ESRGAN and ESRGAN's first programs (the names only).

    network          names
    RRDBNet          conv_first, body.N.rdb1.conv1, conv_body, conv_up1, conv_hr, conv_last      BasicSR, Real-ESRGAN
                     conv_first, RRDB_trunk.N.RDB1.conv1, trunk_conv, upconv1, HRconv, conv_last           ESRGAN
                     model.0, model.1.sub.N.RDB1.conv1.0, model.1.sub.M, model.3, …                 ESRGAN, before 2019
    MSRResNet        conv_first, body.N.conv1, upconv1, conv_hr, conv_last                                  BasicSR
    SRVGGNetCompact  body.N                                                                             Real-ESRGAN

https://github.com/XPixelGroup/BasicSR, https://github.com/xinntao/Real-ESRGAN, https://github.com/xinntao/ESRGAN
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping

from torch import Tensor

from restore.zoo.published.form import NUMBER, Published, conv_sizes, count_numbers

Rules = tuple[tuple[str, Callable[[re.Match[str]], str]], ...]

_RRDB_MARKS = ("body.0.rdb1.conv1.weight", "RRDB_trunk.0.RDB1.conv1.weight", "model.1.sub.0.RDB1.conv1.0.weight")
_RRDB: Rules = (
    (
        rf"(?:body|RRDB_trunk|model\.1\.sub)\.{NUMBER}\.(?:rdb|RDB)([1-3])\.conv([1-5])\.(?:0\.)?",
        lambda found: f"body.{found[1]}.dense.{int(found[2]) - 1}.convs.{int(found[3]) - 1}.",
    ),
    (r"(?:conv_up|upconv)([1-9])\.", lambda found: f"ups.{int(found[1]) - 1}."),
    (rf"(?:trunk_conv|model\.1\.sub\.{NUMBER})\.", lambda found: "conv_body."),
    (r"HRconv\.", lambda found: "conv_hr."),
)
_SRRESNET_MARKS = ("conv_first.weight", "body.0.conv1.weight", "upconv1.weight", "conv_hr.weight", "conv_last.weight")
_SRRESNET: Rules = (
    (r"conv_first\.", lambda found: "first.0."),
    (r"upconv([1-9])\.", lambda found: f"enlarge.{3 * int(found[1]) - 3}."),
    (r"conv_hr\.", lambda found: "last.0."),
    (r"conv_last\.", lambda found: "last.2."),
)


def rrdb(state: Mapping[str, Tensor]) -> Published | None:
    """ESRGAN's network, by any of its three sets of names, or None."""
    if not any(mark in state for mark in _RRDB_MARKS):
        return None
    renamed = _renamed(state, (*_numbered(state), *_RRDB))
    first, last = conv_sizes(renamed, "conv_first"), conv_sizes(renamed, "conv_last")
    growth = conv_sizes(renamed, "body.0.dense.0.convs.0")
    if first is None or last is None or growth is None:
        return None
    unshuffle = math.isqrt(first[1] // max(1, last[0]))
    scale = 2 ** count_numbers(renamed, rf"ups\.{NUMBER}\.weight") // max(1, unshuffle)
    sizes = {"width": first[0], "blocks": count_numbers(renamed, rf"body\.{NUMBER}\."), "growth": growth[0]}
    return Published("rrdb", {"channels": last[0], "scale": scale, "unshuffle": unshuffle, **sizes}, renamed)


def srresnet(state: Mapping[str, Tensor]) -> Published | None:
    """SRResNet without normalisation, or None."""
    if not all(mark in state for mark in _SRRESNET_MARKS):
        return None
    renamed = _renamed(state, _SRRESNET)
    first = conv_sizes(renamed, "first.0")
    stages = [
        conv_sizes(renamed, f"enlarge.{3 * number}")
        for number in range(count_numbers(renamed, r"enlarge\.(\d+)\.weight"))
    ]
    if first is None or None in stages:
        return None
    scale = math.prod(math.isqrt(stage[0] // max(1, first[0])) for stage in stages if stage is not None)
    sizes = {"width": first[0], "blocks": count_numbers(renamed, rf"body\.{NUMBER}\.")}
    return Published("srresnet", {"channels": first[1], "scale": scale, "norm": "none", **sizes}, renamed)


def srvgg(state: Mapping[str, Tensor]) -> Published | None:
    """Real-ESRGAN's compact network with PReLUs, or None. With other activations its names say too little."""
    numbers = [found for name in state if (found := re.fullmatch(rf"body\.{NUMBER}\.(?:weight|bias)", name))]
    first, slopes = conv_sizes(state, "body.0"), state.get("body.1.weight")
    last_number = max((int(found[1]) for found in numbers), default=0)
    last = conv_sizes(state, f"body.{last_number}")
    if len(numbers) != len(state) or first is None or last is None or slopes is None or slopes.ndim != 1:
        return None
    scale = math.isqrt(last[0] // max(1, first[1]))
    sizes = {"width": first[0], "convs": last_number // 2 - 1}
    arguments = {"channels": first[1], "scale": scale, "activation": "prelu", **sizes}
    return Published("srvgg", arguments, dict(state))


def _numbered(state: Mapping[str, Tensor]) -> Rules:
    """Rules for ESRGAN's first names, where all layers but the body's are numbers, in the order of the layers."""
    found = (re.fullmatch(rf"model\.{NUMBER}\.weight", name) for name in state)
    numbers = sorted(int(each[1]) for each in found if each)
    layers = ("conv_first", *(f"ups.{number}" for number in range(len(numbers) - 3)), "conv_hr", "conv_last")
    ours = dict(zip(numbers, layers, strict=False))
    return ((rf"model\.{NUMBER}\.(?=weight|bias)", lambda each: f"{ours.get(int(each[1]), each[0])}."),)


def _renamed(state: Mapping[str, Tensor], rules: Rules) -> dict[str, Tensor]:
    """Each name with its beginning as the first rule that matches says; as it is where two would become one."""
    renamed = {_by_rules(name, rules): value for name, value in state.items()}
    return renamed if len(renamed) == len(state) else dict(state)


def _by_rules(name: str, rules: Rules) -> str:
    for pattern, ours in rules:
        if found := re.match(pattern, name):
            return ours(found) + name[found.end() :]
    return name
