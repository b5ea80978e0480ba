"""A labelled sequence with some inputs left out or replaced, and the network's answers to it.

The inputs are words, characters, time steps or channels. An input can be left out, or replaced by plausible
others (`elman.explain.plausible`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from elman.engine.shapes import whole_number
from elman.errors import DataError, OptionError
from elman.explain import plausible
from elman.explain.element_ablation import count_replacements, neighbour_blocks
from elman.explain.input_names import unknown_words_note
from elman.labels.batches import EncodedSequences
from elman.labels.dataset import Sequences
from elman.labels.network import NetworkMember, SequenceNetwork
from elman.tables.scaler import Scaler
from elman.text.vocabulary import TextCodec
from elman.text.words import UNKNOWN_ID, word_groups

MAX_EXPLAINED_INPUTS = 256
"""Neighbours of a sequence with more inputs are merged into one input."""
MAX_REPLACED_STEPS = 1 << 17
"""Time steps of all replacements together; above this, fewer replacements are drawn."""
STEPS_PER_BLOCK = 1 << 16
"""Time steps of the replaced sequences that are held in memory at once."""


class AblatableSequence(ABC):
    """A sequence whose elements (tokens, letters or numbers) can be left out or replaced.

    An *element* is what the subclass can change; an *input* is what the user sees, one or several elements.
    """

    names: list[str]
    """The inputs as the user sees them."""
    elements: np.ndarray
    """The elements: texts ``[M]``, or numbers ``[T, C]``."""
    owner: np.ndarray
    """The input that each element belongs to, in the shape of `elements`."""
    length: int
    """Number of time steps that the network reads."""
    placeholder: ArrayLike = ""
    """The element that replaces those that are left out."""
    drawn_from: TextCodec
    """The vocabulary from which replacements are drawn."""
    step: int | None = None
    """The time step whose answer is explained, for a tagger."""
    note = ""
    """A sentence on tokens that the network does not know."""
    shared = ""
    """A sentence that is shown when a score is shared out among the inputs."""
    shortens = True
    """Whether the sequence gets shorter when elements are left out."""
    spelled: tuple[np.ndarray, np.ndarray] | None = None
    """Token id of each word ``[T]`` and the index after its last letter ``[T]``, if letters are explained."""
    groups: tuple[int, ...] = ()
    """The word that each input belongs to, if inputs are single characters; else empty."""
    replacements = 0
    """Number of replacements of each input in the last call of `replaced_logits`."""
    read_by_network = True
    """Whether the elements are inputs of the network, so that a score can be shared out among them."""

    def __init__(self, network: SequenceNetwork) -> None:
        self.network, self.codec, self.steps = network, network.codec, 0

    def _set_texts(self, elements: Sequence[str], space: str, groups: Sequence[int] = ()) -> None:
        """Set elements, inputs and their names; neighbours are merged into one input if there are many."""
        self.elements = np.array([*elements], object)
        self.owner = neighbour_blocks(len(elements), MAX_EXPLAINED_INPUTS)
        names: list[list[str]] = [[] for _ in np.unique(self.owner)]
        for element, index in zip(elements, self.owner.tolist(), strict=True):
            names[index].append(element)
        self.names = [space.join(merged) for merged in names]
        self.groups = tuple(groups) if len(names) == len(elements) else ()

    @abstractmethod
    def encode(self, variants: list[np.ndarray]) -> EncodedSequences:
        """Return variants of the sequence, given by their elements, as the network reads them."""

    def draw_replacements(self, count: int, draw: np.random.Generator) -> np.ndarray:
        """Return plausible replacements of all elements, `count` times."""
        return plausible.tokens(self.drawn_from, count, len(self.elements), draw)

    def without(self, masks: list[np.ndarray]) -> EncodedSequences:
        """Return the sequence once for each mask, without the elements that the mask marks."""
        return self.encode([np.where(mask, self.placeholder, self.elements) for mask in masks])

    def rows(self, member: NetworkMember) -> tuple[np.ndarray, np.ndarray]:
        """Return a member's input vectors ``[M, S]`` for all elements, and those for none."""
        rows = member.read(self.without([np.zeros(self.owner.shape, bool)]).batch([0]))
        if self.shortens:
            return rows, np.zeros_like(rows)
        return rows, member.read(self.without([np.ones(self.owner.shape, bool)]).batch([0]))

    @property
    def owner_of_rows(self) -> np.ndarray:
        """`owner` in a shape that broadcasts to `rows`."""
        return self.owner[:, None]

    def logits_without(self, sets: list[tuple[int, ...]]) -> np.ndarray:
        """Return logits ``[n, K]`` without each of n sets of inputs; for a tagger those at its step."""
        masks = [np.isin(self.owner, inputs) for inputs in sets]
        encoded = self.without(masks)
        self.steps += int(encoded.lengths[[bool(inputs) for inputs in sets]].sum())
        steps = [self.step or 0] * len(sets)
        if self.shortens:
            # the explained step moves forward when elements before it are left out
            steps = [step - int(mask[:step].sum()) for step, mask in zip(steps, masks, strict=True)]
        return self._logits(encoded, steps)

    def replaced_logits(self, sample: int, *, quick: bool = False) -> np.ndarray:
        """Return logits ``[N, R, K]`` with each of N inputs alone replaced by R plausible others.

        Args:
            sample: Seed of the replacements.
            quick: Whether to draw as few replacements as possible.
        """
        draw = np.random.default_rng(sample)
        cost = self.length * len(self.names)
        count = self.replacements = count_replacements(MAX_REPLACED_STEPS, cost, quick=quick)
        # inputs whose replaced sequences are run at once
        block = max(1, STEPS_PER_BLOCK // (count * max(1, self.length)))
        logits = [np.empty((0, self.network.config.outputs))]
        for first in range(0, len(self.names), block):
            inputs = range(first, min(first + block, len(self.names)))
            masks = [self.owner == index for index in inputs for _ in range(count)]
            others = self.draw_replacements(len(masks), draw)
            variants = zip(masks, others, strict=True)
            encoded = self.encode(
                [np.where(mask, other, self.elements) for mask, other in variants]
            )
            self.steps += int(encoded.lengths.sum())
            logits.append(self._logits(encoded, [self.step or 0] * len(encoded)))
        return np.concatenate(logits).reshape(-1, count, self.network.config.outputs)

    def _logits(self, encoded: EncodedSequences, steps: Sequence[int]) -> np.ndarray:
        return self.network.encoded_logits(encoded, None if self.step is None else steps)


class _Tokens(AblatableSequence):
    """Words, or the characters of a network that reads characters."""

    def __init__(self, network: SequenceNetwork, sequences: Sequences, step: int | None) -> None:
        super().__init__(network)
        codec, item, self.step = self.codec, sequences.items[0], step
        self.drawn_from = codec.vocabulary
        # the second sequence is empty: the <unk> that stands for an empty text
        self.encoded = EncodedSequences.of(codec, Sequences(sequences.kind, (item, item[:0])))
        self.ids, self.unknown = self.encoded.sequences
        self.length = len(self.ids)
        self.by_character = codec.vocabulary.level == "char"
        if self.by_character:
            text = sequences.texts[0]
            tokens = [*(text.lower() if codec.lowercase else text)]
            self._set_texts(tokens, "", word_groups(tokens))
        else:
            tokens = _words(codec.vocabulary, sequences)
            self._set_texts(tokens, " ")
            pairs = zip(tokens, self.encoded.token_ids[0].tolist(), strict=False)
            how = "known by their letters alone" if codec.alphabet else "read as <unk>"
            unknown = (word for word, number in pairs if number == UNKNOWN_ID)
            self.note = unknown_words_note(unknown, how)

    def without(self, masks: list[np.ndarray]) -> EncodedSequences:
        variants = []
        for mask in masks:
            ids, kept = self.ids, ~mask
            if self.step is not None and mask[self.step]:
                # the explained step stays, as <unk>
                ids, kept = ids.copy(), kept.copy()
                ids[self.step], kept[self.step] = self.unknown[0], True
            variants.append(ids[kept] if kept.any() else self.unknown)
        return EncodedSequences(variants, self.encoded.words, self.encoded.letters)

    def encode(self, variants: list[np.ndarray]) -> EncodedSequences:
        if self.by_character:
            return EncodedSequences.of(self.codec, Sequences("text", _joined(variants)))
        return EncodedSequences.of(self.codec, Sequences("tokens", tuple(map(tuple, variants))))


class _Letters(AblatableSequence):
    """The characters by which a network spells each word of a text."""

    shared = "The share of the words' own embeddings is part of the bias."

    def __init__(self, network: SequenceNetwork, alphabet: TextCodec, sequences: Sequences) -> None:
        super().__init__(network)
        self.drawn_from = alphabet
        tokens = _Tokens(network, sequences, None)
        letters_of = tokens.encoded.letters or []
        self.letters = [letters_of[index] for index in tokens.ids.tolist()]
        # the index after the last letter of each word
        self.ends = np.cumsum([len(letters) for letters in self.letters])
        self.length, self.spelled = tokens.length, (tokens.encoded.token_ids[0], self.ends)
        spelled: list[str] = []
        # only the beginning and the end of a long word are spelled; its middle is never changed
        self.middles: list[str] = []
        words = _words(network.codec.vocabulary, sequences)
        for word, letters in zip(words, self.letters, strict=False):
            tail = len(letters) // 2
            head = len(letters) - tail
            spelled += [*word[:head], *word[len(word) - tail :]]
            self.middles.append(word[head : len(word) - tail])
        numbers = np.repeat(np.arange(len(self.letters)), [*map(len, self.letters)])
        self._set_texts(spelled, "", numbers[: len(spelled)].tolist())

    def rows(self, member: NetworkMember) -> tuple[np.ndarray, np.ndarray]:
        rows: np.ndarray = member.arrays["alphabet.weight"][np.concatenate(self.letters)]
        return rows, np.zeros_like(rows)

    def encode(self, variants: list[np.ndarray]) -> EncodedSequences:
        """Return the words with other letters, or without some, at their beginnings and ends."""

        def words(letters: np.ndarray) -> tuple[str, ...]:
            variant = []
            for ends, middle in zip(np.split(letters, self.ends[:-1]), self.middles, strict=False):
                head = len(ends) - len(ends) // 2
                variant.append("".join([*ends[:head], middle, *ends[head:]]))
            # drop a word that has lost all its letters
            return tuple(filter(None, variant))

        return EncodedSequences.of(self.codec, Sequences("tokens", tuple(map(words, variants))))


class _Characters(AblatableSequence):
    """The characters of a text whose network reads whole words, without spelling them."""

    read_by_network = False

    def __init__(self, network: SequenceNetwork, sequences: Sequences) -> None:
        super().__init__(network)
        text = sequences.texts[0]
        self.length = len(text)
        self._set_texts(text, "", word_groups(text))

    def draw_replacements(self, count: int, draw: np.random.Generator) -> np.ndarray:
        # letters as frequent as in the words of the vocabulary
        letters = np.array([*"".join(self.codec.vocabulary.tokens[1:])] or [" "], object)
        return np.asarray(letters[draw.integers(len(letters), size=(count, self.length))])

    def encode(self, variants: list[np.ndarray]) -> EncodedSequences:
        return EncodedSequences.of(self.codec, Sequences("text", _joined(variants)))


class _Numbers(AblatableSequence):
    """The numbers of each time step, of all channels together or of each channel."""

    shortens = False

    def __init__(
        self,
        network: SequenceNetwork,
        scaler: Scaler,
        sequences: Sequences,
        step: int | None,
        by_channel: bool,
    ) -> None:
        super().__init__(network)
        self.scaler, self.elements, self.step = scaler, sequences.items[0], step
        # T steps of C channels
        T, C = self.elements.shape
        present = np.isfinite(self.elements)
        count = present.sum(axis=0)
        # divide first: the sum of huge numbers would overflow
        mean = np.where(present, self.elements / np.maximum(count, 1), 0).sum(axis=0)
        self.placeholder = np.broadcast_to(np.where(count, mean, np.nan), (T, C))
        self.length = T
        max_blocks = max(1, MAX_EXPLAINED_INPUTS // C) if by_channel else MAX_EXPLAINED_INPUTS
        block = neighbour_blocks(T, max_blocks)
        firsts = np.flatnonzero(np.diff(block, prepend=-1)).tolist()
        # a block ends one step before the next one begins
        lasts = [*(first - 1 for first in firsts[1:]), T - 1]
        self.names = [
            f"step {first}" if first == last else f"steps {first}-{last}"
            for first, last in zip(firsts, lasts, strict=True)
        ]
        self.owner = np.broadcast_to(block[:, None], (T, C))
        if by_channel:
            # inputs are numbered channel by channel
            self.owner = block[:, None] + np.arange(C) * len(firsts)
            self.names = [f"channel {c}, {name}" for c in range(C) for name in self.names]

    def draw_replacements(self, count: int, draw: np.random.Generator) -> np.ndarray:
        """Return, in turn, other steps of the sequence and numbers distributed as in training."""
        others = self.elements[draw.integers(self.length, size=(count, self.length))]
        # every second replacement is drawn anew, the others are steps of this sequence
        others[1::2] = plausible.numbers(self.scaler, count, self.length, draw)[1::2]
        return np.asarray(others)

    def encode(self, variants: list[np.ndarray]) -> EncodedSequences:
        items = tuple(variants) or (self.elements,)
        return EncodedSequences.of(self.codec, Sequences("numbers", items))

    @property
    def owner_of_rows(self) -> np.ndarray:
        return np.tile(self.owner, self.scaler.channels // self.owner.shape[1])


def _words(vocabulary: TextCodec, sequences: Sequences) -> list[str]:
    """Return the words of the first sequence."""
    item = sequences.items[0]
    return vocabulary.tokenise(item) if sequences.kind == "text" else [*item]


def _joined(variants: list[np.ndarray]) -> tuple[str, ...]:
    return tuple("".join(characters) for characters in variants)


def ablatable_sequence(
    network: SequenceNetwork, sequence: ArrayLike, of: int | str | None
) -> AblatableSequence:
    """Return one sequence with the inputs that `of` names.

    Args:
        network: The network that reads the sequence.
        sequence: A text, a list of tokens, or numbers ``[T]`` or ``[T, C]``.
        of: "words" or "characters" of a text, "steps" or "channels" of numbers (default: words, or
            characters if the network reads those; steps). For a tagger the step whose tag is explained
            (default: the last).

    Raises:
        DataError: The sequence is not like those of training, or a tagger gets an empty text.
        OptionError: The network has no such inputs.
    """
    codec, step = network.codec, None
    sequences = network.sequences([sequence])
    # raises an error for a sequence unlike those of training
    EncodedSequences.of(codec, sequences)
    if network.config.kind.per_step:
        last = len(sequences.items[0]) - 1
        if last < 0:
            raise DataError("a text without a word has no tag")
        step = last if of is None else whole_number("of", of, 0, last)
        of = None
    choices: tuple[str, ...] = ("words", "characters")
    if codec.scaler is not None:
        choices = ("steps", "channels")
    elif codec.vocabulary.level == "char":
        choices = ("characters",)
    if of is not None and of not in choices:
        raise OptionError("of", got=of, expected=" | ".join(choices))
    if codec.scaler is not None:
        return _Numbers(network, codec.scaler, sequences, step, of == "channels")
    if of != "characters" or codec.vocabulary.level == "char":
        return _Tokens(network, sequences, step)
    if codec.alphabet is not None:
        return _Letters(network, codec.alphabet, sequences)
    return _Characters(network, sequences)
