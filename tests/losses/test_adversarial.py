"""Adversarial losses: closed forms, who gets gradients, penalties of known functions."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from restore.errors import ConfigError
from restore.losses.adversarial import (
    ADVERSARIAL,
    discriminator_loss,
    generator_loss,
    gradient_penalty,
    r1_penalty,
)

LN2 = math.log(2)
AT_ZERO = {  # kind -> discriminator, generator at logits 0
    "vanilla": (2 * LN2, LN2),
    "lsgan": (1, 1),
    "hinge": (2, 0),
    "wgan": (0, 0),
    "relativistic": (LN2, LN2),
}


def test_every_kind_is_tested():
    assert set(ADVERSARIAL) == set(AT_ZERO)


@pytest.mark.parametrize("kind", ADVERSARIAL)
def test_at_logits_zero(kind):
    zero = torch.zeros(2, 1, 5, 5)
    values = discriminator_loss(kind, zero, zero).item(), generator_loss(kind, zero, zero).item()
    assert values == pytest.approx(AT_ZERO[kind], abs=1e-6)


@pytest.mark.parametrize("kind", ADVERSARIAL)
def test_against_the_definitions(kind):
    generator = torch.Generator().manual_seed(0)
    r, f = torch.randn((2, 4, 1, 3, 3), generator=generator, dtype=torch.float64)
    one, zero, bce = torch.ones_like(r), torch.zeros_like(r), F.binary_cross_entropy_with_logits
    expected = {
        "vanilla": (bce(r, one) + bce(f, zero), bce(f, one)),
        "lsgan": (F.mse_loss(r, one) + F.mse_loss(f, zero), F.mse_loss(f, one)),
        "hinge": (torch.relu(1 - r).mean() + torch.relu(1 + f).mean(), -f.mean()),
        "wgan": (f.mean() - r.mean(), -f.mean()),
        "relativistic": (
            (bce(r - f.mean(), one) + bce(f - r.mean(), zero)) / 2,
            (bce(f - r.mean(), one) + bce(r - f.mean(), zero)) / 2,
        ),
    }[kind]
    assert torch.allclose(
        torch.stack([discriminator_loss(kind, r, f), generator_loss(kind, f, r)]), torch.stack(expected)
    )


@pytest.mark.parametrize("kind", ADVERSARIAL)
def test_gradients_go_where_they_should(kind):
    """A generator step with the discriminator frozen leaves no gradient in it, and its weight is the generator's."""
    torch.manual_seed(0)
    critic, maker = nn.Conv2d(3, 1, 3), nn.Conv2d(3, 3, 1)
    real, noise = torch.rand(2, 2, 3, 8, 8)
    critic.requires_grad_(False)
    (5.0 * generator_loss(kind, critic(maker(noise)), critic(real))).backward()
    assert critic.weight.grad is None and maker.weight.grad is not None and maker.weight.grad.abs().max() > 0
    critic.requires_grad_(True)
    maker.zero_grad()
    before = discriminator_loss(kind, critic(real), critic(maker(noise).detach()))
    before.backward()
    assert maker.weight.grad is None and critic.weight.grad.abs().max() > 0


def test_the_relativistic_generator_takes_real_logits_as_they_are():
    real, fake = torch.randn(3, 1, requires_grad=True), torch.randn(3, 1, requires_grad=True)
    generator_loss("relativistic", fake, real).backward()
    assert real.grad is None and fake.grad is not None
    with pytest.raises(ConfigError, match="compares with real pictures"):
        generator_loss("relativistic", fake)


@pytest.mark.parametrize("kind", ADVERSARIAL)
def test_logits_in_low_precision_are_widened(kind):
    with torch.autocast("cpu", torch.bfloat16):
        value = discriminator_loss(kind, torch.full((3,), 200.0).bfloat16(), torch.full((3,), -200.0).bfloat16())
    assert value.dtype == torch.float32 and value.isfinite()


def test_penalties_of_a_linear_critic_are_known():
    """C(x) = k sum(x) has the gradient k everywhere: its norm is k sqrt(n)."""
    real, fake = torch.rand(2, 4, 3, 5, 5)
    size, k = 75, torch.tensor(0.3, requires_grad=True)
    assert r1_penalty(lambda x: k * x.sum((1, 2, 3)), real, 10).item() == pytest.approx(5 * 0.09 * size, rel=1e-5)
    penalty = gradient_penalty(lambda x: k * x.sum((1, 2, 3)), real, fake, torch.rand(4, 1, 1, 1))
    assert penalty.item() == pytest.approx(10 * (0.3 * math.sqrt(size) - 1) ** 2, rel=1e-5)
    penalty.backward()
    assert k.grad is not None and k.grad.item() == pytest.approx(
        20 * (0.3 * math.sqrt(size) - 1) * math.sqrt(size), rel=1e-4
    )


def test_penalties_do_not_grow_with_the_number_of_patches():
    """k mean(x) as one logit, or as four of a quarter of the picture each: the mean logit is the same."""
    real, fake = torch.rand(2, 4, 3, 8, 8)
    shares = torch.rand(4, 1, 1, 1)
    one, four = (lambda x, side=side: 0.7 * F.adaptive_avg_pool2d(x, side).mean(1) for side in (1, 2))
    assert four(real).numel() == 4 * one(real).numel()
    for critic in (one, four):
        assert r1_penalty(critic, real, 10).item() == pytest.approx(5 * 0.49 / 192, rel=1e-5)
        penalty = gradient_penalty(critic, real, fake, shares).item()
        assert penalty == pytest.approx(10 * (0.7 / math.sqrt(192) - 1) ** 2, rel=1e-5)


def test_the_gradient_penalty_looks_between_the_pictures():
    seen = []

    def critic(x: torch.Tensor) -> torch.Tensor:
        seen.append(x.detach())
        return x.square().sum()

    real, fake = torch.ones(8, 3, 2, 2), torch.zeros(8, 3, 2, 2)
    shares = torch.linspace(0, 1, 8)[:, None, None, None]
    gradient_penalty(critic, real, fake, shares)
    assert seen[0].equal(shares.expand_as(real))


def test_smoothed_labels_are_those_of_the_cross_entropy():
    r, f = torch.randn((2, 50), generator=torch.Generator().manual_seed(0), dtype=torch.float64).mul(4).requires_grad_()
    expected = F.binary_cross_entropy_with_logits(r, torch.full_like(r, 0.9)) + F.softplus(f).mean()
    assert discriminator_loss("vanilla", r, f, 0.9).item() == pytest.approx(expected.item(), rel=1e-9)
    sure = torch.tensor([math.log(9.0)], requires_grad=True)  # sigmoid 0.9: no reason to be surer
    (slope,) = torch.autograd.grad(discriminator_loss("vanilla", sure, torch.zeros(1), 0.9), sure)
    assert slope.item() == pytest.approx(0, abs=1e-6)
    with pytest.raises(ConfigError, match="'hinge' has no labels to smooth"):
        discriminator_loss("hinge", r, f, 0.9)


def test_unknown_kinds_name_the_nearest():
    with pytest.raises(ConfigError, match=r"no adversarial loss is called 'hinges'\. Did you mean 'hinge'"):
        discriminator_loss("hinges", torch.zeros(1), torch.zeros(1))
    with pytest.raises(ConfigError, match="Known: vanilla, lsgan, hinge, wgan, relativistic"):
        generator_loss("x", torch.zeros(1))
