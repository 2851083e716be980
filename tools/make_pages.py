"""Draw pages to train on: print and screens, of which folders of photographs hold few.

    python tools/make_pages.py photos pages --count 120

Text on plain and on shaded ground, halftones (dots of any pitch and angle, in black and in four inks), ordered and
diffused dithers, stripes and checks, windows with lines and buttons; made of the photographs where they need one.
The same photographs and count always give the same files. PNG, RGB, 384 px.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIDE = 384  # px
TEXT = """light shade noise grain blur lens frame colour print paper signal camera sharp fine coarse level field dot
river 1937 24/7 (a) Fig. 12: xyz, total 48.20 EUR; No. 7 A B C D E F G"""
WORDS = TEXT.split()
Rng = np.random.Generator


def photograph(folder: Path, rng: Rng) -> Image.Image:
    names = sorted(each for each in folder.rglob("*") if each.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not names:
        raise SystemExit(f"{folder} holds no .jpg and no .png: give a folder of photographs")
    with Image.open(names[int(rng.integers(len(names)))]) as picture:
        side = int(min(picture.size) * rng.uniform(0.4, 1))
        left, top = (int(rng.integers(length - side + 1)) for length in picture.size)
        return picture.convert("RGB").crop((left, top, left + side, top + side)).resize((SIDE, SIDE))


def colour(rng: Rng, low: int, high: int) -> tuple[int, ...]:
    grey = rng.random() < 0.6
    return tuple(int(v) for v in (np.full(3, rng.integers(low, high)) if grey else rng.integers(low, high, 3)))


def text(page: Image.Image, rng: Rng, ink: tuple[int, ...]) -> Image.Image:
    """Lines of words, of one or two sizes."""
    draw, top = ImageDraw.Draw(page), int(rng.integers(2, 20))
    draw.fontmode = "1" if rng.random() < 0.25 else "L"
    while top < SIDE:
        size = int(rng.choice([8, 9, 10, 11, 12, 14, 16, 20, 28, 40]))
        for _ in range(int(rng.integers(1, 7))):
            line = " ".join(rng.choice(WORDS, int(rng.integers(4, 16))))
            draw.text((int(rng.integers(-4, 24)), top), line, ink, ImageFont.load_default(size))
            top += int(size * rng.uniform(1.15, 1.5)) + 1
        top += int(rng.integers(0, 24))
    return page


def printed(folder: Path, rng: Rng) -> Image.Image:
    ground, ink = colour(rng, 200, 256), colour(rng, 0, 70)
    if rng.random() < 0.25:
        ground, ink = ink, ground
    if rng.random() < 0.2:
        shade = np.linspace(0.6, 1, SIDE)[:, None, None] * np.array(ground)
        return text(Image.fromarray(np.broadcast_to(shade, (SIDE, SIDE, 3)).astype(np.uint8)), rng, ink)
    return text(Image.new("RGB", (SIDE, SIDE), (255,) * 3 if rng.random() < 0.5 else ground), rng, ink)


def screen(grey: np.ndarray, pitch: float, angle: float, sharp: float) -> np.ndarray:
    """Dots of one ink, 0 (ink) to 1; sharp: steepness of their edges."""
    row, column = np.mgrid[:SIDE, :SIDE] * (2 * math.pi / pitch)
    along = column * math.cos(angle) + row * math.sin(angle)
    across = row * math.cos(angle) - column * math.sin(angle)
    return ((grey - (0.5 + 0.25 * (np.cos(along) + np.cos(across)))) * sharp + 0.5).clip(0, 1)


def halftone(folder: Path, rng: Rng) -> Image.Image:
    """Hard or soft dots: black, or cyan, magenta, yellow and black at their own angles."""
    x = np.asarray(photograph(folder, rng), float) / 255
    pitch, sharp = rng.uniform(3.5, 14), float(rng.choice([2, 6, 1000]))
    if rng.random() < 0.6:
        angle = math.pi / 4 if rng.random() < 0.5 else rng.uniform(0, math.pi)
        x = np.repeat(screen(x.mean(2), pitch, angle, sharp)[..., None], 3, 2)
    else:
        x = np.stack([screen(x[..., c], pitch, math.radians((15, 75, 0)[c]), sharp) for c in range(3)], 2)
        x = x * screen(x.max(2), pitch, math.pi / 4, sharp)[..., None]
    return Image.fromarray(np.rint(255 * x).astype(np.uint8))


def dither(folder: Path, rng: Rng) -> Image.Image:
    """Black and white by a matrix or by diffusion, or few colours; pixels of 1 to 3 px."""
    zoom = int(rng.choice([1, 1, 2, 3]))
    small = photograph(folder, rng).resize((SIDE // zoom,) * 2)
    kind = rng.integers(3)
    if kind == 0:
        matrix = np.zeros((1, 1))
        for _ in range(int(rng.integers(1, 4))):
            matrix = np.block([[4 * matrix, 4 * matrix + 2], [4 * matrix + 3, 4 * matrix + 1]])
        tiles = SIDE // zoom // len(matrix) + 1
        limit = (np.tile(matrix, (tiles, tiles))[: SIDE // zoom, : SIDE // zoom] + 0.5) / matrix.size * 255
        small = Image.fromarray(np.where(np.asarray(small.convert("L")) > limit, 255, 0).astype(np.uint8)).convert(
            "RGB"
        )
    else:
        small = small.convert("1" if kind == 1 else "P").convert("RGB")
    return small.resize((SIDE, SIDE), Image.Resampling.NEAREST)


def pattern(folder: Path, rng: Rng) -> Image.Image:
    """Checks and stripes of 1 to 8 px, in four fields."""
    x = np.zeros((SIDE, SIDE, 3))
    for top in (0, SIDE // 2):
        for left in (0, SIDE // 2):
            row, column = np.mgrid[: SIDE // 2, : SIDE // 2] // int(rng.integers(1, 9))
            place = ((row + column, row, column)[rng.integers(3)] % 2)[..., None]
            x[top : top + SIDE // 2, left : left + SIDE // 2] = np.where(
                place, colour(rng, 0, 120), colour(rng, 130, 256)
            )
    return Image.fromarray(x.astype(np.uint8))


def window(folder: Path, rng: Rng) -> Image.Image:
    """A program's window: bars, boxes, lines of a pixel, an icon, words."""
    page = Image.new("RGB", (SIDE, SIDE), colour(rng, 225, 256) if rng.random() < 0.6 else colour(rng, 15, 60))
    draw = ImageDraw.Draw(page)
    for _ in range(int(rng.integers(8, 24))):
        left, top = (int(v) for v in rng.integers(-40, SIDE, 2))
        width, height = (int(v) for v in rng.integers(8, 160, 2))
        box = (left, top, left + width, top + height // int(rng.integers(1, 8)))
        kind = rng.integers(4)
        if kind == 0:
            draw.rectangle(box, colour(rng, 0, 256), colour(rng, 0, 256))
        elif kind == 1:
            draw.rounded_rectangle(box, 6, None, colour(rng, 0, 256))
        elif kind == 2:
            draw.line((left, top, left + width, top + int(rng.integers(-1, 2)) * height), colour(rng, 0, 256))
        else:
            size = int(rng.choice([9, 10, 11, 12, 14, 18]))
            draw.text((left, top), " ".join(rng.choice(WORDS, 3)), colour(rng, 0, 256), ImageFont.load_default(size))
    if rng.random() < 0.5:
        page.paste(photograph(folder, rng).resize((120, 120)), tuple(int(v) for v in rng.integers(0, SIDE - 120, 2)))
    return page


KINDS = (printed, halftone, dither, pattern, window, printed, halftone, dither)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("pages", type=Path, help="folder to write")
    parser.add_argument("--count", type=int, default=120)
    args = parser.parse_args()
    args.pages.mkdir(parents=True, exist_ok=True)
    for number in range(args.count):
        rng = np.random.default_rng(number)
        kind = KINDS[number % len(KINDS)]
        kind(args.photographs, rng).save(args.pages / f"page_{number:03}_{kind.__name__}.png")


if __name__ == "__main__":
    main()
