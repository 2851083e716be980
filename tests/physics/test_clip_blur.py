"""Frames of one moving camera: the truth is the middle of the middle exposure, the others are where the path leads."""

import pytest
import torch

from restore.physics.clip_blur import ClipBlurRecipe, blur_as_clip, draw_exposures
from restore.physics.random import generator_for
from restore.physics.shake import extents

STILL = {"noise": (0.0, 0.0), "jpeg": 0.0, "linear": 0.0}


def pictures(count: int = 3, side: int = 160) -> torch.Tensor:
    data = pytest.importorskip("skimage.data")
    x = torch.from_numpy(data.astronaut()[:side, 150 : 150 + side].copy()).permute(2, 0, 1)[None] / 255
    return x.expand(count, -1, -1, -1).contiguous()


def test_shapes_and_margin():
    recipe = ClipBlurRecipe(frames=5, reach=20)
    made = blur_as_clip(pictures(2), recipe, 0, 0, 0)
    assert recipe.margin == 20
    assert made.clean.shape == (2, 3, 120, 120)
    assert made.frames.shape == (2, 5, 3, 120, 120)
    assert torch.equal(made.clean, pictures(2)[..., 20:-20, 20:-20])


def test_what_stands_still_stays_as_it_is():
    made = blur_as_clip(pictures(), ClipBlurRecipe(still=1.0, **STILL), 0, 0, 0)
    for frame in made.frames.unbind(1):
        assert float((frame - made.clean).abs().max()) <= 0.5 / 255 + 1e-6


def test_samples_are_a_function_of_seed_step_and_number():
    recipe = ClipBlurRecipe()
    whole = blur_as_clip(pictures(), recipe, 3, 5, 10)
    last = blur_as_clip(pictures(1), recipe, 3, 5, 12)
    assert torch.equal(whole.frames[2:], last.frames)
    assert not torch.equal(whole.frames[:1], last.frames)


def test_the_path_is_0_in_the_middle_and_as_long_as_was_asked_for():
    recipe = ClipBlurRecipe(length=(8.0, 8.0), still=0.0, reach=200)
    generators = [generator_for(0, i) for i in range(20)]
    chances = torch.stack([torch.rand(9, generator=each) for each in generators])
    paths = draw_exposures(recipe, generators, chances)
    assert paths.shape == (20, 3, 33, 2)
    assert float(paths[:, 1, 16].abs().max()) < 1e-4
    assert extents(paths[:, 1]) == pytest.approx(torch.full((20,), 8.0), abs=1e-3)
    assert float((paths[:, 2].mean(1) - paths[:, 0].mean(1)).square().sum(1).sqrt().median()) > 8


def test_nothing_goes_farther_than_the_reach():
    recipe = ClipBlurRecipe(length=(100.0, 100.0), still=0.0, reach=24)
    generators = [generator_for(0, i) for i in range(20)]
    chances = torch.stack([torch.rand(9, generator=each) for each in generators])
    farthest = draw_exposures(recipe, generators, chances).square().sum(-1).sqrt().amax((1, 2))
    assert farthest == pytest.approx(torch.full((20,), 24 / 1.5), abs=1e-3)


def test_neighbours_show_the_scene_where_the_path_says():
    """A frame moved back by the middle of its path fits the truth better than as it is."""
    recipe = ClipBlurRecipe(length=(3.0, 3.0), still=0.0, depth=0.0, exposure=(0.3, 0.3), **STILL)
    made = blur_as_clip(pictures(), recipe, 1, 0, 0)
    for i in range(3):
        right, down = made.paths[i, 2].mean(0).round().int().tolist()
        before = made.frames[i, 2] - made.clean[i]
        after = made.frames[i, 2].roll((-down, -right), (1, 2)) - made.clean[i]
        inner = (..., slice(24, -24), slice(24, -24))
        if abs(right) + abs(down) >= 2:
            assert float(after[inner].square().mean()) < 0.5 * float(before[inner].square().mean())


def test_with_depth_what_is_near_moves_farther():
    """Along the field the motion of a neighbour differs; the middle of the path stays where it is."""
    one = blur_as_clip(pictures(), ClipBlurRecipe(depth=0.0, **STILL), 1, 0, 0)
    other = blur_as_clip(pictures(), ClipBlurRecipe(depth=1.0, **STILL), 1, 0, 0)
    assert torch.equal(one.clean, other.clean)
    assert torch.equal(one.paths, other.paths)
    assert float((one.frames - other.frames).abs().mean()) > 1e-3


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"frames": 2}, "frames is 2"), ({"reach": 2}, "reach is 2"), ({"power": 0}, "power is 0"),
        ({"still": 1.5}, "still"), ({"exposure": (0.5, 1.5)}, "exposure"), ({"length": (5, 1)}, "length"),
    ],
)  # fmt: skip
def test_recipes_of_no_blur(fields, words):
    with pytest.raises(ValueError, match=words):
        ClipBlurRecipe(**fields)
