"""Explanations of a language model's prediction: an attribution for each token of the text before it.

There are four methods:

- *Replacement* measures how far the prediction falls if a token is replaced by others that the model expects
  in its place. It is the default, because it finds the deciding word in texts where that word is known.
- *Decomposition* goes backwards through the network with its gates frozen at their values. It is exact for
  the linear rnn, and for mingru given its gates.
- *Integrated gradients* follow the gradient from a text of zeros to the text (Sundararajan et al., "Axiomatic
  Attribution for Deep Networks", 2017).
- *Leave-one-out* reads the text again without each token, from the state before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from elman.engine.shapes import whole_number
from elman.errors import InputError, OptionError, printable
from elman.explain.explanation import (
    ADDITIVE,
    DECOMPOSITION,
    LEFT_OUT,
    REPLACEMENT,
    Explanation,
    unknown_words_note,
)
from elman.explain.gradients import MAX_NUMBERS_AT_ONCE, ScoreFunction, held_note, integrated
from elman.explain.question import Question, Shares
from elman.language.context import Context
from elman.language.differentiable import DifferentiableNetwork
from elman.language.network import Network
from elman.language.replacement import groups_of, replacement_effects
from elman.language.sampling import Predictions, ranked
from elman.language.stream import Readable
from elman.text.vocabulary import END, TextCodec
from elman.text.words import UNKNOWN, UNKNOWN_ID

if TYPE_CHECKING:
    from elman.language.predictor import LanguagePredictor


_LEFT_OUT_NOTE = (
    "A text without one of its words may be unlike all texts in training; replacement avoids this."
)


class Terms(NamedTuple):
    """The terms that sum to the logits of K targets."""

    contributions: np.ndarray
    """float64 ``[K, N]``: the terms of the N tokens."""
    start_state: np.ndarray
    """float64 ``[K]``: the term of the state before the first token."""
    bias: np.ndarray
    """float64 ``[K]``: the term of all biases."""


def explain_language(
    predictor: LanguagePredictor,
    text: Readable,
    target: str | None = None,
    *,
    method: str | None = None,
    unknown: bool = False,
    quick: bool = False,
) -> Explanation:
    """Explain the probability of `target` after `text`.

    Args:
        predictor: A language model, as `elman.load` returns it.
        text: The text, or the numbers of its tokens.
        target: A token of the vocabulary (default: the most probable next token).
        method: One of `METHODS`. "replacement", the default, and "leave-one-out" explain the log probability
            of the target; "decomposition" and "integrated gradients" explain its logit.
        unknown: The older spelling of ``method="replacement"``.
        quick: Whether to return a first answer from fewer replacements, without its self-test.

    Returns:
        The explanation, with an attribution for each of the last 256 tokens.

    Raises:
        InputError: The text cannot be read, or the states overflow.
        OptionError: The vocabulary lacks the target, or there is no such method.
    """
    network = predictor.network
    if unknown and method not in (None, REPLACEMENT):
        raise OptionError("method", got=method, expected=REPLACEMENT)
    context = Context.of(predictor, text)
    number = _target_number(network, context, target)
    return _TokenQuestion(network, context, number).answer(method, quick=quick)


class _TokenQuestion(Question):
    """The question why a token has its log probability, or its logit, after a text."""

    task = "language"
    min_change = 0.01  # nats, about one per cent of the probability

    def __init__(self, network: Network, context: Context, number: int) -> None:
        self.network, self.context, self.number = network, context, number
        self.target, self.inputs = network.model.codec.tokens[number], context.tokens
        self.groups = groups_of(network.model.codec, context.tokens)
        self.exact = network.cell.exact
        self._draws = 0

    def scored(self, method: str) -> tuple[str, float]:
        """Return the target's logit for an additive method, else its log probability."""
        output = _output(self.network, self.context)
        if method in ADDITIVE:
            weight, bias = DifferentiableNetwork(self.network).head([self.number])
            return "logit", float(output.astype(np.float64) @ weight[0] + bias[0])
        return "log probability", float(self._log_probabilities(output[None])[0])

    def _log_probabilities(self, outputs: np.ndarray) -> np.ndarray:
        return self.network.target_log_probabilities(outputs, np.full(len(outputs), self.number))

    def replaced(self, sample: int, *, quick: bool) -> np.ndarray:
        """Return how far the log probability falls if each token is replaced."""
        effects, steps, self._draws = replacement_effects(
            self.network, self.context, self.number, self.groups, sample=sample, quick=quick
        )
        self.steps += steps
        return effects

    def left_out(self) -> np.ndarray:
        """Return how far the log probability falls without each token.

        The N texts without a token, and the text itself, are read side by side, each from the state before
        its missing token.
        """
        N, network = len(self.inputs), self.network
        states = np.repeat(self.context.start[None], N + 1, axis=0)
        for i, token in enumerate(self.context.numbers.tolist()):
            states[i] = states[N]
            lanes = [*range(i), N]  # lane i leaves out this token
            _, states[lanes] = network.forward(np.full((1, i + 1), token), states[lanes])
            self.steps += i
        scores = self._log_probabilities(network.output(states)).astype(np.float64)
        return np.asarray(scores[N] - scores[:N])

    def shares(self, method: str) -> Shares:
        """Return the terms of the logit."""
        terms_of = _decomposed if method == DECOMPOSITION else _integrated
        terms = terms_of(self.network, self.context, [self.number])
        return terms.contributions[0], float(terms.start_state[0]), float(terms.bias[0])

    def note(self, method: str) -> str:
        """Return notes on unknown tokens, on earlier tokens, and on the assumptions of the method."""
        notes = [_context_note(self.context)]
        if method == DECOMPOSITION and self.inputs:
            notes.append(held_note(self.network.cell))
        if method == LEFT_OUT and len(self.inputs) > 1:
            notes.append(_LEFT_OUT_NOTE)
        if method == REPLACEMENT and self._draws:
            unit = "character, with the rest of its word," if self.groups else "word"
            notes.append(
                f"Each {unit} was replaced by up to {self._draws} others that the model expected there; "
                "where it expected no other, the number is 0."
            )
        return " ".join(filter(None, notes))


def decompose(predictor: LanguagePredictor, text: Readable, targets: Sequence[str]) -> Terms:
    """Return the terms that sum to the logit of each of `targets` after `text`.

    They are exact for the linear rnn and, given its gates, for mingru; for other cells, gates and slopes are
    frozen at their values. Raises InputError, OptionError.
    """
    network, context = predictor.network, Context.of(predictor, text)
    numbers = [_target_number(network, context, target) for target in targets]
    return _decomposed(network, context, numbers)


def replace(
    predictor: LanguagePredictor, text: Readable, position: int, word: str, k: int = 5
) -> Predictions:
    """Return the `k` most probable tokens after `text` with another word at one position.

    Args:
        predictor: A language model, as `elman.load` returns it.
        text: The text, or the numbers of its tokens.
        position: The index of the replaced token among the explanation's inputs, from 0.
        word: The new token.
        k: The number of predictions.

    Raises:
        InputError: The text has no token.
        OptionError: `position` is out of range, or the vocabulary lacks `word`.
    """
    network, context = predictor.network, Context.of(predictor, text)
    if not len(context.numbers):
        raise InputError("text", got="no word", expected="a text with a word to replace")
    position = whole_number("position", position, 0, len(context.numbers) - 1)
    k = whole_number("k", k, 1)
    numbers = context.numbers.copy()
    before = context._replace(tokens=context.tokens[:position], numbers=numbers[:position])
    numbers[position] = _target_number(network, before, word, "word")
    if numbers[position] == network.model.codec.end_id:
        raise OptionError("word", got="a line end", expected="a token within the line")
    output = _output(network, context._replace(numbers=numbers))
    return ranked(network.model.codec, network.log_probabilities(output), k)


def _context_note(context: Context) -> str:
    pairs = zip(context.tokens, context.numbers.tolist(), strict=True)
    notes = [unknown_words_note(token for token, number in pairs if number == UNKNOWN_ID)]
    if context.ignored:
        notes.append("Each line is read by itself: the lines before the last one do not count.")
    if context.before:
        notes.append(f"The {context.before:,} tokens before these are in the start state.")
    return " ".join(filter(None, notes))


def _output(network: Network, context: Context) -> np.ndarray:
    """Return the output ``[H]`` after the text."""
    if not len(context.numbers):
        return network.output(context.start)
    y, _ = network.forward(context.numbers[:, None], context.start[None])
    return np.asarray(y[-1, 0])


def _target_number(
    network: Network, context: Context, token: str | None, name: str = "target"
) -> int:
    """Return the number of `token`, or of the most probable token for None; raises OptionError."""
    codec: TextCodec = network.model.codec
    if token is not None:
        if token == END and codec.end_id is not None:
            return codec.end_id
        number = int(codec.numbers([token])[0])
        if number != UNKNOWN_ID or token == UNKNOWN:
            return number
    likely = ranked(codec, network.log_probabilities(_output(network, context)), 5)
    if token is None:
        return _target_number(network, context, likely[0][0])
    raise OptionError(
        name,
        got=token,
        expected="one token of the vocabulary",
        remedy="the most probable ones here: "
        + ", ".join(printable(likely_token, 24) for likely_token, _ in likely),
    )


def _run(
    network: Network, context: Context, targets: Sequence[int], dtype: npt.DTypeLike | None = None
) -> ScoreFunction:
    """Return a function that runs rows to logits and back.

    Row b gives the logit of target b; with a single target, every row gives its logit.
    """
    parts = DifferentiableNetwork(network, dtype)
    weight, bias = parts.head(targets)
    last_output = np.zeros(network.hidden_size)  # no layer reads it, so its gradient is 0

    def run(rows: np.ndarray, frozen: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        x, start = _split_rows(network, rows[..., 0])
        x = x.reshape(len(rows), len(context.numbers), -1).swapaxes(0, 1)
        passage = parts.passage(x, start)
        dy = np.zeros(passage.y.shape, passage.y.dtype)
        dy[-1] = weight
        back = passage.back(dy, frozen=frozen)
        scores = np.einsum("bh,bh->b", passage.y[-1], dy[-1], dtype=np.float64) + bias
        gradients = (
            back.dx.swapaxes(0, 1).reshape(len(rows), -1),
            np.stack(back.dstart).transpose(3, 0, 1, 2, 4).reshape(len(rows), -1),
            np.broadcast_to(last_output, (len(rows), len(last_output))),
        )
        return scores, np.concatenate(gradients, axis=1)[..., None], bias + back.bias

    return run


def _row(network: Network, context: Context) -> np.ndarray:
    """Return everything that the layers read as one row: the embeddings ``N·E``, then the start state."""
    embedding = np.asarray(network.model.arrays["embedding.weight"])[context.numbers]
    return np.concatenate([embedding.reshape(-1), context.start]).astype(network.dtype)


def _split_rows(network: Network, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the embeddings ``[B, N·E]`` and the start states ``[B, S]`` of rows that `_row` makes."""
    x, start = np.split(rows, [rows.shape[1] - network.state_size], axis=1)
    return x, start


def _sums(
    network: Network, context: Context, products: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return sums of rows: ``[B, N]`` over each embedding, and ``[B]`` over the start state."""
    x, start = _split_rows(network, products)
    of_tokens = x.reshape(len(x), len(context.numbers), -1).sum(axis=2, dtype=np.float64)
    return of_tokens, start.sum(axis=1, dtype=np.float64)


def _terms_without_tokens(network: Network, context: Context, targets: Sequence[int]) -> Terms:
    weight, bias = DifferentiableNetwork(network).head(targets)
    of_start = weight.astype(np.float64) @ network.output(context.start)
    return Terms(np.empty((len(targets), 0)), of_start, bias)


def _numbers_per_row(network: Network, context: Context) -> int:
    """Return how many numbers are in memory while a row is run."""
    config = network.model.config
    return int(len(context.numbers) * config.num_layers * network.cell.G * config.hidden_size)


def _decomposed(network: Network, context: Context, targets: Sequence[int]) -> Terms:
    if not len(context.numbers):
        return _terms_without_tokens(network, context, targets)
    row = _row(network, context)
    at_once = max(1, MAX_NUMBERS_AT_ONCE // _numbers_per_row(network, context))
    blocks = []
    for first in range(0, len(targets), at_once):
        block = targets[first : first + at_once]
        rows = np.repeat(row[None, :, None], len(block), axis=0)
        # Terms of a frozen network may cancel each other, so they are computed in double precision.
        _, slopes, bias = _run(network, context, block, np.float64)(rows, True)
        products = slopes[..., 0].astype(np.float64) * row
        blocks.append(Terms(*_sums(network, context, products), bias))
    return Terms(*(np.concatenate(arrays) for arrays in zip(*blocks, strict=True)))


def _integrated(network: Network, context: Context, targets: Sequence[int]) -> Terms:
    if not len(context.numbers):
        return _terms_without_tokens(network, context, targets)
    run, rows = _run(network, context, targets), _row(network, context)[:, None]
    zeros = np.zeros_like(rows)
    products = integrated(run, rows, zeros, _numbers_per_row(network, context))
    return Terms(*_sums(network, context, products[None, :, 0]), run(zeros[None], False)[0])
