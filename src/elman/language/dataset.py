"""The data of a language model: a text as training, validation and test set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, combinations
from pathlib import Path

import numpy as np

from elman.language.corpus import Corpus, check_long_enough, encode, token_blocks
from elman.language.options import LanguageOptions
from elman.language.split import line_keys, split_documents
from elman.language.tokenisation import SMALL_TEXT_CHARACTERS, choose_tokenisation
from elman.text.counting import count_vocabulary
from elman.text.sources import Document, Source, end_lines, read_sources
from elman.text.vocabulary import TextCodec

Documents = Sequence[Document]
TRAINING, HELD_OUT, TEST = "text to train on", "held-out text", "test set"
"""The names of the texts that a user passes, for messages."""

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

    options: LanguageOptions
    """The options of the run, with the chosen level and documents."""
    training: Corpus
    validation: Corpus | None
    """The set that chooses between networks; None if the text is too small to hold a set out."""
    test: Corpus | None
    """The set that is measured once, after all choices."""
    split: str
    """A description of how the text was split."""
    warnings: tuple[str, ...]
    """Warnings about the sets in comparison with each other."""


def _duplicate_warning(documents: Documents) -> list[str]:
    """Return a warning if two large documents have the same text."""
    min_characters = sum(document.characters for document in documents) // 100
    seen: set[tuple[int, int]] = set()
    for document in documents:
        # Comparing length and first block is enough for a warning and needs no second reading.
        key = document.characters, hash(next(iter(document.blocks()), ""))
        if document.characters > min_characters and key in seen:
            problem = "is given more than once, so held-out text may be trained on too"
            return [f"{document.name} {problem}"]
        seen.add(key)
    return []


def _shared_line_warnings(sets: Mapping[str, Documents]) -> list[str]:
    """Return a warning for each set that shares many lines with an earlier set."""
    warnings, lines = [], {}
    for name, documents in sets.items():
        # Equal lines have equal keys, whatever set they are in.
        blocks = [pair for document in documents for pair in line_keys(document.blocks(), seed=0)]
        lines[name] = [np.concatenate(arrays) for arrays in zip(*blocks, strict=True)]
    for earlier, name in combinations(lines, 2):
        keys, sizes = lines[name]
        shared = np.isin(keys, lines[earlier][0])
        if (share := sizes[shared].sum() / sizes.sum()) > REPEATED_SHARE:
            problem = f"is in the {earlier} too, which makes its figures too good"
            warnings.append(f"{share:.0%} of the {name} {problem}")
    return warnings


def _difference_warnings(training: Corpus, other: Corpus, name: str) -> list[str]:
    """Return a warning for each way in which a set is unlike the training set."""
    warnings = []
    # Many words that training has never seen are a sign of another kind of text.
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
    text: Documents,
    valid: Documents | None,
    test: Documents | None,
    options: LanguageOptions,
    workspace: Path | None,
) -> Iterator[tuple[str, list[Documents]]]:
    """Yield the ways to make three sets, the best first, with their descriptions.

    The last one is used whatever it gives. A set without documents does not exist.
    """
    if valid is not None:
        if test is None:
            halves, _ = split_documents(valid, [0.5, 0.5], options, workspace)
            yield "a text of its own", [text, *halves]
        yield "a text of its own", [text, valid, test or ()]
        return
    if sum(document.characters for document in text) >= SMALL_TEXT_CHARACTERS:
        held_out = options.held_out
        # half of the share for validation, half for the test
        shares = [held_out / 2] * (2 if test is None else 1)
        sets, split_by = split_documents(text, [1 - sum(shares), *shares], options, workspace)
        share, half = (f"{100 * part:.3g} %" for part in (sum(shares), held_out / 2))
        description = f"{share} of the {split_by}, drawn at random"
        if split_by == "end":
            description = f"the last {share} of the text"
        elif split_by == "stretches":
            last = f", and the last {half}" if test is None else ""
            description = f"stretches from all over the text, {half}{last}"
        yield description, [*sets, test or ()][:3]
    yield "nothing is held out of so small a text", [text, (), test or ()]


def load_dataset(
    text: Source,
    options: LanguageOptions,
    *,
    valid: Source | None = None,
    test: Source | None = None,
    workspace: Path | None = None,
    known: TextCodec | None = None,
) -> Dataset:
    """Return the training, validation and test set of `text`.

    A share of the characters, `options.held_out`, is kept out of training: lines, or files if there are many,
    drawn at random, or else the end of the text. One half of it is the validation set, the other half the
    test set, if that is not given. The validation set of a long text is made of stretches from all over it.
    Nothing is held out of a text below `SMALL_TEXT_CHARACTERS`.

    Args:
        text: A text, a path of a file or folder, or several of either.
        options: The options of the group "Data", and the seed of the random draw.
        valid: The held-out text, instead of a part of `text`.
        test: The test set, instead of half of the held-out text.
        workspace: The folder for nameless files with the numbers of a long text, mapped into memory.
        known: The codec of a trained model, to which the vocabulary of the text is added.

    Raises:
        DataError: A text is missing, empty, not text or too short.
        OptionError: The text does not allow the value of an option.
        OutputError: The workspace cannot be written to.

    >>> dataset = load_dataset("to be or not to be " * 100, LanguageOptions(level="char"))
    >>> len(dataset.training.ids), len(dataset.validation.ids), len(dataset.test.ids), dataset.split
    (1710, 95, 95, 'the last 10 % of the text')
    """
    texts: dict[str, Documents] = {}
    texts[TRAINING], warnings = read_sources(text, options.encoding, lines=None)
    options, choice = choose_tokenisation(texts[TRAINING], options)
    lines = options.documents == "line"
    texts[TRAINING] = end_lines(texts[TRAINING], lines=lines)
    warnings += choice + _duplicate_warning(texts[TRAINING])
    notes = {TRAINING: warnings}
    for name, source in ((HELD_OUT, valid), (TEST, test)):
        if source is not None:
            texts[name], notes[name] = read_sources(source, options.encoding, lines=lines)
    dataset = _encode_first_usable(texts, notes, options, workspace, known)
    shared = _shared_line_warnings(texts) if len(texts) > 1 else []
    return replace(dataset, warnings=(*dataset.warnings, *shared))


def _encode_first_usable(
    texts: Mapping[str, Documents],
    notes: Mapping[str, list[str]],
    options: LanguageOptions,
    workspace: Path | None,
    known: TextCodec | None,
) -> Dataset:
    """Return the sets of the first split in which every set has tokens to predict, or of the last split.

    Args:
        texts: The texts that the user passed.
        notes: The warnings about each of them.
        options: The options of the run, with the chosen level and documents.
        workspace: As in `load_dataset`.
        known: As in `load_dataset`.
    """
    text, level = texts[TRAINING], options.level or "word"
    min_count = options.min_count
    if sum(document.characters for document in text) < KEEP_ALL_WORDS_CHARACTERS:
        min_count = min_count or 1
    splits = _possible_splits(text, texts.get(HELD_OUT), texts.get(TEST), options, workspace)
    for description, sets in splits:  # noqa: B007 - used after the loop
        blocks = (token_blocks(document, level, options.split) for document in sets[0])
        codec, pruned = count_vocabulary(
            chain.from_iterable(blocks),
            level=level,
            split=options.split,
            documents=options.documents or "file",
            max_vocabulary=options.max_vocabulary,
            min_count=min_count,
        )
        if known is not None:
            codec = known.with_tokens(codec.tokens, options.max_vocabulary)
        validation, test = (
            encode(documents, codec, workspace, pruned, notes.get(name, ())) if documents else None
            for name, documents in zip((HELD_OUT, TEST), sets[1:], strict=True)
        )
        if validation and test and validation.tokens_predicted and test.tokens_predicted:
            break
    dropped = ["more than a million kinds of words: the rarest were dropped in counting"]
    warnings = notes[TRAINING] + dropped * pruned
    # The training set is encoded last, because a split that is not used would encode it in vain.
    training = encode(sets[0], codec, workspace, pruned, warnings)
    check_long_enough(training, f"the {TRAINING}")
    differences: list[str] = []
    for name, corpus in (("validation set", validation), (TEST, test)):
        if corpus is not None:
            check_long_enough(corpus, f"the {name}")
            differences += _difference_warnings(training, corpus, name)
    return Dataset(options, training, validation, test, description, tuple(differences))
