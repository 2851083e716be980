"""CPU time of SSIM and MS-SSIM, forward and backward, beside pytorch-msssim in the same run.

    python tools/bench_losses.py [--batch 4] [--side 256] [--rounds 8]

One thread; the four take turns, so that a busy machine is busy for all of them. The figure is the median CPU time of
a round.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytorch_msssim
import torch
from torch import Tensor

from restore.losses.ssim import ms_ssim_loss, ssim_loss

LOSSES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "ssim": (ssim_loss, lambda x, y: 1 - pytorch_msssim.ssim(x, y, data_range=1.0)),
    "ms_ssim": (ms_ssim_loss, lambda x, y: 1 - pytorch_msssim.ms_ssim(x, y, data_range=1.0)),
}


def milliseconds(loss: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor) -> float:
    x = x.clone().requires_grad_()
    start = time.process_time()
    loss(x, y).backward()
    return (time.process_time() - start) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=8)
    options = parser.parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    y = torch.rand((options.batch, 3, options.side, options.side), generator=generator)
    x = (y + 0.1 * torch.randn(y.shape, generator=generator)).clamp(0, 1)
    times: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in LOSSES}
    for turn in range(options.rounds + 2):
        for name, pair in LOSSES.items():
            for loss, kept in zip(pair, times[name], strict=True):
                spent = milliseconds(loss, x, y)
                if turn >= 2:
                    kept.append(spent)
    print(f"{options.batch} x 3 x {options.side} x {options.side}, float32, 1 thread, torch {torch.__version__}")
    print(f"{'':8} {'restore':>8} {'pytorch-msssim':>15}  CPU ms, forward and backward")
    for name, (ours, theirs) in times.items():
        mine, other = statistics.median(ours), statistics.median(theirs)
        apart = (LOSSES[name][0](x, y) - LOSSES[name][1](x, y)).abs().item()
        print(f"{name:8} {mine:8.1f} {other:15.1f}  x {mine / other:.2f}, values {apart:.0e} apart")


if __name__ == "__main__":
    main()
