"""Two processes on the CPU (gloo) do what one does with the same global batch."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from restore.training.loop import train
from tests.cli.conftest import environment
from tests.training import two_processes
from tests.training.test_loop import assert_same, log_of, state_of
from tests.training.tiny import Pairs, draw, network, settings

pytest.importorskip("accelerate")


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[Path, Path]:
    """(what one process left behind, what two did)."""
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    words = ["--standalone", "--nproc_per_node", "2", "-m", "tests.training.two_processes", str(two)]
    ran = subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", *words], env=environment(CUDA_VISIBLE_DEVICES=""),
        cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    two_processes.main(one, 0)
    said, _ = ran.communicate(timeout=120)
    assert ran.returncode == 0, said
    (two / "said.txt").write_text(said)
    return one, two


@pytest.mark.parametrize("name", ["plain", "accumulated", "gan"])
def test_the_result_is_that_of_one_process(folders, name):
    one, two = (state_of(folder / name) for folder in folders)
    for key in ("objective", "average"):
        for entry, value in one[key].items():
            torch.testing.assert_close(two[key][entry], value, rtol=2e-3, atol=2e-4, msg=f"{key}.{entry}")
    moved = state_of(folders[0] / name)["objective"]["network.0.weight"] - two_processes.network()[0].weight
    assert moved.abs().max() > 0.01, "or they agree because nothing was learned"


@pytest.mark.parametrize("name", ["plain", "accumulated", "gan"])
def test_the_log_is_of_all_processes(folders, name):
    one, two = (log_of(folder / name) for folder in folders)
    assert [line.keys() for line in one] == [line.keys() for line in two] and len(one) >= 2
    for left, right in zip(one, two, strict=True):
        assert right == pytest.approx(left, rel=5e-3, abs=1e-3)


def test_both_processes_of_a_gan_hold_the_same_and_saw_the_same_gradients(folders):
    first, second = (torch.load(folders[1] / f"gan{rank}.pt", weights_only=True) for rank in (0, 1))
    assert_same(first, second)
    assert len(first["gradients"]) == 6 * len(list(two_processes.gan().parameters()))


def test_the_gradients_of_a_gan_are_those_of_one_process(folders):
    """Of both phases of the first step, with the penalty, before rounding has moved the weights apart."""
    one, two = (torch.load(folder / "gan0.pt", weights_only=True)["gradients"] for folder in folders)
    count = len(list(two_processes.gan().parameters()))
    assert len(one) == len(two) == 6 * count
    assert all(gradient.abs().max() > 0 for gradient in one[:count])
    for ours, theirs in zip(one[:count], two[:count], strict=True):
        torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-6)


def test_dropout_differs_between_processes_that_stay_equal_after_a_resume(folders):
    """Each process resumes from one checkpoint, whatever it was built with."""
    first, second = (torch.load(folders[1] / f"half{rank}.pt", weights_only=True) for rank in (0, 1))
    assert_same(first["state"], second["state"])
    assert len(first["seeds"]) == 3 and not set(first["seeds"]) & set(second["seeds"])


def test_an_objective_of_one_phase_is_not_searched_for_unused_parameters(folders):
    """Which torch would warn of."""
    assert "find_unused_parameters" not in (folders[1] / "said.txt").read_text()


def test_all_processes_stop_at_bad_steps_and_keep_their_part_of_the_batch(folders):
    for rank, name in enumerate(("bad_batch.pt", "bad_batch_1.pt")):
        assert "2 steps in a row" in (folders[1] / f"bad{rank}.txt").read_text()
        (batch,) = torch.load(folders[1] / "bad" / name, weights_only=True)
        assert (batch["step"], batch["first_index"], len(batch["pictures"]["clean"])) == (1, 4 * rank, 4)


def test_one_process_goes_on_with_what_two_began(folders, tmp_path):
    """As it goes on with what it began itself."""
    ends = []
    for name, folder in zip(("one", "two"), folders, strict=True):
        shutil.copytree(folder / "plain", tmp_path / name)
        train(Pairs(network()), draw, settings(batch=8, steps=9), tmp_path / name, resume=True)
        ends.append(state_of(tmp_path / name))
    assert ends[0]["progress"]["step"] == ends[1]["progress"]["step"] == 9
    for entry, value in ends[0]["objective"].items():
        torch.testing.assert_close(ends[1]["objective"][entry], value, rtol=2e-3, atol=2e-4, msg=entry)
