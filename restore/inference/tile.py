"""One tile through the engine: forward, check, mix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import torch

from restore.analysis.missing import INFINITE_FIX
from restore.errors import ModelError, UnsupportedError
from restore.inference.engine import Condition, Engine, NotedOutputs, Outputs, Place
from restore.inference.tiling import border_index
from restore.models.spec import ModelSpec
from restore.physics.resample import ENLARGE_REACH, enlarge, resize

FAR_OUT, FAR_ABOVE = 2.0, 20.0
"""Mean magnitude of a restored tile that no picture has: in units of white, and of that of the input."""


class TileRunner:
    """An engine cast to its compute type and device, applied to tiles under one condition.

    Args:
        spec: of the engine under this condition.
        strength: 0 (the input, plainly resized where the output has another size) to 1, for the outputs that mix.
        paths: of the N pictures of x, as far as they have one, for messages.
    """

    def __init__(
        self,
        engine: Engine,
        condition: Condition,
        dtype: torch.dtype,
        device: torch.device,
        strength: float = 1.0,
        paths: Sequence[Path | None] = (),
    ) -> None:
        self.engine, self.condition, self.dtype, self.device = engine, condition, dtype, device
        self.strength, self.paths = strength, tuple(paths)
        spec = condition.spec or engine.spec
        enlarged = strength != 1 and spec.scale > 1
        self.spec: ModelSpec = replace(spec, radius=max(spec.radius, ENLARGE_REACH)) if enlarged else spec
        self._cast = engine.cast(dtype, device)

    @cached_property
    def _float32_engine(self) -> Engine:
        return self.engine.cast(torch.float32, self.device)

    def __call__(self, x: torch.Tensor, place: Place, note: Callable[[str], None]) -> list[torch.Tensor]:
        """1 x N x C x H x W unit values -> C_m x sH x sW float32 of every output of the spec, in its order.

        Raises:
            UnsupportedError: the outputs are not finite because x is not.
            ModelError: they are not, though x is; or they have a wrong shape.
        """
        outputs = self._forward(self._cast, x, [place])
        if not _finite(outputs):
            self._require_finite(x, place)
            if self.dtype is not torch.float32:
                note(f"a tile was not finite in {_name(self.dtype)} and was redone in float32")
                outputs = self._forward(self._float32_engine, x, [place])
            if not _finite(outputs):
                raise ModelError(
                    f"{self.engine.fingerprint} gave values that are not finite",
                    why="even in float32",
                    fix="The weights may be damaged: `restore weights verify`",
                )
        self._check_range(x, outputs)
        if isinstance(outputs, NotedOutputs):
            for text in outputs.notes:
                note(text)
        return [self._mixed(x, outputs[output.name][0].float(), output.mixes) for output in self.spec.outputs]

    def _require_finite(self, x: torch.Tensor, place: Place) -> None:
        """Raise `UnsupportedError` for the first sample of the pictures that is not finite."""
        broken = (~torch.isfinite(x[0])).nonzero()
        if not len(broken):
            return
        picture, channel, row, column = broken[0].tolist()
        value = float(x[0, picture, channel, row, column])
        left, top = border_index(place.left + column, place.width), border_index(place.top + row, place.height)
        raise UnsupportedError(
            f"the sample at x {left}, y {top} of channel {channel + 1} is {value}",
            where=self.paths[picture] if self.paths else None,
            fix=INFINITE_FIX,
        )

    def _mixed(self, x: torch.Tensor, y: torch.Tensor, mixes: bool) -> torch.Tensor:
        if self.strength == 1 or not mixes:
            return y
        before = x[0, self.spec.window // 2].float()
        if self.spec.scale > 1:
            before = enlarge(before[None], self.spec.scale)[0]
        elif self.spec.reduction > 1:
            before = resize(before[None], (y.shape[-2], y.shape[-1]))[0]
        return torch.lerp(before.expand_as(y), y, self.strength)

    def _check_range(self, x: torch.Tensor, outputs: Outputs) -> None:
        """Refuse a restored picture that is not in the units of the input, such as 0 to 255: it would be all white."""
        most = max(FAR_OUT, FAR_ABOVE * float(x.abs().mean()))
        for name in (output.name for output in self.spec.outputs if output.mixes):
            mean = float(outputs[name].float().abs().mean())
            if mean > most:
                raise ModelError(
                    f"{self.engine.fingerprint} gave values of {mean:.3g} on average, where black is 0 and white is 1",
                    fix="Divide what the network gives by its white, for example by 255",
                )

    def _forward(self, engine: Engine, x: torch.Tensor, places: Sequence[Place]) -> Outputs:
        try:
            outputs = engine(x, self.condition, places)
        except SystemExit as error:
            what = f"{self.engine.fingerprint} ended the program (SystemExit: {error})"
            raise ModelError(
                what, fix="A network gives a picture or raises an error; take sys.exit out of it"
            ) from error
        batch, _, channels, height, width = x.shape
        height, width = self.spec.scaled(height), self.spec.scaled(width)
        for output in self.spec.outputs:
            wanted = (batch, output.channels_of(channels), height, width)
            given = tuple(outputs[output.name].shape) if output.name in outputs else "nothing"
            if given != wanted:
                raise ModelError(f"{self.engine.fingerprint} returned {given} as {output.name!r} instead of {wanted}")
        return outputs


def _finite(outputs: Outputs) -> bool:
    return all(bool(torch.isfinite(y).all()) for y in outputs.values())


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
