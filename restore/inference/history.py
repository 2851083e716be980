"""What earlier runs wrote into a folder, as its ledger says: what is done, and which files are ours to replace."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from restore.inference.records import LEDGER_NAME, OutputFiles

_LINE_MAX = 16 << 20
"""Bytes of a ledger's line that is read; a longer one is none of ours."""


class History:
    """The finished jobs of a ledger; it holds some hundred bytes a job, whatever the lines hold.

    Args:
        folder: whose ledger is read; without one nothing is known.

    Attributes:
        empty: no finished job is recorded.
    """

    def __init__(self, folder: Path) -> None:
        self._done: dict[bytes, bytes] = {}  # work key -> digest of its outputs
        self._written: set[bytes] = set()  # digests of (path, size, hash)
        self._frames: dict[str, tuple[str, ...]] = {}  # folder -> names of the frames last written there
        self._beside: set[bytes] = set()  # digests of paths: comparisons, and what goes with a change in place
        path = folder / LEDGER_NAME
        for entry in read_ledger(path) if path.is_file() and not path.is_symlink() else ():
            if entry.get("status") == "ok":
                with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):  # a line of another layout
                    self._add(entry)

    @property
    def empty(self) -> bool:
        return not self._done

    def is_done(self, key: str, outputs: Mapping[str, OutputFiles], *, in_place: bool = False) -> bool:
        """Whether this work was finished and every one of its outputs is still there, byte for byte.

        In place what was read is gone: the key tells that the result is there, and what is missing beside it cannot be
        made again.
        """
        digest = self._done.get(bytes.fromhex(key))
        if digest is None or in_place:
            return digest is not None
        try:
            there = {name: files.written("") for name, files in outputs.items()}
        except OSError:
            return False
        return digest == _digest(sorted((name, one.bytes, one.sha256) for name, one in there.items()))

    def wrote(self, path: str, files: OutputFiles) -> bool:
        """Whether what is there now, byte for byte, is what an earlier run wrote.

        Args:
            path: as the ledger calls it.
            files: where it is. Of a sequence the frames that an earlier run wrote count; others that are there and
                would be written now are not ours.
        """
        if files.frames:
            earlier = self._frames.get(path, ())
            if any((files.path / name).exists() for name in {*files.frames} - {*earlier}):
                return False
            files = OutputFiles(files.path, earlier)
        try:
            there = files.written(path)
        except OSError:
            return False
        return _digest([path, there.bytes, there.sha256]) in self._written

    def is_result(self, path: str, file: Path) -> bool:
        """Whether a file beside the inputs is what an earlier run wrote there: a comparison, an extra output."""
        return _digest([path]) in self._beside and self.wrote(path, OutputFiles(file))

    def _add(self, entry: Mapping[str, Any]) -> None:
        outputs = {name: (one["bytes"], one["sha256"]) for name, one in entry["outputs"].items()}
        self._done[bytes.fromhex(entry["key"])] = _digest(sorted((name, *fact) for name, fact in outputs.items()))
        compare = entry.get("compare")
        main, *others = entry["outputs"].values()
        beside = [*(others if entry.get("in_place") else ()), *([compare] if compare else ())]
        self._beside.update(_digest([one["path"]]) for one in beside)
        for one in (main, *others, *([compare] if compare else ())):
            self._written.add(_digest([one["path"], one["bytes"], one["sha256"]]))
            if one.get("frames"):
                self._frames[one["path"]] = tuple(map(str, one["frames"]))


def read_ledger(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a ledger, in order; torn or foreign lines are left out."""
    with path.open("rb") as file:
        while line := file.readline(_LINE_MAX):
            with contextlib.suppress(ValueError, RecursionError):
                entry = json.loads(line)
                if isinstance(entry, dict):
                    yield entry


def _digest(facts: object) -> bytes:
    return hashlib.blake2b(json.dumps(facts).encode(), digest_size=16).digest()
