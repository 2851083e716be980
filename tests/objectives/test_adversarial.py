from __future__ import annotations

import hashlib
import itertools
from dataclasses import replace

import pytest
import torch
from torch import nn

from restore.data.batches import Batch
from restore.errors import ConfigError
from restore.losses.adversarial import ADVERSARIAL, generator_loss
from restore.losses.pixel import l2_loss
from restore.objectives.adversarial import Adversarial, _shares, accuracy
from restore.objectives.discriminator import PatchDiscriminator
from restore.objectives.objective import Objective
from restore.physics.filters import unsharp_mask
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


def test_each_phase_leaves_the_other_networks_state_as_it_is():
    """State dicts by their hashes; both networks without statistics of their own."""

    def digest(net: nn.Module) -> str:
        return hashlib.sha256(b"".join(each.numpy().tobytes() for each in net.state_dict().values())).hexdigest()

    objective = Adversarial(network(), PatchDiscriminator(3, 8, 2, spectral=False), {"l2": (1.0, l2_loss)}, ramp=0)
    learner, seen = Learner(objective, settings(), Runtime(settings())), []

    def note(values: object = None) -> None:
        seen.append((digest(objective.network), digest(objective.discriminator)))

    note()
    for step in range(3):
        assert train_step(learner, [draw(step, 0, 4).to(CPU)], step, 1e-2, note)
    for number, (before, after) in enumerate(itertools.pairwise(seen)):
        changed, kept = (0, 1) if number % 2 else (1, 0)  # the discriminator's phase is the first
        assert before[kept] == after[kept] and before[changed] != after[changed]
    assert len(seen) == 7


def test_the_weight_ramps_up_by_the_step():
    objective = gan(adversarial_weight=0.5, start=100, ramp=200)
    for step, share in ((0, 0), (100, 0), (200, 0.5), (300, 1), (10**6, 1)):
        assert objective.ramped(step) == share
        losses = phases_of(objective, "restore", step)
        pictures = draw(step, 0, 4).to(CPU).pictures
        pixel = l2_loss(objective.network(pictures["picture"]), pictures["clean"])
        fooled = generator_loss("vanilla", objective.discriminator(objective.network(pictures["picture"])))
        torch.testing.assert_close(losses["adversarial"], 0.5 * share * fooled, rtol=1e-2, atol=0)  # norms go on
        torch.testing.assert_close(losses["loss"], losses["l2"] + losses["adversarial"])
        torch.testing.assert_close(losses["l2"], pixel)
    assert gan(ramp=0).ramped(1) == 1


def test_r1_is_lazy_and_counts_as_often_as_it_is_left_out():
    objective = gan(r1=10.0, r1_every=8)
    with_r1, without = (phases_of(objective, "discriminate", step) for step in (16, 17))
    assert "r1" in with_r1 and "r1" not in without
    clean = draw(16, 0, 4).to(CPU).clean.clone().requires_grad_()
    objective.eval()  # the norms as they are now
    with_r1 = phases_of(objective, "discriminate", 16)
    (slope,) = torch.autograd.grad(objective.discriminator(clean).sum(), clean)
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


@pytest.mark.parametrize("kind", ["wgan", "relativistic"])
def test_resume_is_exact(tmp_path, kind):
    def made(seed: int = 0) -> Adversarial:
        """With random points and places, buffers and laziness."""
        return gan(seed, kind=kind, adversarial_weight=0.1, r1=1.0, r1_every=4, jitter=2, discriminator_rate=2.0)

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
    [("every", 0, 1), ("r1_every", 0, 1), ("jitter", -1, 0), ("start", -1, 0), ("ramp", -1, 0), ("r1", -1.0, 0),
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


@pytest.mark.parametrize("kind", ADVERSARIAL)
def test_accuracy_is_the_share_of_right_logits(kind):
    real, fake = torch.tensor([1.0, -1.0, 2.0, 3.0]), torch.tensor([-1.0, 0.5, -2.0, -3.0])
    relative = kind in ("relativistic", "wgan")  # judged by the others' means, -1.375 and 1.25
    assert accuracy(kind, real, fake) == (1 if relative else 0.75)
    assert accuracy(kind, fake, real) == (0 if relative else 0.25)
    assert accuracy(kind, real + 100, fake + 100) == (1 if relative else 0.5), (
        "an offset counts in absolute kinds alone"
    )
    assert accuracy(kind, torch.ones(2, 1, 4, 4), -torch.ones(1)) == 1, "maps of logits, real and fake counting alike"
    assert not accuracy(kind, real.requires_grad_(), fake).requires_grad


class Whole(nn.Module):
    """A discriminator that keeps what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.seen = nn.Parameter(torch.ones(())), []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(x.detach().clone())
        return self.weight * x.mean((1, 2, 3))


def test_jitter_shows_output_and_truth_from_one_place_that_depends_on_seed_and_step():
    compared: list[tuple[torch.Tensor, torch.Tensor]] = []

    def watched(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        compared.append((x.detach(), y))
        return l2_loss(x, y)

    def places(jitter: int, batch) -> tuple[int, int]:
        """Where it looked, found from the pictures, the same in both phases."""
        judge = Whole()
        objective = Adversarial(network(), judge, {"l2": (1.0, watched)}, kind="relativistic", jitter=jitter)
        sample = objective.damaged(batch)
        clean, output = batch.clean, objective.restored(objective.network, sample)["result"].detach()
        for phase in ("discriminate", "restore"):
            objective(batch, phase, batch.step)
        side = clean.shape[-1] - jitter
        (real, fake, again, output_again) = judge.seen
        found = [(top, left) for top in range(jitter + 1) for left in range(jitter + 1)
                 if torch.equal(output[..., top : top + side, left : left + side], fake)]  # fmt: skip
        ((top, left),) = found
        seen = clean[..., top : top + side, left : left + side]
        assert torch.equal(real, seen) and torch.equal(again, seen) and torch.equal(output_again, fake)
        assert torch.equal(compared[-1][0], fake) and torch.equal(compared[-1][1], seen)
        return top, left

    batches = [draw(step, 0, 2).to(CPU) for step in range(12)]
    found = [places(3, batch) for batch in batches]
    assert found == [places(3, batch) for batch in batches]
    assert len(set(found)) > 6 and {top for top, _ in found} == {0, 1, 2, 3}
    parts = [draw(5, first, 1).to(CPU) for first in (0, 1)]
    assert {places(3, part) for part in parts} == {found[5]}, "however the batch is divided"
    assert [places(3, replace(batch, seed=1)) for batch in batches] != found
    assert {places(0, batch) for batch in batches[:3]} == {(0, 0)}, "0 changes nothing"


@pytest.mark.parametrize("jitter", [0, 3])
def test_the_losses_see_a_sharpened_truth_and_the_discriminator_the_plain_one(jitter):
    seen: list[torch.Tensor] = []

    def watched(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        seen.append(y)
        return l2_loss(x, y)

    clean = (torch.arange(64) >= 32).float().mul(0.6).add(0.2).expand(2, 3, 64, 64).contiguous()
    batch = Batch({"clean": clean, "picture": clean}, 0, 4, 0)
    judges, real = [], []
    for sharp in (False, True):
        judges.append(Whole())
        objective = Adversarial(network(), judges[-1], {"l2": (1.0, watched)}, kind="relativistic", jitter=jitter,
                                sharpen_target=sharp)  # fmt: skip
        for phase in ("discriminate", "restore"):
            objective(batch, phase, 4)
        real.append((judges[-1].seen[0], judges[-1].seen[2]))
    plain, sharpened = seen
    for each in (*real[0], *real[1]):
        assert torch.equal(each, plain)
    places = [slice(None)] if not jitter else [slice(at, at + 61) for at in range(4)]
    whole = unsharp_mask(clean)
    assert (whole - clean).abs().max() > 0.05
    assert any(torch.equal(whole[..., rows, columns], sharpened) for rows in places for columns in places)


def test_a_patch_discriminator_without_spectral_norm_is_plain():
    """The same layers and parameters; its logits follow the scale of its weights, which the norm takes out."""
    free, restrained = PatchDiscriminator(3, 8, 2, spectral=False), PatchDiscriminator(3, 8, 2)
    counts = [sum(each.numel() for each in net.parameters()) for net in (free, restrained)]
    assert counts == [3 * 8 * 16 + 8 + 8 * 16 * 16 + 16 + 16 * 9 + 1] * 2
    assert not list(free.buffers()) and list(restrained.buffers())
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    plain = nn.Sequential(*(free.layers))
    with torch.no_grad():
        torch.testing.assert_close(free(x), plain(x - 0.5))
        for parameter in free.parameters():
            parameter.mul_(2 if parameter.ndim == 4 else 0)
        tripled = free(x).clone()
        for parameter in free.parameters():
            parameter.mul_(3)
        torch.testing.assert_close(free(x), 27 * tripled)
