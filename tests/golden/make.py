"""Makes the golden model files of this folder: a tiny model of each cell and task, from a formula.

Run ``python tests/golden/make.py`` once for a new format version; the files of the old one stay. What each
model answers is kept in answers.json.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from elman import cells, tasks
from elman.files.container import FORMAT, INT8_FORMAT
from elman.files.model import Model
from elman.labels.batches import EncodedSequences
from elman.labels.codec import SequenceCodec
from elman.labels.config import SequenceConfig
from elman.labels.convolutions import KERNELS, ConvolutionPart, Convolutions
from elman.labels.dataset import Sequences
from elman.labels.label_values import Labels
from elman.labels.ngrams import NgramPart, NgramReader
from elman.language.config import NetworkConfig
from elman.series.autoregression import Ridge
from elman.series.codec import ForecastCodec
from elman.series.config import ForecastConfig
from elman.series.frequency import Frequency
from elman.series.series import SeriesSet
from elman.series.window_rule import WindowRule
from elman.tables.scaler import Scaler
from elman.text.vocabulary import TextCodec

HERE = Path(__file__).parent
ANSWERS = HERE / "answers.json"


def golden_models() -> dict[str, Model]:
    """Return the models by the names of their files."""
    models = {cell: _language(number, cell) for number, cell in enumerate(cells.CELLS)}
    models |= {"classify": _classify(), "regress": _regress(), "tag": _tag(), "forecast": _future()}
    models |= {"ngrams": _ngrams(), "convolutions": _convolutions(), "forecast-ridge": _lagged()}
    models["forecast-bounded"] = _bounded()
    models |= {"chain": _chain(), "affixes": _affixes()}
    files = {f"{name}-{FORMAT}.safetensors": model for name, model in models.items()}
    return files | {f"int8-{INT8_FORMAT}.safetensors": models["lstm"].quantised()}


def _model(config: Any, codec: Any, card: dict[str, Any]) -> Model:
    arrays, start = {}, 0
    for name, shape in config.parameters().items():
        size = math.prod(shape)
        # Multiples of 1/64 are exact in float32: the bytes depend on no rounding.
        values = (np.arange(start, start + size) * 37 % 129 - 64) / 64
        arrays[name] = values.astype(np.float32).reshape(shape)
        start += size
    return Model(config, arrays, codec, card)


def _language(number: int, cell: str) -> Model:
    letters, words = ("a", "é", "\n"), ("pizza", "like", "I", "\n")
    codec = (
        TextCodec("char", ("<unk>", "<end>", *letters[:2]), "words", "line")
        if number % 2
        else TextCodec("word", ("<unk>", *words), "words", "file")
    )
    config = NetworkConfig(
        task="language",
        cell=cell,
        activation="relu" if cell == "rnn" else "tanh",
        vocabulary_size=len(codec.tokens),
        embedding_size=3 if number < 2 else 2,
        hidden_size=3,
        num_layers=1 + number % 2,
        residual=number % 2 == 1,
        tied=number < 2,
        bias=cell != "lstm",
    )
    card = {"version": "0.1.0", "held_out": {"loss": 1.25, "tokens": 8}, "file": "pizzería.txt"}
    return _model(config, codec, card)


def _classify() -> Model:
    """Words and how they are spelled, every pooling, two members."""
    codec = SequenceCodec(
        tokens=TextCodec("word", ("<unk>", "good", "bad")),
        alphabet=TextCodec("char", ("<unk>", "a", "é")),
        lowercase=True,
        labels=Labels.of(["né gative", "positive", ""]),
    )
    config = SequenceConfig(
        task="classify",
        cell="lstm",
        activation="tanh",
        vocabulary_size=3,
        embedding_size=2,
        alphabet_size=3,
        spelling_size=2,
        channels=0,
        hidden_size=2,
        num_layers=1,
        bidirectional=True,
        bias=True,
        pooling="attention+max+mean+last",
        outputs=3,
        members=2,
    )
    return _model(config, codec, {"columns": {"text": "text"}})


def _ngrams() -> Model:
    """A classifier with a wide part: every second n-gram of a text has a weight."""
    model = _classify()
    reader = NgramReader(2, 4, np.array([0, 1, 2], np.uint32))
    encoded = EncodedSequences.of(model.codec, Sequences.of(["good bad aé é"]))
    keys = np.unique(reader.read(encoded, [0]).key)[::2]
    # multiples of 1/8 are exact in float16
    values = (np.arange(3 * len(keys)) * 37 % 129 - 64) / 8
    wide = NgramPart(
        reader,
        keys,
        scale=np.arange(1, 1 + len(keys), dtype=np.float32) / 4,
        weights=values.astype(np.float16).reshape(-1, 3),
        bias=np.array([0.5, 0.0, -0.25], np.float32),
    )
    codec = replace(model.codec, wide=wide)
    return Model(model.config, model.arrays, codec, model.card)


def _regress() -> Model:
    """Numbers of which some are missing, two layers one way."""
    codec = SequenceCodec(
        scaler=Scaler(np.array([0.5, -2.0]), np.array([2.0, 0.25]), indicator=True),
        target=Scaler(np.array([10.0]), np.array([4.0])),
    )
    config = SequenceConfig(
        task="regress",
        cell="rnn",
        activation="relu",
        vocabulary_size=0,
        embedding_size=0,
        alphabet_size=0,
        spelling_size=0,
        channels=4,
        hidden_size=2,
        num_layers=2,
        bidirectional=False,
        bias=True,
        pooling="mean",
        outputs=1,
        members=1,
    )
    return _model(config, codec, {})


def _convolutions() -> Model:
    """A regression with a wide part: convolutions at two dilations, over some of the channels."""
    model = _regress()
    count, channels = len(KERNELS), 4
    # no convolution of the question is equal to a threshold
    thresholds = (np.arange(2 * count) * 37 % 129 - 64) / 64 + 1 / 128
    convolutions = Convolutions(
        np.array([1, 2]),
        np.arange(2 * count * channels).reshape(2, count, channels) % 3 != 1,
        thresholds.astype(np.float32).reshape(2, count, 1),
        np.array([[-0.5, 0.5, 0.25, 0.25]], np.float32),
    )
    values = (np.arange(convolutions.count) * 53 % 127 - 63) / 512
    wide = ConvolutionPart(
        convolutions,
        means=np.full(convolutions.count, 0.5, np.float32),
        weights=values.astype(np.float32)[:, None],
        bias=np.array([0.125]),
    )
    codec = replace(model.codec, wide=wide)
    return Model(model.config, model.arrays, codec, model.card)


def _tag() -> Model:
    """Tokens, tags that are whole numbers, no bias."""
    codec = SequenceCodec(
        tokens=TextCodec("word", ("<unk>", "I", "like", "tea"), "whitespace"),
        labels=Labels.of([7, -1]),
    )
    config = SequenceConfig(
        task="tag",
        cell="gru",
        activation="tanh",
        vocabulary_size=4,
        embedding_size=2,
        alphabet_size=0,
        spelling_size=0,
        channels=0,
        hidden_size=2,
        num_layers=1,
        bidirectional=True,
        bias=False,
        pooling="",
        outputs=2,
        members=1,
    )
    return _model(config, codec, {})


def _chain() -> Model:
    """Tags of entities, chained by scores of neighbours; ``I-x`` never follows ``O``."""
    model = _tag()
    codec = replace(model.codec, labels=Labels.of(["B-x", "I-x", "O"]))
    chained = _model(replace(model.config, outputs=3, members=2, transitions=True), codec, {})
    arrays = dict(chained.arrays)
    for member in range(2):
        name = f"members.{member}.transitions.weight"
        arrays[name] = np.where([[0], [0], [1]] & np.array([0, 1, 0]), -1e4, arrays[name])
        arrays[name] = arrays[name].astype(np.float32)
    return Model(chained.config, arrays, codec, {})


def _affixes() -> Model:
    """A tagger that reads spellings, and has vectors of the beginnings and ends of words."""
    model = _tag()
    codec = replace(model.codec, alphabet=TextCodec("char", ("<unk>", "e", "i", "t")))
    config = replace(model.config, alphabet_size=4, spelling_size=2, affixes=8)
    return _model(config, codec, {})


def _future() -> Model:
    """Two series by day with every kind of column, two seasons, logarithms, two members."""
    starts = np.array(["2024-02-27", "2024-03-01"], "datetime64[us]")
    values = (np.array([4.0, 8.0, 5.0, np.nan, 6.0, 9.0]), np.array([1.0, 2.0, 1.5, 2.5]))
    names = {
        "id": ("shop",),
        "time": ("day",),
        "target": ("visits",),
        "past": ("rain",),
        "future": ("offer",),
        "static": ("size", "kind=bar", "kind=café"),
    }
    daily = Frequency(1, "D")
    history = SeriesSet(
        ids=("Zürich", "Bern"),
        starts=starts,
        values=values,
        past=tuple(np.arange(len(some), dtype=np.float64)[:, None] for some in values),
        future=tuple(np.arange(len(some) + 3)[:, None] % 2 / 1.0 for some in values),
        static=np.array([[3.0, 1.0, 0.0], [np.nan, 0.0, 1.0]]),
        names=names,
        frequency=daily,
        categories={"kind": ("bar", "café")},
        warnings=(),
        reading={
            "timezone": None,
            "date_format": "%d.%m.%Y",
            "missing": "fill",
            "gaps": "mask",
            "duplicates": "last",
        },
    )
    rule = WindowRule(
        horizon=3,
        season=2,
        long_season=4,
        segment=2,
        window=4,
        log=True,
        covariates=4,
        past=1,
        static=3,
        naive_season=0,
        nonnegative=True,
        usual=0.125,
    )
    codec = ForecastCodec(
        rule=rule,
        levels=(0.1, 0.5, 0.9),
        corrections=np.array([-0.25, 0.0, 0.25]),
        calendar=True,
        past=Scaler(np.array([2.0]), np.array([1.5])),
        future=Scaler(np.array([0.5]), np.array([0.5])),
        static=Scaler(np.array([3.0, 0.5, 0.5]), np.array([1.0, 0.5, 0.5])),
        history=history,
    )
    config = ForecastConfig(
        task="forecast",
        cell="gru",
        activation="tanh",
        input_size=rule.input_size,
        hidden_size=2,
        num_layers=1,
        bias=True,
        segment=2,
        quantiles=3,
        members=2,
    )
    return _model(config, codec, {})


def _lagged() -> Model:
    """The same forecaster with a linear autoregression on more values than its window."""
    model = _future()
    weights = (np.arange(15.0).reshape(3, 5) * 7 % 15 - 7) / 16
    rule = replace(model.codec.rule, lags=5, lag_season=1)
    ridge = Ridge(weights, np.array([0.5, 0.75, 1.0]))
    return replace(model, codec=replace(model.codec, rule=rule, ridge=ridge))


def _bounded() -> Model:
    """The same forecaster with bounded lags too."""
    model = _lagged()
    weights = (np.arange(9.0).reshape(3, 3) * 5 % 9 - 4) / 16
    ridge = replace(model.codec.ridge, bounded_weights=weights, bound=1.25)
    return replace(model, codec=replace(model.codec, ridge=ridge))


def ask(model: Model) -> np.ndarray:
    """Return what a golden model answers to the question for its task."""
    predictor: Any = tasks.open_model(model)
    if model.config.task == "language":
        return np.array([share for _, share in predictor.predict_next("I like a", 2)])
    if model.config.task == "classify":
        return np.asarray(predictor.predict_proba(["Good, bad Aé!", ""]))
    if model.config.task == "regress":
        return np.asarray(predictor.predict([[[1.0, -2.25], [np.nan, -1.0]], [[4.0, -2.0]]]))
    if model.config.task == "tag":
        return np.concatenate(predictor.predict_proba([["I", "like", "it"], ["tea"]]))
    return np.asarray(predictor.predict().quantiles)


def main() -> None:
    """Write every file and answer, none over an older one."""
    answers = json.loads(ANSWERS.read_text("utf-8")) if ANSWERS.exists() else {}
    for name, model in golden_models().items():
        if not (HERE / name).exists():
            model.save(HERE / name)
        answers.setdefault(name, ask(model).tolist())
    ANSWERS.write_text(json.dumps(answers, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
