"""The network compared with a plain computation in float64: one sequence, word and layer at a time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import elman
from elman.cells import find
from elman.engine.layers import layer_sequence, member_arrays
from elman.engine.pooling import pool
from elman.files.model import Model
from elman.labels.batches import MAX_SPELLED_CHARACTERS
from elman.labels.codec import SequenceCodec
from elman.labels.dataset import Sequences
from elman.labels.network import SequenceNetwork
from factories import CELLS
from readers import KINDS, POOLINGS, open_labelled, reader_of, rounding, sequences_of


def plain_layer(model: Model, own: dict[str, np.ndarray], name: str, x: np.ndarray) -> Any:
    """Return outputs ``[T, D·H]`` and last state ``[D·H]`` of a layer with D directions over ``x [T, I]``."""
    cell = find(model.config.cell, model.config.activation)
    outputs, ends = [], []
    for way in ("", "_reverse"):
        parameters = {
            part: own[f"{name}.{part}{way}"].astype(np.float64)
            for part in cell.parameters(1, 1)
            if f"{name}.{part}{way}" in own
        }
        if parameters:
            given = x[::-1] if way else x
            y, state = layer_sequence(cell, parameters, given[:, None])
            outputs.append((y[::-1] if way else y)[:, 0])
            ends.append(state[0][0])
    return np.concatenate(outputs, axis=1), np.concatenate(ends)


def plain_pool(
    way: str, y: np.ndarray, end: np.ndarray, attention: np.ndarray | None
) -> np.ndarray:
    if way == "last":
        return end
    if way == "max":
        return y.max(axis=0)
    weights = np.ones(len(y)) / len(y)
    if way == "attention":
        assert attention is not None
        scores = y @ attention[0]
        weights = np.exp(scores - scores.max())
        weights /= weights.sum()
    return weights @ y


def plain_input(model: Model, own: dict[str, np.ndarray], item: Any) -> np.ndarray:
    codec: SequenceCodec = model.codec
    if codec.scaler is not None:
        missing = np.isnan(item)
        scaled = np.where(missing, 0, (item - codec.scaler.mean) / codec.scaler.scale)
        return np.concatenate([scaled, missing], axis=1) if codec.scaler.indicator else scaled
    assert codec.tokens is not None
    words = (list(item) if codec.tokens.level == "char" else item.split()) or ["<unk>"]
    rows = []
    for word in words:
        known = word.lower() if codec.lowercase else word
        number = codec.tokens.tokens.index(known) if known in codec.tokens.tokens else 0
        row = own["embedding.weight"][number].astype(np.float64)
        if codec.alphabet is not None:
            short = (
                word
                if len(word) <= 2 * MAX_SPELLED_CHARACTERS
                else word[:MAX_SPELLED_CHARACTERS] + word[-MAX_SPELLED_CHARACTERS:]
            )
            letters = [max(0, "\0tobern,".find(letter)) for letter in short]
            spelled = own["alphabet.weight"][letters].astype(np.float64)
            if model.config.affixes:
                rows_of_affixes = plain_affixes(letters, model.config.affixes)
                row = row + own["affixes.weight"][rows_of_affixes].sum(axis=0, dtype=np.float64)
            row = np.concatenate([row, plain_layer(model, own, "spelling", spelled)[1]])
        rows.append(row)
    return np.stack(rows)


def plain_affixes(letters: list[int], count: int) -> list[int]:
    """Return the rows of the three beginnings and of the four ends of a word in a table of `count` rows."""
    codes, rows = [letter + 1 for letter in letters], []
    for start, ordered, longest in ((0, codes, 3), (1, codes[::-1], 4)):
        for n in range(1, longest + 1):
            polynomial = start
            for code in [*ordered, 0, 0, 0][:n]:
                polynomial = (polynomial * 31_337 + code) % (2**31 - 1)
            rows.append(polynomial % count)
    return rows


def plain_logits(model: Model, sequences: Sequences) -> list[np.ndarray]:
    """Return the logits ``[K]`` or ``[T_i, K]`` of each sequence, the mean over the members."""
    found = []
    for item in sequences.items:
        answers = []
        for m in range(model.config.members):
            own = member_arrays(model.arrays, m)
            y, end = plain_input(model, own, item), np.empty(0)
            for k in range(model.config.num_layers):
                y, end = plain_layer(model, own, f"layers.{k}", y)
            if model.config.pools:
                attention = own.get("attention.weight")
                parts = [plain_pool(way, y, end, attention) for way in model.config.pools]
                y = np.concatenate(parts)
            answers.append(y @ own["head.weight"].T.astype(np.float64) + own["head.bias"])
        found.append(np.mean(answers, axis=0))
    return found


def check(model: Model, kind: str) -> None:
    sequences = sequences_of(kind)
    reader, expected = SequenceNetwork(model), plain_logits(model, sequences)
    tolerance = rounding(model, sequences)
    got = (
        reader.step_logits(sequences) if model.config.task == "tag" else [*reader.logits(sequences)]
    )
    for one, other in zip(got, expected, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * max(1, abs(other).max()))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("cell", "activation"), CELLS)
def test_every_cell_and_kind(way: str, cell: str, activation: str, kind: str) -> None:
    check(reader_of(kind, cell=cell, activation=activation), kind)


@pytest.mark.parametrize("task", ["classify", "regress", "tag"])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("layers", [1, 3])
def test_every_task_and_depth(way: str, task: str, bidirectional: bool, layers: int) -> None:
    how = {"bidirectional": bidirectional, "num_layers": layers, "bias": layers == 1}
    kind = "numbers" if task == "regress" else "word"
    check(reader_of(kind, task, cell="lstm", **how), kind)


def test_beginnings_and_ends_of_words(way: str) -> None:
    check(reader_of("both", "tag", affixes=50), "both")


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("bidirectional", [True, False])
def test_every_pooling(way: str, pooling: str, bidirectional: bool) -> None:
    check(reader_of("numbers", pooling=pooling, bidirectional=bidirectional, members=1), "numbers")


@pytest.mark.slow
def test_other_sequences_of_a_batch_do_not_change_an_answer(way: str) -> None:
    """A sequence has the same answer alone, in a batch of many, and in a batch with much longer ones."""
    for kind in ("both", "numbers"):
        model = reader_of(kind)
        sequences = sequences_of(kind, 70)  # more than one batch holds
        reader, tolerance = SequenceNetwork(model), rounding(model, sequences)
        together = reader.logits(sequences)
        alone = [reader.logits(sequences.take([row]))[0] for row in range(len(sequences))]
        np.testing.assert_allclose(together, alone, rtol=0, atol=tolerance)
        shortest = int(sequences.lengths.argmin())
        item = sequences.items[shortest]
        longer = np.tile(sequences.items[0], (50, 1)) if kind == "numbers" else "or not " * 200
        beside = reader.logits(Sequences(sequences.kind, (longer, item, longer)))[1]
        np.testing.assert_allclose(beside, alone[shortest], rtol=0, atol=tolerance)


def test_answers_come_in_the_order_of_the_sequences() -> None:
    model, sequences = reader_of("both", "tag"), sequences_of("both", 100)
    order = np.random.default_rng(0).permutation(100).tolist()
    whole = SequenceNetwork(model).step_logits(sequences)
    drawn = SequenceNetwork(model).step_logits(sequences.take(order))
    for row, got in zip(order, drawn, strict=True):
        np.testing.assert_allclose(got, whole[row], rtol=0, atol=rounding(model, sequences))


@pytest.mark.parametrize("kind", ["both", "mask"])
def test_members_answer_by_the_mean_of_their_logits(kind: str) -> None:
    model, sequences = reader_of(kind, members=3), sequences_of(kind)
    one = replace(model.config, members=1)
    each = [
        SequenceNetwork(
            Model(
                one,
                {
                    f"members.0.{name}": array
                    for name, array in member_arrays(model.arrays, m).items()
                },
                model.codec,
                {},
            )
        ).logits(sequences)
        for m in range(3)
    ]
    np.testing.assert_allclose(
        SequenceNetwork(model).logits(sequences), np.mean(each, axis=0), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn", "mingru"])
@pytest.mark.parametrize("scale", [1e10, 1e30, 3e38])
def test_huge_weights_and_numbers_give_finite_answers(way: str, cell: str, scale: float) -> None:
    how: dict[str, Any] = {"cell": cell, "activation": "relu" if cell == "rnn" else "tanh"}
    for task in ("classify", "regress", "tag"):
        model = reader_of("numbers", task, **how)
        arrays = {
            name: np.clip(array.astype(np.float64) * scale, -3e38, 3e38).astype(np.float32)
            for name, array in model.arrays.items()
        }
        predictor = open_labelled(replace(model, arrays=arrays))
        given = [np.array([[1e308, -1e308, 0.0]] * 5), np.zeros((2, 3))]
        answer = predictor.predict(given) if task == "regress" else predictor.predict_proba(given)
        assert all(np.isfinite(one).all() for one in answer)


def test_numbers_in_huge_units_are_finite() -> None:
    model = reader_of("numbers", "regress")
    target = replace(model.codec.target, scale=np.array([1e308]))
    predictor = open_labelled(replace(model, codec=replace(model.codec, target=target)))
    answers = predictor.predict([np.full((9, 3), sign * 1e9) for sign in (-1, 1)])
    assert np.isfinite(answers).all()
    assert abs(answers).max() > 1e307


def test_pools_by_hand() -> None:
    # outputs of size 1 of two sequences: 1, 5 and 3; the rows are sorted by step
    y = np.array([[1.0], [3.0], [5.0]], np.float32)
    sizes = np.array([2, 1])
    end = np.array([[[[5.0], [3.0]]]], np.float32)
    attention = np.array(
        [[np.log(3) / 4]], np.float32
    )  # a step whose output is larger by 4 has 3 times the weight
    found = pool(("last", "mean", "max", "attention"), y, end, sizes, attention)
    np.testing.assert_allclose(found, [[5, 3, 5, 4], [3, 3, 3, 3]], rtol=1e-6)


@pytest.mark.parametrize(
    ("task", "kind"),
    [
        (task, kind)
        for task in ("classify", "regress", "tag")
        for kind in KINDS
        if (task, kind) != ("tag", "char")
    ],
)
def test_the_file_answers_as_the_model(tmp_path: Path, task: str, kind: str) -> None:
    model, sequences = reader_of(kind, task), sequences_of(kind)
    if task == "tag":
        sequences = sequences.stepwise()
    open_labelled(model).save(tmp_path / "m.safetensors")
    first = (tmp_path / "m.safetensors").read_bytes()
    loaded: Any = elman.load(tmp_path / "m.safetensors")
    loaded.save(tmp_path / "m.safetensors")
    assert (tmp_path / "m.safetensors").read_bytes() == first
    assert type(loaded) is type(open_labelled(model))
    assert loaded.model.config == model.config
    for got, expected in zip(
        loaded.predict(sequences), open_labelled(model).predict(sequences), strict=True
    ):
        np.testing.assert_array_equal(got, expected)
