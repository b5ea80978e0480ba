"""The moving average of the weights: its formula, its use within a block, and its exact resume."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from elman.training.averaging import Average


def network(value: float) -> torch.nn.Linear:
    layer = torch.nn.Linear(2, 1)
    fill(layer, value)
    return layer


def fill(layer: torch.nn.Module, value: float) -> None:
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(value)


def test_average_is_the_exponential_moving_average() -> None:
    layer = network(0.0)
    average, expected = Average(layer, 0.6), 0.0
    for step in range(12):
        fill(layer, float(step + 1))
        average.follow(step)
        keep = min(0.6, (1 + step) / (10 + step))
        expected = keep * expected + (1 - keep) * (step + 1)
    for mean in average.arrays().values():
        # float32 sums of 12 numbers up to 12
        np.testing.assert_allclose(mean, expected, rtol=1e-6)


def test_initial_weights_are_soon_forgotten() -> None:
    layer = network(1e3)
    average = Average(layer, 0.99)
    fill(layer, 1.0)
    for step in range(12):
        average.follow(step)
    # The initial weights have the share 12! · 9! / 21! after 12 steps.
    np.testing.assert_allclose(average.arrays()["bias"], 1 + 999 * 3.4e-6, rtol=1e-5)


def test_applied_replaces_the_weights_within_the_block() -> None:
    layer = network(1.0)
    average = Average(layer, 0.5)
    fill(layer, 3.0)
    with average.applied():
        assert layer.bias.tolist() == [1.0]
        assert layer.weight.tolist() == [[1.0, 1.0]]
    assert layer.bias.tolist() == [3.0]
    assert layer.weight.tolist() == [[3.0, 3.0]]

    def fail() -> None:
        with average.applied():
            raise KeyError("within")

    # an error within the block restores the weights too
    with pytest.raises(KeyError, match="within"):
        fail()
    assert layer.bias.tolist() == [3.0]


def test_decay_of_zero_keeps_the_weights() -> None:
    layer = network(1.0)
    average = Average(layer, 0.0)
    fill(layer, 3.0)
    average.follow(0)
    with average.applied():
        assert layer.bias.tolist() == [3.0]
    assert average.arrays() == {}


def test_restored_average_continues_exactly() -> None:
    layer = network(1.0)
    average = Average(layer, 0.5)
    fill(layer, 3.0)
    average.follow(10**6)
    kept = average.arrays()
    again = Average(layer, 0.5)
    again.restore(kept)
    for moving in (average, again):
        moving.follow(10**6)
    assert again.arrays()["weight"].tobytes() == average.arrays()["weight"].tobytes()
    # `arrays` returns copies, which later steps do not change
    assert kept["bias"].tolist() == [2.0]
