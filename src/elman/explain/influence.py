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
from elman.explain.explanation import (
    DECOMPOSITION,
    LEFT_OUT,
    METHODS,
    Explanation,
    best_method,
    deletion_test,
)
from elman.explain.gradients import ROOM, Run, held, integrated, is_exact
from elman.explain.opened import Opened, Read
from elman.runtime.network import Network
from elman.runtime.sampling import best, ranked
from elman.runtime.stream import Readable

__all__ = ["Terms", "decompose", "explain_language", "replace"]

_WORDS = 32  # that stand for an unknown one
_LANES = 2048  # of all unknown words together


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
    linear = is_exact(network.model.config)
    if method is None and not unknown:
        return best_method(lambda way: explain_language(predictor, text, target, method=way))
    method = LEFT_OUT if method is None else method
    if method not in METHODS or (unknown and method != LEFT_OUT):
        expected = LEFT_OUT if unknown else "one of " + ", ".join(METHODS)
        raise OptionError("method", got=method, expected=expected)
    read = Read.of(predictor, text)
    number, note = _number(network, read, target), _note(read)
    if unknown:
        return _unknown_words(network, read, number, note)
    weight, bias = (part[0].astype(np.float64) for part in Opened(network).head([number]))

    def scores(states: np.ndarray) -> np.ndarray:
        return np.asarray(network.output(states).astype(np.float64) @ weight + bias)

    N = len(read.numbers)
    whole, alone, steps = _without(network, read, [(i,) for i in range(N)])
    score, singly = float(scores(whole)), scores(alone)
    terms = Terms((score - singly)[None], np.zeros(1), np.zeros(1))
    if method != LEFT_OUT:
        terms = (_decomposed if method == DECOMPOSITION else _integrated)(network, read, [number])
    contributions = terms.contributions[0]
    if method == DECOMPOSITION and N:
        note = " ".join(filter(None, (note, held(network.model.config))))
    start_state, biases = float(terms.start_state[0]), float(terms.bias[0])
    return Explanation(
        task="language",
        target=network.model.codec.tokens[number],
        method=method,
        exact=method == DECOMPOSITION and linear,
        score_name="logit",
        score=score,
        inputs=read.tokens,
        contributions=contributions,
        start_state=start_state,
        bias=biases,
        residual=score - (float(contributions.sum()) + start_state + biases),
        absence=score - singly,
        deletion=deletion_test(
            contributions,
            score,
            singly,
            lambda sets: scores(_without(network, read, sets)[1]),
            measured=method == LEFT_OUT,
        ),
        steps=steps,
        note=note,
    )


def _unknown_words(network: Network, read: Read, number: int, note: str) -> Explanation:
    """Return what it costs not to know each token, in the log probability of token `number`."""
    score = float(network.log_probabilities(_output(network, read))[number])
    others, more, steps = _unknown(network, read, number)
    changes = score - others
    return Explanation(
        task="language",
        target=network.model.codec.tokens[number],
        method=LEFT_OUT,
        exact=False,
        score_name="log probability",
        score=score,
        inputs=read.tokens,
        contributions=changes,
        residual=score - float(changes.sum()),
        absence=changes,
        steps=steps,
        note=" ".join(filter(None, (note, more))),
    )


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
    numbers[position] = _number(network, read, word, "word")
    if numbers[position] == network.model.codec.end_id:
        raise OptionError("word", got="a line end", expected="a token within the line")
    output = _output(network, read._replace(numbers=numbers))
    return ranked(network.model.codec, network.log_probabilities(output), k)


def _note(read: Read) -> str:
    unknown = [
        token
        for token, number in zip(read.tokens, read.numbers.tolist(), strict=True)
        if number == UNKNOWN_ID
    ]
    notes = []
    if unknown:
        names = ", ".join(printable(token, 24) for token in [*dict.fromkeys(unknown)][:8])
        notes.append(f"Not in the vocabulary, read as <unk>: {names}.")
    if read.before:
        notes.append(f"The {read.before:,} tokens before these are in the start state.")
    return " ".join(notes)


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


def _without(
    network: Network, read: Read, sets: Sequence[tuple[int, ...]]
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the states after the whole text ``[S]`` and without each set of its tokens ``[n, S]``.

    Each is forked before the first token that it lacks; the steps that they took from there are returned
    too. All that stand at a place read it in one product.
    """
    firsts = np.array([one[0] for one in sets], np.int64)
    lacks = np.zeros((len(sets) + 1, len(read.numbers)), bool)
    for row, one in enumerate(sets):
        lacks[row, list(one)] = True
    states = np.repeat(read.start[None], len(sets) + 1, axis=0)
    steps = 0
    for place, token in enumerate(read.numbers.tolist()):
        states[np.flatnonzero(firsts == place)] = states[-1]
        reads = np.append(firsts < place, True) & ~lacks[:, place]
        which = np.flatnonzero(reads)
        _, states[which] = network.forward(np.full((1, len(which)), token), states[which])
        steps += len(which) - 1
    return states[-1], states[:-1], steps


def _unknown(network: Network, read: Read, target: int) -> tuple[np.ndarray, str, int]:
    """Return the target's log probability ``[N]`` with each token unknown, what to say, and the steps."""
    N, end_id = len(read.numbers), network.model.codec.end_id
    K = min(_WORDS, max(4, _LANES // max(1, N)), len(network.model.codec) - (end_id is not None))
    whole, lanes = read.start[None], np.empty((0, len(read.start)), read.start.dtype)
    owners, weights = np.empty(0, np.int64), np.empty(0)
    least, steps = 1.0, 0
    for place, token in enumerate(read.numbers.tolist()):
        expected = network.log_probabilities(network.output(whole[0])).astype(np.float64)
        if end_id is not None:
            expected[end_id] = -np.inf  # within a line there is none
        expected -= np.logaddexp.reduce(expected)
        words = best(expected, K)
        least = min(least, float(np.exp(expected[words]).sum()))
        weights += network.target_log_probabilities(
            network.output(lanes), np.full(len(lanes), token)
        )
        lanes = np.concatenate([lanes, np.repeat(whole, len(words), axis=0)])
        tokens = np.concatenate([np.full(len(owners), token), words])
        owners = np.append(owners, np.full(len(words), place))
        weights = np.append(weights, expected[words])
        _, after = network.forward(np.append(tokens, token)[None], np.concatenate([lanes, whole]))
        lanes, whole = after[:-1], after[-1:]
        steps += len(lanes)
    found = network.target_log_probabilities(network.output(lanes), np.full(len(lanes), target))
    result = np.empty(N)
    for place in range(N):
        mine = owners == place
        whole_weight = np.logaddexp.reduce(weights[mine])
        result[place] = np.logaddexp.reduce(weights[mine] + found[mine]) - whole_weight
    note = f"For an unknown word stand the {K} most probable ones, at least {100 * least:.0f} % of them."
    return result, note, steps


def _run(network: Network, read: Read, targets: Sequence[int], *, kernel: bool) -> Run:
    """Return what runs rows to logits and back: row b to that of target b, or all to that of the one."""
    opened = Opened(network, kernel=kernel)
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
    row, at_once, parts = _row(network, read), max(1, ROOM // _size(network, read)), []
    for first in range(0, len(targets), at_once):
        some = targets[first : first + at_once]
        rows = np.repeat(row[None, :, None], len(some), axis=0)
        _, slopes, bias = _run(network, read, some, kernel=False)(rows, True)
        worth = slopes[..., 0].astype(np.float64) * row
        parts.append(Terms(*_shares(network, read, worth), bias))
    return Terms(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _integrated(network: Network, read: Read, targets: Sequence[int]) -> Terms:
    if not len(read.numbers):
        return _only_start(network, read, targets)
    run, rows = _run(network, read, targets, kernel=True), _row(network, read)[:, None]
    nothing = np.zeros_like(rows)
    worth = integrated(run, rows, nothing, _size(network, read))
    return Terms(*_shares(network, read, worth[None, :, 0]), run(nothing[None], False)[0])
