"""Exports to ONNX answer as Python does: random networks, and every golden model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from elman.cli import main
from elman.errors import InputError
from elman.export import write_onnx
from elman.files.model import Model
from factories import CELLS, make_model, open_language

# Both sides compute in float32, over at most some 100 terms for each number.
TOLERANCE = 1e-5
GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("*.safetensors"))


class Session:
    """An exported file in ONNX Runtime."""

    def __init__(self, path: Path) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = ort.InferenceSession(path, options)
        self.facts = json.loads(self._session.get_modelmeta().custom_metadata_map["elman"])

    def __call__(self, **inputs: Any) -> dict[str, np.ndarray]:
        names = [output.name for output in self._session.get_outputs()]
        return dict(zip(names, self._session.run(names, inputs), strict=True))


def sessions(model: Model, folder: Path) -> list[Session]:
    return [Session(path) for path in write_onnx(model, folder / "m.onnx")]


def close(ours: Any, theirs: Any) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE)


def check_language(model: Model, folder: Path, seed: int) -> None:
    network, draw = open_language(model).network, np.random.default_rng(seed)
    whole, single = sessions(model, folder)
    tokens = draw.integers(0, model.config.vocabulary_size, (3, 7))
    y, _ = network.forward(tokens.T, network.initial_state(3))
    expected = network.logits(y).swapaxes(0, 1)
    rows = network.state_size // network.hidden_size - 1
    state = np.zeros((3, rows, network.hidden_size), np.float32)
    answers = whole(tokens=tokens, state=state)
    close(answers["logits"], expected)
    for t in range(tokens.shape[1]):
        one = single(tokens=tokens[:, t], state=state)
        state = one["new_state"]
        close(one["logits"], expected[:, t])
    close(state, answers["new_state"])


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_models(path: Path, tmp_path: Path) -> None:
    """Language models answer as in Python; all others are refused in one line, and nothing is written."""
    model = Model.load(path)
    if model.config.task == "language":
        check_language(model, tmp_path, 0)
        return
    with pytest.raises(InputError) as refused:
        write_onnx(model, tmp_path / "m.onnx")
    assert (
        str(refused.value) == f"--onnx cannot hold this model: got a model for {model.config.task}"
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("cell", "activation"), CELLS)
def test_random_language_models(cell: str, activation: str, seed: int, tmp_path: Path) -> None:
    model = make_model(
        cell, activation=activation, seed=seed, scale=0.5,
        residual=seed == 1, tied=seed == 1, bias=seed == 0,
    )  # fmt: skip
    check_language(model, tmp_path, seed)


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
