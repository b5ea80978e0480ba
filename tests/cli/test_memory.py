"""`elman info --memory`: its table, picture and JSON, and its error messages."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from elman.labels.predictor import ClassifierPredictor
from elman.language.predictor import LanguagePredictor
from elman.series.predictor import ForecastPredictor
from elman.series.series import load_series
from factories import make_model as _make
from forecasters import OFFERS, make_forecaster, sales
from readers import reader_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a language model, a classifier, and texts."""
    folder = tmp_path_factory.mktemp("memory")
    LanguagePredictor(_make("gru", scale=0.5)).save(folder / "model.safetensors")
    ClassifierPredictor(reader_of()).save(folder / "classifier.safetensors")
    (folder / "text.txt").write_text("abcdefgh ba\n" * 20)
    (folder / "empty.txt").write_text("")
    return folder


def test_memory_is_measured_on_generated_text(folder: Path, run: Any) -> None:
    ran = run("info", folder / "model.safetensors", "--memory")
    assert (ran.code, ran.err) == (0, "")
    head, *rows, source, verdict = ran.out.splitlines()
    assert head.split() == ["known", "change", "95", "in", "100", "gradient"]
    assert [int(row.split()[0]) for row in rows] == [
        *(1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256),
    ]
    assert rows[0].endswith("█")
    assert source == "64 predictions in 1,000 tokens that the model wrote itself"
    assert "predictions" in verdict
    assert "The gradient " in verdict


def test_memory_is_measured_on_a_file(
    folder: Path, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = tmp_path / "memory.svg"
    given = ("info", folder / "model.safetensors", "--memory", "--json", "--text")
    ran = run(*given, folder / "text.txt", "--svg", picture)
    assert (ran.code, ran.err) == (0, "")
    assert ran.json["source"] == "the text that was given"
    assert len(ran.json["lags"]) == len(ran.json["change"]) == len(ran.json["gradient"])
    assert picture.read_text("utf-8").startswith("<svg")
    for encoding in ("utf-16", "utf-8-sig"):
        (tmp_path / "other.txt").write_text((folder / "text.txt").read_text(), encoding)
        assert run(*given, tmp_path / "other.txt").json == ran.json
    monkeypatch.setattr("sys.stdin", io.StringIO((folder / "text.txt").read_text()))
    assert run(*given, "-").json == ran.json


def test_memory_of_labels_and_series_is_measured(folder: Path, run: Any) -> None:
    ran = run("info", folder / "classifier.safetensors", "--memory")
    assert (ran.code, ran.err) == (0, "")
    assert "64 answers in sequences of 64 tokens drawn by their frequency in training" in ran.out
    (folder / "lines.txt").write_text("to be or not\nbe not to\n" * 3)
    ran = run("info", folder / "classifier.safetensors", "--memory", "--text", folder / "lines.txt")
    assert (ran.code, ran.out.splitlines()[-2]) == (0, "6 answers in the sequences that were given")
    ForecastPredictor(make_forecaster(load_series(sales(0, 30, more=5), OFFERS))).save(
        folder / "shop.model"
    )
    ran = run("info", folder / "shop.model", "--memory", "--json")
    assert (ran.code, ran.json["unit"], ran.json["gradient"]) == (0, "value", None)
    assert ran.json["source"] == "the series that it knows"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--memory"], "--memory: got no MODEL; expected a trained model"),
        (["model.safetensors", "--text", "text.txt"], "--text: got no --memory"),
        (["model.safetensors", "--svg", "a.svg"], "--svg: got no --memory"),
        (["model.safetensors", "--memory", "--text", "none.txt"], "none.txt"),
        (["model.safetensors", "--memory", "--text", "empty.txt"], "empty.txt is empty"),
        (["model.safetensors", "--memory", "--svg", "none/a.svg"], "none/a.svg"),
        (["model.safetensors", "--memory", "--svg", "a.txt"], "expected a name that ends in .svg"),
    ],
)
def test_an_error_is_one_line(
    folder: Path, run: Any, monkeypatch: pytest.MonkeyPatch, arguments: list[str], line: str
) -> None:
    monkeypatch.chdir(folder)
    ran = run("info", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert line in ran.err
    assert ran.err.count("\n") == 1
