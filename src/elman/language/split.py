"""The division of a text into its sets: by place, or by lines or files that are drawn at random.

A line is drawn by a key that its own characters and the seed determine. So identical lines fall on one side,
the order of the lines changes nothing, and a text of any size is divided in bounded memory.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from elman.errors import OptionError
from elman.text.sources import Document, Lot, cut, part
from elman.text.spool import Spool
from elman.text.vocabulary import code_points
from elman.text.words import LINE_END

__all__ = ["FROM", "MIN_FILES", "divide", "line_keys"]

FROM = ("auto", "random", "end")
MIN_FILES = 20
"""Files below which a text of several files is held out by place: whole files would be too coarse."""
SAMPLE_LINES = 1_000_000
"""Lines from which the bounds between the sets are found; more need no counting to have their share."""
MAX_REPEATS = 10
"""Mean number of times a line occurs, above which identical lines are drawn one by one."""

KEYS = 1 << 32
_WORD = np.uint64(2**64 - 1)
_LINE_END = ord(LINE_END)


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """Return uint32 numbers that look random: S. Vigna's splitmix64, its upper half."""
    mixed = numbers + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(32)).astype(np.uint32)


def line_keys(blocks: Iterable[str], seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    r"""Yield keys ``[N]`` (uint32) and lengths ``[N]`` in characters of the lines that end in each block.

    A line's key is the value of a polynomial with its characters as coefficients, modulo 2**64, mixed.

    >>> one, two, three = (keys.tolist() for keys, _ in line_keys(["a\nb", "b\na\nbb"], seed=0))
    >>> one[0] == two[1], two[0] == three[0], one[0] == two[0]
    (True, True, False)
    """
    factor = np.random.default_rng(seed).integers(2**62, size=1, dtype=np.uint64)
    factor = factor * np.uint64(2) + np.uint64(1)  # odd, so that no power of it vanishes
    value, length = np.zeros(1, np.uint64), 0  # of the line that goes on in the next block
    for block in blocks:
        codes = code_points(block).astype(np.uint64)
        stops = np.flatnonzero(codes == _LINE_END) + 1
        bounds = np.concatenate([[0], stops, [len(codes)] if block[-1] != LINE_END else []])
        bounds = bounds.astype(np.int64)
        lengths = np.diff(bounds)
        codes[stops - 1] = 0
        powers = np.ones(int(lengths.max()) + 1, np.uint64)
        np.multiply.accumulate(np.full(len(powers) - 1, factor[0]), out=powers[1:])
        below = np.repeat(bounds[1:], lengths) - 1 - np.arange(len(codes))
        values = np.add.reduceat(codes * powers[below], bounds[:-1])
        values[:1] += value * powers[lengths[:1]]
        lengths[0] += length
        ended = len(stops)
        value, length = np.zeros(1, np.uint64), 0
        if ended < len(values):
            value, length = values[-1:], int(lengths[-1])
        yield _mixed(values[:ended]), lengths[:ended]
    if length:
        # as if its line end were there
        yield _mixed(value * factor), np.array([length + 1])


def _bounds(keys: np.ndarray, sizes: np.ndarray, shares: Sequence[float]) -> list[int]:
    """Return the keys at which each set begins, and the end, so that they have about these shares."""
    distinct, which = np.unique(keys, return_inverse=True)
    reached = np.cumsum(np.bincount(which, weights=sizes)) / sizes.sum()
    inner = [
        int(distinct[int(np.abs(reached - share).argmin())]) + 1
        for share in np.cumsum(shares)[:-1].tolist()
    ]
    return [0, *inner, KEYS]


def _draw_lines(
    documents: Sequence[Document], shares: Sequence[float], seed: int, workspace: Path | None
) -> list[list[Document]]:
    characters = sum(document.characters for document in documents)
    spool = Spool(np.dtype(np.uint32), workspace, characters)
    sample: list[np.ndarray] = []
    begins = [0]
    for document in documents:
        for keys, lengths in line_keys(document.blocks(), seed):
            if spool.length < SAMPLE_LINES:
                sample.append(lengths)
            spool.append(keys)
        begins.append(spool.length)
    keys, sizes = spool.finish(), np.concatenate(sample)
    if len(sizes) > MAX_REPEATS * len(np.unique(keys[: len(sizes)])):
        # what repeats itself so often are draws from few sentences, and how often each comes is what
        # there is to learn: a sentence that is nowhere in training would have been taken out of it
        spool = Spool(np.dtype(np.uint32), workspace, characters)
        for begin in range(0, len(keys), SAMPLE_LINES):
            numbers = np.arange(begin, min(begin + SAMPLE_LINES, len(keys)), dtype=np.uint64)
            spool.append(_mixed(_mixed(numbers).astype(np.uint64) + np.uint64(seed)))
        keys = spool.finish()
    if len(keys) > len(sizes):
        bounds = [round(share * KEYS) for share in [0.0, *np.cumsum(shares)]]
    else:
        bounds = _bounds(keys, sizes, shares)
    return [
        [
            replace(document, lot=Lot(keys[begin:end], low, high))
            for document, begin, end in zip(documents, begins, begins[1:], strict=False)
        ]
        for low, high in itertools.pairwise(bounds)
    ]


def _draw_files(
    documents: Sequence[Document], shares: Sequence[float], seed: int
) -> list[list[Document]] | None:
    """Return whole files drawn by their content, or None where that misses the shares by a factor of 2."""
    keys = []
    for document in documents:
        digest = hashlib.blake2b(str(seed).encode(), digest_size=4)
        for block in document.blocks():
            digest.update(block.encode("utf-8", "surrogatepass"))
        keys.append(int.from_bytes(digest.digest(), "big"))
    sizes = np.array([document.characters for document in documents], np.float64)
    bounds = _bounds(np.array(keys), sizes, shares)
    sets = [
        [document for document, key in zip(documents, keys, strict=True) if low <= key < high]
        for low, high in itertools.pairwise(bounds)
    ]
    for drawn, share in zip(sets, shares, strict=True):
        reached = sum(document.characters for document in drawn) / sizes.sum()
        if not share / 2 <= reached <= 2 * share:
            return None
    return sets


def divide(
    documents: Sequence[Document],
    shares: Sequence[float],
    *,
    breaks: Sequence[str],
    lines: bool,
    source: str,
    seed: int,
    workspace: Path | None,
) -> tuple[list[list[Document]], str]:
    """Return the documents of each set, and how they were found: "lines", "files" or "end".

    Args:
        documents: the whole text.
        shares: the share of each set of the text's characters, in the order of the text; their sum is 1.
        breaks: regular expressions for where the text may be cut, the best first; none is anywhere.
        lines: whether each line is a document.
        source: "random" draws lines or files, "end" cuts at places; "auto" draws where that can be.
        seed: what draws depend on.
        workspace: the folder for what is kept on disk of a long text.

    Raises:
        OptionError: `source` is "random" for a text that has neither lines nor enough files to draw.
    """
    if source != "end" and lines:
        return _draw_lines(documents, shares, seed, workspace), "lines"
    many = source != "end" and len(documents) >= MIN_FILES
    if many and (files := _draw_files(documents, shares, seed)):
        return files, "files"
    if source == "random":
        raise OptionError(
            "held_out_from",
            got=f"random for {len(documents)} files",
            expected=f"documents of a line each, or {MIN_FILES} files of similar length",
            remedy="pass documents='line', or hold out the end",
        )
    total = sum(document.characters for document in documents)
    places = [0]
    for share in np.cumsum(shares)[:-1].tolist():
        wanted = int(share * total + 1e-6)
        found = (cut(documents, wanted, pattern) for pattern in breaks)
        place = next((one for one in found if one < total), total) if breaks else wanted
        places.append(max(places[-1], place))
    places.append(total)
    sets = [part(documents, first, last) for first, last in itertools.pairwise(places)]
    return sets, "end"
