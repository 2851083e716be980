from __future__ import annotations

import json
import math
import os
import signal
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

import restore.training.log as log
import restore.training.loop as loop
from restore.data.batches import Batch
from restore.errors import ConfigError, FileError, ModelError
from restore.options import seconds_of
from restore.training.checkpoint import checkpoints, load_checkpoint
from restore.training.learner import moving_average
from restore.training.loop import learning_rate, train
from tests.training.tiny import Pairs, draw, network, settings

CLOCK = {"seconds", "seconds_per_step", "data_share", "left_seconds"}


def log_of(folder: Path) -> list[dict]:
    """The log without what depends on the clock."""
    lines = (folder / "log.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key not in CLOCK} for line in lines]


def state_of(folder: Path) -> dict:
    return load_checkpoint(folder)[1]


def assert_same(a, b, where: str = "state") -> None:
    """Nested dicts and lists, tensors bit by bit."""
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for number, (left, right) in enumerate(zip(a, b, strict=True)):
            assert_same(left, right, f"{where}[{number}]")
    else:
        assert a == b, where


def stop_at(step: int):
    """Ask to stop while the last of so many steps is done."""

    def ask(now: int, batch: Batch) -> None:
        if now == step - 1 and batch.first_index == 0:  # once: the second signal ends the process
            os.kill(os.getpid(), signal.SIGINT)

    return ask


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("at", [10, 13])
def test_resume_is_exact(tmp_path, accumulate, at):
    """20 steps = `at` steps + resume + the rest, bit by bit, with dropout, buffers and a half-filled log."""
    chosen = settings(accumulate=accumulate, batch=8)
    train(Pairs(network(norm=True, dropout=0.3)), draw, chosen, tmp_path / "whole")
    part = Pairs(network(norm=True, dropout=0.3), before=stop_at(at))
    stopped = train(part, draw, chosen, tmp_path / "parts")
    assert (stopped.step, stopped.interrupted) == (at, True)
    with torch.random.fork_rng():
        torch.rand(7)  # the caller's random state must not matter
        other = Pairs(network(norm=True, dropout=0.3, seed=9))  # nor the weights it is built with
        resumed = train(other, draw, chosen, tmp_path / "parts", resume=True)
    assert (resumed.step, resumed.interrupted) == (20, False)
    whole, parts = state_of(tmp_path / "whole"), state_of(tmp_path / "parts")
    for key in ("objective", "average", "optimizers", "log"):
        assert_same(whole[key], parts[key], key)
    assert log_of(tmp_path / "whole") == log_of(tmp_path / "parts")
    assert len(log_of(tmp_path / "whole")) == 4


def test_what_was_logged_after_the_checkpoint_is_dropped(tmp_path):
    train(Pairs(network()), draw, settings(), tmp_path / "whole")
    train(Pairs(network(), before=stop_at(10)), draw, settings(), tmp_path / "parts")
    with (tmp_path / "parts" / "log.jsonl").open("a") as file:
        file.write('{"step": 15, "loss": 1}\n{"step": 20, "lo')  # a run that was killed before its next checkpoint
    train(Pairs(network()), draw, settings(), tmp_path / "parts", resume=True)
    assert log_of(tmp_path / "parts") == log_of(tmp_path / "whole")


def test_training_leaves_the_global_random_state_alone(tmp_path):
    before = torch.get_rng_state()
    train(Pairs(network(dropout=0.5)), draw, settings(steps=2), tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


def test_dropout_depends_on_the_seed(tmp_path):
    ends = []
    for seed in (0, 0, 1):
        train(Pairs(network(dropout=0.5)), draw, settings(steps=2, seed=seed), tmp_path / str(len(ends)))
        ends.append(state_of(tmp_path / str(len(ends)))["objective"]["network.0.weight"])
    assert torch.equal(ends[0], ends[1]) and not torch.equal(ends[0], ends[2])


def test_four_accumulated_parts_equal_one_batch(tmp_path):
    for accumulate in (1, 4):
        train(Pairs(network()), draw, settings(batch=8, accumulate=accumulate, steps=8), tmp_path / str(accumulate))
    one, four = (state_of(tmp_path / name) for name in ("1", "4"))
    for name, value in one["objective"].items():
        torch.testing.assert_close(four["objective"][name], value, rtol=1e-4, atol=1e-6)
    assert log_of(tmp_path / "1")[0]["loss"] == pytest.approx(log_of(tmp_path / "4")[0]["loss"], rel=1e-4)


def test_each_part_of_the_batch_is_drawn_once(tmp_path):
    drawn = []

    def watched(step: int, first: int, count: int) -> Batch:
        drawn.append((step, first, count))
        return draw(step, first, count)

    train(Pairs(network()), watched, settings(steps=2, batch=6, accumulate=3), tmp_path)
    assert drawn[:6] == [(0, 0, 2), (0, 2, 2), (0, 4, 2), (1, 0, 2), (1, 2, 2), (1, 4, 2)]


def test_a_batch_that_does_not_divide_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"train\.batch 4 does not divide.*Make it a multiple of 3"):
        train(Pairs(network()), draw, settings(batch=4, accumulate=3), tmp_path)


def test_steps_that_are_not_finite_are_skipped_and_counted(tmp_path):
    """Skipping step 3 leaves weights, average, optimizer and the normalisation's statistics as they were."""
    kept: dict[int, dict] = {}
    objective = Pairs(network(norm=True), nan_at=frozenset({3}))
    objective._before = lambda step, batch: kept.update({step: _copy(objective.state_dict())})
    progress = train(objective, draw, settings(steps=5, log_every=1), tmp_path)
    assert (progress.step, progress.skipped) == (5, 1)
    assert_same(kept[3], kept[4])
    assert not torch.equal(kept[2]["network.0.weight"], kept[3]["network.0.weight"])
    state = state_of(tmp_path)
    assert state["average"]["n_averaged"] == 4
    assert state["optimizers"]["restore"]["state"][0]["step"] == 4
    for value in (*state["objective"].values(), *state["average"].values()):
        assert value.isfinite().all()
    assert [line["skipped"] for line in log_of(tmp_path)] == [0, 0, 0, 1, 1]
    assert "loss" not in log_of(tmp_path)[3], "a step that was skipped has no loss"


def _copy(state: dict) -> dict:
    return {name: value.clone() for name, value in state.items()}


def test_too_many_bad_steps_in_a_row_end_the_run_with_the_batch_on_disk(tmp_path):
    bad = frozenset({1, 2, 4, 5, 6})
    with pytest.raises(ModelError, match=r"not finite for 3 steps in a row \(the last batch is in bad_batch\.pt\)"):
        train(Pairs(network(), nan_at=bad), draw, settings(bad_steps=3), tmp_path)
    (batch,) = torch.load(tmp_path / "bad_batch.pt", weights_only=True)
    expected = draw(6, 0, 4).to(torch.device("cpu"))
    assert_same(batch["pictures"], dict(expected.pictures))
    assert (batch["step"], batch["first_index"]) == (6, 0)
    progress = train(Pairs(network()), draw, settings(learning_rate=1e-3), tmp_path, resume=True)
    assert (progress.step, progress.skipped) == (20, 5), "the state before the stop is there to go on from"


def test_the_average_is_what_its_definition_says(tmp_path):
    """The first step's weights as they are, then a (1 - d) share of each step's, d = (1 + n)/(10 + n); buffers are
    those of the last step."""
    objective = Pairs(network(norm=True))
    seen: list[dict] = []
    objective._before = lambda step, batch: seen.append(_copy(objective.network.state_dict()))
    train(objective, draw, settings(steps=3, ema=0.9), tmp_path)
    first, second, third = seen[1], seen[2], objective.network.state_dict()
    average = state_of(tmp_path)["average"]
    for name in ("0.weight", "1.weight"):
        after_two = first[name] * 2 / 11 + second[name] * 9 / 11
        expected = after_two * 3 / 12 + third[name] * 9 / 12
        torch.testing.assert_close(average[f"module.{name}"], expected, rtol=1e-5, atol=1e-7)
    for name in ("1.running_mean", "1.running_var", "1.num_batches_tracked"):
        assert torch.equal(average[f"module.{name}"], third[name])
    assert average["module.1.num_batches_tracked"] == 3


def test_the_average_reaches_its_decay():
    average, now = [torch.tensor([1.0])], [torch.tensor([0.0])]
    moving_average(0.9)(average, now, torch.tensor(10**6))
    assert average[0].item() == pytest.approx(0.9)
    moving_average(0.0)(average, now, torch.tensor(10**6))
    assert average[0].item() == 0


def test_the_average_of_a_network_that_stands_still_in_closed_form():
    """theta (1 - d^k) + theta0 d^k after k steps at full decay d; buffers are copied."""
    averaged, frozen = network(norm=True, seed=0), network(norm=True, seed=1)
    norm = frozen[1]  # type: ignore[index]
    norm.running_mean.fill_(3.0)
    norm.num_batches_tracked.fill_(7)
    begin = _copy(averaged.state_dict())
    average = AveragedModel(averaged, multi_avg_fn=moving_average(0.999))
    average.n_averaged.fill_(10**5)
    for _ in range(40):
        average.update_parameters(frozen)
    left = 0.999**40
    buffers = dict(frozen.named_buffers())
    for name, theta in frozen.state_dict().items():
        now = average.module.state_dict()[name]
        expected = theta if name in buffers else theta * (1 - left) + begin[name] * left
        torch.testing.assert_close(now, expected, rtol=1e-5, atol=1e-6, msg=name)


def test_validation_uses_the_average_and_is_the_same_every_time(tmp_path):
    """Against the average's own output; the pictures of one step are the same bytes from run to run."""
    look = draw(100, 0, 3)
    chosen = settings(steps=6, validate_every=3)
    grids = []
    for name in ("one", "two"):
        progress = train(Pairs(network(norm=True, dropout=0.5)), draw, chosen, tmp_path / name, validation=[look])
        grids.append({p.name: p.read_bytes() for p in (tmp_path / name / "validation").iterdir()})
    assert sorted(grids[0]) == ["00000003.png", "00000006.png"] and grids[0] == grids[1]
    assert grids[0]["00000003.png"] != grids[0]["00000006.png"]
    net = network(norm=True)
    average = state_of(tmp_path / "one")["average"]
    net.load_state_dict({k.removeprefix("module."): v for k, v in average.items() if k != "n_averaged"})
    batch = look.to(torch.device("cpu"))
    with torch.no_grad():
        error = (net.eval()(batch.pictures["picture"]).clamp(0, 1) - batch.clean).square().flatten(1).mean(1)
    assert progress.validation["psnr"] == pytest.approx(float((-10 * error.log10()).mean()), abs=1e-3)
    seen = [line for line in log_of(tmp_path / "one") if "psnr" in line]
    assert [line["step"] for line in seen] == [3, 6] and seen[-1]["psnr"] == progress.validation["psnr"]


def test_the_gradient_is_clipped(tmp_path):
    """After one step Adam's first moment is (1 - beta1) times the gradient it was given."""
    for clip, largest in ((0.5, 0.5), (0.0, math.inf)):
        folder = tmp_path / str(clip)
        train(Pairs(network(), scale=1e4), draw, settings(steps=1, clip=clip, log_every=1), folder)
        moments = state_of(folder)["optimizers"]["restore"]["state"].values()
        norm = math.sqrt(sum(float(each["exp_avg"].square().sum()) for each in moments)) / (1 - 0.9)
        (entry,) = log_of(folder)
        assert entry["gradient_norm"] > 100
        assert norm == pytest.approx(min(largest, entry["gradient_norm"]), rel=1e-3)


def test_the_learning_rate_rises_and_ends_at_its_end_value():
    chosen = settings(steps=1000, learning_rate=1e-3, final_learning_rate=1e-6, warmup=10)
    assert learning_rate(0.0, 0, chosen) == pytest.approx(1e-4)
    assert learning_rate(0.009, 9, chosen) == pytest.approx(1e-3, rel=1e-3)
    assert learning_rate(0.5, 500, chosen) == pytest.approx((1e-3 + 1e-6) / 2)
    assert learning_rate(1.0, 1000, chosen) == pytest.approx(1e-6)
    assert learning_rate(1.3, 1300, chosen) == pytest.approx(1e-6)
    short = settings(steps=20, learning_rate=1e-3, final_learning_rate=1e-6, warmup=200)
    assert learning_rate(0.05, 1, short) > 0.99e-3, "a short run does not end before its rise"


def test_the_optimizer_takes_the_scheduled_rate_and_the_last_steps_are_logged(tmp_path):
    train(Pairs(network()), draw, settings(steps=7), tmp_path)
    lines = log_of(tmp_path)
    assert [line["step"] for line in lines] == [5, 7] and lines[-1]["done"] == 1
    (group,) = state_of(tmp_path)["optimizers"]["restore"]["param_groups"]
    assert group["lr"] == lines[-1]["learning_rate"] == learning_rate(6 / 7, 6, settings(steps=7))


def test_a_budget_ends_on_a_finished_schedule(tmp_path, monkeypatch):
    """By a clock that goes on by a hundredth of a second whenever it is read."""
    now = iter(range(10**9))
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: next(now) / 100))
    entries: list[dict] = []
    chosen = settings(steps=10**6, budget=2.0, log_every=1, save_every=1e9)
    progress = train(Pairs(network()), draw, chosen, tmp_path, notify=entries.append)
    assert 2.0 <= progress.seconds < 2.05 and 50 < progress.step < 300 and not progress.interrupted
    rates = [entry["learning_rate"] for entry in entries]
    assert max(rates) > 0.98e-2 and rates[-1] < 1e-2 * 1e-3 and rates[-1] == min(rates)
    assert entries[-1]["left_seconds"] == 0 and entries[-1]["done"] > 0.98
    assert entries[len(entries) // 2]["left_seconds"] == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("65m", 3900), ("1.5h", 5400), ("2D", 172800)])
def test_budgets_are_read(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "-2h", "0", "2 weeks", "inf", "nan"])
def test_wrong_budgets_are_refused(text):
    with pytest.raises(ConfigError, match="Write it as 90s, 65m or 2h"):
        seconds_of(text)


def test_the_log_says_how_long_was_waited_for_data(tmp_path, monkeypatch):
    """By a clock that a batch moves on by 3 s, a step by 1 s, and nothing else."""
    clock, entries = SimpleNamespace(now=0.0), []

    def spend(seconds: float) -> None:
        clock.now += seconds

    @contextmanager
    def one_by_one(draw, requests, count: int):
        yield (spend(3.0) or draw(step, first, count) for step, first in requests)

    monkeypatch.setattr(log, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    monkeypatch.setattr(loop, "prefetched", one_by_one)
    objective = Pairs(network(), before=lambda step, batch: spend(1.0))
    train(objective, draw, settings(steps=10, log_every=5), tmp_path, notify=entries.append)
    assert [(entry["seconds_per_step"], entry["data_share"]) for entry in entries] == [(4.0, 0.75)] * 2


def test_tensorboard_files_are_written(tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train(Pairs(network()), draw, settings(steps=10), tmp_path)
    board = events.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    lines = log_of(tmp_path)
    assert [(event.step, event.value) for event in board.Scalars("loss")] == [
        (line["step"], pytest.approx(line["loss"], rel=1e-5)) for line in lines
    ]
    assert lines[0]["twice"] == pytest.approx(2 * lines[0]["loss"], abs=2e-6)


def test_checkpoints_are_written_as_time_goes_by(tmp_path, monkeypatch):
    now = iter(range(10**9))
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: next(now) / 100))
    kept = []
    objective = Pairs(network(), before=lambda step, batch: kept.append(len(checkpoints(tmp_path))))
    train(objective, draw, settings(save_every=0.05), tmp_path)
    assert 2 in kept and max(kept) == 2
    assert [path.name for path in checkpoints(tmp_path)][-1] == "checkpoint_00000020.pt"


def test_resuming_takes_the_settings_of_now(tmp_path):
    train(Pairs(network(), before=stop_at(5)), draw, settings(), tmp_path)
    later = settings(learning_rate=1e-5, weight_decay=0.3, log_every=1)
    train(Pairs(network()), draw, later, tmp_path, resume=True)
    assert log_of(tmp_path)[-1]["learning_rate"] < 1e-5
    (group,) = state_of(tmp_path)["optimizers"]["restore"]["param_groups"]
    assert group["weight_decay"] == 0.3


def test_resuming_another_network_is_refused(tmp_path):
    train(Pairs(network()), draw, settings(steps=1), tmp_path)
    with pytest.raises(ModelError, match=r"of another run \(.*--init-from"):
        train(Pairs(nn.Conv2d(3, 3, 1)), draw, settings(), tmp_path, resume=True)


def test_resuming_nothing_is_refused(tmp_path):
    with pytest.raises(FileError, match=r"no checkpoint to resume from\. Leave out --resume"):
        train(Pairs(network()), draw, settings(), tmp_path, resume=True)


def test_a_finished_run_stays_finished(tmp_path):
    train(Pairs(network()), draw, settings(steps=5), tmp_path)
    before = state_of(tmp_path)
    progress = train(Pairs(network(seed=3)), draw, settings(steps=5), tmp_path, resume=True)
    assert progress.step == 5
    assert_same(state_of(tmp_path)["objective"], before["objective"])
