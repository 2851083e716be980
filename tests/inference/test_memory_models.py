"""What a tile costs is measured once for every kind of condition: a method chosen by the picture changes it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from restore.inference import runner
from restore.inference.engine import Condition
from restore.models.spec import ModelSpec
from restore.picture import Picture, ValueScale
from tests.fresh import printed_by
from tests.inference.engines import restore

LIMIT = 12 << 20


class Chosen:
    """Dark pictures are dealt with in 64 planes, bright ones in one; both are left as they are."""

    fingerprint = "chosen by brightness"
    spec = ModelSpec("toy", radius=8)

    def __init__(self, *, says_so: bool = True) -> None:
        self.says_so, self.shapes = says_so, []

    def cast(self, dtype, device):
        return self

    def prepare(self, sources, options):
        source = sources["picture"]
        planes = 64 if source.read_rows(0, source.info.height).mean() < 100 else 1
        return Condition(ValueScale.nominal(source.info), planes, cost=f"{planes} planes" if self.says_so else "")

    def __call__(self, x, condition, places):
        self.shapes.append(tuple(x.shape[-2:]))
        work = [x[:, 0] + 0 for _ in range(condition.data)]
        return {"result": torch.stack(work).mean(0)}


@pytest.fixture(autouse=True)
def models(monkeypatch):
    monkeypatch.setattr(runner, "_memory_models", {})
    return lambda: runner._memory_models


def flat(value: int) -> Picture:
    return Picture.from_array(np.full((600, 600), value, np.uint8))


@pytest.mark.parametrize("order", [(20, 200), (200, 20)])
def test_each_is_measured_for_itself_whichever_comes_first(order, models):
    engine, reports = Chosen(), {}
    for value in order:
        result, reports[value] = restore(engine, flat(value), max_memory=LIMIT)
        assert (result == value).all()
    costs = {key[1]: model for key, model in models().items()}
    assert set(costs) == {"64 planes", "1 planes"}
    assert costs["64 planes"].per_pixel > 15 * costs["1 planes"].per_pixel
    assert reports[200].tiles == 1 < reports[20].tiles
    for value, cost in ((20, "64 planes"), (200, "1 planes")):
        height, width = reports[value].tile
        assert costs[cost].peak(height * width) <= LIMIT


def test_those_of_equal_cost_share_one_measurement(models):
    engine = Chosen()
    restore(engine, flat(20), max_memory=LIMIT)
    measured = list(models().values())
    engine.shapes.clear()
    _, report = restore(engine, flat(30), max_memory=LIMIT)
    assert list(models().values()) == measured and len(engine.shapes) == report.tiles


def test_other_channels_and_engines_are_measured_anew(models):
    restore(Chosen(), flat(20), max_memory=LIMIT)
    restore(Chosen(), Picture.from_array(np.full((600, 600, 3), 20, np.uint8)), max_memory=LIMIT)
    other = Chosen()
    other.fingerprint = "another"
    restore(other, flat(20), max_memory=LIMIT)
    assert len(models()) == 3


def test_an_engine_that_hid_its_cost_would_exceed_the_limit(models):
    """What the key of the measurements guards against."""
    engine = Chosen(says_so=False)
    restore(engine, flat(200), max_memory=LIMIT)
    _, report = restore(engine, flat(20), max_memory=LIMIT)
    dark = Chosen()
    restore(dark, flat(20), max_memory=LIMIT)
    (model,) = (model for key, model in models().items() if key[1] == "64 planes")
    assert report.tiles == 1 and model.peak(600 * 600) > LIMIT


def test_measuring_loads_no_compiler():
    code = """
import sys, torch
from restore.inference.memory import measure
measure(lambda side: torch.rand(side, side) + 1, (8, 16), torch.device("cpu"))
print(sorted(name for name in ("torch._dynamo", "torch._inductor", "triton") if name in sys.modules))
"""
    assert printed_by(code) == "[]"
