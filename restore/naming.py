"""Code by name: "module:name" for what is installed, "folder/file.py:name" for a file of the user's own.

Only a config or a command line of the user names code; a weights file never does.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from restore.errors import ConfigError, nearest

_PACKAGE = "restore_user"  # the modules of users' files, so that a numpy.py of theirs is not taken for numpy


def imported(name: str, known: Mapping[str, str], what: str, like: str) -> Any:
    """The object behind a short name of `known`, or behind "module:name" or "folder/file.py:name".

    Args:
        known: short name -> "module:name".
        what: is looked for ("model"), for the error.
        like: an example of a name ("MyNet"), for the error.
    Raises:
        ConfigError: there is none, naming the nearest short name; or it cannot be imported.
    """
    place, colon, attribute = known.get(name, name).rpartition(":")
    if not colon or not place or not attribute:
        choice = f"{nearest(name, known)}Known: {', '.join(known)}"
        raise ConfigError(f"no {what} is called {name!r}", fix=f"{choice}; or give my_file.py:{like} or my_pkg:{like}")
    try:
        module = _from_file(expanded(place).resolve()) if is_file(name) else importlib.import_module(place)
    except ConfigError as error:
        raise ConfigError(f"{what} {name!r} cannot be imported", why=error.what, fix=error.fix) from error
    except (Exception, SystemExit) as error:  # whatever the user's code raises
        why = str(error) if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"
        fix = "Check the file" if is_file(name) else "Check that the module is installed or on PYTHONPATH"
        raise ConfigError(f"{what} {name!r} cannot be imported", why=why, fix=fix) from error
    if not hasattr(module, attribute):
        fix = nearest(attribute, vars(module)) + "Check its spelling"
        raise ConfigError(f"{what} {name!r} cannot be imported", why=f"{place} has no {attribute}", fix=fix)
    return getattr(module, attribute)


def expanded(path: str | Path) -> Path:
    """A path as typed, with the home folder for its `~`; as it is where this user has no home."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - Path.expanduser raises RuntimeError without a home


def is_file(name: str) -> bool:
    """Whether a name is "folder/file.py:name" rather than "module:name"."""
    return name.rpartition(":")[0].endswith(".py")


def beside(name: str, folder: Path) -> str:
    """A name whose file is given relative to `folder`, with the file's whole path; other names as they are."""
    if not is_file(name):
        return name
    path, _, attribute = name.rpartition(":")
    return f"{(folder / expanded(path)).resolve()}:{attribute}"


def portable(name: str) -> str:
    """A name as it is written into files that travel: without the folder."""
    return f"{Path(name.rpartition(':')[0]).name}:{name.rpartition(':')[2]}" if is_file(name) else name


@functools.cache
def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ConfigError(f"there is no such file of code: {path}", fix="Check the path")
    spec = importlib.util.spec_from_file_location(f"{_PACKAGE}.{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"this is not a Python file: {path}", fix="Name a file that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses and pickle look for it
    spec.loader.exec_module(module)
    return module
