"""Pictures and results from files and into files, for Python callers; errors name what Python has."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

import restore
from restore.errors import ConfigError, FileError, UnsupportedError
from tests.test_restorer import noisy, toy


@pytest.fixture
def stack(tmp_path):
    pages = np.stack([noisy(seed, shape=(20, 24)) for seed in range(3)])
    tifffile.imwrite(tmp_path / "s.tif", pages, photometric="minisblack")
    return tmp_path / "s.tif", pages


def test_a_stack_is_not_a_dead_end(stack, tmp_path):
    path, pages = stack
    says = "Use restore.read_frames(path) for every page, or restore.read(path, frames='first') for the first one only"
    for refused in (restore.read, toy("split"), lambda path: list(toy("window").frames([path]))):
        with pytest.raises(UnsupportedError) as caught:
            refused(path)
        assert str(caught.value).endswith(says) and "--" not in str(caught.value)
    np.testing.assert_array_equal(restore.read(path, frames="first").numpy(), pages[0])
    frames = list(restore.read_frames(path))
    np.testing.assert_array_equal([frame.numpy() for frame in frames], pages)
    actual = [result.picture.numpy() for result in toy("window").frames(restore.read_frames(path))]
    assert np.abs(actual[1] - pages.astype(float).mean(0)).max() <= 0.51
    for number, page in enumerate(pages):
        (tmp_path / "f").mkdir(exist_ok=True)
        restore.write(page, tmp_path / f"f/{number}.png")
    np.testing.assert_array_equal([frame.numpy() for frame in restore.read_frames(tmp_path / "f")], pages)
    with pytest.raises(FileError, match="holds no numbered frames"):
        restore.read_frames(_empty(tmp_path))


def _empty(folder):
    (folder / "empty").mkdir()
    return folder / "empty"


def test_other_advice_can_be_followed_too(tmp_path):
    path = tmp_path / "a.png"
    restore.write(noisy(shape=(40, 50, 3)), path)
    with pytest.raises(restore.RestoreError, match=r"Use restore\.read\(path, max_pixels=2000\) if you trust"):
        restore.read(path, max_pixels=1999)
    assert restore.read(path, max_pixels=2000).info.pixels == 2000
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(restore.RestoreError, match=r"or use restore\.read\(path, salvage=True\) for the part"):
        restore.denoise(path)
    assert "salvaged" in restore.read(path, salvage=True).info.notes[-1]


def test_depth_as_a_number(tmp_path):
    deep = noisy().astype(np.uint16) * 257
    with pytest.raises(
        UnsupportedError, match=r"JPEG holds 8 bits and this picture has uint16 samples. Add depth=8 or"
    ):
        restore.write(deep, tmp_path / "x.jpg")
    restore.write(deep, tmp_path / "x.jpg", depth=8)
    restore.write(deep, tmp_path / "y.png", depth="8")
    np.testing.assert_array_equal(restore.read(tmp_path / "y.png").pixels, noisy())
    for wrong in (9, True, 8.0):
        with pytest.raises(ConfigError, match=f"depth cannot be {wrong}. Choose from auto, 8, 16, float"):
            restore.write(deep, tmp_path / "x.jpg", depth=wrong)


@pytest.mark.parametrize("call", [restore.read, restore.read_frames])
def test_unknown_options_name_the_nearest(call, tmp_path):
    with pytest.raises(ConfigError, match=r"there is no option max_pixel. Did you mean 'max_pixels'\? They are frames"):
        call(tmp_path / "a.png", max_pixel=3)
    with pytest.raises(ConfigError, match=r"there is no option qualty. Did you mean 'quality'\?"):
        restore.write(noisy(), tmp_path / "a.png", qualty=3)


class TestWritingResults:
    def test_the_main_output_and_the_others_beside_it(self, tmp_path):
        x = noisy()
        result = toy("split", spread=True).restore(x)
        restore.write(result, tmp_path / "r.png")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["r.png", "r_spread.png"]
        np.testing.assert_array_equal(restore.read(tmp_path / "r.png").pixels, 255 - x)
        np.testing.assert_array_equal(restore.read(tmp_path / "r_spread.png").numpy(), x.max(-1) - x.min(-1))

    def test_where_none_is_the_main_one_all_have_an_ending(self, tmp_path):
        result = toy("between", count=2).restore(noisy(0), noisy(1))
        restore.write(result, tmp_path / "r.tif")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["r_step0.tif", "r_step1.tif"]

    def test_one_output_alone(self, tmp_path):
        x = noisy()
        result = toy("split", spread=True).restore(x)
        restore.write(result, tmp_path / "map.png", output="spread")
        np.testing.assert_array_equal(restore.read(tmp_path / "map.png").numpy(), x.max(-1) - x.min(-1))
        assert len(list(tmp_path.iterdir())) == 1
        with pytest.raises(ConfigError, match=r"the result has no output 'sprad'. It has result, spread"):
            restore.write(result, tmp_path / "map.png", output="sprad")
        with pytest.raises(ConfigError, match=r"a ndarray has no output 'spread'. Give a Result, or leave output out"):
            restore.write(x, tmp_path / "map.png", output="spread")

    def test_all_or_none(self, tmp_path):
        result = toy("split", spread=True).restore(noisy(shape=(20, 24, 4)))
        assert result.pictures["result"].info.alpha and not result.pictures["spread"].info.alpha
        with pytest.raises(UnsupportedError, match="JPEG holds no transparency"):
            restore.write(result, tmp_path / "r.jpg")
        result = toy("split", spread=True).restore(noisy(shape=(20, 24, 5)))
        with pytest.raises(UnsupportedError, match="PNG cannot hold 5 channels"):
            restore.write(result, tmp_path / "r.png")
        assert not list(tmp_path.iterdir())
