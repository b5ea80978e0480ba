"""Models as values and as files, and the golden files of every format version."""

from __future__ import annotations

import copy
import importlib.util
import json
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elman import cells
from elman.errors import InputError, ModelFileError, OptionError, OutputError, ShapeError
from elman.files import container
from elman.files.model import Model
from elman.language.config import NetworkConfig
from elman.tasks import TASKS
from elman.text.vocabulary import TextCodec

GOLDEN = Path(__file__).parents[1] / "golden"
_spec = importlib.util.spec_from_file_location("golden_make", GOLDEN / "make.py")
assert _spec is not None
assert _spec.loader is not None
make = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make)

MODELS = make.golden_models()
# A golden network makes fewer than 100 float32 roundings (2^-24 each) before an answer, with weights of at
# most 1. An exponential or a logarithm of a number below 8 multiplies their effect by at most 8.
ROUNDING = 8 * 100 * 2**-24
CONFIG = NetworkConfig("language", "gru", "tanh", 5, 3, 4, 2)
CODEC = TextCodec("char", ("<unk>", "a", "b", "c", "d"), "words", "file")


def zeros(config: NetworkConfig = CONFIG) -> dict[str, np.ndarray]:
    return {name: np.zeros(shape, np.float32) for name, shape in config.parameters().items()}


def assert_same(one: Model, two: Model) -> None:
    assert one.config == two.config
    (form, arrays), (other_form, others) = one.codec.to_parts(), two.codec.to_parts()
    assert form == other_form
    assert list(arrays) == list(others)
    for name, array in arrays.items():
        np.testing.assert_array_equal(others[name], array, strict=True)
    assert one.card == two.card
    assert list(one.arrays) == list(two.arrays)
    for name, array in one.arrays.items():
        np.testing.assert_array_equal(two.arrays[name], array, strict=True)


def test_parameters_are_named_and_shaped_as_documented() -> None:
    assert CONFIG.parameters() == {
        "embedding.weight": (5, 3),
        "layers.0.weight_ih": (12, 3),
        "layers.0.weight_hh": (12, 4),
        "layers.0.bias_ih": (12,),
        "layers.0.bias_hh": (12,),
        "layers.1.weight_ih": (12, 4),
        "layers.1.weight_hh": (12, 4),
        "layers.1.bias_ih": (12,),
        "layers.1.bias_hh": (12,),
        "head.weight": (5, 4),
        "head.bias": (5,),
    }
    plain = NetworkConfig("language", "mingru", "tanh", 5, 4, 4, 1, tied=True, bias=False)
    assert plain.parameters() == {
        "embedding.weight": (5, 4),
        "layers.0.weight_ih": (8, 4),
        "head.bias": (5,),
    }
    assert Model(CONFIG, zeros(), CODEC, {}).parameter_count == sum(
        array.size for array in zeros().values()
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "chess"}, "task: got chess; expected one of language"),
        ({"task": ["language"]}, "task"),
        ({"cell": "qrnn"}, "cell: got qrnn; expected one of rnn, gru"),
        ({"cell": 1}, "cell: got 1; expected text"),
        ({"cell": ["gru"]}, "cell"),
        ({"activation": "relu"}, "activation with cell gru"),
        ({"activation": {}}, "activation"),
        ({"vocabulary_size": 0}, "vocabulary_size: got 0; expected a whole number from 2"),
        ({"vocabulary_size": 1}, "vocabulary_size: got 1; expected a whole number from 2"),
        ({"embedding_size": 1 << 40}, "embedding_size"),
        ({"hidden_size": 4.0}, "hidden_size: got 4.0"),
        ({"num_layers": True}, "num_layers: got True"),
        ({"num_layers": 101}, "num_layers: got 101; expected a whole number from 1 to 100"),
        ({"residual": 1}, "residual: got 1; expected True or False"),
        ({"tied": None}, "tied: expected True or False"),
        ({"bias": "yes"}, "bias: got yes"),
        ({"tied": True}, "tied with embedding_size: got 3; expected the hidden_size, 4"),
    ],
)
def test_impossible_configurations_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        replace(CONFIG, **changes)


def test_model_refuses_arrays_of_another_network() -> None:
    with pytest.raises(ShapeError, match=r"got no head\.bias"):
        Model(CONFIG, {k: a for k, a in zeros().items() if k != "head.bias"}, CODEC, {})
    with pytest.raises(ShapeError, match="got one named extra"):
        Model(CONFIG, {**zeros(), "extra": np.zeros(1, np.float32)}, CODEC, {})
    for wrong in (np.zeros(5), np.zeros(4, np.float32), np.zeros((5, 1), np.float32)):
        with pytest.raises(ShapeError, match=r"parameter head\.bias: .*expected float32 \[5\]"):
            Model(CONFIG, {**zeros(), "head.bias": wrong}, CODEC, {})
    larger = replace(CONFIG, vocabulary_size=6)
    with pytest.raises(InputError, match="got 5 tokens; expected vocabulary_size, 6"):
        Model(larger, zeros(larger), CODEC, {})


def test_the_arrays_of_a_model_are_read_only() -> None:
    given = zeros()
    model = Model(CONFIG, given, CODEC, {})
    for array in model.arrays.values():
        with pytest.raises(ValueError, match="read-only"):
            array[:] = 1
    assert given["head.bias"].flags.writeable


def test_sizes_may_be_numpy_integers(tmp_path: Path) -> None:
    config = replace(CONFIG, **dict[str, Any](hidden_size=np.int64(4)))
    Model(config, zeros(), CODEC, {}).save(tmp_path / "model")
    assert Model.load(tmp_path / "model").config == CONFIG


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_model_refuses_numbers_that_are_not_finite(number: float) -> None:
    arrays = zeros()
    arrays["layers.1.weight_hh"][3, 2] = number
    with pytest.raises(InputError, match=r"layers\.1\.weight_hh: got 1 numbers that are not"):
        Model(CONFIG, arrays, CODEC, {})


def test_a_network_of_the_most_layers_is_saved_and_loaded(tmp_path: Path) -> None:
    config = NetworkConfig("language", "lstm", "tanh", 5, 1, 1, 100)
    model = Model(config, zeros(config), CODEC, {})
    model.save(tmp_path / "model")
    assert_same(Model.load(tmp_path / "model"), model)


@pytest.mark.parametrize("name", MODELS)
def test_golden_files_are_written_to_the_byte(tmp_path: Path, name: str) -> None:
    MODELS[name].save(tmp_path / name)
    assert (tmp_path / name).read_bytes() == (GOLDEN / name).read_bytes()


def test_golden_files_of_every_version_load() -> None:
    files = sorted(path.name for path in GOLDEN.glob("*.safetensors"))
    # language models have a file for each cell
    names = {*cells.CELLS, *TASKS} - {"language"}
    assert set(files) >= {f"{name}-1.safetensors" for name in names}
    for name in files:
        model = Model.load(GOLDEN / name)
        assert_same(model, MODELS[name])
        assert model.parameter_count == sum(array.size for array in model.arrays.values())


@pytest.mark.parametrize("name", MODELS)
def test_golden_files_answer_as_they_did(name: str) -> None:
    answers = json.loads(make.ANSWERS.read_text("utf-8"))
    found = make.ask(Model.load(GOLDEN / name))
    np.testing.assert_allclose(found, answers[name], rtol=ROUNDING, atol=0)


@pytest.mark.parametrize("name", MODELS)
def test_models_in_int8_are_saved_loaded_and_answer(tmp_path: Path, name: str) -> None:
    small = MODELS[name].quantised()
    small.save(tmp_path / "model")
    loaded = Model.load(tmp_path / "model")
    assert_same(loaded, small)
    assert loaded.storage == "int8"
    assert loaded.digest() == small.digest()
    loaded.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "model").read_bytes()
    for name_, array in MODELS[name].arrays.items():
        step = np.abs(array).max(axis=-1, keepdims=True) / 127
        exact = array.ndim == 1 or "transitions" in name_
        assert (np.abs(loaded.arrays[name_] - array) <= (0 if exact else 0.51 * step)).all()
    np.testing.assert_allclose(make.ask(loaded), make.ask(small), rtol=1e-6)
    # what it answers is close to what the model with all bits does
    assert np.abs(make.ask(loaded) / make.ask(MODELS[name]) - 1).max() < 0.1


def test_a_large_model_in_int8_takes_a_quarter_of_the_bytes(tmp_path: Path) -> None:
    config = replace(CONFIG, hidden_size=256, embedding_size=256)
    model = Model(config, zeros(config), CODEC, {})
    for one, name in ((model, "model"), (model.quantised(), "small")):
        one.save(tmp_path / name)
    assert (tmp_path / "small").stat().st_size < 0.27 * (tmp_path / "model").stat().st_size


def change_int8(path: Path, **changes: np.ndarray) -> None:
    arrays, metadata = container.read(GOLDEN / "int8-2.safetensors")
    container.write(path, arrays | {k.replace("__", "."): v for k, v in changes.items()}, metadata)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scales": np.zeros((), np.float32)}, "the array scales: got float32 .*expected float32"),
        ({"scales": np.zeros(3, np.float32)}, r"scales: got float32 \[3\]; expected float32 \["),
        (
            {"head__weight": np.full((5, 3), 126, np.int8)},
            r"integers of head\.weight: expected 127",
        ),
        ({"head__weight": np.full((5, 3), -128, np.int8)}, "expected 127"),
        ({"head__bias": np.zeros(5, np.int8)}, "expected float32"),
        ({"head__weight": np.zeros((5, 3), np.float32)}, "array scales: got"),
        ({"layers__0__weight_ih": np.full((9, 9), 127, np.int8)}, "array scales: got"),
    ],
)
def test_int8_files_that_save_never_writes_are_refused(
    tmp_path: Path, changes: dict[str, np.ndarray], message: str
) -> None:
    change_int8(tmp_path / "model", **changes)
    with pytest.raises(ModelFileError, match=message):
        Model.load(tmp_path / "model")


def test_the_largest_numbers_stay_finite_in_int8(tmp_path: Path) -> None:
    model, name = MODELS["gru-1.safetensors"], "embedding.weight"
    weights = np.full_like(model.arrays[name], np.finfo(np.float32).max)
    weights[0] *= -1
    replace(model, arrays={**model.arrays, name: weights}, storage="int8").save(tmp_path / "model")
    np.testing.assert_allclose(Model.load(tmp_path / "model").arrays[name], weights, rtol=1e-4)


@pytest.mark.parametrize("scale", [np.nan, np.inf, 2.0**122, 0, -1, 1 / 3, 1e-40])
def test_int8_scales_that_save_never_writes_are_refused(tmp_path: Path, scale: float) -> None:
    arrays, _ = container.read(GOLDEN / "int8-2.safetensors")
    scales = arrays["scales"].copy()
    scales[0] = scale
    change_int8(tmp_path / "model", scales=scales)
    with pytest.raises(ModelFileError, match="scales of 16 bits"):
        Model.load(tmp_path / "model")


@pytest.mark.parametrize("name", ["gru-1.safetensors", "classify-1.safetensors"])
def test_a_model_is_pickled_and_copied(name: str) -> None:
    model = MODELS[name]
    assert_same(pickle.loads(pickle.dumps(model)), model)
    assert_same(copy.deepcopy(model), model)


def rewrite(path: Path, **changes: Any) -> None:
    """Write a golden model with changed arrays or metadata as an undamaged file."""
    arrays, metadata = container.read(GOLDEN / "rnn-1.safetensors")
    for key, value in changes.items():
        part = metadata if key in metadata else arrays
        key = key.replace("__", ".")
        part[key] = value
        if value is None:
            del part[key]
    container.write(path, arrays, metadata)


def turned(value: dict[str, Any]) -> dict[str, Any]:
    return dict(reversed(value.items()))


def golden_metadata() -> dict[str, Any]:
    return container.read(GOLDEN / "rnn-1.safetensors")[1]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"config": turned(golden_metadata()["config"])}, id="order of config"),
        pytest.param({"codec": turned(golden_metadata()["codec"])}, id="order of codec"),
        pytest.param({"codec": {**golden_metadata()["codec"], "more": 1}}, id="key of codec"),
        pytest.param({"codec__more": np.zeros(1)}, id="array of codec"),
    ],
)
def test_a_model_has_exactly_one_file(tmp_path: Path, changes: dict[str, Any]) -> None:
    rewrite(tmp_path / "model", **changes)
    with pytest.raises(ModelFileError, match="expected the form that save gives"):
        Model.load(tmp_path / "model")


def test_metadata_in_another_order_is_refused(tmp_path: Path) -> None:
    arrays, metadata = container.read(GOLDEN / "rnn-1.safetensors")
    container.write(tmp_path / "model", arrays, turned(metadata))
    with pytest.raises(ModelFileError, match="expected the form that save gives"):
        Model.load(tmp_path / "model")


def config_with(**changes: Any) -> dict[str, Any]:
    _, metadata = container.read(GOLDEN / "rnn-1.safetensors")
    return {**metadata["config"], **changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "checkpoint"}, "kind of file: got checkpoint; expected model; pass the model"),
        ({"kind": None}, "kind of file: expected model"),
        ({"card": None}, "its metadata: got config, codec; expected config, codec, card"),
        ({"card": [1]}, "metadata card"),
        ({"codec": "word"}, "metadata codec"),
        ({"codec": {}}, "vocabulary"),
        ({"codec": {"level": [], "split": 0, "documents": {}}}, "vocabulary"),
        ({"config": {}}, "its task: expected one of language"),
        ({"config": config_with(wings=2)}, "its config: got other fields: wings"),
        ({"config": config_with(hidden_size=4)}, "parameter|tied"),
        ({"config": config_with(cell="gru", activation="tanh")}, "parameter"),
        ({"config": config_with(cell="os.system")}, "cell: got os.system"),
        ({"config": config_with(num_layers=[1])}, "num_layers"),
        ({"config": config_with(num_layers=10**18)}, "num_layers"),
        ({"head__bias": None}, r"no head\.bias"),
        ({"head__bias": np.array([0, 1, 2, np.nan, 4], np.float32)}, "not finite"),
        ({"head__bias": np.zeros(5)}, "expected float32"),
        ({"head__scale": np.zeros(5)}, r"one named head\.scale"),
        ({"codec__bytes": None}, r"codec\.bytes"),
        ({"codec__lengths": None}, r"codec\.lengths"),
        ({"codec__bytes": np.frombuffer(b"<unk>\xff\xff\xff", np.uint8)}, "vocabulary"),
        ({"codec__lengths": np.array([5, 4, 4, 1, 0xFFFFFFFF], np.uint32)}, "vocabulary"),
        ({"codec__lengths": np.array([5, 5, 4, 1], np.uint32)}, "vocabulary"),
        ({"codec__lengths": np.zeros((5, 1), np.uint32)}, r"codec\.lengths"),
    ],
)
def test_undamaged_files_of_no_model_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = tmp_path / "model.safetensors"
    rewrite(path, **changes)
    with pytest.raises(ModelFileError, match=message) as caught:
        Model.load(path)
    assert "model.safetensors" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unchanged_rewrite_is_a_model(tmp_path: Path) -> None:
    rewrite(tmp_path / "model")
    assert (tmp_path / "model").read_bytes() == (GOLDEN / "rnn-1.safetensors").read_bytes()


def test_a_card_that_json_cannot_hold_is_refused(tmp_path: Path) -> None:
    model = replace(MODELS["rnn-1.safetensors"], card={"loss": float("nan")})
    with pytest.raises(InputError, match="metadata card"):
        model.save(tmp_path / "model")
    with pytest.raises(OutputError, match="a folder of that name"):
        MODELS["rnn-1.safetensors"].save(tmp_path)


def test_a_vocabulary_of_fifty_thousand_words_is_saved_and_loaded(tmp_path: Path) -> None:
    words = ("<unk>", "\n", *(f"w{k}" for k in range(50_000)))
    config = NetworkConfig("language", "rnn", "linear", len(words), 1, 1, 1, tied=True)
    model = Model(config, zeros(config), TextCodec("word", words, "whitespace", "file"), {})
    model.save(tmp_path / "model")
    assert_same(Model.load(tmp_path / "model"), model)


def test_loading_needs_no_torch() -> None:
    script = f"""
import sys
from elman.files.model import Model
Model.load({str(GOLDEN / "gru-1.safetensors")!r})
assert not {{"torch", "safetensors", "rich", "typer"}} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
