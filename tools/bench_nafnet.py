"""CPU seconds per megapixel of the deblurring networks: the shipped compact one, NAFNet-32, and NAFNet-32 of spandrel.

    pip install spandrel
    python tools/bench_nafnet.py --side 512

One thread, float32, eager, turns interleaved; process time, the least of --turns. Both NAFNets have the same random
weights, global pooling (spandrel has no local one), and must agree to 1e-4; ours is timed with local pooling too.
"""

from __future__ import annotations

import os

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import argparse
import math
import time

import torch
from spandrel.architectures.NAFNet import NAFNet as PeerNAFNet
from torch import nn

from restore.models.nafnet import NAFNet
from restore.report.table import markdown
from restore.zoo.loading import load

ENCODER, DECODER = [1, 1, 1, 28], [1, 1, 1, 1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    shape = {"width": 32, "encoder_blocks": ENCODER, "middle_blocks": 1, "decoder_blocks": DECODER}
    ours = NAFNet(**shape, local_side=0).eval()
    for name, parameter in ours.named_parameters():
        if name.endswith(("beta", "gamma")):  # zero at first, where the blocks are
            nn.init.normal_(parameter, std=0.2)
    peer = PeerNAFNet(width=32, enc_blk_nums=ENCODER, middle_blk_num=1, dec_blk_nums=DECODER).eval()
    peer.load_state_dict(ours.state_dict())
    local = NAFNet(**shape).eval()
    local.load_state_dict(ours.state_dict())
    nets: dict[str, nn.Module] = {
        "deblur (shipped, four heads)": load("deblur", "deblur").net.float().eval(),
        "NAFNet-32": ours, "NAFNet-32, local pooling": local, "NAFNet-32, spandrel": peer,
    }  # fmt: skip
    x = torch.rand(1, 3, args.side, args.side)
    least = dict.fromkeys(nets, math.inf)
    with torch.inference_mode():
        off = float((ours(x) - peer(x)).abs().max())
        for _ in range(args.turns):
            for name, net in nets.items():
                began = time.process_time()
                net(x)
                least[name] = min(least[name], time.process_time() - began)
    if off > 1e-4:
        raise SystemExit(f"the two NAFNets differ by {off}")
    size = {name: sum(p.numel() for p in net.parameters()) for name, net in nets.items()}
    per_megapixel = {name: seconds * 1e6 / args.side**2 for name, seconds in least.items()}
    print(f"{args.side} x {args.side} px; NAFNets agree to {off:.1e}\n")
    table = [[name, f"{size[name]:,}", f"{per_megapixel[name]:.1f}"] for name in nets]
    print(markdown(["network", "parameters", "CPU s/MP"], table))


if __name__ == "__main__":
    main()
