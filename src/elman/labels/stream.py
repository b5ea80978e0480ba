"""A stream: a sequence that a classifier, regressor or tagger reads step by step, answering after each."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
from numpy.typing import ArrayLike

from elman.engine.layers import bounded
from elman.engine.pooling import RunningPool
from elman.errors import InputError
from elman.files.model import Model
from elman.labels.batches import EncodedSequences
from elman.labels.label_values import Label
from elman.labels.network import NetworkMember, SequenceNetwork, probabilities

MAX_REMEMBERED_TEXTS = 512
MAX_REMEMBERED_CHARACTERS = 40


def needs_whole_sequences(model: Model) -> str:
    """Return why a network for labelled sequences cannot read step by step, or "" where it can."""
    if model.config.bidirectional:
        return "a network that also reads backwards; train it with bidirectional=False"
    if model.config.transitions:
        return "tags that depend on later ones (transitions)"
    if model.codec.wide is not None:
        return f"a wide part ({model.codec.wide.kind}), which reads whole sequences"
    return ""


class SequenceStream:
    """A sequence that is read step by step: after each step it answers for all steps so far.

    A tagger answers for the last step. The answers are those to the whole sequence, up to rounding. Reading
    on takes as long as the new steps alone.

    Args:
        model: The model of the network, which reads in one direction and has no wide part.
        network: The network.

    Attributes:
        steps: The number of steps that the stream has read since its reset.

    Raises:
        InputError: The network needs the whole sequence.

    >>> import elman
    >>> texts, labels = ["good tea", "bad tea"] * 20, ["yes", "no"] * 20
    >>> how = {"bidirectional": False, "wide": False, "hidden_size": 8, "steps": 60}
    >>> model = elman.SequenceClassifier(**how).fit(texts, labels)
    >>> stream = model.stream().feed("good")
    >>> stream.feed("tea").predict() == model.predict(["good tea"])[0]
    True
    """

    def __init__(self, model: Model, network: SequenceNetwork) -> None:
        if problem := needs_whole_sequences(model):
            raise InputError("a stream of this model", got=problem)
        self._network = network
        # The inputs of the first layers for short texts that were read before, one array for each member.
        self._known: dict[str, list[np.ndarray]] = {}
        self.reset()

    def __repr__(self) -> str:
        return f"SequenceStream({self._network.config.task}; {self.steps:,} steps read)"

    def reset(self) -> SequenceStream:
        """Forget everything that was read; return self."""
        self.steps = 0
        self._lanes = [_Lane(member) for member in self._network.members]
        return self

    def feed(self, item: ArrayLike) -> SequenceStream:
        """Read the next steps and return self.

        Args:
            item: A text of whole words, or for a model of characters of any characters; a list of tokens; or
                numbers, ``[C]`` for one step or ``[T, C]``, with one channel also a single number.

        Raises:
            DataError: The item is of another kind than the sequences of training, or not finite.
            ShapeError: The number of channels is not the one of training.
        """
        inputs = self._known.get(item) if type(item) is str else None
        if inputs is None:
            inputs = self._inputs(item)
        # A score of attention may overflow; `logits` makes the answer finite.
        with np.errstate(over="ignore", invalid="ignore"):
            for lane, x in zip(self._lanes, inputs, strict=True):
                lane.read(x)
        self.steps += len(inputs[0])
        return self

    def _inputs(self, item: ArrayLike) -> list[np.ndarray]:
        """Return the inputs ``[T, I]`` of the first layer of each member."""
        codec = self._network.codec
        if codec.scaler is not None and not isinstance(item, str):
            # A row has a number for each channel; a single number is the only channel.
            # Rows of unequal lengths are no array; `sequences` raises the error about them.
            with suppress(ValueError):
                item = np.atleast_2d(item)
        sequences = self._network.sequences([item])
        tokens, first = codec.tokens, sequences.items[0]
        is_empty = tokens is not None and not (
            tokens.tokenise(first) if sequences.kind == "text" else first
        )
        # An empty text would be encoded as a single <unk>, but it has no step.
        batch = EncodedSequences.of(codec, sequences).batch([0])
        inputs = [member.read(batch)[: 0 if is_empty else None] for member in self._network.members]
        if type(item) is str and len(item) <= MAX_REMEMBERED_CHARACTERS:
            if len(self._known) == MAX_REMEMBERED_TEXTS:
                self._known.clear()
            self._known[item] = inputs
        return inputs

    @property
    def logits(self) -> np.ndarray:
        """The finite logits ``[K]``, for a regressor ``[1]``; raises InputError before the first step."""
        if not self.steps:
            raise InputError("the answer of a stream", got="no step", expected="feed first")
        with np.errstate(over="ignore", invalid="ignore"):
            answers = [lane.logits() for lane in self._lanes]
            mean = answers[0] if len(answers) == 1 else np.mean(answers, axis=0)
            logits: np.ndarray = bounded(mean)[0]
        return logits

    @property
    def probabilities(self) -> np.ndarray:
        """The probability of each label ``[K]``, in the order of `classes_`; a regressor has none."""
        if self._network.codec.target is not None:
            raise InputError("probabilities of a stream", got="a regressor", expected="labels")
        return probabilities(self.logits)

    def predict(self) -> Label:
        """Return the most probable label, or the number of a regressor; raises InputError before a step."""
        codec = self._network.codec
        if codec.target is not None:
            return float(codec.numbers(self.logits[None])[0])
        return codec.known_labels.values[int(self.logits.argmax())]


class _Lane:
    """The position of one member in the sequence."""

    def __init__(self, member: NetworkMember) -> None:
        self._member = member
        self._states = [layer.start(1) for layer in member.layers]
        # A tagger pools nothing: its answer is that of the last step.
        ways = member.config.pools or ("last",)
        self._pool = RunningPool(ways, member.arrays.get("attention.weight"))

    def read(self, x: np.ndarray) -> None:
        """Read the inputs ``[T, I]`` of the next steps."""
        if not len(x):
            return
        sizes = np.ones(len(x), np.int64)
        for k, layer in enumerate(self._member.layers):
            x, self._states[k] = layer.run(x, sizes, self._states[k])
        self._pool.add(x)

    def logits(self) -> np.ndarray:
        """Return the logits ``[1, K]`` after the last step."""
        return self._member.logits(self._pool.row())
