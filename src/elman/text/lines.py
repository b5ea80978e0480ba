"""Labelled texts in plain files: a text a line beside a file of labels, or the label before each text."""

from __future__ import annotations

import os
from typing import Any

from elman.errors import DataError, warn
from elman.tables.columns import column_of
from elman.text.encodings import STDIN, read_text

__all__ = ["pair_of", "read_labelled_lines", "read_lines", "read_paired_lines"]

_FASTTEXT = "__label__"
_LONGEST_LABEL = 40
_MOST_LABELS = 100
_LINES_PER_LABEL = 10
_WITH_TEXT = 0.9  # share of the lines that have more than a label


def read_lines(path: str, encoding: str | None = None, *, name: str | None = None) -> list[str]:
    """Return the lines of a text file or of standard input; raises DataError for an empty one."""
    name = name or ("standard input" if path == STDIN else path)
    text, notes = read_text(path, encoding, name=name)
    warn(notes)
    if not text:
        raise DataError(f"{name} is empty")
    return text.removesuffix("\n").split("\n")


def pair_of(source: str) -> tuple[str, str] | None:
    """Return the two files of ``texts.txt,labels.txt``, or None where that is not the name of two files."""
    texts, comma, labels = source.partition(",")
    both = comma and os.path.isfile(texts) and os.path.isfile(labels)
    return (texts, labels) if both and not os.path.exists(source) else None


def read_paired_lines(
    texts: str, labels: str, encoding: str | None = None
) -> tuple[list[str], list[Any]]:
    """Return the lines of one file, and those of the other as labels; raises DataError where they differ."""
    found = read_lines(texts, encoding)
    marks = [line.strip() for line in read_lines(labels, encoding)]
    if len(found) != len(marks):
        got = f"{len(found)} lines and {len(marks)}"
        raise DataError(f"{texts} and {labels}", got=got, expected="a label a line for each text")
    for number, mark in enumerate(marks, 1):
        if not mark:
            raise DataError(f"{labels}, line {number}", got="nothing", expected="a label")
    return found, column_of(marks)[0].tolist()


def read_labelled_lines(
    path: str, encoding: str | None = None
) -> tuple[list[str], list[Any]] | None:
    """Return the texts and labels of lines ``LABEL TEXT`` or ``__label__LABEL TEXT``; None for other lines.

    First words are labels where they are few: two, or one for ten lines, and a hundred at most.
    """
    lines = [line for line in read_lines(path, encoding) if line.strip()]
    parts = [line.split(None, 1) for line in lines]
    marks = [part[0] for part in parts]
    few = 2 <= len({*marks}) <= max(2, min(_MOST_LABELS, len(marks) // _LINES_PER_LABEL))
    fasttext = all(mark.startswith(_FASTTEXT) for mark in marks)
    if sum(len(part) == 2 for part in parts) < _WITH_TEXT * len(parts):
        return None
    if not marks or (
        not fasttext and (not few or max(map(len, marks)) > _LONGEST_LABEL or "," in marks[0])
    ):
        return None
    warn([f"{path}: the first word of each line is read as its label"])
    labels = column_of([mark.removeprefix(_FASTTEXT) for mark in marks])[0].tolist()
    return [part[1].strip() if len(part) > 1 else "" for part in parts], labels
