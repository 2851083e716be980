"""The pictures of a training run by role: to learn from, and held back to validate on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from restore.data.batches import MAIN, hold_out
from restore.data.cache import CropCache, open_cache
from restore.data.pairs import match_pairs, pair_caches
from restore.degradations.degradation import Role
from restore.errors import ConfigError, nearest

Cached = Callable[[int, int], None]
Caches = dict[str, CropCache]


class Where(Protocol):
    """The settings that are read here (`restore.training.settings.DataSettings`)."""

    @property
    def train(self) -> tuple[str, ...]: ...
    @property
    def exclude(self) -> tuple[str, ...]: ...
    @property
    def validation(self) -> tuple[str, ...]: ...
    @property
    def held_out(self) -> int: ...
    @property
    def scales(self) -> tuple[float, ...]: ...
    @property
    def roles(self) -> dict[str, str]: ...
    @property
    def cache(self) -> str: ...


def open_data(data: Where, roles: Mapping[str, Role], cached: Cached | None = None) -> tuple[Caches, Caches]:
    """(pictures to learn from, pictures to validate on), by role.

    Args:
        roles: what the degradation knows.
        cached: called with (files decoded, files) while a cache is built.
    Raises:
        ConfigError: nothing to learn from; a role that is missing, or that the degradation does not know.
        FileError: a folder that cannot be read.
    """
    if not data.train:
        raise ConfigError("there is nothing to learn from", fix="Give data.train=[FOLDER]")
    if not data.cache:
        raise ConfigError("data.cache is not set", fix="Name a folder for decoded pictures")
    _check_roles(data, roles)
    options = {"exclude": data.exclude, "scales": data.scales, "progress": cached}
    caches = {MAIN: open_cache(data.train, data.cache, **options)}
    for role, folder in data.roles.items():
        if roles[role].independent:
            caches[role] = open_cache([folder], data.cache, **options)
            continue
        matched = match_pairs(folder, data.train[0], sizes=roles[role].scale == 1)
        other = open_cache([folder], data.cache, **options)
        caches[role], caches[MAIN] = pair_caches(other, caches[MAIN], matched.pairs)
    for role, how in roles.items():
        if how.independent and role not in caches:  # two crops of the same folders
            caches[role] = caches[MAIN]
    if data.validation:
        held = open_cache(data.validation, data.cache)
        return caches, {role: held for role in caches if role == MAIN or roles[role].independent}
    learning, kept_back = hold_out(caches[MAIN], data.held_out)
    return _only(caches, learning, roles), _only(caches, kept_back, roles)


def _check_roles(data: Where, roles: Mapping[str, Role]) -> None:
    for role in data.roles:
        if role not in roles or role == MAIN:
            known = [name for name in roles if name != MAIN]
            fix = f"{nearest(role, known)}It knows {', '.join(known)}" if known else "It needs clean pictures alone"
            raise ConfigError(f"data.roles.{role} is nothing that this degradation uses", fix=fix)
    for role, how in roles.items():
        if role != MAIN and not how.optional and not how.independent and role not in data.roles:
            raise ConfigError(f"data.roles.{role} is missing", fix=f"Name the folder: data.roles.{role}=FOLDER")
    if any(not roles[role].independent for role in data.roles) and len(data.train) != 1:
        raise ConfigError("data.roles are the counterparts of one folder", fix="Give one folder in data.train")


def _only(caches: Caches, numbers: Sequence[int], roles: Mapping[str, Role]) -> Caches:
    """Some of the clean pictures with their counterparts; pictures of their own stay all, unless they are the same."""
    main = caches[MAIN]
    return {
        role: cache.only(numbers) if cache is main or not roles.get(role, Role()).independent else cache
        for role, cache in caches.items()
    }
