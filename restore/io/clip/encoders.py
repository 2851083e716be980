"""How the pictures of a clip are encoded: one table of codecs, with settings that give the same bytes everywhere.

Threads are fixed, because encoders decide by their number what they know of neighbouring frames.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

from restore.errors import ConfigError, UnsupportedError
from restore.io.clip.names import container_of
from restore.io.clip.pixels import FULL, LIMITED, RGB, ColourTags
from restore.io.clip.pyav import av_error, import_av, why_of
from restore.io.options import SaveOptions
from restore.picture import PictureInfo

THREADS = 1
_X264_SAFE = ":asm=SSE4.2" if platform.machine().lower() in ("x86_64", "amd64") else ""
"""With AVX-512 the macroblock tree of x264 differs from run to run (seen with the x264 of PyAV 18); without, never."""


@dataclass(frozen=True)
class Codec:
    """An encoder.

    Attributes:
        encoder: FFmpeg's name.
        formats: of pixels, by their depth: with half the chroma of rows and columns, and with all of it.
        containers: that take it.
        crf: the quality where the user names none; None: it has none.
        options: of the encoder.
        tag: of the stream in MP4 and MOV, where players want another than FFmpeg's.
        worst: the largest number that `crf` may be.
        even: whether sides must be even with a quarter of the chroma.
        segments: the container of the parts that a clip is written in (`restore.io.clip.sink`).
    """

    encoder: str
    formats: Mapping[int, tuple[str, str]]
    containers: tuple[str, ...]
    crf: int | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    tag: str = ""
    worst: int = 63
    even: bool = True
    segments: str = "nut"


_PLANES = {8: ("yuv420p", "yuv444p"), 10: ("yuv420p10le", "yuv444p10le"), 12: ("yuv420p12le", "yuv444p12le")}
_LOSSLESS = {8: ("bgr0", "bgr0"), 10: ("gbrp10le", "gbrp10le"), 12: ("gbrp12le", "gbrp12le")}
_EIGHT_TEN = {8: _PLANES[8], 10: _PLANES[10]}
CODECS = {
    "h264": Codec(
        "libx264", _EIGHT_TEN, ("mp4", "mov", "matroska"), 16,
        {"preset": "medium", "x264-params": "rc-lookahead=8:sync-lookahead=0" + _X264_SAFE}, worst=51,
    ),
    "hevc": Codec(
        "libx265", _PLANES, ("mp4", "mov", "matroska"), 16,
        {"preset": "medium", "x265-params": "pools=2:frame-threads=1:rc-lookahead=8:log-level=error"}, tag="hvc1",
        worst=51,
    ),
    "av1": Codec(
        "libsvtav1", {8: ("yuv420p", "yuv420p"), 10: ("yuv420p10le", "yuv420p10le")}, ("mp4", "matroska", "webm"), 20,
        {"preset": "6", "svtav1-params": "lp=2:lookahead=8"},
    ),
    "vp9": Codec(
        "libvpx-vp9", _PLANES, ("webm", "matroska", "mp4"), 18, {"deadline": "good", "cpu-used": "4", "b": "0"},
        even=False,
    ),
    "ffv1": Codec("ffv1", _LOSSLESS, ("matroska",), None, {"level": "3", "slices": "4", "slicecrc": "1"}, even=False),
    "prores": Codec(
        "prores_ks", {10: ("yuv422p10le", "yuv444p10le")}, ("mov", "matroska"), None, {"profile": "hq"}, segments="mov"
    ),
}  # fmt: skip
"""By the names that `--codec` takes."""
_TELLS_ASPECT = ("libx264", "libx265")  # in the stream; PyAV cannot have Matroska say it
_OF_CONTAINER = {"webm": "vp9"}


@dataclass(frozen=True)
class Encoding:
    """How a clip's pictures are encoded.

    Attributes:
        codec: of `CODECS`.
        container: FFmpeg's name.
        info: of the frames as they are given.
        pixel_format: that they are encoded in.
        tags: of its colours.
        rate: frames a second, in the mean.
        crf: of the codec; None where it has none.
        aspect: of a pixel; None: not declared.
        matrix: the display matrix; None: none.
        notes: what is not as it was.
    """

    codec: Codec
    container: str
    info: PictureInfo
    pixel_format: str
    tags: ColourTags
    rate: Fraction
    crf: int | None
    aspect: Fraction | None = None
    matrix: tuple[int, ...] | None = None
    notes: tuple[str, ...] = ()

    def add_to(self, target: Any, container: str, time_base: Fraction | None = None) -> Any:
        """A stream for these pictures, in a container; its encoder is not open yet."""
        stream = target.add_stream(self.codec.encoder, rate=self.rate, options=dict(self._options))
        context = stream.codec_context
        stream.width, stream.height, stream.pix_fmt = self.info.width, self.info.height, self.pixel_format
        context.thread_count, context.thread_type = THREADS, "FRAME"
        tags = self.tags
        context.color_primaries, context.color_trc = tags.primaries, tags.transfer
        context.colorspace, context.color_range = tags.matrix, tags.range
        if self.aspect:
            context.sample_aspect_ratio = self.aspect
        if self.matrix:
            stream.set_display_matrix(self.matrix)
        if container in ("mp4", "mov") and self.codec.tag:
            context.codec_tag = self.codec.tag
        if time_base is not None:
            stream.time_base = time_base
        return stream

    @property
    def _options(self) -> Mapping[str, str]:
        return {**self.codec.options, **({"crf": str(self.crf)} if self.crf is not None else {})}


def encoding_for(
    info: PictureInfo,
    path: Path,
    options: SaveOptions,
    rate: Fraction,
    tags: ColourTags | None = None,
    aspect: Fraction | None = None,
    matrix: tuple[int, ...] | None = None,
) -> Encoding:
    """How frames like `info` become a clip at `path`.

    Raises:
        UnsupportedError: what the codec or its container does not hold, tried on the encoder that is installed.
        ConfigError: a codec for another container, or a quality that is none of its own.
    """
    container = container_of(path)
    import_av()
    bits, notes = _depth(info, path, options)
    name = options.codec if options.codec != "auto" else _OF_CONTAINER.get(container, "h264" if bits == 8 else "hevc")
    codec = CODECS[name]
    if container not in codec.containers:
        fitting = [each for each, one in CODECS.items() if container in one.containers]
        raise ConfigError(
            f"{path.suffix} does not hold {name}", where=path, fix=f"Use --codec {' or '.join(fitting)}, or write .mkv"
        )
    if options.crf is not None and codec.crf is None:
        raise ConfigError(f"--crf is not for {name}, which has no such quality", fix="Leave it out")
    if options.crf is not None and options.crf > codec.worst:
        raise ConfigError(f"--crf of {name} is from 0 to {codec.worst}, not {options.crf}", fix="Name one of these")
    _check_there(codec, name)
    if bits not in codec.formats:
        bits, notes = min(codec.formats, key=lambda each: abs(each - bits)), [*notes]
        notes.append(f"{name} holds {bits} bits: converted")
    odd = info.height % 2 or info.width % 2
    full = bool(odd) and codec.even
    if full:
        notes.append(f"{info.width} x {info.height} px are odd sides: 4:4:4 chroma, which some players do not show")
    pixel_format = codec.formats[bits][full]
    if pixel_format in ("yuv420p", "yuv420p10le", "yuv420p12le") and full:
        raise UnsupportedError(f"{name} holds even sides only", where=path, fix="Use --codec vp9 or h264")
    info = PictureInfo(
        info.height, info.width, info.channels, dtype="uint8" if bits == 8 else "uint16", bits=bits, format=container,
        path=path,
    )  # fmt: skip
    crf = codec.crf if options.crf is None else options.crf
    tags = tags or ColourTags(matrix=ColourTags().matrix_at(info.height), range=LIMITED)
    if pixel_format.startswith(("gbr", "bgr")):
        tags = replace(tags, matrix=RGB, range=FULL)
    if aspect not in (None, 1) and container in ("matroska", "webm") and codec.encoder not in _TELLS_ASPECT:
        notes.append(f"{path.suffix} does not say the shape of pixels ({aspect}) with {name}: players show them square")
    encoding = Encoding(codec, container, info, pixel_format, tags, rate, crf, aspect, matrix, tuple(notes))
    if why := _refusal(codec.encoder, info.width, info.height, pixel_format):
        raise _not_encoded(name, encoding, why, path)
    return encoding


def _not_encoded(name: str, encoding: Encoding, why: str, path: Path) -> UnsupportedError:
    """The error of pictures that a codec does not take, with what takes them."""
    info = encoding.info

    def takes(codec: Codec, bits: int) -> bool:
        odd = info.height % 2 or info.width % 2
        if bits not in codec.formats or encoding.container not in codec.containers:
            return False
        kind = codec.formats[bits][bool(odd and codec.even)]
        return not (odd and codec.even and "420" in kind) and not _refusal(codec.encoder, info.width, info.height, kind)

    others = [each for each, codec in CODECS.items() if takes(codec, info.bits)]
    advice = [f"--codec {' or '.join(others)}"] if others else []
    advice += ["--depth 8"] if info.bits > 8 and takes(encoding.codec, 8) else []
    return UnsupportedError(
        f"{info.width} x {info.height} px of {info.bits} bits cannot be encoded by {name} here",
        where=path, why=f"its encoder says: {why}",
        fix=f"Use {', or '.join(advice)}" if advice else "Write frames with --frames-dir",
    )  # fmt: skip


@lru_cache(maxsize=64)
def _refusal(encoder: str, width: int, height: int, pixel_format: str) -> str:
    """Why an encoder does not take such pictures: tried, before any work; "": it does."""
    import av

    try:
        context: Any = av.CodecContext.create(encoder, "w")
        context.width, context.height, context.pix_fmt = width, height, pixel_format
        context.time_base = Fraction(1, 25)
        context.thread_count = THREADS
        context.options = dict(next(codec.options for codec in CODECS.values() if codec.encoder == encoder))
        context.open()
    except (av_error(), ValueError) as error:
        return why_of(error)
    return ""


def _depth(info: PictureInfo, path: Path, options: SaveOptions) -> tuple[int, list[str]]:
    """Bits a sample of the clip, and what is said about them. Raises `UnsupportedError`."""
    if info.channels not in (1, 3) or info.alpha:
        what = "transparency" if info.alpha else f"{info.channels} channels"
        raise UnsupportedError(f"a clip holds no {what}", where=path, fix="Use --frames-dir and an output folder")
    if options.depth in ("16", "float") or (info.dtype == "float32" and options.depth == "auto"):
        raise UnsupportedError(
            "a clip holds 8 to 12 bits a sample", where=path, fix="Add --depth 8, or write frames with --frames-dir"
        )
    if options.depth == "8":
        return 8, []
    if info.bits > 12:
        return 10, [f"{info.bits} bits a sample are written as 10"]
    return (info.bits if info.bits in (8, 10, 12) else 10), []


def _check_there(codec: Codec, name: str) -> None:
    import av

    if codec.encoder not in av.codecs_available:
        there = [each for each, one in CODECS.items() if one.encoder in av.codecs_available]
        raise UnsupportedError(f"this PyAV has no encoder for {name}", fix=f"Use --codec {' or '.join(there)}")
