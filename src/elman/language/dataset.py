"""The data of a language model: a text as training, validation and test set."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np

from elman.language.corpus import Corpus, check_long_enough, encode, token_blocks
from elman.language.options import LanguageOptions
from elman.language.split import line_keys, split_documents
from elman.language.tokenisation import SMALL_TEXT_CHARACTERS, choose_tokenisation
from elman.text.counting import count_vocabulary
from elman.text.sources import Document, Source, end_lines, read_sources
from elman.text.vocabulary import TextCodec

KEEP_ALL_WORDS_CHARACTERS = 25_000
"""In a shorter text, words that occur once are kept, because they are a large part of it."""
UNKNOWN_TIMES, UNKNOWN_SHARE = 2.0, 0.05
"""A set is unlike the training set if its share of unknown tokens is more than `UNKNOWN_TIMES` times as large
as there, plus `UNKNOWN_SHARE`."""
REPEATED_SHARE = 0.1
"""With a larger share of characters in lines that another set has too, a set's figures are too good."""
MAX_LENGTH_RATIO = 1.25
"""A set is unlike the training set if its documents are longer or shorter on average by this factor."""
MIN_DOCUMENTS_FOR_MEAN = 30
"""The mean length of fewer documents says nothing."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """The three sets of a text, encoded with the vocabulary of the training set."""

    training: Corpus
    validation: Corpus | None
    """The set that chooses between networks; None if the text is too small to hold a set out."""
    test: Corpus | None
    """The set that is measured once, after all choices."""
    split: str
    """A description of how the text was split."""
    warnings: tuple[str, ...]
    """Warnings about the sets in comparison with each other."""


class _Split(NamedTuple):
    training: Sequence[Document]
    validation: Sequence[Document]
    test: Sequence[Document]
    description: str


def _duplicate_warning(documents: Sequence[Document]) -> list[str]:
    """Return a warning if two large documents have the same text."""
    min_characters = sum(document.characters for document in documents) // 100
    seen: set[tuple[int, int]] = set()
    for document in documents:
        key = document.characters, hash(next(iter(document.blocks()), ""))
        if document.characters > min_characters and key in seen:
            problem = "is given more than once, so held-out text may be trained on too"
            return [f"{document.name} {problem}"]
        seen.add(key)
    return []


def _shared_line_warnings(sets: Mapping[str, Sequence[Document]]) -> list[str]:
    """Return a warning for each set that shares many lines with an earlier set."""
    warnings = []
    lines = {
        name: [pair for document in documents for pair in line_keys(document.blocks(), seed=0)]
        for name, documents in sets.items()
    }
    for earlier, name in combinations((name for name in lines if lines[name]), 2):
        keys, sizes = map(np.concatenate, zip(*lines[name], strict=True))
        shared = np.isin(keys, np.concatenate([earlier_keys for earlier_keys, _ in lines[earlier]]))
        if (share := sizes[shared].sum() / sizes.sum()) > REPEATED_SHARE:
            problem = f"is in the {earlier} too, which makes its figures too good"
            warnings.append(f"{share:.0%} of the {name} {problem}")
    return warnings


def _difference_warnings(training: Corpus, other: Corpus, name: str) -> list[str]:
    """Return a warning for each way in which a set is unlike the training set."""
    warnings = []
    unknown, usual = (
        corpus.facts.unknown / max(1, corpus.facts.tokens) for corpus in (other, training)
    )
    if unknown > UNKNOWN_TIMES * usual + UNKNOWN_SHARE:
        warnings.append(
            f"the {name} is unlike the training set: {unknown:.0%} of its tokens are unknown"
            f" (training set {usual:.0%})"
        )
    length, usual = (len(corpus.ids) / len(corpus.starts) for corpus in (other, training))
    similar = 1 / MAX_LENGTH_RATIO < length / usual < MAX_LENGTH_RATIO
    if len(other.starts) >= MIN_DOCUMENTS_FOR_MEAN and not similar:
        warnings.append(
            f"the {name} is unlike the training set: its documents have {length:.1f} tokens"
            f" on average (training set {usual:.1f})"
        )
    return warnings


def _possible_splits(
    text: Sequence[Document],
    valid: Sequence[Document] | None,
    test: Sequence[Document] | None,
    held_out: float,
    split: Callable[[Sequence[Document], Sequence[float]], tuple[list[list[Document]], str]],
) -> list[_Split]:
    """Return the ways to make three sets, the best first; the last one is used whatever it gives."""
    if valid is not None:
        own = "a text of its own"
        whole = _Split(text, valid, test or (), own)
        if test is not None:
            return [whole]
        halves, _ = split(valid, [0.5, 0.5])
        return [_Split(text, halves[0], halves[1], own), whole]
    nothing = _Split(text, (), test or (), "nothing is held out of so small a text")
    if sum(document.characters for document in text) < SMALL_TEXT_CHARACTERS:
        return [nothing]
    halves_of = [1.0] if test is not None else [0.5, 0.5]
    sets, split_by = split(text, [1 - held_out, *(held_out * share for share in halves_of)])
    share = f"{100 * held_out:.3g} % of the"
    description = (
        f"the last {share} text" if split_by == "end" else f"{share} {split_by}, drawn at random"
    )
    training, validation, tested = [*sets, test or []][:3]
    return [_Split(training, validation, tested, description), nothing]


def load_dataset(
    text: Source,
    options: LanguageOptions,
    *,
    valid: Source | None = None,
    test: Source | None = None,
    workspace: Path | None = None,
) -> Dataset:
    """Return the training, validation and test set of `text`.

    A share of the characters, `options.held_out`, is kept out of training: lines, or files if there are many,
    drawn at random, or else the end of the text. One half of it is the validation set, the other half the
    test set. Nothing is held out of a text below `SMALL_TEXT_CHARACTERS`.

    Args:
        text: A text, a path of a file or folder, or several of either.
        options: The options of the group "Data", and the seed of the random draw.
        valid: The held-out text, instead of a part of `text`.
        test: The test set, instead of half of the held-out text.
        workspace: The folder for nameless files with the numbers of a long text, mapped into memory.

    Raises:
        DataError: A text is missing, empty, not text or too short.
        OptionError: The text does not allow the value of an option.
        OutputError: The workspace cannot be written to.

    >>> dataset = load_dataset("to be or not to be " * 100, LanguageOptions(level="char"))
    >>> len(dataset.training.ids), len(dataset.validation.ids), len(dataset.test.ids), dataset.split
    (1710, 95, 95, 'the last 10 % of the text')
    """
    text_documents, warnings = read_sources(text, options.encoding, lines=None)
    level, unit, choice = choose_tokenisation(
        text_documents, options.level, options.documents, options.split
    )
    lines = unit == "line"
    text_documents = end_lines(text_documents, lines=lines)
    warnings += choice + _duplicate_warning(text_documents)
    (valid_documents, valid_warnings), (test_documents, test_warnings) = (
        (None, []) if source is None else read_sources(source, options.encoding, lines=lines)
        for source in (valid, test)
    )
    # The lines of a log are in the order of time, so its end is held out.
    in_order = options.split == "log" and options.held_out_from == "auto"
    split = functools.partial(
        split_documents,
        level=level,
        lines=lines,
        held_out_from="end" if in_order else options.held_out_from,
        seed=options.seed,
        workspace=workspace,
    )
    min_count = options.min_count
    if sum(document.characters for document in text_documents) < KEEP_ALL_WORDS_CHARACTERS:
        min_count = min_count or 1
    dataset = _encode_first_usable(
        _possible_splits(text_documents, valid_documents, test_documents, options.held_out, split),
        functools.partial(
            count_vocabulary,
            level=level,
            split=options.split,
            documents=unit,
            max_vocabulary=options.max_vocabulary,
            min_count=min_count,
        ),
        functools.partial(token_blocks, level=level, split=options.split),
        (warnings, valid_warnings, test_warnings),
        workspace,
    )
    if not valid_documents and not test_documents:
        return dataset
    shared = _shared_line_warnings(
        {
            "text to train on": text_documents,
            "held-out text": valid_documents or (),
            "test set": test_documents or (),
        }
    )
    return replace(dataset, warnings=(*dataset.warnings, *shared))


def _encode_first_usable(
    splits: Sequence[_Split],
    count: Callable[[Iterable[str]], tuple[TextCodec, bool]],
    blocks_of: Callable[[Document], Iterator[str]],
    warnings: tuple[list[str], list[str], list[str]],
    workspace: Path | None,
) -> Dataset:
    """Return the sets of the first split in which every set has tokens to predict, or of the last split.

    `warnings` are those about the text, the held-out text and the test set.
    """
    for sets in splits:
        codec, pruned = count(chain.from_iterable(map(blocks_of, sets.training)))
        encode_set = functools.partial(encode, codec=codec, workspace=workspace, pruned=pruned)
        validation, test = (
            encode_set(documents, warnings=notes) if documents else None
            for documents, notes in zip(sets[1:3], warnings[1:], strict=True)
        )
        if validation and test and validation.tokens_predicted and test.tokens_predicted:
            break
    if pruned:
        warnings[0].append(
            "more than a million kinds of words: the rarest were dropped in counting"
        )
    training = encode_set(sets.training, warnings=warnings[0])
    check_long_enough(training, "the text to train on")
    differences: list[str] = []
    for name, corpus in (("validation set", validation), ("test set", test)):
        if corpus is not None:
            check_long_enough(corpus, f"the {name}")
            differences += _difference_warnings(training, corpus, name)
    return Dataset(training, validation, test, sets.description, tuple(differences))
