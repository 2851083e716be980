from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

import restore as package
import restore.data.cache as cache_module
from restore.analysis.value_range import find_scale
from restore.data.batches import CropBatches
from restore.data.cache import open_cache, read_rgb
from restore.errors import ConfigError, FileError
from tests.data.conftest import save, scene


@pytest.fixture
def no_decoding(monkeypatch):
    def refuse(path):
        raise AssertionError(f"{path} was decoded again")

    return lambda: monkeypatch.setattr(cache_module, "read_rgb", refuse)


def names(cache) -> list[str]:
    return [Path(entry.path).name for entry in cache.entries]


def test_holds_every_picture_exactly(photos, tmp_path):
    cache = open_cache([photos], tmp_path / "cache")
    assert names(cache) == ["a.png", "b.png", "c.png"]
    for entry, (seed, height, width) in zip(cache.entries, [(1, 80, 100), (2, 64, 120), (3, 90, 70)], strict=True):
        np.testing.assert_array_equal(cache.picture(entry), scene(seed, height, width))


def test_is_built_once(photos, tmp_path, no_decoding):
    first = open_cache([photos], tmp_path / "cache")
    no_decoding()
    again = open_cache([photos], tmp_path / "cache")
    assert again.entries == first.entries
    np.testing.assert_array_equal(again.pixels, first.pixels)


@pytest.mark.parametrize("change", ["touched", "other pixels", "added", "removed"])
def test_follows_changes_of_the_folder(photos, tmp_path, change):
    open_cache([photos], tmp_path / "cache")
    if change == "touched":
        os.utime(photos / "a.png", ns=(1, 1))
    elif change == "other pixels":
        save(photos / "a.png", scene(9))
    elif change == "added":
        save(photos / "d.png", scene(4))
    else:
        (photos / "a.png").unlink()
    decoded = []
    cache = open_cache([photos], tmp_path / "cache", progress=lambda done, total: decoded.append(done))
    assert decoded, "not rebuilt"
    assert sorted(names(cache)) == sorted(path.name for path in photos.rglob("*.png"))
    if change == "other pixels":
        np.testing.assert_array_equal(cache.picture(cache.entries[0]), scene(9))
    assert len(list((tmp_path / "cache").glob("*.bin"))) == 1, "the old pixels stay on the disk"


@pytest.mark.parametrize("damage", ["pixels gone", "pixels cut", "index cut", "all gone"])
def test_is_safe_to_delete_or_damage(photos, tmp_path, damage):
    cache = tmp_path / "cache"
    open_cache([photos], cache)
    (pixels,), (index,) = cache.glob("*.bin"), cache.glob("*.json")
    if damage in ("pixels gone", "all gone"):
        pixels.unlink()
    if damage == "all gone":
        index.unlink()
    if damage == "pixels cut":
        os.truncate(pixels, 1000)
    if damage == "index cut":
        index.write_text(index.read_text()[:100])
    again = open_cache([photos], cache)
    np.testing.assert_array_equal(again.picture(again.entries[0]), scene(1))


def test_leaves_out_what_cannot_be_read_and_says_so(photos, tmp_path, no_decoding):
    (photos / "broken.png").write_bytes((photos / "a.png").read_bytes()[:60])
    cache = open_cache([photos], tmp_path / "cache")
    assert names(cache) == ["a.png", "b.png", "c.png"]
    ((path, reason),) = cache.skipped
    assert path.endswith("broken.png") and reason
    no_decoding()
    assert open_cache([photos], tmp_path / "cache").skipped == cache.skipped


def test_excludes_by_pattern_and_keeps_scales(photos, tmp_path):
    cache = open_cache([photos], tmp_path / "cache", exclude=["deeper/*", "b*"], scales=(1.0, 0.5))
    assert names(cache) == ["a.png", "a.png"]
    whole, half = (cache.picture(entry).astype(float) for entry in cache.entries)
    assert half.shape == (40, 50, 3)
    box = whole.reshape(40, 2, 50, 2, 3).mean((1, 3))
    assert np.abs(half - box).max() <= 0.5


def test_folders_without_pictures_and_wrong_scales_are_refused(photos, tmp_path):
    with pytest.raises(FileError, match="no pictures"):
        open_cache([photos], tmp_path / "cache", exclude=["*"])
    with pytest.raises(FileError, match="not a folder"):
        open_cache([tmp_path / "nowhere"], tmp_path / "cache")
    with pytest.raises(ConfigError, match=r"data\.scales"):
        open_cache([photos], tmp_path / "cache", scales=(2.0,))


def test_a_folder_of_broken_files_is_an_error_without_remains(tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(FileError, match="no picture here can be read"):
        open_cache([tmp_path / "bad"], tmp_path / "cache")
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_reads_every_kind_as_rgb(tmp_path):
    rgb = scene(5)
    alpha = np.dstack([rgb, np.full(rgb.shape[:2], 7, np.uint8)])
    np.testing.assert_array_equal(read_rgb(save(tmp_path / "alpha.png", alpha))[0], rgb)
    np.testing.assert_array_equal(read_rgb(save(tmp_path / "grey.png", rgb[..., 0]))[0], np.repeat(rgb[..., :1], 3, 2))


def deep_pictures(folder: Path) -> dict[str, np.ndarray]:
    """Name -> unit values on the range that inference finds: 16 bits, 12 bits in 16, float, 8 bits."""
    rng = np.random.default_rng(0)
    whole, low = rng.integers(0, 65536, (40, 50, 3)), np.rint(4095 * rng.random((40, 50, 3)) ** 2)  # of other means
    share = (rng.random((40, 50, 3)) ** 0.5).astype(np.float32)
    byte = scene(5, 40, 50)
    package.write(whole.astype(np.uint16), folder / "a_whole.png")
    package.write(low.astype(np.uint16), folder / "b_low.png")
    tifffile.imwrite(folder / "c_float.tif", share, photometric="rgb")
    package.write(byte, folder / "d_byte.png")
    pictures = {path.name: package.read(path) for path in sorted(folder.iterdir())}
    return {name: np.clip(find_scale(it).to_unit(it.pixels.astype(float)), 0, 1) for name, it in pictures.items()}


def test_deep_pictures_keep_their_depth_and_the_range_that_inference_finds(tmp_path):
    (tmp_path / "photos").mkdir()
    truths = deep_pictures(tmp_path / "photos")
    for _ in ("built", "opened again"):
        cache = open_cache([tmp_path / "photos"], tmp_path / "cache")
        assert [entry.deep for entry in cache.entries] == [True, True, True, False]
        for entry in cache.entries:
            pixels, name = cache.picture(entry), Path(entry.path).name
            assert pixels.dtype == (np.uint16 if entry.deep else np.uint8)
            unit = pixels / (65535 if entry.deep else 255)
            assert np.abs(unit - truths[name]).max() < 0.51 / 65535, name
            low, high = pixels.min(), pixels.max()  # dim data are spread over the whole range
            assert high - low > 0.85 * (65535 if entry.deep else 255)


def test_deep_and_8_bit_crops_of_one_batch_have_the_same_white(tmp_path):
    (tmp_path / "photos").mkdir()
    truths = deep_pictures(tmp_path / "photos")
    cache = open_cache([tmp_path / "photos"], tmp_path / "cache")
    batch = CropBatches({"clean": cache}, 40)(0, 0, 40)
    assert batch.clean.dtype == torch.uint16
    crops = batch.to(torch.device("cpu")).clean
    means = {name: truth.mean((0, 1)) for name, truth in truths.items()}
    seen = set()
    for crop in crops:
        name = min(means, key=lambda name: np.abs(crop.mean((1, 2)).numpy() - means[name]).sum())
        shown, truth = crop.permute(1, 2, 0).numpy(), truths[name]
        pieces = [np.rot90(truth[:, left : left + 40], turn) for left in range(11) for turn in range(4)]
        matches = [np.abs(piece[:, ::flip] - shown).max() < 1e-4 for piece in pieces for flip in (1, -1)]
        assert any(matches), name
        seen.add(name)
    assert seen == set(truths)
    bytes_alone = CropBatches({"clean": cache.only([3])}, 40)(0, 0, 4)
    assert bytes_alone.clean.dtype == torch.uint8


def test_frames_are_numbered_as_their_names_are(tmp_path):
    for name in ("f10.png", "f9.png", "f1.png", "z/f2.png", "z/f01.png"):
        save(tmp_path / "photos" / name, scene(1, 20, 20))
    entries = open_cache([tmp_path / "photos"], tmp_path / "cache", scales=(1.0, 0.5)).entries
    order = sorted(entries, key=lambda entry: (entry.height, entry.file))
    expected = ["f1.png", "f9.png", "f10.png", "f01.png", "f2.png"]
    assert [Path(entry.path).name for entry in order] == 2 * expected
    assert [entry.file for entry in order] == 2 * [0, 1, 2, 3, 4]


def test_of_several_processes_one_builds(tmp_path, photos):
    """Started together, each prints what it decoded and a digest of what it read."""
    code = (
        "import hashlib, sys; from restore.data.cache import open_cache; done = []; "
        "cache = open_cache([sys.argv[1]], sys.argv[2], progress=lambda n, of: done.append(n)); "
        "print(len(done), hashlib.sha256(cache.pixels).hexdigest())"
    )
    for number in range(30):
        save(photos / f"more{number}.png", scene(number, 300, 400))
    words = [sys.executable, "-c", code, str(photos), str(tmp_path / "cache")]
    started = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    printed = [process.communicate(timeout=60)[0].split() for process in started]
    assert sorted(count for count, _ in printed) == ["0", "0", "33"]
    assert len({digest for _, digest in printed}) == 1
    assert len(list((tmp_path / "cache").glob("*.bin"))) == 1


def test_pictures_taken_together_stay_comparable_whatever_range_each_of_them_has(tmp_path):
    """A dim exposure and a noisy one of it: the noise widens the range that is found, not what is learned."""
    rng = np.random.default_rng(0)
    clean = np.rint(200 + 600 * rng.random((12, 12, 1)).repeat(8, 0).repeat(8, 1)).astype(np.uint16)
    noisy = np.rint(clean + rng.normal(0, 60, clean.shape)).astype(np.uint16)
    for name, picture in (("clean", clean), ("noisy", noisy)):
        (tmp_path / name).mkdir()
        package.write(picture[..., 0], tmp_path / name / "a.png")
    caches = {role: open_cache([tmp_path / name], tmp_path / "cache")
              for role, name in (("clean", "clean"), ("picture", "noisy"))}  # fmt: skip
    own = [cache.entries[0] for cache in caches.values()]
    assert own[1].white > 1.2 * own[0].white
    batch = CropBatches(caches, 96)(0, 0, 1).to(torch.device("cpu"))
    difference = (batch.pictures["picture"] - batch.clean)[0, 0]
    scale = find_scale(package.read(tmp_path / "clean" / "a.png"))
    assert float(difference.mean().abs()) < 0.01
    assert float(difference.std()) == pytest.approx(60 / scale.white, rel=0.1)
