"""Settings from YAML and `key=value` words, checked before anything starts.

    settings = load_settings("denoise/plain_unet", ["data.train=[photos]", "train.budget=2h"])

A key that does not exist is an error that names the nearest (`restore.training.safe_yaml` reads the text).
"""

from __future__ import annotations

import dataclasses
import functools
import os
import typing
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from restore.errors import ConfigError, brief, nearest
from restore.io.regular_file import foreign_errors
from restore.naming import beside, expanded
from restore.options import seconds_of
from restore.tasks import all_tasks, case_class, task_named
from restore.training.safe_yaml import parse_yaml, read_yaml
from restore.training.settings import Settings

if TYPE_CHECKING:
    from restore.data.batches import Batch
    from restore.degradations.degradation import Role

_Kind = TypeVar("_Kind")
_PACKAGE, _ROOT = Path(__file__).resolve().parents[1:3]
MAX_CROP = 4096
"""Side of the crops that a network may be asked to learn from."""
PACKAGED = (_ROOT if (_ROOT / "pyproject.toml").is_file() else _PACKAGE) / "configs"
"""The configs of the checkout this program runs from, else those of the installed package."""


def load_settings(config: str | Path, overrides: Sequence[str] = ()) -> Settings:
    """The settings of a config with some of them changed; nothing is built (see `check_buildable`).

    Args:
        config: a YAML file, or the name of a packaged one ("denoise/plain_unet").
        overrides: "train.steps=2000", "data.train=[photos, more]", "objective.losses.l1=1".
    Raises:
        ConfigError: no such config; an unknown setting (naming the nearest) or a wrong value, naming it.
    """
    path = find_config(config)
    with _reading(path):
        return settings_from(_tree(path, {}, overrides), path)


def load_stages(config: str | Path, overrides: Sequence[str] = ()) -> tuple[Settings, ...]:
    """The settings of each run of a config, in their order: one, or one for each of its stages.

    A stage's settings differ from the config's as the stage says, and from both as the overrides say. The first alone
    has `begin`; `train.steps` and `train.budget` are divided by the shares. Raises `ConfigError` as `load_settings`.
    """
    path = find_config(config)
    with _reading(path):
        whole = settings_from(_tree(path, {}, overrides), path)
        total = sum(stage.share for stage in whole.stages)
        return tuple(_of_stage(path, n, whole, total, overrides) for n in range(len(whole.stages))) or (whole,)


def _of_stage(path: Path, number: int, whole: Settings, total: float, overrides: Sequence[str]) -> Settings:
    """The settings of one stage, of all whose shares come to `total`."""
    stage = whole.stages[number]
    tree = _tree(path, stage.settings, overrides) | {"stages": []}
    settings = settings_from(tree if number == 0 else tree | {"begin": ""}, path)
    share, budget = stage.share / total, settings.train.budget
    steps = max(1, round(settings.train.steps * share))
    train = replace(settings.train, steps=steps, budget=budget and budget * share)
    return replace(settings, train=train)


def _reading(path: Path) -> AbstractContextManager[None]:
    """Whatever is wrong with a config, as a `ConfigError` that names it."""
    return foreign_errors(path, "this config cannot be used", ConfigError, "Check its settings")


@functools.cache
def recipes() -> dict[str, str]:
    """Name of shipped weights -> the packaged config that makes them ("deconv": "deconv/wiener_unet")."""
    return {settings.weights: name for name in packaged() if (settings := load_settings(name)).weights != "none"}


def packaged() -> dict[str, Path]:
    """Name -> file of the packaged configs."""
    files = sorted(PACKAGED.rglob("*.yaml"))
    return {each.relative_to(PACKAGED).with_suffix("").as_posix(): each for each in files}


def _tree(path: Path, changes: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A config's nested dicts, with some settings by their dotted names and then the words changed."""
    tree = read_yaml(path)
    if not isinstance(tree, dict):
        raise ConfigError("a config is a mapping of settings", where=path)
    for key, value in changes.items():
        _set(tree, key, value)
    _locate(tree, path.parent)
    for word in overrides:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise ConfigError(f"{word!r} is not a setting", fix="Write key=value, for example train.steps=2000")
        _set(tree, key, parse_yaml(text, key))
    return tree


def settings_from(tree: dict[str, Any], where: str | Path | None = None) -> Settings:
    """Checked settings from nested dicts. Raises `ConfigError` as `load_settings`."""
    _check_names(tree, Settings, where)
    train = tree.get("train")
    if isinstance(train, dict) and isinstance(train.get("budget"), str):
        tree = {**tree, "train": {**train, "budget": seconds_of(train["budget"])}}
    settings = _checked(tree, Settings, where)
    return replace(settings, evaluation=replace(settings.evaluation, cases=_cases(settings, where)))


def _cases(settings: Settings, where: str | Path | None) -> dict[str, Any]:
    """The evaluation's cases by name, as the task has them; its standard ones where none are listed."""
    cases, tasks = settings.evaluation.cases, all_tasks()
    if settings.task not in tasks and not cases:
        return {}
    kind = case_class(task_named(settings.task))
    if kind is None and cases:
        raise ConfigError(f"the task {settings.task} has no cases to evaluate", where=where, fix="Leave out the cases")
    if kind is None or not cases:
        return {} if kind is None else dict(kind.standard())
    read = {}
    for name, case in cases.items():
        key = f"evaluation.cases.{name}."
        if isinstance(case, dict):
            _check_names(case, kind, where, key)
        read[name] = _checked(case, kind, where, key)
    return read


def _check_names(tree: Mapping[str, Any], kind: type, where: str | Path | None, above: str = "") -> None:
    """Raises `ConfigError` for the first key that is no setting."""
    for key, parent in _unknown(tree, kind, above):
        name = key.rpartition(".")[2]
        fix = f"{nearest(name, _fields(parent))}It takes {', '.join(_fields(parent))}"
        raise ConfigError(f"there is no setting {key!r}", where=where, fix=fix)


def _checked(tree: Any, kind: type[_Kind], where: str | Path | None, above: str = "") -> _Kind:
    """An object of a dataclass from nested dicts. Raises `ConfigError` naming the setting that is wrong."""
    try:
        return TypeAdapter(kind).validate_python(tree)
    except ConfigError as error:  # of the class itself
        raise (error if where is None else error.at(where)) from None
    except ValidationError as error:
        first = error.errors()[0]
        loc = first["loc"][:1] if above else first["loc"]  # of a case the field alone, not which of its types
        key = (above + ".".join(map(str, loc))).rstrip(".")
        raise ConfigError(f"{key} cannot be {brief(first['input'])}", where=where, why=first["msg"]) from error


def find_config(config: str | Path) -> Path:
    """The file of a config. Raises `ConfigError` naming the packaged configs if there is none."""
    path = expanded(config)
    if os.path.isfile(path):  # noqa: PTH113 - any text may be asked for, also one that is no file name
        return path
    known = packaged()
    if str(config) in known:
        return known[str(config)]
    if os.path.exists(path) and str(config):  # noqa: PTH110 - a folder or a device: reading it says so
        return path
    hint = nearest(str(config), known)
    raise ConfigError(
        f"there is no config {brief(str(config))}", fix=f"{hint}Known: {', '.join(known)}; or give a file"
    )


def _locate(tree: dict[str, Any], folder: Path) -> None:
    """Files of code that a config names lie beside it, not where the program was started."""
    named = ("model", "objective", "degradation")
    model, objective, damage = (part if isinstance(part := tree.get(key), dict) else {} for key in named)
    for part in (model, objective, damage):
        if isinstance(part.get("name"), str):
            part["name"] = beside(part["name"], folder)
    inner = model.get("arguments")
    if isinstance(inner, dict) and isinstance(inner.get("network"), str):
        inner["network"] = beside(inner["network"], folder)
    if isinstance(objective.get("losses"), dict):
        objective["losses"] = {beside(str(name), folder): value for name, value in objective["losses"].items()}


def _set(tree: dict[str, Any], key: str, value: Any) -> None:
    """Set "a.b.c" in nested dicts."""
    *parents, last = key.split(".")
    for parent in parents:
        below = tree.setdefault(parent, {})
        if not isinstance(below, dict):
            raise ConfigError(f"there is no setting {key!r}: {parent} holds a value")
        tree = below
    tree[last] = value


def _unknown(tree: Mapping[str, Any], kind: type, above: str = "") -> Iterator[tuple[str, type]]:
    """(key, the settings it is looked for in) of the first unknown keys."""
    hints: dict[str, Any] = typing.get_type_hints(kind)
    for key, value in tree.items():
        if key not in hints:
            yield f"{above}{key}", kind
        else:
            for path, part, kind_of_part in _parts(key, value, hints[key]):
                yield from _unknown(part, kind_of_part, f"{above}{path}.")


def _parts(key: str, value: Any, hint: Any) -> Iterator[tuple[str, dict[str, Any], type]]:
    """(path, values, type) of the settings below a key: one, or several by name or number where it is a
    dict[str, Settings] or a tuple[Settings, ...]."""
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        yield key, value, typing.cast(type, hint)
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for inner in typing.get_args(hint):
        if dataclasses.is_dataclass(inner):
            for name, part in below:
                if isinstance(part, dict):
                    yield f"{key}.{name}", part, typing.cast(type, inner)


def _fields(kind: type) -> list[str]:
    return [each.name for each in dataclasses.fields(kind)]


def check_buildable(settings: Settings, *, trained: bool = True) -> None:
    """Build what is to be trained without memory behind it, so that mistakes are named before the data is read.

    Args:
        trained: the network begins with weights whatever `settings.begin` says: a stage's before, or a checkpoint's.
    Raises:
        ConfigError: a network, objective, loss or degradation cannot be built as described, or the objective needs a
            trained network and there is none.
    """
    import torch

    from restore.losses.table import build_losses
    from restore.models import build
    from restore.models.spec import spec_of
    from restore.training.run import objective_of, untrained

    with torch.random.fork_rng(devices=[]):  # discriminators draw their first weights
        with torch.device("meta"):
            network = build(settings.model.name, **settings.model.arguments)
        objective = objective_of(settings, network)
    if not (trained or settings.begin or objective.from_scratch):
        raise untrained(settings)
    spec = spec_of(network)
    multiple = spec.multiple_of * spec.scale  # crops are those of the targets
    if not 1 <= settings.data.crop <= MAX_CROP or settings.data.crop % multiple:
        fix = f"This network needs a multiple of {multiple}, at most {MAX_CROP}"
        raise ConfigError(f"data.crop is {settings.data.crop}", fix=fix)
    objective.damaged(_grey(objective.roles, settings.data.crop))
    crop = torch.zeros(1, 3, settings.data.crop, settings.data.crop)  # of the targets
    for _, loss in build_losses(settings.objective.losses or {}, objective.loss_table).values():
        loss(crop, crop)  # crops too small for a loss are named now


def _grey(roles: Mapping[str, Role], crop: int) -> Batch:
    """A batch of one grey item."""
    import torch

    from restore.data.batches import Batch

    pictures = {}
    for role, how in roles.items():
        if how.optional:
            continue
        side = int(crop * how.ratio)
        frames = (how.frames,) if how.frames > 1 else ()
        pictures[role] = torch.full((1, *frames, 3, side, side), 0.5)
    return Batch(pictures, 0, 0, 0)
