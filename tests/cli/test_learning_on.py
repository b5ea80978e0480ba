"""``elman train --from``: every task learns on, as `partial_fit` does, and refuses what cannot match."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import elman
from elman.files.model import Model

SMALL = ("--hidden-size", 6, "--steps", 12, "--threads", 1)
AGAIN: dict[str, Any] = {"steps": 12, "threads": 1}
OLD = "I like tea .\nyou like rice .\n" * 60
NEW = "I like pizza .\nyou hate pizza .\n" * 60
LABELLED = {
    "classify": ("text,label", [("good day", "yes"), ("bad day", "no")], [("odd day", "maybe")]),
    "regress": ("text,label", [("good day", "1"), ("bad day", "2")], [("odd day", "3.5")]),
}


def table(path: Path, header: str, rows: list[tuple[str, str]]) -> Path:
    lines = [header, *(f"{text},{label}" for text, label in rows * 12)]
    path.write_text("\n".join(lines) + "\n")
    return path


def same(path: Path, model: Any) -> None:
    loaded = Model.load(path)
    assert loaded.digest() == model.model_.digest()
    for name in ("history", "held_out", "data"):
        assert loaded.card[name] == model.card_[name]


def test_a_language_model(run: Any, tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_text(OLD)
    (tmp_path / "new.txt").write_text(NEW)
    old, new = tmp_path / "old.safetensors", tmp_path / "new.safetensors"
    assert not run("train", tmp_path / "old.txt", "--level", "word", *SMALL, "-o", old).code
    # The task, the level and the sizes are those of the model.
    again = ("train", tmp_path / "new.txt", "--from", old, *SMALL[2:], "-o", new)
    ran = run(*again)
    assert not ran.code
    for words in (
        "task language, as --from says",
        "trained before  1 time",
        "before learning on: ",
    ):
        assert words in ran.out
    assert "how much it forgot of its earlier data is not known" in ran.out
    model = elman.LanguageModel.from_file(old, **AGAIN).partial_fit(tmp_path / "new.txt")
    same(new, model)
    assert "pizza" in Model.load(new).codec.tokens
    assert "nothing to resume" in run(*again, "--resume").out


@pytest.mark.parametrize("task", LABELLED)
def test_labels(run: Any, tmp_path: Path, task: str) -> None:
    header, rows, more = LABELLED[task]
    first = table(tmp_path / "a.csv", header, rows)
    second = table(tmp_path / "b.csv", header, rows + more)
    old, new = tmp_path / "old.safetensors", tmp_path / "new.safetensors"
    named = ("--text", "text", "--label", "label", "--task", task)
    assert not run("train", first, *named, *SMALL, "-o", old).code
    # The columns are those of the first table.
    assert not run("train", second, "--from", old, *SMALL[2:], "-o", new).code
    cls: Any = elman.SequenceClassifier if task == "classify" else elman.SequenceRegressor
    sequences, labels = elman.read_sequences(second, text="text", label="label", task=task)
    same(new, cls.from_file(old, **AGAIN).partial_fit(sequences, labels))
    if task == "classify":
        assert elman.load(new, kind=elman.ClassifierPredictor).labels.names == (
            "maybe",
            "no",
            "yes",
        )


def test_tags(run: Any, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("I\tWHO\nlike\tDO\n\nyou\tWHO\nhate\tDO\n\n" * 12)
    (tmp_path / "b.txt").write_text("I\tWHO\neat\tDO\npizza\tWHAT\n\n" * 12)
    old, new = tmp_path / "old.safetensors", tmp_path / "new.safetensors"
    assert not run("train", tmp_path / "a.txt", "--task", "tag", *SMALL, "-o", old).code
    assert not run("train", tmp_path / "b.txt", "--from", old, *SMALL[2:], "-o", new).code
    tagger = elman.load(new, kind=elman.TaggerPredictor)
    assert tagger.labels.names == ("DO", "WHAT", "WHO")
    assert {"eat", "pizza"} <= {*tagger.model.codec.vocabulary.tokens}
    ran = run("train", tmp_path / "b.txt", "--task", "classify", "--from", old, "-o", new)
    assert (ran.code, ran.err) == (
        2,
        "elman: the model to train further: got a model for tag; expected one for classify\n",
    )


def test_series(run: Any, tmp_path: Path) -> None:
    values = 10 + np.sin(np.arange(120) * 2 * np.pi / 12)
    days = np.datetime64("2024-01-01") + np.arange(120)
    rows = [f"{day},{value}" for day, value in zip(days, values, strict=True)]
    for name, part in (("a", rows[:90]), ("b", rows[90:])):
        (tmp_path / f"{name}.csv").write_text("\n".join(["day,sales", *part]) + "\n")
    old, new = tmp_path / "old.safetensors", tmp_path / "new.safetensors"
    first = ("train", tmp_path / "a.csv", "--horizon", 3, "--members", 1, *SMALL, "-o", old)
    assert not run(*first).code
    again = ("train", tmp_path / "b.csv", "--from", old, "-o", new)
    assert not run(*again, *SMALL[2:]).code
    model = elman.Forecaster.from_file(old, **AGAIN).partial_fit(tmp_path / "b.csv")
    same(new, model)
    assert len(elman.load(new, kind=elman.ForecastPredictor).history.values[0]) == 120
    for options, message in (
        (("--horizon", 4), "--horizon: got 4; expected 3, as in the model to train further"),
        (("--frequency", "h"), "the rows to append have another frequency"),
        (("--target", "price"), "--target: got price; expected sales"),
    ):
        ran = run(*again, *options)
        assert ran.code == 2
        assert message in ran.err
        assert ran.err.count("\n") == 1


def test_files_that_cannot_match_get_one_line(run: Any, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(OLD)
    old = tmp_path / "old.safetensors"
    assert not run("train", tmp_path / "text.txt", "--level", "word", *SMALL, "-o", old).code
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(old.read_bytes()[:-4] + b"abcd")
    for options, message in (
        (("--from", old, "--hidden-size", 99), "--hidden-size: got 99; expected 6"),
        (("--from", old, "--level", "char"), "--level: got char; expected word"),
        (("--from", old, "--text", "a"), "--text: got it with --task language"),
        (("--from", tmp_path / "text.txt"), "it is not an Elman file"),
        (("--from", broken), "damaged"),
        (("--from", tmp_path / "none.safetensors"), "cannot read"),
    ):
        ran = run("train", tmp_path / "text.txt", *options, "-o", tmp_path / "new.safetensors")
        assert ran.code == 2
        assert message in ran.err
        assert ran.err.count("\n") == 1
    ran = run("train", tmp_path / "text.txt", "--from", old, "-o", old)
    assert ran.err == "elman: --output: got the model of --from; expected another file\n"
