"""The split of a text into training, validation and test set: at positions, or by random lines or files.

Each line has a key, which its characters and the seed determine, and the key decides to which set the line
belongs. So identical lines fall into the same set, the order of the lines does not matter, and a text of any
size is split in bounded memory.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from elman.errors import OptionError
from elman.language.options import LanguageOptions
from elman.text.growing_array import GrowingArray
from elman.text.sources import Document, LineSelection
from elman.text.words import LINE_END, code_points

MIN_FILES_TO_DRAW = 20
"""A text of fewer files is split at positions, because whole files would be too coarse."""
SAMPLE_LINES = 1_000_000
"""Only this many lines are measured to find the borders between the sets; more lines even out."""
MAX_MEAN_REPEATS = 10
"""If lines occur more often than this on average, identical lines are drawn independently."""
MAX_STRETCHES, MIN_STRETCH = 20, 1000
"""Largest number, and smallest length in characters, of the stretches that validate a long text."""
MAX_SPREAD_CHARACTERS = 20_000_000
"""A longer text is cut at its end only: each stretch costs a pass over the file, and has little to add."""

KEYS = 1 << 32
_LINE_END_CODE = ord(LINE_END)


def _hashed(numbers: np.ndarray) -> np.ndarray:
    """Return uint32 numbers that look random: the upper half of S. Vigna's splitmix64."""
    # Products of uint64 wrap around on purpose.
    mixed = numbers + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(32)).astype(np.uint32)


def line_keys(blocks: Iterable[str], seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    r"""Yield keys ``[N]`` (uint32) and lengths ``[N]`` in characters of the lines that end in each block.

    A line's key is the hash of a polynomial modulo 2**64, whose coefficients are the line's characters.

    >>> one, two, three = (keys.tolist() for keys, _ in line_keys(["a\nb", "b\na\nbb"], seed=0))
    >>> one[0] == two[1], two[0] == three[0], one[0] == two[0]
    (True, True, False)
    """
    factor = np.random.default_rng(seed).integers(2**62, size=1, dtype=np.uint64)
    factor = factor * np.uint64(2) + np.uint64(1)  # odd, so that no power of it is 0 modulo 2**64
    # polynomial and length of a line that began in an earlier block
    value, length = np.zeros(1, np.uint64), 0
    for block in blocks:
        codes = code_points(block).astype(np.uint64)
        stops = np.flatnonzero(codes == _LINE_END_CODE) + 1
        # The lines of the block: each begins at one bound and ends, with its line end, at the next.
        bounds = np.concatenate([[0], stops, [len(codes)] if block[-1] != LINE_END else []])
        bounds = bounds.astype(np.int64)
        lengths = np.diff(bounds)
        codes[stops - 1] = 0
        # powers[n] = factor**n modulo 2**64
        powers = np.ones(int(lengths.max()) + 1, np.uint64)
        np.multiply.accumulate(np.full(len(powers) - 1, factor[0]), out=powers[1:])
        # The last character of a line is multiplied by power 0, the one before it by power 1, and so on.
        exponents = np.repeat(bounds[1:], lengths) - 1 - np.arange(len(codes))
        values = np.add.reduceat(codes * powers[exponents], bounds[:-1])
        # The first line may go on from an earlier block: shift its value by the characters that were
        # added.
        values[:1] += value * powers[lengths[:1]]
        lengths[0] += length
        ended = len(stops)
        value, length = np.zeros(1, np.uint64), 0
        if ended < len(values):
            value, length = values[-1:], int(lengths[-1])
        yield _hashed(values[:ended]), lengths[:ended]
    if length:
        # The last line gets the key that it would have with a line end.
        yield _hashed(value * factor), np.array([length + 1])


def _key_borders(keys: np.ndarray, sizes: np.ndarray, shares: Sequence[float]) -> list[int]:
    """Return the keys at which the sets begin and end, so that the sets have about these shares."""
    distinct, index = np.unique(keys, return_inverse=True)
    # Share of the text in all lines whose key is at most this one, by rising key.
    cumulated = np.cumsum(np.bincount(index, weights=sizes)) / sizes.sum()
    inner = [
        int(distinct[int(np.abs(cumulated - share).argmin())]) + 1
        for share in np.cumsum(shares)[:-1].tolist()
    ]
    return [0, *inner, KEYS]


def _draw_lines(
    documents: Sequence[Document], shares: Sequence[float], seed: int, workspace: Path | None
) -> list[list[Document]]:
    all_keys = GrowingArray(np.uint32, workspace)
    sampled_sizes: list[np.ndarray] = []
    begins = [0]
    for document in documents:
        for keys, lengths in line_keys(document.blocks(), seed):
            if all_keys.length < SAMPLE_LINES:
                sampled_sizes.append(lengths)
            all_keys.append(keys)
        begins.append(all_keys.length)
    keys, sizes = all_keys.finish(), np.concatenate(sampled_sizes)
    if len(sizes) > MAX_MEAN_REPEATS * len(np.unique(keys[: len(sizes)])):
        # The lines are draws from a few sentences, and the network is to learn how often each occurs.
        # A sentence held out whole would be missing from training, so keys come from line numbers.
        all_keys = GrowingArray(np.uint32, workspace)
        for begin in range(0, len(keys), SAMPLE_LINES):
            numbers = np.arange(begin, min(begin + SAMPLE_LINES, len(keys)), dtype=np.uint64)
            all_keys.append(_hashed(_hashed(numbers).astype(np.uint64) + np.uint64(seed)))
        keys = all_keys.finish()
    if len(keys) > len(sizes):
        borders = [round(share * KEYS) for share in [0.0, *np.cumsum(shares)]]
    else:
        borders = _key_borders(keys, sizes, shares)
    return [
        [
            replace(document, lines=LineSelection(keys[begin:end], low, high))
            for document, begin, end in zip(documents, begins, begins[1:], strict=False)
        ]
        for low, high in itertools.pairwise(borders)
    ]


def _draw_files(
    documents: Sequence[Document], shares: Sequence[float], seed: int
) -> list[list[Document]] | None:
    """Return sets of whole files, or None if a set's share would be wrong by more than a factor of 2."""
    keys = []
    for document in documents:
        # The key of a file depends on its text and the seed, not on its name or position.
        digest = hashlib.blake2b(str(seed).encode(), digest_size=4)
        for block in document.blocks():
            digest.update(block.encode("utf-8", "surrogatepass"))
        keys.append(int.from_bytes(digest.digest(), "big"))
    sizes = np.array([document.characters for document in documents], np.float64)
    borders = _key_borders(np.array(keys), sizes, shares)
    sets = [
        [document for document, key in zip(documents, keys, strict=True) if low <= key < high]
        for low, high in itertools.pairwise(borders)
    ]
    for drawn, share in zip(sets, shares, strict=True):
        actual = sum(document.characters for document in drawn) / sizes.sum()
        # A few large files cannot be divided into the wanted shares.
        if not share / 2 <= actual <= 2 * share:
            return None
    return sets


def _stretch(documents: Sequence[Document], first: int, last: int) -> list[Document]:
    """Return what lies between two positions of the text that the documents make together."""
    stretches, at = [], 0
    for document in documents:
        start, stop = max(first - at, 0), min(last - at, document.characters)
        if start < stop:
            stretches.append(replace(document, start=start, stop=stop))
        at += document.characters
    return stretches


def _located_blocks(
    documents: Sequence[Document], first: int, last: int
) -> Iterator[tuple[int, str]]:
    """Yield the blocks between two positions of the text, each with the position of its first character."""
    at = first
    for document in _stretch(documents, first, last):
        for block in document.blocks():
            yield at, block
            at += len(block)


def _cut_position(documents: Sequence[Document], wanted: int, border: str) -> int:
    """Return the end of the first match of the expression `border` at position `wanted` or later.

    If no text follows that match, return the end of the last match before `wanted`, or the end of the text
    if there is no such match either.
    """
    total = sum(document.characters for document in documents)
    position = 0
    for at, block in _located_blocks(documents, wanted, total):
        if not position and (match := re.search(border, block)):
            position = at + match.end()
        if position and block[max(0, position - at) :].strip():
            return position
    position = 0
    for at, block in _located_blocks(documents, 0, wanted):
        for match in re.finditer(border, block):
            position = at + match.end()
    return position or total


def _cut_at_positions(
    documents: Sequence[Document], shares: Sequence[float], borders: Sequence[str]
) -> list[list[Document]]:
    """Return the sets in the order of the text, cut at the first of `borders` that occurs."""
    total = sum(document.characters for document in documents)
    positions = [0]
    for share in np.cumsum(shares)[:-1].tolist():
        # The small number undoes the rounding of shares such as 0.1 + 0.2.
        wanted = int(share * total + 1e-6)
        cuts = (_cut_position(documents, wanted, border) for border in borders)
        position = next((cut for cut in cuts if cut < total), total) if borders else wanted
        positions.append(max(positions[-1], position))
    positions.append(total)
    return [_stretch(documents, first, last) for first, last in itertools.pairwise(positions)]


def _spread(
    documents: Sequence[Document], shares: Sequence[float], borders: Sequence[str], count: int
) -> list[list[Document]]:
    """Return the sets of a long text, whose validation set is made of `count` stretches from all over it.

    The test set, if there is one, is the end. Training then reaches to the test set, and the validation set
    is not a chapter of its own, about which the other chapters say less than about themselves.
    """
    total = sum(document.characters for document in documents)

    def position(share: float) -> int:
        wanted = int(share * total + 1e-6)
        cuts = (_cut_position(documents, wanted, border) for border in borders)
        return next((cut for cut in cuts if cut < total), total) if borders else wanted

    rest = shares[0] + shares[1]
    end = position(rest) if len(shares) > 2 else total
    sets: list[list[Document]] = [[], []]
    at = 0
    for index in range(count):
        cut = position((rest * index + shares[0]) / count)
        stop = end if index == count - 1 else position(rest * (index + 1) / count)
        sets[0] += _stretch(documents, at, cut)
        sets[1] += _stretch(documents, cut, stop)
        at = stop
    return sets if len(shares) < 3 else [*sets, _stretch(documents, end, total)]


def split_documents(
    documents: Sequence[Document],
    shares: Sequence[float],
    options: LanguageOptions,
    workspace: Path | None,
) -> tuple[list[list[Document]], str]:
    """Return the documents of each set, and by what they were split: "lines", "files", "end" or "stretches".

    Lines or files are drawn at random, or the text is cut at positions: a text of words at white space, or
    at other borders of words.

    Args:
        documents: The text.
        shares: The share of each set in the text's characters; they sum to 1.
        options: The options of the run, with the chosen level and documents.
        workspace: The folder for the keys of a long text.

    Raises:
        OptionError: `held_out_from` is "random", but the text has neither lines nor enough files.
    """
    lines, held_out_from = options.documents == "line", options.held_out_from
    if options.split == "log" and held_out_from == "auto":
        held_out_from = "end"  # the lines of a log are in the order of time
    if held_out_from != "end" and lines:
        return _draw_lines(documents, shares, options.seed, workspace), "lines"
    many_files = held_out_from != "end" and len(documents) >= MIN_FILES_TO_DRAW
    if many_files and (sets := _draw_files(documents, shares, options.seed)):
        return sets, "files"
    if held_out_from == "random":
        raise OptionError(
            "held_out_from",
            got=f"random for {len(documents)} files",
            expected=f"documents of a line each, or {MIN_FILES_TO_DRAW} files of similar length",
            remedy="pass documents='line', or hold out the end",
        )
    # The second border is tried where the first one never occurs, as in a text without white space.
    borders = [LINE_END] if lines else [r"\s", r"\W"] if options.level == "word" else []
    total = sum(document.characters for document in documents)
    stretches = min(MAX_STRETCHES, int(shares[1] * total) // MIN_STRETCH)
    if held_out_from == "auto" and not lines and stretches > 1 and total <= MAX_SPREAD_CHARACTERS:
        return _spread(documents, shares, borders, stretches), "stretches"
    return _cut_at_positions(documents, shares, borders), "end"
