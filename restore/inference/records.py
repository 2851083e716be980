"""What became of a job, as the ledger and `--json` hold it. Everything here can be pickled."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from restore.io.hashes import combined_sha256, file_sha256

LEDGER_NAME = "restore-ledger.jsonl"
Status = Literal["ok", "failed", "skipped"]


@dataclass(frozen=True)
class Written:
    """One output that was written: where (as the ledger calls it), the hash and the number of its bytes.

    Attributes:
        frames: names of a sequence's files, where `path` is their folder.
    """

    path: str
    sha256: str
    bytes: int
    frames: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, without empty fields."""
        return _without_empty(asdict(self))


@dataclass(frozen=True)
class OutputFiles:
    """Where one output is.

    Attributes:
        path: the file, or the folder of `frames`.
        frames: names of a sequence's files in the folder, in order; what else the folder holds does not count.
    """

    path: Path
    frames: tuple[str, ...] = ()

    def written(self, name: str) -> Written:
        """Hash what is there, as `name`. Raises `OSError` if it is not."""
        if not self.frames:
            return Written(name, file_sha256(self.path), self.path.stat().st_size)
        files = [self.path / frame for frame in self.frames]
        hashes = map(file_sha256, files)
        sha256 = combined_sha256(zip(self.frames, hashes, strict=True))
        return Written(name, sha256, sum(file.stat().st_size for file in files), self.frames)


@dataclass(frozen=True)
class FileRecord:
    """What became of one job; one line of the ledger, one entry of `--json`.

    Attributes:
        status: "ok", "failed", or "skipped" (not a picture, or already done by an earlier run).
        inputs: paths relative to the run's folders, as the user would write them.
        outputs: what was written, by the outputs' names, the main one first.
        compare: the before/after picture that was written beside them.
        input_sha256: of the files' bytes, of each input.
        decisions, run, warnings: what was measured and chosen, warnings; device, precision and tiles in `run`.
        in_place: the main output took the first input's place.
        key: see `work_key`; None if the input could not even be read.
        error: {"code", "line"} of a failure.
        reason: of a skip.
    """

    status: Status
    inputs: tuple[str, ...]
    outputs: dict[str, Written] = field(default_factory=dict)
    compare: Written | None = None
    key: str | None = None
    input_sha256: tuple[str, ...] = ()
    seconds: float = 0.0
    decisions: dict[str, str] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    error: dict[str, str] | None = None
    reason: str = ""
    in_place: bool = False

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, without empty fields."""
        outputs = {name: written.as_dict() for name, written in self.outputs.items()}
        compare = self.compare and self.compare.as_dict()
        return _without_empty(asdict(self) | {"outputs": outputs, "compare": compare})


def _without_empty(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not False and value not in (None, {}, (), "")}


def work_key(input_sha256: Sequence[str], settings: str, outputs: Mapping[str, str]) -> str:
    """Names one piece of work: these input bytes, with these settings, to outputs of these names and paths.

    For a file changed in place it is the *result's* hash that goes in: what an earlier run left there is
    then recognised as finished, and never restored twice.
    """
    facts = json.dumps([list(input_sha256), settings, sorted(outputs.items())])
    return hashlib.sha256(facts.encode()).hexdigest()
