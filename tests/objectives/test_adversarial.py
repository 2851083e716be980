from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from restore.data.batches import Batch
from restore.errors import ConfigError
from restore.losses.adversarial import ADVERSARIAL
from restore.losses.pixel import l1_loss, l2_loss
from restore.objectives.adversarial import Adversarial, _shares, accuracy
from restore.objectives.discriminator import PatchDiscriminator
from restore.objectives.objective import Objective, Phase
from restore.objectives.vgg_discriminators import SRGANDiscriminator
from restore.physics.filters import sharpened
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


@pytest.mark.parametrize("judge", [PatchDiscriminator(3, 8, 2), SRGANDiscriminator(3, 4)], ids=["spectral", "batch"])
def test_each_phase_leaves_all_that_the_other_network_holds(judge):
    """Statistics of batch normalisation and spectral norms' vectors included, in every kind of step."""
    objective = Adversarial(network(norm=True), judge, {"l2": (1.0, l2_loss)}, kind="relativistic", r1=1.0, ramp=0)
    learner = Learner(objective, settings(), Runtime(settings()))
    held = {"discriminate": judge, "restore": objective.network}

    def now() -> dict[str, dict[str, torch.Tensor]]:
        return {name: {key: x.clone() for key, x in net.state_dict().items()} for name, net in held.items()}

    states = [now()]
    assert train_step(learner, [draw(0, 0, 4).to(CPU)], 0, 1e-2, lambda values: states.append(now()))
    before, judged, restored = states
    assert_same(judged["restore"], before["restore"])
    assert_same(restored["discriminate"], judged["discriminate"])
    for name, old, new in (("discriminate", before, judged), ("restore", judged, restored)):
        buffers = [key for key, _ in held[name].named_buffers()]
        assert buffers and any(not torch.equal(old[name][key], new[name][key]) for key in buffers)


def test_the_accuracy_counts_logits():
    real, fake = torch.tensor([1.0, 2.0, -1.0, 4.0]), torch.tensor([-1.0, 3.0])
    assert accuracy("vanilla", real, fake) == (3 / 4 + 1 / 2) / 2
    assert accuracy("relativistic", real, fake) == (2 / 4 + 1 / 2) / 2  # fakes' mean is 1, reals' 1.5
    assert accuracy("hinge", real, real) == 0.5
    assert phases_of(gan(), "discriminate")["accuracy"] == pytest.approx(0.5, abs=0.2)


def test_what_each_part_adds_is_reported():
    """The weighted parts are the total, at any step; slopes are norms of gradients, in rare steps."""
    objective = gan(adversarial_weight=0.5, ramp=2000)
    objective.losses["l1"] = (0.25, l1_loss)
    at = {step: phases_of(objective, "restore", step) for step in (999, 1000)}
    for step, losses in at.items():
        added = [losses[f"{name}_weighted"] for name in ("l1", "l2", "adversarial")]
        torch.testing.assert_close(losses["loss"], torch.stack(added).sum())
        torch.testing.assert_close(added[0], 0.25 * losses["l1"])
        torch.testing.assert_close(added[2], 0.5 * step / 2000 * losses["adversarial"])
    assert not any(name.endswith("_slope") for name in at[999])
    pictures, size = draw(1000, 0, 4).to(CPU).pictures, 3 * 8 * 8
    distances = (objective.network(pictures["picture"]) - pictures["clean"]).flatten(1).norm(dim=1)
    assert at[1000]["l1_slope"].item() == pytest.approx(0.25 * size**-0.5, rel=1e-3)
    assert at[1000]["l2_slope"].item() == pytest.approx(2 * distances.mean().item() / size, rel=1e-3)
    objective.weight = 1.0  # the slope is that of the full weight, whatever the ramp
    twice = phases_of(objective, "restore", 1000)["adversarial_slope"]
    assert twice.item() == pytest.approx(2 * at[1000]["adversarial_slope"].item(), rel=0.02)
    at[1000]["loss"].backward()
    assert all(each.grad is not None for each in objective.network.parameters())


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


def test_the_discriminator_may_learn_alone_first(tmp_path):
    objective = gan(alone=4)
    before = [each.clone() for each in objective.network.parameters()]
    progress = train(objective, draw, settings(steps=4), tmp_path / "alone")
    assert progress.skipped == 0
    assert_same(before, [each.detach() for each in objective.network.parameters()])
    train(gan(alone=4, every=3), draw, settings(steps=10, log_every=2), tmp_path / "both")
    optimizers = load_checkpoint(tmp_path / "both")[1]["optimizers"]
    assert (optimizers["discriminate"]["state"][0]["step"], optimizers["restore"]["state"][0]["step"]) == (10, 2)
    assert ["restore_loss" in line for line in log_of(tmp_path / "both")] == [False, False, False, True, True]
    assert [Phase("x", (), 3, start=4).takes_part(step) for step in (0, 3, 4, 6, 7)] == [
        False,
        False,
        False,
        True,
        False,
    ]


def test_smoothed_labels_reach_the_loss():
    plain, smooth = (phases_of(gan(real_label=label), "discriminate") for label in (1.0, 0.9))
    torch.testing.assert_close(smooth["loss"], plain["loss"] + 0.1 * plain["real"])
    with pytest.raises(ConfigError, match=r"real_label is 0\.9 with kind: hinge\. Give .* kind: vanilla only"):
        gan(kind="hinge", real_label=0.9)
    with pytest.raises(ConfigError, match=r"real_label is 0\.5"):
        gan(real_label=0.5)


def large(step: int = 8) -> Batch:
    """Pairs of 32 px with an edge in the middle, so that there is something to sharpen."""
    pictures = {name: x.repeat(1, 1, 4, 4).clone() for name, x in draw(step, 0, 2).to(CPU).pictures.items()}
    pictures["clean"][..., 16:] *= 0.3
    return Batch(pictures, 0, step, 0)


@pytest.mark.parametrize("kind", ["vanilla", "relativistic"])
def test_losses_see_the_sharpened_target_and_the_discriminator_the_plain_one(kind):
    objective, seen = gan(sharpen_target=True, kind=kind), []
    objective.discriminator.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    batch = large()
    sharp = sharpened(batch.clean)
    assert (sharp - batch.clean).abs().max() > 0.05
    losses = objective(batch, "restore", 1)
    output = objective.network(batch.pictures["picture"])
    torch.testing.assert_close(losses["l2"], l2_loss(output, sharp))
    objective(batch, "discriminate", 1)
    expected = [output, batch.clean, output] if kind == "vanilla" else [batch.clean, output, batch.clean, output]
    for picture, shown in zip(expected, seen, strict=True):
        torch.testing.assert_close(shown, picture)
    with pytest.raises(
        ConfigError, match=r"sharpen_target \(sharpening needs sides of more than 25 px.*Raise data\.crop"
    ):
        phases_of(objective, "restore")


def test_jitter_shows_output_and_truth_from_one_place():
    """A function of the step; each of the nine places of two pixels comes."""
    seen: list[torch.Tensor] = []
    objective = gan(jitter=2, kind="relativistic")
    objective.discriminator.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    places = set()
    for step in range(60):
        batch = large(step)
        batch.pictures["clean"].copy_(torch.arange(32.0 * 32).view(32, 32) / 1024)
        losses = objective(batch, "restore", step)
        clean, output = seen[-2:]
        assert clean.shape == output.shape == (2, 3, 30, 30)
        torch.testing.assert_close(losses["l2"], l2_loss(output, clean))
        places.add(divmod(round(float(clean[0, 0, 0, 0]) * 1024), 32))
        objective(batch, "discriminate", step)
        assert torch.equal(seen[-2], clean)
    assert places == {(row, column) for row in range(3) for column in range(3)}


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
    [("every", 0, 1), ("r1_every", 0, 1), ("start", -1, 0), ("ramp", -1, 0), ("jitter", -1, 0), ("alone", -1, 0),
     ("r1", -1.0, 0), ("adversarial_weight", -0.1, 0), ("discriminator_rate", -1.0, 0)],
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


def test_the_place_of_a_jitter_does_not_depend_on_how_the_batch_is_divided():
    """It is another for another seed; 0 changes nothing."""

    def seen(jitter: int, batch: Batch) -> torch.Tensor:
        objective, shown = gan(jitter=jitter), []
        objective.discriminator.register_forward_pre_hook(lambda module, inputs: shown.append(inputs[0].detach()))
        objective(batch, "discriminate", batch.step)
        return shown[0]

    ramp = torch.arange(64.0).view(8, 8).expand(4, 3, 8, 8) / 64
    batches = [Batch({"clean": ramp, "picture": ramp}, seed, step, 0) for seed in (0, 1) for step in range(6)]
    whole = [seen(3, batch) for batch in batches]
    for batch, expected in zip(batches, whole, strict=True):
        halves = [Batch({name: x[at : at + 2] for name, x in batch.pictures.items()}, batch.seed, batch.step, at)
                  for at in (0, 2)]  # fmt: skip
        assert torch.equal(torch.cat([seen(3, half) for half in halves]), expected)
    assert any(not torch.equal(one, other) for one, other in zip(whole[:6], whole[6:], strict=True))
    assert torch.equal(seen(0, batches[0]), ramp)


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
