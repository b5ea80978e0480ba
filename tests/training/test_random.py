"""Random numbers of a run do not depend on other draws in the process."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest
import torch

import elman
from elman.training.random import Dropout, Randomness

pytestmark = pytest.mark.slow

TEXTS = [f"word {i % 7} is {('bad', 'good')[i % 2]} today {i}" for i in range(60)]
LABELS = [("bad", "good")[i % 2] for i in range(60)]


def fit(seed: int) -> np.ndarray:
    options: dict[str, Any] = {"steps": 25, "hidden_size": 8, "dropout": 0.3, "refit": False}
    return elman.SequenceClassifier(seed=seed, **options).fit(TEXTS, LABELS).predict_proba(TEXTS)


def test_concurrent_fits_equal_fits_alone() -> None:
    alone = [fit(seed) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(alone[0], alone[1])
    assert not np.array_equal(alone[0], alone[2])
    done = Event()

    def disturb() -> None:
        while not done.wait(0.001):
            torch.rand(100)

    disturbance = Thread(target=disturb)
    disturbance.start()
    try:
        with ThreadPoolExecutor(3) as threads:
            together = [*threads.map(fit, (0, 0, 1))]
    finally:
        done.set()
        disturbance.join()
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_fit_does_not_change_the_generator_of_torch() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fit(0)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
def test_dropout_equals_that_of_torch(rate: float) -> None:
    x = torch.randn(31, 7, requires_grad=True)
    torch.manual_seed(4)
    expected = torch.nn.functional.dropout(x, rate)
    dropout, random = Dropout(rate), Randomness(4)
    random.give(dropout)
    assert torch.equal(dropout(x), expected)
    assert torch.equal(dropout.eval()(x), x)


def test_locked_dropout_keeps_the_same_units_at_every_step_of_a_lane() -> None:
    x = torch.ones(16, 3, 200, requires_grad=True)
    dropout = Dropout(0.3, locked=True)
    Randomness(4).give(dropout)
    dropped = dropout(x)
    assert bool((dropped == dropped[0]).all())
    assert not torch.equal(dropped[0, 0], dropped[0, 1])
    # the mean over many draws is the input
    mean = torch.stack([dropout(x)[0] for _ in range(200)]).mean().item()
    assert abs(mean - 1) < 0.02
    dropped.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, dropped)
    assert torch.equal(dropout.eval()(x), x)
