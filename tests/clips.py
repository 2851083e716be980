"""Small clips of all kinds, made by PyAV, and what plain PyAV reads of them: nothing here is this program's reader."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

ENCODERS = {"h264": "libx264", "hevc": "libx265", "vp9": "libvpx-vp9"}
QUICK = {
    "libx264": {"preset": "ultrafast", "crf": "10"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none:pools=1", "crf": "10"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "crf": "10", "b": "0"},
}
ROTATED = (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)
"""A display matrix: a quarter of a turn."""
SOUND_RATE = 48000
WEIGHTS = {1: (0.2126, 0.0722), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
"""Of red and blue in luma: BT.709, BT.601, BT.2020, by the numbers of H.273."""


def scene(count: int, height: int = 64, width: int = 96, seed: int = 0, noise: float = 0.0) -> np.ndarray:
    """A coloured picture that slides by two pixels a frame: count x height x width x 3, uint8."""
    rng = np.random.default_rng(seed)
    high, wide = np.mgrid[:height, : width + 2 * count].astype(np.float32)
    phases = rng.uniform(0, 6, 3)
    picture = np.stack([128 + 70 * np.sin(high / 9 + one) * np.cos(wide / 7 + one) for one in phases], -1)
    frames = np.stack([picture[:, 2 * index : 2 * index + width] for index in range(count)])
    return np.clip(np.rint(frames + rng.normal(0, noise, frames.shape) * (noise > 0)), 0, 255).astype(np.uint8)


@dataclass
class Made:
    """A clip: where it is, and the frames that it was made of."""

    path: Path
    frames: np.ndarray


def make(
    path: Path,
    frames: np.ndarray | int = 12,
    *,
    codec: str = "h264",
    pixel_format: str = "yuv420p",
    size: tuple[int, int] = (64, 96),
    rate: Fraction | int = 25,
    times: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 1000),
    sound: str | None = None,
    sound_rate: int = SOUND_RATE,
    matrix: tuple[int, ...] | None = None,
    colours: tuple[int, int, int, int] | None = None,
    aspect: Fraction | None = None,
    chapters: bool = False,
    subtitles: bool = False,
    attachment: bool = False,
    cover: bool = False,
    data: bool = False,
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
    tags: dict[str, str] | None = None,
) -> Made:
    """Write a clip.

    Args:
        frames: count x height x width x 3 (uint8; uint16 full range for deeper formats), or how many of `scene`.
        times: of the frames, in units of `time_base`; else evenly at `rate`.
        sound: codec of a sine of 440 Hz, as long as the pictures.
        colours: primaries, transfer, matrix, range, by the numbers of H.273 and FFmpeg.
    """
    array = scene(frames, *size) if isinstance(frames, int) else frames
    path.parent.mkdir(parents=True, exist_ok=True)
    encoder = ENCODERS.get(codec, codec)
    with av.open(str(path), "w", options=container or {}) as target:
        target.metadata.update(tags or {})
        stream: Any = target.add_stream(encoder, rate=rate, options={**QUICK.get(encoder, {}), **(options or {})})
        stream.height, stream.width = array.shape[1:3]
        stream.pix_fmt = pixel_format
        context = stream.codec_context
        context.thread_count = 1
        if colours:
            context.color_primaries, context.color_trc, context.colorspace, context.color_range = colours
        if aspect:
            context.sample_aspect_ratio = aspect
        if matrix:
            stream.set_display_matrix(matrix)
        base = time_base if times is not None else 1 / Fraction(rate)
        stream.time_base = context.time_base = base
        heard: Any = target.add_stream(sound, rate=sound_rate) if sound else None
        if heard is not None:
            heard.codec_context.layout = "mono"
        written = _add_subtitles(target) if subtitles else None
        if attachment:
            target.add_attachment("font.ttf", "font/ttf", b"not a font")
        if chapters:
            target.set_chapters(
                [
                    {"id": 1, "start": 0, "end": 200, "time_base": Fraction(1, 1000), "metadata": {"title": "One"}},
                    {"id": 2, "start": 200, "end": 400, "time_base": Fraction(1, 1000), "metadata": {"title": "Two"}},
                ]
            )
        telemetry = target.add_data_stream("klv") if data else None
        front = _add_cover(target) if cover else None
        target.start_encoding()
        if front is not None:
            target.mux(front)
        if written:
            target.mux(written)
        if telemetry is not None:
            packet = av.Packet(b"\x06\x0e\x2b\x34 telemetry")
            packet.stream, packet.pts, packet.dts, packet.time_base = telemetry, 0, 0, Fraction(1, 90000)
            target.mux(packet)
        shown = list(times) if times is not None else list(range(len(array)))
        for time, picture in zip(shown, array, strict=True):
            frame = _frame(picture, pixel_format, colours)
            frame.pts, frame.time_base = time, base
            target.mux(stream.encode(frame))
        target.mux(stream.encode())
        if heard is not None:
            _add_sine(target, heard, float((shown[-1] + 1) * base))
    return Made(path, array)


def _frame(picture: np.ndarray, pixel_format: str, colours: tuple[int, int, int, int] | None) -> Any:
    if pixel_format in ("yuv444p", "yuv444p10le", "yuv420p", "yuv420p10le") and colours:
        return from_yuv(to_yuv(picture, colours[2], 10 if "10" in pixel_format else 8, full=colours[3] == 2),
                        pixel_format)  # fmt: skip
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24" if picture.dtype == np.uint8 else "rgb48le")
    return frame.reformat(format=pixel_format)


def to_yuv(picture: np.ndarray, matrix: int, bits: int, *, full: bool = False) -> np.ndarray:
    """RGB, H x W x 3 -> planes of luma and colour differences at full resolution, 3 x H x W, by the equations."""
    red, blue = WEIGHTS[matrix]
    rgb = picture.astype(np.float64) / np.iinfo(picture.dtype).max
    luma = red * rgb[..., 0] + (1 - red - blue) * rgb[..., 1] + blue * rgb[..., 2]
    differences = (rgb[..., 2] - luma) / (2 * (1 - blue)), (rgb[..., 0] - luma) / (2 * (1 - red))
    unit, most = 2 ** (bits - 8), 2**bits - 1
    if full:
        planes = [luma * most, *(one * most + 128 * unit for one in differences)]
    else:
        planes = [(16 + 219 * luma) * unit, *((128 + 224 * one) * unit for one in differences)]
    return np.clip(np.rint(np.stack(planes)), 0, most).astype(np.uint8 if bits == 8 else np.uint16)


def to_rgb(planes: np.ndarray, matrix: int, bits: int, *, full: bool = False) -> np.ndarray:
    """The same back, in units of the depth, not rounded: H x W x 3, float64."""
    red, blue = WEIGHTS[matrix]
    unit, most = 2 ** (bits - 8), 2**bits - 1
    y, u, v = planes.astype(np.float64)
    if full:
        luma, cb, cr = y / most, (u - 128 * unit) / most, (v - 128 * unit) / most
    else:
        luma, cb, cr = (y / unit - 16) / 219, (u / unit - 128) / 224, (v / unit - 128) / 224
    r, b = luma + 2 * (1 - red) * cr, luma + 2 * (1 - blue) * cb
    g = (luma - red * r - blue * b) / (1 - red - blue)
    return np.clip(np.stack([r, g, b], -1), 0, 1) * most


def from_yuv(planes: np.ndarray, pixel_format: str) -> Any:
    """A frame of planes; with a quarter of the colour, the means of four."""
    frame = av.VideoFrame(planes.shape[2], planes.shape[1], pixel_format)
    for index, plane in enumerate(planes):
        if "420" in pixel_format and index:
            high, wide = plane.shape
            plane = np.rint(plane.reshape(high // 2, 2, wide // 2, 2).mean((1, 3))).astype(plane.dtype)
        rows = np.zeros((plane.shape[0], frame.planes[index].line_size), np.uint8)
        packed = np.ascontiguousarray(plane).view(np.uint8).reshape(plane.shape[0], -1)
        rows[:, : packed.shape[1]] = packed
        frame.planes[index].update(rows.tobytes())
    return frame


def planes_of(frame: Any) -> np.ndarray:
    """The samples of a decoded 4:4:4 frame, 3 x H x W."""
    kind = np.uint8 if frame.format.components[0].bits == 8 else np.uint16
    planes = [np.frombuffer(bytes(plane), np.uint8).reshape(plane.height, plane.line_size) for plane in frame.planes]
    return np.stack([np.ascontiguousarray(one).view(kind)[:, : frame.width] for one in planes])


def _add_sine(target: Any, stream: Any, seconds: float) -> None:
    rate = stream.codec_context.sample_rate
    wave = np.rint(8000 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)).astype(np.int16)
    for start in range(0, len(wave), 1024):
        frame = av.AudioFrame.from_ndarray(wave[None, start : start + 1024], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        target.mux(stream.encode(frame))
    target.mux(stream.encode())


def _add_subtitles(target: Any) -> list[Any]:
    text = "".join(f"{n + 1}\n00:00:00,{n}00 --> 00:00:00,{n}80\nline {n}\n\n" for n in range(4))
    with av.open(io.BytesIO(text.encode()), format="srt") as source:
        stream = target.add_stream_from_template(source.streams[0])
        packets = [packet for packet in source.demux() if packet.size]
    for packet in packets:
        packet.stream = stream
    return packets


def _add_cover(target: Any) -> Any:
    from av.stream import Disposition

    stream: Any = target.add_stream("mjpeg", rate=1)
    stream.height, stream.width, stream.pix_fmt = 32, 48, "yuvj420p"
    stream.disposition = Disposition.attached_pic
    frame = av.VideoFrame.from_ndarray(np.full((32, 48, 3), 200, np.uint8), format="rgb24").reformat(format="yuvj420p")
    frame.pts = 0
    return stream.encode(frame)


# --- what is in a file -----------------------------------------------------------------------------------------


def decoded(path: Path) -> list[Any]:
    """All frames, by plain PyAV."""
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def times(path: Path) -> list[Fraction]:
    """When the frames are shown, seconds, ascending."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return sorted(packet.pts * packet.time_base for packet in container.demux(stream) if packet.size)


def packets(path: Path, kind: str = "audio") -> list[tuple[Fraction, bytes]]:
    """Times and bytes of the packets of the first track of a kind, in the file's order."""
    with av.open(str(path)) as container:
        stream = next(stream for stream in container.streams if stream.type == kind)
        return [(packet.pts * packet.time_base, bytes(packet)) for packet in container.demux(stream) if packet.size]


def break_packet(path: Path, number: int) -> None:
    """Overwrite the inside of a packet of the pictures, in the order of decoding."""
    with av.open(str(path)) as container:
        found = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    at, size = found[number]
    data = bytearray(path.read_bytes())
    data[at + 5 : at + size] = np.random.default_rng(0).integers(0, 256, size - 5, np.uint8).tobytes()
    path.write_bytes(data)


def cut(path: Path, share: float) -> None:
    """Keep the beginning of a file."""
    data = path.read_bytes()
    path.write_bytes(data[: round(len(data) * share)])
