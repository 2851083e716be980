from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from restore.data.batches import CropBatches, hold_out, prefetched, to_channels, validation_batches
from restore.data.cache import CropCache, Entry, open_cache
from restore.errors import ConfigError


def cache_of(*pictures: np.ndarray) -> CropCache:
    """A cache in memory; picture i comes from the file "i"."""
    entries, offset = [], 0
    for number, picture in enumerate(pictures):
        entries.append(Entry(str(number), *picture.shape[:2], offset))
        offset += picture.size
    return CropCache(tuple(entries), (), np.concatenate([picture.ravel() for picture in pictures]))


def clean_of(*pictures: np.ndarray) -> dict[str, CropCache]:
    return {"clean": cache_of(*pictures)}


def unique(height: int, width: int, first: int = 0) -> np.ndarray:
    """Every pixel tells its place: (row, column, picture)."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.full_like(rows, first)], -1).astype(np.uint8)


def test_a_batch_is_a_function_of_seed_and_step(photos, tmp_path):
    cache = open_cache([photos], tmp_path / "cache")
    draw = CropBatches({"clean": cache}, 32, seed=5)
    for _ in range(3):
        draw(1, 0, 4)  # drawing others in between changes nothing
    assert torch.equal(draw(7, 0, 6).clean, CropBatches({"clean": cache}, 32, seed=5)(7, 0, 6).clean)
    assert not torch.equal(draw(7, 0, 6).clean, draw(8, 0, 6).clean)
    assert not torch.equal(draw(7, 0, 6).clean, CropBatches({"clean": cache}, 32, seed=6)(7, 0, 6).clean)


def test_processes_divide_one_global_batch(photos, tmp_path):
    draw = CropBatches({"clean": open_cache([photos], tmp_path / "cache")}, 24)
    whole = draw(3, 0, 8).clean
    parts = [draw(3, first, 2) for first in (0, 2, 4, 6)]
    assert torch.equal(torch.cat([part.clean for part in parts]), whole)
    assert [part.first_index for part in parts] == [0, 2, 4, 6]


def test_crops_are_true_pieces_in_eight_orientations():
    picture = unique(40, 50)
    clean = CropBatches(clean_of(picture), 8)(0, 0, 400).clean.permute(0, 2, 3, 1).numpy()
    seen = set()
    for crop in clean:
        corners = crop[[0, 0, -1, -1], [0, -1, 0, -1], :2]
        top, left = corners.min(0)
        piece = picture[top : top + 8, left : left + 8]
        turns = [np.rot90(piece[:, ::-1] if flip else piece, k) for flip in (0, 1) for k in range(4)]
        matches = [number for number, turned in enumerate(turns) if np.array_equal(turned, crop)]
        assert len(matches) == 1
        seen.add(matches[0])
    assert seen == set(range(8))


def test_every_place_is_equally_likely():
    small, large = unique(16, 16, 0), unique(16, 47, 1)  # 1 x 1 and 1 x 32 places for crops of 16
    clean = CropBatches(clean_of(small, large), 16)(0, 0, 3300).clean
    from_small = (clean[:, 2, 0, 0] == 0).sum().item()
    assert 60 <= from_small <= 140, "of 33 places one is in the small picture"
    left = clean[clean[:, 2, 0, 0] == 1][:, 1].flatten(1).amin(1)
    counts = torch.bincount(left.long(), minlength=32)
    assert counts.min() > 60 and counts.max() < 145


def test_small_pictures_are_left_out_and_too_large_crops_refused():
    clean = CropBatches(clean_of(unique(10, 60, 0), unique(20, 20, 1)), 16)(0, 0, 50).clean
    assert (clean[:, 2] == 1).all()
    with pytest.raises(ConfigError, match=r"data\.crop, 24 px.*Set data\.crop to 20"):
        CropBatches(clean_of(unique(10, 60), unique(20, 20)), 24)


def test_grey_is_bt601_luma():
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [90, 90, 90]]], np.uint8)
    assert to_channels(colours, 1)[0, :, 0].tolist() == [76, 150, 29, 90]
    clean = CropBatches(clean_of(unique(20, 20)), 8, channels=1)(0, 0, 3).clean
    assert clean.shape == (3, 1, 8, 8) and clean.dtype == torch.uint8
    with pytest.raises(ConfigError, match="2 channels"):
        CropBatches(clean_of(unique(20, 20)), 8, channels=2)


def test_on_the_device_it_is_float_and_channels_last():
    batch = CropBatches(clean_of(unique(20, 20)), 8)(0, 0, 2)
    moved = batch.to(torch.device("cpu"))
    assert moved.clean.dtype == torch.float32 and moved.clean.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal((moved.clean * 255).round().byte(), batch.clean)
    assert (moved.seed, moved.step, moved.first_index) == (0, 0, 0)


def test_pairs_are_cut_at_the_same_place():
    clean, noisy = unique(30, 40), unique(30, 40)
    noisy[..., 2] = 99
    batch = CropBatches({"clean": cache_of(clean), "picture": cache_of(noisy)}, 8)(0, 0, 20)
    damaged = batch.pictures["picture"]
    assert torch.equal(batch.clean[:, :2], damaged[:, :2])
    assert (damaged[:, 2] == 99).all() and (batch.clean[:, 2] == 0).all()


def test_prefetching_changes_neither_batches_nor_order():
    draw = CropBatches(clean_of(unique(30, 40)), 8)
    requests = [(step, first) for step in range(4) for first in (0, 2)]
    with prefetched(draw, iter(requests), 2) as batches:
        got = list(batches)
    assert [(batch.step, batch.first_index) for batch in got] == requests
    assert all(torch.equal(batch.clean, draw(batch.step, batch.first_index, 2).clean) for batch in got)
    with prefetched(draw, ((step, 0) for step in itertools.count()), 2) as endless:
        assert next(endless).step == 0


def test_an_error_while_drawing_reaches_the_loop():
    def broken(step, first, count):
        raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"), prefetched(broken, iter([(0, 0), (1, 0)]), 2) as batches:
        next(batches)


def test_hold_out_is_by_file_and_keeps_one_size():
    sizes = [picture for number in range(10) for picture in (unique(20, 20, number), unique(10, 10, number))]
    cache = cache_of(*sizes)
    entries = tuple(replace(entry, path=str(number // 2)) for number, entry in enumerate(cache.entries))
    cache = replace(cache, entries=entries)
    learning, held = hold_out(cache, 2)
    assert len(held) == 2 and len(learning) == 16
    assert all(cache.entries[number].height == 20 for number in held)
    assert {cache.entries[n].path for n in held}.isdisjoint(cache.entries[n].path for n in learning)
    with pytest.raises(ConfigError, match="Hold out fewer"):
        hold_out(cache, 10)
    assert hold_out(cache, 0) == (list(range(20)), [])


def test_validation_shows_the_middle_always_the_same():
    cache = cache_of(unique(40, 60, 0), unique(22, 90, 1), unique(50, 50, 2))
    batches = validation_batches({"clean": cache}, side=32, multiple_of=8)
    assert [tuple(batch.clean.shape) for batch in batches] == [(2, 3, 32, 32), (1, 3, 16, 16)]
    assert batches[0].clean[0, :2, 0, 0].tolist() == [4, 14]
    assert batches[1].clean[0, 2].unique().tolist() == [1]
