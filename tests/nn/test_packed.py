from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence, pad_packed_sequence

from cases import CELLS, Case, cell_id, like, plain, states_of
from cell_checks import close
from elman.cells import Cell
from elman.errors import ShapeError
from strategies import lengths

GARBAGE = 1e3


@pytest.mark.parametrize("cell", CELLS, ids=cell_id)
@settings(max_examples=15, deadline=None, derandomize=True)
@given(sizes=lengths, ordered=st.booleans(), two=st.booleans(), batch_first=st.booleans())
def test_packed_equals_each_sequence_alone(
    cell: Cell, sizes: list[int], ordered: bool, two: bool, batch_first: bool
) -> None:
    """Values, last states and every gradient are equal, whatever the padding holds."""
    sizes = sorted(sizes, reverse=True) if ordered else sizes
    case = Case(
        cell,
        max(sizes),
        len(sizes),
        3,
        4,
        num_layers=1 + two,
        bidirectional=two,
        batch_first=batch_first,
    )
    module = case.layer()
    x, hx = case.batch()
    alone, last = [], []
    for column, size in enumerate(sizes):
        sequence = (x[column] if batch_first else x[:, column])[:size]
        start = like(hx, [part[:, column] for part in states_of(hx)])
        y, end = plain(module, sequence, start)
        alone.append(y)
        last.append(states_of(end))
    sum((y * y).sum() for y in alone).backward()
    expected = {name: weight.grad.clone() for name, weight in module.named_parameters()}

    padded = x.detach().clone()
    for column, size in enumerate(sizes):
        (padded[column] if batch_first else padded[:, column])[size:] = GARBAGE
    for forward in (module, functools.partial(plain, module)):
        module.zero_grad()
        packed = pack_padded_sequence(padded, sizes, batch_first, enforce_sorted=ordered)
        y, end = forward(packed, hx)
        assert (y.sorted_indices is None) == ordered
        (y.data * y.data).sum().backward()
        rows, got_sizes = pad_packed_sequence(y, batch_first=True)
        assert got_sizes.tolist() == sizes
        for column, size in enumerate(sizes):
            close(
                rows[column, :size].detach().numpy(),
                alone[column].detach().numpy(),
                case.rounding(),
            )
        for part, whole in zip(states_of(end), zip(*last, strict=True), strict=True):
            close(
                part.detach().numpy(),
                torch.stack(whole, 1).detach().numpy(),
                case.rounding(),
            )
        for name, weight in module.named_parameters():
            close(weight.grad.numpy(), expected[name].numpy(), case.rounding())


@pytest.mark.parametrize("cell", CELLS, ids=cell_id)
def test_packed_without_start_state(cell: Cell) -> None:
    case = Case(cell, 5, 3, 3, 4, num_layers=2, bidirectional=True)
    module = case.layer()
    x = case.batch()[0].detach()
    sequences = [x[:4, 0], x[:1, 1], x[:5, 2]]
    packed = pack_sequence(sequences, enforce_sorted=False)
    y, end = plain(module, packed)
    oracle, last = module(packed)
    close(y.data.detach().numpy(), oracle.data.detach().numpy(), case.rounding())
    for part, expected in zip(states_of(end), states_of(last), strict=True):
        close(part.detach().numpy(), expected.detach().numpy(), case.rounding())
    alone, _ = plain(module, sequences[1])
    rows, _ = pad_packed_sequence(y)
    close(rows[:1, 1].detach().numpy(), alone.detach().numpy(), case.rounding())


def test_float32_packed_output_keeps_the_type() -> None:
    case = Case(CELLS[-1], 3, 2, 3, 4)
    packed = pack_sequence([torch.ones(3, 3), torch.ones(1, 3)])
    y, _ = case.layer(torch.float32)(packed)
    assert y.data.dtype == torch.float32
    assert np.array_equal(y.batch_sizes, [2, 1, 1])


def test_packed_of_another_size() -> None:
    case = Case(CELLS[-1], 3, 2, 3, 4)
    with pytest.raises(ShapeError, match="with I = 3"):
        case.layer(torch.float32)(pack_sequence([torch.ones(3, 5)]))
