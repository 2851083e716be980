from __future__ import annotations

import cv2
import numpy as np

from restore.data.check import check_folder
from tests.data.conftest import save, scene


def test_a_clean_folder(photos):
    found = check_folder(photos, crop=32)
    assert (found.pictures, found.sides, found.clean) == (3, (64, 80), True)
    assert found.duplicates == found.leaks == found.unreadable == found.small == ()


def test_tells_broken_small_and_double_files(photos):
    (photos / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    save(photos / "tiny.png", scene(8, 30, 200))
    save(photos / "z_again.jpg", scene(1))
    found = check_folder(photos, crop=64)
    assert [path.name for path, _ in found.unreadable] == ["broken.png"]
    assert [path.name for path in found.small] == ["tiny.png"]
    assert [(a.name, b.name) for a, b in found.duplicates] == [("a.png", "z_again.jpg")]
    assert not found.clean


def test_finds_test_pictures_resized_recompressed_and_brightened(photos, tmp_path):
    test = tmp_path / "test"
    half = cv2.resize(scene(1), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    save(test / "a_half.jpg", half)
    save(test / "b_bright.png", np.clip(scene(2, 64, 120) * 0.8 + 30, 0, 255).astype(np.uint8))
    for seed in range(20, 40):
        save(test / f"other{seed}.png", scene(seed))
    found = check_folder(photos, test=[test], crop=32)
    assert [(a.name, b.name) for a, b in found.leaks] == [("a.png", "a_half.jpg"), ("b.png", "b_bright.png")]
    assert not found.clean


def test_flat_pictures_are_not_alike(tmp_path):
    for value in (10, 200):
        save(tmp_path / f"{value}.png", np.full((100, 100, 3), value, np.uint8))
    assert check_folder(tmp_path).duplicates == ()
