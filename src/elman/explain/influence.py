"""Which word moved the next one: the logit of a language model's prediction, token by token.

Three ways. The *decomposition* goes back through the network with its gates held as they were: exact for the
linear rnn, and for mingru given its gates. *Integrated gradients* follow the gradient from a text of zeros to
the text that was read (Sundararajan et al., "Axiomatic Attribution for Deep Networks", 2017). *Leave-one-out*
reads the text again without each token, from the state before it: the truth that the others are held against.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from elman._errors import InputError, OptionError, printable
from elman._shapes import whole_number
from elman.data import TextCodec
from elman.data.vocabulary import END
from elman.data.words import UNKNOWN, UNKNOWN_ID
from elman.explain.explanation import DECOMPOSITION, LEFT_OUT, Explanation, not_known
from elman.explain.gradients import ROOM, Run, held, integrated
from elman.explain.opened import Opened, Read
from elman.explain.question import Question, Sets, Shares
from elman.runtime.network import Network
from elman.runtime.sampling import best, ranked
from elman.runtime.stream import Readable

__all__ = ["Terms", "decompose", "explain_language", "replace"]

_WORDS = 32  # that stand for an unknown one
_LANES = 2048  # of all unknown words together
_UNLIKE = (
    "A text without a word may be like none in training: --unknown (unknown=True) asks what it is "
    "not to know it."
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
) -> Explanation:
    """Return why `target`, a token (the most probable one), is as probable as it is after `text`.

    The score is its logit. `method` is by default "decomposition", or "leave-one-out" where that fails its
    test. With `unknown` each token in turn is not left out but not known: the words that were expected
    in its place stand there, each as probable as it and what follows it are (Zintgraf et al., "Visualizing
    Deep Neural Network Decisions", 2017), and the score is the target's log probability. Raises InputError,
    OptionError.
    """
    network: Network = predictor.network
    if unknown and method not in (None, LEFT_OUT):
        raise OptionError("method", got=method, expected=LEFT_OUT)
    read = Read.of(predictor, text)
    number = _number(network, read, target)
    return (_Unknown if unknown else _Word)(network, read, number).answer(method)


class _Word(Question):
    """Why a token has its logit after a text."""

    task, score_name = "language", "logit"

    def __init__(self, network: Network, read: Read, number: int) -> None:
        self.network, self.read, self.number = network, read, number
        self.target, self.inputs = network.model.codec.tokens[number], read.tokens
        self.exact = network.cell.exact
        weight, bias = Opened(network).head([number])
        self._weight, self._bias = weight[0].astype(np.float64), float(bias[0])

    def scores(self, sets: Sets) -> np.ndarray:
        """Return the logit without each set of tokens.

        Each text is forked before the first token that it lacks; all that stand at a place read it in one
        product.
        """
        N, network = len(self.inputs), self.network
        firsts = np.array([one[0] if one else N for one in sets], np.int64)
        lacks = np.zeros((len(sets) + 1, N), bool)
        for row, one in enumerate(sets):
            lacks[row, list(one)] = True
        states = np.repeat(self.read.start[None], len(sets) + 1, axis=0)
        for place, token in enumerate(self.read.numbers.tolist()):
            states[np.flatnonzero(firsts == place)] = states[-1]
            reads = np.append(firsts < place, True) & ~lacks[:, place]
            which = np.flatnonzero(reads)
            _, states[which] = network.forward(np.full((1, len(which)), token), states[which])
            self.steps += len(which) - 1
        states[np.flatnonzero(firsts == N)] = states[-1]
        output = network.output(states[:-1]).astype(np.float64)
        return np.asarray(output @ self._weight + self._bias)

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
        return " ".join(filter(None, notes))


class _Unknown(_Word):
    """Why a token has its log probability after a text, against texts some of whose tokens are not known."""

    score_name, methods = "log probability", (LEFT_OUT,)
    words, known = 0, 1.0
    """That stand for an unknown one, and the least share of what was expected that they are."""

    def scores(self, sets: Sets) -> np.ndarray:
        """Return the log probability with each set of tokens unknown.

        A lane is one way to put words in a set's places; it weighs what they, and what is read after them,
        had for log probability there.
        """
        network, N = self.network, len(self.inputs)
        lanes, whole = np.empty((0, len(self.read.start)), self.read.start.dtype), self.read.start
        owners, weights = np.empty(0, np.int64), np.empty(0)
        unknown = np.zeros((len(sets), N), bool)
        for row, one in enumerate(sets):
            unknown[row, list(one)] = True
        for place, token in enumerate(self.read.numbers.tolist()):
            begins = [row for row, one in enumerate(sets) if one and one[0] == place]
            rows = np.concatenate([lanes, whole[None]])
            output = network.output(rows)
            here = unknown[owners, place]
            (stay,) = np.nonzero(~here)
            # of each new lane: the row it comes from, whose it is, what it reads and weighs
            come = [(stay, owners[stay], np.full(len(stay), token))]
            heavy = [
                weights[stay]
                + network.target_log_probabilities(output[stay], np.full(len(stay), token))
            ]
            parents = [*np.flatnonzero(here).tolist(), *([len(lanes)] * len(begins))]
            whose = [*owners[here].tolist(), *begins]
            expected = {row: self._expected(output[row]) for row in {*parents}}
            for row, owner in zip(parents, whose, strict=True):
                words = best(expected[row], self._count(len(sets), len(sets[owner])))
                if len(sets[owner]) == 1:
                    share = float(np.exp(expected[row][words]).sum())
                    self.words, self.known = len(words), min(self.known, share)
                come.append((np.full(len(words), row), np.full(len(words), owner), words))
                before = weights[row] if row < len(lanes) else 0.0
                heavy.append(before + expected[row][words])
            of, owners, tokens = (np.concatenate(part) for part in zip(*come, strict=True))
            weights = np.concatenate(heavy)
            _, after = network.forward(
                np.append(tokens, token)[None], np.concatenate([rows[of], whole[None]])
            )
            lanes, whole = after[:-1], after[-1]
            self.steps += len(lanes)
        output = network.output(np.concatenate([lanes, whole[None]]))
        found = network.target_log_probabilities(output, np.full(len(output), self.number))
        result = np.full(len(sets), found[-1], np.float64)
        for row in np.unique(owners).tolist():
            mine = np.flatnonzero(owners == row)
            mixed = np.logaddexp.reduce(weights[mine] + found[mine])
            result[row] = mixed - np.logaddexp.reduce(weights[mine])
        return result

    def _expected(self, output: np.ndarray) -> np.ndarray:
        """Return the log probabilities ``[V]`` of the next token, within the line."""
        expected = self.network.log_probabilities(output).astype(np.float64)
        if (end_id := self.network.model.codec.end_id) is not None:
            expected[end_id] = -np.inf
        return np.asarray(expected - np.logaddexp.reduce(expected))

    def _count(self, sets: int, size: int) -> int:
        """Return how many words stand for each of `size` unknown ones, where there are so many sets."""
        codec = self.network.model.codec
        lanes = min(_WORDS, max(4, _LANES // max(1, sets)))
        return min(max(2, int(lanes ** (1 / size))), len(codec) - (codec.end_id is not None))

    def nothing(self) -> float:
        """Return 0: where nothing is known there is no text."""
        return 0.0

    def note(self, method: str) -> str:
        """Return what is not in the vocabulary, and what stood for an unknown word."""
        del method
        told = (
            f"For an unknown word stand the {self.words} most probable ones, "
            f"at least {100 * self.known:.0f} % of them."
        )
        return " ".join(filter(None, (_note(self.read), told if self.inputs else "")))


def decompose(predictor: Any, text: Readable, targets: Sequence[str]) -> Terms:
    """Return the terms that the logit of each of `targets` after `text` is the sum of.

    Exact for the linear rnn and, given its gates, for mingru; for other cells the gates and slopes are
    held as they were. Raises InputError, OptionError.
    """
    network, read = predictor.network, Read.of(predictor, text)
    return _decomposed(network, read, [_number(network, read, target) for target in targets])


def replace(
    predictor: Any, text: Readable, position: int, word: str, k: int = 5
) -> list[tuple[str, float]]:
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
