"""What a model is, and what it answers by its task, as JSON."""

from __future__ import annotations

import math
from typing import Any, Literal, cast

import numpy as np
from typing_extensions import TypedDict

from elman.errors import InputError, OptionError
from elman.language.sampling import Predictions
from elman.series.forecast import MOST_HISTORY
from elman.serve.schema import Predict

__all__ = [
    "MOST_SERIES",
    "Interval",
    "ModelCard",
    "Next",
    "Predicted",
    "PredictedOne",
    "Prediction",
    "SeriesForecast",
    "clean",
    "describe",
    "numbers_of",
    "plain",
    "predict",
    "predictions_of",
]

MOST_SERIES = 100
"""Series that are answered at once, where none is named."""
_MOST_NAMES = 1_000
_READS = {
    "language": "text",
    "classify": "sequences and labels them",
    "regress": "sequences as numbers",
    "tag": "sequences and tags their steps",
    "forecast": "series",
}


class ModelCard(TypedDict):
    """A model, what it can be asked, and how it was trained."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    task: str
    cell: str
    activation: str | None
    hidden_size: int
    num_layers: int
    parameters: int
    vocabulary: int | None
    level: str | None
    documents: str | None
    labels: list[Any] | None
    horizon: int | None
    series: list[str] | None
    panels: dict[str, str | None]
    """Why a panel of the page cannot show it; null where it can."""
    card: dict[str, Any]


class Prediction(TypedDict):
    """A token that may come next."""

    token: str
    probability: float


class Next(TypedDict):
    """What may come next, best first.

    ``unknown_probability`` is that of all tokens outside the vocabulary together; ``mostly_unknown`` says so
    in words where it is most of the probability, and is empty elsewhere.
    """

    predictions: list[Prediction]
    unknown_probability: float
    mostly_unknown: str


class _Share(TypedDict):
    label: str
    probability: float


class _History(TypedDict):
    time: list[Any]
    value: list[float | None]


class Interval(TypedDict):
    """One interval of a forecast, a number a step."""

    percent: float
    low: list[float | None]
    high: list[float | None]


class SeriesForecast(TypedDict):
    """The next values of a series."""

    id: str
    history: _History
    time: list[Any]
    median: list[float | None]
    mean: list[float | None]
    intervals: list[Interval]


class PredictedOne(TypedDict, total=False):
    """The answer for one input, by the model's task: of language that of `Next`, and the unknown words."""

    predictions: list[Prediction]
    unknown_probability: float
    mostly_unknown: str
    unknown: list[str]
    label: str
    probabilities: list[_Share]
    value: float
    tags: list[str]
    series: list[SeriesForecast]


class Predicted(PredictedOne, total=False):
    """The answer for `input`, or one for each of `inputs`."""

    answers: list[PredictedOne]


def clean(value: Any) -> Any:
    """Return `value` of JSON with None for every number that JSON cannot say."""
    if isinstance(value, dict):
        return {str(name): clean(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [clean(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def plain(array: np.ndarray) -> list[Any]:
    """Return an array as JSON says it: None where it is not finite, times in ISO 8601."""
    if array.dtype.kind == "M":
        return [str(time).removesuffix(".000000") for time in array]
    found: list[Any] = clean(array.tolist())
    return found


def describe(name: str, predictor: Any, created: int) -> ModelCard:
    """Return a model's entry in the list: what it is and which panels of the page it can fill."""
    config, codec = predictor.model.config, predictor.model.codec
    task, words = config.task, getattr(codec, "tokens", None)
    text = codec if task == "language" else words
    of = "forecasts and labels" if task == "language" else "language models"
    other = f"This panel is for {of}; {name} reads {_READS[task]}."
    labels = getattr(codec, "labels", None)
    forecast = task == "forecast"
    return {
        "id": name,
        "object": "model",
        "created": created,
        "owned_by": "elman",
        "task": task,
        "cell": config.cell,
        "activation": config.activation,
        "hidden_size": config.hidden_size,
        "num_layers": config.num_layers,
        "parameters": predictor.model.parameter_count,
        "vocabulary": None if text is None else len(text),
        "level": None if text is None else text.level,
        "documents": codec.documents if task == "language" else None,
        "labels": None if labels is None else [*labels.names][:_MOST_NAMES],
        "horizon": predictor.horizon if forecast else None,
        "series": [*predictor.history.ids][:_MOST_NAMES] if forecast else None,
        "panels": {
            "unrolled": None if task == "language" else other,
            "memory": None if task == "language" else other,
            "series": other if task == "language" else None,
        },
        "card": clean(dict(predictor.card)),
    }


def numbers_of(given: Any) -> Any:
    """Return a sequence as its task reads it: a text, tokens, or numbers ``[T, C]`` with NaN for null."""
    if isinstance(given, str) or (given and isinstance(given[0], str)):
        return given
    try:
        return np.array(given, np.float64)
    except ValueError:
        got, expected = "rows of different lengths", "rows of one length"
        raise InputError("input", got=got, expected=expected) from None


def predictions_of(ranked: Predictions) -> Next:
    """Return what comes next, best first, as JSON."""
    return {
        "predictions": [{"token": token, "probability": share} for token, share in ranked],
        "unknown_probability": ranked.unknown_probability,
        "mostly_unknown": ranked.note,
    }


def predict(predictor: Any, body: Predict) -> Predicted:
    """Return what a model answers by its task; raises InputError for what it cannot read."""
    task = predictor.model.config.task
    if task == "forecast":
        if body.inputs is not None:
            raise InputError("inputs", got="a model for forecast", expected="input, or series")
        return {"series": _forecast(predictor, body)}
    if (body.input is None) == (body.inputs is None):
        got = "nothing" if body.input is None else "input and inputs"
        raise InputError(
            "input", got=got, expected="what the model is to read, or a list as inputs"
        )
    if body.horizon is not None or body.series is not None:
        raise OptionError("horizon and series", got=f"a model for {task}", expected="forecast")
    given = [numbers_of(one) for one in ([body.input] if body.inputs is None else body.inputs)]
    answers = _language(predictor, given, body.k) if task == "language" else []
    if task == "regress":
        answers = [{"value": float(value)} for value in predictor.predict(given)]
    elif task == "tag":
        answers = [{"tags": [str(tag) for tag in tags]} for tags in predictor.predict(given)]
    elif task == "classify":
        names = predictor.labels.names
        answers = [_label(names, shares, body.k) for shares in predictor.predict_proba(given)]
    return cast(Predicted, answers[0]) if body.inputs is None else {"answers": answers}


def _language(predictor: Any, given: list[Any], k: int) -> list[PredictedOne]:
    if not all(isinstance(one, str) for one in given):
        raise InputError("input", got="a list", expected="text")
    return [
        cast(
            PredictedOne,
            predictions_of(predictor.predict_next(text, k))
            | {"unknown": [*predictor.unknown_tokens(text)]},
        )
        for text in given
    ]


def _label(names: Any, shares: np.ndarray, k: int) -> PredictedOne:
    best = np.argsort(-shares, kind="stable")[:k].tolist()
    return {
        "label": names[best[0]],
        "probabilities": [
            {"label": names[place], "probability": float(shares[place])} for place in best
        ],
    }


def _forecast(predictor: Any, body: Predict) -> list[SeriesForecast]:
    if body.input is not None:
        values = numbers_of(body.input)
        if isinstance(values, str | list) or values.ndim != 1:
            raise InputError("input", got="no list of numbers", expected="the next values")
        stream = predictor.stream(body.series)
        for value in values.tolist():
            stream.feed(value)
        found = stream.predict(body.horizon)
    else:
        ids = predictor.history.ids[:MOST_SERIES] if body.series is None else [body.series]
        found = predictor.forecast(predictor.history.select(ids), body.horizon)
    return [_of_series(found, place) for place in range(len(found.ids))]


def _of_series(found: Any, place: int) -> SeriesForecast:
    shown = min(MOST_HISTORY, max(6 * found.quantiles.shape[1], 50))
    intervals: list[Interval] = []
    for percent in found.intervals:
        low, high = (ends[place] for ends in found.interval(percent))
        intervals.append({"percent": percent, "low": plain(low), "high": plain(high)})
    return {
        "id": found.ids[place],
        "history": {
            "time": plain(found.history.times[place][-shown:]),
            "value": plain(found.history.values[place][-shown:]),
        },
        "time": plain(found.times[place]),
        "median": plain(found.median[place]),
        "mean": plain(found.mean[place]),
        "intervals": intervals,
    }
