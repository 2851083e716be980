"""A picture of the diagnosis of another picture's noise: `draw_diagnosis`, `write_diagnosis`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import chain, cycle, repeat
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from restore.analysis.colours import ColourView
from restore.engines.denoise.diagnosis import Diagnosis
from restore.io import write_picture
from restore.picture import Picture, PictureSource, ValueScale
from restore.report.plot import GREY, INK, SMALL, TEXT, TITLE, Axes, Colour, Line, fitted, font, plot, round_ticks

WIDTH, HEIGHT = 960, 844
_PAD, _GAP = 16, 16
_PANEL = (WIDTH - 2 * _PAD - _GAP) // 2, 320  # px, of the two pictures
_PLOT = _PANEL[0], 270
_TOP = 44
_MAGNIFIED = 4
_PATCH = 80, 112  # px, high and wide, of the flattest part
_CELL = 4  # px, side of the means that flatness is judged by: shows texture, averages noise
_CELLS = 1_000_000  # about as many at most, whatever the size of the picture
_INSIDE = 0.03, 0.97  # unit values; what is nearer to black or white is flat by clipping
_CLIPPED = 0.1  # variance that a clipped cell counts for
_GAIN = 32.0  # largest stretch of the contrast
_COLOURS: tuple[Colour, ...] = ((200, 40, 40), (30, 140, 60), (40, 80, 200))


def write_diagnosis(source: PictureSource, diagnosis: Diagnosis, path: Path) -> None:
    """Draw it into an 8-bit RGB PNG. Raises `FileError`; nothing half written stays."""
    pixels = draw_diagnosis(source, diagnosis)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_picture(Picture.from_array(pixels), path)


def draw_diagnosis(source: PictureSource, diagnosis: Diagnosis) -> np.ndarray:
    """The picture reduced, its flattest part magnified, level over intensity, autocorrelation, and the facts.

    Args:
        source: the picture that was diagnosed; it is read twice, by bands.
    Returns:
        `HEIGHT` x `WIDTH` x 3, uint8.
    """
    view = ColourView(source)
    sheet = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(sheet)
    right = _PAD + _PANEL[0] + _GAP
    name = source.info.path.name if source.info.path else "picture"
    draw.text((_PAD, 12), fitted(f"Noise of {name}", WIDTH - 2 * _PAD, TITLE), INK, font(TITLE))
    reduced, times = _reduced(view, diagnosis.scale)
    _framed(sheet, reduced, _PAD, _TOP)
    size = "in full" if times == 1 else f"reduced {times:.1f} times"
    _caption(draw, f"The picture, {size}", _PAD)
    patch, (x, y) = _flattest(view, diagnosis.scale)
    stretched, gain = _stretched(patch)
    _framed(sheet, np.kron(stretched, np.ones((_MAGNIFIED, _MAGNIFIED, 1), np.uint8)), right, _TOP)
    high, wide = patch.shape[:2]
    _caption(
        draw, f"Its flattest {wide} x {high} px, at {x},{y}: {_MAGNIFIED} times larger, contrast x {gain:.0f}", right
    )
    below = _TOP + _PANEL[1] + 30
    sheet.paste(_level_plot(diagnosis), (_PAD, below))
    sheet.paste(_correlation_plot(diagnosis), (right, below))
    for row, (fact, value) in enumerate(diagnosis.facts.items()):
        y = below + _PLOT[1] + 14 + 22 * row
        draw.text((_PAD, y), fact, GREY, font(TEXT))
        draw.text((_PAD + 100, y), fitted(value, WIDTH - 2 * _PAD - 100, TEXT), INK, font(TEXT))
    return np.asarray(sheet)


def _framed(sheet: Image.Image, pixels: np.ndarray, left: int, top: int) -> None:
    """In the middle of a panel of grey."""
    panel = Image.new("RGB", _PANEL, (238, 238, 238))
    image = Image.fromarray(pixels)
    panel.paste(image, ((_PANEL[0] - image.width) // 2, (_PANEL[1] - image.height) // 2))
    sheet.paste(panel, (left, top))


def _caption(draw: ImageDraw.ImageDraw, text: str, left: int) -> None:
    draw.text((left, _TOP + _PANEL[1] + 5), text, GREY, font(SMALL))


def _reduced(view: ColourView, scale: ValueScale) -> tuple[np.ndarray, float]:
    """(the picture small enough for its panel, h x w x 3 uint8; by what it was divided)."""
    times = max(1.0, view.info.width / _PANEL[0], view.info.height / _PANEL[1])
    image = Image.fromarray(_bytes(_means(view, scale, int(times))))
    image.thumbnail(_PANEL, Image.Resampling.BOX)
    return np.asarray(image), times


def _means(view: ColourView, scale: ValueScale, side: int) -> np.ndarray:
    """Means over side x side px in unit values, h x w x 3; what is left over at the right and bottom is left out.

    A picture that is narrower or lower than `side` is one mean there.
    """
    info = view.info
    across, down = min(side, info.width), min(side, info.height)
    wide, means = info.width // across, []
    rows = max(1, 512 // down) * down  # a band of bounded height
    for top in range(0, info.height // down * down, rows):
        band = _rgb(view.read_rows(top, min(top + rows, info.height // down * down)), scale)
        cells = band[:, : wide * across].reshape(-1, down, wide, across, 3)
        means.append(cells.mean((1, 3)))
    return np.concatenate(means)


def _flattest(view: ColourView, scale: ValueScale) -> tuple[np.ndarray, tuple[int, int]]:
    """(the part whose local means vary least, h x w x 3 unit values; its left and top)."""
    info, (high, wide) = view.info, _PATCH
    y = x = 0
    if info.height > high or info.width > wide:
        cell = max(_CELL, math.ceil(math.sqrt(info.pixels / _CELLS)))
        means = _means(view, scale, cell)
        rows, columns = (min(side // cell, count) for side, count in zip(_PATCH, means.shape, strict=False))
        spread = np.zeros((means.shape[0] - rows + 1, means.shape[1] - columns + 1))
        for channel in np.moveaxis(means, -1, 0).astype(np.float64):
            mean = _window_means(channel, rows, columns)
            spread += _window_means(channel**2, rows, columns) - mean**2
        brightness = means.mean(-1)
        clipped = (brightness < _INSIDE[0]) | (brightness > _INSIDE[1])
        spread += _CLIPPED * _window_means(clipped.astype(np.float64), rows, columns)
        y, x = (int(place) * cell for place in np.unravel_index(spread.argmin(), spread.shape))
    y, x = min(y, max(info.height - high, 0)), min(x, max(info.width - wide, 0))
    rows = view.read_rows(y, min(y + high, info.height))
    return _rgb(rows[:, x : x + wide], scale), (x, y)


def _window_means(plane: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Means over all rows x columns windows inside a plane."""
    total = np.pad(plane.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    windows = total[rows:, columns:] - total[:-rows, columns:] - total[rows:, :-columns] + total[:-rows, :-columns]
    return windows / (rows * columns)


def _stretched(patch: np.ndarray) -> tuple[np.ndarray, float]:
    """(around grey, with a contrast that shows three stds, an edge at the side not counted; the contrast)."""
    apart = patch - patch.mean((0, 1))
    reach = 2.6 * float(np.quantile(np.abs(apart), 0.75))  # 3 stds of Gaussian noise
    gain = min(0.5 / max(reach, 1e-6), _GAIN)
    return _bytes(0.5 + gain * apart), gain


def _level_plot(diagnosis: Diagnosis) -> Image.Image:
    """Level over intensity; of white noise the channels' stds beside; light ground where there are intensities."""
    noise = diagnosis.level.noise
    knots = [intensity for intensity, _ in diagnosis.curve]
    coloured = noise.channels == 3
    lines = [
        Line([(x, 255 * value) for x, value in zip(knots, channel, strict=True)], colour, name, 1)
        for channel, colour, name in zip(noise.levels, cycle(_COLOURS if coloured else (GREY,)), _names(coloured))
        if diagnosis.measurable and not noise.correlated  # else level and std are different things
    ]
    lines.append(Line(diagnosis.curve, INK, "level", 2.5))
    ticks = round_ticks(1.05 * max(1.0, *(value for line in lines for _, value in line.points)))
    low, high = (255 * value for value in diagnosis.level.seen)
    axes = Axes(
        "Noise level, 8-bit units" if diagnosis.measurable else "Noise level: not measured",
        "intensity, 0 to 255; shaded: occurs", (0, 255), (0, ticks[-1]), range(0, 256, 32), ticks, (low, high),
    )  # fmt: skip
    return plot(_PLOT, axes, lines)


def _names(coloured: bool) -> Iterator[str]:
    """Of the channels' stds in the legend; of channels that are no colours the first stands for all."""
    return chain(("std R", "std G", "std B") if coloured else ("std",), repeat(""))


def _correlation_plot(diagnosis: Diagnosis) -> Image.Image:
    """Autocorrelation over lag, with the 1/e that the correlation length is read at."""
    noise = diagnosis.level.noise
    values = noise.autocorrelation()
    kind = f"length {noise.correlation_length:.1f} px" if noise.correlated else "taken as white"
    axes = Axes(
        f"Autocorrelation: {kind if diagnosis.measurable else 'not measured'}", "lag, px", (0, len(values) - 1),
        (-0.2, 1.05), range(len(values)), (0, 0.25, 0.5, 0.75, 1), level=(np.exp(-1), "1/e"),
    )  # fmt: skip
    lines = [Line(list(enumerate(values)), _COLOURS[2], dots=True)] if diagnosis.measurable else []
    return plot(_PLOT, axes, lines)


def _rgb(rows: np.ndarray, scale: ValueScale) -> np.ndarray:
    """Stored samples as unit values, h x w x 3 float32: the first three channels, or the first as grey."""
    rows = rows[..., :3] if rows.shape[-1] >= 3 else rows[..., :1].repeat(3, -1)
    return scale.to_unit(rows.astype(np.float32))


def _bytes(unit: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(unit, 0.0, 1.0) * 255).astype(np.uint8)
