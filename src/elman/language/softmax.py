"""The cross entropy of a large vocabulary from a part of it.

The softmax's denominator over V tokens is a sum. Its commonest tokens are summed exactly, and a few of the
rest, drawn anew at each step, stand for all of them: every one drawn counts as often as it stands for others.
The token to be predicted is always summed exactly, once.

Source: Y. Bengio and J.-S. Senécal, "Adaptive Importance Sampling to Accelerate Training of a Neural
Probabilistic Language Model" (2008); S. Jean et al., arXiv:1412.2007 (2015), section 3; here with uniform
draws without replacement from all but the commonest tokens, so that the estimated denominator is unbiased.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["sampled_cross_entropy"]


def sampled_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor,
    targets: Tensor,
    common: int,
    drawn: int,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return the estimated sum of cross entropies (nats) of ``targets [N]`` given ``hidden [N, H]``.

    ``weight [V, H]`` and ``bias [V]`` are the head's, tokens ordered by falling frequency; the first
    `common` are summed exactly and `drawn` of the others are drawn, from `generator` or torch's global one.
    With ``common + drawn = V`` it is exact.
    """
    rest = len(weight) - common
    sample = common + torch.randperm(rest, device=hidden.device, generator=generator)[:drawn]
    logits = torch.cat(
        [
            torch.addmm(bias[:common], hidden, weight[:common].T),
            torch.addmm(bias[sample], hidden, weight[sample].T),
            ((weight[targets] * hidden).sum(1) + bias[targets])[:, None],
        ],
        dim=1,
    )
    # Each drawn token stands for rest / drawn tokens; the target, if it is one of the rest, for itself
    # alone, in the last column, so that one token less is left for the others to stand for.
    seldom = targets >= common
    hit = sample[None, :] == targets[:, None]
    with torch.no_grad():
        others = torch.where(seldom, rest - 1, rest)
        standing = (drawn - hit.sum(1)).clamp(min=1)
        correction = torch.zeros_like(logits)
        correction[:, common:-1] = torch.log(others.to(logits) / standing)[:, None]
        correction[:, common:-1].masked_fill_(hit, -math.inf)
        correction[~seldom, -1] = -math.inf
    places = torch.where(seldom, logits.shape[1] - 1, targets)
    return torch.nn.functional.cross_entropy(logits + correction, places, reduction="sum")
