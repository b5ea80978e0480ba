"""`elman explain`: its text, JSON and pictures, and its error messages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import elman
from elman import LanguageModel, SequenceClassifier
from elman.labels.predictor import ClassifierPredictor, RegressorPredictor, TaggerPredictor
from elman.language.predictor import LanguagePredictor
from elman.series.predictor import ForecastPredictor
from elman.series.series import load_series
from factories import make_model as _make
from forecasters import OFFERS, make_forecaster, sales
from readers import reader_of, sequences_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of models for all kinds of tasks."""
    folder = tmp_path_factory.mktemp("models")
    text = "I like to eat pizza .\nWe hate to eat soup .\n" * 60
    options: dict[str, Any] = {"hidden_size": 16, "num_layers": 1, "learning_rate": 0.03}
    LanguageModel(documents="line", cell="mingru", steps=100, **options).fit(
        text, output=folder / "meals.safetensors"
    )
    SequenceClassifier(steps=20, **options).fit(
        ["good food", "bad food"] * 30, ["yes", "no"] * 30, output=folder / "label.safetensors"
    )
    LanguagePredictor(_make("gru")).save(folder / "letters.safetensors")
    series = load_series(sales(0, 30, more=5), OFFERS)
    ForecastPredictor(make_forecaster(series)).save(folder / "shop.safetensors")
    TaggerPredictor(reader_of(task="tag")).save(folder / "tags.safetensors")
    return folder


@pytest.mark.slow
def test_an_explanation_is_printed_as_json(folder: Path, run: Any) -> None:
    meals = folder / "meals.safetensors"
    ran = run("explain", meals, "I like to eat", "--target", "pizza", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert ran.json == elman.load(meals).explain("I like to eat", "pizza").to_dict()
    assert (ran.json["target"], ran.json["method"]) == ("pizza", "replacement")
    assert [row["token"] for row in ran.json["contributions"]] == ["I", "like", "to", "eat"]
    assert ran.json["caption"].startswith("how far the log probability falls when each input is ")
    ran = run("explain", meals, "I like to eat", "--method", "decomposition", "--json")
    shares = [row["contribution"] for row in ran.json["contributions"]]
    rest = ran.json["start_state"] + ran.json["bias"] + ran.json["residual"]
    assert sum(shares) + rest == pytest.approx(ran.json["score"])
    assert ran.json["exact"]
    quick = run("explain", meals, "I like to eat", "--quick", "--json").json
    assert quick == elman.load(meals).explain("I like to eat", quick=True).to_dict()
    assert quick["passed"] is None


def test_an_explanation_is_printed_as_a_table(folder: Path, run: Any) -> None:
    ran = run("explain", folder / "meals.safetensors", "I like to eat", "--method", "leave-one-out")
    assert ran.out.startswith('why "pizza": log probability ')
    assert "by leave-one-out" in ran.out
    assert ran.out.splitlines()[4].startswith("like ")
    ran = run("explain", folder / "meals.safetensors", "I like to eat", "--unknown")
    assert ran.out.startswith('why "pizza": log probability ')


def test_equations_are_printed(folder: Path, run: Any) -> None:
    meals = folder / "meals.safetensors"
    ran = run("explain", meals, "I like to eat", "--equations")
    assert ran.out.startswith('logit("pizza") = w("pizza")·h[eat] + b("pizza")\n')
    assert "h[like] = (1 - z[like])∘h[I] + " in ran.out
    told = run("explain", meals, "I like to eat", "--equations", "--json").json
    assert "\n".join(told["equations"]) + "\n" == ran.out
    found = elman.load(meals).explain("I like to eat", method="decomposition").to_dict()
    assert told == found | {"equations": told["equations"]}


def test_a_word_is_replaced(folder: Path, run: Any) -> None:
    meals = folder / "meals.safetensors"
    ran = run("explain", meals, "I like to eat", "--replace", "0=We")
    title, head, first, *rows = ran.out.splitlines()
    assert (title, head.split(), len(rows)) == ("We like to eat …", ["now", "before"], 4)
    ran = run("explain", meals, "I like to eat", "--replace", "0=We", "--json")
    assert (ran.json["position"], ran.json["token"], ran.json["word"]) == (0, "I", "We")
    before = dict(elman.load(meals, kind=elman.LanguagePredictor).predict_next("I like to eat", 99))
    after = dict(elman.load(meals, kind=elman.LanguagePredictor).predict_next("We like to eat", 99))
    for row in ran.json["predictions"]:
        assert row["probability"] == pytest.approx(after[row["token"]], abs=1e-5)
        assert row["before"] == pytest.approx(before[row["token"]], abs=1e-5)
    token, now, earlier, bar = first.split()
    assert token == ran.json["predictions"][0]["token"]
    assert (float(now), len(bar)) == (round(after[token], 3), round(40 * after[token]))
    assert float(earlier) == round(before[token], 3)


def test_a_letter_is_replaced(folder: Path, run: Any) -> None:
    letters = folder / "letters.safetensors"
    ran = run("explain", letters, "ab ba", "--replace", "1=c")
    assert ran.out.splitlines()[0] == "ac ba …"
    title, head, *rows = run("explain", letters, "ab", "--replace", "1=\n").out.splitlines()
    assert (title, head.split(), len(rows)) == ("a\\n …", ["now", "before"], 5)


@pytest.mark.slow
def test_a_series_is_named_by_the_text(folder: Path, run: Any) -> None:
    ran = run("explain", folder / "shop.safetensors", "b", "--json")
    assert (ran.code, ran.json["task"]) == (0, "forecast")
    wanted = elman.load(folder / "shop.safetensors").explain("b").to_dict()
    assert ran.json == wanted


def test_pictures_are_written(folder: Path, run: Any, tmp_path: Path) -> None:
    svg, png = tmp_path / "why.svg", tmp_path / "why.png"
    ran = run("explain", folder / "meals.safetensors", "I", "--svg", svg, "--plot", png)
    assert ran.code == 0
    assert svg.read_text("utf-8").startswith("<svg")
    assert png.read_bytes().startswith(b"\x89PNG")


def test_a_label_of_a_classifier_is_explained(folder: Path, run: Any) -> None:
    ran = run("explain", folder / "label.safetensors", "good food", "--target", "yes", "--json")
    assert (ran.json["task"], ran.json["target"]) == ("classify", "yes")
    assert np.isfinite([row["contribution"] for row in ran.json["contributions"]]).all()
    ran = run("explain", folder / "label.safetensors", "good food", "--of", "characters", "--json")
    assert ran.code == 0


@pytest.mark.slow
def test_a_sequence_of_a_file_is_explained(folder: Path, run: Any, tmp_path: Path) -> None:
    """Sequences of numbers are read from a .ts file or a CSV; --row chooses the sequence."""
    drawn = sequences_of("numbers", 3)
    for task, open_ in (("classify", ClassifierPredictor), ("regress", RegressorPredictor)):
        model = reader_of("numbers", task)
        card = {"columns": {"id_column": "id", "columns": ["a", "b", "c"]}}
        open_(replace(model, card=card)).save(tmp_path / f"{task}.safetensors")
    rows = [
        f"{at},{','.join(map(repr, step))}"
        for at, item in enumerate(drawn.items)
        for step in item.tolist()
    ]
    (tmp_path / "numbers.csv").write_text("\n".join(["id,a,b,c", *rows]) + "\n")
    series = [
        ":".join(",".join(map(repr, channel)) for channel in item.T.tolist()) + ":x"
        for item in drawn.items
    ]
    head = "@univariate false\n@classLabel true x\n@data\n"
    (tmp_path / "numbers.ts").write_text(head + "\n".join(series) + "\n")
    for task in ("classify", "regress"):
        model_file = tmp_path / f"{task}.safetensors"
        wanted = elman.load(model_file).explain(drawn.items[2]).contributions
        for name in ("numbers.csv", "numbers.ts"):
            ran = run("explain", model_file, tmp_path / name, "--row", 2, "--json")
            assert (ran.code, ran.err) == (0, "")
            shares = [row["contribution"] for row in ran.json["contributions"]]
            assert shares == pytest.approx(wanted.tolist())
        ran = run("explain", model_file, tmp_path / "numbers.ts")
        assert ran.code == 0
        assert ran.err == "elman: row 0 of 3 is explained; --row explains another one\n"
        ran = run("explain", model_file, tmp_path / "numbers.ts", "--row", 3)
        assert (ran.code, ran.err.count("\n")) == (2, 1)
        assert "--row: got 3; expected a whole number from 0 to 2" in ran.err
        ran = run("explain", model_file, "hello")
        assert (ran.code, ran.err.count("\n")) == (2, 1)
        assert "what a model of numbers reads: got hello; expected a table of sequences" in ran.err


@pytest.mark.slow
def test_texts_tags_and_series_are_explained(folder: Path, run: Any, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("good food\nbad food\n")
    ran = run("explain", folder / "label.safetensors", tmp_path / "texts.txt", "--row", 1, "--json")
    assert [row["token"] for row in ran.json["contributions"]] == ["bad", "food"]
    ran = run("explain", folder / "tags.safetensors", "to be or", "--of", 0, "--json")
    assert ran.json["score_name"] == "logit at step 0"
    rows = sales(0, 35, more=0)
    lines = zip(*(column.tolist() for column in map(np.asarray, rows.values())), strict=True)
    table = [",".join(rows), *(",".join(map(str, line)) for line in lines)]
    (tmp_path / "rows.csv").write_text("\n".join(table) + "\n")
    asked = ("explain", folder / "shop.safetensors", tmp_path / "rows.csv")
    ran = run(*asked, "--series", "b", "--target", 2, "--json")
    assert (ran.code, ran.json["target"]) == (0, "b, 2 ahead")
    assert run(*asked).err == "elman: which series?: got 2 of them; name one\n"
    ran = run("explain", folder / "label.safetensors", "good food", "--row", 1)
    assert ran.err.startswith("elman: --row: got no file; expected a file")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["meals", "I", "--target", "zebra"], "--target: got zebra; expected one token of the"),
        (
            ["meals", "I", "--method", "magic"],
            "--method: got magic; expected one of replacement, deco",
        ),
        (["meals"], "TEXT: got nothing; expected what a model for language reads"),
        (["meals", "I", "--replace", "like"], "--replace: got like; expected POSITION=WORD, such"),
        (["meals", "I", "--replace", "-1=a"], "--replace: got -1=a; expected POSITION=WORD, such"),
        (["meals", "I", "--replace", "3=We"], "position: got 3; expected a whole number from 0"),
        (["meals", "I", "--replace", "0=zebra"], "word: got zebra; expected one token of the voc"),
        (
            ["meals", "I", "--of", "words"],
            "--of: got a model for language; expected one for classify or regress or tag",
        ),
        (["shop", "--of", "a"], "--of: got a model for forecast; expected one for classify or"),
        (["tags", "a", "--of", "9" * 5000], "--of: got 99999"),
        (["meals", "I", "--replace", "9" * 5000 + "=I"], "--replace: got 99999"),
        (["meals", "I", "--svg", "x.txt"], "Invalid value for '--svg': got x.txt; expected a name"),
        (["meals", "I", "--plot", "x.foo"], "Invalid value for '--plot': got x.foo; expected a"),
        (
            ["meals", "I", "--equations", "--unknown"],
            "--equations: got --unknown with it; expected no",
        ),
        (["meals", "I", "--equations", "--method", "leave-one-out"], "--equations: got --method l"),
        *(
            (
                ["meals", "I", "--replace", "0=We", *beside],
                f"--replace: got {beside[0]} with it; expected no other option",
            )
            for beside in (
                *(["--svg", "x.svg"], ["--plot", "x.png"], ["--target", "I"], ["--unknown"]),
                *(["--method", "decomposition"], ["--equations"]),
            )
        ),
        (
            ["label", "I", "--unknown"],
            "--unknown: got a model for classify; expected one for language",
        ),
        (["label", "I", "--equations"], "--equations: got a model for classify; expected one for"),
        (["label", "I", "--replace", "0=a"], "--replace: got a model for classify; expected one"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    folder: Path, run: Any, arguments: list[str], said: str
) -> None:
    model, *rest = arguments
    ran = run("explain", folder / f"{model}.safetensors", *rest)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"elman: {said}")
    assert ran.err.count("\n") == 1


@pytest.mark.slow
def test_hostile_text_steers_no_terminal(folder: Path, run: Any) -> None:
    ran = run("explain", folder / "meals.safetensors", "I \x1b[2J\u202e like \udc80")
    assert ran.code == 0
    assert all(one.isprintable() or one == "\n" for one in ran.out)
