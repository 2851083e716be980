"""Weights by name, for a task: the only way to weights for restoring, where the task of a file is checked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from restore.errors import WeightsError
from restore.naming import expanded
from restore.zoo.resolver import available_for, resolve

if TYPE_CHECKING:
    from restore.zoo.weights import Loaded


def load(name_or_path: str | Path, task: str, model: str | None = None, *, otherwise: str = "") -> Loaded:
    """The network of some weights, which must be of a task.

    Args:
        name_or_path: a name of the zoo or a file; see `restore.zoo.resolver.resolve`.
        task: a key of `restore.tasks`.
        model: the network's class, for weights of one outside this program (`restore.zoo.weights.read_network`).
        otherwise: what else can be done, the end of the error's sentence ("or work without weights: --method rl").
    Raises:
        WeightsError: there are no such weights, they cannot be used, or they are of another task.
    """
    from restore.zoo.weights import read_network

    path = resolve(name_or_path, otherwise=otherwise)
    loaded = read_network(path, model)
    if loaded.spec.task != task:
        names = ", ".join(available_for(task))
        fix = f"Use weights of that task: {names}" if names else "No weights of that task are on this machine"
        raise WeightsError(
            f"these weights are for the task {loaded.spec.task!r}, not {task!r}",
            where=path if expanded(name_or_path) == path else path.name,
            fix=f"{fix}, {otherwise}" if otherwise else fix,
        )
    return loaded
