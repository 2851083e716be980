"""The pictures of a training run by role: to learn from, and held back to validate on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from restore.data.batches import hold_out
from restore.data.cache import CropCache, open_cache
from restore.data.crop_positions import MAIN
from restore.data.pairs import align_caches, match_pairs
from restore.degradations.degradation import Role
from restore.errors import ConfigError, FileError, nearest
from restore.naming import expanded

Cached = Callable[[int, int], None]
LeftOut = Callable[[str], None]
Caches = dict[str, CropCache]
_NAMED = 3  # unreadable pictures in an error


class Where(Protocol):
    """The settings that are read here (`restore.training.settings.DataSettings`)."""

    @property
    def train(self) -> tuple[str, ...]: ...
    @property
    def exclude(self) -> tuple[str, ...]: ...
    @property
    def validation(self) -> tuple[str, ...]: ...
    @property
    def validation_roles(self) -> dict[str, str]: ...
    @property
    def held_out(self) -> int: ...
    @property
    def scales(self) -> tuple[float, ...]: ...
    @property
    def roles(self) -> dict[str, str]: ...
    @property
    def cache(self) -> str: ...
    @property
    def unreadable(self) -> float: ...


def open_data(
    data: Where, roles: Mapping[str, Role], cached: Cached | None = None, left_out: LeftOut = lambda line: None
) -> tuple[Caches, Caches]:
    """(pictures to learn from, pictures to validate on), by role.

    Args:
        roles: what the degradation knows.
        cached: called with (files decoded, files) while a cache is built.
        left_out: called with a line for everything that is not learned from: unreadable, or without its counterpart.
    Raises:
        ConfigError: nothing to learn from; a role that is missing, or that the degradation does not know.
        FileError: a folder that cannot be read, or more unreadable pictures than `data.unreadable` allows.
    """
    if not data.train:
        raise ConfigError("there is nothing to learn from", fix="Give data.train=[FOLDER]")
    if not data.cache:
        raise ConfigError("data.cache is not set", fix="Name a folder for decoded pictures")
    _check_roles("data.roles", data.roles, roles, data.train, "data.train")
    if data.validation:
        _check_roles("data.validation_roles", data.validation_roles, roles, data.validation, "data.validation")
    elif data.validation_roles:
        raise ConfigError("data.validation_roles without data.validation", fix="Name the clean pictures to validate on")

    def opened(folders: Sequence[str], own: Mapping[str, str], **options: Any) -> Caches:
        main = open_cache(folders, data.cache, **options)
        others = {role: open_cache([folder], data.cache, **options) for role, folder in own.items()}
        for cache in (main, *others.values()):
            _check_readable(cache, data.unreadable, left_out)
        counterparts = {
            role: (others[role], _matched(role, folder, folders[0], roles[role].scale, left_out))
            for role, folder in own.items()
            if not roles[role].independent
        }
        main, aligned = align_caches(main, counterparts) if counterparts else (main, {})
        own_pictures = {role: others.get(role, main) for role, how in roles.items() if how.independent}
        return {MAIN: main} | aligned | own_pictures

    caches = opened(data.train, data.roles, exclude=data.exclude, scales=data.scales, progress=cached)
    if data.validation:
        return caches, opened(data.validation, data.validation_roles)
    frames = max((how.frames for role, how in roles.items() if role in caches and not how.independent), default=1)
    learning, kept_back = hold_out(caches[MAIN], data.held_out, frames)
    return _only(caches, learning, roles), _only(caches, kept_back, roles)


def _check_readable(cache: CropCache, most: float, left_out: LeftOut) -> None:
    """Name what could not be read. Raises `FileError` where it is more than a share of `most`."""
    readable = len({entry.path for entry in cache.entries})
    total = readable + len(cache.skipped)
    if len(cache.skipped) > most * total:
        named = "; ".join(f"{path}: {reason}" for path, reason in cache.skipped[:_NAMED])
        more = f"; and {len(cache.skipped) - _NAMED} more" if len(cache.skipped) > _NAMED else ""
        raise FileError(
            f"{len(cache.skipped)} of {total} pictures cannot be read, more than the share of {most:g} that may",
            where=Path(cache.skipped[0][0]).parent, why=named + more,
            fix="Mend or remove them (restore data check FOLDER names all), or raise data.unreadable",
        )  # fmt: skip
    for path, reason in cache.skipped:
        left_out(f"{path}: {reason}")


def _matched(role: str, folder: str, main: str, scale: float, left_out: LeftOut) -> Sequence[tuple[Path, Path]]:
    own, clean = (expanded(each).resolve() for each in (folder, main))  # as caches name their files
    matches = match_pairs(own, clean, scale=scale)
    if matches.different_size and not matches.pairs:
        path, (height, width), other, (tall, wide) = matches.different_size[0]
        why = f"{path.name} is {width} x {height}, {other.name} {wide} x {tall}; its scale is {scale:g}"
        raise ConfigError(f"no picture of the role {role!r} has the size it should have", where=folder, why=why)
    for line in matches.unpaired():
        left_out(line)
    return matches.pairs


def _check_roles(
    setting: str, named: Mapping[str, str], roles: Mapping[str, Role], folders: Sequence[str], main: str
) -> None:
    for role in named:
        if role not in roles or role == MAIN:
            known = [name for name in roles if name != MAIN]
            fix = f"{nearest(role, known)}It knows {', '.join(known)}" if known else "It needs clean pictures alone"
            raise ConfigError(f"{setting}.{role} is nothing that this degradation uses", fix=fix)
    for role, how in roles.items():
        if role != MAIN and not how.optional and not how.independent and role not in named:
            raise ConfigError(f"{setting}.{role} is missing", fix=f"Name the folder: {setting}.{role}=FOLDER")
    if any(not roles[role].independent for role in named) and len(folders) != 1:
        raise ConfigError(f"{setting} are the counterparts of one folder", fix=f"Give one folder in {main}")


def _only(caches: Caches, numbers: Sequence[int], roles: Mapping[str, Role]) -> Caches:
    """Some of the clean pictures with their counterparts; pictures of their own stay all, unless they are the same."""
    main = caches[MAIN]
    return {
        role: cache.only(numbers) if cache is main or not roles.get(role, Role()).independent else cache
        for role, cache in caches.items()
    }
