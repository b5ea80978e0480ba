"""Cross entropy of a softmax over many tokens, estimated from a sample of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from elman.nn.functional import linear_cross_entropy


def sampled_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor,
    targets: Tensor,
    common: int,
    drawn: int,
    generator: torch.Generator | None = None,
    precision: str = "float32",
) -> Tensor:
    """Return an estimate of the summed cross entropy (nats), which is exact if ``common + drawn = V``.

    The denominator of a softmax is a sum over V tokens. The commonest tokens and all tokens that are a target
    of the batch are summed exactly. Of all others, drawn tokens are counted several times, to represent those
    that are not drawn. All rows share these tokens, so that the product with their weights is one dense
    product.

    Source: Y. Bengio and J.-S. Senécal, "Adaptive Importance Sampling to Accelerate Training of a Neural
    Probabilistic Language Model" (2008); S. Jean et al., arXiv:1412.2007 (2015), section 3, which shares the
    tokens of a batch too; here with uniform draws without replacement from all tokens that are not summed
    exactly, which leaves the denominator unbiased.

    Args:
        hidden: ``[N, H]``: the inputs of the head.
        weight: ``[V, H]``: the weights of the head, tokens by falling frequency.
        bias: ``[V]``.
        targets: ``[N]``, the tokens to predict.
        common: The number of first tokens that are summed exactly.
        drawn: The number of other tokens that are drawn.
        generator: The source of random numbers (default: torch's global one).
        precision: "float32", or "bf16" for a product in bfloat16.
    """
    vocabulary_size, device = len(weight), hidden.device
    exact = torch.arange(vocabulary_size, device=device) < common
    exact[targets] = True
    order = torch.randperm(vocabulary_size - common, device=device, generator=generator) + common
    others = order[~exact[order]]
    classes = torch.cat([exact.nonzero()[:, 0], others[:drawn]])
    # Each drawn token represents as many tokens as there are others for each draw.
    share = len(others) / max(1, min(drawn, len(others)))
    correction = bias.new_zeros(len(classes))
    correction[len(classes) - len(others[:drawn]) :] = math.log(max(1.0, share))
    # the position of each target among the classes
    column = torch.empty_like(exact, dtype=torch.long)
    column[classes] = torch.arange(len(classes), device=device)
    class_weight = torch.nn.functional.embedding(classes, weight)
    class_bias = bias[classes] + correction
    if precision == "bf16":
        product = hidden.bfloat16() @ class_weight.bfloat16().T
        logits = product.to(hidden.dtype) + class_bias
        return torch.nn.functional.cross_entropy(logits, column[targets], reduction="sum")
    return linear_cross_entropy(hidden, class_weight, class_bias, column[targets], reduction="sum")
