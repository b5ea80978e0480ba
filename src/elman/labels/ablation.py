"""A labelled sequence taken apart into words, letters, steps or channels, and the answers without some.

An input can be left out, or replaced by others that are plausible in its place (`elman.explain.plausible`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any

import numpy as np

from elman.engine.layers import bounded
from elman.engine.shapes import whole_number
from elman.errors import DataError, OptionError
from elman.explain import plausible
from elman.explain.explanation import not_known
from elman.labels.dataset import Encoded, Sequences, bucketed
from elman.text.words import UNKNOWN_ID, word_groups

__all__ = ["Reading", "answers", "blocks", "taken_apart"]

MOST = 256
"""Inputs that are told apart; of a longer sequence neighbours are one."""
BATCH = 64
DRAWS, FEWEST_DRAWS = 64, 4
"""Others that take the place of each input."""
_STEPS = 1 << 17  # of all draws together, above which there are fewer of them
_AT_ONCE = 1 << 16  # steps of sequences that are made at once


def blocks(count: int, most: int) -> np.ndarray:
    """Return which of at most `most` blocks of neighbours each of `count` inputs is in.

    >>> blocks(5, 3).tolist()
    [0, 0, 1, 1, 2]
    """
    return np.arange(count) // max(1, -(-count // most))


class Reading(ABC):
    """One sequence in parts that can be left out; `owner` tells which input each part belongs to."""

    names: list[str]
    owner: np.ndarray
    """Of every part: ``[M]``, or ``[T, C]`` of numbers."""
    length: int
    nothing: Any = ""
    """Stands in the place of parts that are left out."""
    step: int | None = None
    note = ""
    """What is to be said of how it was read."""
    shared = ""
    """What is to be said where a score is shared out among its parts."""
    drops = True
    """Whether parts that are left out are gone, so that what is behind them moves up."""
    spelled: tuple[np.ndarray, np.ndarray] | None = None
    """Of letters: each word's number ``[T]``, and where its last letter's row ends."""
    groups: tuple[int, ...] = ()
    """The word of each input, where inputs are characters; else empty."""
    draws = 0
    """Others that took the place of each input last."""
    read_by_network = True
    """Whether the network reads these parts as they are, so that a score can be shared out among them."""

    def __init__(self, reader: Any) -> None:
        self.reader, self.members, self.steps = reader, reader.members, 0

    @abstractmethod
    def others(self, count: int, draw: np.random.Generator) -> np.ndarray:
        """Return `count` times plausible others for all parts."""

    @abstractmethod
    def mixed(self, gone: list[np.ndarray], others: Iterable[Any]) -> Encoded:
        """Return the sequence once for each mask, with others where the mask, shaped as `owner`, marks."""

    def left(self, gone: list[np.ndarray]) -> Encoded:
        """Return the sequence without the parts that each mask marks."""
        return self.mixed(gone, repeat(self.nothing))

    def swapped(self, gone: list[np.ndarray], draw: np.random.Generator) -> Encoded:
        """Return the sequence with the parts that each mask marks replaced by plausible others."""
        return self.mixed(gone, self.others(len(gone), draw))

    def rows(self, one: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return what a member's network reads for all parts ``[M, S]``, and what for none."""
        rows = one.read(self.left([np.zeros(self.owner.shape, bool)]).batch([0]))
        if self.drops:
            return rows, np.zeros_like(rows)
        return rows, one.read(self.left([np.ones(self.owner.shape, bool)]).batch([0]))

    @property
    def owner_of_rows(self) -> np.ndarray:
        """`owner` as it lies over `rows`."""
        return self.owner[:, None]

    def logits(self, sets: list[tuple[int, ...]]) -> np.ndarray:
        """Return ``[n, K]`` for the sequence without each of n sets of inputs, at its step for a tagger."""
        gone = [np.isin(self.owner, one) for one in sets]
        encoded = self.left(gone)
        self.steps += int(encoded.lengths[[bool(one) for one in sets]].sum())
        steps = [self.step or 0] * len(sets)
        if self.drops:
            steps = [step - int(mask[:step].sum()) for step, mask in zip(steps, gone, strict=True)]
        return self._answers(encoded, steps)

    def replaced_logits(self, sample: int, *, quick: bool = False) -> np.ndarray:
        """Return ``[N, R, K]``: the answers with each input alone replaced by R plausible others.

        The same `sample` draws the same others; a `quick` answer has the fewest of them.
        """
        draw = np.random.default_rng(sample)
        draws = _STEPS // max(1, self.length * len(self.names))
        self.draws = draws = FEWEST_DRAWS if quick else min(DRAWS, max(FEWEST_DRAWS, draws))
        size, found = max(1, _AT_ONCE // (draws * max(1, self.length))), []
        for first in range(0, len(self.names), size):
            inputs = range(first, min(first + size, len(self.names)))
            encoded = self.swapped([self.owner == i for i in inputs for _ in range(draws)], draw)
            self.steps += int(encoded.lengths.sum())
            found.append(self._answers(encoded, [self.step or 0] * len(encoded)))
        outputs = self.reader.model.config.outputs
        return np.concatenate([*found, np.empty((0, outputs))]).reshape(-1, draws, outputs)

    def _answers(self, encoded: Encoded, steps: Sequence[int]) -> np.ndarray:
        return answers(self.reader, encoded, None if self.step is None else steps)


def answers(reader: Any, encoded: Encoded, steps: Sequence[int] | None) -> np.ndarray:
    """Return the logits ``[n, K]`` of each sequence, or with `steps` those at one step of each."""
    found = np.empty((len(encoded), reader.model.config.outputs), np.float32)
    for places in bucketed(encoded.lengths, BATCH):
        batch = encoded.batch(places)
        with np.errstate(over="ignore", invalid="ignore"):
            read = bounded(np.mean([one.answer(batch) for one in reader.members], axis=0))
        if steps is None:
            found[places[batch.steps.order]] = read
        else:
            for place, part in zip(places.tolist(), batch.steps.apart(read), strict=True):
                found[place] = part[steps[place]]
    return found


class _Tokens(Reading):
    """Words, or the characters of a network that reads those."""

    def __init__(self, predictor: Any, given: Sequences, step: int | None) -> None:
        super().__init__(predictor.reader)
        codec, item = predictor.model.codec, given.items[0]
        self.step = step
        self.codec = codec
        # the second is nothing: the unknown word as which it is read
        both = Sequences(given.kind, (item, item[:0]))
        self.encoded = Encoded.of(codec, both)
        self.numbers, self.nothing = self.encoded.sequences
        if codec.tokens.level == "char":
            text = given.texts[0].lower() if codec.lowercase else given.texts[0]
            tokens, space = [*text], ""
        else:
            tokens, space = [*(codec.tokens.tokenise(item) if given.kind == "text" else item)], " "
            words = self.encoded.words
            known = self.numbers if words is None else words[self.numbers]
            pairs = zip(tokens, known.tolist(), strict=False)
            how = "known by their letters alone" if codec.alphabet else "read as <unk>"
            self.note = not_known((word for word, number in pairs if number == UNKNOWN_ID), how)
        self.tokens = np.array([*tokens], object)
        self.length = len(self.numbers)
        self.owner, self.names = _joined(tokens, space)
        if codec.tokens.level == "char" and len(self.names) == len(tokens):
            self.groups = word_groups(tokens)

    def left(self, gone: list[np.ndarray]) -> Encoded:
        variants = []
        for mask in gone:
            kept, some = self.numbers, ~mask
            if self.step is not None and mask[self.step]:
                kept, some = kept.copy(), some.copy()
                kept[self.step], some[self.step] = self.nothing[0], True
            variants.append(kept[some] if some.any() else self.nothing)
        return Encoded(variants, self.encoded.words, self.encoded.letters)

    def others(self, count: int, draw: np.random.Generator) -> np.ndarray:
        return plausible.tokens(self.codec.tokens, count, len(self.tokens), draw)

    def mixed(self, gone: list[np.ndarray], others: Iterable[Any]) -> Encoded:
        mixed = _mixed(gone, others, self.tokens)
        if self.codec.tokens.level == "char":
            return Encoded.of(self.codec, Sequences("text", tuple(map("".join, mixed))))
        return Encoded.of(self.codec, Sequences("tokens", tuple(map(tuple, mixed))))


class _Letters(Reading):
    """The characters by which a network spells each word of a text."""

    shared = "What the words' own vectors gave is in the bias."

    def __init__(self, predictor: Any, given: Sequences) -> None:
        super().__init__(predictor.reader)
        tokens = _Tokens(predictor, given, None)
        codec, encoded = predictor.model.codec, tokens.encoded
        letters: Any = encoded.letters
        words: Any = encoded.words
        self.words = words[tokens.numbers]
        self.letters: list[np.ndarray] = [letters[word] for word in tokens.numbers.tolist()]
        self.ends = np.cumsum([len(letters) for letters in self.letters])
        self.length, self.spelled = tokens.length, (self.words, self.ends)
        item, self.codec = given.items[0], codec
        spellings = codec.tokens.tokenise(item) if given.kind == "text" else item
        self.spellings: list[str] = [*spellings]
        shown: list[str] = []
        # of a long word its beginning and its end are spelled; what is between stays as it is
        self.between: list[str] = []
        for word, spelled in zip(self.spellings, self.letters, strict=False):
            last = len(spelled) // 2
            first = len(spelled) - last
            shown += [*word[:first], *word[len(word) - last :]]
            self.between.append(word[first : len(word) - last])
        self.shown = np.array(shown, object)
        self.owner, self.names = _joined(shown, "")
        if len(self.names) == len(shown):
            words = np.repeat(np.arange(len(self.letters)), [*map(len, self.letters)])
            self.groups = tuple(words[: len(shown)].tolist())

    def rows(self, one: Any) -> tuple[np.ndarray, np.ndarray]:
        rows: np.ndarray = one.arrays["alphabet.weight"][np.concatenate(self.letters)]
        return rows, np.zeros_like(rows)

    def others(self, count: int, draw: np.random.Generator) -> np.ndarray:
        return plausible.tokens(self.codec.alphabet, count, len(self.shown), draw)

    def mixed(self, gone: list[np.ndarray], others: Iterable[Any]) -> Encoded:
        """Return the words with other letters, or none, at their beginnings and ends."""

        def words(letters: np.ndarray) -> tuple[str, ...]:
            found = []
            for part, between in zip(np.split(letters, self.ends[:-1]), self.between, strict=False):
                last = len(part) // 2
                first = len(part) - last
                found.append("".join([*part[:first], between, *part[first:]]))
            return tuple(filter(None, found))

        variants = map(words, _mixed(gone, others, self.shown))
        return Encoded.of(self.codec, Sequences("tokens", tuple(variants)))


class _Characters(Reading):
    """The characters of a text whose words are read whole."""

    read_by_network = False

    def __init__(self, predictor: Any, given: Sequences) -> None:
        super().__init__(predictor.reader)
        text, self.codec = given.texts[0], predictor.model.codec
        self.text, self.length = np.array([*text], object), len(text)
        self.owner, self.names = _joined([*text], "")
        if len(self.names) == len(text):
            self.groups = word_groups(text)

    def others(self, count: int, draw: np.random.Generator) -> np.ndarray:
        # letters as they occur in the words of the vocabulary
        letters = np.array([*"".join(self.codec.tokens.tokens[1:])] or [" "], object)
        return np.asarray(letters[draw.integers(len(letters), size=(count, self.length))])

    def mixed(self, gone: list[np.ndarray], others: Iterable[Any]) -> Encoded:
        texts = map("".join, _mixed(gone, others, self.text))
        return Encoded.of(self.codec, Sequences("text", tuple(texts)))


class _Numbers(Reading):
    """The numbers of a step, together or channel by channel."""

    drops = False

    def __init__(self, predictor: Any, given: Sequences, step: int | None, each: bool) -> None:
        super().__init__(predictor.reader)
        self.values, self.codec, self.step = given.items[0], predictor.model.codec, step
        T, C = self.values.shape
        present = np.isfinite(self.values)
        count = present.sum(axis=0)
        mean = np.where(present, self.values / np.maximum(count, 1), 0).sum(axis=0)
        self.nothing = np.broadcast_to(np.where(count, mean, np.nan), (T, C))
        self.length = T
        block = blocks(T, max(1, MOST // C) if each else MOST)
        firsts = np.flatnonzero(np.diff(block, prepend=-1)).tolist()
        lasts = [*(first - 1 for first in firsts[1:]), T - 1]
        names = [
            f"step {first}" if first == last else f"steps {first}-{last}"
            for first, last in zip(firsts, lasts, strict=True)
        ]
        channels = np.arange(C) * len(names) if each else np.zeros(C, np.int64)
        self.owner = block[:, None] + channels
        self.names = [f"channel {c}, {name}" for c in range(C) for name in names] if each else names

    def others(self, count: int, draw: np.random.Generator) -> np.ndarray:
        """Return other steps of the sequence, in every second one numbers as spread as in training."""
        others = self.values[draw.integers(self.length, size=(count, self.length))]
        others[1::2] = plausible.numbers(self.codec.scaler, count, self.length, draw)[1::2]
        return np.asarray(others)

    def mixed(self, gone: list[np.ndarray], others: Iterable[Any]) -> Encoded:
        items = tuple(_mixed(gone, others, self.values))
        return Encoded.of(self.codec, Sequences("numbers", items or (self.values,)))

    @property
    def owner_of_rows(self) -> np.ndarray:
        return np.tile(self.owner, self.codec.scaler.channels // self.owner.shape[1])


def _mixed(gone: list[np.ndarray], others: Iterable[Any], own: np.ndarray) -> list[np.ndarray]:
    return [np.where(mask, other, own) for mask, other in zip(gone, others, strict=False)]


def _joined(parts: Sequence[str], space: str) -> tuple[np.ndarray, list[str]]:
    """Return the input of every part, and the inputs' names: neighbours are one where there are many."""
    owner = blocks(len(parts), MOST)
    names: list[list[str]] = [[] for _ in range(owner[-1] + 1 if len(owner) else 0)]
    for part, place in zip(parts, owner.tolist(), strict=True):
        names[place].append(part)
    return owner, [space.join(some) for some in names]


def taken_apart(predictor: Any, what: Any, of: int | str | None) -> Reading:
    """Return the sequence as `of` asks for it to be taken apart; raises DataError, OptionError."""
    config, codec = predictor.model.config, predictor.model.codec
    given = Sequences.of([what])
    if config.task == "tag":
        given = given.stepwise()
    encoded = Encoded.of(codec, given)  # raises where the sequence is not as in training
    numbers, step = given.kind == "numbers", None
    allowed: tuple[str, ...] = ("steps", "channels") if numbers else ("words", "characters")
    if config.task == "tag":
        if not len(given.items[0]):
            raise DataError("a text without a word has no tag")
        last = int(encoded.lengths[0]) - 1
        step = last if of is None else whole_number("of", of, 0, last)
        of = None
    if codec.tokens is not None and codec.tokens.level == "char":
        allowed = ("characters",)
    if of is not None and of not in allowed:
        raise OptionError("of", got=of, expected=" | ".join(allowed))
    if numbers:
        return _Numbers(predictor, given, step, of == "channels")
    if of != "characters" or codec.tokens.level == "char":
        return _Tokens(predictor, given, step)
    return _Letters(predictor, given) if config.alphabet_size else _Characters(predictor, given)
