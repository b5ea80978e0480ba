"""`elman quantize`: a small model, and what its rounding costs; every command takes the small model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import elman
from elman.files.model import Model
from factories import make_model

LINES = ["abc bca cab", "cab abc", "bca bca abc"] * 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a language model and a text."""
    folder = tmp_path_factory.mktemp("quantize")
    make_model("gru", hidden_size=24, num_layers=2, scale=0.3).save(folder / "model.safetensors")
    (folder / "text.txt").write_text("\n".join(LINES), "utf-8")
    return folder


def test_the_small_model_is_written_and_both_are_measured(folder: Path, run: Any) -> None:
    arguments = (folder / "model.safetensors", "-o", folder / "small.safetensors")
    ran = run("quantize", *arguments, "--test", folder / "text.txt", "--json")
    assert (ran.code, ran.err) == (0, "")
    result = json.loads(ran.out)
    assert result["bytes"] == (folder / "small.safetensors").stat().st_size
    assert result["bytes_before"] == (folder / "model.safetensors").stat().st_size
    small = Model.load(folder / "small.safetensors")
    assert small.storage == "int8"
    before = elman.load(folder / "model.safetensors", kind=elman.LanguagePredictor)
    after = elman.load(folder / "small.safetensors", kind=elman.LanguagePredictor)
    for predictor, name in ((before, "before"), (after, "after")):
        assert result[name]["loss"] == predictor.evaluate(folder / "text.txt").loss
    assert 0 < abs(result["after"]["loss"] / result["before"]["loss"] - 1) < 0.01

    text = run("quantize", *arguments, "--test", folder / "text.txt").out.splitlines()
    assert text[0].startswith(f"{folder / 'small.safetensors'}  {result['bytes']:,} bytes, ")
    (loss,) = [line.split() for line in text if line.startswith("loss ")]
    assert loss[1] == f"{result['before']['loss']:.6g}"
    assert loss[2] == f"{result['after']['loss']:.6g}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("model.safetensors", "-o", "model.safetensors"), "got the model itself"),
        (("model.safetensors", "-o", "none/small.safetensors"), "no such folder"),
        (("model.safetensors", "-o", "small"), "a name that ends in .safetensors"),
        (("text.txt", "-o", "small.safetensors"), "cannot read"),
    ],
)
def test_bad_input_is_one_clear_line(
    folder: Path, run: Any, arguments: tuple[str, ...], message: str
) -> None:
    ran = run("quantize", *(name if name == "-o" else folder / name for name in arguments))
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err
    assert len(ran.err.splitlines()) == 1


def test_a_small_model_is_not_rounded_again(folder: Path, run: Any) -> None:
    small, again = folder / "once.safetensors", folder / "twice.safetensors"
    run("quantize", folder / "model.safetensors", "-o", small)
    assert run("quantize", small, "-o", again).code == 0
    assert again.read_bytes() == small.read_bytes()


def test_a_small_model_does_what_others_do(folder: Path) -> None:
    full = elman.load(folder / "model.safetensors", kind=elman.LanguagePredictor)
    full.model.quantised().save(folder / "small2.safetensors")
    small = elman.load(folder / "small2.safetensors", kind=elman.LanguagePredictor)
    assert small.network.storage == "int8"
    # streams and pools, whose bits are the same
    stream = small.stream().feed("abc ")
    pool = small.streams(2).feed(["abc ", "abc "])
    assert pool.predict(3) == [stream.predict(3)] * 2
    other = small.stream()
    other.state = stream.state
    assert other.predict(3) == stream.predict(3)
    # an explanation is about the probability that the model predicts
    explanation = small.explain("abc ca")
    predicted = dict(small.predict_next("abc ca", k=len(small.model.codec)))
    assert explanation.score == pytest.approx(np.log(predicted[explanation.target]), rel=1e-5)
    # a network that learns from its text begins with the rounded weights in float32
    adapted = small.evaluate(folder / "text.txt", adapt="weights")
    assert adapted.weights_loss is not None
    assert adapted.weights_loss < adapted.loss
    # with float32 activations the answers are close
    exact = elman.load(folder / "small2.safetensors", "float32", kind=elman.LanguagePredictor)
    assert exact.network.storage == "float32"
    ours, theirs = (one.stream().feed("abc ").probabilities for one in (small, exact))
    np.testing.assert_allclose(ours, theirs, rtol=0.05)
    assert not np.array_equal(ours, theirs)
