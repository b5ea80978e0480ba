"""Pre-training on unlabelled text: its loss, what it gives to the labels, exact resume, and bad files."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from elman import DataError, OptionError, SequenceClassifier
from elman.files.model import Model
from elman.labels.dataset import Sequences
from elman.labels.examples import LabelledSequences, RunInputs
from elman.labels.objective import LabelledObjective
from elman.labels.options import ClassifierOptions, LabelledOptions, RegressorOptions, TaggerOptions
from elman.labels.pretraining import PretrainingObjective
from elman.labels.train import LabelledRecipe, train_labelled
from elman.text.words import UNKNOWN_ID
from elman.training.distributed import Group
from elman.training.journal import Run
from elman.training.random import Randomness
from readers import open_labelled

pytestmark = pytest.mark.slow

SMALL: dict[str, Any] = {
    "hidden_size": 6,
    "embedding_size": 5,
    "spelling_size": 4,
    "batch_size": 8,
    "learning_rate": 0.02,
    "threads": 1,
    "steps": 10,
    "evaluations": 2,
    "patience": 100,
}
OPTIONS: dict[str, type[LabelledOptions]] = {
    "classify": ClassifierOptions,
    "regress": RegressorOptions,
    "tag": TaggerOptions,
}


def topics(count: int, words: range, seed: int) -> tuple[list[str], list[str]]:
    """Return texts of five words of one topic, a or b, and their topics."""
    draw = np.random.default_rng(seed)
    labels = [("a", "b")[number % 2] for number in range(count)]
    texts = [" ".join(f"{label}{draw.choice(list(words))}" for _ in range(5)) for label in labels]
    return texts, labels


@pytest.fixture
def unlabelled(tmp_path: Path) -> str:
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(["", *topics(600, range(20), 1)[0], "alone"]), encoding="utf-8")
    return str(path)


def labelled(task: str = "classify") -> LabelledSequences:
    texts, labels = topics(48, range(5), 2)
    targets: dict[str, list[Any]] = {
        "classify": labels,
        "regress": [float(label == "a") for label in labels],
        "tag": [[label] * 5 for label in labels],
    }
    return LabelledSequences(Sequences.of(texts), targets[task])


def train(task: str = "classify", *, watch: Any = None, **how: Any) -> Model:
    files = {name: how.pop(name) for name in ("output", "resume", "before") if name in how}
    options = OPTIONS[task](**SMALL | how)
    return train_labelled(
        task, labelled(task), options, Run(watch=watch, **files), RunInputs()
    ).model


def objective_of(pretrain: str, **how: Any) -> PretrainingObjective:
    options = ClassifierOptions(**SMALL | how, pretrain=pretrain)
    recipe = LabelledRecipe.load(
        "classify", labelled(), options, RunInputs(), None, Group(), Randomness()
    )
    objective, _ = recipe.stage([])
    assert isinstance(objective, PretrainingObjective)
    return objective


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("level", ["both", "word", "char"])
def test_the_loss_equals_one_computed_text_by_text(
    unlabelled: str, level: str, bidirectional: bool
) -> None:
    objective = objective_of(unlabelled, level=level, bidirectional=bidirectional, members=2)
    objective.network.eval()
    expected, count = torch.zeros(()), 0
    for row in objective.batches.of(0)[0].tolist():
        batch, ids = objective.texts.batch([row]), torch.from_numpy(objective.texts.token_ids[row])
        for reader in objective.readers:
            outputs, _ = reader.outputs(batch)
            sides = [(outputs[:-1, :6], ids[1:])]
            sides += [(outputs[1:, 6:], ids[:-1])] if bidirectional else []
            for states, wanted in sides:
                expected = expected + torch.nn.functional.cross_entropy(
                    reader.tokens(states), wanted, ignore_index=UNKNOWN_ID, reduction="sum"
                )
                count += int((wanted != UNKNOWN_ID).sum())
    loss, counted = objective.loss(0, 0)
    assert counted == count / 2
    # rounding error of sums of a few hundred float32 numbers
    assert loss.item() == pytest.approx(expected.item() / 2, rel=1e-5)


def test_processes_share_a_batch_of_unlabelled_texts(unlabelled: str) -> None:
    objective = objective_of(unlabelled)
    objective.network.eval()
    whole, count = objective.loss(0, 0)
    parts = []
    for rank in range(100):
        objective.group = Group(rank, 100)
        total, counted = objective.loss(0, 0)
        assert counted == count
        parts.append(total.item())
    assert sum(parts) == pytest.approx(whole.item(), rel=1e-5)


def test_words_that_no_label_has_are_understood(unlabelled: str) -> None:
    how: dict[str, Any] = {"level": "word", "wide": False, "steps": 60, "hidden_size": 16}
    fresh, labels = topics(100, range(5, 20), 3)
    accuracies = [
        np.mean(open_labelled(train(**how, pretrain=path)).predict(fresh) == np.array(labels))
        for path in (unlabelled, None)
    ]
    assert accuracies[0] > 0.9
    assert accuracies[1] < 0.7


def test_all_networks_start_from_the_same_language_model(unlabelled: str) -> None:
    """The word a19 has no label, so that the training on labels leaves its embedding alone."""
    how: dict[str, Any] = {"level": "word", "weight_decay": 0.0, "refit": True, "members": 2}
    events: list[dict[str, Any]] = []
    models = [train(pretrain=unlabelled, watch=events.append, **how | {"steps": n}) for n in (1, 7)]
    assert events[0]["stages"] == ["pretrain", "fold", "fold", "fold", "measured", "refit"]
    assert events[0]["unlabelled"] == 601
    number = models[0].codec.vocabulary.tokens.index("a19")
    rows = [
        [model.arrays[f"members.{m}.embedding.weight"][number] for m in range(2)]
        for model in models
    ]
    np.testing.assert_array_equal(rows[0], rows[1])
    assert not np.array_equal(rows[0][0], rows[0][1])


@pytest.mark.parametrize("task", OPTIONS)
@pytest.mark.parametrize("at", [30, 55, 65, 90])
def test_a_resumed_run_gives_the_same_bits(
    unlabelled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str, at: int
) -> None:
    calls, stop_at = 0, -1
    for objective in (PretrainingObjective, LabelledObjective):

        def loss(self: Any, *given: Any, right: Any = objective.loss) -> Any:
            nonlocal calls
            calls += 1
            if calls == stop_at:
                signal.raise_signal(signal.SIGINT)
            return right(self, *given)

        monkeypatch.setattr(objective, "loss", loss)
    how: dict[str, Any] = {"dropout": 0.3, "word_dropout": 0.1, "refit": True, "members": 2}
    how |= {"pretrain": unlabelled, "output": tmp_path / "m.safetensors"}
    whole = train(task, **how)
    assert calls > 90, "the last stage was not reached"
    calls, stop_at = 0, at
    if at < 50:
        # nothing can answer yet
        how["output"].unlink()
        with pytest.raises(KeyboardInterrupt):
            train(task, **how)
        assert not how["output"].exists()
    else:
        assert train(task, **how).card["training"]["stopped"] == "interrupted"
    rest = train(task, resume=True, **how)
    for name, array in whole.arrays.items():
        np.testing.assert_array_equal(rest.arrays[name], array)


def test_bad_files_are_errors_of_one_line(tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    with pytest.raises(DataError, match=r"texts\.txt"):
        train(pretrain=str(path))
    for content, message in (
        ("", "texts.txt is empty"),
        (" \n\n", "texts.txt has only empty lines: expected a text on each line"),
        ("one\ntwo\n", "the unlabelled text: got single tokens"),
    ):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(DataError, match=message):
            train(pretrain=str(path))


def test_only_new_readers_of_texts_are_pretrained(unlabelled: str) -> None:
    numbers = LabelledSequences(Sequences.of([[1.0, 2.0], [2.0, 1.0]] * 9), ["a", "b"] * 9)
    options = ClassifierOptions(**SMALL, pretrain=unlabelled)
    with pytest.raises(OptionError, match="pretrain: got a network that reads numbers"):
        train_labelled("classify", numbers, options, Run(), RunInputs())
    with pytest.raises(OptionError, match="pretrain: got a model to train further"):
        train(pretrain=unlabelled, before=train())


def test_a_pretrained_estimator_learns_on_without_pretraining_again(unlabelled: str) -> None:
    texts, labels = topics(40, range(20), 2)
    model = SequenceClassifier(**SMALL, pretrain=unlabelled, refit=False, wide=False)
    model.fit(texts, labels)
    for _ in range(2):
        model.partial_fit(texts, labels)
    assert len(model.card_["history"]) == 2
