"""Readers of labelled texts in plain files: two files side by side, or a label before each text."""

from __future__ import annotations

import os
from typing import Any

from elman.errors import DataError, warn
from elman.tables.columns import column_of
from elman.text.input_files import read_lines

_FASTTEXT_PREFIX = "__label__"
_MAX_LABEL_CHARACTERS = 40
_MAX_LABELS = 100
_MIN_LINES_PER_LABEL = 10
_MIN_SHARE_WITH_TEXT = 0.9


def pair_of(source: str) -> tuple[str, str] | None:
    """Return the two file names in ``texts.txt,labels.txt``, or None if `source` does not name two files."""
    texts, comma, labels = source.partition(",")
    both_exist = comma and os.path.isfile(texts) and os.path.isfile(labels)
    return (texts, labels) if both_exist and not os.path.exists(source) else None


def read_paired_lines(
    texts: str, labels: str, encoding: str | None = None
) -> tuple[list[str], list[Any]]:
    """Return the lines of the file `texts` and, as their labels, the lines of the file `labels`.

    Raises DataError if the files differ in length or a label is empty.
    """
    text_lines = read_lines(texts, encoding)
    label_lines = [line.strip() for line in read_lines(labels, encoding)]
    if len(text_lines) != len(label_lines):
        got = f"{len(text_lines)} lines and {len(label_lines)}"
        raise DataError(f"{texts} and {labels}", got=got, expected="one label for each line")
    for number, label in enumerate(label_lines, 1):
        if not label:
            raise DataError(f"{labels}, line {number}", got="nothing", expected="a label")
    return text_lines, column_of(label_lines)[0].tolist()


def read_labelled_lines(
    path: str, encoding: str | None = None
) -> tuple[list[str], list[Any]] | None:
    """Return texts and labels of lines ``LABEL TEXT`` or ``__label__LABEL TEXT``; None for other lines.

    The first words count as labels if there are few different ones: two, or up to one for every ten lines,
    but at most a hundred.
    """
    lines = [line for line in read_lines(path, encoding) if line.strip()]
    fields = [line.split(None, 1) for line in lines]
    if not fields or sum(len(f) == 2 for f in fields) < _MIN_SHARE_WITH_TEXT * len(fields):
        return None
    # fastText marks labels by a prefix; without it, only few different first words can be labels.
    first_words = [words[0] for words in fields]
    if not all(word.startswith(_FASTTEXT_PREFIX) for word in first_words):
        distinct = len(set(first_words))
        few = 2 <= distinct <= max(2, min(_MAX_LABELS, len(lines) // _MIN_LINES_PER_LABEL))
        too_long = max(map(len, first_words)) > _MAX_LABEL_CHARACTERS
        if not few or too_long or "," in first_words[0]:
            return None
    warn([f"{path}: the first word of each line is read as its label"])
    labels = column_of([word.removeprefix(_FASTTEXT_PREFIX) for word in first_words])[0].tolist()
    return [words[1].strip() if len(words) > 1 else "" for words in fields], labels
