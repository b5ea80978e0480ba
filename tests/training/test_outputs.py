"""Output of a run: one run at a time writes a file, and training continues when the disk is full."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from elman import LanguageModel, OutputError, load
from elman.files.model import Model
from elman.training.journal import Journal
from elman.training.store import Store

SMALL: dict[str, Any] = {"level": "char", "hidden_size": 8, "steps": 30, "evaluations": 3}
FULL = OutputError("cannot write here", got="No space left on device")


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "m.safetensors"


@pytest.mark.slow
def test_two_trainings_do_not_share_an_output(manual: str, output: Path) -> None:
    refused: list[str] = []

    def start_another(event: dict[str, Any]) -> None:
        if event["event"] == "evaluation":
            with pytest.raises(OutputError) as caught:
                LanguageModel(**SMALL).fit(manual, output=output)
            refused.append(str(caught.value))

    LanguageModel(**SMALL).fit(manual, output=output, watch=start_another)
    assert refused
    assert set(refused) == {
        f"another training is writing {output}: wait until it ends, or choose another -o"
    }
    # the journal contains the first run only
    lines = output.with_suffix(".run.jsonl").read_text().splitlines()
    assert sum('"event": "start"' in line for line in lines) == 1
    assert sorted(file.name for file in output.parent.iterdir() if "m." in file.name) == [
        "m.run.jsonl",
        "m.safetensors",
    ]
    LanguageModel(**SMALL).fit(manual, output=output)  # the first run has released its lock


def test_training_continues_without_checkpoints(
    manual: str, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(*arguments: Any) -> None:
        raise FULL

    monkeypatch.setattr(Store, "save", save)
    events: list[dict[str, Any]] = []
    model = LanguageModel(checkpoint_every=0.001, **SMALL)
    model.fit(manual, output=output, watch=events.append)
    assert model.stopped_ == "budget"
    assert load(output).card["training"]["steps"] == 30
    warnings = [event["text"] for event in events if event["event"] == "warning"]
    assert [text for text in warnings if "checkpoint" in text] == [
        "cannot write here: got No space left on device; training goes on without a new checkpoint"
    ]


def test_training_continues_without_its_journal(
    manual: str, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(*arguments: Any) -> None:
        raise FULL

    monkeypatch.setattr(Journal, "__call__", write)
    events: list[dict[str, Any]] = []
    LanguageModel(**SMALL).fit(manual, output=output, watch=events.append)
    assert load(output).card["training"]["steps"] == 30
    warnings = [event["text"] for event in events if event["event"] == "warning"]
    assert [text for text in warnings if "journal" in text] == [
        "cannot write here: got No space left on device; training goes on without its journal"
    ]


def test_a_model_that_cannot_be_written_is_saved_elsewhere(
    manual: str, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model = Model.save

    def save(self: Model, path: Any) -> None:
        if Path(path) == output:
            raise FULL
        save_model(self, path)

    monkeypatch.setattr(Model, "save", save)
    with pytest.raises(OutputError, match="until then the model is ") as caught:
        LanguageModel(**SMALL).fit(manual, output=output)
    kept = Path(str(caught.value).rpartition("until then the model is ")[2])
    assert load(kept).card["training"]["steps"] == 30
    kept.unlink()
    kept.parent.rmdir()
