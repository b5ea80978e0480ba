"""Explanation of one answer of a classifier, regressor or tagger by its words, letters, steps or channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from elman.cells import find
from elman.engine.passage import Layers
from elman.engine.pooling import pool, pool_backward
from elman.errors import DataError
from elman.explain.explanation import ADDITIVE, DECOMPOSITION, LEFT_OUT, REPLACEMENT, Explanation
from elman.explain.gradients import finite, held_note, slopes_between
from elman.explain.question import Question, Shares
from elman.labels.ablation import AblatableSequence, ablatable_sequence
from elman.labels.label_values import UNKNOWN_LABEL, Label
from elman.labels.network import NetworkMember, SequenceNetwork
from elman.labels.wide import WideShares
from elman.tables.columns import several

if TYPE_CHECKING:
    from elman.labels.predictor import LabelPredictor


LEAST_CHANGE = 0.01
"""Smallest change that counts, in logits or in standard deviations of a regressor's targets."""
CHAINED_NOTE = (
    "The score is the network's own logit for this tag; scores of neighbouring tags, which depend on "
    "no input, decide with it."
)


def explain_labelled(
    predictor: LabelPredictor,
    what: ArrayLike,
    target: Label | None = None,
    *,
    method: str | None = None,
    of: int | str | None = None,
    quick: bool = False,
) -> Explanation:
    """Explain which inputs of one sequence moved the answer of a classifier, regressor or tagger.

    The explained score is the logit of a label (for a tagger, of a tag at one step), or the number that a
    regressor predicts. With several members, score and contributions are the means over the members. In a
    sequence of more than 256 inputs, neighbours are merged.

    The methods differ in what they put in the place of an input:

    - "replacement", the default, measures how far the score falls on average when an input is replaced by
      plausible others. These come from the model file alone: words and characters as frequent as in
      training; for numbers, other steps of the sequence and numbers distributed as in training.
    - "leave-one-out" removes words and characters (the word whose tag is explained becomes `<unk>`), and
      replaces numbers by the mean of their channel in the sequence.
    - "decomposition" and "integrated gradients" compare words and characters with vectors of zeros, and
      numbers with that mean. The steps chosen by max pooling are held fixed, and in the decomposition also
      the weights of attention.

    Args:
        predictor: A model that `elman.load` returned for classify, regress or tag.
        what: One sequence: a text, a list of tokens, or numbers ``[T]`` or ``[T, C]``.
        target: The label or tag to explain (default: the most probable one); None for a regressor.
        method: "replacement" (the default), "decomposition", "integrated gradients" or "leave-one-out".
        of: The inputs. For texts "words" (the default) or "characters". Contributions of characters come
            from the network that spells words, with the words' own embeddings in the bias; a network that
            does not spell words allows only replacement and leave-one-out for them. For numbers "steps" (the
            default) or "channels". For a tagger, the step whose tag is explained, from 0 (default: the last).
        quick: Skip the self-test and draw fewer replacements, for a first answer.

    Raises:
        DataError: The sequence is not like those of training, or the network has no such label.
        OptionError: There is no such method or kind of input.
        InputError: The states of the network overflow.
    """
    sequence = ablatable_sequence(predictor.network, what, of)
    return _LabelQuestion(predictor.network, sequence, target).answer(method, quick=quick)


class _LabelQuestion(Question):
    """The question why a label has its logit, or why a regressor predicts its number."""

    def __init__(
        self, network: SequenceNetwork, sequence: AblatableSequence, target: Label | None
    ) -> None:
        config, codec = network.config, network.codec
        self.sequence, self.task = sequence, config.task
        self.inputs = tuple(sequence.names)
        logits = sequence.logits_without([()])[0]
        self.chained = network.chain is not None
        if self.chained and target is None:
            # the tag that the network answers need not have the largest logit of its step
            encoded = sequence.without([np.zeros(sequence.owner.shape, bool)])
            target = codec.known_labels.values[network.encoded_tags(encoded)[0][sequence.step or 0]]
        self.number = _output_number(network, target, logits)
        self._scale, self._shift = 1.0, 0.0
        self.target, self._name = "value", "value"
        if codec.target is not None:
            self._scale, self._shift = codec.target.scale[0], codec.target.mean[0]
        else:
            self.target, self._name = codec.known_labels.names[self.number], "logit"
        if sequence.step is not None:
            self._name += f" at step {sequence.step}"
        self.min_change = LEAST_CHANGE * self._scale
        self.groups = sequence.groups
        if not sequence.read_by_network:
            self.methods = (REPLACEMENT, LEFT_OUT)
        held_fixed = {"max": "chosen maxima", "attention": "weights of attention"}
        self._held_fixed = [name for pool, name in held_fixed.items() if pool in config.pools]
        self.cell = find(config.cell, config.activation)
        self.exact = self.cell.exact and not self._held_fixed

    def scored(self, method: str) -> tuple[str, float]:
        """Return the name and the value of the score; it is the same for every method."""
        del method
        return self._name, float(self._scores(self.sequence.logits_without([()]))[0])

    def replaced(self, sample: int, *, quick: bool) -> np.ndarray:
        """Return how far the score falls on average when each input is replaced."""
        scores = self._scores(self.sequence.replaced_logits(sample, quick=quick))
        self.steps = self.sequence.steps
        # divide first: the sum of huge scores would overflow
        mean = (scores / scores.shape[1]).sum(axis=1)
        return np.asarray(self.scored(REPLACEMENT)[1] - mean)

    def left_out(self) -> np.ndarray:
        """Return how far the score falls without each input."""
        sets: list[tuple[int, ...]] = [(index,) for index in range(len(self.inputs))]
        scores = self._scores(self.sequence.logits_without(sets))
        self.steps = self.sequence.steps
        return np.asarray(self.scored(LEFT_OUT)[1] - scores)

    def _scores(self, logits: np.ndarray) -> np.ndarray:
        """Return the scores ``[...]`` of logits ``[..., K]``."""
        with np.errstate(over="ignore"):
            return finite(logits[..., self.number].astype(np.float64) * self._scale + self._shift)

    def shares(self, method: str) -> Shares:
        """Return the contributions of the inputs, averaged over the members."""
        if not self.inputs:
            return np.empty(0), 0.0, self.scored(method)[1]
        with np.errstate(over="ignore", invalid="ignore"):
            shares, bias = _mean_shares(self.sequence, self.number, method)
            wide = _wide_shares(self.sequence, self.number)
            shares, bias = shares + wide.elements, bias + wide.bias
            bias = bias * self._scale + self._shift
            return finite(shares * self._scale), 0.0, float(finite(bias))

    def note(self, method: str) -> str:
        """Return sentences on unknown words and on what the method holds fixed."""
        sentences = [self.sequence.note, self.sequence.shared if method in ADDITIVE else ""]
        if method in ADDITIVE and self.inputs and self.sequence.codec.wide is not None:
            sentences.append(self.sequence.codec.wide.note)
        if method == REPLACEMENT and self.inputs:
            sentences.append(f"Each input was replaced by {self.sequence.replacements} others.")
        if method == DECOMPOSITION and self.inputs:
            sentences.append(held_note(self.cell, *self._held_fixed))
        if self.chained:
            sentences.append(CHAINED_NOTE)
        return " ".join(filter(None, sentences))


def _output_number(network: SequenceNetwork, target: Label | None, logits: np.ndarray) -> int:
    """Return the number of the output that `target` names; raises DataError if there is none."""
    if network.config.kind.is_number:
        if target is not None:
            raise DataError("target", got=target, expected="none: a regressor has one answer")
        return 0
    labels = network.codec.known_labels
    if target is None:
        return int(logits.argmax())
    # a target may come from a web page and be of any JSON type
    is_plain = isinstance(target, str | int | float | np.generic)
    number = int(labels.encode([target])[0]) if is_plain else UNKNOWN_LABEL
    if number == UNKNOWN_LABEL:
        raise DataError("no such label", got=target, expected=several(labels.names))
    return number


def _mean_shares(sequence: AblatableSequence, number: int, method: str) -> tuple[np.ndarray, float]:
    """Return the share ``[N]`` of each input in a logit and the bias, averaged over the members."""
    shares, biases = [], []
    frozen = method == DECOMPOSITION
    for member in sequence.network.members:
        passage = _MemberPassage(member, number, sequence, frozen)
        rows, base = sequence.rows(member)
        states = 8 * member.config.output_size * member.config.num_layers
        size = sequence.length * (member.config.input_size + states) + 16 * rows.size
        owner = np.broadcast_to(sequence.owner_of_rows, rows.shape).ravel()
        slopes, bias = slopes_between(passage.run, base, rows, frozen=frozen, size=size)
        # the share of a number is its slope times its distance from the baseline
        worth = (slopes * (rows - base)).ravel()
        shares.append(np.bincount(owner, worth, len(sequence.names)))
        biases.append(bias)
    return np.mean(shares, axis=0), float(np.mean(biases))


def _wide_shares(sequence: AblatableSequence, number: int) -> WideShares:
    """Return the exact share ``[N]`` of each input in the logit of the wide part, 0 if there is none."""
    wide, count = sequence.codec.wide, len(sequence.names)
    if wide is None:
        return WideShares(np.zeros(count), 0.0)
    encoded = sequence.without([np.zeros(sequence.owner.shape, bool)])
    shares = wide.shares(encoded, number, letters=sequence.spelled is not None)
    owner = sequence.owner_of_rows.ravel()
    return WideShares(np.bincount(owner, shares.elements.ravel(), count), shares.bias)


class _MemberPassage:
    """Forward and backward pass of one member, from the explained input vectors to the score and back."""

    def __init__(
        self, member: NetworkMember, number: int, sequence: AblatableSequence, double: bool
    ) -> None:
        config, dtype = member.config, np.float64 if double else np.float32
        self.pools, self.step = config.pools, sequence.step
        self.layers = Layers(config, member.arrays, dtype=dtype)
        self.head = member.head[number]
        self.bias = float(member.arrays["head.bias"][number])
        self.attention = member.arrays.get("attention.weight")
        self.hidden_size = config.hidden_size
        self.spelling: Layers | None = None
        if sequence.spelled is not None:
            word_ids, self.ends = sequence.spelled
            self.spelling = Layers(config, member.arrays, ["spelling"], dtype=dtype)
            self.words = member.arrays["embedding.weight"][word_ids].astype(dtype)

    def run(self, rows: np.ndarray, frozen: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return scores ``[B]``, slopes for the vectors ``rows [B, M, S]``, and the biases' share ``[B]``."""
        if self.spelling is None:
            score, dx, bias = self._above(rows.transpose(1, 0, 2), frozen)
            return score, dx.transpose(1, 0, 2), bias
        B, (T, E) = len(rows), self.words.shape
        # input of the first layer: the words' own embeddings, then their spelling
        x = np.empty((T, B, E + 2 * self.spelling.hidden_size), self.words.dtype)
        x[:, :, :E] = self.words[:, None]
        counts = np.diff(self.ends, prepend=0)
        passages = []
        for count in np.unique(counts):  # words of equal length are spelled together
            words = np.flatnonzero(counts == count)
            letters = self.ends[words] - count + np.arange(count)[:, None]
            # from [B, letters, words, S] to [letters, B * words, S]
            passage = self.spelling.read(
                rows[:, letters].swapaxes(0, 1).reshape(count, -1, rows.shape[2])
            )
            spelled = np.concatenate([*passage.end[0][:, 0]], axis=1)
            x[words, :, E:] = spelled.reshape(B, len(words), -1).swapaxes(0, 1)
            passages.append((words, letters, passage))
        score, dx, bias = self._above(x, frozen)
        # the embeddings are not explained inputs, so their share belongs to the bias
        bias = bias + np.einsum("tbe,te->b", dx[:, :, :E], self.words)
        slopes = np.empty(rows.shape, dx.dtype)
        for words, letters, passage in passages:
            d_spelled = dx[words][:, :, E:].swapaxes(0, 1).reshape(B * len(words), -1)
            # the spelling is the last hidden state of both directions
            dend = np.zeros_like(passage.end[0])
            dend[:, 0] = np.split(d_spelled, 2, axis=1)
            back = passage.back(np.zeros_like(passage.y), frozen=frozen, dend=dend)
            slopes[:, letters] = back.dx.reshape(len(letters), B, len(words), -1).swapaxes(0, 1)
            bias += back.bias.reshape(B, -1).sum(axis=1)
        return score, slopes, bias

    def _above(self, x: np.ndarray, frozen: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return scores, slopes ``[T, B, I]`` and biases for the inputs ``[T, B, I]`` of the first layer."""
        passage = self.layers.read(x)
        y = passage.y.astype(np.float64)
        dy = np.zeros_like(y)
        # [B]
        score = np.full(y.shape[1], self.bias)
        if self.step is not None:
            # the logit of a tagged step depends on the outputs of that step alone
            dy[self.step] = self.head
            score += y[self.step] @ self.head
        if self.pools:
            T, B, D = y.shape
            # all B rows run for T steps, so the packed rows are simply those of each step in turn
            rows, sizes = y.reshape(T * B, D), np.full(T, B)
            pooled = pool(self.pools, rows, passage.end[-1], sizes, self.attention)
            score += pooled @ self.head
            dy = pool_backward(
                self.pools,
                rows,
                sizes,
                np.broadcast_to(self.head, pooled.shape),
                self.attention,
                hidden_size=self.hidden_size,
                frozen=frozen,
            ).reshape(y.shape)
        back = passage.back(dy, frozen=frozen)
        return score, back.dx, back.bias + self.bias
