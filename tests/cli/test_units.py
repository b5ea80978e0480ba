"""`elman units`: its table, coloured or marked text, pictures and JSON."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from elman.cli.units import coloured
from elman.files.model import Model
from elman.inspect.units import Excerpt
from elman.language.predictor import LanguagePredictor
from elman.text.vocabulary import TextCodec
from factories import bracketed, latch
from factories import make_model as _make
from readers import reader_of

# Characters that move the cursor of a terminal, colour it, or reverse the direction of a line.
HOSTILE = "\x1b[2J\x1b]0;owned\x07\u202e\u2066\x9b31m"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with texts and a network whose unit 0.3 is 1 inside brackets."""
    folder = tmp_path_factory.mktemp("units")
    latch().save(folder / "latch.safetensors")
    (folder / "text.txt").write_text(bracketed(6_000))
    (folder / "short.txt").write_text("ab (cd)\n")
    (folder / "hostile.txt").write_text(f"ab {HOSTILE}(cd)\n" * 400 + "x" * 10_000, "utf-8")
    return folder


def test_properties_are_printed_above_marked_text(folder: Path, run: Any) -> None:
    ran = run("units", folder / "latch.safetensors", folder / "text.txt", "--count", 3)
    assert (ran.code, ran.err) == (0, "")
    head, first, *rest = ran.out.splitlines()
    assert head.split() == ["property", "unit", "gain", "area", "untrained", "input", "alone"]
    assert first.startswith("inside round brackets")
    assert first.split()[-5] == "0.3"
    assert float(first.split()[-3]) > 0.99
    # Properties that a baseline detects as well are listed apart, without marked text.
    assert rest[0] == "no findings: an untrained network or the input alone indicates these as well"
    assert rest[4] == "0.3: inside round brackets (between ( and ))"
    text, marks = rest[5], rest[6]
    # '#' and '+' mark characters inside the brackets, a blank and '.' those outside.
    assert len(text) >= len(marks)
    assert {mark for letter, mark in zip(text, marks, strict=False) if letter == "("} <= {"+", "#"}
    assert {mark for letter, mark in zip(text, marks, strict=False) if letter == ")"} <= {" ", "."}
    assert rest[-3:-1] == [
        "",
        "# and +: the unit says that the property holds; -: in between; . and nothing: that it does not",
    ]
    assert rest[-1] == (
        "6,000 steps, 8 units; chosen on the first half, areas under the ROC curve on the second"
    )


@pytest.mark.slow
def test_a_network_without_properties_gets_no_marked_text(run: Any, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(bracketed(6_000))
    codec, still = latch().model.codec, latch().model
    arrays = {name: np.zeros_like(array) for name, array in still.arrays.items()}
    LanguagePredictor(Model(still.config, arrays, codec, {})).save(tmp_path / "still.safetensors")
    given = ("units", tmp_path / "still.safetensors", tmp_path / "text.txt")
    said, _, *rows, blank, _ = run(*given, "--count", 3).out.splitlines()
    assert said == "No unit indicates a property better than its baselines do."
    assert (len(rows), blank) == (3, "")
    ran = run(*given, "--svg", tmp_path / "a.svg")
    assert (ran.code, ran.out) == (2, "")
    assert "--svg: got no unit that tells a property better than its baselines" in ran.err
    assert run(*given, "--json").json["excerpts"] == []


def test_properties_are_printed_as_json(folder: Path, run: Any) -> None:
    ran = run("units", folder / "latch.safetensors", folder / "text.txt", "--json", "--count", 2)
    assert ran.err == ""
    first, _ = ran.json["properties"]
    assert first["property"] == "inside round brackets"
    assert (first["layer"], first["unit"], first["direction"]) == (0, 3, 1)
    assert first["gain"] == first["area"] - max(first["baseline"], first["token"])
    excerpt = ran.json["excerpts"][0]
    assert len(excerpt["tokens"]) == len(excerpt["values"]) > 100


def test_a_chosen_unit_is_printed_and_drawn(folder: Path, run: Any, tmp_path: Path) -> None:
    drawn = tmp_path / "unit.svg"
    given = ("units", folder / "latch.safetensors", folder / "text.txt", "--unit", "0.3")
    ran = run(*given, "--svg", drawn)
    assert ran.out.startswith("\nunit 0.3\n")
    assert "property" not in ran.out
    legend, size = ran.out.splitlines()[-2:]
    assert legend == "# and +: the unit is high; -: in between; . and nothing: low"
    assert size == "6,000 steps, 8 units"
    assert 'aria-label="unit 0.3"' in drawn.read_text("utf-8")
    run(*given[:-2], "--svg", drawn)
    assert 'aria-label="0.3: inside round brackets (area ' in drawn.read_text("utf-8")
    assert drawn.read_text("utf-8").startswith("<svg")
    assert run(*given, "--json").json["properties"] == []


def test_passages_like_a_phrase_are_printed(folder: Path, run: Any) -> None:
    given = ("units", folder / "latch.safetensors", folder / "text.txt", "--like", "(ab")
    ran = run(*given, "--count", 2)
    head, names, *units, like, columns, first, second = ran.out.splitlines()
    assert head.startswith("units that stand out most over '(ab' (read ")
    assert names.split() == ["unit", "difference"]
    assert all(re.fullmatch(r" +0\.\d  +[+-]\d\.\d", unit) for unit in units)
    assert like == "places where the state is most similar:"
    assert columns.split() == ["likeness", "place"]
    places = [first, second]
    assert len(places) == 2
    assert all("[" in place for place in places)
    assert run(*given, "--json").json["phrase"] == "(ab"


def test_a_text_is_read_from_standard_input(
    folder: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = run("units", folder / "latch.safetensors", folder / "text.txt", "--json").json
    monkeypatch.setattr("sys.stdin", io.StringIO((folder / "text.txt").read_text()))
    assert run("units", folder / "latch.safetensors", "-", "--json").json == wanted


@pytest.mark.slow
def test_control_characters_do_not_reach_the_terminal(
    folder: Path, run: Any, tmp_path: Path
) -> None:
    codec = TextCodec("char", ("<unk>", *"\nabcdx ()", *sorted(set(HOSTILE) - set("\nabcdx ()"))))
    model = tmp_path / "hostile.safetensors"
    LanguagePredictor(_make(codec=codec)).save(model)
    drawn = tmp_path / "hostile.svg"
    outputs = [
        run("units", model, folder / "hostile.txt", "--unit", "0.1", "--svg", drawn).out,
        run("units", model, folder / "hostile.txt", "--like", HOSTILE).out,
        run("units", model, folder / "hostile.txt").out,
    ]
    for out in outputs:
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2066]", out)
        assert max(map(len, out.splitlines())) < 400
    assert "owned" in outputs[0]
    assert "\x1b" not in drawn.read_text("utf-8")
    assert "\u202e" not in drawn.read_text("utf-8")
    json.dumps(run("units", model, folder / "hostile.txt", "--json").json)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["short.txt"], "too little to find units on: got 7 tokens; expected at least"),
        (["none.txt"], "none.txt"),
        ([], "FILE: got nothing; expected what a model for language reads"),
        (["text.txt", "--unit", "3"], "unit: got 3; expected LAYER.UNIT from 0"),
        (["text.txt", "--unit", "4.1"], "unit: got 4.1; expected layers to 0, units to 7, of the"),
        (["text.txt", "--count", "0"], "--count: got 0"),
        (["text.txt", "--like", " "], "phrase: got  ; expected some words"),
        (["text.txt", "--like", "a", "--unit", "0.1"], "--like: got --unit or --svg with it"),
        (["text.txt", "--svg", "none/a.svg", "--unit", "0.1"], "none/a.svg"),
    ],
)
def test_an_error_is_one_line(
    folder: Path, run: Any, monkeypatch: pytest.MonkeyPatch, arguments: list[str], line: str
) -> None:
    monkeypatch.chdir(folder)
    ran = run("units", "latch.safetensors", *arguments)
    assert ran.code == 2
    assert ran.out == ""
    assert line in ran.err
    assert ran.err.count("\n") == 1


def test_units_of_a_classifier_are_printed(run: Any, tmp_path: Path) -> None:
    model, table = tmp_path / "reader.safetensors", tmp_path / "texts.csv"
    reader = reader_of("char")
    # as training leaves it
    card = {"columns": {"text": "text", "label": "label"}}
    Model(reader.config, reader.arrays, reader.codec, card).save(model)
    rows = [f"to be (or not to be) or not {n},a" for n in range(200)]
    table.write_text("\n".join(["text,label", *rows]) + "\n")
    lines = tmp_path / "texts.txt"
    lines.write_text("".join(row.removesuffix(",a") + "\n" for row in rows))
    found = run("units", model, lines, "--json").json
    assert {one["property"] for one in found["properties"]} >= {"inside round brackets"}
    assert run("units", model, table, "--json").json == found


def excerpt(text: str, values: list[float]) -> Excerpt:
    return Excerpt(tuple(text), np.array(values))


def test_a_terminal_gets_colours_and_a_file_gets_marks() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor", width=40)
    (line,) = coloured(excerpt("ab", [1.0, -1.0]), console)
    assert [str(span.style) for span in line.spans] == [
        "black on rgb(136,184,228)",
        "black on rgb(243,182,168)",
    ]
    plain = Console(file=io.StringIO(), width=40)
    lines = coloured(excerpt("ab\n\n漢c\t\x1b", [-1, -0.5, 0, 0, 0.3, 1, 0, 1]), plain)
    assert [str(line) for line in lines] == ["ab", " .", "漢c \ufffd", "++#-#"]
    long = coloured(excerpt("a" * 10_000, [1.0] * 10_000), plain)
    assert len(long) == 16
    assert max(len(line) for line in long) == 40
