"""The memory of classifiers, regressors and taggers, on networks whose memory is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from elman.errors import DataError, InputError
from elman.inspect.memory import MAX_WINDOWS
from readers import open_labelled, reader_of, sequences_of


def forgetful(kind: str, task: str, pooling: str = "last") -> Any:
    """Open a model with recurrent weights of zero, whose state depends on the current step only."""
    how: dict[str, Any] = {"cell": "rnn", "bidirectional": False, "num_layers": 1, "scale": 1.0}
    model = reader_of(kind, task, pooling="" if task == "tag" else pooling, **how)
    arrays = {
        name: np.zeros_like(array) if "weight_hh" in name else array
        for name, array in model.arrays.items()
    }
    return open_labelled(replace(model, arrays=arrays))


@pytest.mark.parametrize("task", ["classify", "regress", "tag"])
@pytest.mark.parametrize("kind", ["both", "numbers"])
def test_state_that_keeps_nothing_needs_only_the_last_step(kind: str, task: str) -> None:
    found = forgetful(kind, task).memory()
    assert (found.typical, found.horizon, found.unit) == (1, 1, "step")
    assert found.verdict == "The last step alone decides the answer."
    assert found.positions == MAX_WINDOWS
    assert found.gradient is None
    assert found.to_dict()["gradient"] is None
    assert found.to_svg().startswith("<svg")
    assert len(found.plot().axes) == 1
    assert "gradient" not in str(found)


def test_mean_over_all_steps_needs_all_of_them() -> None:
    found = forgetful("numbers", "regress", "mean").memory(sequences_of("numbers", 40))
    assert found.horizon is None
    assert found.source == "the sequences that were given"
    assert found.verdict.startswith("Most answers still change when all but the last")


def test_drawn_sequences_are_the_same_each_time() -> None:
    for kind in ("both", "char", "mask"):
        one, other = (open_labelled(reader_of(kind)).memory().to_dict() for _ in range(2))
        assert one == other
        assert "drawn" in one["source"]


def test_change_equals_that_of_predictions_for_cut_texts() -> None:
    predictor = open_labelled(reader_of("word"))
    texts = ["to be or not", "not to be or", "be be not to"]
    found = predictor.memory("\n".join(texts))
    whole = predictor.predict_proba(texts)
    for lag, change in zip(found.lags, found.change.tolist(), strict=True):
        cut = predictor.predict_proba([" ".join(text.split()[-lag:]) for text in texts])
        moved = np.abs(whole - cut).sum(axis=1) / 2
        assert change == pytest.approx(float(np.median(moved)), abs=1e-5)


def test_sequences_that_cannot_be_cut_are_an_error() -> None:
    predictor = open_labelled(reader_of("word"))
    with pytest.raises(InputError, match="the sequences are too short to cut anything off"):
        predictor.memory(["to", "be"])
    with pytest.raises(DataError, match="got numbers; expected texts"):
        predictor.memory([[1.0, 2.0]])
