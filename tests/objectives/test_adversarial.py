from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from restore.errors import ConfigError
from restore.losses.adversarial import ADVERSARIAL
from restore.losses.pixel import l2_loss
from restore.objectives.adversarial import Adversarial, _shares
from restore.objectives.discriminator import PatchDiscriminator
from restore.objectives.objective import Objective
from restore.training.checkpoint import load_checkpoint
from restore.training.learner import Learner
from restore.training.loop import train, train_step
from restore.training.runtime import Runtime
from tests.training.test_loop import assert_same, log_of, stop_at
from tests.training.tiny import draw, network, settings

CPU = torch.device("cpu")


def gan(seed: int = 0, **changes) -> Adversarial:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        discriminator = PatchDiscriminator(3, 8, 2)
    return Adversarial(network(seed=seed), discriminator, {"l2": (1.0, l2_loss)}, **({"ramp": 0} | changes))


def phases_of(objective: Adversarial, phase: str, step: int = 8) -> dict[str, torch.Tensor]:
    return objective(draw(step, 0, 4).to(CPU), phase, step)


@pytest.mark.parametrize("kind", ADVERSARIAL)
def test_each_phase_changes_its_own_network_and_both_learn(kind):
    objective = gan(kind=kind, r1=1.0, r1_every=1)
    learner = Learner(objective, settings(), Runtime(settings()))
    seen: list[tuple[str, dict, dict]] = []

    def grads(net: nn.Module) -> list[bool]:
        return [parameter.grad is not None for parameter in net.parameters()]

    def watch(values: dict[str, torch.Tensor]) -> None:  # after an optimizer's step, before its gradients are dropped
        phase = next(iter(values)).partition("_")[0]
        nets = objective.network, objective.discriminator
        seen.append((phase, {n: [p.detach().clone() for p in net.parameters()] for n, net in enumerate(nets)},
                     {n: grads(net) for n, net in enumerate(nets)}))  # fmt: skip

    before = {n: [p.detach().clone() for p in net.parameters()] for n, net in
              enumerate((objective.network, objective.discriminator))}  # fmt: skip
    assert train_step(learner, [draw(0, 0, 4).to(CPU)], 0, 1e-2, watch)
    (first, after_d, grads_d), (second, after_g, grads_g) = seen
    assert (first, second) == ("discriminate", "restore")
    assert_same(after_d[0], before[0])
    assert all(not torch.equal(a, b) for a, b in zip(after_d[1], before[1], strict=True) if a.numel() > 1)
    assert not any(grads_d[0]) and all(grads_d[1])
    assert_same(after_g[1], after_d[1])
    assert all(not torch.equal(a, b) for a, b in zip(after_g[0], after_d[0], strict=True))
    assert all(grads_g[0]) and not any(grads_g[1])


def test_the_weight_ramps_up_by_the_step():
    objective = gan(adversarial_weight=0.5, start=100, ramp=200)
    for step, share in ((0, 0), (100, 0), (200, 0.5), (300, 1), (10**6, 1)):
        assert objective.ramped(step) == share
        losses = phases_of(objective, "restore", step)
        pictures = draw(step, 0, 4).to(CPU).pictures
        pixel = l2_loss(objective.network(pictures["picture"]), pictures["clean"])
        torch.testing.assert_close(losses["loss"], pixel + 0.5 * share * losses["adversarial"])
    assert gan(ramp=0).ramped(1) == 1


def test_r1_is_lazy_and_counts_as_often_as_it_is_left_out():
    objective = gan(r1=10.0, r1_every=8)
    with_r1, without = (phases_of(objective, "discriminate", step) for step in (16, 17))
    assert "r1" in with_r1 and "r1" not in without
    clean = draw(16, 0, 4).to(CPU).clean.clone().requires_grad_()
    objective.eval()  # the norms as they are now
    with_r1 = phases_of(objective, "discriminate", 16)
    (slope,) = torch.autograd.grad(objective.discriminator(clean).mean((1, 2, 3)).sum(), clean)
    penalty = 5.0 * slope.flatten(1).square().sum(1).mean()
    torch.testing.assert_close(with_r1["r1"], penalty)
    objective.r1 = 0
    plain = phases_of(objective, "discriminate", 16)["loss"]
    torch.testing.assert_close(with_r1["loss"], plain + 8 * penalty)


def test_the_random_points_of_the_penalty_depend_on_seed_step_and_item_alone():
    """However the batch is divided, and nothing else of the batch's randomness is used for them."""
    whole, clean = draw(3, 0, 4), torch.zeros(4, 3, 1, 1)
    shares = _shares(whole, clean)
    assert shares.shape == (4, 1, 1, 1) and shares.unique().numel() == 4 and 0 <= shares.min() <= shares.max() < 1
    parts = [_shares(draw(3, first, 2), clean[:2]) for first in (0, 2)]
    assert torch.equal(torch.cat(parts), shares)
    assert not torch.equal(_shares(draw(4, 0, 4), clean), shares)
    assert not torch.equal(_shares(replace(whole, seed=1), clean), shares)


def test_the_network_may_learn_more_slowly(tmp_path):
    objective = gan(every=3)
    progress = train(objective, draw, settings(steps=7), tmp_path)
    assert progress.skipped == 0
    optimizers = load_checkpoint(tmp_path)[1]["optimizers"]
    assert (optimizers["discriminate"]["state"][0]["step"], optimizers["restore"]["state"][0]["step"]) == (7, 3)


def test_the_discriminator_tells_and_the_network_learns(tmp_path):
    """Without an adversarial weight: real and fake come apart until the network is good; its pixel loss falls."""
    entries: list[dict] = []
    objective = gan(adversarial_weight=0.0)
    untrained = phases_of(objective, "discriminate", 0)
    train(objective, draw, settings(steps=60, log_every=10), tmp_path, notify=entries.append)
    assert abs(untrained["real"] - untrained["fake"]) < 0.3
    assert entries[0]["discriminate_real"] - entries[0]["discriminate_fake"] > 1
    assert entries[-1]["restore_loss"] < 0.5 * entries[0]["restore_loss"]


def test_resume_is_exact(tmp_path):
    def made(seed: int = 0) -> Adversarial:
        return gan(seed, kind="wgan", adversarial_weight=0.1, r1=1.0, r1_every=4)  # random points, buffers, laziness

    train(made(), draw, settings(), tmp_path / "whole")
    part = made()
    forward = part.forward
    ask = stop_at(9)

    def watched(batch, phase, step):
        if phase == "restore":
            ask(step, batch)
        return forward(batch, phase, step)

    part.forward = watched
    assert train(part, draw, settings(), tmp_path / "parts").step == 9
    train(made(seed=5), draw, settings(), tmp_path / "parts", resume=True)
    whole, parts = (load_checkpoint(tmp_path / name)[1] for name in ("whole", "parts"))
    for key in ("objective", "average", "optimizers"):
        assert_same(whole[key], parts[key], key)
    assert log_of(tmp_path / "whole") == log_of(tmp_path / "parts")


def test_wrong_arguments_are_refused():
    with pytest.raises(ConfigError, match="Did you mean 'hinge'"):
        gan(kind="hing")


@pytest.mark.parametrize(
    ("name", "value", "least"),
    [("every", 0, 1), ("r1_every", 0, 1), ("start", -1, 0), ("ramp", -1, 0), ("r1", -1.0, 0),
     ("adversarial_weight", -0.1, 0), ("discriminator_rate", -1.0, 0)],
)  # fmt: skip
def test_a_wrong_argument_is_named(name, value, least):
    with pytest.raises(ConfigError, match=rf"objective\.arguments\.{name} is {value}\. Give {least} or more"):
        gan(**{name: value})


def test_the_discriminator_is_lipschitz_and_sees_patches():
    """Spectral norms of 1; a logit depends on its patch alone."""
    net = PatchDiscriminator(3, 8, 2).train()
    x = torch.rand(1, 3, 64, 64, requires_grad=True)
    for _ in range(50):
        logits = net(x)
    assert logits.shape == (1, 1, 16, 16)
    for layer in net.layers:
        if isinstance(layer, nn.Conv2d):
            assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02)
    (slope,) = torch.autograd.grad(logits[0, 0, 8, 8], x)
    reached = slope[0].abs().sum(0).nonzero()
    assert (reached.amax(0) - reached.amin(0) + 1).tolist() == [18, 18]
    with pytest.raises(ConfigError):
        PatchDiscriminator(depth=0)


def test_an_objective_must_say_what_it_learns():
    class Nothing(Objective):
        pass

    with pytest.raises(TypeError, match=r"averaged.*forward.*preview"):
        Nothing()  # type: ignore[abstract]
