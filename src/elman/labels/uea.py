"""Reader of `.ts` files, the format of the UEA and UCR archives that sktime and aeon also write.

    # a comment
    @problemName Vowels
    @timeStamps false
    @dimensions 2
    @classLabel true a e
    @data
    1.0,2.0,3.0:0.1,?,0.3:a

Each line of data is one sequence: its channels, separated by ``:``, and finally the label if ``@classLabel``
or ``@targetLabel`` is true. Lengths may differ; the value ``?`` is missing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from elman.errors import DataError, warn
from elman.labels.codec import UNKNOWN_LABEL, Labels
from elman.tables.columns import MISSING, column_of
from elman.text.input_files import read_text

LabelledArrays: TypeAlias = tuple[list[np.ndarray], list[Any] | None]

_LABEL_TAGS = ("classlabel", "targetlabel")


def read_ts(path: str | os.PathLike[str], encoding: str | None = None) -> LabelledArrays:
    """Return the sequences ``[T_i, C]`` of a `.ts` file, float64 with NaN where missing, and their labels.

    Labels become numbers if all of them are. A missing label is None, and the list is None if the file has no
    labels. Raises DataError, which names the line that cannot be read.
    """
    text, notes = read_text(path, encoding)
    warn(notes)
    return parse_ts(text, os.fspath(path))


def parse_ts(text: str, name: str) -> LabelledArrays:
    r"""Return the sequences and labels in the text of a `.ts` file, which messages call `name`.

    >>> sequences, labels = parse_ts("@classLabel true a b\n@data\n1,2:3,?:b\n", "x.ts")
    >>> sequences[0].tolist(), labels
    ([[1.0, 3.0], [2.0, nan]], ['b'])
    """
    tags: dict[str, list[str]] = {}
    sequences: list[np.ndarray] = []
    labels: dict[int, str] = {}
    in_data = labelled = False
    for number, line in enumerate(map(str.strip, text.split("\n")), 1):
        where = f"{name}, line {number}"
        if not line or line.startswith("#"):
            continue
        if not in_data:
            tag, *values = line.split()
            if not tag.startswith("@"):
                raise DataError(
                    where, got=line, expected="a line that begins with @ or #, or @data"
                )
            tags[tag[1:].lower()] = values
            if in_data := tag.lower() == "@data":
                labelled = _has_labels(tags, name)
            continue
        parts = line.split(":")
        if labelled:
            labels[number] = parts.pop().strip()
        sequences.append(_sequence(parts, where))
        channels, expected = len(parts), _channels(tags, sequences)
        if channels != expected:
            remedy = "the last part of a line is its label" if labelled else ""
            raise DataError(
                where, got=f"{channels} channels", expected=f"{expected}", remedy=remedy
            )
    if not sequences:
        raise DataError(f"{name} has no line of data", expected="some after a line @data")
    return sequences, _plain(labels, tags, name) if labelled else None


def _has_labels(tags: dict[str, list[str]], name: str) -> bool:
    """Return whether lines of data end in a label; raises DataError for time stamps, which are not read."""
    if _is_true(tags, "timestamps"):
        raise DataError(
            f"{name} has time stamps", expected="@timeStamps false", remedy="leave the stamps out"
        )
    return any(_is_true(tags, tag) for tag in _LABEL_TAGS)


def _is_true(tags: dict[str, list[str]], tag: str) -> bool:
    return [value.lower() for value in tags.get(tag, [])[:1]] == ["true"]


def _channels(tags: dict[str, list[str]], sequences: Sequence[np.ndarray]) -> int:
    declared = (tags.get("dimensions") or tags.get("dimension") or [""])[0]
    return int(declared) if declared.isascii() and declared.isdigit() else sequences[0].shape[1]


def _sequence(parts: Sequence[str], where: str) -> np.ndarray:
    channels = [_numbers(part, where) for part in parts]
    lengths = {len(channel) for channel in channels}
    if len(lengths) != 1:
        got = ", ".join(map(str, map(len, channels[:8]))) or "no channel"
        raise DataError(where, got=f"channels of the lengths {got}", expected="one length")
    return np.stack(channels, axis=1)


def _numbers(part: str, where: str) -> np.ndarray:
    values = part.split(",")
    try:
        return np.array(values, np.float64)
    except ValueError:
        stripped = [value.strip().lower() for value in values]
    numbers = np.full(len(stripped), np.nan)
    for step, value in enumerate(stripped):
        if value == "" or value not in MISSING:
            try:
                numbers[step] = float(value)
            except ValueError:
                got = f"{values[step]!r} in step {step}"
                raise DataError(where, got=got, expected="a number, or ? where missing") from None
    return numbers


def _plain(labels: dict[int, str], tags: dict[str, list[str]], name: str) -> list[Any]:
    """Return the labels of all lines in the types that a table would give them, None where missing."""
    present = {line: label for line, label in labels.items() if label not in ("", "?")}
    declared = tags.get("classlabel", [])[1:]
    if declared and present:
        numbers = Labels.of(column_of(declared)[0].tolist()).encode(present.values())
        for line, number in zip(present, numbers, strict=True):
            if number == UNKNOWN_LABEL:
                got, expected = f"label {present[line]!r}", "one of @classLabel"
                raise DataError(f"{name}, line {line}", got=got, expected=expected)
    values = dict(zip(present, column_of(present.values())[0].tolist(), strict=True))
    return [values.get(line) for line in labels]
