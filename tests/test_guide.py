"""The first three steps of the guide "Add a cell" in CONTRIBUTING.md make a cell that works."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import elman

LEAKY = '''
"""A unit whose state leaks: h' = (1 - rate)·h + rate·tanh(gx_h + gh_h), rate = sigmoid(gx_r)."""

from elman.cells._cell import Cell


def _activate(ops, gx, gh):
    rate, candidate = leaky.split(gx)
    return ops.sigmoid(rate), ops.tanh(candidate + leaky.split(gh)[1])


def _combine(ops, gates, state):
    (h,), (rate, candidate) = state, gates
    return ((1 - rate) * h + rate * candidate,)


def _backward(slopes, step, d_after):
    (h,), (d_h,), (rate, candidate) = step.before, d_after, step.gates
    z = leaky.split(step.gx)[1] + leaky.split(step.gh)[1]
    d_z = rate * d_h * slopes.tanh(candidate, z)
    d_rate = d_h * (candidate - h) * slopes.sigmoid(rate)
    return [d_rate, d_z], [0 * d_z, d_z], ((1 - rate) * d_h,)


leaky = Cell(
    name="leaky",
    gates=("rate", "candidate"),
    states=("hidden",),
    activate=_activate,
    combine=_combine,
    backward=_backward,
    source="the test of the guide",
)
'''

USES = """
import sys
# an editable install would find the package that is under test, not its copy
sys.meta_path = [finder for finder in sys.meta_path if "ScikitBuild" not in type(finder).__name__]
import numpy as np, torch
import elman
from elman.cells import find
from elman.explain.explanation import METHODS
from elman.nn import embedded, layer_class

assert elman.__file__.startswith(sys.argv[1]), elman.__file__
layer = layer_class(find("leaky"))(3, 5, num_layers=2, bidirectional=True)
y, state = layer(torch.ones(7, 4, 3))
y.sum().backward()
assert y.shape == (7, 4, 10) and torch.isfinite(layer.weight_hh_l0.grad).all()
single = layer_class(find("leaky"))(3, 5)
tokens, table = torch.zeros(9, 2, dtype=torch.long), torch.ones(2, 3)
assert torch.equal(embedded(single, tokens, table)[0], single(torch.ones(9, 2, 3))[0])

path = sys.argv[1] + "/model.safetensors"
options = dict(cell="leaky", hidden_size=8, num_layers=1, steps=3)
text = "I like to eat pizza and you like to eat cake. " * 40
language = elman.LanguageModel(level="char", **options).fit(text)
language.save(path)
stream = elman.load(path).stream().feed("I like")
assert np.isfinite(stream.probabilities).all()
for method in METHODS:
    assert (language.explain("I like to", method=method).gap or 0) < 0.01
words = [f"word {i % 7} {('bad', 'good')[i % 2]}" for i in range(40)]
classifier = elman.SequenceClassifier(**options).fit(words, [i % 2 for i in range(40)])
assert classifier.predict_proba(words).shape == (40, 2)
series = elman.Forecaster(horizon=3, members=1, **options).fit(10 + np.sin(np.arange(200) / 3))
assert len(series.predict().to_columns())
"""


def follow_the_guide(package: Path) -> None:
    """Write the cell's file, and add its name in the two files that the guide names."""
    (package / "cells" / "leaky.py").write_text(LEAKY, encoding="utf-8")
    for file, before, after in (
        ("cells/__init__.py", "from elman.cells.lstm", "from elman.cells.leaky import leaky\n"),
        ("cells/__init__.py", "mingru)}", "leaky, "),
        ("training/recurrent_options.py", '"mingru"]', '"leaky", '),
    ):
        path = package / file
        text = path.read_text(encoding="utf-8")
        assert text.count(before) == 1
        path.write_text(text.replace(before, after + before), encoding="utf-8")


@pytest.mark.slow
def test_a_cell_added_by_the_guide_works(tmp_path: Path) -> None:
    package = tmp_path / "elman"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(elman.__file__).parent, package, ignore=ignore)
    follow_the_guide(package)
    done = subprocess.run(
        [sys.executable, "-c", USES, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
