"""The sizes and settings of a training run: from the options, and from rules for what these leave open.

The rules know the budget, the length of the text and the size of its vocabulary, never the clock, so the same
command gives the same network on a slow machine. From these they estimate how often the text will be read.
The more parameters there are for each token, and the more often it is read, the more a network learns its
text by heart; dropout and weight decay follow from that. The constants were fitted to measurements on several
texts, which docs/recipes.md lists.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from elman.cells import find
from elman.language.options import DEFAULT_TIME, LanguageOptions
from elman.training.options import seconds
from elman.training.plan import Schedule, rounded_rate

SMALL_TEXT_STEPS = 500
"""Steps on a text that is too small to hold a part out; they take a few seconds."""
SMALL_TEXT_DROPOUT = 0.3

SAMPLED_TOKENS = 1024
"""Tokens drawn in each step of the sampled softmax, which is used for vocabularies of 8 times that size."""

REFERENCE_FLOPS = 5e11
"""Floating-point operations a second of two cores with AVX512_BF16, as of all times here: they only scale
the estimates."""
TOKEN_SECONDS = 2e-6
"""Time that a token takes whatever the size of the network."""
LOGIT_SECONDS = 7e-9
"""Time that the softmax and its gradient take for each token and output."""
UPDATE_SECONDS = 1.2e-9
"""Time that a step takes for each parameter, embeddings included, to set and apply its gradient."""
MAX_EPOCHS = 30.0
"""Passes over a text after which a budget of time ends early: more of them only made networks worse."""
MIN_STEPS = 1500
"""Steps that a budget of time may take on a short text, however many epochs they are."""
TWO_LAYER_EPOCHS = 15
"""Passes over the text that the budget must allow a network of two layers, or else one layer is better."""
EMBEDDING_SHARE = 1 / 4
"""Share of the embeddings that counts as parameters, because few steps change a rare word's."""
LONG_AVERAGE = 0.9999
"""With this decay, an average is over the last tenth of the steps so far."""
MIN_BFLOAT16_SIZE = 128
"""Products of smaller layers are not faster in bfloat16."""
MIN_RATE, MAX_RATE = 2e-3, 1.5e-2
"""Limits of the learning rate."""
MIN_TIED_SIZE = 128
"""From this size on, tied embeddings are better for small vocabularies too (docs/recipes.md)."""


@dataclass(frozen=True)
class _Scale:
    """The constants of a level, at `budget` seconds of time and `epochs` passes over the text."""

    hidden_size: int
    budget: float
    largest: float
    """Limit of the hidden size as a multiple of the square root of the number of tokens."""
    two_layers_from: float
    """Budget (seconds) from which there may be a second layer."""
    learning_rate: float
    epochs: float
    dropout_growth: float
    """Factor of overfitting by which the dropout rises from 0.2 to 0.5."""
    small_batches: tuple[int, int]
    """Batch sizes of texts of fewer than 20,000 and 200,000 tokens, which need more steps in an epoch."""

    def batch_size(self, tokens: int) -> int:
        smallest, small = self.small_batches
        return smallest if tokens < 20_000 else small if tokens < 200_000 else 32


_SCALES = {
    "char": _Scale(512, 180.0, 0.77, 1200.0, 1.05e-2, 6.0, 5.7, (8, 16)),
    "word": _Scale(256, 600.0, 0.3, 1200.0, 6e-3, 7.0, 340.0, (16, 32)),
}


@dataclass(frozen=True, kw_only=True)
class Plan(Schedule):
    """The sizes and settings of a language model's training run."""

    hidden_size: int
    num_layers: int
    embedding_size: int
    tied: bool
    dropout: float
    sequence_length: int
    sampled_softmax: int


def default_hidden_size(level: str, tokens: int, budget: float) -> int:
    """Return a hidden size that grows with the budget (seconds), up to a limit that grows with the text.

    >>> [default_hidden_size("char", 1_000_000, time) for time in (10, 180, 900)]
    [256, 512, 768]
    """
    scale = _SCALES[level]
    # A network of twice the size has four times the products, and reads half as many tokens twice as well.
    affordable = scale.hidden_size * math.pow(budget / scale.budget, 0.25)
    size = min(affordable, scale.largest * math.sqrt(tokens))
    return max(64, 64 * int(size / 64 + 0.5))


def token_seconds(
    recurrent: int, embeddings: int, hidden_size: int, outputs: int, step_tokens: float
) -> float:
    """Return the estimated time (seconds) that training takes for each token.

    Args:
        recurrent: The number of weights of the recurrent layers.
        embeddings: The number of weights of the embeddings.
        hidden_size: The number of inputs of the output layer.
        outputs: The number of outputs that a step computes.
        step_tokens: The number of tokens in a step.
    """
    # forward, backward and the weights' gradient: 2 operations for each weight and product
    products = 6 * (recurrent + hidden_size * outputs) / REFERENCE_FLOPS
    update = UPDATE_SECONDS * (recurrent + embeddings) / step_tokens
    return TOKEN_SECONDS + products + LOGIT_SECONDS * outputs + update


def overfitting(parameters: float, tokens: int, epochs: float) -> float:
    """Return how much a network can learn its text by heart: parameters for each token, times epochs."""
    return parameters / max(1, tokens) * epochs


def default_dropout(overfit: float, growth: float) -> float:
    """Return the share that dropout sets to zero, from the results of `overfitting` and a level's growth.

    >>> [default_dropout(overfit, 5.7) for overfit in (0.2, 3.0, 10.0, 60.0, 300.0)]
    [0.0, 0.0, 0.2, 0.5, 0.5]
    """
    # A straight line in the logarithm, through measured texts (docs/recipes.md).
    share = 0.2 + 0.3 * math.log(max(overfit, 1e-9) / 10) / math.log(growth)
    return min(0.5, max(0.0, round(share, 1)))


def resolve(
    options: LanguageOptions,
    tokens: int,
    vocabulary_size: int,
    *,
    documents: int = 1,
    small: bool = False,
    bfloat16: bool = False,
) -> Plan:
    """Return the sizes and settings of a training run.

    Args:
        options: The options of the user.
        tokens: The number of tokens in the training set.
        vocabulary_size: The number of tokens in the vocabulary.
        documents: The number of documents in the training set.
        small: Whether the text is too small to hold a part out. The network soon knows such a text by heart,
            so without another limit it is trained for `SMALL_TEXT_STEPS`.
        bfloat16: Whether the processor multiplies bfloat16 numbers.

    >>> resolve(LanguageOptions(level="char", time="3m", num_layers=2), 1_000_000, 65).num_layers
    2
    """
    level = options.level or "word"
    scale = _SCALES[level]
    # With a limit in steps or epochs only, use the sizes for the default time.
    budget = seconds(DEFAULT_TIME if options.time is None else options.time)
    hidden_size = options.hidden_size or default_hidden_size(level, tokens, budget)
    embedding_size = options.embedding_size or hidden_size
    gates = find(options.cell, options.activation).G
    batch_size = options.batch_size or scale.batch_size(tokens)
    sequence_length = options.sequence_length or (
        32 if level == "word" else 64 if budget <= 400 else 128
    )
    # mean number of steps that a document fills in its lane of a chunk
    length = min(sequence_length, tokens / max(1, documents))
    if options.batch_size is None and level == "char":
        # More short lines are read side by side, so that a step has enough tokens.
        batch_size *= min(4, max(1, int(sequence_length / (2 * length))))
    most_epochs = max(MAX_EPOCHS, MIN_STEPS * batch_size * length / max(1, tokens))
    sampled_softmax = SAMPLED_TOKENS * (vocabulary_size >= 8 * SAMPLED_TOKENS)
    if options.sampled_softmax is not None:
        sampled_softmax = options.sampled_softmax
    outputs = min(vocabulary_size, 2 * sampled_softmax or vocabulary_size)
    embeddings = vocabulary_size * embedding_size

    def recurrent(layers: int) -> int:
        return gates * hidden_size * (embedding_size + (2 * layers - 1) * hidden_size)

    def affordable(layers: int) -> float:
        needed = token_seconds(
            recurrent(layers), embeddings, hidden_size, outputs, batch_size * length
        )
        return budget / needed / max(1, tokens)

    second = budget > scale.two_layers_from and affordable(2) >= TWO_LAYER_EPOCHS and not small
    num_layers = options.num_layers or (2 if second else 1)
    if options.epochs is not None:
        epochs = options.epochs
    elif options.steps is not None:
        epochs = options.steps * batch_size * length / max(1, tokens)
    else:
        epochs = min(most_epochs, affordable(num_layers))
    parameters = recurrent(num_layers) + EMBEDDING_SHARE * embeddings
    dropout = default_dropout(overfitting(parameters, tokens, epochs), scale.dropout_growth)
    if small:
        dropout = SMALL_TEXT_DROPOUT
    rate = scale.learning_rate * (scale.epochs / max(epochs, 1e-9)) ** 0.15
    rate *= math.sqrt(scale.hidden_size / (hidden_size * num_layers))
    plan = Plan.of(
        options,
        batch_size=batch_size,
        learning_rate=rounded_rate(min(MAX_RATE, max(MIN_RATE, rate))),
        weight_decay=0.05 if dropout else 0.01,
        precision="bf16" if bfloat16 and hidden_size >= MIN_BFLOAT16_SIZE else "float32",
        time=None if small else budget,
        steps=SMALL_TEXT_STEPS if small else None,
        # A network that overfits is best before the rate has fallen, where the average is better than its
        # last weights; elsewhere the two are equal.
        average=LONG_AVERAGE if dropout >= 0.3 and not small else 0.0,
        hidden_size=hidden_size,
        num_layers=num_layers,
        embedding_size=hidden_size,
        # Most parameters of a large vocabulary are embeddings. A small network of few tokens learns faster
        # with output weights of its own, which need not be as small as embeddings are at first.
        tied=embedding_size == hidden_size
        and (vocabulary_size > hidden_size or hidden_size >= MIN_TIED_SIZE),
        dropout=dropout,
        sequence_length=sequence_length,
        sampled_softmax=sampled_softmax,
    )
    # The limit in epochs is always there, whatever the estimate says, so that a fast machine stops there too.
    return plan if small or plan.time is None else replace(plan, epochs=most_epochs)
