"""Commands with language models: output, error messages and exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np
import pytest

from elman import LanguageModel
from elman.cli import main
from elman.files.model import Model
from elman.language.options import LanguageOptions


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two texts, a model of words and a model of characters."""
    folder = tmp_path_factory.mktemp("models")
    text = "I like to eat pizza .\nWe hate to eat soup .\n" * 60
    (folder / "meals.txt").write_text(text)
    (folder / "manual.txt").write_text("".join(topics.values())[:30_000])
    options: dict[str, Any] = {
        "hidden_size": 16,
        "num_layers": 1,
        "learning_rate": 0.03,
        "steps": 250,
    }
    LanguageModel(documents="line", **options).fit(text, output=folder / "word.safetensors")
    LanguageModel(level="char", **options).fit(
        folder / "manual.txt", output=folder / "char.safetensors"
    )
    return folder


@pytest.mark.slow
def test_predictions_are_printed_as_json(folder: Path, run: Any) -> None:
    ran = run("predict", folder / "word.safetensors", "I like to eat", "-k", 3, "--json")
    assert ran.code == 0
    assert ran.err == ""
    assert ran.json["text"] == "I like to eat"
    first, *rest = ran.json["predictions"]
    assert first["token"] == "pizza"
    assert first["probability"] > 0.6
    assert len(rest) == 2


def test_an_unknown_word_is_reported(folder: Path, run: Any) -> None:
    ran = run("predict", folder / "word.safetensors", "I like blorbs", "--json")
    assert ran.json["unknown"] == ["blorbs"]
    assert ran.err == "elman: not in the vocabulary, read as <unk>: blorbs\n"
    ran = run("generate", folder / "char.safetensors", "--prompt", "\u4e00", "-n", 5)
    assert "read as <unk>: \u4e00" in ran.err
    assert ran.code == 0


def test_unknown_words_of_all_lines_are_reported_once(
    folder: Path, tmp_path: Path, run: Any
) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text("I like blorbs\nI like pizza\nblorbs hate gnus\n")
    ran = run("predict", folder / "word.safetensors", lines)
    (note,) = (line for line in ran.err.splitlines() if "vocabulary" in line)
    known = "elman: not in the vocabulary, read as <unk>: blorbs, gnus (3 of 9 tokens in 3 lines)"
    assert note == known


def test_a_mostly_unknown_prediction_is_reported(tmp_path: Path, run: Any) -> None:
    text = " ".join(f"the w{number}" for number in range(600))
    model, path = (
        LanguageModel(level="word", steps=40, min_count=2, hidden_size=8),
        tmp_path / "m.safetensors",
    )
    model.fit(text).save(path)
    ran = run("predict", path, "the", "-k", 2)
    assert ran.err.endswith(" % of the probability is on tokens outside the vocabulary, <unk>\n")
    assert ran.out.splitlines()[-1].startswith("<unk>")
    assert "█" in ran.out.splitlines()[-1]
    assert run("predict", path, "the", "--json").json["unknown_probability"] > 0.5
    (tmp_path / "lines.txt").write_text("the\n" * 3)
    (_, note) = run("predict", path, tmp_path / "lines.txt").err.splitlines()
    assert note.endswith("<unk>, and most of it in 2 more lines")


def test_predictions_are_printed_as_a_table(folder: Path, run: Any) -> None:
    ran = run("predict", folder / "word.safetensors", "We hate to eat", "-k", 1)
    assert ran.out.splitlines()[0] == "We hate to eat …"
    assert ran.out.splitlines()[1].startswith("soup")
    assert "█" in ran.out


@pytest.mark.slow
def test_predict_reads_standard_input_line_by_line(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "elman", "predict", folder / "word.safetensors", "-", "--json"],
        input=b"I like to eat\r\nWe hate to eat\nnever \xff seen\n",
        capture_output=True,
        check=True,
    )
    answers = [json.loads(line) for line in done.stdout.decode().splitlines()]
    assert [answer["predictions"][0]["token"] for answer in answers[:2]] == ["pizza", "soup"]
    assert len(answers) == 3


def test_the_same_seed_generates_the_same_text(folder: Path, run: Any) -> None:
    texts = [
        run("generate", folder / "char.safetensors", "-n", 50, "--seed", seed).out
        for seed in (1, 1, 2)
    ]
    assert texts[0] == texts[1] != texts[2]
    assert len(texts[0]) == 51
    ran = run("generate", folder / "char.safetensors", "-n", 50, "--seed", 1, "--json")
    assert ran.json["text"] + "\n" == texts[0]


def test_generated_text_continues_the_prompt(folder: Path, run: Any) -> None:
    model = folder / "word.safetensors"
    ran = run("generate", model, "--prompt", "I like to", "-n", 3, "--temperature", 0)
    assert ran.out.startswith("I like to eat pizza")
    ran = run("generate", model, "--prompt", "I like to", "-n", 2, "--beam", 4, "--json")
    assert ran.json["text"].strip() == "eat pizza"
    assert ran.json["log_probability"] < 0


def test_a_text_is_evaluated(folder: Path, run: Any) -> None:
    ran = run("evaluate", folder / "char.safetensors", folder / "manual.txt", "--json")
    assert ran.json["tokens"] == 29_999
    assert ran.json["bits_per_token"] == pytest.approx(ran.json["loss"] / np.log(2))
    assert ran.json["perplexity"] == pytest.approx(np.exp(ran.json["loss"]))
    assert "gram" in run("evaluate", folder / "char.safetensors", folder / "manual.txt").out


def test_a_model_adapts_to_the_text(folder: Path, run: Any) -> None:
    model, text = folder / "char.safetensors", folder / "manual.txt"
    ran = run("evaluate", model, text, "--adapt", "--json")
    assert ran.json["weights_loss"] < ran.json["loss"]
    assert ran.json["cache_loss"] is None  # the cache is off for characters
    assert "learning on" in run("evaluate", model, text, "--adapt").out
    question = text.read_text("utf-8")[:300].replace("\n", " ")
    answers = [
        run("predict", model, question, "--json", *more).json["predictions"]
        for more in ([], ["--adapt"], ["--adapt", "--valid", text])
    ]
    assert answers[0] != answers[1] != answers[2] != answers[0]


def test_info_shows_the_card(folder: Path, run: Any) -> None:
    card = run("info", folder / "char.safetensors", "--json").json
    assert card["network"]["hidden_size"] == 16
    assert card["data"]["characters"] == 27_000
    assert "held out" in run("info", folder / "char.safetensors").out
    assert run("info", "--json").json["elman"]


def test_info_shows_a_card_whatever_its_lists_hold(folder: Path, tmp_path: Path, run: Any) -> None:
    model = Model.load(folder / "char.safetensors")
    odd = tmp_path / "odd.safetensors"
    replace(model, card={**model.card, "held_out": {"methods": [{"a": 1.5}, "x", 3]}}).save(odd)
    assert "methods a 1.5, x, 3" in run("info", odd).out


def test_train_prints_a_report_and_writes_the_model(folder: Path, tmp_path: Path, run: Any) -> None:
    output = tmp_path / "m.safetensors"
    ran = run(
        "train", folder / "manual.txt", "-o", output, "--level", "char", "--steps", 20,
        "--hidden-size", 8, "--evaluations", 2,
    )  # fmt: skip
    assert ran.code == 0
    for part in (
        "27,000 characters",
        "1,500 for test",
        "validation loss",
        "test set: loss",
        "gram model",
        "<unk>",
    ):
        assert part in ran.out, part
    assert output.exists()
    assert "DOES NOT BEAT IT" in ran.out


def test_a_small_text_gets_no_verdict(tmp_path: Path, run: Any) -> None:
    (tmp_path / "one.txt").write_text("I like to eat pizza")
    ran = run("train", tmp_path / "one.txt", "-o", tmp_path / "m.safetensors", "--steps", 3)
    assert ran.code == 0
    assert "5 words to train on: nothing is held out of so small a text" in " ".join(
        ran.out.split()
    )
    assert "no text was held out, so the quality of the network is unknown" in ran.out
    assert "gram model" not in ran.out
    assert "gram model" not in run("evaluate", tmp_path / "m.safetensors", tmp_path / "one.txt").out


def test_a_list_of_names_is_read_by_characters_and_both_orders_get_one_verdict(
    tmp_path: Path, run: Any
) -> None:
    draw = np.random.default_rng(0)
    names = ["".join(draw.choice([*"aeioulmnrst"], 2 + place // 60)) for place in range(400)]
    verdicts = []
    for order, lines in (("sorted", names), ("shuffled", draw.permutation(names).tolist())):
        path = tmp_path / f"{order}.txt"
        path.write_text("\n".join(lines) + "\n")
        ran = run("train", path, "-o", tmp_path / "m.safetensors", "--steps", 6, "--hidden-size", 8)
        assert "of the lines are one word: read as characters, each line by itself" in ran.out
        assert "10 % of the lines, drawn at random" in " ".join(ran.out.split())
        (verdict,) = [line for line in ran.out.splitlines() if "gram model" in line]
        verdicts.append(
            verdict.split(" of the same training text has ")[1].split(" on the test set")[0]
        )
        # such names have nothing to learn but how often each letter occurs
        assert "DOES NOT BEAT IT (standard error" in verdict or "NO DIFFERENCE" in verdict
    # the same lines are tested: the n-gram model's loss is the same
    assert verdicts[0] == verdicts[1]


def test_a_separate_test_set_is_measured(folder: Path, tmp_path: Path, run: Any) -> None:
    (tmp_path / "test.txt").write_text("We hate to eat soup .\n" * 3)
    ran = run(
        "train", folder / "meals.txt", "-o", tmp_path / "m.safetensors", "--steps", 4,
        "--hidden-size", 8, "--test", tmp_path / "test.txt", "--json",
    )  # fmt: skip
    assert ran.json["card"]["held_out"]["tokens"] == 21
    assert ran.json["card"]["validation"]["tokens"] > 21
    assert run("train", "x.csv", "--horizon", 3, "--test", "y.csv").code == 2


def test_train_as_json_keeps_standard_output_clean(folder: Path, tmp_path: Path, run: Any) -> None:
    output = tmp_path / "m.safetensors"
    ran = run(
        "train", folder / "meals.txt", "-o", output, "--steps", 4, "--hidden-size", 8, "--json"
    )
    assert ran.json["model"] == str(output)
    assert ran.json["card"]["training"]["steps"] == 4
    assert "validation loss" in ran.err


def test_a_single_process_prints_whatever_its_rank(
    folder: Path, tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    ran = run("train", folder / "meals.txt", "-o", tmp_path / "m.safetensors", "--steps", 2)
    assert "validation loss" in ran.out


def test_every_option_is_on_the_command_line(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    help_ = run("train", "--task", "language", "--help").out
    for field in LanguageOptions.declared():
        assert field.metadata["help"] in help_, field.name
        assert "--" + field.name.replace("_", "-") in help_, field.name


BAD = [
    (["train", "{empty}", "-o", "{out}"], "empty"),
    (["train", "{binary}", "-o", "{out}"], "binary"),
    (["train", "{one}", "-o", "{out}", "--level", "char"], "too short"),
    (["train", "{nothing}", "-o", "{out}"], "nothing"),
    (["train", "{missing}", "-o", "{out}"], "missing.txt"),
    (["train", "{text}", "-o", "{out}", "--cell", "transformer"], "rnn, gru, lstm, mingru"),
    (["train", "{text}", "-o", "{out}", "--hidden-size", "0"], "--hidden-size: got 0"),
    (["train", "{text}", "-o", "{out}", "--hidden-size", "many"], "many"),
    (["train", "{text}", "-o", "{out}", "--time", "3 parsecs"], "3 parsecs"),
    (
        ["train", "{text}", "-o", "{out}", "--time", "3m", "--steps", "3"],
        "one of --time, --epochs, --steps",
    ),
    (["train", "{text}", "-o", "{out}", "--no-such-option"], "--no-such-option"),
    (["train", "{text}", "-o", "{nowhere}/m.safetensors"], "no such folder"),
    (["train", "{text}", "-o", "/dev/full/m.safetensors"], "/dev/full"),
    (["train", "{text}", "-o", "{folder}"], "a folder"),
    (["train", "{text}", "-o", "{folder}/.safetensors"], "a name before the suffix"),
    (["train", "{text}", "-o", "{folder}/m", "--steps", "3"], "a name that ends in .safetensors"),
    (
        ["train", "{text}", "-o", "{folder}/other.safetensors", "--resume"],
        "--resume: got no checkpoint",
    ),
    (["train", "{text}", "-o", "{out}", "--encoding", "klingon"], "klingon"),
    (["train"], "FILE"),
    (["predict", "{text}", "I"], "meals.txt"),
    (["predict", "{cut}", "I"], "cut.safetensors"),
    (["predict", "{missing}", "I"], "missing.txt"),
    (["predict", "{model}", "I", "-k", "0"], "k: got 0"),
    (["generate", "{model}", "--temperature", "-1"], "temperature: got -1"),
    (["generate", "{model}", "--top-p", "2"], "--top-p: got 2"),
    (["generate", "{model}", "-n", "-5"], "got -5"),
    (["evaluate", "{model}", "{missing}"], "missing.txt"),
    (["evaluate", "{model}", "{text}", "--valid", "{text}"], "valid: got a text without adapt"),
    (["predict", "{model}", "I", "--valid", "{text}"], "valid: got a text without adapt"),
    (["info", "{empty}"], "empty.txt"),
    (["train", "{text}", "-o", "{out}", "--epochs", "1e308"], "epochs: got 1e+308"),
    (["train", "{text}", "-o", "{blocked}"], "a file where a folder"),
    (["dance"], "dance"),
]


@pytest.mark.parametrize(("arguments", "said"), BAD, ids=lambda part: str(part)[:60])
def test_bad_input_gets_one_clear_line(
    folder: Path, tmp_path: Path, run: Any, arguments: list[str], said: str
) -> None:
    names = {"out": tmp_path / "m.safetensors", "text": folder / "meals.txt", "folder": tmp_path}
    names |= {name: tmp_path / f"{name}.txt" for name in ("empty", "binary", "one", "missing")}
    names |= {"nothing": tmp_path / "nothing", "nowhere": tmp_path / "no" / "where"}
    names |= {"model": folder / "word.safetensors", "cut": tmp_path / "cut.safetensors"}
    names["blocked"] = tmp_path / "b.safetensors"
    (tmp_path / "b.checkpoint").write_bytes(b"a file")
    names["empty"].write_bytes(b"")
    names["binary"].write_bytes(bytes(range(256)) * 20)
    names["one"].write_bytes(b"a")
    names["nothing"].mkdir()
    names["cut"].write_bytes(names["model"].read_bytes()[:-1])
    names["out"].write_bytes(b"the earlier model")
    ran = run(*(argument.format(**names) for argument in arguments))
    assert ran.code == 2, ran.out + ran.err
    (line,) = ran.err.splitlines()
    assert line.startswith("elman: ")
    assert said in line
    assert "Traceback" not in ran.err + ran.out
    assert names["out"].read_bytes() == b"the earlier model"


def test_debug_shows_the_traceback(run: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="missing"):
        main(["predict", str(tmp_path / "missing"), "I", "--debug"])


@pytest.mark.slow
def test_a_full_disk_keeps_the_earlier_model(folder: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk."""
    output = tmp_path / "m.safetensors"
    output.write_bytes(b"the earlier model")
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "from elman.cli import main; main(sys.argv[1:])"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            code,
            "train",
            str(folder / "meals.txt"),
            "-o",
            str(output),
            "--steps",
            "4",
            "--hidden-size",
            "64",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("elman: cannot write")
    assert done.stderr.count("\n") == 1
    assert output.read_bytes() == b"the earlier model"


@pytest.mark.slow
def test_a_closed_pipe_is_no_error(folder: Path) -> None:
    code = "import sys; from elman.cli import main; main(sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "generate", str(folder / "char.safetensors"), "-n", "100000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.read(10)
    process.stdout.close()
    assert process.wait(60) == 0
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
@pytest.mark.parametrize("more", [["info", "--json"], ["info"], ["generate", "-n", "200000"]])
def test_a_full_standard_output_is_one_line(folder: Path, more: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "elman", more[0], str(folder / "char.safetensors"), *more[1:]],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2, done.stderr
    expected = "elman: cannot read or write standard output: got No space left on device\n"
    assert done.stderr == expected


@pytest.mark.slow
def test_training_continues_after_the_pipe_is_closed(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "m.safetensors"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "elman", "train", str(folder / "meals.txt"), "-o", str(output)),
            *("--steps", "40", "--hidden-size", "8"),
        ],
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.read(1)
    process.stdout.close()
    assert process.wait(60) == 0
    assert output.exists()


def test_control_characters_in_words_do_not_reach_the_terminal(tmp_path: Path, run: Any) -> None:
    text = "a\x1b[2Jb[bold]c[/bold] " * 400
    model = LanguageModel(level="char", steps=40, hidden_size=16, learning_rate=0.03).fit(text)
    model.save(tmp_path / "m.safetensors")
    ran = run("predict", tmp_path / "m.safetensors", "a\x1b", "-k", 12)
    assert "\x1b" not in ran.out
    ran = run("predict", tmp_path / "m.safetensors", "b[bold]c[/bold", "-k", 12)
    assert "b[bold]c[/bold …" in ran.out
