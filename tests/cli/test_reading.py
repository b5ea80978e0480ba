"""Inputs of the commands: files of many kinds, standard input, and names of files."""

from __future__ import annotations

import csv
import gzip
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elman.files.model import Model
from elman.language.config import NetworkConfig
from elman.text.counting import count_vocabulary
from readers import reader_of

QUICK = ("--hidden-size", 8, "--steps", 4, "--threads", 1)


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of random models: of texts in a column "says", of tokens, of numbers, of language."""
    folder = tmp_path_factory.mktemp("reading")
    for kind, task, columns in (
        ("word", "classify", {"text": "says", "label": "mood"}),
        ("word", "tag", {}),
        ("numbers", "classify", {}),
    ):
        model = reader_of(kind, task)
        model = Model(model.config, model.arrays, model.codec, {"columns": columns})
        model.save(folder / f"{kind}-{task}.safetensors")
    codec, _ = count_vocabulary(["to be or not to be\n"], level="word")
    config = NetworkConfig(
        task="language",
        cell="gru",
        activation="tanh",
        vocabulary_size=len(codec),
        embedding_size=4,
        hidden_size=4,
        num_layers=1,
    )
    draw = np.random.default_rng(0)
    arrays = {
        name: draw.standard_normal(shape).astype(np.float32)
        for name, shape in config.parameters().items()
    }
    Model(config, arrays, codec, {}).save(folder / "language.safetensors")
    return folder


def piped(monkeypatch: pytest.MonkeyPatch, data: str | bytes) -> None:
    data = data.encode() if isinstance(data, str) else data
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


@pytest.mark.parametrize(
    "table",
    [
        "says,mood\nto be,a\nor not,b\n",
        "mood;says\na;to be\nb;or not\n",
        '{"says": "to be"}\n{"says": "or not"}\n',
    ],
)
def test_standard_input_is_read_as_a_file_is(
    folder: Path, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    model = folder / "word-classify.safetensors"
    piped(monkeypatch, table)
    found = run("predict", model, "-")
    assert [row["row"] for row in rows(found.out)] == ["0", "1"]
    (tmp_path / "new.txt").write_text(table)
    assert run("predict", model, tmp_path / "new.txt").out == found.out
    piped(monkeypatch, "to be\nor not\n")
    assert [row["text"] for row in rows(run("predict", model, "-").out)] == ["to be", "or not"]


def test_a_tagger_reads_tag_files_and_sentences(
    folder: Path, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = folder / "word-tag.safetensors"
    wanted = [("0", "to"), ("0", "be"), ("1", "not")]
    for text in ("to a\nbe b\n\nnot c\n", "to\nbe\n\nnot\n", "to be\nnot\n"):
        piped(monkeypatch, text)
        (tmp_path / "new.txt").write_text(text)
        for source in ("-", tmp_path / "new.txt"):
            found = rows(run("predict", model, source).out)
            assert [(row["sequence"], row["token"]) for row in found] == wanted


@pytest.mark.parametrize(
    "command",
    [
        ("predict", "word-classify.safetensors", "-"),
        ("predict", "word-tag.safetensors", "-"),
        ("predict", "numbers-classify.safetensors", "-"),
        ("predict", "language.safetensors", "-"),
        ("evaluate", "word-classify.safetensors", "-"),
        ("evaluate", "language.safetensors", "-"),
        ("score", "language.safetensors", "-"),
        ("explain", "language.safetensors", "-"),
    ],
    ids=" ".join,
)
def test_an_empty_standard_input_is_an_error_of_one_line(
    folder: Path, run: Any, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    piped(monkeypatch, "")
    ran = run(command[0], folder / command[1], *command[2:])
    assert (ran.code, ran.out) == (2, "")
    (line,) = ran.err.splitlines()
    assert "empty" in line


def test_a_file_and_a_pipe_with_the_same_bytes_give_the_same_answer(
    folder: Path, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = "to be\nSchön or not\n".encode("cp1252")
    (tmp_path / "new.txt").write_bytes(data)
    (tmp_path / "new.log.gz").write_bytes(gzip.compress(data))
    for model in ("word-classify.safetensors", "language.safetensors"):
        ran = run("predict", folder / model, tmp_path / "new.txt", "--json")
        assert "read as cp1252, a guess" in ran.err
        assert "Schön or not" in ran.out
        piped(monkeypatch, data)
        same = run("predict", folder / model, "-", "--json")
        assert same.out == ran.out
        assert "standard input: not UTF-8 at line 2" in same.err
        assert run("predict", folder / model, tmp_path / "new.log.gz", "--json").out == ran.out
        told = run(
            "predict", folder / model, tmp_path / "new.txt", "--json", "--encoding", "cp1250"
        )
        assert told.out == ran.out
        assert "a guess" not in told.err
    for command in ("evaluate", "score"):
        ran = run(command, folder / "language.safetensors", tmp_path / "new.txt")
        assert "if that reads wrong, pass --encoding (such as" in ran.err
        assert "encoding" not in ran.out


def test_an_argument_that_looks_like_a_file_is_never_read_as_text(
    folder: Path, run: Any, tmp_path: Path
) -> None:
    (tmp_path / "new.txt").write_text("to be\n")
    for command in ("predict", "explain"):
        ran = run(command, folder / "language.safetensors", tmp_path / "new.txt")
        assert ran.code == 0, ran.err
        assert "txt" not in ran.out
        assert f"{tmp_path / 'new.txt'} is a file: its text is read" in ran.err
        for model in ("language", "word-classify"):
            ran = run(command, folder / f"{model}.safetensors", tmp_path / "mistyped.txt")
            assert ran.code == 2
            assert "No such file" in ran.err


@pytest.mark.parametrize("command", ["predict", "explain"])
@pytest.mark.parametrize("model", ["language", "word-classify"])
def test_a_folder_is_refused(
    folder: Path, run: Any, tmp_path: Path, command: str, model: str
) -> None:
    ran = run(command, folder / f"{model}.safetensors", tmp_path)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"elman: {tmp_path} is a folder: expected a text or a file")


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [("explain",), ("units",), ("info", "--memory", "--text"), ("predict",), ("score",)],
    ids=" ".join,
)
@pytest.mark.parametrize("model", ["language", "word-classify"])
def test_every_command_that_reads_a_text_has_the_option_encoding(
    folder: Path, run: Any, tmp_path: Path, command: tuple[str, ...], model: str
) -> None:
    (tmp_path / "new.txt").write_bytes("to be or not to be \u4e16\u754c\n".encode("gb18030") * 300)
    name, *flags = command
    if (name, model) == ("score", "word-classify"):
        model = "language"
    given = (name, folder / f"{model}.safetensors", *flags, tmp_path / "new.txt", "--encoding")
    assert run(*given, "gb18030").code == 0
    ran = run(*given, "utf-8")
    assert ran.code == 2
    assert "utf-8" in ran.err.splitlines()[-1]


def test_an_impossible_output_is_refused_before_anything_is_read(folder: Path, run: Any) -> None:
    for options in (("--label", "y"), ("--horizon", 2), ("--task", "language")):
        ran = run("train", "nowhere.csv", *options, "-o", "wrong.suffix")
        assert ran.code == 2
        assert (
            ran.err
            == "elman: output: got wrong.suffix; expected a name that ends in .safetensors\n"
        )
        assert ran.out == ""
    ran = run("predict", folder / "word-classify.safetensors", "nowhere.csv", "-o", "wrong.suffix")
    assert ran.code == 2
    assert "got wrong.suffix; expected a name that ends in .csv" in ran.err


def test_mostly_unknown_words_are_reported(folder: Path, run: Any, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("says,mood\nguten Tag,a\nauf Wiedersehen,b\nto be,a\n")
    warning = "67% of the tokens are not in the model's vocabulary"
    model = folder / "word-classify.safetensors"
    for command in ("predict", "evaluate"):
        assert warning in run(command, model, tmp_path / "new.csv").err
    assert "100% of the tokens" in run("predict", model, "guten Tag").err
    assert "100% of the tokens" in run("predict", folder / "language.safetensors", "guten Tag").err
    assert "of the tokens" not in run("predict", model, "to be or blorb").err


def test_a_table_needs_a_task(folder: Path, run: Any, tmp_path: Path) -> None:
    texts = "".join(f"a long text number {n},{'good' if n % 2 else 'bad'}\n" for n in range(9))
    days = np.datetime64("2024-01-01") + np.arange(9)
    series = "".join(f"{day},{n},{n / 2}\n" for n, day in enumerate(days))
    for name, content, likely in (
        ("t.csv", "words,mood\n" + texts, "--text words --label mood"),
        ("s.csv", "day,Open,Close\n" + series, "--horizon 10 --target Close"),
        ("n.tsv", "a\tb\n1\t2\n3\t4\n", "--horizon 10 --target b"),
        ("j.jsonl", '{"day": "2024-01-01", "y": 5}\n', "--horizon 10 --target y"),
    ):
        (tmp_path / name).write_text(content)
        ran = run("train", tmp_path / name, "-o", tmp_path / "m.safetensors", *QUICK)
        assert ran.code == 2
        (line,) = ran.err.splitlines()
        assert f"elman train {tmp_path / name} {likely}` is likely" in line
        assert not (tmp_path / "m.safetensors").exists()
    (tmp_path / "x.ts").write_text("@classLabel true a b\n@data\n1,2:a\n2,3:b\n")
    ran = run("train", tmp_path / "x.ts", tmp_path / "t.csv", *QUICK)
    assert (ran.code, "--task classify` is likely" in ran.err) == (2, True)
    ran = run(
        "train", tmp_path / "t.csv", "--task", "language", "-o", tmp_path / "m.safetensors", *QUICK
    )
    assert ran.code == 0, ran.err


def test_a_table_on_standard_input_needs_a_task(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for head, row, refused in (
        ("day,Close", "2024-01-0{},5", True),
        ("Hello, you", "we, {}", False),
    ):
        data = "\n".join([head, *map(row.format, range(1, 9))]).encode() + b"\n"
        pipe = io.TextIOWrapper(io.BufferedReader(io.BytesIO(data)))
        monkeypatch.setattr(sys, "stdin", pipe)
        ran = run("train", "-", "-o", tmp_path / "m.safetensors", *QUICK)
        assert ran.code == (2 if refused else 0), ran.err
        assert ("`elman train - --horizon 10 --target Close` is likely" in ran.err) is refused


def test_text_is_trained_on_from_standard_input(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    piped(monkeypatch, "I like tea .\n" * 40)
    ran = run("train", "-", "-o", tmp_path / "m.safetensors", *QUICK)
    assert ran.code == 0, ran.err
    assert "tea" in run("predict", tmp_path / "m.safetensors", "I like").out


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("texts.txt", "--label", "labels.txt"),
        ("texts.txt,labels.txt", "--task", "classify"),
        ("fast.txt", "--task", "classify"),
        ("mr.txt", "--task", "classify"),
    ],
    ids=" ".join,
)
def test_labels_are_read_from_plain_files(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    texts, labels = ["good food", "so bad"] * 12, ["1", "0"] * 12
    Path("texts.txt").write_text("\n".join(texts) + "\n")
    Path("labels.txt").write_text("\n".join(labels) + "\n")
    pairs = [*zip(labels, texts, strict=True)]
    Path("fast.txt").write_text("".join(f"__label__{label} {text}\n" for label, text in pairs))
    Path("mr.txt").write_text("".join(f"{label} {text}\n" for label, text in pairs))
    ran = run("train", *arguments, "-o", "m.safetensors", *QUICK)
    assert ran.code == 0, ran.err
    assert run("predict", "m.safetensors", "good food", "--json").json.keys() >= {"p(0)", "p(1)"}
    assert (
        "accuracy"
        in run(
            "evaluate",
            "m.safetensors",
            *arguments[:1],
            *arguments[1:][-2:] if arguments[1] == "--label" else (),
        ).out
    )
    Path("labels.txt").write_text("1\n0\n")
    if "labels.txt" in "".join(arguments):
        ran = run("train", *arguments, "-o", "m.safetensors", *QUICK)
        assert "texts.txt and labels.txt: got 24 lines and 2" in ran.err
