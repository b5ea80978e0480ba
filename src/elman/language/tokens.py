"""Tokens of a text with the starts of its documents, and the chunks ``[T, B]`` that are gathered from them.

With ``end_id = None`` (documents are files), the first token of a document is not predicted. Otherwise
(documents are lines that end in ``end_id``) every token is predicted, the first one from ``end_id``. A chunk
gathers its tokens from the ids, which may be mapped from a file; no array here is as long as the text.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from elman.engine.shapes import check
from elman.errors import DataError, ShapeError

Ids = npt.NDArray[np.integer[Any]]
Places = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

IGNORE = -100
"""The target of a step without prediction; torch's losses skip this value by default."""


@dataclass(frozen=True, eq=False)
class Chunk:
    """The tokens to read and to predict in one training step, and the lanes that start anew."""

    inputs: Places
    """Token ids ``[T, B]``; 0 in padding."""
    targets: Places
    """Token ids ``[T, B]``, or `IGNORE`."""
    indices: Places
    """``[T, B]``: the index of each target in the text."""
    fresh: Mask
    """``[B]``: whether the lane starts the chunk from state zero."""

    @functools.cached_property
    def is_target(self) -> Mask:
        """Mask ``[T, B]`` of the targets that are predicted."""
        return np.not_equal(self.targets, IGNORE)

    @functools.cached_property
    def predicted(self) -> int:
        """Number of targets that are not `IGNORE`."""
        return int(np.count_nonzero(self.is_target))


@dataclass(eq=False)
class Tokens:
    """The tokens of a text, and where its documents start."""

    ids: Ids
    """``[N]``: all tokens in a row; where documents are lines, `end_id` follows each line."""
    starts: Places
    """``[D]``: the index of each document's first token."""
    end_id: int | None = None
    """The token that ends every document, or None."""

    def __post_init__(self) -> None:
        # asarray makes a plain view, because indexing a np.memmap takes microseconds longer each time.
        self.ids, starts = np.asarray(self.ids), np.asarray(self.starts, dtype=np.int64)
        check(self.ids, "N", "ids")
        check(starts, "D", "starts")
        rising = len(starts) > 0 and starts[0] == 0 and bool((starts[1:] >= starts[:-1]).all())
        if not rising or starts[-1] > len(self.ids):
            expected = f"rising indices, the first 0, the last at most {len(self.ids)}"
            raise ShapeError("starts do not cut ids into documents", expected=expected)
        self.starts = starts[: np.searchsorted(starts, len(self.ids))]

    def is_start(self, indices: Places) -> Mask:
        """Return which of the tokens with these indices are the first of a document."""
        nearest = np.searchsorted(self.starts, indices, "right") - 1
        return np.equal(self.starts[nearest], indices)

    def runs(self) -> tuple[Places, Places]:
        """Return index of the first target and number of targets, for each document that has a target."""
        # Without `end_id`, no token comes before the first one of a document, so it cannot be predicted.
        first = self.starts + (1 if self.end_id is None else 0)
        length = np.append(self.starts[1:], len(self.ids)) - first
        has_target = length > 0
        if not has_target.any():
            got = f"{len(self.ids)} tokens in {len(self.starts)} documents"
            raise DataError("the text has nothing to predict", got=got, expected="two tokens")
        return first[has_target], length[has_target]

    def beginning(self, count: int) -> Tokens:
        """Return about the first `count` tokens: whole lines, or a cut text if documents are files."""
        if len(self.ids) <= count:
            return Tokens(self.ids, self.starts, self.end_id)
        if self.end_id is None:
            return Tokens(self.ids[:count], self.starts[self.starts < count - 1])
        lines = max(1, int(np.searchsorted(self.starts, count, "right")) - 1)
        end = self.starts[lines] if lines < len(self.starts) else len(self.ids)
        return Tokens(self.ids[:end], self.starts[:lines], self.end_id)

    def chunk(self, first: Places, length: Places, counted: Places, fresh: Mask) -> Chunk:
        """Gather for each lane `length` targets from index `first`; before `counted` they are only read."""
        steps = np.arange(int(length.max()) + 1)[:, None]
        # [T + 1, B]: each lane's token before its first target, then its targets. Indices outside the
        # text only occur in padding.
        tokens = self.ids[np.clip(first - 1 + steps, 0, len(self.ids) - 1)].astype(np.int64)
        steps, indices = steps[:-1], first + steps[:-1]
        real = steps < length
        inputs = np.where(real, tokens[:-1], 0)
        if self.end_id is not None:
            inputs[0, (length > 0) & self.is_start(first)] = self.end_id
        targets = np.where(real & (indices >= counted), tokens[1:], IGNORE)
        return Chunk(inputs, targets, indices, fresh)

    def piece(self, run: Places, index: int, size: int) -> Chunk:
        """Return piece `index` of runs that start side by side.

        `run` holds the rows `first`, `length` and `counted`, each ``[B]``, as in `chunk`.
        """
        first, length, counted = run
        remaining = np.clip(length - index * size, 0, size)
        fresh = (remaining == 0) | (index == 0)
        return self.chunk(first + index * size, remaining, counted, fresh)
