"""Weights to a file and back: a safetensors file says by itself which network it belongs to.

The header carries one text, `restore`: the JSON of a `Label` (model, arguments, card). Loading builds only
networks of `MODELS`, or the one the caller names: a file never chooses what code is imported.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch
from torch import Tensor, nn

from restore.errors import ConfigError, FileError, WeightsError, nearest
from restore.io.atomic import AtomicFile, write_error
from restore.io.weights_file import DOWNLOAD_AGAIN, Stored, read_texts, read_weights
from restore.models import MODELS, build, model_class
from restore.models.spec import ModelSpec, spec_of
from restore.naming import portable
from restore.zoo.card import Label, WeightsCard
from restore.zoo.published import recognised

LAYOUT = 1  # version of the label
INNER = "network"
"""The argument of networks around another (`restore.models.multi_output`) that names that one, and so names code."""
_NAME_IT = "model= / --model FOLDER/file.py:MyNet"
_SHOWN = 4  # differences of each kind in a message


class Loaded(NamedTuple):
    """A network with its weights: in eval mode, float32, on the CPU.

    Attributes:
        spec: the network's, with the task and the compute types of the card.
        card: None for files that carry none.
        sha256: of the tensors as stored.
        path: of the file.
    """

    net: nn.Module
    spec: ModelSpec
    card: WeightsCard | None
    sha256: str
    path: Path

    @property
    def name(self) -> str:
        """What the weights are called: the file's name without its ending."""
        return self.path.stem


def save_weights(
    path: str | Path,
    net: nn.Module,
    model: str,
    arguments: Mapping[str, Any],
    card: WeightsCard,
    *,
    half: bool = False,
) -> WeightsCard:
    """Write the weights of `net` with all that is needed to build it again; the file appears whole or not at all.

    Args:
        path: ends in .safetensors.
        net: what `build(model, **arguments)` gives, trained.
        model, arguments: as for `restore.models.build`; the arguments must survive JSON.
        card: its `sha256` is filled in.
        half: store float tensors as float16; they are loaded back as float32.
    Returns:
        the card as written.
    Raises:
        WeightsError: the network is not what `model` and `arguments` build, or a weight is not finite
            (after rounding to float16, if asked for).
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise WeightsError("weights are written as safetensors", where=path, fix="Name it *.safetensors")
    state = {name: value.detach().cpu().contiguous() for name, value in net.state_dict().items()}
    if half:
        state = {name: v.half() if v.is_floating_point() else v for name, v in state.items()}
    _check_fit(path, _blueprint(path, model, arguments), state, model)
    _check_finite(path, state)
    card = card.model_copy(update={"sha256": tensors_sha256(state)})
    inner = {INNER: portable(arguments[INNER])} if isinstance(arguments.get(INNER), str) else {}
    label = Label(layout=LAYOUT, model=portable(model), arguments={**arguments, **inner}, card=card)
    _write(path, safetensors.torch.save(state, {"restore": label.model_dump_json()}), card.sha256)
    return card


def read_network(path: str | Path, model: str | None = None, arguments: Mapping[str, Any] | None = None) -> Loaded:
    """The network of a weights file, whatever its task (for restoring: `restore.zoo.load`).

    Args:
        path: a file (see `restore.zoo.resolver.resolve` for names).
        model, arguments: which network the weights belong to, for files that do not say (.pth) and for networks
            outside `MODELS`, which are built only when named here.
    Raises:
        WeightsError: naming the file, the reason and what to do.
    """
    path = Path(path)
    stored = read_weights(path)
    known = None if "restore" in stored.metadata else recognised(stored.state)
    known = known if known is not None and model in (None, known.model) else None
    if known is not None:
        model, stored = known.model, Stored(known.state, stored.metadata)
        arguments = {**known.arguments, **(arguments or {})}
    model, arguments, card = _identity(path, stored, model, arguments)
    _check_fit(path, _blueprint(path, model, arguments), stored.state, model)
    _check_finite(path, stored.state)
    sha256 = tensors_sha256(stored.state)
    if card is not None and card.sha256 != sha256:
        why = f"sha256 of the tensors is {sha256[:16]}…, the header says {card.sha256[:16] or 'nothing'}…"
        raise WeightsError("the weights were changed or damaged", where=path, why=why, fix=DOWNLOAD_AGAIN)
    with torch.random.fork_rng(devices=[]):  # constructors draw initial weights
        net = build(model, **arguments)
    net.load_state_dict({n: v.float() if v.is_floating_point() else v for n, v in stored.state.items()})
    spec = _spec(path, net)
    if known is not None and known.task:
        spec = replace(spec, task=known.task)
    if card is not None:
        spec = replace(spec, task=card.task, dtypes=card.dtypes or spec.dtypes)
    return Loaded(net.float().eval(), spec, card, sha256, path)


def label_of(path: str | Path) -> Label:
    """The label of a weights file of this program; its tensors are not read. Raises `WeightsError`."""
    path = Path(path)
    text = read_texts(path).get("restore")
    if text is None:
        raise WeightsError("the file does not say which network it belongs to", where=path)
    return _label(path, text)


def tensors_sha256(state: Mapping[str, Tensor]) -> str:
    """Hex sha256 over the names, types, shapes and bytes of all tensors, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _identity(
    path: Path, stored: Stored, model: str | None, arguments: Mapping[str, Any] | None
) -> tuple[str, dict[str, Any], WeightsCard | None]:
    """Which network the weights belong to, with its card: by the header, or by the caller."""
    if "restore" not in stored.metadata:
        if model is None:
            fix = f"Name it: model= / --model, one of {', '.join(MODELS)} or my_pkg.my_file:MyNet"
            raise WeightsError("the file does not say which network it belongs to", where=path, fix=fix)
        return model, dict(arguments or {}), None
    label = _label(path, stored.metadata["restore"])
    inner = label.arguments.get(INNER)
    if model is not None and isinstance(inner, str) and portable(model) == portable(inner):
        model, arguments = label.model if label.model in MODELS else None, {INNER: model, **(arguments or {})}
    if model is not None and portable(model) != portable(label.model):
        _require_class(path, model)
        why = f"they are of {label.model!r}, not {model!r}"
        fix = "Leave --model out: the file says which network it belongs to"
        raise WeightsError("these are weights of another network", where=path, why=why, fix=fix)
    of_file = [] if model is not None else [label.model]
    of_file += [inner] if isinstance(inner, str) and ":" in inner and INNER not in (arguments or {}) else []
    for name in of_file:
        if name not in MODELS:
            raise WeightsError(
                f"the weights belong to {name!r}, which is not part of this program",
                where=path,
                fix=f"{nearest(name, MODELS)}If you trust that code, name it: {_NAME_IT}",
            )
    return model or label.model, {**label.arguments, **(arguments or {})}, label.card


def _require_class(path: Path, model: str) -> None:
    """Raise `WeightsError` if there is no such network at all."""
    try:
        model_class(model)
    except ConfigError as error:
        raise WeightsError(error.what, where=path, why=error.why, fix=error.fix) from error


def _label(path: Path, text: str) -> Label:
    try:
        values = json.loads(text)
        if isinstance(values, dict) and values.get("layout", LAYOUT) != LAYOUT:
            why = f"layout {values['layout']!r}, this version reads {LAYOUT}"
            raise WeightsError("the file is of another version of restore", where=path, why=why, fix="Update restore")
        return Label.model_validate(values)
    except (ValueError, RecursionError) as error:
        why = f"its label cannot be read: {error}".replace("\n", " ")[:200]
        raise WeightsError("the weights file is damaged", where=path, why=why, fix=DOWNLOAD_AGAIN) from error


def _blueprint(path: Path, model: str, arguments: Mapping[str, Any]) -> dict[str, Tensor]:
    """State of the network without memory behind it, so that no file makes us allocate what it does not hold."""
    try:
        with torch.device("meta"):
            return build(model, **arguments).state_dict()
    except ConfigError as error:
        raise WeightsError("the network cannot be built", where=path, why=str(error)) from error


def _check_fit(path: Path, expected: Mapping[str, Tensor], given: Mapping[str, Tensor], model: str) -> None:
    """Refuse tensors that are not the network's, saying in which names, shapes and kinds they differ."""
    differences = [
        _listed("missing", (n for n in expected if n not in given)),
        _listed("not in the network", (n for n in given if n not in expected)),
        _listed("different", (_mismatch(n, expected[n], given[n]) for n in expected if n in given)),
    ]
    if any(differences):
        raise WeightsError(
            f"these are not the weights of {model} as described",
            where=path,
            why="; ".join(filter(None, differences)),
            fix="Give the weights' own model and arguments",
        )


def _listed(what: str, texts: Iterable[str]) -> str:
    ordered = list(filter(None, texts))
    more = f" and {len(ordered) - _SHOWN} more" if len(ordered) > _SHOWN else ""
    return f"{what}: {', '.join(ordered[:_SHOWN])}{more}" if ordered else ""


def _mismatch(name: str, expected: Tensor, given: Tensor) -> str:
    if expected.shape != given.shape:
        return f"{name} is {_shape(given)}, the network's is {_shape(expected)}"
    if expected.is_floating_point() != given.is_floating_point():
        return f"{name} is stored as {_dtype(given)}, the network's is {_dtype(expected)}"
    return ""


def _shape(value: Tensor) -> str:
    return " x ".join(map(str, value.shape)) or "a single number"


def _dtype(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def _check_finite(path: Path, state: Mapping[str, Tensor]) -> None:
    for name, value in state.items():
        wrong = int((~torch.isfinite(value.float())).sum()) if value.is_floating_point() else 0
        if wrong:
            raise WeightsError(
                "the weights are not finite numbers",
                where=path,
                why=f"{wrong} of {value.numel()} values of {name} are NaN or infinite in {_dtype(value)}",
                fix="Take an earlier checkpoint; weights beyond 65504 cannot be stored as float16",
            )


def _spec(path: Path, net: nn.Module) -> ModelSpec:
    try:
        return spec_of(net)
    except ConfigError as error:
        what = f"the network {type(net).__name__} cannot be used"
        raise WeightsError(what, where=path, why=error.what, fix=error.fix) from error


def _write(path: Path, data: bytes, sha256: str) -> None:
    """Write, read back, rename."""

    def check(written: Path) -> None:
        if tensors_sha256(read_weights(written).state) != sha256:
            raise FileError("the weights read back are not those written", where=path, fix="Check the disk")

    file = AtomicFile(path)
    try:
        file.file.write(data)
    except OSError as error:
        file.abort()
        raise write_error(error, path) from error
    file.commit(check)
