"""Every loss once on a pretended "cuda", forward and backward."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from restore.losses import adversarial, perceptual
from restore.losses.pixel import charbonnier_loss
from restore.losses.table import LOSSES, build_loss
from tests.fake_cuda import CUDA, gradients, moved, pretended_cuda

OPTIONS: dict[str, dict[str, Any]] = {
    "ms_ssim": {"levels": 2},
    "ms_ssim_l1": {"levels": 2},
    "perceptual": {"weights": "random"},
    "style": {"weights": "random"},
    "lpips": {"net": "squeeze", "weights": "random", "head": "uniform"},
}


def pictures(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(*shape, device=CUDA).requires_grad_(), torch.rand(*shape, device=CUDA)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_loss(name, channels):
    loss = build_loss(name, **OPTIONS.get(name, {}))
    with pretended_cuda():
        output, target = pictures(2, channels, 64, 70)
        value = moved(loss)(output, target) if isinstance(loss, nn.Module) else loss(output, target)
        (gradient,) = gradients(value, output)
    assert (value.device, value.shape) == (CUDA, ())
    assert (gradient.device, gradient.shape) == (CUDA, output.shape)


@pytest.mark.parametrize("distance", perceptual._DISTANCES)
def test_every_distance_of_features(distance):
    loss = perceptual.PerceptualLoss(weights="random", distance=distance)
    with pretended_cuda():
        output, target = pictures(1, 3, 64, 64)
        (gradient,) = gradients(moved(loss)(output, target), output)
    assert gradient.device == CUDA


@pytest.mark.parametrize("kind", adversarial.ADVERSARIAL)
def test_every_adversarial_loss(kind):
    with pretended_cuda():
        fake, real = pictures(2, 1, 8, 8)
        values = [
            adversarial.discriminator_loss(kind, real, fake),
            adversarial.generator_loss(kind, fake, real if kind == "relativistic" else None),
        ]
        found = [gradients(value, fake)[0] for value in values]
    assert {each.device for each in (*values, *found)} == {CUDA}


@pytest.mark.parametrize("penalty", ["gradient", "r1"])
def test_penalties_on_the_discriminator(penalty):
    discriminator = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Softplus(), nn.Conv2d(4, 1, 3))
    with pretended_cuda():
        moved(discriminator)
        fake, real = pictures(2, 3, 16, 16)
        if penalty == "gradient":
            value = adversarial.gradient_penalty(discriminator, real, fake, torch.rand(2, 1, 1, 1, device=CUDA))
        else:
            value = adversarial.r1_penalty(discriminator, real)
        found = gradients(value, discriminator[0].weight)
    assert (value.device, found[0].device) == (CUDA, CUDA)


def test_a_loss_left_on_the_host_fails():
    loss = build_loss("perceptual", **OPTIONS["perceptual"])
    with pretended_cuda():
        output, target = pictures(1, 3, 64, 64)
        with pytest.raises(RuntimeError, match="cpu"):
            loss(output, target)
        with pytest.raises(RuntimeError, match="cpu"):
            charbonnier_loss(output, torch.rand(1, 3, 64, 64))
