"""Automatic tiles: within the budget, without waste, and memory measured rather than guessed."""

import math
import re
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from restore.errors import LimitError
from restore.inference import memory as memory_module
from restore.inference.memory import MemoryModel, available_memory, measure, memory_budget, tune_allocator
from restore.inference.tile_planning import choose_core, halo_and_ramp, plan_picture, smaller_core
from restore.models.spec import ModelSpec

CPU = torch.device("cpu")
MODEL = MemoryModel(1e6, 500.0)
SPEC = ModelSpec("toy", radius=41, multiple_of=2)


def _plan(height, width, budget, spec=SPEC):
    return plan_picture(height, width, spec, choose_core(height, width, spec, MODEL, budget, CPU))


@settings(max_examples=60)
@given(st.integers(1, 9000), st.integers(1, 9000), st.integers(20, 400), st.sampled_from([1, 2, 8, 24]))
def test_the_chosen_tile_fits_the_budget(height, width, mebibytes, multiple):
    spec = replace(SPEC, multiple_of=multiple)
    plan = _plan(height, width, mebibytes << 20, spec)
    rounding = (multiple * max(plan.shape) + multiple**2) * MODEL.per_pixel
    assert MODEL.peak(math.prod(plan.shape)) <= (mebibytes << 20) + rounding


def test_memory_does_not_grow_with_height_and_little_is_computed_twice():
    small, large = _plan(2500, 10_000, 384 << 20), _plan(10_000, 10_000, 384 << 20)
    assert math.prod(large.shape) <= 1.1 * math.prod(small.shape)
    halo = halo_and_ramp(SPEC)[0]
    ideal = (1 + 2 * halo / math.sqrt(math.prod(large.shape))) ** 2
    assert small.overhead < 1.3 and large.overhead < 1.1 * ideal


def test_a_picture_that_fits_is_one_tile():
    assert _plan(600, 700, 384 << 20).tiles == 1


def test_less_memory_means_smaller_tiles_until_nothing_fits():
    areas = [math.prod(_plan(5000, 5000, size << 20).shape) for size in (400, 200, 100, 50, 20)]
    assert areas == sorted(areas, reverse=True) and areas[-1] < areas[0] / 10
    with pytest.raises(LimitError, match=r"not even the smallest tile fits the memory budget of 2 MiB .it takes about"):
        _plan(5000, 5000, 2 << 20)


@pytest.mark.parametrize("spec", [SPEC, replace(SPEC, tiling="rows"), replace(SPEC, radius=0, multiple_of=24)], ids=str)
@pytest.mark.parametrize("size", [(5000, 5000), (40, 3000), (31, 20), (900, 33)])
def test_the_memory_that_is_asked_for_is_the_least_that_is_enough(spec, size):
    with pytest.raises(LimitError, match=r"Give --max-memory (\d+[KM]) or more") as caught:
        _plan(*size, 900, spec)
    number, unit = re.search(r"--max-memory (\d+)([KM])", str(caught.value)).groups()
    least = int(number) << (20 if unit == "M" else 10)
    _plan(*size, least, spec)
    with pytest.raises(LimitError):
        _plan(*size, least - (2 << (20 if unit == "M" else 10)), spec)


def test_halving_ends():
    plan, core, steps = _plan(5000, 3000, 384 << 20), (700, 900), 0
    while core := smaller_core(plan, core):
        steps += 1
        plan = plan_picture(5000, 3000, SPEC, core)
    assert 6 <= steps <= 12


def test_whole_engines_get_one_tile_whatever_is_asked():
    plan = plan_picture(500, 900, ModelSpec("toy", tiling="whole"), (64, 64))
    assert (plan.tiles, plan.shape) == (1, (500, 900))


def test_live_bytes_are_counted():
    def run(side):
        a = torch.zeros(side, side)  # 4 bytes a pixel
        b = a + 1  # 8 alive
        del a
        c = b * 2  # 8 alive
        d = c + b  # 12 alive, the peak
        return d.view(-1)  # no new storage

    model = measure(run, (64, 128), CPU)
    assert model.per_pixel == pytest.approx(12 * memory_module.HOST_WORKSPACE)
    assert model.base == pytest.approx(0, abs=1)


def test_the_budget_respects_the_container_and_the_user(monkeypatch):
    files = {"/sys/fs/cgroup/memory.max": 1000 << 20, "/sys/fs/cgroup/memory.current": 900 << 20}
    monkeypatch.setattr(memory_module, "_read_int", files.get)
    assert available_memory() == 100 << 20
    assert memory_budget() == 60 << 20
    assert memory_budget(10 << 20) == memory_budget(most=10 << 20) == 10 << 20
    assert memory_budget(most=None) == 60 << 20
    files["/sys/fs/cgroup/memory.max"] = None  # "max": no limit
    assert available_memory() > 100 << 20


def test_the_allocator_is_tuned_on_glibc_and_left_alone_elsewhere(monkeypatch):
    import ctypes
    import sys

    tune_allocator.cache_clear()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert tune_allocator() is False
    tune_allocator.cache_clear()
    monkeypatch.undo()
    has_glibc = sys.platform.startswith("linux") and hasattr(ctypes.CDLL(None), "gnu_get_libc_version")
    assert tune_allocator() is has_glibc
