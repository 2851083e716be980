"""C-BSN's objective: its three losses by hand, where gradients go, and that nothing leaks."""

from __future__ import annotations

import pytest
import torch

from restore.data.batches import Batch
from restore.degradations.noise import NoiseDegradation
from restore.errors import ConfigError
from restore.models.cbsn import CBSN
from restore.objectives.blind_spot import BlindSpot, standardised
from restore.physics.resample import pick_cells, pixel_unshuffle_batch
from tests.training.tiny import Described


def batch(side=40, count=2, step=0):
    generator = torch.Generator().manual_seed(step)
    return Batch({"clean": torch.rand(count, 3, side, side, generator=generator)}, 7, step, 0)


def made(**options):
    torch.manual_seed(0)
    return BlindSpot(CBSN(width=8, blocks=2), **options)


class Same(Described):
    """f(x) = x; blind, it gives nothing."""

    def __init__(self):
        super().__init__()
        self.parameter = torch.nn.Parameter(torch.zeros(()))

    def forward(self, x, blind=False):
        return x * 0 if blind else x + self.parameter


def test_the_ramp():
    objective = made()
    assert [objective.share(t) for t in (0, 100_000, 200_000, 500_000)] == [0, 0.5, 1, 1]
    assert made(ramp=0).share(10) == 0
    losses = objective(batch(), "restore", 0)
    assert losses["loss"] == losses["blind"] and "self" not in losses


def test_the_losses_by_hand():
    objective, b = made(ramp=100, weight=3.0), batch()
    losses = objective(b, "restore", 25)
    x = standardised(b.clean).pixels
    phases = pixel_unshuffle_batch(x, 5)
    cells = torch.cat([objective._cells(b, i, x) for i in range(2)])
    with torch.no_grad():
        net = objective.network
        blind = (net(phases, True) - phases).abs().mean()
        alone = (net(x) - x).abs().mean()
        same = (pick_cells(net(x), cells, 2) - net(pick_cells(x, cells, 2), True)).abs().mean()
    assert float(losses["loss"]) == pytest.approx(float(blind + 0.25 * (alone + 3 * same)), rel=1e-5)


def test_the_agreement_teaches_the_pass_without_blind_spot_alone():
    objective, b = made(ramp=1), batch()
    losses = objective(b, "restore", 1)
    losses["same"].backward()
    found = {name: p.grad.clone() for name, p in objective.network.named_parameters()}
    x = standardised(b.clean).pixels
    cells = torch.cat([objective._cells(b, i, x) for i in range(2)])
    target = objective.network(pick_cells(x, cells, 2), True).detach()
    objective.zero_grad()
    (pick_cells(objective.network(x), cells, 2) - target).abs().mean().backward()
    for name, parameter in objective.network.named_parameters():
        assert torch.allclose(parameter.grad, found[name], atol=1e-7), name
    entry = objective.network.a.entry.weight.grad[:, :, 1, 1]
    assert entry.abs().max() > 0


def test_a_network_that_changes_nothing():
    losses = BlindSpot(Same(), ramp=1)(batch(), "restore", 1)
    assert losses["self"] == 0 and losses["same"] > 0.1


def test_maps_depend_on_the_step_and_the_item():
    objective, x = made(), torch.zeros(2, 3, 40, 40)
    first, second = objective._cells(batch(), 0, x), objective._cells(batch(), 1, x)
    assert not torch.equal(first, second) and torch.equal(first, objective._cells(batch(), 0, x))
    assert not torch.equal(first, objective._cells(batch(step=1), 0, x))


def test_crops_that_are_no_multiple():
    assert torch.isfinite(made(ramp=1)(batch(side=43), "restore", 1)["loss"])


def test_simulated_noise_gives_a_target_to_validate_on():
    noise = NoiseDegradation(weights={"gaussian": 1.0}, sigma=(25, 25), clipped=0.0)
    shown = made(degradation=noise).preview(batch(), made().network)
    assert set(shown) == {"input", "output", "target"}
    assert set(made().preview(batch(), made().network)) == {"input", "output"}


def test_a_network_without_another_pass_is_taught_the_blind_one_alone():
    always = CBSN(width=8, blocks=2, blind=True)
    with pytest.raises(ConfigError, match="always blind learns from the blind loss alone"):
        BlindSpot(always, ramp=10)
    assert BlindSpot(always, ramp=0).share(5) == 0


@pytest.mark.parametrize("wrong", [{"pd": 0}, {"sub": 1}, {"weight": -1}, {"ramp": -1}])
def test_wrong_arguments(wrong):
    with pytest.raises(ConfigError, match="describe no blind-spot training"):
        made(**wrong)


class Leaking(CBSN):
    """Never blind."""

    def forward(self, x, blind=None):
        return super().forward(x, False)


@pytest.mark.slow
@pytest.mark.parametrize(("blind", "least", "most"), [(True, 0.97, 1.1), (False, 0.0, 0.9)])
def test_one_patch_cannot_be_learned_below_its_noise(blind, least, most):
    """A lower blind loss would prove a leak: the network would know the noise of the pixel it predicts.

    Where it does, it falls far below. Many more steps learn the noise of one patch by heart.
    """
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    rows, columns = torch.meshgrid(torch.linspace(0, 6, 120), torch.linspace(0, 5, 120), indexing="ij")
    clean = (0.5 + 0.3 * torch.sin(rows) * torch.cos(columns)).expand(1, 3, -1, -1)
    noisy = clean + 25 / 255 * torch.randn(1, 3, 120, 120, generator=generator)
    network = (CBSN if blind else Leaking)(width=16, blocks=4)
    objective = BlindSpot(network, pd=1, ramp=0)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(150):
        loss = objective(Batch({"clean": noisy}, 0, 0, 0), "restore", 0)["blind"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    floor = 0.798 * 25 / 255 / float(noisy.std((-2, -1), correction=0).mean())
    assert least * floor < float(loss.detach()) < most * floor
