"""`elman reproduce`: digests, official splits, kept seeds, and every row on small made-up files."""

from __future__ import annotations

import copy
import hashlib
import json
import signal
import sys
from collections.abc import Callable, Iterator
from inspect import CO_OPTIMIZED
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

from elman.cli import main
from elman.reproduce import language_rows, results, row
from elman.reproduce.row import Measured, Trial, all_rows, declared
from elman.training.output import Output

DRAW = np.random.default_rng(0)
WORDS = ["fly", "boston", "please", "cheap", "monday", "good", "bad", "seat"]


def sentences(count: int) -> list[str]:
    return [" ".join(DRAW.choice(WORDS, 5)) for _ in range(count)]


def lines(count: int, choices: list[str]) -> str:
    return "".join(f"{choices[number % len(choices)]}\n" for number in range(count))


def numbers(count: int, name: str = "value") -> str:
    values = np.round(10 + np.sin(np.arange(count) / 4) + DRAW.normal(size=count) / 9, 3)
    return "\n".join([f'"{name}"', *map(str, values)]) + "\n"


def ts(count: int) -> str:
    head = (
        "@problemName made up\n@timestamps false\n@univariate true\n@classLabel true 1 2\n@data\n"
    )
    rows = (np.round(DRAW.normal(number % 2, 0.1, 8), 3) for number in range(count))
    return head + "".join(
        f"{','.join(map(str, row))}:{number % 2 + 1}\n" for number, row in enumerate(rows)
    )


def hourly(count: int, length: int) -> str:
    rows = [f'"H{n}",' + ",".join(map(str, DRAW.integers(50, 99, length))) for n in range(count)]
    head = ",".join(f'"V{n}"' for n in range(1, length + 2))
    return "\n".join([head, *rows]) + "\n"


def ett() -> str:
    names = declared()["rows"]["etth1"]["arguments"]["columns"]
    rows = [
        f"2016-07-{1 + hour // 24:02} {hour % 24:02}:00:00,"
        + ",".join(map(str, DRAW.normal(size=7)))
        for hour in range(500)
    ]
    return "\n".join(["date," + ",".join(names), *rows]) + "\n"


def made_up(name: str) -> str:
    """Return the text of a small file in the format of the public one."""
    folder, file = name.split("/")
    texts = "\n".join(sentences(40)) + "\n"
    by_folder: dict[str, Callable[[], str]] = {
        "tinyshakespeare": lambda: "\n".join(sentences(400)),
        "names": lambda: lines(1300, ["emma", "olivia", "ava", "mia"]),
        "wikitext2": lambda: texts * 20,
        "sentences": lambda: "".join(f"{n % 2} {text}\n" for n, text in enumerate(sentences(60))),
        "ucr": lambda: ts(24),
        "m4_hourly": lambda: hourly(3, 48 if "test" in file else 300),
        "ett": ett,
        "series": lambda: numbers(150, "Y"),
        "nab": lambda: numbers(150),
        "hdfs_events": lambda: (
            lines(300, ["5 5 22", "5 22 5 9", "22 5 5"])
            if file == "hdfs_train"
            else "Sequence,label\n" + lines(60, ["5 5 22,0", "5 99,1"])
        ),
        "tweets": lambda: texts if "text" in file else lines(40, ["0", "1", "2"]),
        "atis": lambda: {
            "in": texts,
            "out": lines(40, ["O B-city O O O", "O O O B-city I-city"]),
            "label": lines(40, ["flight", "fare"]),
        }[file.split(".")[-1]],
    }
    return by_folder[folder]()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of made-up files, whose digests take the place of the public ones."""
    folder = tmp_path_factory.mktemp("data")
    digests = {}
    for name in declared()["sha256"]:
        (folder / name).parent.mkdir(exist_ok=True)
        data = made_up(name).encode()
        (folder / name).write_bytes(data)
        digests[name] = hashlib.sha256(data).hexdigest()
    with pytest.MonkeyPatch.context() as patch:
        smaller = copy.deepcopy(declared()) | {"sha256": digests}
        smaller["rows"]["etth1"]["arguments"] |= {"train": 300, "valid": 80, "test": 120}
        smaller["rows"]["mr"]["arguments"] = {"count": 2}
        patch.setattr(row, "declared", lambda: smaller)
        yield folder


@pytest.fixture
def reproduce(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    def reproduce(*arguments: str) -> tuple[int, str, str]:
        options = ["--data", str(folder), "--results", str(tmp_path / "results")]
        options += ["--models", str(tmp_path / "models"), "--threads", "1"]
        with pytest.raises(SystemExit) as left:
            # options that are repeated count as the last one says
            main(["reproduce", *options, *arguments])
        printed = capsys.readouterr()
        code = left.value.code
        return (code if isinstance(code, int) else 0), printed.out, printed.err

    return reproduce


@pytest.mark.slow
@pytest.mark.parametrize("name", all_rows())
def test_every_row_is_measured_on_files_of_its_format(name: str, reproduce: Any) -> None:
    code, out, err = reproduce(name, "--steps", "2", "--seeds", "1", "--json")
    assert code == 0, err
    result = json.loads(out)
    (run,) = result["runs"]
    assert np.isfinite(run["value"])
    assert run["minutes"]
    assert all(np.isfinite(value) for value in run["beside"].values())
    assert result["verdict"] in ("reached", "enough", "missed")


def test_names_are_measured_and_printed_beside_the_marks(reproduce: Any, tmp_path: Path) -> None:
    code, out, err = reproduce("names", "--steps", "2", "--seeds", "2")
    assert code == 0, err
    assert "makemore's transformer" in out
    assert "standard deviation" in out
    assert "seed 1, trained" in out
    stored = json.loads((tmp_path / "results/reproduce-names.json").read_text())
    assert stored["mean"] == pytest.approx(np.mean([run["value"] for run in stored["runs"]]))
    assert stored["facts"]["budget"] == {"time": None, "steps": 2}
    verdict = all_rows()["names"].verdict(stored["mean"])
    assert stored["verdict"] == verdict
    assert f"{stored['mean']:.4f} ({verdict})" in reproduce("--list")[1]


def test_a_finished_model_is_not_trained_again(folder: Path, tmp_path: Path) -> None:
    settings: row.Settings = {"time": None, "steps": 2, "seed": 0, "threads": 1}
    trial = Trial("names", (folder / "names/names.txt",), tmp_path, settings)
    first = language_rows.shuffled_lines(trial, 100)
    (model,) = tmp_path.glob("*.safetensors")
    written = model.stat().st_mtime_ns
    assert language_rows.shuffled_lines(trial, 100) == first
    assert model.stat().st_mtime_ns == written
    assert trial.trained[0] == trial.trained[1]


@pytest.mark.slow
def test_an_interrupted_training_goes_on_to_the_same_figure(
    reproduce: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("names", "--steps", "20", "--seeds", "1", "--json")
    other = ("--results", str(tmp_path / "other"), "--models", str(tmp_path / "whole"))
    _, whole, _ = reproduce(*options, *other)
    emit, events = Output.emit, list[str]()

    def interrupt_once(output: Output, event: dict[str, Any]) -> None:
        emit(output, event)
        if event["event"] == "evaluation" and "evaluation" not in events:
            signal.raise_signal(signal.SIGINT)
        events.append(event["event"])

    monkeypatch.setattr(Output, "emit", interrupt_once)
    code, out, _ = reproduce(*options)
    assert (code, out) == (130, "")
    assert [*(tmp_path / "models").rglob("state.safetensors")]
    code, out, _ = reproduce(*options)
    assert code == 0
    assert "resume" in events
    assert json.loads(out)["mean"] == json.loads(whole)["mean"]


def test_seeds_are_kept_after_an_interruption(
    reproduce: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = []

    def measure(trial: Trial, held_out: int) -> Measured:
        seed = trial.settings["seed"]
        measured.append(seed)
        if len(measured) == 2:
            raise KeyboardInterrupt
        return Measured(1.9 + seed / 100)

    monkeypatch.setattr(language_rows, "shuffled_lines", measure)
    assert reproduce("names")[0] == 130
    code, out, _ = reproduce("names")
    assert code == 0
    assert measured == [0, 1, 1, 2]
    assert "1.9100  mean: enough" in out
    assert "0.0100  standard deviation" in out


def test_seeds_of_other_code_or_another_budget_are_measured_again(
    reproduce: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = []

    def measure(trial: Trial, held_out: int) -> Measured:
        measured.append(trial.settings["seed"])
        return Measured(1.0)

    monkeypatch.setattr(language_rows, "shuffled_lines", measure)
    for options in ([], [], ["--time", "2s"]):
        reproduce("names", "--seeds", "1", *options)
    assert measured == [0, 0]
    monkeypatch.setattr(results, "code_digest", lambda task: "other")
    reproduce("names", "--seeds", "1", "--time", "2s")
    assert measured == [0, 0, 0]


@pytest.mark.parametrize("name", ["names", "hdfs", "gunpoint", "taylor"])
def test_a_figure_depends_on_the_code_that_measured_it(
    name: str, folder: Path, tmp_path: Path
) -> None:
    """No function runs during a measurement whose file is missing from the digest of the code."""
    declared_row = all_rows()[name]
    settings: row.Settings = {"time": None, "steps": 2, "seed": 0, "threads": 1}
    files = tuple(folder / file for file in declared_row.files)
    trial, ran = Trial(name, files, tmp_path, settings), set[str]()

    def note(frame: FrameType, event: str, argument: object) -> None:
        # the body of a module or class runs when it is imported
        if event == "call" and frame.f_code.co_flags & CO_OPTIMIZED:
            ran.add(frame.f_code.co_filename)

    sys.setprofile(note)
    try:
        declared_row.measured(trial)
    finally:
        sys.setprofile(None)
    ran = {name for name in ran if Path(name).is_relative_to(results.PACKAGE)}
    known = {str(file) for file in results.code_of(declared_row.task)}
    assert str(results.PACKAGE / "training/trainer.py") in ran
    assert ran <= known


def test_the_digest_of_code_changes_with_that_of_its_own_task_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in (
        "series/train.py",
        "series/task.py",
        "labels/train.py",
        "labels/task.py",
        "draw/pen.py",
    ):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("x = 1\n")
    monkeypatch.setattr(results, "PACKAGE", tmp_path)
    digests = [results.code_digest("series")]
    for file in ("labels/train.py", "draw/pen.py", "series/train.py"):
        (tmp_path / file).write_text("x = 2\n")
        digests.append(results.code_digest("series"))
    assert digests[0] == digests[1] == digests[2] != digests[3]


@pytest.mark.parametrize("option", ["--seeds", "--steps", "--threads"])
@pytest.mark.parametrize("number", ["0", "-1"])
def test_numbers_below_one_are_refused_before_training(
    reproduce: Any, option: str, number: str
) -> None:
    code, out, err = reproduce("names", option, number)
    assert (code, out) == (2, "")
    assert err == f"elman: {option}: got {number}; expected a whole number from 1\n"


def test_another_file_is_refused_in_one_line(reproduce: Any, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "names").mkdir(parents=True)
    (other / "names/names.txt").write_text("emma\n")
    code, out, err = reproduce("names", "--data", str(other))
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "names.txt is not the file that the marks belong to: got sha256 " in err
    assert "karpathy/makemore" in err


def test_a_missing_file_is_named_with_its_origin(reproduce: Any, tmp_path: Path) -> None:
    code, _, err = reproduce("etth1", "--data", str(tmp_path))
    assert code == 2
    assert err.count("\n") == 1
    assert "ETTh1.csv" in err
    assert "zhouhaoyi/ETDataset" in err


def test_an_unknown_row_and_a_damaged_result_are_refused(reproduce: Any, tmp_path: Path) -> None:
    code, _, err = reproduce("shakespeare")
    assert code == 2
    assert "NAME: got shakespeare; expected one of tinyshakespeare-3m" in err
    (tmp_path / "results").mkdir()
    (tmp_path / "results/reproduce-names.json").write_text('{"row": "names"}')
    code, _, err = reproduce("names")
    assert code == 2
    assert "reproduce-names.json holds no result" in err


def test_adapted_rows_measure_the_models_of_the_rows_without() -> None:
    rows = all_rows()
    assert rows["wikitext2-60m-adapted"].model == rows["wikitext2-60m"].model
    models = [row.model for name, row in rows.items() if "adapted" not in name]
    assert len(set(models)) == len(models)


def test_every_row_is_declared_completely() -> None:
    for declared_row in all_rows().values():
        assert (results.PACKAGE / declared_row.task / "task.py").exists()
        assert callable(declared_row.function)
        for name in declared_row.files:
            assert len(declared()["sha256"][name]) == 64
            assert declared()["origins"][name.split("/")[0]]
        assert all(len(published) == 3 for published in declared_row.published)
