"""Pictures made worse on purpose, for test cases: what `restore degrade` runs in a restorer's place.

Large pictures go through in bands of rows. Every row's noise is a function of (seed, picture, row), so that bands leave
no trace.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import ExitStack
from time import perf_counter

import torch

from restore.analysis.value_range import find_scale, iterate_rows
from restore.errors import UnsupportedError
from restore.inference.alpha import ColourView
from restore.inference.bands import BandWriter
from restore.inference.runner import RunReport
from restore.inference.tiling import Span
from restore.inference.values import target_scale, to_unit
from restore.models.spec import ModelSpec
from restore.physics.noise import FULL, KINDS, NO_JPEG, NoisePlan, NoiseRecipe, add_noise, plan_noise
from restore.physics.random import RowSeeds, generator_for, hash_seed
from restore.picture import PictureInfo, PictureSink, PictureSource

_BAND = 1 << 20  # pixels
_CONTEXT = 16  # rows around a band: whole blocks of JPEG, and more than the reach of a camera
_CPU = torch.device("cpu")

# kind -> what to tell of it: name, parameter of the plan, factor to the unit people know
_TOLD = {
    "gaussian": (("sigma", "sigma", 255),),
    "poisson": (("photons", "photons", 1),),
    "speckle": (("sigma at white", "speckle", 255),),
    "salt_pepper": (("share", "impulses", 1),),
    "correlated": (("sigma", "coarse_sigma", 255), ("blur", "blur", 1)),
    "resize": (("sigma", "coarse_sigma", 255), ("factor", "factor", 1)),
    "camera": (("ISO", "camera iso", 1),),
}


class Degrader:
    """Adds noise to one picture after the other (a `restore.inference.batch.Restores`), always on the CPU.

    Args:
        recipe: what to draw for each picture; what is to be exact has a range of one value. `clipped` is not used.
        clip: False refuses files that cannot hold what is below black or above white; True clips to them even files
            that can (float TIFF); None clips where the file must.
        seed: with it and the pixels of a picture, its noise is determined.
    """

    task = "degrade"

    def __init__(self, recipe: NoiseRecipe, *, clip: bool | None = None, seed: int = 0) -> None:
        from restore import __version__

        self._recipe, self._clip, self._seed = recipe, clip, seed
        text = repr((__version__, recipe, clip, seed))
        self.fingerprint = hashlib.sha256(text.encode()).hexdigest()[:16]

    def run(
        self,
        source: PictureSource,
        create_sink: Callable[[PictureInfo], PictureSink],
        progress: Callable[[float], None] | None = None,
    ) -> RunReport:
        """Degrade a picture into the sink it makes; the sink is committed, or aborted on any error.

        Raises:
            UnsupportedError: samples that are not finite; a kind of noise that wants grey or RGB; see `clip`.
        """
        started, info = perf_counter(), source.info
        scale = find_scale(source)
        seed = hash_seed(self._seed, _digest(source))
        plan = plan_noise(self._recipe, [generator_for(seed)])
        kind = KINDS[plan.kinds[0]]
        if info.channels not in (1, 3) and (kind == "camera" or plan.formats[0] != NO_JPEG):
            raise UnsupportedError(
                f"{'a camera' if kind == 'camera' else 'JPEG'} has grey or RGB, this picture {info.channels} channels",
                where=info.path, fix="Use gaussian, poisson, speckle, salt-pepper, correlated or resize",
            )  # fmt: skip
        report = RunReport(info.height, info.width, mode="bands", decisions={"damage": describe(plan)})
        if scale.note:
            report.decisions["range"] = scale.note
        view = ColourView(source)
        with ExitStack() as undo, torch.inference_mode():
            sink = create_sink(info)
            undo.callback(sink.abort)
            clip = self._clips(sink.info)
            report.decisions["values"] = f"clipped and rounded to {sink.info.dtype}" if clip else "not clipped"
            if sink.info.format in ("jpeg", "webp"):
                report.warnings.append(f"{sink.info.format.upper()} compresses what was made; .png keeps it as it is")
            spec = ModelSpec(self.task)
            box = (0, info.height, 0, info.width)
            writer = BandWriter(source, sink, target_scale(scale, info, sink.info), spec, box)
            for row in _bands(info):
                stop = min(info.height, row.stop + _CONTEXT)
                x = to_unit(view.read_rows(row.origin, stop), scale, _CPU)
                y = add_noise(x, plan, RowSeeds(seed, row.origin))[0]
                writer.begin(row)
                writer.put(y.clamp_(0, 1) if clip and sink.info.dtype == "float32" else y, row, Span(0, 0, info.width))
                writer.end()
                if progress:
                    progress(row.stop / info.height)
            sink.commit()
            undo.pop_all()
        report.seconds = perf_counter() - started
        return report

    def _clips(self, target: PictureInfo) -> bool:
        """Whether values end at black and white in the file."""
        holds = target.dtype == "float32"
        if self._clip is False and not holds:
            raise UnsupportedError(
                f"{target.format.upper()} with {target.bits} bits cannot hold values below black or above white",
                where=target.path, fix="Write a .tif with --depth float, or leave out --unclipped",
            )  # fmt: skip
        return not holds if self._clip is None else self._clip


def describe(plan: NoisePlan) -> str:
    """What becomes of the first picture of a plan, in words."""
    kind, format_ = KINDS[plan.kinds[0]], plan.formats[0]
    words = [] if kind in ("none", "jpeg") else [kind.replace("_", "-")]
    words += [f"{name} {float(plan.values[value][0]) * unit:.4g}" for name, value, unit in _TOLD.get(kind, ())]
    if format_ != NO_JPEG:
        chroma = "4:4:4" if format_ == FULL else "4:2:0"
        words.append(f"JPEG of quality {int(plan.values['quality'][0])}, {chroma}")
    return ", ".join(words) or "none"


def _bands(info: PictureInfo) -> list[Span]:
    """Rows in bands of about `_BAND` pixels, starting where blocks of JPEG do."""
    rows = max(1, _BAND // info.width // _CONTEXT) * _CONTEXT
    tops = range(0, info.height, rows)
    return [Span(max(0, top - _CONTEXT), top, min(info.height, top + rows)) for top in tops]


def _digest(source: PictureSource) -> int:
    """64 bits of a hash of the stored pixels."""
    state = hashlib.sha256()
    for rows in iterate_rows(source):
        state.update(rows.tobytes())
    return int.from_bytes(state.digest()[:8], "big")
