"""Mixtures of two scenes: their formulas, ranges, replay, and what is left of scenes without contents."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from restore.physics.random import generator_for
from restore.physics.reflection import (
    EXCESS,
    GAMMA,
    KINDS,
    STRENGTH,
    ReflectionPlan,
    ReflectionRecipe,
    draw_mixtures,
    excess,
    gaussian_each,
    mixed,
    plan_reflections,
    vignette,
)

PLAIN: dict[str, Any] = {"ghost": 0.0, "bright": 0.0}


def scenes(count: int = 6, side: int = 48) -> tuple[Tensor, Tensor]:
    """Two smooth scenes, float64."""
    noise = torch.rand(2, count, 3, 9, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    large = torch.nn.functional.interpolate(noise.flatten(0, 1), size=side, mode="bicubic").clamp(0, 1)
    return large[:count], large[count:]


def planned(kind: str, count: int = 6, side: int = 48, **fields: Any) -> ReflectionPlan:
    recipe = ReflectionRecipe({kind: 1.0}, **{**PLAIN, **fields})
    return plan_reflections(recipe, [generator_for(3, i) for i in range(count)], side)


def blurred(scene: Tensor, plan: ReflectionPlan) -> Tensor:
    side = scene.shape[-1]
    return gaussian_each(scene, plan.values["sigma"] * side, plan.values["reach"] * side)


def test_ceil_is_the_sum_where_it_is_not_clipped():
    t, r = scenes()
    made = mixed(t, r, planned("ceil"))
    inside = made.mixture < 1
    assert 0.3 < float(inside.double().mean()) < 1
    assert ((made.mixture - t - made.reflection).abs()[inside]).max() < 1e-12
    assert torch.equal(made.background, t)
    rb = blurred(r, planned("ceil"))
    over = t + rb
    for i in range(len(t)):
        above = over[i][over[i] > 1]
        expected = rb[i] - (EXCESS * (above.mean() - 1) if len(above) else 0)
        torch.testing.assert_close(made.reflection[i], expected.clamp(0, 1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["zhang", "ibcln"])
def test_zhang_adds_light(kind):
    t, r = scenes()
    plan = planned(kind)
    made = mixed(t, r, plan)
    alpha = plan.values["alpha"][:, None, None, None]
    light = alpha * t**GAMMA + made.reflection**GAMMA
    inside = made.mixture < 1
    assert (made.mixture**GAMMA - light).abs()[inside].max() < 1e-12
    assert (
        torch.equal(made.mixture[~inside], torch.ones_like(made.mixture[~inside])) and (light[~inside] > 1 - 1e-9).all()
    )
    assert (alpha < 1).all() and torch.equal(made.background, t), "what is wanted is not dimmed"


def test_zhang_takes_the_excess_of_each_channel_off():
    t, r = scenes()
    r = r / 2 + 0.5
    plan = planned("zhang")
    light, rb = t**GAMMA, blurred(r**GAMMA, plan)
    left = (mixed(t, r, plan).reflection ** GAMMA) / vignette(
        (48, 48), *(plan.values[name] for name in ("vignette", "vignette_x", "vignette_y"))
    )
    for i in range(len(t)):
        for c in range(3):
            both = light[i, c] + rb[i, c]
            above = both > 1
            least = (rb[i, c] - plan.values["attenuation"][i] * (both[above].mean() - 1)).clamp(0, 1)
            torch.testing.assert_close(left[i, c], least, rtol=0, atol=1e-10)
            assert (light[i, c] + left[i, c])[above].mean() <= 1, "what was white is white at most, on average"


def test_dsr_screens_or_adds():
    t, r = scenes(12)
    plan = planned("dsr", 12)
    made = mixed(t, r, plan)
    screen = plan.values["screen"] > 0
    assert 0 < int(screen.sum()) < 12
    a = plan.values["alpha"][:, None, None, None] * t
    screened = a + made.reflection - a * made.reflection
    torch.testing.assert_close(made.mixture[screen], screened[screen], rtol=0, atol=1e-12)
    torch.testing.assert_close(made.mixture[~screen], (a + made.reflection)[~screen].clamp(0, 1), rtol=0, atol=1e-12)


def test_alpha_blends_and_none_changes_nothing():
    t, r = scenes()
    plan = planned("alpha")
    made = mixed(t, r, plan)
    share = torch.nn.functional.interpolate(plan.transmission, (48, 48), mode="bilinear", align_corners=True)
    assert 0.5 <= float(share.min()) < float(share.max()) <= 1
    torch.testing.assert_close(made.mixture, share * t + (1 - share) * blurred(r, plan), rtol=0, atol=1e-12)
    none = mixed(t, r, planned("none"))
    assert torch.equal(none.mixture, t) and not none.reflection.any()


def test_a_ghost_is_the_scene_again_beside_itself():
    scene = torch.zeros(1, 3, 65, 65, dtype=torch.float64)
    scene[..., 32, 32] = 1
    plan = planned("zhang", 1, 65)
    values = {**plan.values, "sigma": torch.zeros(1), "reach": torch.zeros(1), "alpha": torch.ones(1),
              "ghost": torch.tensor([0.8]), "ghost_x": torch.tensor([5 / 65]), "ghost_y": torch.tensor([-3 / 65]),
              "vignette": torch.full((1,), 1e-9), "vignette_x": torch.tensor([0.5]),
              "vignette_y": torch.tensor([0.5])}  # fmt: skip
    light = mixed(torch.zeros_like(scene), scene, replace(plan, values=values)).reflection[0, 0] ** GAMMA
    assert float(light[32, 32]) == pytest.approx(1 / 1.8, abs=1e-4)
    assert float(light[29, 37]) == pytest.approx(0.8 / 1.8, abs=1e-4)
    assert float(light.sum()) == pytest.approx(1, abs=1e-4)


def test_the_vignette_is_zhangs():
    """exp(-(u^2 + v^2) / 4) over 6 x 6: 0.105 in the middle of an edge, 0.011 in a corner."""
    whole = vignette((101, 101), *torch.tensor([[1.0], [0.5], [0.5]], dtype=torch.float64))[0, 0]
    assert float(whole[50, 50]) == 1
    assert float(whole[0, 50]) == pytest.approx(0.105, abs=1e-3) and float(whole[0, 0]) == pytest.approx(
        0.011, abs=1e-3
    )
    finer = vignette((501, 501), *torch.tensor([[1.0], [0.5], [0.5]], dtype=torch.float64))[0, 0]
    part = vignette((201, 201), *torch.tensor([[0.4], [0.0], [1.0]], dtype=torch.float64))[0, 0]
    torch.testing.assert_close(part, finer[300:, :201], rtol=0, atol=1e-12)
    assert torch.equal(vignette((5, 5), *torch.tensor([[1.0], [0.0], [0.0]]))[0, 0, 0, 0], whole[0, 0].float())


@pytest.mark.parametrize("side", [64, 256])
def test_the_blur_has_its_std_whatever_the_size(side):
    """A std of 2 % of the short side is that of the blurred point, at any size."""
    point = torch.zeros(1, 1, side + 1, side + 1, dtype=torch.float64)
    point[..., side // 2, side // 2] = 1
    sigma = torch.tensor([0.02 * side], dtype=torch.float64)
    y = gaussian_each(point, sigma, 6 * sigma)[0, 0].sum(0)
    place = torch.arange(side + 1, dtype=torch.float64) - side // 2
    assert float((y * place.square()).sum().sqrt()) == pytest.approx(0.02 * side, rel=0.02)
    assert float(y.sum()) == pytest.approx(1, abs=1e-12)


def test_lengths_grow_with_the_picture_but_for_those_of_sharp_reflections():
    recipe = {"field": (1.0, 1.0), "sharp": 0.0}
    small, large = (planned("ceil", 400, side, **recipe).values["sigma"] for side in (64, 4096))
    assert torch.equal(small, large)
    assert (small.min() * 224).item() == pytest.approx(2, abs=0.05) and (small.max() * 224).item() == pytest.approx(
        5, abs=0.05
    )
    sharp = planned("ceil", 400, 4096, sharp=1.0).values["sigma"] * 4096
    assert 0.3 <= float(sharp.min()) < 0.35 and 1.95 < float(sharp.max()) <= 2


def test_every_value_reaches_the_ends_of_its_range():
    count = 10_000
    plan = plan_reflections(ReflectionRecipe(ghost=0.5, bright=0.5), [generator_for(1, i) for i in range(count)], 224)
    v, kinds = plan.values, plan.kinds
    assert {
        kind: abs(kinds.count(kind) / count - share) < 0.02 for kind, share in ReflectionRecipe().weights.items()
    } == dict.fromkeys(KINDS, True)
    zhang = torch.tensor([kind == "zhang" for kind in kinds])
    distance = torch.hypot(v["ghost_x"], v["ghost_y"]) * 256
    ranges = {
        "alpha": (v["alpha"][zhang], 0.8, 1.0), "scale": (v["scale"], 0.4, 1.0), "x": (v["vignette_x"], 0.0, 1.0),
        "ghost": (v["ghost"][v["ghost"] > 0], 0.5, 0.95), "distance": (distance, 1.0, 24.0),
        "attenuation": (v["attenuation"], 1.08, 1.18),
        "power": (v["power"][v["power"] != 1], 1.5, 3.0), "noise": (v["noise"][v["noise"] > 0], 0.5, 3.0),
        "quality": (v["quality"][v["quality"] > 0], 75.0, 98.0), "vignette": (v["vignette"], 0.2, 0.4),
        "transmission": (plan.transmission, 0.5, 1.0),
    }  # fmt: skip
    for name, (values, low, high) in ranges.items():
        room = (high - low) * (0.06 if name == "distance" else 0.01)
        assert low - 1e-9 <= float(values.min()) < low + room and high - room < float(values.max()) <= high + 1e-9, name


def test_a_plan_is_replayed_from_its_records():
    t, r = (x.float() for x in scenes(8))
    recipe = ReflectionRecipe(dict.fromkeys(KINDS, 1.0), ghost=0.5, bright=0.5)
    made, plan = draw_mixtures(t, r, recipe, 5, 6, 7)
    again = mixed(t, r, ReflectionPlan.of(json.loads(json.dumps(plan.records()))))
    assert torch.equal(made.mixture, again.mixture) and torch.equal(made.reflection, again.reflection)


def test_weak_mixtures_are_drawn_again():
    t, r = (x.float() for x in scenes(40))
    recipe = ReflectionRecipe({"zhang": 1.0}, least=0.0)
    weak, first = draw_mixtures(t, 0.6 * r, recipe, 1, 0, 0)
    before = (weak.mixture - t).abs().mean((1, 2, 3))
    least = float(before.median())
    seen, second = draw_mixtures(t, 0.6 * r, replace(recipe, least=least), 1, 0, 0)
    after = (seen.mixture - t).abs().mean((1, 2, 3))
    kept = before > 1.1 * least  # small copies show nearly the same
    assert int(kept.sum()) > 5 and torch.equal(weak.mixture[kept], seen.mixture[kept])
    assert int((after > 0.9 * least).sum()) > int((before > 0.9 * least).sum()) + 3
    for name in set(first.values) - set(STRENGTH):
        assert torch.equal(first.values[name], second.values[name])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("t", "r"), [(0.0, 0.0), (1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (0.5, 0.0)])
def test_scenes_without_contents(kind, t, r):
    """Finite, in range; a black scene reflects nothing, and what is behind the glass is only dimmed."""
    first, second = torch.full((4, 1, 20, 33), t), torch.full((4, 1, 20, 33), r)
    plan = planned(kind, 4, 20, ghost=1.0, bright=1.0)
    made = mixed(first, second, plan)
    for picture in made:
        assert picture.isfinite().all() and picture.min() >= 0 and picture.max() <= 1
    if r == 0:
        assert not made.reflection.any()
        factor = {"zhang": plan.values["alpha"] ** (1 / GAMMA), "ibcln": plan.values["alpha"] ** (1 / GAMMA)}.get(kind)
        if kind != "alpha":
            factor = plan.values["alpha"] if factor is None else factor
            torch.testing.assert_close(made.mixture, (factor.float() * t)[:, None, None, None].expand_as(first))


def test_excess_is_the_mean_of_what_exceeds():
    x = torch.tensor([0.5, 1.2, 1.4, 1.0]).view(1, 1, 2, 2)
    assert float(excess(x, (1, 2, 3))) == pytest.approx(0.3)
    assert float(excess(x / 2, (1, 2, 3))) == 0


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"weights": {"mirror": 1.0}}, "there is no mixture 'mirror'"),
        ({"weights": {"ceil": 0.0}}, "one must be above 0"),
        ({"ghost": 1.5}, "ghost"),
        ({"field": (0.5, 2.0)}, "field"),
    ],
)
def test_recipes_that_describe_nothing(fields, words):
    with pytest.raises(ValueError, match=words):
        ReflectionRecipe(**fields)
