from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.errors import DataError, OptionError, ShapeError
from elman.language.batches import (
    Batches,
    Documents,
    Lanes,
    batches_for,
    evaluation_chunks,
    shard,
)
from elman.language.tokens import IGNORE, Chunk, Tokens

END = 1
FIRST = 2  # the first id of a word; 0 and 1 are <unk> and <end>

sizes = st.lists(st.integers(0, 40), min_size=1, max_size=12).filter(lambda s: max(s) > 1)


def files(lengths: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids and starts of documents; no id occurs twice, so an id tells its position."""
    return np.arange(FIRST, FIRST + sum(lengths)), np.cumsum([0, *lengths])[:-1]


def lines(lengths: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return documents as `files` does, but each ends with `END`, and empty documents are left out."""
    lengths = [length + 1 for length in lengths if length]
    ids, starts = files(lengths)
    ids[starts + lengths - 1] = END
    return ids, starts


def epoch(batches: Batches, number: int) -> list[Chunk]:
    return [batches.chunk(number, index) for index in range(batches.chunks(number))]


def read(chunks: Iterable[Chunk]) -> list[tuple[list[int], int]]:
    """Return each target with the tokens that a network would have read since its last reset."""
    seen: list[list[int]] | None = None
    predictions = []
    for chunk in chunks:
        lanes = chunk.inputs.shape[1]
        assert chunk.inputs.dtype == chunk.targets.dtype == np.int64
        assert chunk.inputs.shape == chunk.targets.shape
        assert chunk.fresh.shape == (lanes,)
        assert chunk.predicted == np.count_nonzero(chunk.targets != IGNORE)
        assert chunk.predicted > 0 or (chunk.inputs > 0).any()
        # The number of lanes changes only where no lane goes on.
        if seen is None or len(seen) != lanes:
            assert chunk.fresh.all()
            seen = [[] for _ in range(lanes)]
        for lane in range(lanes):
            if chunk.fresh[lane]:
                seen[lane] = []
            for token, target in zip(chunk.inputs[:, lane], chunk.targets[:, lane], strict=True):
                seen[lane].append(int(token))
                if target != IGNORE:
                    predictions.append((list(seen[lane]), int(target)))
    return predictions


def whole(ids: np.ndarray, starts: np.ndarray, end_id: int | None) -> list[tuple[list[int], int]]:
    """Return each token of the documents with all tokens before it in its document."""
    found = []
    for document in np.split(ids, starts[1:]):
        tokens = document.tolist() if end_id is None else [end_id, *document.tolist()]
        found += [(tokens[:place], tokens[place]) for place in range(1, len(tokens))]
    return found


def is_tail(short: list[int], long: list[int]) -> bool:
    return 0 < len(short) <= len(long) and long[len(long) - len(short) :] == short


@pytest.mark.slow
@given(sizes, st.integers(1, 5), st.integers(1, 9), st.integers(0, 99), st.integers(0, 9))
def test_lanes_predict_every_target_once(
    lengths: list[int], batch_size: int, length: int, seed: int, number: int
) -> None:
    ids, starts = files(lengths)
    lanes = Lanes(Tokens(ids, starts), batch_size, length, seed)
    found = sorted(read(epoch(lanes, number)), key=lambda pair: pair[1])
    expected = whole(ids, starts, None)
    assert [target for _, target in found] == [target for _, target in expected]
    # A state begins at the start of a document or, once in each lane, where the stream was cut.
    assert all(is_tail(got[0], full[0]) for got, full in zip(found, expected, strict=True))
    begins = {(got[0][0]) for got in found} - set(ids[starts[starts < len(ids)]].tolist())
    assert len(begins) <= lanes.batch_size


@pytest.mark.slow
@given(sizes, st.integers(1, 5), st.integers(1, 9), st.integers(0, 99))
def test_lanes_are_fresh_only_at_the_start_of_a_run(
    lengths: list[int], batch_size: int, length: int, seed: int
) -> None:
    ids, starts = files(lengths)
    lanes = Lanes(Tokens(ids, starts), batch_size, length, seed)
    fresh = 0
    for chunk in epoch(lanes, 0):
        busy = (chunk.targets != IGNORE).any(axis=0)
        assert chunk.fresh[~busy].all()
        fresh += int((chunk.fresh & busy).sum())
    documents = sum(size > 1 for size in lengths)
    assert documents <= fresh <= documents + lanes.batch_size


def test_lanes_cut_the_stream_into_equal_parts_that_carry_their_state() -> None:
    ids, starts = files([1000])
    lanes = Lanes(Tokens(ids, starts), 4, 10, seed=3)
    chunks = epoch(lanes, 0)
    assert len(chunks) in (25, 26)  # 26 if a lane continues beyond the end of the stream
    inner = [chunk for chunk in chunks[1:] if not chunk.fresh.all()]
    # Only the lane that crosses the end of the stream has its state reset within the epoch.
    assert sum(int(chunk.fresh.sum()) for chunk in inner) <= 2
    assert chunks[3].inputs.shape == (10, 4)


def test_lanes_are_cut_at_other_tokens_in_each_epoch_and_for_each_seed() -> None:
    ids, starts = files([1000])
    begins = {
        (seed, number): tuple(Lanes(Tokens(ids, starts), 4, 10, seed).chunk(number, 0).inputs[0])
        for seed in range(3)
        for number in range(5)
    }
    assert len(set(begins.values())) == len(begins)


def test_a_short_text_takes_fewer_lanes() -> None:
    ids, starts = files([21])
    assert Lanes(Tokens(ids, starts), 32, 5, 0).batch_size == 4
    assert Lanes(Tokens(ids, starts), 32, 50, 0).batch_size == 1
    assert Documents(Tokens(ids, starts), 32, 50, 0).batch_size == 1
    assert Lanes(Tokens(ids, starts), 32, 5, 0).chunk(0, 0).inputs.shape[1] == 4


@given(sizes, st.booleans(), st.integers(1, 5), st.integers(1, 9), st.integers(0, 99))
def test_documents_predict_every_target_once_from_the_start(
    lengths: list[int], line: bool, batch: int, length: int, seed: int
) -> None:
    end_id = END if line else None
    ids, starts = (lines if line else files)(lengths)
    documents = Documents(Tokens(ids, starts, end_id), batch, length, seed)
    # A document longer than 32 chunks is cut; one of 40 tokens is that long only if a chunk has one step.
    if length > 1:
        assert sorted(read(epoch(documents, 1))) == sorted(whole(ids, starts, end_id))


def test_a_long_document_is_read_in_sections_each_from_state_zero() -> None:
    ids, starts = files([3, 32 * 4 * 3 + 1, 9])
    documents = Documents(Tokens(ids, starts), 8, 4, seed=0)
    assert documents.chunks(0) <= 32
    found = sorted(read(epoch(documents, 0)), key=lambda pair: pair[1])
    expected = whole(ids, starts, None)
    assert [target for _, target in found] == [target for _, target in expected]
    assert all(is_tail(got[0], full[0]) for got, full in zip(found, expected, strict=True))
    assert max(len(got) for got, _ in found) == 32 * 4


def test_documents_are_shuffled_with_little_padding() -> None:
    lengths = np.random.default_rng(0).integers(1, 60, 5000).tolist()
    ids, starts = lines(lengths)
    documents = Documents(Tokens(ids, starts, END), 32, 64, seed=0)
    chunks = epoch(documents, 0)
    steps = sum(chunk.inputs.size for chunk in chunks)
    assert sum(chunk.predicted for chunk in chunks) > 0.9 * steps
    # Batches are not sorted by their length.
    halves = [[chunk.inputs.shape[0] for chunk in half] for half in (chunks[:80], chunks[80:])]
    assert abs(np.mean(halves[0]) - np.mean(halves[1])) < 10
    steps_of_five = [chunk.inputs.shape[0] for chunk in chunks[:5]]
    assert steps_of_five != sorted(steps_of_five)


def test_each_epoch_combines_other_documents() -> None:
    ids, starts = lines([3] * 64)
    documents = Documents(Tokens(ids, starts, END), 8, 16, seed=0)
    neighbours = [
        {frozenset(chunk.targets[0].tolist()) for chunk in epoch(documents, number)}
        for number in range(3)
    ]
    assert all(len(batches) == 8 for batches in neighbours)
    assert not neighbours[0] & neighbours[1]
    assert not neighbours[1] & neighbours[2]


@pytest.mark.slow
@given(sizes, st.booleans(), st.integers(1, 5), st.integers(1, 9))
def test_padding_has_token_zero(lengths: list[int], line: bool, batch: int, length: int) -> None:
    ids, starts = (lines if line else files)(lengths)
    for chunk in epoch(
        batches_for(Tokens(ids, starts, END if line else None), batch, length, 0), 0
    ):
        assert ((chunk.inputs == 0) == (chunk.targets == IGNORE)).all()


def same(a: Chunk, b: Chunk) -> bool:
    return (
        np.array_equal(a.inputs, b.inputs)
        and np.array_equal(a.targets, b.targets)
        and np.array_equal(a.fresh, b.fresh)
        and a.predicted == b.predicted
    )


@pytest.mark.slow
@given(sizes, st.booleans(), st.integers(1, 5), st.integers(1, 9), st.randoms())
def test_chunks_can_be_made_repeatedly_in_any_order(
    lengths: list[int], line: bool, batch: int, length: int, random: Any
) -> None:
    def make() -> Batches:
        ids, starts = (lines if line else files)(lengths)
        return batches_for(Tokens(ids, starts, END if line else None), batch, length, seed=5)

    batches = make()
    straight = {(e, i): batches.chunk(e, i) for e in range(3) for i in range(batches.chunks(e))}
    places = list(straight)
    random.shuffle(places)
    again = make()
    assert all(same(again.chunk(*place), straight[place]) for place in places)


def test_a_chunk_reads_only_its_own_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids, starts = files([5000])
    path = tmp_path / "ids.bin"
    ids.astype(np.uint16).tofile(path)
    mapped = Lanes(Tokens(np.memmap(path, dtype=np.uint16, mode="r"), starts), 4, 16, 1)
    plain = Lanes(Tokens(ids, starts), 4, 16, 1)
    assert all(same(plain.chunk(0, index), mapped.chunk(0, index)) for index in range(5))

    asked: list[int] = []

    class Recorder:
        def __len__(self) -> int:
            return len(ids)

        def __getitem__(self, places: np.ndarray) -> np.ndarray:
            asked.append(places.size)
            return ids[places]

    monkeypatch.setattr(plain._text, "ids", Recorder())
    plain.chunk(0, 7)
    assert asked == [17 * 4]


def test_batches_for_uses_lanes_only_if_documents_fill_them() -> None:
    assert isinstance(batches_for(Tokens(*files([500, 700]), None), 4, 16, 0), Lanes)
    assert isinstance(batches_for(Tokens(*files([3]), None), 4, 16, 0), Lanes)
    assert isinstance(batches_for(Tokens(*files([5] * 100), None), 4, 16, 0), Documents)
    assert isinstance(batches_for(Tokens(*lines([500, 700]), END), 4, 16, 0), Documents)


@pytest.mark.slow
@given(sizes, st.booleans(), st.integers(1, 5), st.integers(1, 9))
def test_with_one_lane_evaluation_does_not_cut_documents(
    lengths: list[int], line: bool, warm_up: int, length: int
) -> None:
    end_id = END if line else None
    ids, starts = (lines if line else files)(lengths)
    chunks = evaluation_chunks(
        Tokens(ids, starts, end_id), lanes=1, warm_up=warm_up, sequence_length=length
    )
    assert sorted(read(chunks)) == sorted(whole(ids, starts, end_id))


@pytest.mark.slow
@given(sizes, st.booleans(), st.integers(1, 6), st.integers(0, 5), st.integers(1, 9))
def test_evaluation_predicts_every_target_once(
    lengths: list[int], line: bool, lanes: int, warm_up: int, length: int
) -> None:
    end_id = END if line else None
    ids, starts = (lines if line else files)(lengths)
    chunks = evaluation_chunks(
        Tokens(ids, starts, end_id), lanes=lanes, warm_up=warm_up, sequence_length=length
    )
    # A target and the token before it occur together at one position only, with and without line ends.
    predictions = read(chunks)
    found = {(seen[-1], target): seen for seen, target in predictions}
    expected = {(full[-1], target): full for full, target in whole(ids, starts, end_id)}
    assert len(predictions) == len(found)
    assert found.keys() == expected.keys()
    for place, seen in found.items():
        assert is_tail(seen, expected[place])
        # The network has read all of the document so far, or at least `warm_up` tokens before this target.
        assert len(seen) == len(expected[place]) or len(seen) > warm_up


def test_evaluation_cuts_a_long_document_into_equal_parts() -> None:
    ids, starts = files([8001])
    chunks = list(evaluation_chunks(Tokens(ids, starts), lanes=4, warm_up=500, sequence_length=250))
    assert all(chunk.inputs.shape[1] == 4 for chunk in chunks)
    assert len(chunks) == (2000 + 500) / 250
    assert sum(chunk.predicted for chunk in chunks) == 8000
    # A document shorter than 4 warm-ups is not cut, so its evaluation is exact.
    ids, starts = files([2000])
    found = read(evaluation_chunks(Tokens(ids, starts), lanes=4, warm_up=500))
    assert max(len(seen) for seen, _ in found) == 1999


def test_evaluation_checks_its_arguments_before_the_first_chunk() -> None:
    with pytest.raises(DataError, match="nothing to predict"):
        evaluation_chunks(Tokens(np.array([2]), np.array([0])))


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_shards_are_fixed_lanes_that_cover_the_chunk(world_size: int) -> None:
    ids, starts = files([500])
    chunk = Lanes(Tokens(ids, starts), 5, 16, 0).chunk(0, 2)
    parts = [shard(chunk, rank, world_size) for rank in range(world_size)]
    assert np.array_equal(np.concatenate([p.inputs for p in parts], axis=1), chunk.inputs)
    assert np.array_equal(np.concatenate([p.targets for p in parts], axis=1), chunk.targets)
    assert np.array_equal(np.concatenate([p.fresh for p in parts]), chunk.fresh)
    assert sum(p.predicted for p in parts) == chunk.predicted
    assert all(p.inputs.flags.c_contiguous and p.predicted for p in parts)


@pytest.mark.parametrize("value", [2.5, "a", None, True])
def test_a_number_that_is_not_whole_is_one_clear_error(value: Any) -> None:
    ids, starts = files([30])
    for name in ("lanes", "warm_up", "sequence_length"):
        with pytest.raises(OptionError, match=f"^{name}: .*expected a whole number from") as caught:
            evaluation_chunks(Tokens(ids, starts), **{name: value})
        assert "\n" not in str(caught.value)
    for place, name in enumerate(("batch_size", "sequence_length", "seed")):
        numbers = [4, 5, 0]
        numbers[place] = value
        for make in (Lanes, Documents):
            with pytest.raises(OptionError, match=f"^{name}: .*expected a whole number from"):
                make(Tokens(ids, starts), *numbers)


def test_bad_input_is_refused() -> None:
    ids, starts = files([30])
    with pytest.raises(OptionError, match="batch_size: got 0"):
        Lanes(Tokens(ids, starts), 0, 5, 0)
    with pytest.raises(OptionError, match="sequence_length"):
        Documents(Tokens(ids, starts), 4, 0, 0)
    with pytest.raises(OptionError, match="seed"):
        Lanes(Tokens(ids, starts), 4, 5, -1)
    with pytest.raises(OptionError, match="sequence_length"):
        batches_for(Tokens(ids, starts, None), 4, 0, 0)
    with pytest.raises(ShapeError, match="ids"):
        Tokens(ids[None], starts)
    for wrong in ([1], [0, 31], [0, 9, 5], []):
        with pytest.raises(ShapeError, match="starts"):
            Tokens(ids, np.array(wrong))
    with pytest.raises(DataError, match="nothing to predict"):
        Documents(Tokens(ids[:2], np.array([0, 1])), 4, 5, 0)
    with pytest.raises(OptionError, match="fewer lanes"):
        batches_for(Tokens(ids, starts), 2, 5, 0, processes=3)
    with pytest.raises(IndexError):
        Lanes(Tokens(ids, starts), 2, 5, 0).chunk(0, 10**6)


def test_the_mean_number_of_targets_makes_the_weights_of_all_chunks_one_on_average() -> None:
    # Documents need several chunks, and their last chunks have few tokens.
    lengths = np.arange(240) % 40 + 1
    starts = np.append(0, np.cumsum(lengths + 1)[:-1])
    text = Tokens(np.ones(int((lengths + 1).sum()), np.int64), starts, end_id=1)
    batches = batches_for(text, 8, 32, seed=0)
    predicted = [batches.chunk(0, index).predicted for index in range(batches.chunks(0))]
    assert min(predicted) < 0.5 * max(predicted)
    assert np.mean(predicted) == batches.mean_predicted


def test_batches_of_short_documents_have_as_many_tokens_as_those_of_long_ones() -> None:
    # two documents of three have 2 tokens, the others 12
    lengths = np.where(np.arange(960) % 3 == 2, 12, 2)
    starts = np.append(0, np.cumsum(lengths + 1)[:-1])
    text = Tokens(np.ones(int((lengths + 1).sum()), np.int64), starts, end_id=1)
    documents = Documents(text, 32, 32, seed=0)
    chunks = epoch(documents, 0)
    assert all(0.5 < chunk.predicted / documents.mean_predicted < 1.5 for chunk in chunks)
    assert abs(len(chunks) - 960 / 32) <= 2
    # so most steps learn from the long documents
    assert sum(chunk.inputs.shape[0] > 3 for chunk in chunks) > 0.6 * len(chunks)


def test_every_process_gets_a_lane_of_a_batch_of_few_documents() -> None:
    # the last pool has fewer documents than there are processes
    starts = np.arange(0, 65 * 4, 4)
    text = Tokens(np.ones(65 * 4, np.int64), starts, end_id=1)
    batches = Documents(text, 2, 8, seed=0)
    chunks = [batches.chunk(0, index) for index in range(batches.chunks(0))]
    assert min(len(chunk.fresh) for chunk in chunks) < 3
    for chunk in chunks:
        parts = [shard(chunk, rank, 3) for rank in range(3)]
        assert min(len(part.fresh) for part in parts) >= 1
        assert sum(part.predicted for part in parts) == chunk.predicted
