"""Every task of the registry keeps the contract of a task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from elman.files.model import Model
from elman.labels.batches import EncodedSequences
from elman.labels.dataset import Sequences
from elman.labels.network_torch import TorchSequenceNetwork
from elman.language.network_torch import Network
from elman.series.network_torch import Forecaster
from elman.tasks import TASKS
from task_checks import (
    CHECKS,
    TaskCase,
    check_answers_of_the_trained_network,
    check_saved_and_loaded,
)

GOLDEN = Path(__file__).parent / "golden"


def golden(name: str) -> Model:
    return Model.load(GOLDEN / f"{name}-1.safetensors")


def language_probabilities(model: Model, text: str) -> np.ndarray:
    network = Network(model.config).eval()
    network.load(model.arrays)
    with torch.no_grad():
        hidden, _ = network(torch.tensor(model.codec.encode(text))[:, None])
        shares = network.head(hidden)[-1, 0].softmax(0).double().numpy()
    # the first token stands for all unknown ones and is not among the predictions
    return np.sort(shares[1:])[::-1][:2]


def label_rows(model: Model, sequence: Any) -> np.ndarray:
    """Return the mean logits of the members, ``[1, K]``, or ``[T, K]`` for tags."""
    network = TorchSequenceNetwork(model.config).eval()
    network.load(model.arrays)
    sequences = Sequences.of([sequence])
    if model.config.task == "tag":
        sequences = sequences.stepwise()
    with torch.no_grad():
        return network(EncodedSequences.of(model.codec, sequences).batch(range(1))).mean(0).numpy()


def softmax(logits: np.ndarray) -> np.ndarray:
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shares / shares.sum(axis=-1, keepdims=True)


def predicted_number(model: Model, sequence: Any) -> np.ndarray:
    scaler = model.codec.target
    return label_rows(model, sequence).ravel() * scaler.scale + scaler.mean


def forecast_medians(model: Model, _: None) -> np.ndarray:
    codec, rule = model.codec, model.codec.rule
    network = Forecaster(model.config, rule.horizon).eval()
    network.load(model.arrays)
    ends = np.array([len(values) for values in codec.history.values])
    prepared, _ = codec.windows(codec.history).prepare(np.arange(len(ends)), ends)
    with torch.no_grad():
        answers = network(torch.from_numpy(prepared.inputs)).mean(0).double().numpy()
    quantiles = np.sort(np.sort(answers, axis=2) + codec.corrections, axis=2)
    return rule.forecast(prepared, quantiles)[..., len(codec.levels) // 2]


def two_channels(folder: Path) -> list[str]:
    (folder / "sequence.ts").write_text("@data\n1.0,0.5:-2.25,-1.0\n")
    return [str(folder / "sequence.ts")]


CASES = {
    "language": TaskCase(
        model=golden("lstm"),
        value="I like",
        arguments=lambda folder: ["I like"],
        answer=lambda predictor, text: [share for _, share in predictor.predict_next(text, 2)],
        trained=language_probabilities,
        command_numbers=lambda lines: lines[0]["predictions"],
        server_numbers=lambda reply: reply["predictions"],
    ),
    "classify": TaskCase(
        model=golden("classify"),
        value="Good, bad Aé!",
        arguments=lambda folder: ["Good, bad Aé!"],
        answer=lambda predictor, text: predictor.predict_proba([text]),
        trained=lambda model, text: softmax(label_rows(model, text)),
        command_numbers=lambda lines: [line["probability"] for line in lines],
        server_numbers=lambda reply: [reply["probabilities"][0]["probability"]],
    ),
    "regress": TaskCase(
        model=golden("regress"),
        value=[[1.0, -2.25], [0.5, -1.0]],
        arguments=two_channels,
        answer=lambda predictor, rows: predictor.predict([rows]),
        trained=predicted_number,
        command_numbers=lambda lines: [line["prediction"] for line in lines],
        server_numbers=lambda reply: [reply["value"]],
    ),
    "tag": TaskCase(
        model=golden("tag"),
        value=["I", "like", "it"],
        arguments=lambda folder: ["I like it"],
        answer=lambda predictor, tokens: predictor.predict_proba([tokens])[0],
        trained=lambda model, tokens: softmax(label_rows(model, tokens)),
        command_numbers=lambda lines: [str(line["tag"]) for line in lines],
        server_numbers=lambda reply: reply["tags"],
    ),
    "forecast": TaskCase(
        model=golden("forecast"),
        value=None,
        arguments=lambda folder: [],
        answer=lambda predictor, _: predictor.predict().median,
        trained=forecast_medians,
        command_numbers=lambda lines: [line["y_hat"] for line in lines],
        server_numbers=lambda reply: [
            value for series in reply["series"] for value in series["median"]
        ],
        explained={"series": "Bern"},
    ),
}


def test_every_task_has_a_case() -> None:
    assert {name: case.task for name, case in CASES.items()} == {name: name for name in TASKS}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("task", CASES)
def test_contract(task: str, check: Callable[[TaskCase, Path], None], tmp_path: Path) -> None:
    check(CASES[task], tmp_path)


def test_a_wrong_predictor_breaks_the_contract(tmp_path: Path) -> None:
    """The checks notice a predictor whose weights differ from those of the trained network or of the file."""
    case, changed = CASES["tag"], dict(golden("tag").arrays)
    name = next(iter(changed))
    changed[name] = changed[name] + np.float32(0.5)
    other = replace(case, model=Model(case.model.config, changed, case.model.codec, {}))
    trained = replace(other, trained=lambda _, tokens: case.trained(case.model, tokens))
    with pytest.raises(AssertionError, match="Not equal"):
        check_answers_of_the_trained_network(trained, tmp_path)
    drifting = iter([1.0, 2.0])
    unstable = replace(case, answer=lambda predictor, tokens: [next(drifting)])
    with pytest.raises(AssertionError, match="Arrays are not equal"):
        check_saved_and_loaded(unstable, tmp_path)
