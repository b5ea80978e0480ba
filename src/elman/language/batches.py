"""What training and evaluation step through: chunks of a token stream, ``[T, B]`` at a time.

Lane b of a chunk is its column b. A document's targets are a run of neighbouring places in the
stream; a lane reads runs one after another, in pieces of at most ``sequence_length`` steps. The
state is carried from piece to piece and only the first piece of a run is `fresh`, so padding stands
only at the end of a run, where the state is no longer wanted.

With ``end_id = None`` (documents are files) the first token of a document is not predicted. Else
(documents are lines that end in ``end_id``) every token is, the first from ``end_id``. Nothing as
long as the text is held: a chunk gathers its own tokens from the (memory-mapped) ids.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from elman.engine.shapes import check, whole_number
from elman.errors import DataError, OptionError, ShapeError

__all__ = [
    "IGNORE",
    "Batches",
    "Chunk",
    "Documents",
    "Lanes",
    "batches_for",
    "evaluation_chunks",
    "shard",
]

Ids = npt.NDArray[np.integer[Any]]
Places = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

IGNORE = -100
"""The target where there is nothing to predict: what torch's losses skip unless told."""

POOL_BATCHES = 32
SECTION_CHUNKS = 32
# Below this share of real steps, stopping at each document's end costs lanes more than they bring.
FILLED = 0.75


@dataclass(frozen=True, eq=False)
class Chunk:
    """One step of training: what is read, what is to be predicted, and which lanes start anew."""

    inputs: Places
    """Token ids ``[T, B]``; 0 in padding."""
    targets: Places
    """Token ids ``[T, B]``; `IGNORE` where there is nothing to predict."""
    fresh: Mask
    """``[B]``: this lane starts from state zero at the chunk's first step."""
    predicted: int
    """Number of targets that count."""


@dataclass(frozen=True, eq=False)
class _Stream:
    ids: Ids
    starts: Places
    end_id: int | None

    @classmethod
    def of(cls, ids: Ids, starts: npt.ArrayLike, end_id: int | None) -> _Stream:
        # A plain view: indexing np.memmap itself costs some microseconds more each time.
        ids, begins = np.asarray(ids), np.asarray(starts, dtype=np.int64)
        check(ids, "N", "ids")
        check(begins, "D", "starts")
        rising = len(begins) > 0 and begins[0] == 0 and bool((begins[1:] >= begins[:-1]).all())
        if not rising or begins[-1] > len(ids):
            expected = f"rising places, the first 0, the last at most {len(ids)}"
            raise ShapeError("starts do not cut ids into documents", expected=expected)
        return cls(ids, begins[: np.searchsorted(begins, len(ids))], end_id)

    def begins(self, places: Places) -> Mask:
        """Return where `places` are first tokens of documents."""
        nearest = np.searchsorted(self.starts, places, "right") - 1
        return np.equal(self.starts[nearest], places)

    def runs(self) -> tuple[Places, Places]:
        """Return the first target's place and the number of targets of each document with any."""
        first = self.starts + (1 if self.end_id is None else 0)
        length = np.append(self.starts[1:], len(self.ids)) - first
        full = length > 0
        if not full.any():
            got = f"{len(self.ids)} tokens in {len(self.starts)} documents"
            raise DataError("the text has nothing to predict", got=got, expected="two tokens")
        return (first, length) if full.all() else (first[full], length[full])

    def chunk(self, first: Places, length: Places, counted: Places, fresh: Mask) -> Chunk:
        """Gather each lane's `length` targets from `first` on; those before `counted` are read."""
        steps = np.arange(int(length.max()) + 1)[:, None]
        tokens = self.ids[np.clip(first - 1 + steps, 0, len(self.ids) - 1)].astype(np.int64)
        real = steps[:-1] < length
        wanted = real & (first + steps[:-1] >= counted)
        inputs = np.where(real, tokens[:-1], 0)
        if self.end_id is not None:
            inputs[0, (length > 0) & self.begins(first)] = self.end_id
        targets = np.where(wanted, tokens[1:], IGNORE)
        return Chunk(inputs, targets, fresh, int(np.count_nonzero(wanted)))

    def piece(self, run: npt.NDArray[np.int64], index: int, size: int) -> Chunk:
        """Return piece `index` of runs begun side by side: rows first, length, counted ``[B]``."""
        first, length, counted = run
        left = np.clip(length - index * size, 0, size)
        return self.chunk(first + index * size, left, counted, (left == 0) | (index == 0))


def _pieces(length: Places, size: int) -> Places:
    return -(-length // size)


def _cut(length: Places, parts: Places) -> tuple[Places, Places, Places]:
    """Return run, begin and end of each part when run i is cut into ``parts[i]`` equal parts."""
    run = np.repeat(np.arange(len(length)), parts)
    number = np.arange(len(run)) - np.repeat(np.cumsum(parts) - parts, parts)
    begin = number * length[run] // parts[run]
    return run, begin, (number + 1) * length[run] // parts[run]


def _columns(width: int, first: Places, length: Places, counted: Places) -> Places:
    """Return ``[3, width]``: runs side by side, and lanes of length 0 where there are too few."""
    return np.pad(np.stack([first, length, counted]), ((0, 0), (0, width - len(first))))


class Batches(ABC):
    """An endless row of epochs, each a row of chunks that can be made in any order."""

    batch_size: int
    """Lanes in every chunk: what was asked for, or fewer when the text is short."""

    def __init__(
        self,
        ids: Ids,
        starts: npt.ArrayLike,
        batch_size: int,
        sequence_length: int,
        seed: int,
        end_id: int | None = None,
    ) -> None:
        self._stream = _Stream.of(ids, starts, end_id)
        self.batch_size = whole_number("batch_size", batch_size, 1)
        self._size = whole_number("sequence_length", sequence_length, 1)
        self._seed = whole_number("seed", seed, 0)
        self._planned: tuple[int, int, Callable[[int], Chunk]] | None = None
        self._first, self._length = self._runs()
        self.batch_size = min(batch_size, self._most_lanes())

    def _runs(self) -> tuple[Places, Places]:
        """Return the place of the first target and the number of targets of each run."""
        return self._stream.runs()

    @abstractmethod
    def _most_lanes(self) -> int:
        """Return how many lanes the text fills."""

    @abstractmethod
    def _plan(self, draw: np.random.Generator) -> tuple[int, Callable[[int], Chunk]]:
        """Return the number of chunks of an epoch and what makes one of them."""

    def _epoch(self, epoch: int) -> tuple[int, Callable[[int], Chunk]]:
        if self._planned is None or self._planned[0] != epoch:
            draw = np.random.default_rng([self._seed, epoch])
            self._planned = (epoch, *self._plan(draw))
        return self._planned[1:]

    def chunks(self, epoch: int) -> int:
        """Return the number of chunks in `epoch`."""
        return self._epoch(epoch)[0]

    def chunk(self, epoch: int, index: int) -> Chunk:
        """Return chunk `index` of `epoch`, the same at every call."""
        chunks, make = self._epoch(epoch)
        if not 0 <= index < chunks:
            raise IndexError(f"chunk {index} of {chunks}")
        return make(index)


class Lanes(Batches):
    """One long stream as contiguous lanes side by side, the state carried from chunk to chunk.

    Each epoch turns the stream by a random offset drawn from (seed, epoch) before it is cut into
    equal lanes, so the cuts fall elsewhere each time. A lane that runs over the end of the stream
    goes on at its beginning, fresh as at every document's start. Every target is predicted exactly
    once an epoch.

    >>> lanes = Lanes(np.arange(9), [0], batch_size=2, sequence_length=3, seed=0)
    >>> lanes.batch_size, sum(lanes.chunk(0, i).predicted for i in range(lanes.chunks(0)))
    (2, 8)
    """

    def _most_lanes(self) -> int:
        return max(1, int(self._length.sum()) // self._size)

    def _plan(self, draw: np.random.Generator) -> tuple[int, Callable[[int], Chunk]]:
        tokens = len(self._stream.ids)
        turn = draw.integers(tokens)
        bounds = np.arange(self.batch_size) * tokens // self.batch_size
        cuts = np.unique(np.concatenate([self._stream.starts, (bounds + turn) % tokens]))
        # Place 0 is a document's start, hence a cut: no run reaches over the end of the stream.
        ends = np.append(cuts[1:], tokens)
        turned = (cuts - turn) % tokens
        order = np.argsort(turned)
        first = (cuts + self._stream.begins(cuts))[order]
        length = ends[order] - first
        before = np.append(0, np.cumsum(_pieces(length, self._size)))
        lane = before[np.searchsorted(turned[order], np.append(bounds, tokens))]
        full = np.flatnonzero(length)
        first, length, before = first[full], length[full], before[full]

        def make(index: int) -> Chunk:
            place = lane[:-1] + index
            run = np.searchsorted(before, place, "right") - 1
            done = (place - before[run]) * self._size
            over = place >= lane[1:]
            left = np.where(over, 0, np.minimum(length[run] - done, self._size))
            begin = first[run] + done
            return self._stream.chunk(begin, left, begin, over | (done == 0))

        return int(np.diff(lane).max()), make


class Documents(Batches):
    """Many documents, each from state zero, beside others about as long, shuffled each epoch.

    A document longer than `sequence_length` goes on in the next chunk with its state carried. One
    longer than 32 chunks is cut into equal sections below that, each read from state zero, so that
    no lane waits long for another. The order is drawn from (seed, epoch); pools of 32 batches are
    sorted by length, so that little of a chunk is padding.

    >>> documents = Documents(np.array([2, 3, 1, 4, 1]), [0, 3], 2, 8, seed=0, end_id=1)
    >>> documents.chunk(0, 0).inputs.T.tolist(), documents.chunk(0, 0).targets.T.tolist()
    ([[1, 4, 0], [1, 2, 3]], [[4, 1, -100], [2, 3, 1]])
    """

    def _runs(self) -> tuple[Places, Places]:
        first, length = self._stream.runs()
        longest = SECTION_CHUNKS * self._size
        if int(length.max()) > longest:
            run, begin, end = _cut(length, _pieces(length, longest))
            first, length = first[run] + begin, end - begin
        return first, length

    def _most_lanes(self) -> int:
        return len(self._first)

    def _plan(self, draw: np.random.Generator) -> tuple[int, Callable[[int], Chunk]]:
        count, width = len(self._first), self.batch_size
        # int32 halves the memory that tens of millions of lines need.
        order = np.arange(count).astype(np.int32 if count < 2**31 else np.int64)
        draw.shuffle(order)
        for begin in range(0, count, POOL_BATCHES * width):
            pool = order[begin : begin + POOL_BATCHES * width]
            pool[:] = pool[np.argsort(self._length[pool], kind="stable")]
        last = np.append(np.arange(width, count, width), count) - 1
        batch = draw.permutation(len(last))
        before = np.append(0, np.cumsum(_pieces(self._length[order[last[batch]]], self._size)))

        def make(index: int) -> Chunk:
            place = int(np.searchsorted(before, index, "right")) - 1
            begin = int(batch[place]) * width
            runs = order[begin : begin + width]
            first = self._first[runs]
            run = _columns(width, first, self._length[runs], first)
            return self._stream.piece(run, index - int(before[place]), self._size)

        return int(before[-1]), make


def batches_for(
    ids: Ids,
    starts: npt.ArrayLike,
    end_id: int | None,
    batch_size: int,
    sequence_length: int,
    seed: int,
) -> Lanes | Documents:
    """Return the batches that fit: lanes for long documents, else documents side by side.

    ids ``[N]``: token ids; starts ``[D]``: place of each document's first token; end_id: the token
    that ends every document (lines), or None (files).
    """
    if end_id is None:
        length = _Stream.of(ids, starts, None).runs()[1]
        steps = int(_pieces(length, whole_number("sequence_length", sequence_length, 1)).sum())
        if len(length) == 1 or int(length.sum()) >= FILLED * steps * sequence_length:
            return Lanes(ids, starts, batch_size, sequence_length, seed)
    return Documents(ids, starts, batch_size, sequence_length, seed, end_id)


def evaluation_chunks(
    ids: Ids,
    starts: npt.ArrayLike,
    end_id: int | None,
    *,
    lanes: int = 32,
    warm_up: int = 1000,
    sequence_length: int = 256,
) -> Iterator[Chunk]:
    """Return chunks that predict every target exactly once, in an order that never changes.

    Each document is read from state zero with the state carried. A document of at least 4 `warm_up`
    targets is cut into up to `lanes` equal parts of at least 2 `warm_up`, read side by side; each
    part but the first starts from state zero on the `warm_up` targets before it, which do not
    count. ``lanes=1`` is the exact single stream. Documents about as long are read side by side.

    >>> chunks = evaluation_chunks(np.arange(9), [0], None, lanes=2, warm_up=2)
    >>> [chunk.targets.T.tolist() for chunk in chunks]
    [[[1, 2, 3, 4, -100, -100], [-100, -100, 5, 6, 7, 8]]]
    """
    stream = _Stream.of(ids, starts, end_id)
    whole_number("warm_up", warm_up, 0)
    size = whole_number("sequence_length", sequence_length, 1)
    document, whole = stream.runs()
    parts = np.clip(whole // max(1, 2 * warm_up), 1, whole_number("lanes", lanes, 1))
    run, begin, end = _cut(whole, parts)
    first = document[run] + np.maximum(begin - warm_up, 0)
    counted, length = document[run] + begin, document[run] + end - first
    order = np.argsort(length, kind="stable")
    width = min(lanes, len(order))

    def walk() -> Iterator[Chunk]:
        for place in range(0, len(order), width):
            side = order[place : place + width]
            columns = _columns(width, first[side], length[side], counted[side])
            for index in range(_pieces(columns[1], size).max()):
                yield stream.piece(columns, index, size)

    return walk()


def shard(chunk: Chunk, rank: int, world_size: int) -> Chunk:
    """Return the lanes of `chunk` that process `rank` of `world_size` reads, always the same ones.

    Raises OptionError where there are fewer lanes than processes.
    """
    lanes = len(chunk.fresh)
    if lanes < world_size:
        remedy = f"raise batch_size, give more text, or start fewer than {world_size} processes"
        raise OptionError("fewer lanes than processes", got=lanes, remedy=remedy)
    own = slice(rank * lanes // world_size, (rank + 1) * lanes // world_size)
    inputs, targets = (np.ascontiguousarray(a[:, own]) for a in (chunk.inputs, chunk.targets))
    return Chunk(inputs, targets, chunk.fresh[own], int(np.count_nonzero(targets != IGNORE)))
