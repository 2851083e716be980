"""Properties of tile plans: pure integers, so hypothesis can try everything."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restore.inference.tiling import Span, border_index, least_core, plan_axis


@st.composite
def axes(draw):
    size = draw(st.integers(1, 300))
    multiple = draw(st.integers(1, 16))
    halo = draw(st.integers(0, 40))
    ramp = draw(st.integers(0, 2 * halo))
    start = draw(st.integers(0, size - 1))
    stop = draw(st.integers(start + 1, size))
    arguments = {
        "core": draw(st.integers(1, 120)), "halo": halo, "multiple": multiple,
        "min_size": draw(st.integers(1, 64)), "ramp": ramp, "start": start, "stop": stop,
    }  # fmt: skip
    arguments["core"] = max(arguments["core"], least_core(ramp, multiple))
    arguments["lead"] = draw(st.integers(0, min(ramp, stop - start)))
    return size, arguments


@given(axes())
def test_every_wanted_pixel_gets_weight_one(case):
    size, arguments = case
    axis = plan_axis(size, **arguments)
    total = [0.0] * size
    for span in axis.spans:
        weights = span.weights()
        assert len(weights) == span.stop - span.start > 0
        for at, weight in zip(range(span.start, span.stop), weights, strict=True):
            total[at] += weight
    start, stop, lead = arguments["start"], arguments["stop"], arguments["lead"]
    carried = [1 - (k + 0.5) / lead for k in range(lead)]  # what the band above has left there
    total[start : start + lead] = [a + b for a, b in zip(total[start : start + lead], carried, strict=True)]
    assert total[start:stop] == pytest.approx([1.0] * (stop - start), abs=1e-12)
    assert not any(total[:start]) and not any(total[stop:])


@given(axes())
def test_origins_are_aligned_and_tiles_have_one_shape_inside_the_padded_axis(case):
    size, arguments = case
    axis = plan_axis(size, **arguments)
    assert axis.padded % arguments["multiple"] == 0
    assert axis.padded >= max(size, arguments["min_size"])
    assert axis.tile % arguments["multiple"] == 0
    for span in axis.spans:
        assert span.origin % arguments["multiple"] == 0
        assert 0 <= span.origin <= axis.padded - axis.tile


@given(axes())
def test_kept_pixels_have_full_context_or_the_border(case):
    size, arguments = case
    axis = plan_axis(size, **arguments)
    halo, ramp = arguments["halo"], arguments["ramp"]
    for span in axis.spans:
        left, right = span.start - span.origin, span.origin + axis.tile - span.stop
        assert span.origin == 0 or left >= halo - (ramp + 1) // 2
        assert span.origin + axis.tile == axis.padded or right >= halo - (ramp + 1) // 2


def test_a_crop_is_covered_by_tiles_around_it_only():
    axis = plan_axis(10_000, 128, 16, multiple=4, start=5000, stop=5100)
    assert axis.spans == (Span(4984, 5000, 5100),)


def test_restarting_below_keeps_the_blend_with_what_was_carried_over():
    axis = plan_axis(1000, 200, 32, ramp=20, start=500, lead=20)
    assert axis.spans[0].start == 500 and axis.spans[0].lead == 20
    assert axis.spans[0].origin <= 500 - 32 + 32  # trim is left before the ramp


def test_tiles_advance_by_the_core_and_carry_the_halo_on_top():
    axis = plan_axis(6400, 64, 47)
    assert axis.tile == 64 + 2 * 47
    assert len(axis.spans) == -(-(6400 - 2 * 47) // 64)  # the first and last tile keep their border sides


def test_reflection_then_replication():
    assert [border_index(i, 4) for i in range(12)] == [0, 1, 2, 3, 2, 1, 0, 0, 0, 0, 0, 0]
    assert [border_index(i, 1) for i in range(4)] == [0, 0, 0, 0]


@pytest.mark.parametrize(
    "bad", [{"start": 10, "stop": 10}, {"start": -1}, {"stop": 101}, {"halo": 2, "ramp": 5}, {"ramp": 16}]
)
def test_impossible_plans_are_refused(bad):
    with pytest.raises(ValueError, match=r"part of an axis|does not fit|too small"):
        plan_axis(100, **{"core": 32, "halo": 8, **bad})


def test_planning_needs_no_torch():
    code = "import sys, restore.inference.tiling; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
