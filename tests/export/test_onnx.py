"""Exports to ONNX answer as Python does: random networks, and every golden model."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from elman import tasks
from elman.cli import main
from elman.errors import InputError
from elman.export import write_onnx
from elman.files.model import Model
from elman.labels.batches import EncodedSequences
from elman.labels.network import SequenceNetwork, probabilities
from elman.labels.ngrams import NgramPart
from elman.labels.tag_chain import TagChain
from elman.language.network import Network
from elman.series.calendar import advance
from elman.series.predictor import ForecastPredictor
from factories import CELLS, make_model
from forecasters import make_random_forecaster
from labellers import make_labelled

# Both sides compute in float32, over at most some 100 terms for each number.
TOLERANCE = 1e-5
GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("*.safetensors"))


class Session:
    """An exported file in ONNX Runtime."""

    def __init__(self, path: Path) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = ort.InferenceSession(path, options)
        shapes = {value.name: value.shape[1:] for value in self._session.get_inputs()}
        self.inputs = [*shapes]
        self.state_shape = shapes.get("state", [])
        self.facts = json.loads(self._session.get_modelmeta().custom_metadata_map["elman"])

    def __call__(self, **inputs: Any) -> dict[str, np.ndarray]:
        names = [output.name for output in self._session.get_outputs()]
        return dict(zip(names, self._session.run(names, inputs), strict=True))


def sessions(model: Model, folder: Path) -> list[Session]:
    return [Session(path) for path in write_onnx(model, folder / "m.onnx")]


def close(ours: Any, theirs: Any, least: float = 1.0) -> None:
    """Compare relative to the largest number of an answer, but to `least` at least.

    Large states have larger rounding errors: a linear network has no bound of its states.
    """
    atol = TOLERANCE * max(least, np.abs(theirs).max(initial=0.0))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol)


def check_language(model: Model, folder: Path, seed: int) -> None:
    # The graphs compute in float32 with the weights that a model in int8 stores.
    network, draw = Network(model, storage="float32"), np.random.default_rng(seed)
    whole, single = sessions(model, folder)
    tokens = draw.integers(0, model.config.vocabulary_size, (3, 7))
    y, _ = network.forward(tokens.T, network.initial_state(3))
    expected = network.logits(y).swapaxes(0, 1)
    rows = network.state_size // network.hidden_size - 1
    state = np.zeros((3, rows, network.hidden_size), np.float32)
    lengths = np.array([7, 4, 1])
    answers = whole(tokens=tokens, state=state, lengths=lengths)
    for row, length in enumerate(lengths.tolist()):
        close(answers["logits"][row, :length], expected[row, :length])
    for t in range(tokens.shape[1]):
        one = single(tokens=tokens[:, t], state=state)
        state = one["new_state"]
        close(one["logits"], expected[:, t])
        ended = lengths == t + 1
        close(answers["new_state"][ended], state[ended])


def encoded_sequences(model: Model, draw: np.random.Generator) -> EncodedSequences:
    """Draw four encoded sequences of unequal lengths."""
    config, lengths = model.config, (5, 1, 7, 3)
    if (scaler := model.codec.scaler) is not None:
        numbers = [draw.normal(size=(T, len(scaler.mean))) for T in lengths]
        if scaler.indicator:
            numbers[0][1:3, 0] = np.nan
        return EncodedSequences([scaler.apply(rows) for rows in numbers])
    if not config.alphabet_size:
        return EncodedSequences([draw.integers(0, config.vocabulary_size, T) for T in lengths])
    words = draw.integers(0, config.vocabulary_size, 6)
    letters = [draw.integers(0, config.alphabet_size, draw.integers(1, 8)) for _ in words]
    return EncodedSequences([draw.integers(0, 6, T) for T in lengths], words, letters)


def padded(rows: list[np.ndarray], size: int = 0) -> np.ndarray:
    """Return rows of unequal lengths as one array; the rest is filled up with ones."""
    found = np.ones((len(rows), max(size, *map(len, rows)), *rows[0].shape[1:]), rows[0].dtype)
    for row, values in zip(found, rows, strict=True):
        row[: len(values)] = values
    return found


def inputs_of(model: Model, encoded: EncodedSequences) -> dict[str, np.ndarray]:
    """Return sequences as the exported graphs read them."""
    inputs = {"lengths": encoded.lengths}
    if model.codec.scaler is not None:
        scaler, C = model.codec.scaler, len(model.codec.scaler.mean)
        rows = [
            row[:, :C].astype(np.float64) * scaler.scale + scaler.mean for row in encoded.sequences
        ]
        if scaler.indicator:
            for row, values in zip(rows, encoded.sequences, strict=True):
                row[values[:, C:] == 1] = np.nan
        return inputs | {"numbers": padded(rows)}
    inputs["tokens"] = padded(encoded.token_ids)
    if encoded.letters is not None:
        letters, size = encoded.letters, max(map(len, encoded.letters))
        rows = [padded([letters[word] for word in row], size) for row in encoded.sequences]
        inputs["letters"] = padded(rows)
        sizes = [np.array([len(letters[word]) for word in row]) for row in encoded.sequences]
        inputs["letter_lengths"] = padded(sizes)
    return inputs


def check_labelled(
    model: Model, folder: Path, encoded: EncodedSequences, inputs: dict[str, np.ndarray]
) -> None:
    """Compare answers to a batch, and to the steps one by one where a network reads on."""
    network, config = SequenceNetwork(model), model.config
    whole, *single = sessions(model, folder)
    assert bool(single) == (not config.bidirectional and model.codec.wide is None)
    answers = whole(**inputs)
    lengths = encoded.lengths.tolist()
    if not config.kind.per_step:
        expected = network.encoded_logits(encoded)
        if config.kind.is_number:
            close(answers["answers"], model.codec.numbers(expected))
        else:
            close(answers["logits"], expected)
    elif config.transitions:
        best = documented("best_tags")
        for row, theirs, length in zip(
            answers["logits"], network.encoded_tags(encoded), lengths, strict=True
        ):
            assert best(row[:length], whole.facts) == [whole.facts["labels"][tag] for tag in theirs]
        chain = TagChain(
            *(np.array(whole.facts["transitions"][name]) for name in ("start", "weight", "end"))
        )
        rows = [row[:length] for row, length in zip(answers["logits"], lengths, strict=True)]
        for ours, theirs in zip(
            chain.log_probabilities(rows), network.encoded_step_logits(encoded), strict=True
        ):
            close(np.exp(ours), np.exp(theirs))
    else:
        for row, theirs in zip(
            answers["logits"], network.encoded_step_logits(encoded), strict=True
        ):
            close(row[: len(theirs)], theirs)
    if not config.kind.is_number and not config.transitions:
        close(answers["probabilities"], probabilities(answers["logits"]))
    for step in single:
        state = np.zeros((len(lengths), *step.state_shape), np.float32)
        for t in range(max(lengths)):
            now = {name: values[:, t] for name, values in inputs.items() if name != "lengths"}
            one = step(**now, state=state)
            state = one.pop("new_state")
            for name, value in one.items():
                if config.kind.per_step:
                    reading = encoded.lengths > t
                    close(value[reading], answers[name][reading, t])
                else:
                    ended = encoded.lengths == t + 1
                    close(value[ended], answers[name][ended])


def documented(name: str) -> Callable[..., Any]:
    """Return the function of this name from the page about exports."""
    page = (Path(__file__).parents[2] / "docs" / "export.md").read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    (block,) = (block for block in blocks if f"def {name}(" in block)
    names: dict[str, Any] = {}
    exec(block, names)
    return cast(Callable[..., Any], names[name])


def ngram_inputs(encoded: EncodedSequences, facts: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return the n-grams of texts as the page computes them."""
    ngrams = documented("ngrams")
    features, counts = [], []
    for ids, words in zip(encoded.token_ids, encoded.sequences, strict=True):
        letters = [encoded.letters[word].tolist() for word in words] if encoded.letters else []
        found, times = ngrams(ids.tolist(), letters, facts)
        features.append(np.array([*found, 0], np.int64))
        counts.append(np.array([*times, 0], np.float32))
    counts = [np.pad(row, (0, max(map(len, counts)) - len(row))) for row in counts]
    return {"ngrams": padded(features), "ngram_counts": np.stack(counts)}


def check_forecaster(model: Model, folder: Path) -> None:
    """Compare the quantiles after the end of every series of the model."""
    codec, rule, series = model.codec, model.codec.rule, model.codec.history
    predictor = tasks.open_model(model)
    assert isinstance(predictor, ForecastPredictor)
    expected = predictor.forecast(series, every_step=True).quantiles
    (session,) = sessions(model, folder)
    length = max(map(len, series.values))
    rows, covariates = [], []
    for number, values in enumerate(series.values):
        T, columns = len(values), []
        rows.append(np.concatenate([np.full(length - T, np.nan), values]))
        for scaler, column in ((codec.past, series.past), (codec.future, series.future)):
            if scaler is not None:
                known = np.full((rule.window + T + rule.reach, len(scaler.mean)), np.nan)
                given = column[number][: T + rule.reach]
                known[rule.window : rule.window + len(given)] = given
                if column is series.past:
                    known[rule.window + T :] = 7.0  # later values count for nothing
                columns.append(known[T:])
        if codec.calendar:
            steps = np.arange(T - rule.window, T + rule.reach)
            times = advance(series.starts[number], series.frequency, steps)
            found = documented("calendar")(times, session.facts)
            # Python reads no calendar before the beginning of a series
            found[steps < 0] = np.nan
            columns.append(found)
        covariates.append(
            np.concatenate([np.empty((rule.window + rule.reach, 0)), *columns], axis=1)
        )
    inputs = {"values": np.stack(rows), "covariates": np.stack(covariates), "static": series.static}
    answers = session(**{name: inputs[name] for name in session.inputs})["quantiles"]
    assert answers.shape == expected.shape
    for ours, theirs in zip(answers, expected, strict=True):
        close(ours, theirs, least=0.0)
    assert session.facts["levels"] == [*codec.levels]


# What each golden model for labelled sequences reads.
QUESTIONS: dict[str, list[Any]] = {
    "classify": ["Good, bad Aé!", "", "good bad aé é good"],
    "regress": [[[1.0, -2.25], [np.nan, -1.0]], [[4.0, -2.0]]],
    "tag": [["I", "like", "it"], ["tea"]],
}


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_models(path: Path, tmp_path: Path) -> None:
    """Every golden model answers as in Python: none of them is refused."""
    model = Model.load(path)
    task = model.config.task
    if task == "language":
        check_language(model, tmp_path, 0)
        return
    if task in QUESTIONS:
        sequences = SequenceNetwork(model).sequences(QUESTIONS[task])
        encoded = EncodedSequences.of(model.codec, sequences)
        inputs = inputs_of(model, encoded)
        if isinstance(model.codec.wide, NgramPart):
            inputs |= ngram_inputs(encoded, sessions(model, tmp_path)[0].facts)
        check_labelled(model, tmp_path, encoded, inputs)
        return
    check_forecaster(model, tmp_path)


COMBINATIONS = [(task, *cell) for task in ("language", *QUESTIONS, "forecast") for cell in CELLS]


def check_random(number: int, folder: Path) -> None:
    """Compare a random network; the number decides task, cell, sizes, directions and weights."""
    task, cell, activation = COMBINATIONS[number % len(COMBINATIONS)]
    draw = np.random.default_rng(number)
    if task in QUESTIONS:
        model = make_labelled(number, task, cell, activation)
        encoded = encoded_sequences(model, draw)
        check_labelled(model, folder, encoded, inputs_of(model, encoded))
    elif task == "forecast":
        check_forecaster(make_random_forecaster(number, cell, activation), folder)
    else:
        flags = dict(
            zip(("residual", "tied", "bias"), (draw.random(3) < 0.5).tolist(), strict=True)
        )
        model = make_model(
            cell, activation=activation, seed=number, scale=0.5, **flags,
            num_layers=int(draw.integers(1, 4)), hidden_size=int(draw.integers(1, 9)),
            level=str(draw.choice(["word", "char"])), documents=str(draw.choice(["file", "line"])),
        )  # fmt: skip
        check_language(model, folder, number)


# In 2477 a minGRU spells words, of which there are more than sequences.
@pytest.mark.parametrize("number", [*range(2 * len(COMBINATIONS)), 2477])
def test_random_networks(number: int, tmp_path: Path) -> None:
    check_random(number, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(2 * len(COMBINATIONS), 500, 20))
def test_random_networks_up_to_500(first: int, tmp_path: Path) -> None:
    """``pytest tests/export -k random_networks`` compares 500 networks, these among them."""
    for number in range(first, first + 20):
        check_random(number, tmp_path)


def test_a_model_too_large_for_a_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elman.export.onnx_file.MAX_WEIGHT_BYTES", 100)
    with pytest.raises(InputError, match="got weights of 3,120 bytes, with at most 100 in a file"):
        write_onnx(make_model(), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_the_command_writes_checked_files_with_their_vocabulary(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = make_model(card={"file": "/home/somebody/secret.txt", "sample": "an excerpt"})
    path = tmp_path / "tiny.safetensors"
    model.save(path)
    with pytest.raises(SystemExit) as ended:
        main(["export", str(path), "--onnx", "--json"])
    assert not ended.value.code
    files = [Path(name) for name in json.loads(capsys.readouterr().out)["files"]]
    assert files == [tmp_path / "tiny.onnx", tmp_path / "tiny-step.onnx"]
    for file in files:
        read = onnx.load(file)
        assert [opset.version for opset in read.opset_import] == [17]
        assert Session(file).facts["vocabulary"] == list(model.codec.tokens)
        assert b"secret" not in file.read_bytes()
        assert b"excerpt" not in file.read_bytes()


@pytest.mark.parametrize(
    ("form", "options", "suffixes"),
    [
        ("onnx", [], [".onnx", "-step.onnx"]),
        ("c", [], [".c", ".h"]),
        ("c", ["--int8"], [".c", ".h"]),
        ("html", [], [".html"]),
    ],
)
def test_every_form_has_its_command(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    form: str,
    options: list[str],
    suffixes: list[str],
) -> None:
    path = tmp_path / "m.safetensors"
    make_model("lstm").save(path)
    with pytest.raises(SystemExit) as stopped:
        main(["export", str(path), f"--{form}", *options])
    assert not stopped.value.code
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        str(tmp_path / f"m{end}") for end in suffixes
    ]
    for end, line in zip(suffixes, lines, strict=True):
        assert f"{(tmp_path / f'm{end}').stat().st_size:,} bytes" in line


def test_an_export_needs_a_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["export", str(tmp_path / "m.safetensors")])
    assert ended.value.code == 2
    assert (
        "form of the export: got nothing; expected one of --onnx, --c, --html"
        in capsys.readouterr().err
    )


def test_the_model_itself_is_never_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "m.safetensors"
    make_model("lstm").save(path)
    before = path.read_bytes()
    with pytest.raises(SystemExit) as stopped:
        main(["export", str(path), "--html", "-o", str(path)])
    assert stopped.value.code == 2
    assert "--output: got the model itself; expected another file" in capsys.readouterr().err
    assert path.read_bytes() == before
