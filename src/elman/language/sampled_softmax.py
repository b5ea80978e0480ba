"""Sampled softmax: an estimate of the cross entropy of a large vocabulary from some of its tokens.

The denominator of a softmax is a sum over V tokens. The commonest tokens are summed exactly. From all other
tokens a sample is drawn at each step, in which each token is counted several times, to represent the tokens
that were not drawn. The target token is always summed exactly once.

Source: Y. Bengio and J.-S. Senécal, "Adaptive Importance Sampling to Accelerate Training of a Neural
Probabilistic Language Model" (2008); S. Jean et al., arXiv:1412.2007 (2015), section 3; here with uniform
draws without replacement from all but the commonest tokens, so that the estimated denominator is unbiased.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sampled_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor,
    targets: Tensor,
    common: int,
    drawn: int,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return an estimate of the summed cross entropy (nats), which is exact if ``common + drawn = V``.

    Args:
        hidden: ``[N, H]``: the inputs of the head.
        weight: ``[V, H]``: the weights of the head, tokens by falling frequency.
        bias: ``[V]``.
        targets: ``[N]``: the tokens to predict.
        common: The number of first tokens that are summed exactly.
        drawn: The number of other tokens that are drawn.
        generator: The source of random numbers (default: torch's global one).
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
    # Each drawn token represents rest / drawn tokens. A rare target has a column of its own, the last
    # one, so it is taken out of the sample, and the sample represents one token less.
    rare = targets >= common
    hit = sample[None, :] == targets[:, None]
    with torch.no_grad():
        others = torch.where(rare, rest - 1, rest)
        sample_size = (drawn - hit.sum(1)).clamp(min=1)
        correction = torch.zeros_like(logits)
        correction[:, common:-1] = torch.log(others.to(logits) / sample_size)[:, None]
        correction[:, common:-1].masked_fill_(hit, -math.inf)
        correction[~rare, -1] = -math.inf
    columns = torch.where(rare, logits.shape[1] - 1, targets)
    return torch.nn.functional.cross_entropy(logits + correction, columns, reduction="sum")
