"""Models as C: compiled with warnings as errors and under sanitizers, compared with Python step by step."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elman import cells, tasks
from elman.cells import numpy_ops
from elman.engine.quantisation import quantised
from elman.errors import InputError, OptionError
from elman.export.c_source import c_source, write_c
from elman.files.model import Model
from elman.labels.codec import SequenceCodec
from elman.labels.config import SequenceConfig
from elman.labels.label_values import Labels
from elman.tables.scaler import Scaler
from elman.text.vocabulary import TextCodec
from factories import CELLS, make_model

GOLDEN = Path(__file__).parents[1] / "golden"
DRIVER = Path(__file__).with_name("driver.c")
REFUSED = {
    "affixes-1": "reads backwards",
    "chain-1": "reads backwards",
    "classify-1": "reads backwards",
    "convolutions-1": "a wide part (convolutions)",
    "forecast-1": "a forecaster",
    "forecast-bounded-1": "a forecaster",
    "forecast-ridge-1": "a forecaster",
    "ngrams-1": "reads backwards",
    "tag-1": "reads backwards",
}
CHECKED = "-O2 -fsanitize=address,undefined -fno-sanitize-recover=all"
FAST = "-O3 -march=native -DELMAN_OWN_MATH"

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")


class Program:
    """A model as a compiled program."""

    def __init__(
        self,
        folder: Path,
        model: Model,
        flags: str = CHECKED,
        *,
        int8: bool = False,
        cpp: bool = False,
    ) -> None:
        self.source = c_source(model, "model", int8=int8)
        code, _ = write_c(model, folder / "model", int8=int8)
        self._path = folder / "program"
        compiler = "g++ -x c++ -std=c++11" if cpp else "gcc -std=c99"
        command = f"{compiler} -Wall -Wextra -Werror {flags} -I{folder} {code} {DRIVER} -o {self._path} -lm"
        done = subprocess.run(command.split(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def run(self, commands: Iterable[str]) -> list[list[str]]:
        done = subprocess.run(
            [self._path], input="\n".join(commands), capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        size, *lines = done.stdout.splitlines()
        assert int(size) == self.source.state_bytes
        return [line.split() for line in lines]

    def answers(self, steps: Iterable[object]) -> np.ndarray:
        """Return the answer after a reset and after each step, ``[1 + T, answers]``."""
        return np.array(self.run(["r", *(f"f {step}" for step in steps)]), float)


def predictor(model: Model) -> Any:
    return tasks.open_model(model)


def language_answers(model: Model, numbers: Iterable[int]) -> np.ndarray:
    stream = predictor(model).stream()
    rows = [stream.probabilities]
    rows += [stream.feed([number]).probabilities for number in numbers]
    return np.array(rows)


def tokens_of(model: Model, count: int) -> list[int]:
    return np.random.default_rng(0).integers(0, model.config.vocabulary_size, count).tolist()


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.safetensors")), ids=lambda path: path.stem)
def test_golden_models_answer_as_in_python_or_are_refused(tmp_path: Path, path: Path) -> None:
    model = Model.load(path)
    if path.stem in REFUSED:
        with pytest.raises(InputError) as refusal:
            write_c(model, tmp_path / "model")
        assert REFUSED[path.stem] in str(refusal.value)
        assert "\n" not in str(refusal.value)
        assert not list(tmp_path.iterdir())
        return
    program = Program(tmp_path, model)
    if model.config.task == "language":
        numbers = tokens_of(model, 30)
        np.testing.assert_allclose(
            program.answers(numbers), language_answers(model, numbers), rtol=0, atol=1e-6
        )
        return
    steps = np.array([[1.0, -2.25], [np.nan, -1.0], [4.0, 1e30], [1e30, -2.0]])
    expected = predictor(model).predict([steps[: 1 + n] for n in range(4)])
    found = program.answers(" ".join(map(str, step)) for step in steps)[1:, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(("cell", "activation"), CELLS, ids=lambda name: name)
def test_random_language_models_answer_as_in_python(
    tmp_path: Path, cell: str, activation: str
) -> None:
    wide: dict[str, Any] = {"hidden_size": 40, "num_layers": 3, "residual": True, "tied": True}
    words: dict[str, Any] = {"level": "word", "num_layers": 1, "bias": False, "embedding_size": 30}
    for settings, flags in (({"documents": "line"} | wide, FAST), (words, CHECKED)):
        scale = 1 / np.sqrt(settings.get("hidden_size", 6))
        # a linear network grows without bound at a larger scale
        model = make_model(cell, activation=activation, scale=0.5 * scale, **settings)
        numbers = tokens_of(model, 60)
        found = Program(tmp_path, model, flags).answers(numbers)
        np.testing.assert_allclose(found, language_answers(model, numbers), rtol=0, atol=2e-6)


def labelled_model(
    task: str,
    cell: str,
    *,
    texts: bool = True,
    pooling: str = "",
    members: int = 2,
    **settings: Any,
) -> Model:
    labels = None if task == "regress" else Labels.of(['a"b?', "é", "\n"])
    codec = SequenceCodec(
        tokens=TextCodec("word", ("<unk>", "good", "bad")) if texts else None,
        scaler=None if texts else Scaler(np.array([1e6, -2.0]), np.array([2.0, 0.25])),
        labels=labels,
        target=Scaler(np.array([10.0]), np.array([4.0])) if labels is None else None,
    )
    config = SequenceConfig(
        task=task,
        cell=cell,
        activation="tanh",
        vocabulary_size=3 if texts else 0,
        embedding_size=5 if texts else 0,
        alphabet_size=0,
        spelling_size=0,
        channels=0 if texts else 2,
        hidden_size=7,
        num_layers=2,
        bidirectional=settings.pop("bidirectional", False),
        bias=True,
        pooling=pooling,
        outputs=3 if labels else 1,
        members=members,
        **settings,
    )
    random = np.random.default_rng(3)
    arrays = {
        name: random.standard_normal(shape).astype(np.float32) / 2
        for name, shape in config.parameters().items()
    }
    return Model(config, arrays, codec, {"file": "/home/somebody/secret.csv"})


@pytest.mark.parametrize("cell", cells.CELLS)
def test_classifiers_of_texts_answer_after_every_token(tmp_path: Path, cell: str) -> None:
    model = labelled_model("classify", cell, pooling="attention+max+mean+last")
    words = ["good", "bad", "bad", "new", "good"]
    expected = predictor(model).predict_proba([" ".join(words[:n]) for n in range(len(words) + 1)])
    numbers = model.codec.tokens.encode(" ".join(words)).tolist()
    np.testing.assert_allclose(Program(tmp_path, model).answers(numbers), expected, atol=1e-6)


def test_taggers_give_the_tag_of_the_last_step(tmp_path: Path) -> None:
    model = labelled_model("tag", "gru", texts=False)
    values = np.random.default_rng(0).standard_normal((20, 2)) * [2, 0.25] + [1e6, -2]
    values = values.astype(np.float32).astype(float)
    (expected,) = predictor(model).predict_proba([values])
    found = Program(tmp_path, model).answers(f"{a:.9g} {b:.9g}" for a, b in values)[1:]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_regressors_give_a_number_in_the_unit_of_the_targets(tmp_path: Path) -> None:
    model = labelled_model("regress", "lstm", texts=False, pooling="mean+attention")
    values = np.array([[1e6, -2.0], [1e6 + 2, 0.5], [1e6 - 4, -1.5]])
    expected = predictor(model).predict([values[:n] for n in (1, 2, 3)])
    found = Program(tmp_path, model).answers(f"{a} {b}" for a, b in values)[1:, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def product(weight: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the product of a matrix and a vector, both rounded to integers of 8 bits."""
    (integers, scales), (activations, scale) = quantised(weight), quantised(x)
    return (integers.astype(np.int64) @ activations.astype(np.int64)) * (scales * scale)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_int8_multiplies_integers_exactly(tmp_path: Path, cell: str) -> None:
    model = make_model(cell, hidden_size=40, scale=0.2, num_layers=2)
    arrays, described = model.arrays, cells.find(cell, "tanh")
    states = [described.initial_state(1, 40) for _ in range(2)]
    numbers, expected = tokens_of(model, 30), []
    for number in numbers:
        integers, scales = quantised(arrays["embedding.weight"])
        y = integers[number] * scales[number]
        for k in range(2):
            parts = {
                name: arrays[f"layers.{k}.{name}"]
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            }
            gx = product(parts["weight_ih"], y) + parts["bias_ih"]
            gh = product(parts["weight_hh"], states[k][0][0]) + parts["bias_hh"]
            rows = (gx[None].astype(np.float32), gh[None].astype(np.float32))
            states[k] = described.step(numpy_ops(), *rows, states[k])
            y = states[k][0][0]
        logits = product(arrays["head.weight"], y) + arrays["head.bias"]
        expected.append(np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum())
    program = Program(tmp_path, model, int8=True)
    # An activation may be rounded to the other side where the last bits of its value differ.
    np.testing.assert_allclose(program.answers(numbers)[1:], expected, atol=5e-4)
    np.testing.assert_allclose(expected, language_answers(model, numbers)[1:], atol=0.02)
    assert program.source.weight_bytes < 0.5 * c_source(model, "b").weight_bytes


def test_texts_become_token_numbers(tmp_path: Path) -> None:
    tokens = ("<unk>", "<end>", "a", "é", "漢", "😀", " ", '"', "?", "\\", "0")
    model = make_model("gru", codec=TextCodec("char", tokens, "words", "line"))
    program = Program(tmp_path, model)
    texts = ["a", "éa", "漢", "😀", "z", '"', "?", "\\", "0a"]
    found = [row[1:3] for row in program.run(f"p {text};" for text in texts)]
    rest = [len(text[1:].encode()) for text in texts]
    numbers = model.codec.encode("".join(text[0] for text in texts)).tolist()
    # the driver reads text up to a semicolon
    assert [[int(a), int(b)] for a, b in found] == [
        list(pair) for pair in zip(numbers, rest, strict=True)
    ]
    assert program.source.code.isascii()


def test_words_become_token_numbers(tmp_path: Path) -> None:
    model = make_model("rnn", level="word", num_layers=1)
    texts = ["I", "like", "pizza", "pizz", "pizzas", "!", "tea"]
    found = Program(tmp_path, model).run(f"p {text};" for text in texts)
    assert [int(row[0]) for row in found] == model.codec.numbers(texts).tolist()


@pytest.mark.parametrize("int8", [False, True])
def test_the_code_is_c_plus_plus_too(tmp_path: Path, int8: bool) -> None:
    model = make_model("lstm")
    numbers = tokens_of(model, 10)
    found = Program(tmp_path, model, "-O1", cpp=True, int8=int8).answers(numbers)
    np.testing.assert_allclose(found, language_answers(model, numbers), atol=0.2 if int8 else 1e-6)


def test_files_hold_nothing_of_the_training(tmp_path: Path) -> None:
    code, header = write_c(labelled_model("tag", "gru"), tmp_path / "net.c")
    assert (code.name, header.name) == ("net.c", "net.h")
    texts = [file.read_text(encoding="utf-8") for file in (code, header)]
    assert '#include "net.h"' in texts[0]
    assert re.search(r"Constants: \d+ bytes\. A state: \d+ bytes", texts[1])
    for text in texts:
        assert "secret" not in text
        assert str(tmp_path) not in text
        assert ".inc" not in text


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb", ".c"])
def test_names_that_c_cannot_include_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(OptionError, match="the C file"):
        write_c(make_model("rnn"), tmp_path / name)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"bidirectional": True}, "bidirectional=False"),
        ({"transitions": True}, "transitions"),
    ],
)
def test_models_that_need_the_whole_sequence_are_refused(
    tmp_path: Path, settings: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        write_c(labelled_model("tag", "gru", **settings), tmp_path / "model")
