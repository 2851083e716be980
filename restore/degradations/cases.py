"""Cases of an evaluation: how clean pictures of a folder become samples, for one task.

A task names the class of its cases (`restore.tasks.Task.cases`); a config lists them, fields of that class, by name:

    cases:
      gaussian25: {noise: gaussian, level: 25}

A case is a pure function of the pictures and their place in the folder. Importing this module imports no torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from restore.picture import ValueScale

if TYPE_CHECKING:
    from torch import Tensor

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class CaseSample:
    """What a case makes: arrays H x W x C, uint8 or uint16 or float32 (white = 1).

    Attributes:
        inputs: by the task's input names.
        targets: by output names, the one that is judged first ("" is the main output); of any size.
        border: pixels at each side of the targets that cannot be judged.
        noise_level: std of the true noise in 8-bit units (0..255), for peers that must be given it; 0: not known.
    """

    inputs: Mapping[str, Array]
    targets: Mapping[str, Array]
    border: int = 0
    noise_level: float = 0.0


class Case(ABC):
    """Base of all cases: frozen dataclasses with fields of plain data, torch-free at import."""

    pictures: ClassVar[int] = 1
    """How many consecutive pictures of the folder one sample is made of (frames; two independent scenes)."""

    @property
    def damages(self) -> bool:
        """Whether there is something to restore; else nothing can be gained."""
        return True

    @classmethod
    def standard(cls) -> Mapping[str, Self]:
        """The cases of a config that lists none."""
        return {}

    @abstractmethod
    def describe(self) -> str:
        """In words, every choice."""

    def options(self, index: int) -> dict[str, Any]:
        """Options of the task's methods that go with sample `index` ("psf"); what is not here, a method measures."""
        return {}

    @abstractmethod
    def make(self, pictures: Sequence[Array], index: int) -> CaseSample:
        """A sample.

        Args:
            pictures: `self.pictures` clean ones, H x W x C, without alpha.
            index: place of the first of them in the folder, by name; the seed of all that is random.
        Raises:
            RestoreError: these pictures cannot be damaged so.
        """


def codes_of(picture: Array) -> Array:
    """A picture in 8-bit units, 0..255; float64, or float32 where the picture is."""
    return picture * (255.0 / (1.0 if picture.dtype == np.float32 else np.iinfo(picture.dtype).max))


def picture_of(codes: Array, *, clipped: bool) -> Array:
    """Values in 8-bit units as uint8, rounded and clipped to 0..255, or as float32 with white = 1 and neither."""
    if not clipped:
        return (codes / 255).astype(np.float32)
    return np.clip(np.rint(codes), 0, 255).astype(np.uint8)


def through_jpeg(codes: Array, quality: int) -> Array:
    """A picture H x W x C after JPEG (4:2:0): uint8; libjpeg's arithmetic by our own operator, whatever the codec."""
    import torch

    from restore.physics.jpeg import jpeg

    compressed = ValueScale().from_unit(jpeg(unit_of(codes), torch.tensor([float(quality)]))[0])
    return compressed.round().clamp(0, 255).movedim(0, -1).contiguous().to(torch.uint8).numpy()


def unit_of(picture: Array) -> Tensor:
    """H x W x C -> 1 x C x H x W float32, white = 1."""
    from restore.io.tensors import to_unit

    white = 1.0 if picture.dtype == np.float32 else float(np.iinfo(picture.dtype).max)
    return to_unit(picture, ValueScale(white=white))
