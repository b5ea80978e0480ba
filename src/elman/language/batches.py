"""Batches of a language model: the order in which training and evaluation read a text, chunk by chunk.

Column b of a chunk is called lane b. The targets of a document are a run of neighbouring tokens; a lane reads
runs one after another, in pieces of at most ``sequence_length`` steps. The network carries its state from
piece to piece, and only the first piece of a run is `fresh`. So padding occurs only at the end of a run,
where the state is no longer needed.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

import numpy as np

from elman.engine.shapes import whole_number
from elman.errors import OptionError
from elman.language.tokens import IGNORE, Chunk, Places, Tokens

POOL_BATCHES = 32
"""`Documents` sorts this many batches together by length."""
MAX_LANE_RATIO = 4
"""A batch of short documents has at most about this many times `batch_size` lanes."""
MAX_SECTION_CHUNKS = 32
"""`Documents` cuts a document that is longer than this many chunks."""
MIN_FILLED_SHARE = 0.75
"""`Lanes` are used if at least this share of their steps would be real, the rest padding."""


def _pieces(length: Places, size: int) -> Places:
    """Return the number of pieces of at most `size` steps in runs of these lengths."""
    return -(-length // size)


def _cut(length: Places, parts: Places) -> tuple[Places, Places, Places]:
    """Cut run i into ``parts[i]`` equal parts; return number of the run, begin and end of each part."""
    # One row for each part: the number of its run, and the number of the part within the run.
    run = np.repeat(np.arange(len(length)), parts)
    number = np.arange(len(run)) - np.repeat(np.cumsum(parts) - parts, parts)
    begin = number * length[run] // parts[run]
    return run, begin, (number + 1) * length[run] // parts[run]


def _columns(width: int, first: Places, length: Places, counted: Places) -> Places:
    """Return runs side by side as ``[3, width]``, filled up with lanes of length 0."""
    return np.pad(np.stack([first, length, counted]), ((0, 0), (0, width - len(first))))


class Batches(ABC):
    """The chunks of every epoch, which can be made in any order.

    Args:
        text: The tokens of the text.
        batch_size: The number of lanes, in `Documents` the usual one; a short text has fewer.
        sequence_length: The maximal number of steps in a chunk.
        seed: The seed of the random order, which also depends on the epoch.
    """

    def __init__(self, text: Tokens, batch_size: int, sequence_length: int, seed: int) -> None:
        self._text = text
        self._steps = whole_number("sequence_length", sequence_length, 1)
        self._seed = whole_number("seed", seed, 0)
        self._first, self._length = self._runs()
        self.batch_size = min(whole_number("batch_size", batch_size, 1), self._max_lanes())
        # Only one epoch's plan is kept, because it holds arrays as long as the list of documents.
        self._epoch = functools.lru_cache(1)(self._plan)

    def _runs(self) -> tuple[Places, Places]:
        """Return the index of the first target and the number of targets of each run."""
        return self._text.runs()

    @abstractmethod
    def _max_lanes(self) -> int:
        """Return the number of lanes that the text can fill."""

    @abstractmethod
    def _plan(self, epoch: int) -> tuple[int, Callable[[int], Chunk]]:
        """Return the number of chunks of an epoch, and a function that makes one of them."""

    def _random(self, epoch: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, epoch])

    def chunks(self, epoch: int) -> int:
        """Return the number of chunks in `epoch`."""
        return self._epoch(epoch)[0]

    @functools.cached_property
    def mean_predicted(self) -> float:
        """Mean number of targets of a chunk in the first epoch."""
        return int(self._length.sum()) / self._plan(0)[0]

    def chunk(self, epoch: int, index: int) -> Chunk:
        """Return chunk `index` of `epoch`; every call returns the same chunk."""
        chunks, make = self._epoch(epoch)
        if not 0 <= index < chunks:
            raise IndexError(f"chunk {index} of {chunks}")
        return make(index)


class Lanes(Batches):
    """One long text cut into equal lanes, whose states are carried from chunk to chunk.

    Each epoch rotates the text by a random offset before it is cut, so that the cuts are at other tokens. A
    lane that reaches the end of the text goes on at its beginning, from state zero as at every start of a
    document. Every target is predicted exactly once in an epoch.

    >>> lanes = Lanes(Tokens(np.arange(9), [0]), batch_size=2, sequence_length=3, seed=0)
    >>> lanes.batch_size, sum(lanes.chunk(0, i).predicted for i in range(lanes.chunks(0)))
    (2, 8)
    """

    def _max_lanes(self) -> int:
        return max(1, int(self._length.sum()) // self._steps)

    def _plan(self, epoch: int) -> tuple[int, Callable[[int], Chunk]]:
        tokens = len(self._text.ids)
        offset = self._random(epoch).integers(tokens)
        # Lane b reads the rotated text from bounds[b] to the bound of the next lane.
        bounds = np.arange(self.batch_size) * tokens // self.batch_size
        cuts = np.unique(np.concatenate([self._text.starts, (bounds + offset) % tokens]))
        # Index 0 is the start of a document and so a cut; no run crosses the end of the text.
        ends = np.append(cuts[1:], tokens)
        rotated = (cuts - offset) % tokens
        order = np.argsort(rotated)
        # A run begins at each cut; the first token of a document is not predicted.
        first = (cuts + self._text.is_start(cuts))[order]
        length = ends[order] - first
        # before[r] is the number of pieces in all runs before run r; lane[b] is the first piece of lane
        # b.
        before = np.append(0, np.cumsum(_pieces(length, self._steps)))
        lane = before[np.searchsorted(rotated[order], np.append(bounds, tokens))]
        nonempty = np.flatnonzero(length)
        first, length, before = first[nonempty], length[nonempty], before[nonempty]

        def make(index: int) -> Chunk:
            # [B]: the piece that each lane reads in this chunk, and the run to which it belongs.
            piece = lane[:-1] + index
            run = np.searchsorted(before, piece, "right") - 1
            done = (piece - before[run]) * self._steps
            ended = piece >= lane[1:]
            steps = np.where(ended, 0, np.minimum(length[run] - done, self._steps))
            begin = first[run] + done
            return self._text.chunk(begin, steps, begin, ended | (done == 0))

        return int(np.diff(lane).max()), make


class Documents(Batches):
    """Many documents, each read from state zero beside documents of similar length, shuffled each epoch.

    A document longer than `sequence_length` goes on in the next chunk with its state carried. A document
    longer than `MAX_SECTION_CHUNKS` chunks is cut into equal shorter sections, each read from state zero, so
    that no lane waits long for another one. The shuffled documents are sorted by length within pools of
    `POOL_BATCHES` batches, so that chunks have little padding. All batches have about as many tokens: a batch
    of short documents has more than `batch_size` lanes. Otherwise a text of many short documents and few long
    ones would have few steps that learn from the long ones.

    >>> documents = Documents(Tokens(np.array([2, 3, 1, 4, 1]), [0, 3], end_id=1), 2, 8, seed=0)
    >>> documents.chunk(0, 0).inputs.T.tolist(), documents.chunk(0, 0).targets.T.tolist()
    ([[1, 4, 0], [1, 2, 3]], [[4, 1, -100], [2, 3, 1]])
    """

    def _runs(self) -> tuple[Places, Places]:
        first, length = self._text.runs()
        longest = MAX_SECTION_CHUNKS * self._steps
        if int(length.max()) > longest:
            run, begin, end = _cut(length, _pieces(length, longest))
            first, length = first[run] + begin, end - begin
        return first, length

    def _max_lanes(self) -> int:
        return len(self._first)

    def _plan(self, epoch: int) -> tuple[int, Callable[[int], Chunk]]:
        draw = self._random(epoch)
        count, width = len(self._first), self.batch_size
        # int32 halves the memory for tens of millions of lines.
        order = np.arange(count).astype(np.int32 if count < 2**31 else np.int64)
        # Do not change the order of the random draws: a seed must go on to give the same batches.
        draw.shuffle(order)
        starts = [np.zeros(0, np.int64)]
        for begin in range(0, count, POOL_BATCHES * width):
            pool = order[begin : begin + POOL_BATCHES * width]
            pool[:] = pool[np.argsort(self._length[pool], kind="stable")]
            starts.append(begin + self._starts_of_batches(pool))
        start = np.concatenate(starts)
        bounds = np.stack([start, np.append(start[1:], count)], axis=1)
        draw.shuffle(bounds)
        # The last document of each batch is its longest one, so it decides how many chunks the batch needs.
        longest = self._length[order[bounds[:, 1] - 1]]
        before = np.append(0, np.cumsum(_pieces(longest, self._steps)))

        def make(index: int) -> Chunk:
            position = int(np.searchsorted(before, index, "right")) - 1
            # A batch is a stretch of neighbours in the sorted order.
            begin, end = bounds[position]
            runs = order[begin:end]
            first = self._first[runs]
            run = np.stack([first, self._length[runs], first])
            return self._text.piece(run, index - int(before[position]), self._steps)

        return int(before[-1]), make

    def _starts_of_batches(self, pool: np.ndarray) -> Places:
        """Cut a pool of documents, sorted by length, into batches of about as many tokens."""
        mean = self._mean_steps
        steps = np.minimum(self._length[pool], self._steps)
        weight = np.clip(steps, mean / MAX_LANE_RATIO, MAX_LANE_RATIO * mean)
        batches = max(1, round(weight.sum() / (mean * self.batch_size)))
        # A document belongs to the batch in which its middle falls.
        batch = (np.cumsum(weight) - weight / 2) * (batches / weight.sum())
        return np.flatnonzero(np.diff(batch.astype(np.int64), prepend=-1))

    @functools.cached_property
    def _mean_steps(self) -> float:
        """Mean number of steps of a document in its first chunk."""
        return float(np.minimum(self._length, self._steps).mean())


def batches_for(
    text: Tokens, batch_size: int, sequence_length: int, seed: int, processes: int = 1
) -> Lanes | Documents:
    """Return `Lanes` for long documents, else `Documents`; the arguments are those of `Batches`.

    Raises OptionError if there are fewer lanes than processes that share them.
    """
    _, length = text.runs()
    # Steps of all pieces if every document had a lane to itself; the rest of each last piece is padding.
    steps = int(_pieces(length, whole_number("sequence_length", sequence_length, 1)).sum())
    filled = len(length) == 1 or length.sum() >= MIN_FILLED_SHARE * steps * sequence_length
    kind = Lanes if filled and text.end_id is None else Documents
    batches = kind(text, batch_size, sequence_length, seed)
    if batches.batch_size < processes:
        remedy = f"raise batch_size, give more text, or start fewer than {processes} processes"
        raise OptionError("fewer lanes than processes", got=batches.batch_size, remedy=remedy)
    return batches


def evaluation_chunks(
    text: Tokens, *, lanes: int = 32, warm_up: int = 1000, sequence_length: int = 256
) -> Iterator[Chunk]:
    """Return chunks that predict every target exactly once, always in the same order.

    Each document is read from state zero with its state carried, beside documents of similar length. A long
    document, of at least 4 `warm_up` targets, is cut into parts that are read side by side.

    Args:
        text: The tokens of the text.
        lanes: The maximal number of parts of a document; 1 reads every document exactly as a stream would.
        warm_up: The number of targets before each part but the first that are read, from state zero, but
            not predicted. A part has at least twice as many targets.
        sequence_length: The maximal number of steps in a chunk.

    >>> chunks = evaluation_chunks(Tokens(np.arange(9), [0]), lanes=2, warm_up=2)
    >>> [chunk.targets.T.tolist() for chunk in chunks]
    [[[1, 2, 3, 4, -100, -100], [-100, -100, 5, 6, 7, 8]]]
    """
    whole_number("warm_up", warm_up, 0)
    size = whole_number("sequence_length", sequence_length, 1)
    document, targets = text.runs()
    parts = np.clip(targets // max(1, 2 * warm_up), 1, whole_number("lanes", lanes, 1))
    run, begin, end = _cut(targets, parts)
    # A part reads `warm_up` targets before its own ones, but never beyond the start of its document.
    first = document[run] + np.maximum(begin - warm_up, 0)
    counted, length = document[run] + begin, document[run] + end - first
    # Parts of similar length stand side by side, which leaves little padding.
    order = np.argsort(length, kind="stable")
    width = min(lanes, len(order))

    def walk() -> Iterator[Chunk]:
        for begin in range(0, len(order), width):
            runs = order[begin : begin + width]
            columns = _columns(width, first[runs], length[runs], counted[runs])
            for index in range(_pieces(columns[1], size).max()):
                yield text.piece(columns, index, size)

    return walk()


def shard(chunk: Chunk, rank: int, world_size: int) -> Chunk:
    """Return the lanes of `chunk` that process `rank` of `world_size` reads, the same lanes in every chunk.

    A chunk of fewer lanes than processes, as the last documents give it, gets lanes without a prediction.
    """
    lanes = len(chunk.fresh)
    if lanes < world_size:
        more = ((0, 0), (0, world_size - lanes))
        inputs, indices = (np.pad(array, more) for array in (chunk.inputs, chunk.indices))
        targets = np.pad(chunk.targets, more, constant_values=IGNORE)
        fresh = np.pad(chunk.fresh, more[1], constant_values=True)
        chunk, lanes = Chunk(inputs, targets, indices, fresh), world_size
    columns = slice(rank * lanes // world_size, (rank + 1) * lanes // world_size)
    inputs, targets, indices = (
        np.ascontiguousarray(array[:, columns])
        for array in (chunk.inputs, chunk.targets, chunk.indices)
    )
    return Chunk(inputs, targets, indices, chunk.fresh[columns])
