"""A network's spec held against the network: sizes, outputs, conditions, receptive radius, alignment, parameters.

The radius is structural, measured by NaN probing: zeros in, some of them NaN, and the NaN in the output is what
those can reach. NaN survives convolution, ReLU, softmax, pooling and shuffling, and NaN * 0 is NaN, so
branches whose weights are still zero are seen, which a gradient would miss. Networks that sanitise NaN or
choose by comparison (`torch.where`, top-k) cannot be probed so.

Half a narrow strip of NaN reaches as far into the other half as the worst single pixel would in a square
picture, costs a fraction, and leaves no holes where dilated convolutions skip pixels. A network whose NaN
reaches the end of every strip up to `LONGEST_STRIP` is global.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from restore.errors import ModelError, RestoreError
from restore.models.spec import ModelSpec

GLOBAL = None  # the radius of a network whose every output depends on the whole picture
SHORTEST_STRIP = 256  # pixels; a single step farther than this (a dilation) would go unseen
LONGEST_STRIP = 4096

Reach = tuple[int, int]  # how many input pixels away a pixel is felt, towards the start and towards the end


def measure_radius(net: nn.Module, spec: ModelSpec) -> int | None:
    """Structural receptive radius of `net` in input pixels, the worst over both axes and all phases.

    Of `spec` only the needs are read (channels, scale, multiple_of, min_size); its radius is no more than a
    first guess at how large a probe to take. Returns `GLOBAL` (None) if the reach does not end within
    `LONGEST_STRIP` / 2 pixels. Raises `ModelError` for a network that suppresses NaN.
    """
    reaches = _reaches(net, spec, phases=spec.multiple_of)
    return GLOBAL if reaches is None else _farthest(reaches)


class Example(NamedTuple):
    """What a network is called with.

    Attributes:
        pictures: B x (N colours) x H x W: all inputs, or all frames of a window, stacked along the channels.
        conditions: by keyword.
    """

    pictures: Tensor
    conditions: dict[str, Tensor]

    def colours(self, spec: ModelSpec) -> Tensor:
        """The one picture that a residual is added to."""
        return spec.base(self.pictures)


def verify_spec(net: nn.Module, spec: ModelSpec) -> None:
    """Raise `ModelError` naming every point in which `spec` and `net` differ.

    Sizes, outputs, finite values, conditions, `residual`, `blind` and parameters of every network; the radius and the
    alignment of those that are tiled exactly.
    """
    differences = _output_differences(net, spec)
    if not differences:
        differences += _residual_differences(net, spec) + _blind_differences(net, spec)
        differences += _reach_differences(net, spec) if spec.tiling == "exact" else []
    parameters = sum(p.numel() for p in net.parameters())
    if parameters != spec.parameters:
        differences.append(f"parameters: the spec says {spec.parameters}, the network has {parameters}")
    if differences:
        raise ModelError(
            f"{type(net).__name__} and its spec differ", why="; ".join(differences), fix="Correct the spec"
        )


def example(spec: ModelSpec, height: int, width: int, like: Tensor, batch: int = 1) -> Example:
    """Random pictures in [0, 1], the same every time, with valid conditions, of the type and device of `like`.

    Raises `ModelError` for a condition that the probe cannot make.
    """
    generator = torch.Generator().manual_seed(0)
    pictures = torch.rand(batch, spec.pictures * _colours(spec), height, width, generator=generator).to(like)
    return Example(pictures, {name: _condition(name)(pictures) for name in spec.conditions})


def _condition(name: str) -> Callable[[Tensor], Tensor]:
    """A condition -> its example for pictures B x C x H x W."""
    known: Mapping[str, Callable[[Tensor], Tensor]] = {
        "noise_level": lambda x: torch.full_like(x[:, :1], 0.1),
        "psf": _box,
    }
    if name not in known:
        raise ModelError(f"the probe knows no condition {name!r}", fix=f"Known: {', '.join(known)}")
    return known[name]


def _box(x: Tensor) -> Tensor:
    """A PSF of 5 x 5 px, or as large as tiny pictures allow: B x 1 x k x k, k odd, sum 1."""
    side = (min(5, *x.shape[-2:]) - 1) // 2 * 2 + 1
    return x.new_full((len(x), 1, side, side), 1 / side**2)


def _output_differences(net: nn.Module, spec: ModelSpec) -> list[str]:
    """Sizes that the spec allows and the network refuses, or answers with another shape or with no numbers."""
    step, least, colours = spec.multiple_of, _least_side(spec), _colours(spec)
    channels = sum(output.channels_of(colours) for output in spec.outputs)
    for height, width in ((least, least), (least, least + step), (least + 3 * step, least + 2 * step)):
        name, size = "min_size" if height == width else "multiple_of", f"{height} x {width} pixels"
        try:
            y = _run(net, example(spec, height, width, _like(net)))
        except TypeError as error:
            return [f"conditions: the network does not take {', '.join(spec.conditions) or 'a picture alone'}: {error}"]
        except (RuntimeError, ValueError, RestoreError) as error:
            why = str(error).partition("\n")[0]
            return [f"{name}: the network does not run on {size}: {why}"]
        if not isinstance(y, Tensor):
            return [f"outputs: the network gives {type(y).__name__}, not one tensor of all outputs' channels"]
        expected = (1, channels, height * spec.scale, width * spec.scale)
        if y.shape != expected:
            wanted, actual = (" x ".join(map(str, sizes)) for sizes in (expected, y.shape))
            return [f"output shape for {size}: the spec says {wanted}, the network gives {actual}"]
        if not y.isfinite().all():
            return [f"values: the network does not give finite numbers for {size} of [0, 1]"]
    return []


def _residual_differences(net: nn.Module, spec: ModelSpec) -> list[str]:
    """Whether the picture and `residual` are what `forward` gives."""
    if not spec.residual:
        return []
    method = getattr(net, "residual", None)
    if not callable(method):
        return ["residual: the spec says true, the network has no such method"]
    side = _least_side(spec) + spec.multiple_of
    inputs = example(spec, side, side, _like(net))
    added, whole = _run(net, inputs, method), _run(net, inputs)
    picture = inputs.colours(spec).repeat(1, spec.heads, 1, 1)
    if added.shape != picture.shape:
        return [f"residual: it gives {' x '.join(map(str, added.shape))}, which is not the picture's shape"]
    off = float((picture + added - whole).abs().max())
    return [f"residual: the picture and `residual` differ from `forward` by {off:.3g}"] if off > 1e-4 else []


def _blind_differences(net: nn.Module, spec: ModelSpec) -> list[str]:
    """Whether outputs of a blind network have no gradient at their own pixels."""
    if not spec.blind:
        return []
    side = _least_side(spec) + 8 * spec.multiple_of
    inputs = example(spec, side, side, _like(net))
    x = inputs.pictures.requires_grad_()
    with _evaluating(net), torch.enable_grad():
        y = net(x, **inputs.conditions)
        for row, column in ((0, 0), (side // 2, side // 3), (side - 1, side - 2)):
            (gradient,) = torch.autograd.grad(y[0, :, row, column].sum(), x, retain_graph=True)
            if gradient[0, :, row, column].any():
                return [f"blind: the spec says true, output ({row}, {column}) depends on its own input pixel"]
    return []


def _reach_differences(net: nn.Module, spec: ModelSpec) -> list[str]:
    """Differences in radius and alignment. Twice the phases, so that too small a multiple_of shows."""
    reaches = _reaches(net, spec, phases=2 * spec.multiple_of)
    if reaches is None:
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
    by_axis = []
    for axis in (2, 3):
        length = _ceil(max(SHORTEST_STRIP, 2 * spec.radius + 8 * spec.multiple_of), spec.multiple_of)
        while (reaches := _axis_reaches(net, spec, axis, length, phases)) is None:
            if length >= max(LONGEST_STRIP, 4 * spec.radius):
                return None
            length *= 2
        by_axis.append(reaches)
    return by_axis


def _axis_reaches(net: nn.Module, spec: ModelSpec, axis: int, length: int, phases: int) -> list[Reach] | None:
    """Reach at each phase, along a strip `length` long; None if the strip is too short."""
    least = _least_side(spec)
    size = (length, least) if axis == 2 else (least, length)
    middle = length // 2 // spec.multiple_of * spec.multiple_of
    by_phase = []
    for position in range(middle, middle + phases):
        after = _partly_nan(spec, size, _like(net), axis, slice(position, length))
        before = _partly_nan(spec, size, _like(net), axis, slice(0, position + 1))
        first = _touched(net, spec, after, axis)[0]
        last = _touched(net, spec, before, axis)[-1]
        if first == 0 or last == length - 1:
            return None
        by_phase.append((position - first, last - position))
    return by_phase


def _partly_nan(spec: ModelSpec, size: tuple[int, int], like: Tensor, axis: int, where: slice) -> Example:
    """Zeros of a size, with NaN at some places along an axis: pictures and maps of the picture's size."""
    inputs = example(spec, *size, like)
    for values in (inputs.pictures, *inputs.conditions.values()):
        if values.shape[-2:] == size:
            values.zero_().transpose(axis, -1)[..., where] = torch.nan
    return inputs


def _touched(net: nn.Module, spec: ModelSpec, inputs: Example, axis: int) -> list[int]:
    """CropPositions along `axis`, in input pixels, where the output is NaN."""
    touched = _run(net, inputs).isnan().any(dim=1).any(dim=4 - axis).flatten().nonzero().flatten().tolist()
    if not touched:
        fix = "Give its radius by hand"
        raise ModelError(f"{type(net).__name__} suppresses NaN, its radius cannot be probed", fix=fix)
    return [place // spec.scale for place in touched]


def _period(reaches: list[Reach]) -> int:
    """Smallest shift that maps the phases onto themselves: the side of the network's grid."""
    count = len(reaches)
    return next(n for n in range(1, count + 1) if reaches[n:] == reaches[: count - n])


def _like(net: nn.Module) -> Tensor:
    """A tensor of the parameters' type and device."""
    return next(net.parameters(), torch.empty(0)).detach()


def _run(net: nn.Module, inputs: Example, method: Callable[..., Any] | None = None) -> Tensor:
    # Winograd convolutions (cuDNN) mix pixels within their tiles and would show too large a reach.
    with _evaluating(net), torch.no_grad(), torch.backends.cudnn.flags(enabled=False):
        return (method or net)(inputs.pictures, **inputs.conditions)


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
