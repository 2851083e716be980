"""Run by torchrun, and in the test's own process: trains tiny objectives in `folder`, one after the other.

torchrun --nproc_per_node 2 -m tests.training.two_processes FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path
from unittest.mock import patch

import torch

from restore.errors import ModelError
from restore.training.loop import train
from tests.objectives.test_adversarial import gan
from tests.training.tiny import Pairs, draw, network, settings


def main(folder: Path, rank: int) -> None:
    chosen = settings(batch=8, steps=6, log_every=3, validate_every=3)
    train(Pairs(network()), draw, chosen, folder / "plain", validation=[draw(99, 0, 2)])
    parts = settings(batch=8, steps=6, log_every=3, accumulate=2)
    train(Pairs(network()), draw, parts, folder / "accumulated")
    objective = gan(r1=1.0, r1_every=2, adversarial_weight=0.1, jitter=1)
    gradients: list[torch.Tensor] = []
    clip = torch.nn.utils.clip_grad_norm_

    def watched(parameters: list[torch.nn.Parameter], largest: float) -> torch.Tensor:
        gradients.extend(each.grad.clone() for each in parameters)
        return clip(parameters, largest)

    with patch("torch.nn.utils.clip_grad_norm_", watched):
        train(objective, draw, chosen, folder / "gan")
    torch.save({"state": objective.state_dict(), "gradients": gradients}, folder / f"gan{rank}.pt")
    train(Pairs(network(dropout=0.5)), draw, settings(batch=8, steps=3), folder / "half")
    seeds: list[int] = []
    half = Pairs(network(dropout=0.5, seed=rank), before=lambda step, batch: seeds.append(torch.initial_seed()))
    train(half, draw, settings(batch=8, steps=6), folder / "half", resume=True)
    torch.save({"state": half.state_dict(), "seeds": seeds}, folder / f"half{rank}.pt")
    try:
        bad = Pairs(network(), nan_at=frozenset(range(6)))
        train(bad, draw, settings(batch=8, bad_steps=2), folder / "bad")
    except ModelError as error:
        (folder / f"bad{rank}.txt").write_text(str(error))


if __name__ == "__main__":
    import os

    torch.set_num_threads(1)
    main(Path(sys.argv[1]), int(os.environ["RANK"]))
    torch.distributed.destroy_process_group()
