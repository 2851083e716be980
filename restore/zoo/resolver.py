"""From a name to a weights file on this machine. Never the network.

CropPositions, in this order: the path itself if it is one, the weights folder of `home()`, the folder shipped with the
program.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from restore.errors import WeightsError, nearest
from restore.io.home import below_home
from restore.naming import expanded

if TYPE_CHECKING:
    from restore.zoo.card import WeightsCard

PACKAGED = Path(__file__).parent
_FILES = (".safetensors", ".pth", ".pt", ".ckpt")


class Verified(NamedTuple):
    """One weights file on this machine: its card, or what is wrong with it."""

    name: str
    path: Path
    card: WeightsCard | None
    problem: WeightsError | None


def weights_folders() -> tuple[Path, ...]:
    """Folders in which names are looked up, in order."""
    return *below_home("weights"), PACKAGED


def available() -> dict[str, Path]:
    """Every named weights file on this machine; the first place wins. What else lies there, folders too, is no file."""
    files: dict[str, Path] = {}
    for folder in weights_folders():
        for path in sorted(path for path in folder.glob("*.safetensors") if path.is_file()):
            files.setdefault(path.stem, path)
    return files


def available_for(task: str) -> list[str]:
    """Names of the weights of a task on this machine, by their labels alone; unreadable files are left out."""
    from restore.zoo.weights import label_of

    names = []
    for name, path in available().items():
        try:
            label = label_of(path)
        except WeightsError:  # `restore weights verify` says what is wrong with it
            continue
        names += [name] if label.card.task == task else []
    return names


def resolve(name_or_path: str | Path, *, otherwise: str = "") -> Path:
    """The weights file of a name ("denoise") or a path ("my.safetensors", "runs/last.pth").

    Args:
        otherwise: what else can be done, the end of the error's sentence.
    Raises:
        WeightsError: naming the file and every place searched.
    """
    text = str(name_or_path)
    path = expanded(name_or_path)
    if isinstance(name_or_path, Path) or path.suffix.lower() in _FILES or path.name != text:
        if os.path.exists(path):  # noqa: PTH110 - any text may be asked for, also one that is no file name
            return path
        raise _absent(path, [path.absolute().parent], nearest(path.stem, available()), otherwise)
    known = available()
    if text in known:
        return known[text]
    if os.path.isfile(path):  # noqa: PTH113
        raise WeightsError("this is no weights file", where=path, fix=f"Weights end in {', '.join(_FILES)}")
    raise _absent(f"{text}.safetensors", weights_folders(), nearest(text, known), otherwise)


def verify_all() -> list[Verified]:
    """Load every named weights file, as `restore weights verify` does: sha256, header, shapes, values."""
    from restore.zoo.weights import read_network

    results = []
    for name, path in available().items():
        try:
            results.append(Verified(name, path, read_network(path).card, None))
        except WeightsError as error:
            results.append(Verified(name, path, None, error))
    return results


def _absent(where: str | Path, searched: Sequence[Path], hint: str, otherwise: str) -> WeightsError:
    own = next(map(str, below_home("weights")), "a folder of yours and name it by its path")
    return WeightsError(
        "these weights are not on this machine",
        where=where,
        why=f"looked in {', '.join(map(str, searched))}",
        fix=f"{hint}Put the file into {own}" + (f", {otherwise}" if otherwise else ""),
    )
