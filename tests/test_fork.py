"""A forked child answers, although it has none of its parent's threads."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

# The parent trains, predicts and uses a layer on several threads, then forks. The alarm ends a hanging child.
FORKS = """
import multiprocessing, os, signal
import numpy as np, torch
import elman
from elman.nn import LSTM

torch.set_num_threads(2)
texts = [f"word {i % 7} is {('bad', 'good')[i % 2]} today" for i in range(80)]
labels = [("bad", "good")[i % 2] for i in range(80)]
classifier = elman.SequenceClassifier(steps=3, hidden_size=64).fit(texts, labels)
language = elman.LanguageModel(level="char", steps=3, hidden_size=256, num_layers=2).fit(" ".join(texts))
stream = language.stream()
layer, x = LSTM(32, 128), torch.randn(20, 64, 32)

def work(_=None):
    layer.zero_grad()
    y = layer(x)[0]
    y.square().sum().backward()
    return [
        classifier.predict_proba(texts),
        stream.fork().feed("word").state,
        language.predictor_.streams(64).feed(["word 3 is"] * 64).stream(5).state,
        y.detach().numpy(),
        layer.weight_hh_l0.grad.numpy().copy(),
    ]

def same(found):
    return all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))

expected = work()
child = os.fork()
if child == 0:
    signal.alarm(60)
    os._exit(0 if same(work()) else 1)
assert os.waitpid(child, 0)[1] == 0
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert all(map(same, pool.map_async(work, range(3)).get(timeout=60)))
assert same(work())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_computes_what_its_parent_does() -> None:
    environment = os.environ | {"ELMAN_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKS],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
