"""Pixels of frames and back."""

from __future__ import annotations

import numpy as np
import pytest

from restore.errors import UnsupportedError
from restore.io.clip.pixels import ColourTags, depth_of, to_frame, to_pixels
from restore.picture import PictureInfo
from tests.clips import from_yuv, planes_of, scene, to_yuv


def info_of(bits: int, channels: int = 3) -> PictureInfo:
    return PictureInfo(64, 96, channels, dtype="uint8" if bits == 8 else "uint16", bits=bits)


@pytest.mark.parametrize("matrix", [1, 6, 9])
@pytest.mark.parametrize(("bits", "kind"), [(8, "yuv444p"), (10, "yuv444p10le")])
def test_there_and_back(bits, kind, matrix):
    """Samples of all brightnesses and colours of a picture; white and black are hit."""
    tags, info = ColourTags(1, 1, matrix, 1), info_of(bits)
    planes = to_yuv(scene(1)[0] if bits == 8 else scene(1)[0].astype(np.uint16) * 257, matrix, bits)
    back = planes_of(to_frame(to_pixels(from_yuv(planes, kind), tags, info), tags, info, kind))
    assert np.abs(back.astype(int) - planes).max() <= 1
    assert np.abs((back.astype(int) - planes).mean((1, 2))).max() < 0.25
    white = np.full((64, 96, 3), info.white, info.dtype)
    y, u, v = planes_of(to_frame(white, tags, info, kind))[:, 0, 0].astype(int)
    assert abs(y - 235 * 2 ** (bits - 8)) <= 3 and {u, v} == {128 * 2 ** (bits - 8)}
    assert planes_of(to_frame(white * 0, tags, info, kind))[0].max() == 16 * 2 ** (bits - 8)


def test_grey_becomes_grey_of_the_range_of_video():
    grey = np.arange(96, dtype=np.uint8)[None, :, None].repeat(64, 0) * 2
    frame = to_frame(grey, ColourTags(range=1), info_of(8, 1), "yuv420p")
    luma = np.frombuffer(bytes(frame.planes[0]), np.uint8).reshape(64, -1)[:, :96]
    assert np.abs(luma - (16 + grey[..., 0] * (219 / 255))).max() <= 1


def test_a_matrix_that_is_not_read_is_refused():
    frame = from_yuv(to_yuv(scene(1)[0], 1, 8), "yuv444p")
    for matrix, name in ((8, "YCgCo"), (10, "BT.2020 with constant luminance"), (14, "ICtCp"), (12, "12")):
        with pytest.raises(
            UnsupportedError, match=rf"has colours of a kind that is not read \(matrix {name}\). Convert"
        ):
            to_pixels(frame, ColourTags(matrix=matrix), info_of(8))


@pytest.mark.parametrize(
    ("name", "components", "bits", "error"),
    [
        ("yuva420p", 4, 8, r"has transparency \(yuva420p\), which is not kept in clips. Extract its frames as PNG"),
        ("ya8", 2, 8, "has transparency"),
        ("gbrpf32le", 3, 32, r"has samples of a kind that is not read \(gbrpf32le\)"),
        ("rgb555le", 3, 5, "has samples of a kind that is not read"),
        ("nv12", 3, 8, None),
        ("p010le", 3, 10, None),
    ],
)
def test_kinds_of_samples(name, components, bits, error):
    if error is None:
        assert depth_of(name, components, bits) == bits
    else:
        with pytest.raises(UnsupportedError, match=error):
            depth_of(name, components, bits)


def test_a_matrix_that_players_would_guess_otherwise_is_declared():
    """Enlarged over 720 rows, a clip without a matrix keeps that of its height."""
    undeclared = ColourTags()
    assert undeclared.at_height(480, 640) == undeclared
    assert undeclared.at_height(480, 960).matrix == 6 and undeclared.at_height(1080, 540).matrix == 1
    assert ColourTags(matrix=9).at_height(480, 960).matrix == 9
    assert ColourTags(matrix=0).at_height(1080, 1080).matrix == 1
