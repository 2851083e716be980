from __future__ import annotations

import numpy as np
import pytest

from restore.data.cache import open_cache
from restore.data.pairs import align_caches, match_pairs
from restore.errors import ConfigError
from tests.data.conftest import save, scene


@pytest.fixture
def folders(tmp_path):
    noisy, clean = tmp_path / "noisy", tmp_path / "clean"
    save(noisy / "a.jpg", scene(1))
    save(clean / "a.png", scene(1))
    save(noisy / "sub" / "b.png", scene(2))
    save(clean / "sub" / "b.png", scene(2))
    save(noisy / "lost.png", scene(3))
    save(clean / "alone.png", scene(4))
    save(noisy / "c.png", scene(5, 60, 70))
    save(clean / "c.png", scene(5, 60, 72))
    return noisy, clean


def test_files_are_matched_by_path_without_type(folders):
    noisy, clean = folders
    found = match_pairs(noisy, clean)
    assert found.pairs == ((noisy / "a.jpg", clean / "a.png"), (noisy / "sub/b.png", clean / "sub/b.png"))
    assert found.only_damaged == (noisy / "lost.png",) and found.only_clean == (clean / "alone.png",)
    assert found.different_size == ((noisy / "c.png", (60, 70), clean / "c.png", (60, 72)),)
    lines = found.mismatches()
    assert len(lines) == 3
    assert lines[2] == f"{noisy / 'c.png'} is 70 x 60, {clean / 'c.png'} is 72 x 60"


def test_one_folder_by_endings(tmp_path):
    for name in ("x_real.png", "x_mean.png", "y_real.png", "note.png"):
        save(tmp_path / name, scene(1))
    found = match_pairs(tmp_path, tmp_path, damaged_ending="_real", clean_ending="_mean")
    assert found.pairs == ((tmp_path / "x_real.png", tmp_path / "x_mean.png"),)
    assert found.mismatches() == [f"{tmp_path / 'y_real.png'}: no clean partner"]


def test_two_files_of_one_name_are_refused(folders):
    noisy, clean = folders
    save(clean / "a.bmp", scene(1))
    found = match_pairs(noisy, clean)
    assert found.ambiguous == (clean / "a.png",)


def test_caches_in_the_same_order(folders, tmp_path):
    noisy, clean = folders
    pairs = match_pairs(noisy, clean).pairs
    caches = open_cache([noisy], tmp_path / "c"), open_cache([clean], tmp_path / "c")
    right, others = align_caches(caches[1], {"picture": (caches[0], pairs)})
    left = others["picture"]
    assert len(left.entries) == len(right.entries) == 2
    for a, b in zip(left.entries, right.entries, strict=True):
        difference = np.abs(left.picture(a).astype(int) - right.picture(b))
        assert difference.mean() < 5, "not the same scene"
    with pytest.raises(ConfigError, match="no damaged picture has a clean partner"):
        align_caches(right, {"picture": (left, [])})
