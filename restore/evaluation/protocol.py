"""What is measured, as plain data: no import here needs more than Python itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from restore.errors import ConfigError, nearest


@dataclass(frozen=True, kw_only=True)
class EvaluationProtocol:
    """What `restore eval` measures."""

    cases: dict[str, Any] = field(default_factory=dict)
    """Damage by name, fields of the task's own class (`restore.degradations`); pairs of real pictures need none."""
    metrics: tuple[str, ...] = ("psnr", "ssim")
    """Names of `restore.metrics.table`."""
    rounded: bool = True
    """Results and truth are clipped and rounded to 8 bits before they are compared."""
    border: int = 0
    """Pixels left out on each side, at least; a case may leave out more."""
    every: int = 1
    """Take each n-th picture of the folder, in the order of names; the index that seeds the noise counts all."""
    first: int = 0
    """Take no more than so many pictures; 0: all."""
    limit: int = 0
    """Crop pictures to this side, from the upper left; 0: whole."""

    def __post_init__(self) -> None:
        for name, least in (("every", 1), ("first", 0), ("limit", 0), ("border", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"evaluation.{name} is {getattr(self, name)}", fix=f"Give {least} or more")

    def choose(self, names: str) -> dict[str, Any]:
        """Some of the cases by name ("clean,gaussian25"), all for "". Raises `ConfigError` for an unknown one."""
        if not names:
            return self.cases
        for name in names.split(","):
            if name not in self.cases:
                hint = nearest(name, self.cases)
                raise ConfigError(f"the protocol has no case {name!r}", fix=f"{hint}Known: {', '.join(self.cases)}")
        return {name: self.cases[name] for name in names.split(",")}
