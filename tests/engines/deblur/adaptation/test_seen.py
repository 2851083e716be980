"""Which frames are looked at, and who is beside whom."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from restore.engines.deblur.adaptation import seen
from restore.engines.deblur.adaptation.seen import Frame, collect_frames, frames_of, jpeg_quality, windows
from restore.errors import ConfigError
from restore.picture import Picture


def picture(seed: int, shape=(40, 60, 3)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def test_pictures_of_a_folder_are_strangers(tmp_path):
    for i in range(3):
        Image.fromarray(picture(i)).save(tmp_path / f"{i}.png")
    frames = collect_frames([tmp_path])
    assert [(frame.sequence, frame.number) for frame in frames] == [(0, 0), (1, 0), (2, 0)]
    assert torch.equal((frames[1].pixels * 255).round().byte(), torch.from_numpy(picture(1)).permute(2, 0, 1))
    assert not any(one.follows(other) for one in frames for other in frames)


def test_a_large_picture_is_seen_in_parts(monkeypatch):
    monkeypatch.setattr(seen, "_SIDE", 16)
    monkeypatch.setattr(seen, "_PIXELS", 16 * 16 * 4)
    frames = frames_of(Picture.from_array(picture(0)))
    assert [frame.pixels.shape for frame in frames] == [(3, 16, 16)] * 4
    assert not any(one.follows(other) for one in frames for other in frames)


@pytest.mark.parametrize(
    ("count", "most", "expected"), [(5, 9, [0, 1, 2, 3, 4]), (100, 9, [0, 1, 2, 48, 49, 50, 97, 98, 99])]
)
def test_groups_of_neighbours_over_a_clip(count, most, expected):
    assert seen._spread(count, most) == expected


def test_windows_end_where_neighbours_do():
    pixels = [torch.full((1, 1, 1), float(i)) for i in range(5)]
    frames = [
        Frame(pixels[0], 0, 0),
        Frame(pixels[1], 0, 1),
        Frame(pixels[2], 0, 2),
        Frame(pixels[3], 0, 7),
        Frame(pixels[4], 1, 8),
    ]
    shown = [window[:, 0, 0, 0].tolist() for window in windows(frames, 3)]
    assert shown == [[0, 0, 1], [0, 1, 2], [1, 2, 2], [3, 3, 3], [4, 4, 4]]


def test_what_cannot_be_read_is_left_out(tmp_path, caplog):
    Image.fromarray(picture(0)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    assert len(collect_frames([tmp_path])) == 1
    assert "b.png" in caplog.text


def test_nothing_to_adapt_to(tmp_path):
    with pytest.raises(ConfigError, match="nothing to adapt to"):
        collect_frames([tmp_path])


def test_pictures_of_two_kinds(tmp_path):
    Image.fromarray(picture(0)).save(tmp_path / "a.png")
    Image.fromarray(picture(1)[..., 0]).save(tmp_path / "b.png")
    with pytest.raises(ConfigError, match="differ in their channels"):
        collect_frames([tmp_path])


@pytest.mark.parametrize("quality", [40, 60, 85, 95])
def test_quality_of_jpeg_files(tmp_path, quality):
    buffer = io.BytesIO()
    Image.fromarray(picture(0)).save(buffer, "JPEG", quality=quality)
    (tmp_path / "a.jpg").write_bytes(buffer.getvalue())
    assert jpeg_quality([tmp_path]) == pytest.approx(quality, abs=1)


def test_other_files_have_no_quality(tmp_path):
    Image.fromarray(picture(0)).save(tmp_path / "a.png")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8")
    assert jpeg_quality([tmp_path]) == 0
