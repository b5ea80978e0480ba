"""The wide part of texts: a linear model on n-grams of tokens, and of the letters inside words.

It reads the token and character ids that the network reads. An n-gram has no name here, only a hash of 32
bits over its ids, which finds its row of weights. The value of an n-gram that occurs c times in a text is
(1 + ln c) times its scale. The values of all n-grams of tokens in a text are divided by their Euclidean norm,
and those of letters by theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np

from elman.errors import ModelFileError
from elman.files.container import Facts, JsonObject
from elman.files.growth import Growth
from elman.labels.config import SequenceConfig
from elman.labels.wide import Encoded, WidePart, WideShares

TEXTS_PER_BLOCK = 2_000
"""Texts whose n-grams are in memory at once."""
MIN_LETTERS = 2
"""Length of the shortest n-grams of letters; the ends of a word count as letters."""
MAX_LENGTH = 16
_ARRAYS: dict[str, type[np.generic]] = {
    "folded": np.uint32,
    "keys": np.uint32,
    "scale": np.float32,
    "weights": np.float16,
    "bias": np.float32,
}
_MULTIPLIER, _SHIFT = np.uint64(0x9E3779B97F4A7C15), np.uint64(29)


class Occurrences(NamedTuple):
    """The n-grams of some texts, one entry for each occurrence."""

    row: np.ndarray
    """int64 ``[M]``: the text."""
    key: np.ndarray
    """uint32 ``[M]``: the hash of the n-gram."""
    first: np.ndarray
    """int64 ``[M]``: the first token that it covers, counted through all texts; or the first letter."""
    width: np.ndarray
    """int64 ``[M]``: the number of tokens, or of letters, that it covers."""


@dataclass(frozen=True, eq=False)
class NgramReader:
    """Lengths of the n-grams, and the letters that count as equal."""

    tokens: int
    """Tokens in the longest n-gram of tokens."""
    letters: int
    """Letters in the longest n-gram of letters, counting the ends of a word; 0 for none."""
    folded: np.ndarray
    """uint32 ``[A]``: the id as which each character counts, so that upper and lower case are one."""

    def read(
        self, encoded: Encoded, rows: Iterable[int], *, by_letter: bool = False
    ) -> Occurrences:
        """Return the n-grams of the texts in `rows`.

        Args:
            encoded: Encoded texts.
            rows: The texts to read, which count from 0 in the result.
            by_letter: Whether the result says which letters each n-gram covers, not which tokens.
        """
        sequences = [encoded.sequences[row] for row in rows]
        lengths = np.array([len(sequence) for sequence in sequences], np.int64)
        # [N], the tokens of all texts in a row
        steps = np.concatenate([np.empty(0, np.int64), *sequences])
        row, ids, letters = np.repeat(np.arange(len(lengths)), lengths), steps, encoded.letters
        if encoded.words is not None and letters is not None:
            # only the words of these texts are taken apart, each once
            ids = encoded.words[steps]
            present, steps = np.unique(steps, return_inverse=True)
            letters = [letters[word] for word in present.tolist()]
        sizes = np.ones(len(steps), np.int64)
        if by_letter and letters is not None:
            sizes = np.array([len(word) for word in letters], np.int64)[steps]
        # begins[t] is the first element of token t; the last entry is the number of all elements
        begins = np.concatenate([[0], np.cumsum(sizes)])
        found = []
        for n in range(1, self.tokens + 1):
            first = np.arange(max(0, len(ids) - n + 1))
            first = first[row[first] == row[first + n - 1]]
            key = _hashes(ids.astype(np.uint64), first, n, kind=0)
            found.append(
                Occurrences(row[first], key, begins[first], begins[first + n] - begins[first])
            )
        if self.letters and letters:
            found.append(self._spelled(row, steps, letters, begins, by_letter=by_letter))
        return Occurrences(*(np.concatenate(parts) for parts in zip(*found, strict=True)))

    def _spelled(
        self,
        row: np.ndarray,
        steps: np.ndarray,
        letters: list[np.ndarray],
        begins: np.ndarray,
        *,
        by_letter: bool,
    ) -> Occurrences:
        """Return the n-grams of letters of all tokens; each distinct word is taken apart once."""
        lengths = np.array([len(word) for word in letters], np.int64)
        padded = lengths + 2
        ends = np.cumsum(padded)
        # 0 and 1 are the ends of a word, so characters count from 2
        codes = np.zeros(int(padded.sum()), np.uint64)
        codes[ends - 1] = 1
        inside = np.ones(len(codes), bool)
        inside[ends - 1] = inside[ends - padded] = False
        codes[inside] = self.folded[np.concatenate(letters)] + np.uint64(2)
        word = np.repeat(np.arange(len(letters)), padded)
        owners, keys, firsts, counts = [], [], [], []
        for n in range(MIN_LETTERS, self.letters + 1):
            first = np.arange(max(0, len(codes) - n + 1))
            first = first[word[first] == word[first + n - 1]]
            owners.append(word[first])
            keys.append(_hashes(codes, first, n, kind=1))
            # without the two ends, from the first letter that is covered
            start = first - (ends - padded)[word[first]] - 1
            firsts.append(start.clip(0))
            counts.append((start + n).clip(None, lengths[word[first]]) - start.clip(0))
        # n-grams in the order of their words
        owner = np.concatenate(owners)
        order = np.argsort(owner, kind="stable")
        key, first, count = (np.concatenate(p)[order] for p in (keys, firsts, counts))
        sizes = np.bincount(owner, minlength=len(letters))
        # every token gets the n-grams of its word
        source = ranges(np.cumsum(sizes)[steps] - sizes[steps], sizes[steps])
        token = np.repeat(np.arange(len(steps)), sizes[steps])
        if not by_letter:
            return Occurrences(row[token], key[source], begins[token], np.ones_like(token))
        return Occurrences(row[token], key[source], begins[token] + first[source], count[source])


def ranges(firsts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the numbers from each of `firsts` on, `counts` of them, in a row.

    >>> ranges(np.array([5, 0]), np.array([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    ends = np.cumsum(counts)
    return np.asarray(np.arange(int(counts.sum())) + np.repeat(firsts - (ends - counts), counts))


def _hashes(codes: np.ndarray, first: np.ndarray, n: int, *, kind: int) -> np.ndarray:
    """Return the hashes uint32 of the n-grams of ``codes`` uint64 that begin at `first`.

    The last bit is the `kind`: 0 for n-grams of tokens, 1 for those of letters.
    """
    hashes = np.full(len(first), 2 * n + kind, np.uint64)
    for offset in range(n):
        # multiply, then mix the high bits back in; uint64 arrays wrap around
        hashes = (hashes + codes[first + offset] + np.uint64(1)) * _MULTIPLIER
        hashes ^= hashes >> _SHIFT
    return ((hashes >> np.uint64(33)) * np.uint64(2) + np.uint64(kind)).astype(np.uint32)


class Values(NamedTuple):
    """Values of the known n-grams of some texts, one entry for each distinct n-gram of a text."""

    row: np.ndarray
    """int64 ``[M]``: the text, ascending."""
    feature: np.ndarray
    """int64 ``[M]``: the index of the n-gram."""
    value: np.ndarray
    """float64 ``[M]``."""


def feature_values(
    found: Occurrences, keys: np.ndarray, scale: np.ndarray
) -> tuple[Values, np.ndarray]:
    """Return the values of those n-grams whose hashes are in `keys`, and each occurrence's share of them.

    Args:
        found: The n-grams of some texts.
        keys: The known hashes, uint32 ``[F]``, ascending.
        scale: The scale of each, ``[F]``.

    Returns:
        The values, and for each occurrence the index of its value, or -1 if it is not known.
    """
    F = len(keys)
    feature = np.searchsorted(keys, found.key).clip(max=max(0, F - 1))
    known = keys[feature] == found.key if F else np.zeros(len(feature), bool)
    cells, back, times = np.unique(
        found.row[known] * F + feature[known], return_inverse=True, return_counts=True
    )
    row, column = np.divmod(cells, max(1, F))
    value = (1 + np.log(times)) * scale[column].astype(np.float64)
    # the last bit of a key tells n-grams of tokens and of letters apart
    group = 2 * row + keys[column] % 2
    value /= np.sqrt(np.bincount(group, value**2).clip(np.finfo(np.float32).tiny))[group]
    entry = np.full(len(found.key), -1)
    entry[known] = back
    return Values(row, column, value), entry


@dataclass(frozen=True, eq=False)
class NgramPart(WidePart):
    """A linear model of the n-grams of a text; see the head of this file for its formula."""

    kind = "ngrams"
    note = "The linear model's weight of an n-gram is divided equally among what it covers."
    reader: NgramReader
    keys: np.ndarray
    """uint32 ``[F]``: the hashes of the n-grams that have weights, ascending."""
    scale: np.ndarray
    """float32 ``[F]``: the scale of each n-gram."""
    weights: np.ndarray
    """float16 ``[F, K]``."""
    bias: np.ndarray
    """float32 ``[K]``."""

    def problem(self, config: SequenceConfig) -> str:
        """Return in words why the part does not fit a network of this configuration, or "" if it does."""
        if not config.vocabulary_size or len(self.reader.folded) != config.alphabet_size:
            return f"n-grams of {len(self.reader.folded)} characters"
        return super().problem(config)

    def logits(self, encoded: Encoded) -> np.ndarray:
        """Return the logits of each text, float64 ``[N, K]``."""
        logits = np.tile(self.bias.astype(np.float64), (len(encoded.sequences), 1))
        for first in range(0, len(logits), TEXTS_PER_BLOCK):
            rows = range(first, min(first + TEXTS_PER_BLOCK, len(logits)))
            values, _ = feature_values(self.reader.read(encoded, rows), self.keys, self.scale)
            terms = values.value[:, None] * self.weights[values.feature]
            # each text is summed by itself, in the order of its n-grams, whatever is beside it
            starts = np.flatnonzero(np.diff(values.row, prepend=-1))
            if len(starts):
                logits[first + values.row[starts]] += np.add.reduceat(terms, starts)
        return logits

    def shares(self, encoded: Encoded, output: int, *, letters: bool = False) -> WideShares:
        """Return the share of each token or letter: every n-gram is divided equally among those it covers."""
        found = self.reader.read(encoded, [0], by_letter=letters)
        values, entry = feature_values(found, self.keys, self.scale)
        known = np.flatnonzero(entry >= 0)
        terms = values.value * self.weights[values.feature, output]
        # a term is divided among the occurrences of its n-gram, and then among what each covers
        divisor = np.bincount(entry[known], minlength=len(terms))[entry[known]] * found.width[known]
        each = np.repeat(terms[entry[known]] / divisor, found.width[known])
        elements = len(encoded.sequences[0])
        if letters:
            words = encoded.letters or []
            elements = sum(len(words[index]) for index in encoded.sequences[0].tolist())
        covered = ranges(found.first[known], found.width[known])
        return WideShares(np.bincount(covered, each, elements), float(self.bias[output]))

    def scaled(self, factor: float) -> Self:
        """Return the same model with logits multiplied by `factor`."""
        weights = (self.weights.astype(np.float32) * factor).astype(np.float16)
        return replace(self, weights=weights, bias=(self.bias * factor).astype(np.float32))

    def extended(self, growth: Growth, characters: int) -> Self:
        """Return the part with a logit for each new label; new characters count as themselves."""
        folded = self.reader.folded
        new = np.arange(len(folded), characters, dtype=np.uint32)
        reader = replace(self.reader, folded=np.concatenate([folded, new]))
        return replace(super().extended(growth, characters), reader=reader)

    def to_parts(self) -> tuple[JsonObject, dict[str, np.ndarray]]:
        """Return the lengths of the n-grams, and the arrays ``codec.wide.…``."""
        form = {"kind": self.kind, "tokens": self.reader.tokens, "letters": self.reader.letters}
        fields = {"folded": self.reader.folded} | {
            name: getattr(self, name) for name in [*_ARRAYS][1:]
        }
        return form, {f"codec.wide.{name}": array for name, array in fields.items()}

    @classmethod
    def from_parts(cls, form: Facts, arrays: Mapping[str, np.ndarray]) -> Self:
        """Return the part stored by `to_parts`; raises ModelFileError for anything else."""
        lengths: dict[str, int] = {}
        for name in ("tokens", "letters"):
            value = lengths[name] = form.get(name, -1)
            if type(value) is not int or not 0 <= value <= MAX_LENGTH:
                raise ModelFileError(f"codec wide {name}", got=value, expected=f"0 to {MAX_LENGTH}")
        fields = {}
        for name, dtype in _ARRAYS.items():
            array = arrays.get(f"codec.wide.{name}")
            if array is None or array.dtype != dtype or array.ndim != 1 + (name == "weights"):
                raise ModelFileError(f"codec wide {name}", expected=f"an array of {dtype.__name__}")
            if not np.isfinite(array).all():
                raise ModelFileError(f"codec wide {name}", expected="finite numbers")
            fields[name] = array
        reader = NgramReader(lengths["tokens"], lengths["letters"], fields.pop("folded"))
        part = cls(reader, **fields)
        sizes = part.scale.shape, part.weights.shape
        if sizes != (part.keys.shape, (len(part.keys), len(part.bias))):
            raise ModelFileError("codec wide", expected="a scale and a row of weights for each key")
        if (np.diff(part.keys.astype(np.int64)) <= 0).any() or (part.scale < 0).any():
            raise ModelFileError("codec wide keys", expected="each once, in order; scales above 0")
        return part
