"""What is measured, as plain data: no import here needs more than Python itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from restore.errors import ConfigError, nearest

_NOISE = {
    "none": "clean",
    "gaussian": "white Gaussian noise, sigma {level:g} of 255",
    "box": "Gaussian noise through a 3 x 3 box, sigma {level:g} of 255",
    "poisson": "Poisson noise, {level:g} photons at white",
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """How clean pictures are damaged. Picture i of a folder has the noise of `numpy.random.default_rng(i)`."""

    noise: Literal["none", "gaussian", "box", "poisson"] = "none"
    """box: white noise through a 3 x 3 box, scaled back to its level."""
    level: float = 0.0
    """Sigma in 8-bit units (0..255); of poisson: photons at white."""
    clipped: bool = True
    """Clipped and rounded to 8 bits, as files are; else float values that may lie outside the range."""
    jpeg: int = 0
    """Quality of the JPEG that the noisy picture becomes (4:2:0); 0: none."""

    def __post_init__(self) -> None:
        if self.noise not in _NOISE:
            raise ConfigError(
                f"there is no noise {self.noise!r} to evaluate",
                fix=f"{nearest(self.noise, _NOISE)}Known: {', '.join(_NOISE)}",
            )
        if (self.noise == "none") != (self.level == 0) or self.level < 0:
            raise ConfigError(f"noise {self.noise} cannot have level {self.level:g}", fix="Give a level above 0")
        if self.jpeg and not (1 <= self.jpeg <= 100 and self.clipped):
            raise ConfigError("a JPEG has a quality of 1 to 100, and its values are clipped", fix="Change jpeg")

    def describe(self) -> str:
        """In words, every choice."""
        text = _NOISE[self.noise].format(level=self.level)
        if self.noise != "none":
            text += " (numpy default_rng(picture index)), "
            text += "clipped and rounded to 8 bits" if self.clipped else "float, not clipped"
        return f"{text}, then JPEG of quality {self.jpeg} (4:2:0)" if self.jpeg else text


@dataclass(frozen=True, kw_only=True)
class EvaluationProtocol:
    """What `restore eval` measures."""

    cases: dict[str, Case] = field(default_factory=lambda: {"clean": Case()})
    """Damage by name; pairs of real pictures need none."""
    metrics: tuple[str, ...] = ("psnr", "ssim")
    """Names of `restore.metrics.table`."""
    rounded: bool = True
    """Results and truth are clipped and rounded to 8 bits before they are compared."""
    border: int = 0
    """Pixels left out on each side."""
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

    def choose(self, names: str) -> dict[str, Case]:
        """Some of the cases by name ("clean,gaussian25"), all for "". Raises `ConfigError` for an unknown one."""
        if not names:
            return self.cases
        for name in names.split(","):
            if name not in self.cases:
                hint = nearest(name, self.cases)
                raise ConfigError(f"the protocol has no case {name!r}", fix=f"{hint}Known: {', '.join(self.cases)}")
        return {name: self.cases[name] for name in names.split(",")}
