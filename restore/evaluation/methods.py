"""The methods that are measured: those of the task's table through the runner of users' pictures, or functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from restore.api import Restorer, loaded
from restore.degradations.cases import Array
from restore.errors import ConfigError, nearest
from restore.evaluation.samples import Sample
from restore.options import OneOf, kinds_of
from restore.picture import Picture
from restore.tasks import Task, method_names, option_names, options_class

Method = Callable[[Sample], Array | Mapping[str, Array]]
"""Restores a sample's inputs: the output that is judged, H x W x C, or outputs by name, the main one first."""


def restoring(restorer: Restorer) -> Method:
    """What `restore.load` gives, as a method."""

    def run(sample: Sample) -> Mapping[str, Array]:
        missing = [name for name in restorer.spec.inputs if name not in sample.inputs]
        if missing:
            raise ConfigError(f"the case makes no input {missing[0]!r}", fix=f"It makes {', '.join(sample.inputs)}")
        pictures = [Picture.from_array(sample.inputs[name], alpha=False) for name in restorer.spec.inputs]
        return {name: picture.pixels for name, picture in restorer.restore(*pictures).pictures.items()}

    return run


class TaskMethod:
    """A method of a task with its options; those that go with a sample (a PSF) are added for it.

    Args:
        task: its name.
        method: of the task's table, or "auto".
        options: as `restore.load` takes them.
    """

    def __init__(self, task: str, method: str = "auto", options: Mapping[str, Any] | None = None) -> None:
        self._task, self._method, self._options = task, method, dict(options or {})
        self._last: tuple[dict[str, Any], Restorer] | None = None

    def restorer(self, options: Mapping[str, Any]) -> Restorer:
        """The restorer for a sample's options. Raises `ConfigError` for one that the method does not take."""
        given = {**options, **self._options}
        if self._last is None or not _equal(self._last[0], given):
            self._last = given, loaded(self._task, self._method, given)
        return self._last[1]

    def loaded(self, sample: Sample) -> Method:
        """The method for a sample, its weights read, ready to be timed."""
        return restoring(self.restorer(sample.options))


def peer(task: Task, name: str) -> tuple[str, dict[str, Any]]:
    """(method, options) of a peer: a method of the task, or an algorithm of the method that has some.

    Raises `ConfigError` if it is neither.
    """
    if name in task.methods:
        return name, {}
    known = list(method_names(task))
    for method, entry in task.methods.items():
        algorithms = kinds_of(options_class(entry)).get("algorithm")
        if isinstance(algorithms, OneOf):
            if name in algorithms.choices:
                return method, {"algorithm": name}
            known += algorithms.choices
    fix = f"{nearest(name, known)}Known: {', '.join(known)}"
    raise ConfigError(f"there is no method or algorithm {name!r} to compare with", fix=fix)


def parsed_options(task: Task, words: Mapping[str, str]) -> dict[str, Any]:
    """Options by name from the words of a command line ("psf" -> "disc:2"), as the method that has them reads them.

    Raises `ConfigError` for a name or a value that no method takes.
    """
    parsed = {}
    for name, text in words.items():
        owners = [method for method in task.methods.values() if name in option_names(method)]
        if not owners:
            known = {each for method in task.methods.values() for each in option_names(method)}
            raise ConfigError(f"no method has an option {name!r}", fix=nearest(name, known) + "Leave it out")
        kind = kinds_of(options_class(owners[0])).get(name)
        try:
            parsed[name] = kind.parse(text) if kind else {"true": True, "false": False}[text]
        except (ValueError, KeyError) as error:
            fix = kind.advice(text) if kind else "Give true or false"
            raise ConfigError(f"the option {name} cannot be {text!r}", fix=fix) from error
    return parsed


def supported_options(task: Task, method: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of some options that a method takes."""
    return {name: value for name, value in options.items() if name in option_names(task.methods[method])}


def _equal(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether two sets of options are the same; arrays only if they are the same object."""
    plain = (str, int, float, bool, tuple, type(None))
    return a.keys() == b.keys() and all(
        a[name] is b[name] or (isinstance(a[name], plain) and a[name] == b[name]) for name in a
    )
