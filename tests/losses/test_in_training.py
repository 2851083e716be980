"""Losses as a config names them: in the objective, on its device, out of its checkpoints, checked before training."""

from __future__ import annotations

import pytest
import torch

from restore.data.batches import Batch
from restore.errors import ConfigError
from restore.training.config import check_buildable, settings_from
from restore.training.run import build_objective

MODEL = {
    "name": "plain_unet",
    "arguments": {"channels": 3, "condition_channels": 1, "widths": [4, 6], "blocks": [1, 1, 1]},
}
PERCEPTUAL = {"weight": 0.5, "backbone": "squeeze", "weights": "random"}


def settings(losses: dict, crop: int = 48):
    tree = {"name": "tiny", "model": MODEL, "objective": {"losses": losses}, "data": {"crop": crop}}
    return settings_from(tree)


def test_the_total_is_the_weighted_sum_and_trains_the_network_alone():
    objective = build_objective(
        settings({"l1": 1.0, "ms_ssim_l1": {"weight": 0.2, "levels": 2}, "perceptual": PERCEPTUAL})
    )
    batch = Batch(
        {"clean": torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))}, seed=0, step=0, first_index=0
    )
    losses = objective(batch, "restore", 0)
    total = losses["l1"] + 0.2 * losses["ms_ssim_l1"] + 0.5 * losses["perceptual"]
    assert losses["loss"].item() == pytest.approx(total.item(), rel=1e-6)
    losses["loss"].backward()
    trained = {id(each) for each in objective.phases[0].parameters}
    assert {id(each) for each in objective.parameters()} == trained
    assert all(each.grad is not None and each.grad.isfinite().all() for each in objective.parameters())


def test_backbones_move_with_the_objective_and_stay_out_of_checkpoints():
    objective = build_objective(settings({"perceptual": PERCEPTUAL}))
    assert all(key.startswith("network.") for key in objective.state_dict())
    build_objective(settings({"perceptual": PERCEPTUAL})).load_state_dict(objective.state_dict())
    assert any("layers" in name for name, _ in objective.named_buffers()), ".to(device) reaches them"


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ({"ms_ssim": 0.2}, "MS-SSIM with 11 taps and 5 levels needs sides of at least 161 px"),
        ({"sim": 0.2}, r"no loss is called 'sim'\. Did you mean 'ssim'"),
        ({"ssim": {"windoww": 7}}, r"loss 'ssim' has no option 'windoww'\. Did you mean 'window'"),
        ({"ssim": "much"}, "objective.losses.ssim"),
    ],
)
def test_mistakes_are_told_before_the_data_is_read(losses, message):
    with pytest.raises(ConfigError, match=message):
        check_buildable(settings(losses))
