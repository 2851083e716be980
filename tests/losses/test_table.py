"""Losses by name, from a config's words; every one of them makes a blurred picture sharper."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from restore.errors import ConfigError
from restore.losses.table import LOSSES, build_loss, build_losses

from .golden import golden_pair

OPTIONS = {
    "ms_ssim": {"levels": 3},
    "ms_ssim_l1": {"levels": 3},
    "perceptual": {"backbone": "vgg16", "weights": "random", "taps": {"relu1_1": 1.0}, "distance": "l1"},
    "style": {"backbone": "vgg16", "weights": "random", "taps": {"relu1_1": 1.0}},
    "lpips": {"weights": "random", "head": "uniform"},
}
COMPARING = [name for name in LOSSES if name not in ("tv", "smoothness")]  # priors compare nothing
PARTIAL = ("style", "lpips", "phase")  # see a part of the picture only, or take long


def own_loss(x, y, *, power: float = 1.0):
    return (x - y).abs().pow(power).mean()


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_gives_a_scalar(name):
    x, y = (each.float() for each in golden_pair(48, 48))
    value = build_loss(name, **OPTIONS.get(name, {}))(x, y)
    assert value.shape == () and value > 0


def test_weights_and_options():
    losses = build_losses({"l1": 1, "charbonnier": {"weight": 0.5, "eps": 0.1}, "l2": {}})
    assert {name: weight for name, (weight, _) in losses.items()} == {"l1": 1.0, "charbonnier": 0.5, "l2": 1.0}
    x = torch.zeros(1, 3, 8, 8)
    assert losses["charbonnier"][1](x, x).item() == pytest.approx(0.1)


def test_losses_of_ones_own():
    name = f"{__name__}:own_loss"
    ((weight, loss),) = build_losses({name: {"weight": 2, "power": 2.0}}).values()
    assert weight == 2 and loss(torch.tensor(3.0), torch.tensor(1.0)) == 4


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"charbonier": 1.0}, r"no loss is called 'charbonier'\. Did you mean 'charbonnier'\? Known: l1, l2"),
        (
            {"ms_ssim": {"level": 3}},
            r"loss 'ms_ssim' has no option 'level'\. Did you mean 'levels'\? It takes weight, ",
        ),
        ({"perceptual": {"back": "x"}}, "loss 'perceptual' has no option 'back'"),
        ({"l1": {"weight": "much"}}, "the weight of loss 'l1' cannot be 'much'"),
        ({"l1": True}, "the weight of loss 'l1' cannot be True"),
        ({"my_pkg.nowhere:loss": 1.0}, r"loss 'my_pkg.nowhere:loss' cannot be imported \(No module named 'my_pkg'\)"),
        ({"restore.losses.pixel:nothing": 1.0}, "cannot be imported"),
        ({"perceptual": {"taps": ["relu1_1"]}}, "loss 'perceptual' cannot be made with"),
    ],
)
def test_mistakes(wanted, message):
    with pytest.raises(ConfigError, match=message):
        build_losses(wanted)


def test_the_table_imports_nothing_heavy():
    code = "import sys, restore.losses.table; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", [name for name in COMPARING if name not in PARTIAL])
def test_optimising_a_blurred_picture(name):
    """200 steps of Adam from a blur towards the target: the loss falls by 90 %, the picture comes nearer."""
    target = golden_pair(48, 48)[1].float()
    x = F.avg_pool2d(F.pad(target, (3, 3, 3, 3), mode="reflect"), 7, 1).requires_grad_()
    loss = build_loss(name, **OPTIONS.get(name, {}))
    optimizer = torch.optim.Adam([x], 0.01)
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 200, 1e-5)
    first, before = loss(x, target).item(), F.mse_loss(x, target).item()
    for _ in range(200):
        optimizer.zero_grad()
        loss(x, target).backward()
        optimizer.step()
        rates.step()
    lowest = 1e-3 if name == "charbonnier" else 0.0
    assert loss(x, target).item() - lowest < 0.1 * (first - lowest)
    assert F.mse_loss(x, target).item() < 0.5 * before
