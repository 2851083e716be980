"""`restore.load(task).clip(IN, OUT)`: clips from Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import restore
from restore.errors import ConfigError, DecodeError, UnsupportedError
from restore.io.clip.reader import ClipFile
from tests.clips import cut, make, packets, scene, times


def read(path) -> np.ndarray:
    return np.stack([one.read_rows(0, one.info.height) for one in ClipFile(path)]).astype(float)


def still(count: int = 12, sigma: float = 15) -> tuple[np.ndarray, np.ndarray]:
    """One picture, and it with other noise in every frame."""
    clean = scene(1, 96, 128).astype(float)
    return clean, np.clip(np.rint(clean + np.random.default_rng(0).normal(0, sigma, (count, *clean.shape[1:]))), 0, 255)


def test_a_clip_from_python(tmp_path):
    clean, noisy = still()
    made = make(tmp_path / "in.mkv", noisy.astype(np.uint8), codec="ffv1", pixel_format="bgr0", sound="aac")
    shares: list[float] = []
    denoise = restore.load("denoise", method="classical")
    record = denoise.clip(made.path, tmp_path / "out.mkv", codec="ffv1", start=0.08, progress=shares.append)
    assert record.decisions["frames"] == "10" and "sigma" in record.decisions["noise"] and record.warnings == ()
    assert record.outputs["result"].bytes == (tmp_path / "out.mkv").stat().st_size
    assert shares == sorted(shares) and 0.8 < shares[-1] <= 1
    out = tmp_path / "out.mkv"
    assert len(times(out)) == 10 and times(out)[0] == 0 and 0 < len(packets(out)) < len(packets(made.path))
    assert np.abs(read(out) - clean).mean() < 0.5 * np.abs(noisy - clean).mean()
    with pytest.raises(restore.errors.FileError, match="overwrite"):
        denoise.clip(made.path, out)
    denoise.clip(made.path, out, overwrite=True, count=3)
    assert len(times(out)) == 3


def test_frames_are_averaged_in_time_unless_that_is_off(tmp_path):
    clean, noisy = still()
    made = make(tmp_path / "in.mkv", noisy.astype(np.uint8), codec="ffv1", pixel_format="bgr0")
    errors = {}
    for temporal in ("auto", "off"):
        out = tmp_path / f"{temporal}.mkv"
        record = restore.load("denoise", method="classical", temporal=temporal).clip(made.path, out, codec="ffv1")
        assert ("temporal" in record.decisions) == (temporal == "auto")
        errors[temporal] = (read(out) - clean).std(0).mean()
    assert errors["auto"] < 0.8 * errors["off"]


@pytest.mark.parametrize(("at", "strength"), [(0.4, 1), (0.85, 0.5)])
def test_stopped_and_gone_on_with_it_is_the_same_clip(tmp_path, monkeypatch, at, strength):
    """Also where frames are averaged with those before, which an earlier run has written."""
    monkeypatch.setattr("restore.io.clip.sink.SEGMENT", 4)
    made = make(tmp_path / "in.mp4", still(14)[1].astype(np.uint8), sound="aac")
    denoise = restore.load("denoise", method="classical", strength=strength)

    def stop(share: float) -> None:
        if share > at:
            raise KeyboardInterrupt

    denoise.clip(made.path, tmp_path / "whole.mp4")
    with pytest.raises(KeyboardInterrupt):
        denoise.clip(made.path, tmp_path / "out.mp4", resume=True, progress=stop)
    assert not (tmp_path / "out.mp4").exists()
    record = denoise.clip(made.path, tmp_path / "out.mp4", resume=True)
    assert record.decisions["temporal"] == "what 5 frames show alike is averaged"
    assert (tmp_path / "out.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "out.mp4", "whole.mp4"]


def test_frames_in_and_out(tmp_path):
    made = make(tmp_path / "in.mkv", 5, codec="ffv1", pixel_format="bgr0")
    same = restore.load("denoise", method="classical", strength=0)
    same.clip(made.path, tmp_path / "frames")
    assert len(list((tmp_path / "frames").glob("frame_*.png"))) == 5
    same.clip(tmp_path / "frames", tmp_path / "out.mkv", codec="ffv1", fps=50)
    assert np.array_equal(read(tmp_path / "out.mkv"), made.frames) and float(times(tmp_path / "out.mkv")[4]) == 0.08


def test_what_is_refused(tmp_path):
    made = make(tmp_path / "in.mp4", 5)
    denoise = restore.load("denoise", method="classical")
    with pytest.raises(ConfigError, match=r"there is no option codek\. Did you mean 'codec'"):
        denoise.clip(made.path, tmp_path / "out.mp4", codek="h264")
    cut(made.path, 0.8)
    with pytest.raises(DecodeError, match=r"in.mp4: is no clip that can be read, or it is not whole"):
        denoise.clip(made.path, tmp_path / "out.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_what_is_no_path_no_measure_and_no_clip(tmp_path):
    made = make(tmp_path / "in.mkv", 3)
    denoise = restore.load("denoise", method="classical")
    for source, target, options, text in (
        (None, tmp_path / "out.mkv", {}, "source is a NoneType and no path. Give a str or a pathlib.Path"),
        (made.path, b"out.mkv", {}, "target is a bytes and no path"),
        (made.path, tmp_path / "out.mkv", {"measure": "onse"}, "measure cannot be 'onse'. Did you mean 'once'"),
        (made.path, tmp_path / "out.mkv", {"measure": None}, "measure cannot be None"),
    ):
        with pytest.raises(ConfigError) as raised:
            denoise.clip(source, target, **options)
        assert text in str(raised.value)
    for name in ("out.png", "out.JPG", "out.avi", "out.heic"):
        with pytest.raises(UnsupportedError, match=rf"{name}: cannot write a clip as {Path(name).suffix}. Use one of"):
            denoise.clip(made.path, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["in.mkv"]
