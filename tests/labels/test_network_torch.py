"""The network in training and the network for prediction give the same answers, and every weight learns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from elman.files.model import Model
from elman.labels import network as runtime
from elman.labels.batches import EncodedSequences
from elman.labels.dataset import Sequences
from elman.labels.network_torch import TorchSequenceNetwork
from factories import CELLS
from readers import KINDS, POOLINGS, codec_of, config_of, reader_of, rounding, sequences_of


def trained(model: Model, **how: Any) -> TorchSequenceNetwork:
    """Return the network of `model` in torch, in evaluation mode."""
    reader = TorchSequenceNetwork(model.config, **how)
    reader.load(model.arrays)
    return reader.eval()


def forward(reader: TorchSequenceNetwork, model: Model, sequences: Sequences) -> list[np.ndarray]:
    """Return the mean logits of the members, ``[K]`` or ``[T_i, K]`` of each sequence."""
    batch = EncodedSequences.of(model.codec, sequences).batch(range(len(sequences)))
    with torch.no_grad():
        rows = reader(batch).mean(0).numpy()
    if model.config.task == "tag":
        return batch.steps.unpack(rows)
    return [*rows[np.argsort(batch.steps.order)]]


def check(model: Model, kind: str) -> None:
    sequences = sequences_of(kind)
    expected = runtime.SequenceNetwork(model)
    other = (
        expected.step_logits(sequences)
        if model.config.task == "tag"
        else [*expected.logits(sequences)]
    )
    tolerance = rounding(model, sequences)
    for one, two in zip(forward(trained(model), model, sequences), other, strict=True):
        np.testing.assert_allclose(one, two, rtol=0, atol=tolerance * max(1, abs(two).max()))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("cell", "activation"), CELLS)
def test_every_cell_and_kind(cell: str, activation: str, kind: str) -> None:
    check(reader_of(kind, cell=cell, activation=activation), kind)


@pytest.mark.parametrize("task", ["classify", "regress", "tag"])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("layers", [1, 3])
def test_every_task_and_depth(task: str, bidirectional: bool, layers: int) -> None:
    how = {"bidirectional": bidirectional, "num_layers": layers, "bias": layers == 1}
    kind = "numbers" if task == "regress" else "both"
    check(reader_of(kind, task, cell="lstm", **how), kind)


def test_beginnings_and_ends_of_words() -> None:
    check(reader_of("both", "tag", affixes=50), "both")


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("members", [1, 3])
def test_every_pooling(pooling: str, members: int) -> None:
    check(reader_of("word", pooling=pooling, members=members), "word")


@pytest.mark.parametrize("task", ["classify", "regress", "tag"])
def test_parameters_have_the_names_of_the_model(task: str) -> None:
    model = reader_of("both", task)
    arrays = trained(model).arrays()
    assert {name: array.shape for name, array in arrays.items()} == model.config.parameters()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, model.arrays[name])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn", "mingru"])
def test_every_weight_has_a_gradient(cell: str, kind: str) -> None:
    model, sequences = reader_of(kind, cell=cell), sequences_of(kind, 30)
    reader = trained(model).train()
    batch = EncodedSequences.of(model.codec, sequences).batch(range(30))
    logits = reader(batch)
    weights = torch.randn(logits.shape, generator=torch.Generator().manual_seed(0))
    (weights * logits).sum().backward()
    for name, weight in reader.named_parameters():
        assert weight.grad is not None, name
        assert torch.isfinite(weight.grad).all(), name
        rows = weight.grad.reshape(len(weight), -1).abs().sum(dim=1)
        assert rows.gt(0).all(), (
            f"{name}: rows {rows.eq(0).nonzero().ravel().tolist()} do not learn"
        )


@pytest.mark.slow
def test_gradients_agree_with_finite_differences() -> None:
    codec = codec_of("numbers", "classify")
    config = config_of(codec, "classify", members=1, num_layers=1, hidden_size=2, cell="rnn")
    torch.manual_seed(0)
    reader = TorchSequenceNetwork(config).double()
    encoded = EncodedSequences.of(codec, sequences_of("numbers", 5))
    doubles = replace(encoded, sequences=[one.astype(np.float64) for one in encoded.sequences])
    batch = doubles.batch(range(5))
    names = [name for name, _ in reader.named_parameters()]
    given = tuple(weight.detach().clone().requires_grad_() for weight in reader.parameters())

    def logits(*weights: torch.Tensor) -> Any:
        return torch.func.functional_call(reader, dict(zip(names, weights, strict=True)), (batch,))

    assert torch.autograd.gradcheck(logits, given)


def test_dropout_is_off_outside_training() -> None:
    model, sequences = reader_of("both"), sequences_of("both")
    reader = trained(model, dropout=0.5, word_dropout=0.5)
    batch = EncodedSequences.of(model.codec, sequences).batch(range(len(sequences)))
    with torch.no_grad():
        np.testing.assert_array_equal(reader(batch), trained(model)(batch))
        reader.train()
        assert not torch.equal(reader(batch), reader(batch))


def test_word_dropout_replaces_words_by_unk() -> None:
    model = reader_of("word", members=1)
    reader = trained(model, word_dropout=0.99).train()
    member: Any = reader.members[0]
    unknown = member._unknown(torch.full((10_000,), 3))
    assert set(unknown.tolist()) == {0, 3}
    # within six standard deviations of a binomial with 10,000 draws
    assert abs((unknown == 0).double().mean().item() - 0.99) < 6 * (0.99 * 0.01 / 10_000) ** 0.5
    reader.eval()
    assert member._unknown(torch.full((9,), 3)).tolist() == [3] * 9


def test_members_start_differently_with_open_forget_gates() -> None:
    config = config_of(codec_of("both", "classify"), "classify", cell="lstm")
    arrays = TorchSequenceNetwork(config).arrays()
    assert not np.array_equal(arrays["members.0.head.weight"], arrays["members.1.head.weight"])
    bias = arrays["members.0.layers.0.bias_ih"].reshape(4, 7)
    np.testing.assert_array_equal(bias[1], 1.0)
    assert np.abs(bias[[0, 2, 3]]).max() < 0.5
