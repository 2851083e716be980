"""Crops of several roles: other scales, windows of frames, pictures of their own; and folders that give them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from restore.data.batches import CropBatches, hold_out, validation_batches
from restore.data.cache import CropCache, Entry
from restore.data.sources import open_data
from restore.degradations.degradation import CLEAN, Role
from restore.degradations.given import GivenPairs
from restore.errors import ConfigError
from restore.training.settings import DataSettings
from tests.data.conftest import save, scene
from tests.data.test_batches import cache_of, unique

PAIRS = GivenPairs(scale=0.25).roles


def random(seed: int, height: int, width: int) -> np.ndarray:
    """4 x 4 cells of one colour each with a little texture: the mean of a cell is a whole number."""
    rng = np.random.default_rng(seed)
    cells = rng.integers(8, 248, (height // 4 + 1, width // 4 + 1, 3)).repeat(4, 0).repeat(4, 1)
    texture = np.tile(np.array([[-3, 3], [5, -5]]), (height // 2 + 2, width // 2 + 2))[..., None]
    return (cells[:height, :width] + texture[:height, :width]).astype(np.uint8)


def small(picture: np.ndarray) -> np.ndarray:
    """The means of whole cells of 4 x 4."""
    height, width = (side // 4 * 4 for side in picture.shape[:2])
    cells = picture[:height, :width].reshape(height // 4, 4, width // 4, 4, 3)
    return np.rint(cells.mean((1, 3))).astype(np.uint8)


def means(x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.avg_pool2d(x.float(), 4)


# --- another scale


@pytest.mark.parametrize("size", [(64, 80), (67, 81), (103, 66)])
def test_crops_of_a_quarter_correspond_exactly(size):
    clean = random(1, *size)
    batch = CropBatches({"clean": cache_of(clean), "picture": cache_of(small(clean))}, 32, roles=PAIRS)(0, 0, 300)
    damaged = batch.pictures["picture"]
    assert damaged.shape == (300, 3, 8, 8) and batch.clean.shape == (300, 3, 32, 32)
    assert torch.equal(means(batch.clean), damaged.float())
    assert len({crop.numpy().tobytes() for crop in batch.clean}) > 100, "places and orientations differ"


def test_validation_of_a_quarter_corresponds_exactly():
    """The middle lies on the grid of both pictures."""
    pictures = [random(seed, height, width) for seed, (height, width) in enumerate([(101, 110), (67, 90), (40, 103)])]
    caches = {"clean": cache_of(*pictures), "picture": cache_of(*map(small, pictures))}
    batches = validation_batches(caches, side=64, multiple_of=4, roles=PAIRS)
    assert sorted(batch.clean.shape[-1] for batch in batches) == [40, 64]
    for batch in batches:
        assert torch.equal(means(batch.clean), batch.pictures["picture"].float())


def test_pictures_that_cover_less_bound_the_places():
    """At other sizes both are rounded, and the small one may end before the large one."""
    clean = random(1, 52, 52)
    caches = {"clean": cache_of(clean), "picture": cache_of(small(clean)[:12, :12])}
    batch = CropBatches(caches, 16, roles=PAIRS)(0, 0, 200)
    assert torch.equal(means(batch.clean), batch.pictures["picture"].float())
    with pytest.raises(ConfigError, match=r"data\.crop, 52 px\. Set data\.crop to 48 or less"):
        CropBatches(caches, 52, roles=PAIRS)


def test_a_crop_that_does_not_divide_is_refused():
    clean = random(1, 64, 64)
    with pytest.raises(ConfigError, match=r"data\.crop is 30\. The scales of the roles need a multiple of 4"):
        CropBatches({"clean": cache_of(clean), "picture": cache_of(small(clean))}, 30, roles=PAIRS)


# --- frames


def clip(*folders: int, side: int = 20) -> CropCache:
    """Folders of so many frames, in the order of their names; a pixel tells (row, column, 20 folder + frame)."""
    found = [unique(side, side, 20 * folder + frame) for folder, count in enumerate(folders) for frame in range(count)]
    cache = cache_of(*found)
    names = [f"{folder}/{frame:02}.png" for folder, count in enumerate(folders) for frame in range(count)]
    return replace(cache, entries=tuple(
        replace(entry, path=name, file=number)
        for number, (entry, name) in enumerate(zip(cache.entries, names, strict=True))
    ))  # fmt: skip


FRAMES = {"clean": Role(frames=3)}


def test_frames_follow_each_other_in_one_folder_at_one_place():
    batch = CropBatches({"clean": clip(5, 2, 4)}, 8, roles=FRAMES)(0, 0, 300)
    assert batch.clean.shape == (300, 3, 3, 8, 8)  # B x T x C x P x P
    numbers = batch.clean[:, :, 2, 0, 0].long()
    seen = {tuple(each) for each in numbers.tolist()}
    assert seen == {(0, 1, 2), (1, 2, 3), (2, 3, 4), (40, 41, 42), (41, 42, 43)}
    assert (batch.clean[:, :, :2] == batch.clean[:, :1, :2]).all(), "the place is the same"
    assert batch.to(torch.device("cpu")).clean.shape == batch.clean.shape


def test_a_frame_that_is_missing_ends_a_window():
    whole = clip(6)
    batch = CropBatches({"clean": whole.only([0, 1, 2, 4, 5])}, 8, roles=FRAMES)(0, 0, 40)
    assert {tuple(each) for each in batch.clean[:, :, 2, 0, 0].tolist()} == {(0, 1, 2)}
    with pytest.raises(ConfigError, match=r"no folder holds 3 frames of one size in a row"):
        CropBatches({"clean": whole.only([0, 1, 3, 4])}, 8, roles=FRAMES)


def test_frames_at_several_sizes_and_in_another_order():
    """Each size of a file is a clip of its own; names sort 10 before 9."""
    whole, half = clip(3), clip(3, side=10)
    entries: list[Entry] = []
    for frame in (2, 0, 1):
        entries.append(whole.entries[frame])
        entries.append(replace(half.entries[frame], offset=half.entries[frame].offset + whole.pixels.size))
    cache = CropCache(tuple(entries), (), np.concatenate([whole.pixels, half.pixels]))
    batch = CropBatches({"clean": cache}, 8, roles=FRAMES)(0, 0, 60)
    assert {tuple(each) for each in batch.clean[:, :, 2, 0, 0].tolist()} == {(0, 1, 2)}


def test_a_counterpart_with_one_frame_is_the_middle_one():
    roles = {"clean": Role(), "picture": Role(frames=3)}
    batch = CropBatches({"clean": clip(5), "picture": clip(5)}, 8, roles=roles)(0, 0, 50)
    assert batch.clean.shape == (50, 3, 8, 8) and batch.pictures["picture"].shape == (50, 3, 3, 8, 8)
    assert torch.equal(batch.clean, batch.pictures["picture"][:, 1])


def test_clips_are_held_out_by_folder():
    cache = clip(5, 4, 6)
    learning, held = hold_out(cache, 1, frames=3)
    assert [cache.entries[number].path for number in held] == ["1/00.png", "1/01.png", "1/02.png"]
    assert {cache.entries[number].folder for number in learning} == {"0", "2"}
    (batch,) = validation_batches({"clean": cache.only(held)}, side=16, roles=FRAMES)
    assert batch.clean.shape == (1, 3, 3, 16, 16)
    with pytest.raises(ConfigError, match="there are 3 folders of frames"):
        hold_out(cache, 3, frames=3)


# --- independent pictures


SECOND = {"clean": Role(), "second": Role(independent=True)}


def test_independent_crops_are_others_and_a_function_of_seed_step_and_item():
    cache = cache_of(*(unique(40, 40, number) for number in range(9)))
    draw = CropBatches({"clean": cache, "second": cache}, 16, roles=SECOND, seed=3)
    whole = draw(5, 0, 64)
    other = whole.pictures["second"]
    same = sum(torch.equal(a, b) for a, b in zip(whole.clean, other, strict=True))
    assert same == 0, "another picture or place"
    assert len({(int(a[2, 0, 0]), int(b[2, 0, 0])) for a, b in zip(whole.clean, other, strict=True)}) > 30
    parts = [draw(5, first, 16).pictures["second"] for first in (0, 16, 32, 48)]
    assert torch.equal(torch.cat(parts), other)
    assert torch.equal(whole.clean, CropBatches({"clean": cache}, 16, seed=3)(5, 0, 64).clean), "of the main ones"
    turned = CropBatches({"second": cache, "clean": cache}, 16, roles=SECOND, seed=3)(5, 0, 64)
    assert torch.equal(turned.pictures["second"], other), "whatever the order of the settings"
    assert not torch.equal(draw(6, 0, 64).pictures["second"], other)
    assert not torch.equal(CropBatches({"clean": cache, "second": cache}, 16, 3, 4, SECOND)(5, 0, 64).clean, other)


@pytest.mark.parametrize(("scale", "side"), [(0.5, 8), (2.0, 32)])
def test_independent_crops_of_another_scale_lie_anywhere(scale, side):
    roles = {"clean": Role(), "second": Role(scale, independent=True)}
    own = unique(48, 48)
    crops = CropBatches({"clean": cache_of(unique(40, 40)), "second": cache_of(own)}, 16, roles=roles)(0, 0, 800)
    second = crops.pictures["second"]
    assert second.shape == (800, 3, side, side)
    tops = second[:, 0].flatten(1).amin(1)
    assert tops.min() == 0 and tops.max() == 48 - side and len(tops.unique()) == 48 - side + 1


def test_validation_shows_another_large_enough_picture():
    cache = cache_of(unique(40, 40, 0), unique(10, 10, 1), unique(40, 40, 2))
    batches = validation_batches({"clean": cache, "second": cache}, side=32, multiple_of=8, roles=SECOND)
    pairs = [(int(a[2, 0, 0]), int(b[2, 0, 0])) for batch in batches
             for a, b in zip(batch.clean, batch.pictures["second"], strict=True)]  # fmt: skip
    assert sorted(pairs) == [(0, 2), (1, 2), (2, 0)]
    own = {"clean": cache_of(unique(40, 40)), "second": cache_of(unique(10, 10))}
    with pytest.raises(ConfigError, match="no picture of the role 'second' has 32 px"):
        validation_batches(own, side=32, multiple_of=8, roles=SECOND)
    with pytest.raises(ConfigError, match=r"the role 'second' is as large as data\.crop, 16 px\. Set data\.crop to 10"):
        CropBatches(own, 16, roles=SECOND)


# --- from settings


@pytest.fixture
def folders(tmp_path, monkeypatch) -> Path:
    """hr/, lr/ (a quarter, one missing), depth/ (another one missing), noise/ and validation pictures."""
    monkeypatch.chdir(tmp_path)
    for number in range(6):
        picture = random(number, 64, 80)
        save(tmp_path / f"hr/{number}.png", picture)
        if number != 1:
            save(tmp_path / f"lr/{number}.png", small(picture))
        if number != 3:
            save(tmp_path / f"depth/{number}.png", 255 - picture)
    for number in range(2):
        save(tmp_path / f"scenes/{number}.png", scene(number, 72, 72))
        save(tmp_path / f"more/{number}.png", random(50 + number, 64, 64))
        save(tmp_path / f"more_lr/{number}.png", small(random(50 + number, 64, 64)))
    return tmp_path


def data(**changes) -> DataSettings:
    return DataSettings(**({"train": ("hr",), "cache": "cache", "held_out": 1} | changes))


def test_two_counterparts_are_aligned_with_each_other(folders):
    roles = {**PAIRS, "depth": Role(), "second": Role(independent=True)}
    learning, held = open_data(data(roles={"depth": "depth", "picture": "lr", "second": "scenes"}), roles)
    assert {role: len(cache.entries) for role, cache in learning.items()} == {
        "clean": 3, "depth": 3, "picture": 3, "second": 2,
    }  # fmt: skip
    batch = CropBatches(learning, 32, roles=roles)(0, 0, 60)
    assert torch.equal(means(batch.clean), batch.pictures["picture"].float())
    assert torch.equal(255 - batch.clean, batch.pictures["depth"])
    (look,) = validation_batches(held, roles=roles)
    assert torch.equal(means(look.clean), look.pictures["picture"].float()) and len(look.clean) == 1
    kept = {entry.path for entry in held["clean"].entries}
    assert kept.isdisjoint(entry.path for entry in learning["clean"].entries)


def test_optional_roles_are_used_where_there_are_some(folders):
    roles = {**CLEAN, "picture": Role(0.25, optional=True)}
    assert list(open_data(data(), roles)[0]) == ["clean"]
    assert list(open_data(data(roles={"picture": "lr"}), roles)[0]) == ["clean", "picture"]


def test_independent_pictures_are_of_the_same_folders_unless_named(folders):
    learning, held = open_data(data(), SECOND)
    assert learning["second"] is learning["clean"] or learning["second"].entries == learning["clean"].entries
    assert held["second"].entries == held["clean"].entries
    learning, held = open_data(data(roles={"second": "scenes"}), SECOND)
    assert len(learning["second"].entries) == len(held["second"].entries) == 2


def test_validation_folders_have_roles_of_their_own(folders):
    wanted = data(roles={"picture": "lr"}, validation=("more",), validation_roles={"picture": "more_lr"})
    learning, held = open_data(wanted, PAIRS)
    assert len(learning["clean"].entries) == 5 and len(held["picture"].entries) == 2
    (look,) = validation_batches(held, roles=PAIRS)
    assert torch.equal(means(look.clean), look.pictures["picture"].float())


@pytest.mark.parametrize(
    ("changes", "roles", "says"),
    [
        ({}, PAIRS, r"data\.roles\.picture is missing\. Name the folder: data\.roles\.picture=FOLDER"),
        ({"roles": {"pictur": "lr"}}, PAIRS,
         r"data\.roles\.pictur is nothing that this degradation uses\. Did you mean 'picture'\? It knows picture"),
        ({"roles": {"clean": "lr"}}, PAIRS, r"data\.roles\.clean is nothing that this degradation uses"),
        ({"roles": {"picture": "lr"}}, CLEAN, "It needs clean pictures alone"),
        ({"roles": {"picture": "lr"}, "train": ("hr", "more")}, PAIRS,
         r"data\.roles are the counterparts of one folder\. Give one folder in data\.train"),
        ({"roles": {"picture": "lr"}, "validation": ("more",)}, PAIRS, r"data\.validation_roles\.picture is missing"),
        ({"roles": {"picture": "lr"}, "validation_roles": {"picture": "lr"}}, PAIRS,
         r"data\.validation_roles without data\.validation"),
        ({"roles": {"picture": "hr"}}, PAIRS,
         r"no picture of the role 'picture' has the size it should have.*0\.png is 80 x 64, 0\.png 80 x 64; .*0\.25"),
        ({"roles": {"picture": "scenes"}, "train": ("more",)}, {**CLEAN, "picture": Role()}, "has the size it should"),
    ],
)  # fmt: skip
def test_wrong_roles_are_refused(folders, changes, roles, says):
    with pytest.raises(ConfigError, match=says):
        open_data(data(**changes), roles)


def test_16_bit_pairs_of_8_bit_ones(folders):
    for path in (folders / "lr").iterdir():
        cv2.imwrite(str(path), cv2.imread(str(path)).astype(np.uint16) * 257)
    learning, _ = open_data(data(roles={"picture": "lr"}), PAIRS)
    batch = CropBatches(learning, 32, roles=PAIRS)(0, 0, 8)
    assert (batch.clean.dtype, batch.pictures["picture"].dtype) == (torch.uint8, torch.uint16)
    moved = batch.to(torch.device("cpu"))
    assert (means(moved.clean) - moved.pictures["picture"]).abs().max() < 2 / 65535  # each on a range of its own
