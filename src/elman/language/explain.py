"""Which word moved the next one: the score of a language model's prediction, token by token.

Four ways. *Replacement* measures how far the prediction falls when a token is replaced by others that the
model expects in its place; it is the default, for it names the deciding word where that is known. The
*decomposition* goes back through the network with its gates held as they were: exact for the linear rnn, and
for mingru given its gates. *Integrated gradients* follow the gradient from a text of zeros to the text that
was read (Sundararajan et al., "Axiomatic Attribution for Deep Networks", 2017). *Leave-one-out* reads the
text again without each token, from the state before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from elman.engine.shapes import whole_number
from elman.errors import InputError, OptionError, printable
from elman.explain.explanation import (
    ADDITIVE,
    DECOMPOSITION,
    LEFT_OUT,
    REPLACEMENT,
    Explanation,
    not_known,
)
from elman.explain.gradients import ROOM, Run, held, integrated
from elman.explain.question import Question, Shares
from elman.language.network import Network
from elman.language.recorded import Opened, Read
from elman.language.replacement import falls, groups_of
from elman.language.sampling import Predictions, ranked
from elman.language.stream import Readable
from elman.text.vocabulary import END, TextCodec
from elman.text.words import UNKNOWN, UNKNOWN_ID

__all__ = ["Terms", "decompose", "explain_language", "replace"]

_UNLIKE = (
    "A text without a word may be like none in training; replacement does not have this fault."
)


class Terms(NamedTuple):
    """What logits are the sum of, for K targets."""

    contributions: np.ndarray
    """float64 ``[K, N]``."""
    start_state: np.ndarray
    """float64 ``[K]``."""
    bias: np.ndarray
    """float64 ``[K]``."""


def explain_language(
    predictor: Any,
    text: Readable,
    target: str | None = None,
    *,
    method: str | None = None,
    unknown: bool = False,
    quick: bool = False,
) -> Explanation:
    """Return why `target` is as probable as it is after `text`.

    Args:
        predictor: What `elman.load` returns for a language model.
        text: The text, or the numbers of its tokens.
        target: A token of the vocabulary, by default the most probable next one.
        method: One of `METHODS`. By "replacement", the default, and by "leave-one-out" the score is the log
            probability of the target, by "decomposition" and "integrated gradients" it is its logit.
        unknown: The older spelling of ``method="replacement"``.
        quick: Return a first answer from fewer replacements, without its test.

    Returns:
        The explanation, with a number for each of the last 256 tokens.

    Raises:
        InputError: The text cannot be read, or the states leave the range of numbers.
        OptionError: The vocabulary has no such target, or there is no such method.
    """
    network: Network = predictor.network
    if unknown and method not in (None, REPLACEMENT):
        raise OptionError("method", got=method, expected=REPLACEMENT)
    read = Read.of(predictor, text)
    return _Word(network, read, _number(network, read, target)).answer(method, quick=quick)


class _Word(Question):
    """Why a token has its log probability, or its logit, after a text."""

    task = "language"
    least = 0.01  # of a log probability: one per cent of the probability

    def __init__(self, network: Network, read: Read, number: int) -> None:
        self.network, self.read, self.number = network, read, number
        self.target, self.inputs = network.model.codec.tokens[number], read.tokens
        self.groups = groups_of(network.model.codec, read.tokens)
        self.exact = network.cell.exact
        self._draws = 0

    def scored(self, method: str) -> tuple[str, float]:
        """Return the target's logit for a method that adds up, else its log probability."""
        output = _output(self.network, self.read)
        if method in ADDITIVE:
            weight, bias = Opened(self.network).head([self.number])
            return "logit", float(output.astype(np.float64) @ weight[0] + bias[0])
        return "log probability", float(self._log_probabilities(output[None])[0])

    def _log_probabilities(self, outputs: np.ndarray) -> np.ndarray:
        return self.network.target_log_probabilities(outputs, np.full(len(outputs), self.number))

    def replaced(self, sample: int, *, quick: bool) -> np.ndarray:
        """Return how far the log probability falls when each token is replaced."""
        found = falls(self.network, self.read, self.number, self.groups, sample=sample, quick=quick)
        self.steps += found.steps
        self._draws = found.draws
        return found.each

    def left_out(self) -> np.ndarray:
        """Return how far the log probability falls without each token.

        The state before the token is forked; all that stand at a place read it in one product.
        """
        N, network = len(self.inputs), self.network
        states = np.repeat(self.read.start[None], N + 1, axis=0)
        for place, token in enumerate(self.read.numbers.tolist()):
            states[place] = states[N]
            which = [*range(place), N]
            _, states[which] = network.forward(np.full((1, place + 1), token), states[which])
            self.steps += place
        found = self._log_probabilities(network.output(states)).astype(np.float64)
        return np.asarray(found[N] - found[:N])

    def shares(self, method: str) -> Shares:
        """Return the logit's terms."""
        ask = _decomposed if method == DECOMPOSITION else _integrated
        terms = ask(self.network, self.read, [self.number])
        return terms.contributions[0], float(terms.start_state[0]), float(terms.bias[0])

    def note(self, method: str) -> str:
        """Return what is not in the vocabulary, what stands before, and what the method takes as given."""
        notes = [_note(self.read)]
        if method == DECOMPOSITION and self.inputs:
            notes.append(held(self.network.cell))
        if method == LEFT_OUT and len(self.inputs) > 1:
            notes.append(_UNLIKE)
        if method == REPLACEMENT and self._draws:
            what = "character, and what follows it in its word," if self.groups else "word"
            notes.append(
                f"Each {what} was replaced by up to {self._draws} others, drawn from what the model "
                "expected there; one that was certain there gets 0."
            )
        return " ".join(filter(None, notes))


def decompose(predictor: Any, text: Readable, targets: Sequence[str]) -> Terms:
    """Return the terms that the logit of each of `targets` after `text` is the sum of.

    Exact for the linear rnn and, given its gates, for mingru; for other cells the gates and slopes are
    held as they were. Raises InputError, OptionError.
    """
    network, read = predictor.network, Read.of(predictor, text)
    return _decomposed(network, read, [_number(network, read, target) for target in targets])


def replace(predictor: Any, text: Readable, position: int, word: str, k: int = 5) -> Predictions:
    """Return the `k` most probable tokens after `text` with another word at `position`, counted from 0.

    Positions are those of the explanation's inputs. Raises InputError, OptionError.
    """
    network, read = predictor.network, Read.of(predictor, text)
    if not len(read.numbers):
        raise InputError("text", got="no word", expected="a text with a word to replace")
    position = whole_number("position", position, 0, len(read.numbers) - 1)
    k = whole_number("k", k, 1)
    numbers = read.numbers.copy()
    before = read._replace(tokens=read.tokens[:position], numbers=numbers[:position])
    numbers[position] = _number(network, before, word, "word")
    if numbers[position] == network.model.codec.end_id:
        raise OptionError("word", got="a line end", expected="a token within the line")
    output = _output(network, read._replace(numbers=numbers))
    return ranked(network.model.codec, network.log_probabilities(output), k)


def _note(read: Read) -> str:
    pairs = zip(read.tokens, read.numbers.tolist(), strict=True)
    notes = [not_known(token for token, number in pairs if number == UNKNOWN_ID)]
    if read.ignored:
        notes.append("Each line is read by itself: what stands before the last one does not count.")
    if read.before:
        notes.append(f"The {read.before:,} tokens before these are in the start state.")
    return " ".join(filter(None, notes))


def _output(network: Network, read: Read) -> np.ndarray:
    """Return the output ``[H]`` after the text."""
    if not len(read.numbers):
        return network.output(read.start)
    y, _ = network.forward(read.numbers[:, None], read.start[None])
    return np.asarray(y[-1, 0])


def _number(network: Network, read: Read, token: str | None, name: str = "target") -> int:
    """Return the number of a token, of the most probable one for None; raises OptionError."""
    codec: TextCodec = network.model.codec
    if token is not None:
        if token == END and codec.end_id is not None:
            return codec.end_id
        number = int(codec.numbers([token])[0])
        if number != UNKNOWN_ID or token == UNKNOWN:
            return number
    offered = ranked(codec, network.log_probabilities(_output(network, read)), 5)
    if token is None:
        return _number(network, read, offered[0][0])
    raise OptionError(
        name,
        got=token,
        expected="one token of the vocabulary",
        remedy="the most probable ones here: "
        + ", ".join(printable(one, 24) for one, _ in offered),
    )


def _run(network: Network, read: Read, targets: Sequence[int], dtype: Any = None) -> Run:
    """Return what runs rows to logits and back: row b to that of target b, or all to that of the one."""
    opened = Opened(network, dtype)
    weight, bias = opened.head(targets)
    last = np.zeros(network.hidden_size)  # of the output before the first token nothing is read

    def run(rows: np.ndarray, frozen: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        x, start = _apart(network, rows[..., 0])
        passage = opened.passage(x.reshape(len(rows), len(read.numbers), -1).swapaxes(0, 1), start)
        dy = np.zeros(passage.y.shape, passage.y.dtype)
        dy[-1] = weight
        back = passage.back(dy, frozen=frozen)
        scores = np.einsum("bh,bh->b", passage.y[-1], dy[-1], dtype=np.float64) + bias
        parts = [back.dx.swapaxes(0, 1), np.stack(back.dstart).transpose(3, 0, 1, 2, 4)]
        parts = [part.reshape(len(rows), -1) for part in parts]
        slopes = np.concatenate([*parts, np.broadcast_to(last, (len(rows), len(last)))], axis=1)
        return scores, slopes[..., None], bias + back.bias

    return run


def _row(network: Network, read: Read) -> np.ndarray:
    """Return all that the layers read, the embeddings ``N·E`` and then the start state, in one row."""
    embedding = np.asarray(network.model.arrays["embedding.weight"])[read.numbers]
    return np.concatenate([embedding.reshape(-1), read.start]).astype(network.dtype)


def _apart(network: Network, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the embeddings ``[B, N·E]`` and the start states ``[B, S]`` of such rows."""
    x, start = np.split(rows, [rows.shape[1] - network.state_size], axis=1)
    return x, start


def _shares(network: Network, read: Read, worth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums ``[B, N]`` over each embedding and ``[B]`` over the start state of rows."""
    x, start = _apart(network, worth)
    parts = x.reshape(len(x), len(read.numbers), -1).sum(axis=2, dtype=np.float64)
    return parts, start.sum(axis=1, dtype=np.float64)


def _only_start(network: Network, read: Read, targets: Sequence[int]) -> Terms:
    weight, bias = Opened(network).head(targets)
    share = weight.astype(np.float64) @ network.output(read.start)
    return Terms(np.empty((len(targets), 0)), share, bias)


def _size(network: Network, read: Read) -> int:
    """Return how many numbers a row takes while it is run."""
    config = network.model.config
    return int(len(read.numbers) * config.num_layers * network.cell.G * config.hidden_size)


def _decomposed(network: Network, read: Read, targets: Sequence[int]) -> Terms:
    if not len(read.numbers):
        return _only_start(network, read, targets)
    # the terms of a frozen network may cancel: every digit counts
    row, at_once, parts = _row(network, read), max(1, ROOM // _size(network, read)), []
    for first in range(0, len(targets), at_once):
        some = targets[first : first + at_once]
        rows = np.repeat(row[None, :, None], len(some), axis=0)
        _, slopes, bias = _run(network, read, some, np.float64)(rows, True)
        worth = slopes[..., 0].astype(np.float64) * row
        parts.append(Terms(*_shares(network, read, worth), bias))
    return Terms(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _integrated(network: Network, read: Read, targets: Sequence[int]) -> Terms:
    if not len(read.numbers):
        return _only_start(network, read, targets)
    run, rows = _run(network, read, targets), _row(network, read)[:, None]
    nothing = np.zeros_like(rows)
    worth = integrated(run, rows, nothing, _size(network, read))
    return Terms(*_shares(network, read, worth[None, :, 0]), run(nothing[None], False)[0])
