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

from restore.analysis.colours import ColourView
from restore.errors import ConfigError, ModelError, UnsupportedError, counted
from restore.inference.bands import BandReader, BandWriter
from restore.inference.engine import Condition, Engine, EngineOptions, Place, Unchanged, output_info
from restore.inference.headers import common_info, crop_box
from restore.inference.memory import (
    CLIP_CEILING,
    HOST_CEILING,
    MemoryModel,
    is_out_of_memory,
    measure,
    memory_budget,
    release_memory,
)
from restore.inference.options import RunOptions
from restore.inference.precision import choose_dtype, resolve_device
from restore.inference.resizing import ResizedSink
from restore.inference.scaling import target_scale
from restore.inference.tile import TileRunner
from restore.inference.tile_planning import Core, check_whole, choose_core, halo_and_ramp, plan_picture, smaller_core
from restore.inference.tiling import Span, TilePlan, ceil_to
from restore.io.tensors import to_unit
from restore.models.spec import ModelSpec, OutputSize
from restore.picture import PictureInfo, PictureSink, PictureSource, ValueScale

SinkFactory = Callable[[str, PictureInfo], PictureSink]
Progress = Callable[[float], None]

_ONE_TILE = 640 * 640  # pixels: pictures up to this size are not worth measuring memory for
_memory_models: dict[tuple[str, str, torch.dtype, str, int], MemoryModel] = {}


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


def prepare(
    engine: Engine,
    sources: Sequence[PictureSource],
    options: RunOptions | None = None,
    progress: Progress | None = None,
) -> Condition:
    """What the engine determines about pictures, once; `apply` may then be called for these or for others like them.

    Args:
        sources: one for each of the spec's named inputs; of a window of frames the middle one is measured.
        progress: called with the finished share of what takes long, such as a fit.
    Raises:
        RestoreError: see `restore.errors`.
    """
    options = options or RunOptions()
    if len(sources) == engine.spec.window:
        sources = [sources[engine.spec.window // 2]]
    if len(sources) != len(engine.spec.inputs):
        raise _wrong_number(len(engine.spec.inputs), len(sources))
    if changes_nothing(engine.spec, options):
        return Condition(ValueScale.nominal(sources[0].info))
    _check_strength(engine.spec, options)
    views = dict(zip(engine.spec.inputs, map(ColourView, sources), strict=True))
    return engine.prepare(views, EngineOptions(options.seed, resolve_device(options.device), progress))


def apply(
    engine: Engine,
    condition: Condition,
    sources: Sequence[PictureSource],
    create_sink: SinkFactory,
    options: RunOptions | None = None,
    progress: Progress | None = None,
) -> RunReport:
    """Restore one picture (or one set of pictures taken together) from sources into sinks.

    Args:
        engine: what answers the task.
        condition: what `prepare` returned.
        sources: as many pictures of one size as the spec takes: its named inputs, or the frames of its window (a
            single one stands for all of them).
        create_sink: called once per output name with the output's header; the sink it returns decides
            the sample type written. Sinks are committed at the end, or aborted on any error.
        progress: called with the finished share, 0..1.
    Raises:
        RestoreError: see `restore.errors`; sinks are aborted.
    """
    options = options or RunOptions()
    started = time.perf_counter()
    device = resolve_device(options.device)
    if changes_nothing(engine.spec, options):
        engine = Unchanged(engine.spec)
    dtype = choose_dtype(options.precision, condition.spec or engine.spec, device)
    sources = list(sources) * (engine.spec.window if len(sources) == 1 else 1)
    paths = [source.info.path for source in sources]
    tiles = TileRunner(engine, condition, dtype, device, options.strength, paths)
    if len(sources) != tiles.spec.pictures:
        raise _wrong_number(tiles.spec.pictures, len(sources))
    info = common_info([source.info for source in sources])
    report = RunReport(device=str(device), precision=str(dtype).removeprefix("torch."))
    report.decisions.update(condition.decisions)
    if condition.scale.note:
        report.decisions["range"] = condition.scale.note

    box, result, spec = _part(tiles.spec, info, options)
    with ExitStack() as undo, torch.inference_mode():
        sinks = []
        for output in spec.outputs:
            sinks.append(create_sink(output.name, output_info(result, output, spec)))
            undo.callback(sinks[-1].abort)
            if condition.accept:
                decisions, warnings = condition.accept(sinks[-1].info)
                report.decisions.update(decisions)
                report.warnings += warnings
        core = (options.tile, options.tile) if options.tile else _auto_core(tiles, info, box, options.max_memory)
        views = [ColourView(source, condition.kept) for source in sources]
        if missing := views[tiles.spec.window // 2].gaps.note:
            report.decisions["missing"] = missing
        _run_bands(tiles, views, sinks, info, box, core, report, progress)
        for sink in sinks:
            sink.commit()
        undo.pop_all()
    report.height, report.width = spec.output_size(result.height, result.width)
    report.seconds = time.perf_counter() - started
    return report


def run(
    engine: Engine,
    sources: Sequence[PictureSource],
    create_sink: SinkFactory,
    options: RunOptions | None = None,
    progress: Progress | None = None,
) -> RunReport:
    """`prepare` and `apply` for the same pictures."""
    started = time.perf_counter()
    condition = prepare(engine, sources, options, progress)
    report = apply(engine, condition, sources, create_sink, options, progress)
    report.seconds = time.perf_counter() - started
    return report


def changes_nothing(spec: ModelSpec, options: RunOptions) -> bool:
    """Whether the strength asked for makes every output the input itself."""
    return (
        options.strength == 0
        and spec.scale == spec.reduction
        and not spec.size
        and all(output.mixes for output in spec.outputs)
    )


def output_headers(spec: ModelSpec, info: PictureInfo, options: RunOptions) -> dict[str, PictureInfo]:
    """The header of each output of a picture like `info`, by its name: of the crop, where the options name one.

    Raises `UnsupportedError` for a crop that is not inside the picture.
    """
    _, result, spec = _part(spec, info, options)
    return {output.name: output_info(result, output, spec) for output in spec.outputs}


def _part(
    spec: ModelSpec, info: PictureInfo, options: RunOptions
) -> tuple[tuple[int, int, int, int], PictureInfo, ModelSpec]:
    """What is restored of a picture: top, bottom, left, right; its header; and the spec that holds for it."""
    box = _whole_pixels(crop_box(options.crop, info), spec.reduction, info)
    result = replace(info, height=box[1] - box[0], width=box[3] - box[2])
    return box, result, spec if options.crop is None else _as_large(spec, info)


def _wrong_number(wanted: int, given: int) -> UnsupportedError:
    return UnsupportedError(f"this task takes {counted(wanted, 'picture')} at once, got {given}")


def _check_strength(spec: ModelSpec, options: RunOptions) -> None:
    if options.strength != 1 and not any(output.mixes for output in spec.outputs):
        raise ConfigError("--strength does not go with this method: no output is mixed with the input")


def _run_bands(
    tiles: TileRunner,
    views: Sequence[ColourView],
    sinks: Sequence[PictureSink],
    info: PictureInfo,
    box: tuple[int, int, int, int],
    core: Core,
    report: RunReport,
    progress: Progress | None,
) -> None:
    """All bands of the box, with smaller tiles from the current band on when memory runs out."""
    readers = [BandReader(view) for view in views]
    main = views[tiles.spec.window // 2]
    writers = [_writer(main.again(), sink, tiles.condition.scale, tiles.spec, box) for sink in sinks]
    top, bottom, left, right = box
    carried = 0
    while top < bottom:
        rest = (top, bottom, left, right)
        plan = plan_picture(info.height, info.width, tiles.spec, core, box=rest, lead=carried)
        _describe(report, tiles.spec, plan)
        short = False
        for row in plan.rows.spans:
            try:
                _run_band(tiles, plan, row, info, readers, writers, report)
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
        release_memory(tiles.device)
        core = _next_core(core, plan, report, rows=tiles.spec.tiling == "rows")


def _whole_pixels(box: tuple[int, int, int, int], reduction: int, info: PictureInfo) -> tuple[int, int, int, int]:
    """The part of a box (top, bottom, left, right) that whole pixels of a smaller output are made of.

    Raises `UnsupportedError` if there is none.
    """
    top, left = ceil_to(box[0], reduction), ceil_to(box[2], reduction)
    bottom, right = box[1] // reduction * reduction, box[3] // reduction * reduction
    if top >= bottom or left >= right:
        what = f"{box[3] - box[2]} x {box[1] - box[0]} px are too few to become smaller by {reduction}"
        raise UnsupportedError(what, where=info.path, fix=f"Give at least {reduction} x {reduction} px")
    return top, bottom, left, right


def _as_large(spec: ModelSpec, info: PictureInfo) -> ModelSpec:
    """The spec with which a part of a picture becomes as large as it is in the whole."""
    return replace(spec, size=spec.size and OutputSize(factor=spec.size.factor_for(info.height, info.width)))


def _writer(
    view: ColourView, sink: PictureSink, before: ValueScale, spec: ModelSpec, box: tuple[int, int, int, int]
) -> BandWriter:
    """What joins the tiles of an output; where the file is to have another size than they make, resampled."""
    if view.gaps.nan and sink.info.dtype != "float32":
        raise UnsupportedError(
            f"has samples without a value (NaN), which {sink.info.bits} bits cannot hold", where=view.info.path,
            fix="Write floats (a .tif, without --depth), or fill them first",
        )  # fmt: skip
    scale = target_scale(before, view.source.info, sink.info)
    height, width = spec.scaled(box[1] - box[0]), spec.scaled(box[3] - box[2])
    nominal = ValueScale.nominal(sink.info)
    if (height, width) != (sink.info.height, sink.info.width):
        sink = ResizedSink(sink, height, width, nominal.clip if scale.clip is None else scale.clip)
    return BandWriter(view, sink, scale, spec, box, before, nominal)


def _next_core(core: Core, plan: TilePlan, report: RunReport, *, rows: bool) -> Core:
    smaller = smaller_core(plan, core, rows=rows)
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
    tiles: TileRunner,
    plan: TilePlan,
    row: Span,
    info: PictureInfo,
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
        cut = [BandReader.columns(rows, col.origin, plan.cols.tile) for rows in band]
        x = torch.stack([to_unit(tile, tiles.condition.scale, tiles.device) for tile in cut], dim=1)
        place = Place(row.origin, col.origin, info.height, info.width)
        for writer, y in zip(writers, tiles(x, place, note), strict=True):
            writer.put(y, row, col)
    for writer in writers:
        writer.end()


def _auto_core(tiles: TileRunner, info: PictureInfo, box: tuple[int, int, int, int], limit: int | float | None) -> Core:
    height, width = box[1] - box[0], box[3] - box[2]
    whole = tiles.spec.tiling == "whole"
    if (info.pixels if whole else height * width) <= _ONE_TILE and limit is None:
        return height, width
    if whole:
        check_whole(info.height, info.width, _memory_model(tiles, info), memory_budget(limit, tiles.device, most=None))
        return height, width
    budget = memory_budget(limit, tiles.device, most=CLIP_CEILING if tiles.condition.scope == "clip" else HOST_CEILING)
    return choose_core(height, width, tiles.spec, _memory_model(tiles, info), budget, tiles.device)


def _memory_model(tiles: TileRunner, info: PictureInfo) -> MemoryModel:
    key = (tiles.engine.fingerprint, tiles.condition.cost, tiles.dtype, str(tiles.device), info.channels)
    if key not in _memory_models:
        shape, multiple = (1, tiles.spec.pictures, info.channels), tiles.spec.multiple_of

        def run_tile(side: int) -> object:
            generator = torch.Generator().manual_seed(0)
            x = torch.rand((*shape, side, side), generator=generator).to(tiles.device)
            return tiles(x, Place(0, 0, side, side), lambda _: None)

        sides = tuple(ceil_to(max(side, tiles.spec.min_size), multiple) for side in (96, 160))
        _memory_models[key] = measure(run_tile, (sides[0], max(sides[1], sides[0] + multiple)), tiles.device)
    return _memory_models[key]


def _describe(report: RunReport, spec: ModelSpec, plan: TilePlan) -> None:
    report.mode = "blend" if spec.tiling == "local" else spec.tiling
    report.halo = halo_and_ramp(spec)[0]
    report.tile, report.tiles, report.overhead = plan.shape, plan.tiles, plan.overhead
