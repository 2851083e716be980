"""Taking layers apart: the total is the sum of its parts, all of the network learns, and three pairs are learned."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from restore.data.batches import Batch
from restore.errors import ConfigError
from restore.losses.layers_apart import dominance, exclusion_loss
from restore.models import build as build_network
from restore.objectives import build

SMALL = {"widths": (8, 12), "blocks": (1, 1, 1)}
PLAIN = {"weights": {"ceil": 1.0}, "ghost": 0.0, "noisy": 0.0, "jpeg": 0.0}


def batch(count: int = 2, side: int = 32) -> Batch:
    noise = torch.rand(2 * count, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    scenes = F.interpolate(noise, size=side, mode="bicubic").clamp(0, 1)
    return Batch({"clean": scenes[:count], "reflection": scenes[count:]}, seed=1, step=2, first_index=0)


def objective(embedding: str = "bank", **arguments):
    from restore.degradations import build as build_degradation

    torch.manual_seed(0)
    network = build_network("compact_reflection", embedding=embedding, **SMALL)
    return build("reflection", network, degradation=build_degradation("reflection", **PLAIN), arguments=arguments)


def test_the_total_is_the_sum_of_its_parts():
    learns = objective(exclusion=0.1)
    shown = batch()
    losses = learns(shown, "restore", 0)
    weights = {"charbonnier": 1.0, "gradient": 0.5, "log_mse": 0.1, "reflection": 0.5, "reconstruction": 0.2,
               "exclusion": 0.1, "confidence": 0.05}  # fmt: skip
    assert set(losses) == {"loss", *weights}
    total = sum(weight * float(losses[name].detach()) for name, weight in weights.items())
    assert float(losses["loss"].detach()) == pytest.approx(total, rel=1e-5)
    sample = learns.damaged(shown)
    with torch.no_grad():
        outputs = learns.restored(learns.network, sample)
    truth = sample.targets["reflection"]
    layers = outputs["result"] + outputs["reflection"] + outputs["residual"]
    assert float((layers - sample.inputs["picture"]).abs().mean()) == pytest.approx(float(losses["reconstruction"]))
    assert float(exclusion_loss(outputs["result"], outputs["reflection"])) == pytest.approx(float(losses["exclusion"]))
    where = dominance(sample.targets["result"], truth)
    assert 0.05 < float(where.mean()) < 0.95
    expected = F.binary_cross_entropy(outputs["confidence"], where)
    assert float(expected) == pytest.approx(float(losses["confidence"]), rel=1e-4)


@pytest.mark.parametrize("embedding", ["none", "bank", "learned"])
def test_every_parameter_learns(embedding):
    learns = objective(embedding, exclusion=0.1)
    learns(batch(), "restore", 0)["loss"].backward()
    for name, parameter in learns.named_parameters():
        assert parameter.grad is not None and float(parameter.grad.abs().max()) > 0, name


def test_a_loss_of_weight_0_is_not_computed():
    losses = objective(reconstruction=0.0, confidence=0.0)(batch(), "restore", 0)
    assert not {"reconstruction", "confidence", "exclusion"} & set(losses)


def test_a_few_pairs_are_learned_by_heart():
    learns, shown = objective("none"), batch(3)
    optimizer = torch.optim.AdamW(learns.parameters(), 3e-3)
    errors = []
    for step in range(150):
        losses = learns(shown, "restore", step)
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
        if step in (0, 149):
            sample = learns.damaged(shown)
            result = learns.restored(learns.network, sample)["result"]
            errors.append(float((result - sample.targets["result"]).detach().square().mean()))
    assert errors[1] < errors[0] / 30


def test_other_networks_and_negative_weights_are_refused():
    with pytest.raises(ConfigError, match="This objective learns result, reflection, residual, confidence"):
        build("reflection", build_network("compact_deblur", widths=(8,), blocks=(1,)))
    with pytest.raises(ConfigError, match="Give numbers of 0 or more"):
        objective(exclusion=-1.0)
