"""The command by task: it guesses the task, trains, answers and measures, from files and to files."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elman.cli.train import TASKS, guess_task

SMALL = ("--hidden-size", 8, "--steps", 40, "--learning-rate", 0.02, "--threads", 1)
GOOD, BAD = ("what a good day", "good food"), ("so bad", "a bad , bad idea")


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    with (folder / "texts.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "says", "mood"])
        for number in range(20):
            writer.writerows(
                [(number, text, "+") for text in GOOD] + [(number, text, "-") for text in BAD]
            )
    rng = np.random.default_rng(0)
    lines = ["walk,step,speed,tilt,kind,far"]
    for walk in range(24):
        fast = walk % 2
        for step in range(3 + walk % 4):
            speed = fast + 0.1 * rng.normal()
            lines.append(
                f"{walk},{step},{speed},{rng.normal()},{'run' if fast else 'walk'},{fast * 2.5}"
            )
    (folder / "walks.csv").write_text("\n".join(lines) + "\n")
    (folder / "tags.txt").write_text(
        "I\tWHO\nlike\tDO\ntea\tWHAT\n\nyou\tWHO\nhate\tDO\nrice\tWHAT\n\n" * 20
    )
    values = 50 + 10 * np.sin(np.arange(96) * 2 * np.pi / 12) + np.arange(96) * 0.2
    days = np.datetime64("2015-01") + np.arange(96)
    table = [f"{day},{value}" for day, value in zip(days, values, strict=True)]
    (folder / "sales.csv").write_text("\n".join(["month,sales", *table[:84]]) + "\n")
    (folder / "later.csv").write_text("\n".join(["month,sales", *table[84:]]) + "\n")
    return folder


@pytest.mark.parametrize(
    ("task", "files", "given", "found"),
    [
        (None, ["a.txt"], {}, "language"),
        (None, ["a.csv"], {"label": "mood"}, "classify"),
        (None, ["a.csv"], {"text": "says"}, "classify"),
        (None, ["a.TS"], {}, "classify"),
        (None, ["a.csv"], {"horizon": 3}, "forecast"),
        (None, ["a.csv"], {"target": "y"}, "forecast"),
        ("tag", ["a.csv"], {"label": "mood"}, "tag"),
    ],
)
def test_the_task_is_guessed(
    task: str | None, files: list[str], given: dict[str, Any], found: str
) -> None:
    assert guess_task(task, files, given)[0] == found


def test_texts_are_classified(folder: Path, run: Any, tmp_path: Path) -> None:
    model = tmp_path / "mood.safetensors"
    ran = run(
        "train", folder / "texts.csv", "--text", "says", "--label", "mood", "-o", model, *SMALL
    )
    assert ran.code == 0
    assert "task classify, as --label says" in ran.out
    assert "labels" in ran.out
    assert "the majority class of the same training part has accuracy" in ran.out

    ran = run("predict", model, "good idea", "--json")
    assert ran.json["label"] == "+"
    ran = run("predict", model, "good idea")
    assert ran.out.splitlines()[1].startswith("+")
    ran = run("predict", model, folder / "texts.csv", "-o", tmp_path / "said.jsonl")
    answers = [json.loads(line) for line in (tmp_path / "said.jsonl").read_text().splitlines()]
    assert [one["label"] for one in answers[:4]] == ["+", "+", "-", "-"]
    assert answers[0]["p(+)"] + answers[0]["p(-)"] == pytest.approx(1)

    picture = tmp_path / "table.svg"
    ran = run(
        "evaluate", model, folder / "texts.csv", "--train", folder / "texts.csv", "--plot", picture
    )
    assert ran.code == 0
    assert "a TF-IDF logistic regression of the same training part" in ran.out
    assert picture.read_text().startswith("<?xml")
    ran = run("evaluate", model, folder / "texts.csv", "--json")
    assert ran.json["accuracy"] == 1.0


def test_standard_input_is_a_text_a_line_or_a_table(folder: Path, run: Any, tmp_path: Path) -> None:
    model = tmp_path / "mood.safetensors"
    run("train", folder / "texts.csv", "--text", "says", "--label", "mood", "-o", model, *SMALL)
    command = [sys.executable, "-m", "elman", "predict", str(model), "-"]
    for given, more in (
        ("good food\nso bad\n", []),
        ("says\ngood food\nso bad\n", ["--text", "says"]),
    ):
        done = subprocess.run(
            [*command, *more], input=given, capture_output=True, text=True, check=True
        )
        assert [row["label"] for row in rows(done.stdout)] == ["+", "-"]


def test_numbers_are_classified_and_read_as_a_number(
    folder: Path, run: Any, tmp_path: Path
) -> None:
    places = ("--id-column", "walk", "--time-column", "step", "--columns", "speed,tilt")
    model = tmp_path / "kind.safetensors"
    ran = run("train", folder / "walks.csv", "--label", "kind", *places, "-o", model, *SMALL)
    assert ran.code == 0, ran.err
    assert run("evaluate", model, folder / "walks.csv", "--json").json["accuracy"] > 0.9
    far = tmp_path / "far.safetensors"
    ran = run(
        "train",
        folder / "walks.csv",
        "--task",
        "regress",
        "--label",
        "far",
        *places,
        "-o",
        far,
        *SMALL,
    )
    assert ran.code == 0, ran.err
    report = run("evaluate", far, folder / "walks.csv", "--json").json
    assert report["methods"][0]["mae"] < 1.25
    assert len(rows(run("predict", far, folder / "walks.csv").out)) == 24


def test_steps_are_tagged(folder: Path, run: Any, tmp_path: Path) -> None:
    model = tmp_path / "tags.safetensors"
    ran = run("train", folder / "tags.txt", "--task", "tag", "-o", model, *SMALL)
    assert ran.code == 0, ran.err
    (tmp_path / "new.txt").write_text("you\nlike\nrice\n")
    found = rows(run("predict", model, tmp_path / "new.txt").out)
    assert [row["tag"] for row in found] == ["WHO", "DO", "WHAT"]
    assert [row["token"] for row in found] == ["you", "like", "rice"]
    assert run("evaluate", model, folder / "tags.txt", "--json").json["accuracy"] == 1.0


def test_series_are_forecast(folder: Path, run: Any, tmp_path: Path) -> None:
    model, picture = tmp_path / "sales.safetensors", tmp_path / "next.png"
    ran = run(
        "train",
        folder / "sales.csv",
        "--horizon",
        6,
        "--levels",
        "80,99",
        "--members",
        2,
        "-o",
        model,
        *SMALL,
    )
    assert ran.code == 0, ran.err
    assert "task forecast, as --horizon says" in ran.out
    assert "monthly (start of month)" in ran.out
    found = rows(run("predict", model, "--plot", picture).out)
    assert [*found[0]] == ["unique_id", "month", "y_hat", "lo-80", "hi-80", "lo-99", "hi-99"]
    assert [row["month"] for row in found] == [f"2022-{month:02}-01" for month in range(1, 7)]
    assert picture.read_bytes().startswith(b"\x89PNG")
    after = rows(run("predict", model, folder / "later.csv", "--horizon", 2).out)
    assert [row["month"] for row in after] == ["2023-01-01", "2023-02-01"]
    ran = run("evaluate", model, folder / "later.csv")
    for name in ("the network", "naive", "seasonal naive", "drift"):
        assert f"\n{name} " in ran.out
    assert run("info", model, "--json").json["network"]["task"] == "forecast"


def test_unusual_lines_are_ranked(folder: Path, run: Any, tmp_path: Path) -> None:
    log = "".join(f"open {n}\nread {n} bytes\nclose {n}\n" for n in range(80))
    (tmp_path / "log.txt").write_text(log)
    (tmp_path / "new.txt").write_text("open 5\nclose bytes open\nread 7 bytes\n")
    model = tmp_path / "log.safetensors"
    lines = ("--documents", "line", "--split", "log", "--min-count", 1)
    ran = run("train", tmp_path / "log.txt", *lines, "-o", model, *SMALL)
    assert ran.code == 0, ran.err
    assert run("score", model, tmp_path / "new.txt", "--json").json["rows"][0]["line"] == 2
    run("score", model, tmp_path / "new.txt", "-n", 0, "-o", tmp_path / "rank.csv")
    assert rows((tmp_path / "rank.csv").read_text())[0]["line"] == "2"
    assert "close" in run("score", model, tmp_path / "new.txt", "--steps").out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("texts.csv", "--label", "moo"), "mood"),
        (("texts.csv", "--label", "mood", "--text", "sais"), "says"),
        (("texts.csv", "--text", "says"), "--label"),
        (("sales.csv", "--horizon", 0), "horizon: got 0"),
        (("sales.csv", "--horizon", 5, "--label", "x"), "--horizon"),
        (("sales.csv", "--task", "prophecy"), "--task: got prophecy; expected one of language"),
        (("sales.csv", "--horizon", 3, "--valid", "sales.csv"), "--valid"),
        (("sales.csv", "later.csv", "--horizon", 3), "files of series: got 2"),
        (("sales.csv", "--target", "sale", "--horizon", 3), "sales"),
        (
            ("texts.csv", "--task", "classify", "--label", "mood", "--pooling", "sum"),
            "pooling: got sum",
        ),
        (("walks.csv", "--label", "far", "--columns", "speed", "--id-column", "walk"), "regress"),
    ],
    ids=str,
)
def test_bad_input_gets_one_clear_line(
    folder: Path, run: Any, tmp_path: Path, arguments: tuple[Any, ...], said: str
) -> None:
    given = [folder / part if str(part).endswith(".csv") else part for part in arguments]
    ran = run("train", *given, "-o", tmp_path / "m.safetensors", *SMALL)
    assert ran.code == 2
    (line,) = ran.err.splitlines()
    assert line.startswith("elman: ")
    assert said in line
    assert not (tmp_path / "m.safetensors").exists()


def test_a_model_is_asked_what_it_can_answer(folder: Path, run: Any, tmp_path: Path) -> None:
    model = tmp_path / "sales.safetensors"
    run("train", folder / "sales.csv", "--horizon", 3, "--members", 1, "-o", model, *SMALL)
    for arguments in (("generate", model), ("score", model, folder / "sales.csv")):
        ran = run(*arguments)
        assert ran.code == 2
        assert f"{model} is a model for forecast" in ran.err
    ran = run("predict", model, "--horizon", 4)
    assert ran.code == 2
    assert "horizon: got 4" in ran.err


def test_every_task_has_its_options() -> None:
    for task, options in TASKS.items():
        assert {"hidden_size", "steps", "seed"} <= options.defaults().keys(), task
