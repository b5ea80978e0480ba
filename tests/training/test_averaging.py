"""The running mean of the weights: what it is, that it is applied and taken back, and that it resumes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from elman.training.averaging import Average


def network(value: float) -> torch.nn.Module:
    layer = torch.nn.Linear(2, 1)
    fill(layer, value)
    return layer


def fill(layer: torch.nn.Module, value: float) -> None:
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(value)


def test_it_is_the_exponential_mean() -> None:
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


def test_where_training_began_is_soon_forgotten() -> None:
    layer = network(1e3)
    average = Average(layer, 0.99)
    fill(layer, 1.0)
    for step in range(12):
        average.follow(step)
    # of what was there first, 12! · 9! / 21! is left
    np.testing.assert_allclose(average.arrays()["bias"], 1 + 999 * 3.4e-6, rtol=1e-5)


def test_it_is_applied_and_taken_back() -> None:
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

    # and after an error too
    with pytest.raises(KeyError, match="within"):
        fail()
    assert layer.bias.tolist() == [3.0]


def test_without_a_share_it_is_the_network_itself() -> None:
    layer = network(1.0)
    average = Average(layer, 0.0)
    fill(layer, 3.0)
    average.follow(0)
    with average.applied():
        assert layer.bias.tolist() == [3.0]
    assert average.arrays() == {}


def test_it_goes_on_from_what_was_kept() -> None:
    layer = network(1.0)
    average = Average(layer, 0.5)
    fill(layer, 3.0)
    average.follow(10**6)
    kept = average.arrays()
    again = Average(layer, 0.5)
    again.restore(kept)
    for one in (average, again):
        one.follow(10**6)
    assert again.arrays()["weight"].tobytes() == average.arrays()["weight"].tobytes()
    # what was returned is a copy
    assert kept["bias"].tolist() == [2.0]
