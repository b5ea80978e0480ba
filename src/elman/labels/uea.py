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
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

from elman.errors import DataError, warn
from elman.labels.label_values import UNKNOWN_LABEL, Label, Labels
from elman.tables.columns import MISSING, column_of
from elman.text.input_files import read_text

LabelledArrays: TypeAlias = tuple[list[np.ndarray], list[Label | None] | None]


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
    data: dict[str, list[str]] = {}
    for number, line in enumerate(map(str.strip, text.split("\n")), 1):
        if not line or line.startswith("#"):
            continue
        if "data" in tags:
            data[f"{name}, line {number}"] = line.split(":")
            continue
        tag, *values = line.split()
        if not tag.startswith("@"):
            expected = "a line that begins with @ or #, or @data"
            raise DataError(f"{name}, line {number}", got=line, expected=expected)
        tags[tag[1:].lower()] = values
    is_set = {tag for tag, values in tags.items() if values and values[0].lower() == "true"}
    if "timestamps" in is_set:
        expected, remedy = "@timeStamps false", "leave the stamps out"
        raise DataError(f"{name} has time stamps", expected=expected, remedy=remedy)
    if not data:
        raise DataError(f"{name} has no line of data", expected="some after a line @data")
    labels: dict[str, str] = {}
    if is_labelled := not is_set.isdisjoint(("classlabel", "targetlabel")):
        # the label is the last field of a line
        labels = {where: fields.pop().strip() for where, fields in data.items()}
    sequences = [_sequence(fields, where) for where, fields in data.items()]
    # without a declaration, the first sequence determines the number of channels
    declared = (tags.get("dimensions") or tags.get("dimension") or [""])[0]
    is_number = declared.isascii() and declared.isdigit()
    channels = int(declared) if is_number else sequences[0].shape[1]
    for where, sequence in zip(data, sequences, strict=True):
        if sequence.shape[1] != channels:
            got, expected = f"{sequence.shape[1]} channels", f"{channels}"
            remedy = "the last part of a line is its label" if is_labelled else ""
            raise DataError(where, got=got, expected=expected, remedy=remedy)
    return sequences, _plain(labels, tags.get("classlabel", [])[1:]) if is_labelled else None


def _sequence(parts: Sequence[str], where: str) -> np.ndarray:
    channels = [_numbers(part.split(","), where) for part in parts]
    lengths = {len(channel) for channel in channels}
    if len(lengths) != 1:
        got = ", ".join(map(str, map(len, channels[:8]))) or "no channel"
        raise DataError(where, got=f"channels of the lengths {got}", expected="one length")
    return np.stack(channels, axis=1)


def _numbers(values: Sequence[str], where: str) -> np.ndarray:
    numbers = np.full(len(values), np.nan)
    for step, value in enumerate(values):
        plain = value.strip().lower()
        # an empty value between two commas is a mistake, not a missing one
        if plain == "" or plain not in MISSING:
            try:
                numbers[step] = float(plain)
            except ValueError:
                got = f"{value!r} in step {step}"
                raise DataError(where, got=got, expected="a number, or ? where missing") from None
    return numbers


def _plain(labels: Mapping[str, str], declared: Sequence[str]) -> list[Label | None]:
    """Return the label of every line in the type that a table would give it, None where missing."""
    # missing labels must not decide on the type of the others
    present = {where: label for where, label in labels.items() if label not in ("", "?")}
    if declared and present:
        numbers = Labels.of(column_of(declared)[0].tolist()).encode(present.values())
        for where, number in zip(present, numbers, strict=True):
            if number == UNKNOWN_LABEL:
                raise DataError(
                    where, got=f"label {present[where]!r}", expected="one of @classLabel"
                )
    values = dict(zip(present, column_of(present.values())[0].tolist(), strict=True))
    return [values.get(where) for where in labels]
