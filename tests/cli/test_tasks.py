"""Commands for every task: the task is guessed, and models are trained, asked and measured."""

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

from elman.cli import main
from elman.cli.train import guess_task
from elman.tasks import TASKS

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
        (None, ["a.csv"], {"past": "x"}, "forecast"),
        (None, ["a.csv"], {"future": "x"}, "forecast"),
        (None, ["a.csv"], {"static": "x"}, "forecast"),
        (None, ["a.csv"], {"id_column": "x"}, "forecast"),
        (None, ["a.csv"], {"id_column": "x", "label": "mood"}, "classify"),
        ("tag", ["a.csv"], {"label": "mood"}, "tag"),
    ],
)
def test_the_task_is_guessed(
    task: str | None, files: list[str], given: dict[str, Any], found: str
) -> None:
    assert guess_task(task, files, given)[0].name == found


@pytest.mark.slow
def test_texts_are_classified(folder: Path, run: Any, tmp_path: Path) -> None:
    model = tmp_path / "mood.safetensors"
    texts, how = folder / "texts.csv", ("--text", "says", "--label", "mood", *SMALL)
    ran = run("train", texts, "--test", texts, "-o", model, *how)
    assert ran.code == 0
    assert "task classify, as --label says" in ran.out
    assert "labels" in ran.out
    assert "is a file given twice?" in ran.out
    assert "all 80 sequences of the test set are in the training set too" in ran.out
    assert "test set, 80 sequences: accuracy 1" in ran.out
    assert (
        "the majority class of the same training set has accuracy 0.5000: the network, with 1.0000, "
        "beats it by 0.5000 (chance alone makes such a difference less than once in 2,000 test sets)"
    ) in ran.out
    one = tmp_path / "one-row.csv"
    one.write_text("a,b\nwords,yes\n")
    ran = run("train", one, "--text", "a", "--label", "b", "-o", tmp_path / "one.safetensors")
    assert ran.code == 2
    assert ran.err.count("\n") == 1
    assert "the training set is one sample: got one sequence; expected two" in ran.err

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
    assert "a linear SVM on TF-IDF of words and letters of the same training set" in ran.out
    assert picture.read_text().startswith("<?xml")
    ran = run("evaluate", model, folder / "texts.csv", "--json")
    assert ran.json["accuracy"] == 1.0


@pytest.mark.slow
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


@pytest.mark.slow
def test_sequences_of_numbers_are_classified_and_regressed(
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


@pytest.mark.slow
def test_steps_are_tagged(folder: Path, run: Any, tmp_path: Path) -> None:
    model = tmp_path / "tags.safetensors"
    ran = run("train", folder / "tags.txt", "--task", "tag", "-o", model, *SMALL)
    assert ran.code == 0, ran.err
    (tmp_path / "new.txt").write_text("you\nlike\nrice\n")
    found = rows(run("predict", model, tmp_path / "new.txt").out)
    assert [row["tag"] for row in found] == ["WHO", "DO", "WHAT"]
    assert [row["token"] for row in found] == ["you", "like", "rice"]
    assert run("evaluate", model, folder / "tags.txt", "--json").json["accuracy"] == 1.0


@pytest.mark.slow
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
    assert [*found[0]] == [
        *("unique_id", "month", "y_hat", "mean", "lo-80", "hi-80", "lo-99", "hi-99"),
    ]
    assert [row["month"] for row in found] == [f"2022-{month:02}-01" for month in range(1, 7)]
    assert picture.read_bytes().startswith(b"\x89PNG")
    means = rows(run("predict", model, "--point", "mean").out)
    assert [*means[0]][2:4] == ["y_hat", "median"]
    assert [row["y_hat"] for row in means] == [row["mean"] for row in found]
    ran = run("predict", model, "--point", "middle")
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    after = rows(run("predict", model, folder / "later.csv", "--horizon", 2).out)
    assert [row["month"] for row in after] == ["2023-01-01", "2023-02-01"]
    tested = tmp_path / "tested.svg"
    ran = run("evaluate", model, folder / "later.csv", "--plot", tested)
    assert "true values" in tested.read_text(encoding="utf-8")
    for name in ("the network", "naive", "seasonal naive", "drift"):
        assert f"\n{name} " in ran.out
    assert run("info", model, "--json").json["network"]["task"] == "forecast"


def test_lines_are_ranked_by_surprise(folder: Path, run: Any, tmp_path: Path) -> None:
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
        (("sales.csv", "--horizon", 500), "got 500; expected at most"),
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


@pytest.mark.slow
def test_a_command_refuses_a_model_of_another_task(folder: Path, run: Any, tmp_path: Path) -> None:
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
    for name, task in TASKS.items():
        assert {"hidden_size", "steps", "seed"} <= task.options.defaults().keys(), name


@pytest.fixture(scope="module")
def models(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the files of trained models, by the data that they read."""
    trained = tmp_path_factory.mktemp("models")
    walks = ["--id-column", "walk", "--time-column", "step", "--columns", "speed,tilt"]
    (folder / "promo.csv").write_text(
        "month,sales,promo\n"
        + "".join(
            f"{day},{50 + 5 * (at % 4 == 0)},{int(at % 4 == 0)}\n"
            for at, day in enumerate(np.datetime64("2015-01") + np.arange(60))
        )
    )
    commands: dict[str, list[Any]] = {
        "texts": [folder / "texts.csv", "--text", "says", "--label", "mood"],
        "tokens": [folder / "tags.txt", "--task", "tag"],
        "numbers": [folder / "walks.csv", "--label", "kind", *walks],
        "series": [folder / "sales.csv", "--horizon", 3, "--members", 1],
        "known": [folder / "promo.csv", "--horizon", 3, "--members", 1, "--future", "promo"],
    }
    made = {}
    for name, command in commands.items():
        made[name] = trained / f"{name}.safetensors"
        with pytest.raises(SystemExit) as left:
            main(["train", *map(str, command), "-o", str(made[name]), *map(str, SMALL)])
        assert not left.value.code
    return made


def piped(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode()), "utf-8"))


@pytest.mark.slow
def test_a_line_of_text_is_tagged_as_a_sentence(
    models: dict[str, Path], run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = rows(run("predict", models["tokens"], "I like  tea").out)
    assert [*found[0]] == ["sequence", "step", "token", "tag"]
    assert [row["token"] for row in found] == ["I", "like", "tea"]
    assert [row["tag"] for row in found] == ["WHO", "DO", "WHAT"]
    piped(monkeypatch, "you hate\n\nI like\n")
    found = rows(run("predict", models["tokens"], "-").out)
    assert [(row["sequence"], row["step"]) for row in found] == [
        ("0", "0"),
        ("0", "1"),
        ("2", "0"),
        ("2", "1"),
    ]


def test_a_file_that_is_not_a_table_has_a_text_on_each_line(
    models: dict[str, Path], run: Any, tmp_path: Path
) -> None:
    (tmp_path / "new.txt").write_text("good food\n\nmood,so bad\n")
    found = rows(run("predict", models["texts"], tmp_path / "new.txt").out)
    assert [row["text"] for row in found] == ["good food", "", "mood,so bad"]
    assert [found[0]["label"], found[2]["label"]] == ["+", "-"]
    for given in (tmp_path / "new.txt", "some words"):
        ran = run("predict", models["numbers"], given)
        assert ran.code == 2
        assert "expected a table of sequences, whose name ends in .csv .tsv" in ran.err


def test_numbers_come_through_standard_input_as_a_table(
    models: dict[str, Path], folder: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = run("predict", models["numbers"], folder / "walks.csv").out
    piped(monkeypatch, (folder / "walks.csv").read_text())
    assert run("predict", models["numbers"], "-").out == file
    assert [row["walk"] for row in rows(file)] == [str(walk) for walk in range(24)]


def test_answers_for_a_table_of_texts_name_its_rows(
    models: dict[str, Path], folder: Path, run: Any
) -> None:
    found = rows(run("predict", models["texts"], folder / "texts.csv").out)
    assert [*found[0]] == ["row", "label", "probability", "p(+)", "p(-)"]
    assert [row["row"] for row in found] == [str(row) for row in range(80)]


def test_changes_to_new_rows_are_reported(
    models: dict[str, Path], folder: Path, run: Any, tmp_path: Path
) -> None:
    lines = (folder / "later.csv").read_text().splitlines()
    (tmp_path / "gap.csv").write_text("\n".join([*lines[:5], *lines[6:]]) + "\n")
    for command in ("predict", "evaluate"):
        ran = run(command, models["series"], tmp_path / "gap.csv")
        assert ran.code == 0, ran.err
        assert ran.err.startswith("elman: ")
        assert "1 " in ran.err
    assert run("predict", models["series"]).err == ""
    assert "known in advance but not given: promo; --future" in run("predict", models["known"]).err


def test_training_ends_with_a_command_that_works(folder: Path, run: Any, tmp_path: Path) -> None:
    walks = ("--id-column", "walk", "--time-column", "step", "--columns", "speed,tilt")
    model = tmp_path / "m.safetensors"
    steps = ("--hidden-size", 4, "--steps", 1, "--threads", 1)
    ran = run("train", folder / "walks.csv", "--label", "kind", *walks, "-o", model, *steps)
    assert f"now: elman predict {model} a table" in ran.out
    assert "1 step on" in ran.out
    assert "1 steps" not in ran.out


@pytest.mark.slow
def test_series_of_equal_length_and_a_test_set_of_one_class(
    folder: Path, run: Any, tmp_path: Path
) -> None:
    model = tmp_path / "m.safetensors"
    ran = run("train", folder / "sales.csv", "--horizon", 3, "--members", 1, "-o", model, *SMALL)
    assert "1 of 84 values" in ran.out
    mood = ("--text", "says", "--label", "mood", "--test", tmp_path / "valid.csv")
    for more, alone in (("", True), ("so bad,-\n", False)):
        (tmp_path / "valid.csv").write_text(f"says,mood\ngood food,+\n{more}")
        ran = run("train", folder / "texts.csv", *mood, "-o", model, *SMALL)
        assert ran.code == 0, ran.err
        assert ("the test set has one class only" in ran.out) == alone


def test_files_without_labels_are_refused(folder: Path, run: Any, tmp_path: Path) -> None:
    (tmp_path / "new.ts").write_text("@classLabel false\n@data\n1,2,3\n4,5,6\n")
    (tmp_path / "new.txt").write_text("you\nlike\n")
    for name, task in (("new.ts", "classify"), ("new.txt", "tag")):
        model = tmp_path / "m.safetensors"
        ran = run("train", tmp_path / name, "--task", task, "-o", model, *SMALL)
        assert ran.code == 2
        assert f"the labels of {tmp_path / name}: got no labels" in ran.err
        assert "--label" not in ran.err


@pytest.mark.slow
def test_calibration_is_drawn(
    models: dict[str, Path], folder: Path, run: Any, tmp_path: Path
) -> None:
    for name, file in (("texts", "texts.csv"), ("tokens", "tags.txt")):
        picture = tmp_path / f"{name}.svg"
        ran = run("evaluate", models[name], folder / file, "--plot-calibration", picture)
        assert ran.code == 0, ran.err
        assert "share that is right" in picture.read_text()
    ran = run("evaluate", models["series"], folder / "later.csv", "--plot-calibration", "x.svg")
    assert ran.code == 2
    assert "--plot-calibration: got a model for forecast" in ran.err


@pytest.mark.slow
def test_new_rows_continue_the_series(run: Any, tmp_path: Path) -> None:
    days = [str(np.datetime64("2021-01-01") + day) for day in range(75)]
    rows = [f"{shop},{day},{5 + n % 7},{city},{size}" for shop, city, size in
            (("a", "Bern", 1), ("b", "Lima", 2)) for n, day in enumerate(days)]  # fmt: skip
    tables = {}
    for name, first, last in (("a", 0, 60), ("b", 50, 75), ("c", 66, 75)):
        text = "\n".join(
            ["shop,date,y,city,size", *rows[first:last], *rows[75 + first : 75 + last]]
        )
        tables[name] = tmp_path / f"{name}.csv"
        tables[name].write_text(text + "\n")
    model = tmp_path / "m.safetensors"
    ran = run(
        "train", tables["a"], "--id-column", "shop", "--time-column", "date", "--target", "y",
        "--static", "city,size", "--horizon", 7, "-o", model, "--steps", 1, "--members", 1,
        "--hidden-size", 2,
    )  # fmt: skip
    assert ran.code == 0
    assert run("evaluate", model, tables["b"], "--json").json["windows"] == 4
    ran = run("predict", model, tables["b"])
    assert ran.code == 0
    assert ran.out.splitlines()[1].startswith("a,2021-03-17")
    assert not ran.err
    ran = run("predict", model, tables["c"])
    assert "elman: 12 steps without a row before the new rows: left missing (2 series" in ran.err
    tables["b"].write_text(tables["b"].read_text().replace("a,2021-02-20,6", "a,2021-02-20,9"))
    ran = run("predict", model, tables["b"])
    assert ran.code == 2
    assert "series 'a' at 2021-02-20: the value is known already: got 9; expected 6" in ran.err
    for policy in ("replace", "keep"):
        assert run("predict", model, tables["b"], "--overlap", policy).code == 0
        assert run("evaluate", model, tables["b"], "--overlap", policy).code == 0
