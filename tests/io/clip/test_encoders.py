"""By what a clip's pictures are encoded."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from restore.errors import ConfigError, UnsupportedError
from restore.io.clip.encoders import CODECS, THREADS, encoding_for
from restore.io.clip.pixels import ColourTags
from restore.io.options import SaveOptions
from restore.picture import PictureInfo


def info_of(bits: int = 8, height: int = 64, width: int = 96, **fields) -> PictureInfo:
    dtype = "float32" if bits == 32 else "uint8" if bits == 8 else "uint16"
    return PictureInfo(height, width, **{"channels": 3, **fields}, dtype=dtype, bits=bits)


def encoding(name: str = "a.mp4", bits: int = 8, save: SaveOptions | None = None, tags=None, **fields):
    return encoding_for(info_of(bits, **fields), Path(name), save or SaveOptions(), Fraction(25), tags)


@pytest.mark.parametrize(
    ("name", "bits", "codec", "pixel_format", "crf"),
    [
        ("a.mp4", 8, "libx264", "yuv420p", 16), ("a.m4v", 8, "libx264", "yuv420p", 16),
        ("a.mov", 8, "libx264", "yuv420p", 16), ("a.MKV", 8, "libx264", "yuv420p", 16),
        ("a.mp4", 10, "libx265", "yuv420p10le", 16), ("a.mkv", 12, "libx265", "yuv420p12le", 16),
        ("a.webm", 8, "libvpx-vp9", "yuv420p", 18),
        ("a.mp4", 16, "libx265", "yuv420p10le", 16),
    ],
)  # fmt: skip
def test_defaults(name, bits, codec, pixel_format, crf):
    found = encoding(name, bits)
    assert (found.codec.encoder, found.pixel_format, found.crf) == (codec, pixel_format, crf)
    assert found.info.bits == min(bits, 12 if bits < 16 else 10)
    assert found.notes == (("16 bits a sample are written as 10",) if bits == 16 else ())


@pytest.mark.parametrize(
    ("name", "options", "pixel_format", "crf"),
    [
        ("a.mkv", {"codec": "ffv1"}, "bgr0", None), ("a.mov", {"codec": "prores"}, "yuv422p10le", None),
        ("a.mp4", {"codec": "av1", "crf": 30}, "yuv420p", 30), ("a.mp4", {"crf": 0}, "yuv420p", 0),
        ("a.mkv", {"codec": "vp9", "crf": 63}, "yuv420p", 63), ("a.mp4", {"crf": 51}, "yuv420p", 51),
        ("a.mkv", {"codec": "hevc", "crf": 22}, "yuv420p", 22), ("a.mkv", {"codec": "vp9"}, "yuv420p", 18),
    ],
)  # fmt: skip
def test_what_the_user_names(name, options, pixel_format, crf):
    found = encoding(name, save=SaveOptions(**options))
    assert (found.pixel_format, found.crf) == (pixel_format, crf)
    if options.get("codec") == "prores":
        assert found.notes == ("prores holds 10 bits: converted",) and found.info.bits == 10


def test_depths_that_a_codec_lacks():
    assert encoding("a.mp4", 12, SaveOptions(codec="h264")).notes == ("h264 holds 10 bits: converted",)
    assert encoding("a.mkv", 10, SaveOptions(codec="ffv1")).pixel_format == "gbrp10le"
    assert encoding("a.mp4", 10, SaveOptions(depth="8")).pixel_format == "yuv420p"
    for bits, options in ((8, {"depth": "16"}), (8, {"depth": "float"}), (32, {})):
        with pytest.raises(
            UnsupportedError, match=r"a.mp4: a clip holds 8 to 12 bits a sample. Add --depth 8, or write"
        ):
            encoding("a.mp4", bits, SaveOptions(**options))


@pytest.mark.parametrize(
    ("name", "options", "error", "text"),
    [
        ("a.mp4", {"codec": "ffv1"}, ConfigError,
         "a.mp4: .mp4 does not hold ffv1. Use --codec h264 or hevc or av1 or vp9, or write .mkv"),
        ("a.webm", {"codec": "h264"}, ConfigError, ".webm does not hold h264. Use --codec av1 or vp9, or write .mkv"),
        ("a.mov", {"codec": "vp9"}, ConfigError, ".mov does not hold vp9. Use --codec h264 or hevc or prores"),
        ("a.mkv", {"codec": "ffv1", "crf": 10}, ConfigError, "--crf is not for ffv1, which has no such quality"),
        ("a.mp4", {"crf": 52}, ConfigError, "--crf of h264 is from 0 to 51, not 52. Name one of these"),
        ("a.mkv", {"codec": "hevc", "crf": 63}, ConfigError, "--crf of hevc is from 0 to 51, not 63"),
        ("a.avi", {}, UnsupportedError, "a.avi: cannot write a clip as .avi. Use one of: .mp4 .m4v .mov .mkv .webm"),
    ],
)  # fmt: skip
def test_what_does_not_go_together(name, options, error, text):
    with pytest.raises(error) as raised:
        encoding(name, save=SaveOptions(**options))
    assert text in str(raised.value)


@pytest.mark.parametrize("size", [(63, 96), (64, 95), (63, 95)])
def test_odd_sides(size):
    height, width = size
    found = encoding(height=height, width=width)
    assert found.pixel_format == "yuv444p"
    assert found.notes == (f"{width} x {height} px are odd sides: 4:4:4 chroma, which some players do not show",)
    assert encoding(bits=10, height=height, width=width).pixel_format == "yuv444p10le"
    assert encoding("a.webm", height=height, width=width).pixel_format == "yuv420p"
    with pytest.raises(UnsupportedError, match=r"av1 holds even sides only. Use --codec vp9 or h264"):
        encoding(save=SaveOptions(codec="av1"), height=height, width=width)


def refused(*words, **fields) -> str:
    with pytest.raises(UnsupportedError) as raised:
        encoding(*words, **fields)
    return str(raised.value)


def test_what_an_encoder_refuses_is_refused_before_any_work(capfd):
    """Tried on the encoder that is installed: libvpx of PyAV has 8 bits only, x265 and SVT-AV1 nothing tiny."""
    line = "cannot be encoded by vp9 here (its encoder says: Invalid argument). Use --codec"
    assert f"a.webm: 96 x 64 px of 10 bits {line} av1, or --depth 8" in refused("a.webm", 10)
    vp9 = SaveOptions(codec="vp9")
    assert f"{line} hevc or ffv1, or --depth 8" in refused("a.mkv", 12, vp9)
    assert encoding("a.webm", 10, SaveOptions(depth="8")).pixel_format == "yuv420p"
    for codec in ("hevc", "av1"):
        text = refused(save=SaveOptions(codec=codec), height=2, width=2)
        assert text.startswith(f"a.mp4: 2 x 2 px of 8 bits cannot be encoded by {codec} here")
        assert text.endswith("Use --codec h264 or vp9")
    assert encoding(height=2, width=2).codec.encoder == "libx264"
    assert capfd.readouterr().err == "", "SVT-AV1 prints what it refuses"
    assert refused(height=20000, width=20000).endswith("Write frames with --frames-dir")


@pytest.mark.parametrize(("name", "codec", "said"), [
    ("a.mkv", "ffv1", False), ("a.webm", "vp9", False), ("a.mkv", "h264", True), ("a.mp4", "av1", True),
])  # fmt: skip
def test_a_shape_of_pixels_that_is_lost_is_named(name, codec, said):
    info, save = info_of(), SaveOptions(codec=codec)
    notes = encoding_for(info, Path(name), save, Fraction(25), aspect=Fraction(4, 3)).notes
    text = f"{name[1:]} does not say the shape of pixels (4/3) with {codec}: players show them square"
    assert notes == (() if said else (text,))
    assert encoding_for(info, Path(name), save, Fraction(25), aspect=Fraction(1)).notes == ()


def test_what_a_clip_does_not_hold():
    with pytest.raises(UnsupportedError, match=r"a clip holds no transparency. Use --frames-dir and an output folder"):
        encoding(alpha=True)
    with pytest.raises(UnsupportedError, match="a clip holds no 5 channels"):
        encoding(channels=5)
    assert encoding(channels=1).pixel_format == "yuv420p"


def test_colours():
    hdr = ColourTags(9, 16, 9, 1)
    assert encoding(bits=10, tags=hdr).tags == hdr
    assert encoding("a.mkv", 10, SaveOptions(codec="ffv1"), hdr).tags == ColourTags(9, 16, 0, 2)  # as RGB
    assert encoding().tags == ColourTags(matrix=6, range=1) and encoding(height=720).tags.matrix == 1


def test_threads_are_few_and_fixed_and_the_encoders_are_there():
    """Their number is part of what is encoded: it must not depend on the machine."""
    import av

    assert THREADS == 1
    for name, codec in CODECS.items():
        assert codec.encoder in av.codecs_available, name
    assert "pools=2:frame-threads=1" in CODECS["hevc"].options["x265-params"] and "lp=2" in str(CODECS["av1"].options)
