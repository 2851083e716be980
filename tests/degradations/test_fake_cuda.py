"""Every degradation once on a pretended "cuda": what it draws lies on the device of the pictures."""

from __future__ import annotations

import pytest
import torch

from tests.degradations.test_degradations import MAKERS, in_frames
from tests.fake_cuda import CUDA, pretended_cuda


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("name", MAKERS)
def test_samples_are_on_the_device(name, given):
    damage = MAKERS[name]()
    if name == "pairs" and not given:
        return
    with pretended_cuda():
        clean = in_frames(torch.rand(6, 3, 64, 64, device=CUDA), damage.roles["clean"])
        shown = {"clean": clean} | ({"picture": torch.rand(6, 3, 64, 64, device=CUDA)} if given else {})
        if name == "reflection":
            shown |= {"reflection": torch.rand(6, 3, 64, 64, device=CUDA)}
        sample = damage.draw(shown, 1, 16, 0)
        for values in (sample.inputs, sample.targets, sample.conditions):
            assert {x.device for x in values.values()} <= {CUDA}
    side = {
        "downscale": 16,
        "real_world": 16,
        "clip_blur": 56,
        "camera_blur": 64 - 2 * MAKERS["camera_blur"]().recipe.margin,
    }.get(name, 64)
    frames = (3,) if name == "clip_blur" else ()
    assert sample.inputs["picture"].shape == (6, *frames, 3, side, side)


def test_pictures_on_two_devices_fail_as_on_a_gpu():
    with pretended_cuda(), pytest.raises(RuntimeError, match="cpu"):
        clean = torch.rand(2, 3, 32, 32)
        MAKERS["noise"]().draw({"clean": clean.to(CUDA), "picture": clean}, 1, 16, 0)
