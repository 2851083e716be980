"""A Restorer in use: prepared once and applied often, results that cannot be changed, from several threads."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import restore
from restore.engines.denoise import self_supervised
from restore.engines.denoise.options import ZeroShotOptions
from restore.engines.denoise.self_supervised import Fitted, SelfSupervisedEngine
from restore.engines.denoise.zero_shot import ZeroShotEngine
from restore.errors import ConfigError, UnsupportedError
from restore.picture import Picture
from tests import toys


def noisy(seed: int = 0, sigma: float = 12.0, shape: tuple[int, ...] = (90, 110, 3)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    clean = 120 + 50 * np.sin(rows / 15) * np.cos(columns / 12)
    noise = sigma * rng.standard_normal(shape)
    return np.clip(np.rint(clean.reshape(*shape[:2], *(1,) * (len(shape) - 2)) + noise), 0, 255).astype(np.uint8)


def toy(name: str, **options: object) -> restore.Restorer:
    task = toys.TASKS[name].methods["toy"]
    engine, settings = (getattr(toys, each.partition(":")[2]) for each in (task.engine, task.options))
    return restore.Restorer(name, engine(settings(**options)))


class TestOneConditionForSeveralPictures:
    def test_what_is_prepared_once_is_applied_to_two(self, monkeypatch):
        restorer = restore.load("denoise", method="zero-shot", device="cpu")
        first, second = noisy(0), noisy(1, sigma=3.0)
        condition = restorer.prepare([Picture.from_array(first)])
        monkeypatch.setattr(ZeroShotEngine, "prepare", lambda *args: pytest.fail("it measured again"))
        results = [restorer.restore(each, condition=condition) for each in (first, second)]
        monkeypatch.undo()
        np.testing.assert_array_equal(results[0].picture.pixels, restorer(first))
        assert results[0].decisions == results[1].decisions and results[0].decisions["noise"].startswith("sigma 1")
        own = restorer.restore(second)
        assert own.decisions["noise"].startswith("sigma 2.") or own.decisions["noise"].startswith("sigma 3.")
        assert np.abs(own.picture.pixels.astype(int) - results[1].picture.pixels).max() > 4  # 12 is too much for it

    def test_frames_may_share_a_condition(self):
        restorer = restore.load("denoise", method="zero-shot", device="cpu")
        clip = [noisy(i, sigma=sigma) for i, sigma in enumerate((12.0, 3.0, 6.0))]
        condition = restorer.prepare([Picture.from_array(clip[0])])
        shared, each = list(restorer.frames(clip, condition)), list(restorer.frames(clip))
        assert len({result.decisions["noise"] for result in shared}) == 1
        assert len({result.decisions["noise"] for result in each}) == 3
        np.testing.assert_array_equal(each[1].picture.pixels, restorer(clip[1]))

    def test_frames_of_files_stay_open_while_their_window_needs_them(self, tmp_path):
        clip = [noisy(i, shape=(20, 24, 3)) for i in range(4)]
        for i, frame in enumerate(clip):
            restore.write(frame, tmp_path / f"{i}.tif")
        actual = list(toy("window").frames(tmp_path / f"{i}.tif" for i in range(4)))
        for i, result in enumerate(actual):
            around = np.mean([clip[min(max(j, 0), 3)].astype(float) for j in (i - 1, i, i + 1)], 0)
            assert np.abs(result.picture.pixels - around).max() <= 0.51

    def test_a_source_of_the_caller_is_left_open(self):
        class Source(Picture):
            closed = 0

            def close(self):
                type(self).closed += 1

        plain = Picture.from_array(noisy())
        source = Source(plain.info, plain.pixels)
        restore.load("denoise", method="zero-shot").restore(source)
        assert Source.closed == 0


class TestResult:
    def test_nothing_of_it_can_be_assigned(self):
        result = toy("split", spread=True).restore(noisy())
        with pytest.raises(dataclasses.FrozenInstanceError):
            result.warnings = ("all is well",)  # type: ignore[misc]
        for mapping in (result.pictures, result.decisions, result.provenance):
            key = next(iter(mapping))
            with pytest.raises(TypeError):
                mapping[key] = None  # type: ignore[index]
            with pytest.raises((TypeError, AttributeError)):
                mapping.clear()  # type: ignore[attr-defined]

    def test_outputs_by_name_the_main_one_first(self):
        pixels = noisy()
        result = toy("split", spread=True).restore(pixels)
        assert list(result.pictures) == ["result", "spread"] and result.picture is result.pictures["result"]
        np.testing.assert_array_equal(result.picture.pixels, 255 - pixels)
        np.testing.assert_array_equal(result.pictures["spread"].pixels[..., 0], pixels.max(-1) - pixels.min(-1))
        np.testing.assert_array_equal(toy("split", spread=True)(pixels), 255 - pixels)  # arrays give the main one
        assert list(toy("split").restore(pixels).pictures) == ["result"]

    def test_a_call_leaves_no_trace_on_the_restorer(self):
        restorer = restore.load("denoise", method="zero-shot", device="cpu")
        before = {name: id(value) for name, value in vars(restorer).items()}
        restorer.restore(noisy())
        assert {name: id(value) for name, value in vars(restorer).items()} == before

    def test_it_takes_as_many_pictures_as_the_task(self):
        first, second = noisy(0), noisy(1)
        mean = toy("mean")(first, second)
        assert np.abs(mean - (first.astype(float) + second) / 2).max() <= 0.51
        with pytest.raises(UnsupportedError, match="this task takes 2 pictures at once, got 1"):
            toy("mean")(first)
        with pytest.raises(UnsupportedError, match=r"the pictures differ: 110 x 90 \(3 channels, 8 bits\) and 50 x 40"):
            toy("mean")(first, noisy(1, shape=(40, 50, 3)))


class TestNamedInputs:
    def test_inputs_by_name_and_by_place(self):
        a, b = noisy(0), noisy(1)
        between, expected = toy("between", count=2), {"step0": a, "step1": b}
        for result in (
            between(a, b), between(start=a, end=b), between(a, end=b), between.restore(end=b, start=a),
            between(Picture.from_array(a), end=Picture.from_array(b)),
        ):  # fmt: skip
            assert isinstance(result, restore.Result)  # no output is the main one
            assert result.pictures.keys() == expected.keys()
            for name, pixels in expected.items():
                np.testing.assert_array_equal(result.pictures[name].pixels, pixels)
        np.testing.assert_array_equal(toy("mean")(first=a, second=b), toy("mean")(a, b))

    @pytest.mark.parametrize(
        ("places", "names", "says"),
        [
            (1, ("en",), "between has no input 'en'. Did you mean 'end'? They are start, end"),
            (1, ("start",), "the input 'start' is given twice, by place and by name. Give it once"),
            (0, ("end",), "between needs the input 'start'. It takes start, end"),
            (0, (), "between needs the input 'start'. It takes start, end"),
        ],
    )
    def test_wrong_names(self, places, names, says):
        a = noisy(0)
        with pytest.raises(ConfigError) as caught:
            toy("between")(*[a] * places, **dict.fromkeys(names, a))
        assert str(caught.value) == says


class TestThreads:
    @pytest.mark.parametrize(
        "options", [{}, {"weights": "cbsn"}, {"method": "zero-shot"}, {"method": "classical"}], ids=str
    )
    def test_two_threads_give_what_one_gives(self, options):
        restorer = restore.load("denoise", device="cpu", tile=64, **options)
        pictures = [noisy(i, sigma=4.0 + 6 * i, shape=(70 + 8 * i, 80, 3)) for i in range(3)]
        expected = [restorer.restore(each) for each in pictures]
        with ThreadPoolExecutor(2) as pool:
            actual = list(pool.map(restorer.restore, pictures * 2))
        for one, other in zip(expected * 2, actual, strict=True):
            np.testing.assert_array_equal(one.picture.pixels, other.picture.pixels)
            assert one.decisions == other.decisions

    def test_pictures_that_learn_each_on_its_own_do_not_take_each_others(self, monkeypatch):
        class Forgetful(SelfSupervisedEngine):
            """What was kept is gone at once, as if another thread had put its own there."""

            _fitted = property(lambda self: {}, lambda self, value: None)

        def load_or_learn(pictures, digest, asked, paths, options):
            return Fitted(ZeroShotEngine(ZeroShotOptions(sigma=float(len(pictures[0])))), {})

        monkeypatch.setattr(self_supervised, "load_or_learn", load_or_learn)
        restorer = restore.Restorer("denoise", Forgetful())
        for channels in (1, 2, 3):
            source = Picture.from_array(noisy(0, shape=(20, 20, channels)), alpha=False)
            assert restorer.prepare([source]).decisions["noise"] == f"sigma {channels}.0 (given), white"
