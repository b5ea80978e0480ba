"""A text as its training, validation and test set."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from pathlib import Path

import numpy as np

from elman.errors import OptionError
from elman.language.corpus import Corpus, demand, encode, token_blocks
from elman.language.guess import SMALL_TEXT, guess_reading
from elman.language.split import FROM, divide, line_keys
from elman.text.sources import Document, Source, end_lines, read_sources
from elman.text.vocabulary import count_vocabulary
from elman.text.words import LINE_END

__all__ = ["SMALL_TEXT", "Corpora", "load_corpora"]

KEEP_ALL_WORDS = 25_000
"""Characters below which words that occur once are kept: they are a large part of a small text."""
STRANGE_TIMES, STRANGE_SHARE = 2.0, 0.05
"""A set with more unknown tokens than so many times the training set's share plus this share is unlike it."""
REPEATED_SHARE = 0.1
"""Share of a set's characters in lines of another set above which its figures flatter."""
LENGTH_RATIO = 1.25
"""How many times as long documents are on average in a set unlike the training set."""


@dataclass(frozen=True, eq=False)
class Corpora:
    """A text as its three sets, with the vocabulary of the first alone."""

    training: Corpus
    validation: Corpus | None
    """What chooses among networks; None where nothing is held out of the text."""
    test: Corpus | None
    """What is measured once, after all choices."""
    split: str
    """How the text was divided, in words."""
    warnings: tuple[str, ...]
    """What is odd about the sets beside one another, in words."""


def _repeated(documents: Sequence[Document]) -> list[str]:
    """Return a warning of a file or text that is given more than once, by one name or two."""
    least = sum(document.characters for document in documents) // 100
    seen: set[tuple[int, int]] = set()
    for document in documents:
        key = document.characters, hash(next(iter(document.blocks()), ""))
        if document.characters > least and key in seen:
            warning = "is given more than once: what is held out may be trained on too"
            return [f"{document.name} {warning}"]
        seen.add(key)
    return []


def _known(sets: Mapping[str, Sequence[Document]]) -> list[str]:
    """Return a warning for each set with many characters in lines that an earlier set has too."""
    notes = []
    lines = {
        name: [pair for one in documents for pair in line_keys(one.blocks(), seed=0)]
        for name, documents in sets.items()
    }
    for other, name in combinations((name for name in lines if lines[name]), 2):
        keys, sizes = map(np.concatenate, zip(*lines[name], strict=True))
        known = np.isin(keys, np.concatenate([theirs for theirs, _ in lines[other]]))
        if (share := sizes[known].sum() / sizes.sum()) > REPEATED_SHARE:
            notes.append(f"{share:.0%} of the {name} is in the {other} too: its figures flatter")
    return notes


def _unlike(training: Corpus, other: Corpus, name: str) -> list[str]:
    """Return in which ways a set is unlike the training set."""
    notes = []
    strange, usual = (one.facts.unknown / max(1, one.facts.tokens) for one in (other, training))
    if strange > STRANGE_TIMES * usual + STRANGE_SHARE:
        notes.append(
            f"the {name} is unlike the training set: {strange:.0%} of its tokens are unknown"
            f" (training set {usual:.0%})"
        )
    length, usual = (len(one.ids) / len(one.starts) for one in (other, training))
    # of a few documents the mean length tells nothing
    if len(other.starts) >= 30 and not 1 / LENGTH_RATIO < length / usual < LENGTH_RATIO:
        notes.append(
            f"the {name} is unlike the training set: its documents have {length:.1f} tokens"
            f" on average (training set {usual:.1f})"
        )
    return notes


def load_corpora(
    text: Source,
    *,
    level: str | None = None,
    split: str = "words",
    documents: str | None = None,
    max_vocabulary: int | None = None,
    min_count: int | None = None,
    encoding: str | None = None,
    held_out: float = 0.1,
    held_out_from: str = "auto",
    seed: int = 0,
    valid: Source | None = None,
    test: Source | None = None,
    workspace: Path | None = None,
) -> Corpora:
    """Return the training, validation and test set of `text`.

    The share `held_out` of the characters is kept from training: lines, or files where they are many, drawn
    by the seed, and else the end of the text, cut at white space for words. One half of it validates, the
    other half tests. Of a text below `SMALL_TEXT` nothing is held out.

    Args:
        text: a text, a path of a file or folder, or several of either.
        level: "char" or "word"; None takes words, or characters where words do not fit the text.
        split: how words are found; of a "log" the end is held out, for its lines are in order.
        documents: "file" or "line"; None takes files, or lines where the text is a list of words.
        max_vocabulary: as in `count_vocabulary`.
        min_count: as in `count_vocabulary`.
        encoding: the encoding of the files; None finds it out.
        held_out: share of the text between 0 and 1.
        held_out_from: "auto", "random" or "end".
        seed: what the draw depends on.
        valid: the data held out, in place of a part of `text`.
        test: the test set, in place of half of what is held out.
        workspace: the folder in which long texts are kept as nameless files that are mapped into memory.

    Raises:
        DataError: a text is missing, empty, no text or too short.
        OptionError: an option's value cannot be.
        OutputError: the workspace cannot be written.

    >>> corpora = load_corpora("to be or not to be " * 100, level="char")
    >>> len(corpora.training.ids), len(corpora.validation.ids), len(corpora.test.ids), corpora.split
    (1710, 95, 95, 'the last 10 % of the text')
    """
    # an option's fault is told before a long text is read
    count = functools.partial(count_vocabulary, split=split, max_vocabulary=max_vocabulary)
    count((), level=level or "word", documents=documents or "file", min_count=min_count)
    if valid is None and not 0.0 < held_out < 1.0:
        raise OptionError("held_out", got=held_out, expected="a share between 0 and 1")
    if held_out_from not in FROM:
        raise OptionError("held_out_from", got=held_out_from, expected="one of " + ", ".join(FROM))
    whole, warnings = read_sources(text, encoding, lines=None)
    if level is None or documents is None:
        likely, unit, why = guess_reading(whole, level, split)
        level, documents = level or likely, documents or unit
        if why and (level, documents) == (likely, unit):
            each = ", each line by itself" if unit == "line" else ""
            kind = "characters" if level == "char" else "words"
            warnings.append(f"{why}: read as {kind}{each}; level and documents choose otherwise")
    lines = documents == "line"
    whole = end_lines(whole, lines=lines)
    held, later = ([], []) if valid is None else read_sources(valid, encoding, lines=lines)
    tested, last = ([], []) if test is None else read_sources(test, encoding, lines=lines)
    warnings += _repeated(whole)
    shares = [1.0] if test is not None else [0.5, 0.5]
    if valid is None:
        shares = [1 - held_out, *(held_out * share for share in shares)]
    division = functools.partial(
        divide,
        breaks=[LINE_END] if lines else [r"\s", r"\W"] if level == "word" else [],
        lines=lines,
        source="end" if split == "log" and held_out_from == "auto" else held_out_from,
        seed=seed,
        workspace=workspace,
    )
    characters = sum(document.characters for document in whole)
    minimum = 1 if min_count is None and characters < KEEP_ALL_WORDS else min_count
    kept = f"{100 * held_out:.3g} % of the"
    # ways to divide the text, the best first; the last one is taken as it is
    ways: list[tuple[Sequence[list[Document]], str]] = [
        ([whole, held, tested], "a text of its own")
    ]
    if valid is not None and test is None:
        ways.insert(0, ([whole, *division(held, shares)[0]], "a text of its own"))
    elif valid is None:
        ways = [([whole, [], tested], "nothing is held out of so small a text")]
        if characters >= SMALL_TEXT:
            sets, by = division(whole, shares)
            drawn = f"the last {kept} text" if by == "end" else f"{kept} {by}, drawn at random"
            ways.insert(0, ([*sets, tested][:3], drawn))
    for (training, *others), how in ways:  # noqa: B007 - `how` is that of the way taken
        blocks = (token_blocks(document, level, split) for document in training)
        codec, pruned = count(
            chain.from_iterable(blocks), level=level, documents=documents, min_count=minimum
        )
        validation, test_set = (
            encode(some, codec, workspace, pruned=pruned, warnings=notes) if some else None
            for some, notes in zip(others, (later, last), strict=True)
        )
        if all(one is not None and one.tokens_predicted for one in (validation, test_set)):
            break
    if pruned:
        warnings.append("more than a million kinds of words: the rarest were dropped in counting")
    remedy = "pass a longer text"
    corpus = encode(training, codec, workspace, pruned=pruned, warnings=warnings)
    odd: list[str] = []
    found = {"text to train on": corpus, "validation set": validation, "test set": test_set}
    for name, one in found.items():
        if one is not None:
            demand(one, f"the {name}", remedy)
            odd += _unlike(corpus, one, name)
    if held or tested:
        odd += _known({"text to train on": whole, "held-out text": held, "test set": tested})
    return Corpora(corpus, validation, test_set, how, tuple(odd))
