"""The runner: sources -> engine -> sinks, band by band, so that memory does not grow with height.

One direction: rows come in, tiles go through the engine, rows go out. A band is one row of tiles. It is
written only when all its tiles are done, so running out of memory costs at most one band of work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace

import torch

from restore.errors import ConfigError, ModelError, UnsupportedError
from restore.inference.alpha import ColourView
from restore.inference.bands import BandReader, BandWriter
from restore.inference.engine import Condition, Engine, EngineOptions, Unchanged
from restore.inference.job import TileJob
from restore.inference.memory import MemoryModel, is_out_of_memory, measure, memory_budget, release_memory
from restore.inference.planning import Core, choose_core, halo_and_ramp, plan_picture, smaller_core
from restore.inference.precision import choose_dtype, resolve_device
from restore.inference.tiling import Span, TilePlan, ceil_to
from restore.inference.values import target_scale, to_unit
from restore.models.spec import ModelSpec
from restore.picture import PictureInfo, PictureSink, PictureSource, ValueScale

SinkFactory = Callable[[str, PictureInfo], PictureSink]
Progress = Callable[[float], None]

_ONE_TILE = 640 * 640  # pixels: pictures up to this size are not worth measuring memory for
_memory_models: dict[tuple[str, torch.dtype, str, int], MemoryModel] = {}


@dataclass(frozen=True)
class RunOptions:
    """Everything of a run that is not the engine.

    Attributes:
        device: "auto" or a torch device name.
        tile: core side of the tiles in pixels (the halo is added); None chooses by memory and time.
        precision: "auto", "fp32", "bf16" or "fp16".
        strength: 0 (the input, bit-exact) to 1 (the engine's result); values between mix linearly.
        sigma: noise level in 8-bit units instead of the estimate.
        seed: seed of anything random; None derives it from pixels and settings.
        max_memory: cap of the memory for tiles, bytes.
        crop: x, y, width, height of the part to restore (a preview: what is measured is the whole picture).
    """

    device: str = "auto"
    tile: int | None = None
    precision: str = "auto"
    strength: float = 1.0
    sigma: float | None = None
    seed: int | None = None
    max_memory: int | None = None
    crop: tuple[int, int, int, int] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise ConfigError(f"strength {self.strength:g} is out of range", fix="Give --strength between 0 and 1")
        if self.tile is not None and not 1 <= self.tile <= 1 << 16:
            raise ConfigError(f"tile {self.tile} is out of range", fix="Give --tile in pixels, 64 to 4096 is usual")


@dataclass
class RunReport:
    """What was done to one picture."""

    height: int = 0
    width: int = 0
    mode: str = "exact"
    tile: tuple[int, int] = (0, 0)
    halo: int = 0
    tiles: int = 0
    overhead: float = 1.0
    device: str = "cpu"
    precision: str = "fp32"
    seconds: float = 0.0
    decisions: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self)


def run(
    engine: Engine,
    sources: Sequence[PictureSource],
    create_sink: SinkFactory,
    options: RunOptions | None = None,
    progress: Progress | None = None,
) -> RunReport:
    """Restore one picture (or one set of pictures taken together) from sources into sinks.

    Args:
        engine: what answers the task.
        sources: as many pictures of one size as `engine.spec.inputs` says.
        create_sink: called once per output name with the result's header; the sink it returns decides
            the sample type written. Sinks are committed at the end, or aborted on any error.
        progress: called with the finished share, 0..1.
    Raises:
        RestoreError: see `restore.errors`; sinks are aborted.
    """
    options = options or RunOptions()
    started = time.perf_counter()
    device = resolve_device(options.device)
    info = _common_info(sources, engine.spec)
    if options.strength == 0 and engine.spec.scale == 1:
        engine, condition = Unchanged(len(sources)), Condition(ValueScale.nominal(info))
    else:
        views = [ColourView(source) for source in sources]
        condition = engine.prepare(views, EngineOptions(options.sigma, options.seed, device))
    spec = condition.spec or engine.spec
    dtype = choose_dtype(options.precision, spec, device)
    job = TileJob(engine, condition, spec, dtype, device, options.strength)
    report = RunReport(device=str(device), precision=str(dtype).removeprefix("torch."))
    report.decisions.update(condition.decisions)
    if condition.scale.note:
        report.decisions["range"] = condition.scale.note

    box = _box(options.crop, info)
    result = replace(info, height=(box[1] - box[0]) * spec.scale, width=(box[3] - box[2]) * spec.scale)
    with ExitStack() as undo, torch.inference_mode():
        sinks = []
        for name in spec.outputs:
            sinks.append(create_sink(name, result))
            undo.callback(sinks[-1].abort)
        core = (options.tile, options.tile) if options.tile else _auto_core(job, info, box, options.max_memory)
        _run_bands(job, sources, sinks, info, box, core, report, progress)
        for sink in sinks:
            sink.commit()
        undo.pop_all()
    report.height, report.width = result.height, result.width
    report.seconds = time.perf_counter() - started
    return report


def _run_bands(
    job: TileJob,
    sources: Sequence[PictureSource],
    sinks: Sequence[PictureSink],
    info: PictureInfo,
    box: tuple[int, int, int, int],
    core: Core,
    report: RunReport,
    progress: Progress | None,
) -> None:
    """All bands of the box, with smaller tiles from the current band on when memory runs out."""
    readers = [BandReader(ColourView(source)) for source in sources]
    scale = job.condition.scale
    writers = [BandWriter(sources[0], sink, target_scale(scale, info, sink.info), job.spec, box) for sink in sinks]
    top, bottom, left, right = box
    carried = 0
    while top < bottom:
        rest = (top, bottom, left, right)
        plan = plan_picture(info.height, info.width, job.spec, core, box=rest, lead=carried)
        _describe(report, job.spec, plan)
        short = False
        for row in plan.rows.spans:
            try:
                _run_band(job, plan, row, readers, writers, report)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                short = True
            if short:
                break
            top, carried = row.stop - row.trail, row.trail
            if progress:
                progress((top + carried - box[0]) / (bottom - box[0]))
        if not short:
            return
        release_memory(job.device)
        core = _next_core(core, plan, report)


def _next_core(core: Core, plan: TilePlan, report: RunReport) -> Core:
    smaller = smaller_core(plan, core)
    if smaller is None:
        raise ModelError(
            f"out of memory even with tiles of {plan.shape[0]} x {plan.shape[1]} pixels",
            fix="Close other programs, use --device cpu, or choose a lighter method (--preset fast)",
        )
    report.warnings.append(
        f"out of memory with tiles of {plan.shape[0]} x {plan.shape[1]} px; went on with smaller ones"
    )
    return smaller


def _run_band(
    job: TileJob,
    plan: TilePlan,
    row: Span,
    readers: Sequence[BandReader],
    writers: Sequence[BandWriter],
    report: RunReport,
) -> None:
    def note(text: str) -> None:
        if text not in report.warnings:
            report.warnings.append(text)

    band = [reader.read(row.origin, plan.rows.tile) for reader in readers]
    for writer in writers:
        writer.begin(row)
    for col in plan.cols.spans:
        tiles = [BandReader.columns(rows, col.origin, plan.cols.tile) for rows in band]
        x = torch.stack([to_unit(tile, job.condition.scale, job.device) for tile in tiles], dim=1)
        for writer, y in zip(writers, job.tile(x, note), strict=True):
            writer.put(y, row, col)
    for writer in writers:
        writer.end()


def _common_info(sources: Sequence[PictureSource], spec: ModelSpec) -> PictureInfo:
    if len(sources) != spec.inputs:
        raise UnsupportedError(f"this task takes {spec.inputs} pictures at once, got {len(sources)}")
    info = sources[0].info
    for other in (source.info for source in sources[1:]):
        if (other.height, other.width, other.samples) != (info.height, info.width, info.samples):
            raise UnsupportedError(
                f"the pictures differ: {info.width} x {info.height} and {other.width} x {other.height}",
                where=other.path,
                fix="Give pictures of one size and kind",
            )
    return info


def _box(crop: tuple[int, int, int, int] | None, info: PictureInfo) -> tuple[int, int, int, int]:
    """x, y, width, height -> top, bottom, left, right, checked."""
    if crop is None:
        return 0, info.height, 0, info.width
    x, y, width, height = crop
    if x < 0 or y < 0 or width < 1 or height < 1 or x + width > info.width or y + height > info.height:
        raise UnsupportedError(
            f"the crop {x},{y},{width},{height} is not inside the picture of {info.width} x {info.height}",
            where=info.path,
            fix="Give --crop x,y,width,height in pixels",
        )
    return y, y + height, x, x + width


def _auto_core(job: TileJob, info: PictureInfo, box: tuple[int, int, int, int], limit: int | None) -> Core:
    height, width = box[1] - box[0], box[3] - box[2]
    if job.spec.tiling == "whole" or (height * width <= _ONE_TILE and limit is None):
        return height, width
    budget = memory_budget(limit, job.device)
    return choose_core(height, width, job.spec, _memory_model(job, info), budget, job.device)


def _memory_model(job: TileJob, info: PictureInfo) -> MemoryModel:
    key = (job.engine.fingerprint, job.dtype, str(job.device), info.channels)
    if key not in _memory_models:
        shape = (1, job.spec.inputs, info.channels)
        multiple = job.spec.multiple_of

        def run_tile(side: int) -> torch.Tensor:
            generator = torch.Generator().manual_seed(0)
            x = torch.rand((*shape, side, side), generator=generator).to(job.device)
            return job.tile(x, lambda _: None)

        sides = tuple(ceil_to(max(side, job.spec.min_size), multiple) for side in (96, 160))
        _memory_models[key] = measure(run_tile, (sides[0], max(sides[1], sides[0] + multiple)), job.device)
    return _memory_models[key]


def _describe(report: RunReport, spec: ModelSpec, plan: TilePlan) -> None:
    report.mode = "blend" if spec.tiling == "local" else spec.tiling
    report.halo = halo_and_ramp(spec)[0]
    report.tile, report.tiles, report.overhead = plan.shape, plan.tiles, plan.overhead
