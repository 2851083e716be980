"""A sheet on which people choose between two results, picture by picture: one HTML file that needs no network.

Two-alternative forced choice, the test that perceptual losses and adversarial networks rest on (Snell et al.,
https://arxiv.org/abs/1511.06409; Ledig et al., https://arxiv.org/abs/1609.04802): two crops of the same place, at one
pixel of the picture for one of the screen, on sides drawn at random; the answers are counted, with the sign test and an
exact interval, by the page itself (`preference.html`).
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from restore.data.pairs import match_pairs
from restore.errors import ConfigError, FileError, UnsupportedError
from restore.evaluation.pictures import require_alike
from restore.files import read
from restore.io.atomic import AtomicFile, make_folder, write_error
from restore.physics.random import generator_for
from restore.picture import Picture, ValueScale

CROP = 512
"""Side of the crops that are shown, px, at most."""
_PAGE = Path(__file__).with_name("preference.html")
_Array = np.ndarray[Any, Any]


class Candidates(NamedTuple):
    """Files of one trial.

    Attributes:
        name: for people.
        truth: the picture that both should be like, if one is shown.
    """

    name: str
    a: Path
    b: Path
    truth: Path | None = None


@dataclass(frozen=True)
class Trial:
    """What is shown: crops of one place.

    Attributes:
        place: left, top, width, height, px.
        images: of "A", "B" and perhaps "truth": H x W x 1 or 3, uint8.
    """

    name: str
    place: tuple[int, int, int, int]
    images: dict[str, _Array]


def find_candidates(
    a: str | Path, b: str | Path, truth: str | Path | None = None, endings: tuple[str, str] = ("", "")
) -> tuple[list[Candidates], list[str]]:
    """(files to compare, one line for every file without a counterpart) of two pictures or two folders.

    Args:
        truth: a picture, or a folder whose files have the same names but for their type.
        endings: ends of the names in A and B that are left out when they are compared.
    Raises:
        ConfigError: files and folders are mixed. FileError: a folder is none.
    """
    a, b, truth = Path(a), Path(b), None if truth is None else Path(truth)
    given = [path for path in (a, b, truth) if path is not None]
    if len({path.is_dir() for path in given}) > 1:
        raise ConfigError("some are folders, the others are not", where=a, fix="Give pictures only, or folders only")
    if not a.is_dir():
        return [Candidates(a.stem, a, b, truth)], []
    pairing = match_pairs(a, b, damaged_ending=endings[0], clean_ending=endings[1], sizes=False)
    lines = [f"{path}: {b} holds no counterpart" for path in pairing.only_damaged]
    lines += [f"{path}: {a} holds no counterpart" for path in pairing.only_clean]
    lines += [f"{path}: another file has the same name but for its type" for path in pairing.ambiguous]
    lines += [f"{path}: {reason}" for path, reason in pairing.unreadable]
    named = {path.relative_to(a).with_suffix("").as_posix().removesuffix(endings[0]): (path, own)
             for path, own in pairing.pairs}  # fmt: skip
    if truth is None:
        return [Candidates(name, *both) for name, both in named.items()], lines
    truths = dict(match_pairs(a, truth, damaged_ending=endings[0], sizes=False).pairs)
    lines += [f"{path}: {truth} holds no truth of it" for path, _ in named.values() if path not in truths]
    return [Candidates(name, x, y, truths[x]) for name, (x, y) in named.items() if x in truths], lines


def trial_of(files: Candidates, side: int = CROP) -> Trial:
    """The crops of a trial, where its two pictures differ most.

    Pictures are shown as 8 bits, each with its own nominal white; alpha and colour profiles are left out.

    Raises:
        UnsupportedError: sizes or channels differ, or the two are equal.
        RestoreError: a file cannot be read.
    """
    pictures = {"A": read(files.a), "B": read(files.b)}
    if files.truth is not None:
        pictures["truth"] = read(files.truth)
    for each in pictures.values():
        require_alike(each.info, pictures["A"].info)
    codes = {key: _bytes(picture) for key, picture in pictures.items()}
    difference = np.abs(codes["A"].astype(np.float32) - codes["B"]).sum(-1)
    if not difference.any():
        raise UnsupportedError("both pictures are the same", where=files.a, why=f"as {files.b}", fix="Leave them out")
    height, width = (min(side, length) for length in difference.shape)
    top, left = _most(difference, height, width)
    images = {key: np.ascontiguousarray(x[top : top + height, left : left + width]) for key, x in codes.items()}
    return Trial(files.name, (left, top, width, height), images)


def sides(count: int, seed: int) -> list[str]:
    """Which of "A" and "B" is on the left in each of `count` trials: each in half of them (of an odd number A in one
    more or less), in random order."""
    generator = generator_for(seed, 0)
    odd = int(torch.randint(2, (1,), generator=generator))
    letters = ["A"] * ((count + odd) // 2)
    letters += ["B"] * (count - len(letters))
    return [letters[place] for place in torch.randperm(count, generator=generator).tolist()]


def write_preference(
    trials: Sequence[Trial], names: tuple[str, str], path: Path, *, seed: int = 0
) -> list[dict[str, Any]]:
    """Write the sheet; it appears whole or not at all.

    Args:
        trials: in any order: that in which they are shown is drawn from the seed.
        names: of A and B, told at the end.
        seed: of the order and the sides.
    Returns:
        name, place and the letter on the left of each trial, in the order shown.
    Raises:
        ConfigError: no trials. FileError: it cannot be written.
    """
    if not trials:
        raise ConfigError("there is nothing to choose between", fix="Give two pictures, or folders with equal names")
    order = torch.randperm(len(trials), generator=generator_for(seed, 1)).tolist()
    shown = [
        {"name": trials[number].name, "place": list(trials[number].place), "left": left}
        for number, left in zip(order, sides(len(trials), seed), strict=True)
    ]
    truth = any("truth" in trial.images for trial in trials)
    data = {
        "A": names[0], "B": names[1], "seed": seed,
        "question": "Which one is more like the original above?" if truth else "Which one looks better?",
        "trials": [
            facts | {"images": {key: _url(x) for key, x in trials[number].images.items()}}
            for number, facts in zip(order, shown, strict=True)
        ],
    }  # fmt: skip
    text = json.dumps(data).replace("<", "\\u003c")  # so that no name can end the script
    _write(path, _PAGE.read_text(encoding="utf-8").replace("@DATA@", text).encode())
    return shown


def _most(difference: _Array, height: int, width: int) -> tuple[int, int]:
    """Top and left of the height x width px with the greatest sum."""
    total = np.pad(difference.cumsum(0, dtype=np.float64).cumsum(1), ((1, 0), (1, 0)))
    sums = total[height:, width:] - total[:-height, width:] - total[height:, :-width] + total[:-height, :-width]
    top, left = np.unravel_index(sums.argmax(), sums.shape)
    return int(top), int(left)


def _bytes(picture: Picture) -> _Array:
    colours = 3 if picture.info.channels >= 3 else 1
    unit = ValueScale.nominal(picture.info).to_unit(picture.pixels[..., :colours].astype(np.float32))
    return np.rint(np.clip(np.nan_to_num(unit), 0, 1) * 255).astype(np.uint8)


def _url(pixels: _Array) -> str:
    """A PNG in a data URL."""
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _write(path: Path, data: bytes) -> None:
    def check(written: Path) -> None:
        if written.read_bytes() != data:
            raise FileError("what was written is not what is read back", where=path, fix="Check the disk")

    make_folder(path.parent)
    file = AtomicFile(path)
    try:
        file.file.write(data)
    except OSError as error:
        file.abort()
        raise write_error(error, path) from error
    file.commit(check)
