"""C-BSN: exact counts, blindness by gradient, supports, the centre tap, equivariance (Jang et al., ICCV 2023)."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from restore.errors import ConfigError
from restore.models.cbsn import CBSN, ConditionalConv
from restore.models.probe import measure_radius, verify_spec


def net(width=16, seed=0, channels=3):
    torch.manual_seed(seed)
    return CBSN(channels, width).double()


@pytest.mark.parametrize(("width", "parameters"), [(128, 3_656_131), (64, 915_683), (48, 515_691), (32, 229_747)])
def test_parameters(width, parameters):
    made = CBSN(width=width)
    assert sum(p.numel() for p in made.parameters()) == made.spec().parameters == parameters
    if width == 128:
        assert sum(p.numel() for p in made.a.parameters()) == 1_673_984
        assert sum(p.numel() for p in made.b.parameters()) == 1_936_128


def test_the_spec_holds():
    made = CBSN(width=4).eval()
    verify_spec(made, made.spec())
    assert made.spec().standardised and not made.spec().blind and not made.spec().residual
    always = CBSN(width=4, blocks=2, blind=True)
    assert always.spec().blind
    verify_spec(always, always.spec())
    assert measure_radius(made, made.spec()) == made.spec().radius == 29
    assert CBSN(width=4, blocks=3).spec().radius == measure_radius(CBSN(width=4, blocks=3).eval(), CBSN(width=4).spec())


@pytest.mark.parametrize("place", [(0, 0), (0, 20), (17, 13), (39, 40)])
def test_blindness_by_gradient(place):
    made, i, j = net(), *place
    x = torch.rand(1, 3, 40, 41, dtype=torch.float64, requires_grad=True)
    for blind in (True, False):
        (gradient,) = torch.autograd.grad(made(x, blind)[0, :, i, j].sum(), x)
        own = gradient[0, :, i, j].abs().max()
        assert own == 0 if blind else own > 0


def support(blind):
    """Offsets from the middle of a 71 x 71 picture that an output pixel sees, with nothing cancelling."""
    made = net(width=4)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(parameter.abs() + 0.1)
    x = torch.rand(1, 3, 71, 71, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(made(x, blind)[0, :, 35, 35].sum(), x)
    return {(int(i) - 35, int(j) - 35) for i, j in gradient[0].abs().sum(0).nonzero()}


def test_supports():
    blind, seen = support(True), support(False)
    assert len(blind) == 3_240 and len(seen) == 3_481
    assert max(max(abs(i), abs(j)) for i, j in seen) == 29
    assert (0, 6) not in blind and (0, 6) in seen and (0, 0) not in blind


def test_the_centre_tap_learns_from_the_other_pass_alone():
    made = net()
    x = torch.rand(1, 3, 24, 24, dtype=torch.float64)
    before = {name: value.clone() for name, value in made.state_dict().items()}
    for blind in (True, False):
        made.zero_grad()
        made(x, blind).square().mean().backward()
        for entry in (made.a.entry, made.b.entry):
            middle = entry.weight.grad[:, :, entry.weight.shape[2] // 2, entry.weight.shape[3] // 2]
            assert middle.abs().max() == 0 if blind else middle.abs().max() > 0
    assert all(torch.equal(before[name], value) for name, value in made.state_dict().items())
    assert not any("mask" in name for name in made.state_dict())


@pytest.mark.parametrize("blind", [True, False])
def test_dilated_convolutions_are_plain_ones_on_the_phases(blind, monkeypatch):
    made, x = net(), torch.rand(2, 3, 48, 42, dtype=torch.float64)
    by_phases = made(x, blind)
    for branch in (made.a, made.b):
        monkeypatch.setattr(branch, "forward", lambda x, blind, b=branch: _dilated(b, x, blind))
    assert torch.allclose(made(x, blind), by_phases, atol=1e-12)


def _dilated(branch, x, blind):
    x = branch.mix(F.relu(branch.entry(x, blind)))
    for block in branch.blocks:
        step = F.conv2d(x, block.conv1.weight, block.conv1.bias, padding=branch.dilation, dilation=branch.dilation)
        x = x + F.relu(block.conv2(F.relu(step)))
    return F.relu(branch.exit(x))


@pytest.mark.parametrize("blind", [True, False])
def test_the_first_outputs_are_of_the_size_of_the_inputs(blind):
    x = torch.randn(1, 3, 120, 120, generator=torch.Generator().manual_seed(0))
    assert 0.3 < float(net(32).float()(x, blind).std()) < 3


def test_a_shift_shifts_the_interior():
    made = net().float()
    x = torch.rand(1, 3, 80, 80)
    with torch.no_grad():
        whole, shifted = made(x), made(x[..., 1:, 1:])
    assert (whole[..., 1:, 1:] - shifted)[..., 30:-30, 30:-30].abs().max() < 1e-5


def test_a_mask_of_the_wrong_side_would_not_be_blind():
    """The negative: a 5 x 5 entry before dilation 2 sees its own pixel."""
    made = net()
    made.a.entry = ConditionalConv(16, 5).double()
    x = torch.rand(1, 3, 40, 40, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(made(x, True)[0, :, 20, 20].sum(), x)
    assert gradient[0, :, 20, 20].abs().max() > 0


def test_wrong_arguments():
    with pytest.raises(ConfigError, match="Give 1 channel or more, an even width"):
        CBSN(width=5)
