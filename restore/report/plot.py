"""Small line plots and text, drawn with Pillow: enough for a report, no plotting library needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

INK, GREY, FAINT, SHADE = (30, 30, 30), (110, 110, 110), (222, 222, 222), (240, 243, 248)
SMALL, TEXT, TITLE = 13, 15, 17
"""Font sizes, px."""
_FINE = 4  # lines are drawn so many times larger, then reduced: Pillow draws them with steps
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 30, 46  # px around the axes

Colour = tuple[int, int, int]
Points = Sequence[tuple[float, float]]
Place = Callable[[float, float], tuple[float, float]]


@dataclass(frozen=True)
class Line:
    """A curve of a plot.

    Attributes:
        points: (x, y), x increasing.
        label: its entry in the legend, "" for none.
        width: px.
        dots: mark every point.
    """

    points: Points
    colour: Colour = INK
    label: str = ""
    width: float = 2
    dots: bool = False


@dataclass(frozen=True)
class Axes:
    """What a plot shows.

    Attributes:
        x, y: first and last value of the axes; ends of y outside the lines' values cut them off.
        x_ticks, y_ticks: values that are labelled.
        shaded: (from, to) on x, drawn on a light ground.
        level: a y that is marked, and what it says there.
    """

    title: str
    x_label: str
    x: tuple[float, float]
    y: tuple[float, float]
    x_ticks: Sequence[float]
    y_ticks: Sequence[float]
    shaded: tuple[float, float] | None = None
    level: tuple[float, str] | None = None


def plot(size: tuple[int, int], axes: Axes, lines: Sequence[Line]) -> Image.Image:
    """An RGB picture of `size` (width, height) px: title and legend above, labelled axes, lines."""
    picture = Image.new("RGB", (size[0] * _FINE, size[1] * _FINE), "white")
    frame = _LEFT, _TOP, size[0] - _RIGHT, size[1] - _BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        across, up = (x - axes.x[0]) / (axes.x[1] - axes.x[0]), (y - axes.y[0]) / (axes.y[1] - axes.y[0])
        up = min(max(up, 0.0), 1.0)
        return frame[0] + across * (frame[2] - frame[0]), frame[3] - up * (frame[3] - frame[1])

    def magnified(*points: tuple[float, float]) -> list[tuple[float, float]]:
        return [(x * _FINE, y * _FINE) for x, y in points]

    draw = ImageDraw.Draw(picture)
    if axes.shaded:
        draw.rectangle(magnified(place(axes.shaded[0], axes.y[1]), place(axes.shaded[1], axes.y[0])), SHADE)
    for value in axes.y_ticks:
        draw.line(magnified(place(axes.x[0], value), place(axes.x[1], value)), FAINT, _FINE)
    for value in axes.x_ticks:
        draw.line(magnified(place(value, axes.y[0]), place(value, axes.y[1])), FAINT, _FINE)
    if axes.level:
        draw.line(magnified(place(axes.x[0], axes.level[0]), place(axes.x[1], axes.level[0])), GREY, _FINE)
    for line in lines:
        points = [place(*point) for point in line.points]
        draw.line(magnified(*points), line.colour, round(line.width * _FINE), joint="curve")
        for x, y in points if line.dots else ():
            draw.circle((x * _FINE, y * _FINE), 1.6 * line.width * _FINE, line.colour)
    draw.rectangle(magnified((frame[0], frame[1]), (frame[2], frame[3])), outline=GREY, width=_FINE)
    picture = picture.resize(size, Image.Resampling.BOX)
    _label(ImageDraw.Draw(picture), size, axes, [line for line in lines if line.label], place)
    return picture


def _label(draw: ImageDraw.ImageDraw, size: tuple[int, int], axes: Axes, legend: Sequence[Line], place: Place) -> None:
    """Words and numbers, at their final size."""
    draw.text((_LEFT, 6), axes.title, INK, font(TEXT))
    for value in axes.x_ticks:
        draw.text((place(value, 0)[0], size[1] - _BOTTOM + 6), f"{value:g}", GREY, font(SMALL), anchor="ma")
    for value in axes.y_ticks:
        draw.text((_LEFT - 7, place(axes.x[0], value)[1]), f"{value:g}", GREY, font(SMALL), anchor="rm")
    draw.text((size[0] - _RIGHT, size[1] - 6), axes.x_label, GREY, font(SMALL), anchor="rd")
    if axes.level:
        x, y = place(axes.x[1], axes.level[0])
        draw.text((x - 6, y - 3), axes.level[1], GREY, font(SMALL), anchor="rd")
    x = float(size[0] - _RIGHT)
    for line in reversed(legend):
        draw.text((x, 9), line.label, INK, font(SMALL), anchor="ra")
        x -= font(SMALL).getlength(line.label) + 5
        draw.line((x - 16, 17, x, 17), line.colour, max(1, round(line.width)))
        x -= 28


def round_ticks(top: float, count: int = 5) -> list[float]:
    """0 and the multiples of 1, 2 or 5 times a power of ten up to the first at or above `top`, at most `count` + 1."""
    step = next(
        base * 10.0**power
        for power in range(-3, 9)
        for base in (1, 2, 5)
        if base * 10.0**power * count >= top
    )  # fmt: skip
    return [round(step * number, 6) for number in range(count + 1) if step * (number - 1) < top]


def font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """The font that Pillow contains, in px."""
    return ImageFont.load_default(size=size)


def fitted(text: str, width: int, size: int) -> str:
    """A line of text cut to a width in px; characters outside the font's alphabet escaped."""
    text = text.encode("ascii", "backslashreplace").decode()
    if font(size).getlength(text) <= width:
        return text
    while text and font(size).getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."
