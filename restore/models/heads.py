"""Several answers to one picture: how heads lie in a tensor, and the candidates that are made of them.

A network of H heads gives them head-major along the channels, B x (H C) x H x W: the first C channels are head 0.
Pairs of heads are candidates too, without a parameter (Liu et al., "Multi-Outputs Is All You Need For Deblur", 2022,
https://arxiv.org/abs/2208.13029): candidate (i, j) = (head i + head j) / 2 for all j <= i, in the order

    (0,0) (1,0) (1,1) (2,0) (2,1) (2,2) (3,0) …                 H (H + 1) / 2 in all, each head in H of them
"""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor


def split_heads(y: Tensor, heads: int) -> Tensor:
    """B x (heads C) x H x W -> B x heads x C x H x W. Raises `ValueError` if the channels do not divide."""
    if heads < 1 or y.shape[1] % heads:
        raise ValueError(f"{y.shape[1]} channels are not those of {heads} heads")
    return y.unflatten(1, (heads, -1))


def pairs_of_heads(heads: int) -> list[tuple[int, int]]:
    """(i, j) of each candidate, in their order."""
    return [(i, j) for i in range(heads) for j in range(i + 1)]


def candidates(heads: Tensor) -> Tensor:
    """B x H x ... -> B x H (H + 1) / 2 x ...: means of all unordered pairs, a head with itself among them.

    Their mean is the heads' mean. A candidate (i, i) equals head i exactly.
    """
    pairs = torch.tensor(pairs_of_heads(heads.shape[1]), device=heads.device)
    return (heads[:, pairs[:, 0]] + heads[:, pairs[:, 1]]) / 2


def win_shares(winners: Tensor, heads: int, pairs: bool = True) -> Tensor:
    """Numbers of the candidates that won, B -> the share of each head, H, which sum to 1: a pair counts half for each.

    Args:
        pairs: the candidates are those of `candidates`; else the heads.
    """
    members = torch.tensor(pairs_of_heads(heads) if pairs else [(h, h) for h in range(heads)], device=winners.device)
    return (members[winners][..., None] == torch.arange(heads, device=winners.device)).float().mean((0, 1))


def pairwise_distance(pictures: Tensor) -> Tensor:
    """Root mean square difference of two of K pictures, all pairs taken together: B x K x ... -> B; 0 for K = 1.

    Of independent noise of std s it is s sqrt(2).
    """
    pairs = list(combinations(range(pictures.shape[1]), 2))
    if not pairs:
        return pictures.new_zeros(len(pictures))
    squares = [(pictures[:, i] - pictures[:, j]).square().flatten(1).mean(1) for i, j in pairs]
    return torch.stack(squares).mean(0).sqrt()
