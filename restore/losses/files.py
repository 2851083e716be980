"""Where the weights of perceptual backbones lie on this machine. The network only where the user allows it.

Looked at in this order, the first that is there wins:

1. the path given by the caller;
2. the weights folder: `RESTORE_WEIGHTS_DIR`, or `backbones` in the user's folder of this program; first the file as
   its makers name it, then its trimmed form, `<stem>.features.safetensors` (`restore weights import FILE --trim`);
3. torch's own cache, `$TORCH_HOME/hub/checkpoints`;
4. a Python package that carries the file (it is located, never imported);
5. the publisher's address, only with `allow_download=True` or RESTORE_ALLOW_DOWNLOAD=1.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from restore.errors import WeightsError
from restore.io.home import below_home, home
from restore.naming import expanded

WEIGHT_FREE = "ms_ssim_l1, or charbonnier with fft"  # what to train with when there are no weights


class MissingWeightsError(WeightsError, FileNotFoundError):
    """Weights that a loss or metric needs are not on this machine."""


@dataclass(frozen=True)
class WeightsFile:
    """A file of weights, as its makers publish it.

    Attributes:
        name: canonical file name.
        size: for display ("548 MB").
        sha256: the first hex digits, "" if they are not known.
        url: the publisher's address, "" if there is none.
        package: (import name, path inside) of a Python package that carries it, or empty.
        get: how to obtain it.
    """

    name: str
    size: str
    sha256: str = ""
    url: str = ""
    package: tuple[str, str] | tuple[()] = ()
    get: str = ""

    @property
    def trimmed(self) -> str:
        """Name of the form that holds the features alone."""
        return f"{self.name.rpartition('.')[0]}.features.safetensors"


def weights_folder() -> Path:
    """The folder to copy weights to: `RESTORE_WEIGHTS_DIR`, or `backbones` in the user's folder of this program.

    Raises `FileError` where neither is known.
    """
    chosen = os.environ.get("RESTORE_WEIGHTS_DIR")
    return expanded(chosen) if chosen else home() / "backbones"


def _own_folders() -> list[Path]:
    """The weights folder; none for a user without one."""
    return [weights_folder()] if os.environ.get("RESTORE_WEIGHTS_DIR") else below_home("backbones")


def torch_folder() -> Path:
    """Torch's cache of checkpoints; as `torch.hub`, without creating it."""
    import torch

    return expanded(torch.hub.get_dir()) / "checkpoints"


def candidates(file: WeightsFile) -> list[Path]:
    """Every path at which the file is searched for, in order."""
    paths = [folder / name for folder in _own_folders() for name in (file.name, file.trimmed)]
    paths.append(torch_folder() / file.name)
    if file.package:
        package, inside = file.package
        spec = importlib.util.find_spec(package)
        folders = (spec.submodule_search_locations or []) if spec else [f"Python package {package}"]
        paths += [Path(folder) / inside for folder in folders]
    return paths


def find(
    file: WeightsFile, needed_by: str, weights: str | Path | None = None, allow_download: bool | None = None
) -> Path:
    """The file on this machine.

    Args:
        needed_by: what asks for it, for the message.
        weights: a path that replaces the search.
        allow_download: fetch it from its publisher if it is nowhere; None: as RESTORE_ALLOW_DOWNLOAD is set.
    Raises:
        MissingWeightsError: naming the file, its hash, every place searched and the way without weights.
        WeightsError: the file carries the canonical name, but is another.
    """
    searched = [expanded(weights)] if weights else candidates(file)
    for path in searched:
        if path.is_file():
            check_hash(path, file)
            return path
    if allow_download is None:
        allow_download = os.environ.get("RESTORE_ALLOW_DOWNLOAD", "") == "1"
    if allow_download and file.url and not weights:
        return _download(file)
    raise MissingWeightsError(
        f"{needed_by} needs weights that are not on this machine",
        where=file.name,
        why=f"{_facts(file)}; searched {', '.join(map(str, searched))}",
        fix=" ".join(_ways(file)),
    )


def check_hash(path: Path, file: WeightsFile) -> None:
    """Refuse a file that carries the canonical name but not its content. Raises `WeightsError`."""
    if not file.sha256 or path.name != file.name:
        return
    with path.open("rb") as opened:
        actual = hashlib.file_digest(opened, "sha256").hexdigest()
    if not actual.startswith(file.sha256):
        why = f"its sha256 starts with {actual[:8]}, not {file.sha256[:8]}"
        fix = "Delete it and copy it again: it is damaged, cut short or another file"
        raise WeightsError("the file is not what its name says", where=path, why=why, fix=fix)


def _facts(file: WeightsFile) -> str:
    return f"{file.size}, sha256 {file.sha256}…" if file.sha256 else file.size


def _ways(file: WeightsFile) -> list[str]:
    """What the user can do, sentence by sentence."""
    ways = [f"{file.get}." if file.get else ""]
    own = next(map(str, _own_folders()), "a folder")
    ways.append(f"Or copy the file to {own} (RESTORE_WEIGHTS_DIR names another folder).")
    if file.url:
        ways.append(f"It is published at {file.url}; RESTORE_ALLOW_DOWNLOAD=1 fetches it.")
    ways.append(f"Without weights: {WEIGHT_FREE}")
    return [way for way in ways if way]


def _download(file: WeightsFile) -> Path:
    import torch

    folder = torch_folder()
    try:
        torch.hub.load_state_dict_from_url(file.url, str(folder), "cpu", check_hash=True, weights_only=True)
    except (OSError, RuntimeError, ValueError) as error:
        why = " ".join(str(error).split())
        raise MissingWeightsError("the download failed", where=file.url, why=why, fix=" ".join(_ways(file))) from error
    return folder / file.name
