"""A network's spec held against the network: receptive radius, alignment, sizes, parameters, by trying.

The radius is structural, found by NaN probing: zeros in, some of them NaN, and the NaN in the output is what
those can reach. NaN survives convolution, ReLU, softmax, pooling and shuffling, and NaN * 0 is NaN, so
branches whose weights are still zero are seen, which a gradient would miss. Networks that sanitise NaN or
choose by comparison (`torch.where`, top-k) cannot be probed so.

Half a narrow strip of NaN reaches as far into the other half as the worst single pixel would in a square
picture, costs a fraction, and leaves no holes where dilated convolutions skip pixels. A network whose NaN
reaches the end of every strip up to `LONGEST_STRIP` is global.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from restore.errors import ModelError
from restore.models.spec import ModelSpec

GLOBAL = None  # the radius of a network whose every output depends on the whole picture
SHORTEST_STRIP = 256  # pixels; a single step farther than this (a dilation) would go unseen
LONGEST_STRIP = 4096

Reach = tuple[int, int]  # how many input pixels away a pixel is felt, towards the start and towards the end


def measure_radius(net: nn.Module, spec: ModelSpec) -> int | None:
    """Structural receptive radius of `net` in input pixels, the worst over both axes and all phases.

    Of `spec` only the needs are read (channels, scale, multiple_of, min_size); its radius is no more than a
    first guess at how large a probe to take. Returns `GLOBAL` (None) if the reach does not end within
    `LONGEST_STRIP` / 2 pixels. Raises `ModelError` for a network that swallows NaN.
    """
    reaches = _reaches(net, spec, phases=spec.multiple_of)
    return GLOBAL if reaches is None else _farthest(reaches)


def verify_spec(net: nn.Module, spec: ModelSpec) -> None:
    """Raise `ModelError` naming every point in which `spec` and `net` differ."""
    differences = _wrong_sizes(net, spec)
    if not differences:
        differences = _wrong_reach(net, spec)
    parameters = sum(p.numel() for p in net.parameters())
    if parameters != spec.parameters:
        differences.append(f"parameters: the spec says {spec.parameters}, the network has {parameters}")
    if differences:
        raise ModelError(
            f"{type(net).__name__} and its spec differ", why="; ".join(differences), fix="Correct the spec"
        )


def _wrong_sizes(net: nn.Module, spec: ModelSpec) -> list[str]:
    """Sizes the spec allows and the network refuses or answers with another shape."""
    step, least = spec.multiple_of, _least_side(spec)
    pictures, colours = len(spec.outputs), _colours(spec)
    for height, width in ((least, least), (least, least + step), (least + 3 * step, least + 2 * step)):
        name = "min_size" if height == width else "multiple_of"
        try:
            shape = tuple(_run(net, _blank(net, spec, height, width)).shape)
        except (RuntimeError, ValueError) as error:
            why = str(error).partition("\n")[0]
            return [f"{name}: the network does not run on {height} x {width} pixels: {why}"]
        expected = (1, pictures * colours, height * spec.scale, width * spec.scale)
        if shape != expected:
            said, got = (" x ".join(map(str, sizes)) for sizes in (expected, shape))
            return [f"output shape for {height} x {width} pixels: the spec says {said}, the network gives {got}"]
    return []


def _wrong_reach(net: nn.Module, spec: ModelSpec) -> list[str]:
    """Differences in radius and alignment. Twice the phases, so that too small a multiple_of shows."""
    reaches = _reaches(net, spec, phases=2 * spec.multiple_of)
    if reaches is None:
        if spec.tiling != "exact":
            return []
        return [f"tiling: the spec says exact with radius {spec.radius}, the network sees the whole picture"]
    differences = []
    radius = _farthest(reaches)
    if radius != spec.radius:
        differences.append(f"radius: the spec says {spec.radius}, the network reaches {radius}")
    period = max(_period(axis) for axis in reaches)
    if period != spec.multiple_of:
        needs = f"{period} or more" if period > spec.multiple_of else f"{period}"
        differences.append(f"multiple_of: the spec says {spec.multiple_of}, the network's grid is {needs}")
    return differences


def _farthest(reaches: list[list[Reach]]) -> int:
    return max(max(reach) for axis in reaches for reach in axis)


def _reaches(net: nn.Module, spec: ModelSpec, phases: int) -> list[list[Reach]] | None:
    """Reach of every phase, along rows and along columns; None for a global network."""
    found = []
    for axis in (2, 3):
        length = _ceil(max(SHORTEST_STRIP, 2 * spec.radius + 8 * spec.multiple_of), spec.multiple_of)
        while (reaches := _axis_reaches(net, spec, axis, length, phases)) is None:
            if length >= max(LONGEST_STRIP, 4 * spec.radius):
                return None
            length *= 2
        found.append(reaches)
    return found


def _axis_reaches(net: nn.Module, spec: ModelSpec, axis: int, length: int, phases: int) -> list[Reach] | None:
    """Reach at each phase, along a strip `length` long; None if the strip is too short."""
    least = _least_side(spec)
    strip = _blank(net, spec, *((length, least) if axis == 2 else (least, length)))
    middle = length // 2 // spec.multiple_of * spec.multiple_of
    found = []
    for position in range(middle, middle + phases):
        after, before = strip.clone(), strip.clone()
        after.narrow(axis, position, length - position).fill_(torch.nan)
        before.narrow(axis, 0, position + 1).fill_(torch.nan)
        first = _touched(net, spec, after, axis)[0]
        last = _touched(net, spec, before, axis)[-1]
        if first == 0 or last == length - 1:
            return None
        found.append((position - first, last - position))
    return found


def _touched(net: nn.Module, spec: ModelSpec, x: Tensor, axis: int) -> list[int]:
    """Places along `axis`, in input pixels, where the output is NaN."""
    touched = _run(net, x).isnan().any(dim=1).any(dim=4 - axis).flatten().nonzero().flatten().tolist()
    if not touched:
        fix = "Give its radius by hand"
        raise ModelError(f"{type(net).__name__} swallows NaN, its radius cannot be probed", fix=fix)
    return [place // spec.scale for place in touched]


def _period(reaches: list[Reach]) -> int:
    """Smallest shift that maps the phases onto themselves: the side of the network's grid."""
    count = len(reaches)
    return next(n for n in range(1, count + 1) if reaches[n:] == reaches[: count - n])


def _blank(net: nn.Module, spec: ModelSpec, height: int, width: int) -> Tensor:
    """Zeros, 1 x (colours + condition planes) x height x width, of the parameters' type and device."""
    planes = _colours(spec) + getattr(net, "condition_channels", 0)
    like = next(net.parameters(), torch.empty(0))
    return torch.zeros(1, planes, height, width, dtype=like.dtype, device=like.device)


def _run(net: nn.Module, x: Tensor) -> Tensor:
    # Winograd convolutions (cuDNN) mix pixels within their tiles and would show too large a reach.
    with _evaluating(net), torch.no_grad(), torch.backends.cudnn.flags(enabled=False):
        return net(x)


@contextmanager
def _evaluating(net: nn.Module) -> Iterator[None]:
    training = net.training
    net.eval()
    try:
        yield
    finally:
        net.train(training)


def _colours(spec: ModelSpec) -> int:
    return 3 if spec.channels is None else spec.channels


def _least_side(spec: ModelSpec) -> int:
    return _ceil(max(spec.min_size, 1), spec.multiple_of)


def _ceil(value: int, step: int) -> int:
    return -(-value // step) * step
