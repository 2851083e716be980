"""Noise2Void, Neighbor2Neighbor, Blind2Unblind: what each must not see, and its terms by hand."""

from __future__ import annotations

import pytest
import torch

from restore.data.batches import Batch
from restore.errors import ConfigError
from restore.models.plain_unet import PlainUNet
from restore.objectives.self_supervised import Blind2Unblind, Neighbor2Neighbor, Noise2Void
from restore.physics.resample import draw_neighbours
from tests.training.tiny import Described


class Same(Described):
    """f(x) = x + parameter."""

    def __init__(self):
        super().__init__()
        self.parameter = torch.nn.Parameter(torch.zeros(()))

    def forward(self, x):
        return x + self.parameter


class Wide(Described):
    """A 3 x 3 convolution that looks at its own pixel most of all."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 3, 3, padding=1)
        torch.nn.init.constant_(self.conv.weight, 0.1)

    def forward(self, x):
        return self.conv(x)


def batch(side=32, step=0):
    return Batch({"clean": torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(5))}, 3, step, 0)


def test_noise2void_replaces_a_few_pixels_by_neighbours_and_looks_there_alone():
    objective, b = Noise2Void(Same(), share=0.1, reach=2), batch()
    replaced, mask = objective.masked(b.clean[:1], b, 0)
    chosen = mask[0, 0].bool()
    assert 0.05 < mask.mean() < 0.16
    assert torch.equal(replaced[0][:, ~chosen], b.clean[0][:, ~chosen])
    for i, j in chosen.nonzero().tolist():
        window = b.clean[0, :, max(0, i - 2) : i + 3, max(0, j - 2) : j + 3].flatten(1).T
        assert (window == replaced[0, :, i, j]).all(1).any() and (replaced[0, :, i, j] != b.clean[0, :, i, j]).any()
    masks = [objective.masked(b.clean[i : i + 1], b, i) for i in range(2)]
    expected = sum(((r - x) ** 2 * m).sum() for (r, m), x in zip(masks, b.clean.split(1), strict=True))
    count = 3 * sum(m.sum() for _, m in masks)
    found = objective(b, "restore", 0)["loss"]
    assert float(found) == pytest.approx(float(expected / count), rel=1e-5)
    again = objective.masked(b.clean[:1], batch(step=1), 0)[1]
    assert not torch.equal(again, mask)


def test_neighbours_are_adjacent_and_in_both_orders():
    first, second = draw_neighbours(4, 64, 64, torch.Generator().manual_seed(0))
    pairs = torch.stack([first.flatten(), second.flatten()], 1)
    seen, counts = pairs.unique(dim=0, return_counts=True)
    assert {tuple(p) for p in seen.tolist()} == {(0, 1), (1, 0), (0, 2), (2, 0), (1, 3), (3, 1), (2, 3), (3, 2)}
    assert counts.min() > 0.8 * counts.float().mean()


def test_neighbor2neighbor_by_hand():
    """For f(x) = x both terms are known: d = e, so the second is 0."""
    losses = Neighbor2Neighbor(Same(), ramp=10)(batch(), "restore", 5)
    assert losses["same"] == 0 and losses["loss"] == losses["pair"] > 0.05
    torch.manual_seed(0)
    objective = Neighbor2Neighbor(Wide(), weight=3.0, ramp=10)
    losses = objective(batch(), "restore", 5)
    assert float(losses["loss"]) == pytest.approx(float(losses["pair"] + 1.5 * losses["same"]), rel=1e-6)


def test_blind2unblind_hides_every_pixel_from_its_own_pass():
    objective = Blind2Unblind(Wide())
    x = torch.rand(1, 3, 16, 20, requires_grad=True)
    hidden = objective.hidden(x)
    for i, j in ((0, 0), (3, 7), (15, 19), (8, 8)):
        (gradient,) = torch.autograd.grad(hidden[0, :, i, j].sum(), x, retain_graph=True)
        assert gradient[0, :, i, j].abs().max() < 1e-7 and gradient.abs().max() > 0.01
    seen = objective.network(x)
    (gradient,) = torch.autograd.grad(seen[0, :, 8, 8].sum(), x)
    assert gradient[0, :, 8, 8].abs().max() > 0.05


def test_blind2unblinds_weight_rises():
    objective, b = Blind2Unblind(Wide(), beta=(2, 20), still=10, ramp=10), batch(16)
    x = b.clean
    with torch.no_grad():
        h, e = objective.hidden(x), objective.network(x)
    for step, beta in ((0, 2), (10, 2), (15, 11), (30, 20)):
        losses = objective(b, "restore", step)
        expected = (h - x).square().mean() + ((h - x) + beta * (e - x)).square().mean()
        assert float(losses["loss"]) == pytest.approx(float(expected), rel=1e-5)


def test_what_is_refused():
    with pytest.raises(ConfigError, match="PlainUNet needs the condition 'noise_level', which this objective has not"):
        Noise2Void(PlainUNet(3, 1, (8,), (1,)))
    with pytest.raises(ConfigError, match="Conv2d does not say what it needs"):
        Noise2Void(torch.nn.Conv2d(3, 3, 1))
    for made in (
        lambda: Noise2Void(Same(), share=0),
        lambda: Neighbor2Neighbor(Same(), ramp=0),
        lambda: Blind2Unblind(Same(), ramp=0),
    ):
        with pytest.raises(ConfigError, match="describe no"):
            made()


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Noise2Void, Neighbor2Neighbor, Blind2Unblind])
def test_white_noise_becomes_less(kind):
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    rows, columns = torch.meshgrid(torch.linspace(0, 9, 96), torch.linspace(0, 7, 96), indexing="ij")
    clean = (0.5 + 0.3 * torch.sin(rows) * torch.cos(columns)).expand(1, 3, -1, -1)
    noisy = clean + 25 / 255 * torch.randn(clean.shape, generator=generator)
    wide = [torch.nn.Conv2d(16, 16, 3, padding=1), torch.nn.ReLU()]
    # no skip from input to output: it would carry the pixel's own noise past what these objectives teach
    network = Described(
        torch.nn.Conv2d(3, 16, 3, padding=1), torch.nn.ReLU(), *wide, torch.nn.Conv2d(16, 3, 3, padding=1)
    )
    objective = kind(network, **({"share": 0.1} if kind is Noise2Void else {}))
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    for step in range(100 if kind is Blind2Unblind else 600):
        loss = objective(Batch({"clean": noisy}, 0, step, 0), "restore", step)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        output = objective.hidden(noisy) if kind is Blind2Unblind else network(noisy)
    error = (output - clean).square().mean()
    assert -10 * error.log10() > -10 * (noisy - clean).square().mean().log10() + 3
