"""The `.ts` files of the UEA and UCR archives, as sktime and aeon write them: sequences and their labels.

    # a comment
    @problemName Vowels
    @timeStamps false
    @dimensions 2
    @classLabel true a e
    @data
    1.0,2.0,3.0:0.1,?,0.3:a

A line of data is one sequence: its channels with ``:`` between them, last the label where ``@classLabel``
or ``@targetLabel`` is true. Lengths may differ; a value ``?`` is missing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from elman.errors import DataError, warn
from elman.labels.codec import ABSENT, Labels
from elman.tables.columns import MISSING, column_of
from elman.text.encodings import read_text

__all__ = ["parse_ts", "read_ts"]

Parsed: TypeAlias = tuple[list[np.ndarray], list[Any] | None]

_LABELS = ("classlabel", "targetlabel")


def read_ts(path: str | os.PathLike[str], encoding: str | None = None) -> Parsed:
    """Return the sequences ``[T_i, C]`` of a `.ts` file, float64, NaN where missing, and their labels.

    The labels are None where the file has none; one of them is None where it is missing. Labels that are
    all numbers are numbers. Raises DataError with the line that cannot be read.
    """
    text, notes = read_text(path, encoding)
    warn(notes)
    return parse_ts(text, os.fspath(path))


def parse_ts(text: str, name: str) -> Parsed:
    r"""Return what `read_ts` does, of a `text` that messages call `name`.

    >>> sequences, labels = parse_ts("@classLabel true a b\n@data\n1,2:3,?:b\n", "x.ts")
    >>> sequences[0].tolist(), labels
    ([[1.0, 3.0], [2.0, nan]], ['b'])
    """
    tags: dict[str, list[str]] = {}
    sequences: list[np.ndarray] = []
    labels: dict[int, str] = {}
    begun = labelled = False
    for number, line in enumerate(map(str.strip, text.split("\n")), 1):
        where = f"{name}, line {number}"
        if not line or line.startswith("#"):
            continue
        if not begun:
            tag, *values = line.split()
            if not tag.startswith("@"):
                raise DataError(
                    where, got=line, expected="a line that begins with @ or #, or @data"
                )
            tags[tag[1:].lower()] = values
            if begun := tag.lower() == "@data":
                labelled = _labelled(tags, name)
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
        raise DataError(f"{name} has no line of data", expected="some behind a line @data")
    return sequences, _plain(labels, tags, name) if labelled else None


def _labelled(tags: dict[str, list[str]], name: str) -> bool:
    """Return whether the lines of data end in a label; raises DataError for what is not read here."""
    if _is_true(tags, "timestamps"):
        raise DataError(
            f"{name} has time stamps", expected="@timeStamps false", remedy="leave the stamps out"
        )
    return any(_is_true(tags, tag) for tag in _LABELS)


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
        plain = [value.strip().lower() for value in values]
    found = np.full(len(plain), np.nan)
    for step, value in enumerate(plain):
        if value == "" or value not in MISSING:
            try:
                found[step] = float(value)
            except ValueError:
                got = f"{values[step]!r} in step {step}"
                raise DataError(where, got=got, expected="a number, or ? where missing") from None
    return found


def _plain(labels: dict[int, str], tags: dict[str, list[str]], name: str) -> list[Any]:
    """Return labels, given by their lines, as a table would have them, None where missing."""
    held = {line: label for line, label in labels.items() if label not in ("", "?")}
    declared = tags.get("classlabel", [])[1:]
    if declared and held:
        known = Labels.of(column_of(declared)[0].tolist()).encode(held.values())
        for line in [line for line, number in zip(held, known, strict=True) if number == ABSENT][
            :1
        ]:
            raise DataError(
                f"{name}, line {line}", got=f"label {held[line]!r}", expected="one of @classLabel"
            )
    values = dict(zip(held, column_of(held.values())[0].tolist(), strict=True))
    return [values.get(line) for line in labels]
