"""`restore deblur` end to end, with small networks under the name of the shipped one."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from PIL import Image

import restore as package
from restore.engines.deblur.engine import DeblurEngine
from tests.cli.conftest import write_noisy
from tests.engines.deblur.tiny import deblurrers, sharp_scene, soft_scene

pytestmark = pytest.mark.usefixtures("deblurrers")
__all__ = ["deblurrers"]


def read(path):
    return cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    package.write(np.rint(255 * soft_scene()).astype(np.uint8), path)
    return path


def test_the_result_has_a_name_of_its_own(restore, photo, tmp_path):
    ran = restore("deblur", "--method", "network", photo)
    assert ran.code == 0, ran.err
    out = read(tmp_path / "photo_deblurred.png")
    assert out.shape == (48, 64, 3) and not np.array_equal(out, read(photo))
    assert "method: network deblur, mean of 3 heads" in ran.err
    assert "sharpness: " in ran.err and "the network would change" in ran.err


def test_every_head_and_the_map_beside_the_result(restore, photo, tmp_path):
    ran = restore("deblur", "--method", "network", "--all-heads", photo, "--uncertainty")
    assert ran.code == 0, ran.err
    names = {path.name for path in tmp_path.glob("photo_deblurred*")}
    assert names == {"photo_deblurred.png", "photo_deblurred_uncertainty.png"} | {
        f"photo_deblurred_head{head}.png" for head in (1, 2, 3)
    }
    heads = [read(tmp_path / f"photo_deblurred_head{head}.png").astype(float) for head in (1, 2, 3)]
    map_ = read(tmp_path / "photo_deblurred_uncertainty.png")
    assert map_.dtype == np.uint8 and map_.shape == (48, 64)
    inside = np.all([(head > 0) & (head < 255) for head in heads], 0).all(-1)  # beyond white the files are cut off
    assert inside.sum() > 100
    assert np.abs(np.mean(heads, 0) - read(tmp_path / "photo_deblurred.png"))[inside].max() <= 1.01
    expected = np.clip(np.std(heads, 0).mean(-1) * 255 / 32, 0, 255)
    assert np.abs(map_ - expected)[inside].max() <= 6  # heads are rounded in their files
    assert "uncertainty: standard deviation of the heads" in ran.err


def test_the_map_says_what_it_is(restore, photo, tmp_path):
    assert (
        restore(
            "deblur", "--method", "network", photo, tmp_path / "out.png", "--uncertainty", tmp_path / "map.png"
        ).code
        == 0
    )
    assert not (tmp_path / "out_uncertainty.png").exists()
    with Image.open(tmp_path / "map.png") as map_:
        assert map_.mode == "L"
        assert "white is 32/255 of the picture's white" in map_.info["XML:com.adobe.xmp"]
    with Image.open(tmp_path / "out.png") as out:
        assert "XML:com.adobe.xmp" not in out.info


def test_the_map_has_not_the_profile_and_exif_of_the_picture(restore, tmp_path):
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    pixels = np.rint(255 * soft_scene()).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "in.tif", icc_profile=profile, exif=exif)
    assert (
        restore("deblur", "--method", "network", tmp_path / "in.tif", tmp_path / "out.png", "--uncertainty").code == 0
    )
    with Image.open(tmp_path / "out.png") as out, Image.open(tmp_path / "out_uncertainty.png") as map_:
        assert out.info["icc_profile"] == profile and out.getexif()[0x010F] == "Maker"
        assert "icc_profile" not in map_.info and not map_.getexif()


def test_one_head(restore, photo, tmp_path):
    assert restore("deblur", "--method", "network", photo, tmp_path / "all.png", "--all-heads").code == 0
    ran = restore("deblur", "--method", "network", photo, tmp_path / "two.png", "--head", "2")
    assert ran.code == 0 and "method: network deblur, head 2 of 3" in ran.err
    assert np.array_equal(read(tmp_path / "two.png"), read(tmp_path / "all_head2.png"))


def test_depth_alpha_and_grey_of_a_folder(restore, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    write_noisy(folder / "deep.png", 1, (24, 20, 4), "uint16")
    write_noisy(folder / "grey.png", 2, (24, 20))
    write_noisy(folder / "a" / "photo.jpg", 3, (24, 20, 3))
    assert restore("deblur", "--method", "network", folder, out, "--uncertainty", "--force").code == 0
    deep = read(out / "deep.png")
    assert deep.dtype == np.uint16 and deep.shape == (24, 20, 4)
    assert np.array_equal(deep[..., 3], read(folder / "deep.png")[..., 3])
    assert read(out / "grey.png").shape == (24, 20) and read(out / "a" / "photo.jpg").shape == (24, 20, 3)
    map_ = read(out / "deep_uncertainty.png")
    assert map_.dtype == np.uint8 and map_.shape == (24, 20)
    again = restore("deblur", "--method", "network", folder, out, "--uncertainty", "--force", "--resume")
    assert again.code == 0 and "0 done, 3 done before" in again.err


def test_a_sharp_picture_is_left_alone_and_it_is_said(restore, tmp_path, monkeypatch):
    source, out = tmp_path / "sharp.png", tmp_path / "out.png"
    package.write(np.rint(65535 * sharp_scene(channels=4)).astype(np.uint16), source)
    monkeypatch.setattr("restore.engines.deblur.gate.SHARP", 1e9)  # the small network has not learned that
    ran = restore("deblur", "--method", "network", source, out)
    assert ran.code == 0 and np.array_equal(read(out), read(source))
    assert "method: none: the picture is sharp (--force deblurs it)" in ran.err
    assert "sharpness: edge softness 0." in ran.err and "of the local gradient" in ran.err
    ran = restore("deblur", "--method", "network", source, out, "--force", "--overwrite")
    assert ran.code == 0 and not np.array_equal(read(out), read(source)) and "sharpness" not in ran.err


def test_warnings_about_tiles_reach_the_user(restore, photo, tmp_path, monkeypatch):
    from restore.engines.deblur.network import Answers

    spoil = lambda self, x, condition, places: Answers(x.expand(-1, 3, -1, -1, -1), ("a tile was left",))  # noqa: E731
    monkeypatch.setattr(DeblurEngine, "_answers", spoil)
    ran = restore("deblur", "--method", "network", photo, tmp_path / "out.png", "--json")
    assert ran.code == 0 and ran.err.count("a tile was left") == 1
    (entry,) = json.loads(ran.out)["files"]
    assert entry["warnings"] == ["a tile was left"]


@pytest.mark.parametrize(("words", "message"), [
    (("--head", "4"), "--head is 4, and the network of deblur gives 3 pictures. Give 1 to 3, or leave it out for"),
    (("--head", "0"), "--head cannot be '0'. It is a whole number, 1 or more"),
    (("--head", "2", "--weights", "single"), "--head is 2, and the network of single gives 1 picture. Leave it out"),
    (("--all-heads", "--weights", "single"), "--all-heads needs several heads, and the network of single gives 1"),
    (("--weights", "denoise"), "these weights are for the task 'denoise', not 'deblur'"),
    (("--method", "magic"), "magic"),
])  # fmt: skip
def test_refusals_are_one_sentence(restore, photo, tmp_path, words, message):
    ran = restore("deblur", "--method", "network", photo, tmp_path / "out.png", *words)
    assert ran.code != 0 and message in ran.err and len(ran.err.strip().splitlines()) == 1
    assert not (tmp_path / "out.png").exists()
