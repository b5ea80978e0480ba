"""Every state after every step of a long text or of series, in bounded memory, and the same untrained.

A text for a language model is read in several lanes side by side, each warmed up by what stands before it;
where documents are lines each line is read from zeros, as in training. Of a text that is too long the last
part is read: the end of its text is what a language model holds out where no other text was given for that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np

from elman.cells import find
from elman.engine.layers import Layer, member_arrays
from elman.engine.passage import Layers
from elman.engine.shapes import whole_number
from elman.errors import DataError, InputError, OptionError
from elman.files.model import Model
from elman.inspect.properties import SeriesSteps, mark_series, mark_text
from elman.labels.batches import EncodedSequences, length_buckets
from elman.labels.dataset import Sequences
from elman.labels.network import SequenceNetwork
from elman.series.codec import ForecastCodec
from elman.text.words import LINE_END, plain_line_ends

__all__ = ["LEAST", "MOST", "Reading", "Unit", "read_states", "untrained"]

MOST = 60_000
"""Steps that are read at most; fewer of a large network, see `ROOM`."""
LEAST = 1_000
"""Steps below which nothing can be said of a unit."""
ROOM = 1 << 26
"""Numbers of all states of all steps, at most: 256 MiB."""
LANES, WARM_UP, CHUNK = 16, 400, 64
_CHARACTERS = 40  # of a text, kept for each step that may be read
_BATCH = 32


class Unit(NamedTuple):
    """A place in a state: its layer, which state, and the number in it, all from 0.

    The units of the way back of a bidirectional layer stand behind those of the way forward.

    >>> str(Unit(0, "hidden", 337)), str(Unit(1, "cell", 5)), Unit.of("1.c5")
    ('0.337', '1.c5', Unit(layer=1, state='cell', number=5))
    """

    layer: int
    state: str
    number: int

    def __str__(self) -> str:
        return f"{self.layer}.{'' if self.state == 'hidden' else self.state[0]}{self.number}"

    @classmethod
    def of(cls, name: str) -> Unit:
        """Return the unit of a name such as "0.337", or "0.c337" of a cell; raises OptionError."""
        layer, _, number = name.partition(".")
        state = "cell" if number.startswith("c") else "hidden"
        number = number.removeprefix("c")
        for part in (layer, number):
            if not (part.isascii() and part.isdigit() and len(part) < 9):
                expected = "LAYER.UNIT from 0, as 0.337, or 0.c337 of an lstm's cell"
                raise OptionError("unit", got=name, expected=expected)
        return cls(int(layer), state, int(number))


@dataclass(frozen=True, eq=False)
class Reading:
    """What was read and every state after it."""

    tokens: tuple[str, ...]
    """``[N]``: each step as it is shown, with the white space before it."""
    inputs: np.ndarray
    """What stood at each step: token numbers ``[N]``, or numbers ``[F, N]``."""
    marks: dict[str, np.ndarray]
    """Where each property holds, bool ``[N]``."""
    units: tuple[Unit, ...]
    states: np.ndarray
    """float32 ``[U, N]``."""

    def values(self, unit: Unit) -> np.ndarray:
        """Return the unit's value after each step, ``[N]``; raises OptionError."""
        if unit not in self.units:
            last = self.units[-1]
            states = ", ".join(dict.fromkeys(one.state for one in self.units))
            expected = f"layers to {last.layer}, units to {last.number}, of the states {states}"
            raise OptionError("unit", got=unit, expected=expected)
        return np.asarray(self.states[self.units.index(unit)])


def untrained(predictor: Any) -> Any:
    """Return `predictor` with weights as its training begins with, the same for the same configuration.

    Drawn with seed 0 from what the modules of `elman.training` draw from: embeddings normal, of deviation
    1/√E in a language model and .1 in a reader; recurrent layers uniform within ±1/√H; linear ones within
    ±1/√(their inputs). A language model's head bias and a forecaster's answer are 0, and the forget gates'
    first bias in an lstm, but a forecaster's, is 1.
    """
    model, draw = predictor.model, np.random.default_rng(0)
    arrays = {name: _begun(model, name, draw).astype(np.float32) for name in model.arrays}
    return type(predictor)(replace(model, arrays=arrays))


def _begun(model: Model, name: str, draw: np.random.Generator) -> np.ndarray:
    config: Any = model.config
    shape = model.arrays[name].shape
    language, forecast = config.task == "language", config.task == "forecast"
    part = re.sub(r"^members\.\d+\.", "", name)
    if part in ("embedding.weight", "alphabet.weight"):
        return draw.normal(0, shape[1] ** -0.5 if language else 0.1, shape)
    if (language and part == "head.bias") or (forecast and part.startswith(("output.", "skip."))):
        return np.zeros(shape)
    if part.startswith("layers."):
        inputs = config.hidden_size
    elif part.startswith("spelling."):
        inputs = config.spelling_size
    else:
        inputs = model.arrays[re.sub("bias$", "weight", name)].shape[1]
    drawn = draw.uniform(-(inputs**-0.5), inputs**-0.5, shape)
    if config.cell == "lstm" and not forecast and ".bias_ih" in part:
        drawn[inputs : 2 * inputs] = 1
    return drawn


def read_states(predictor: Any, what: Any = None, steps: int = MOST) -> Reading:
    """Return what the network's states are after each step of `what`.

    A text for a language model; for a reader of labelled texts one text a line, or a list of texts; for a
    forecaster series as it reads them, None for those it knows. At most `steps` steps are read, the last
    ones, and fewer where all their states would not fit into `ROOM` numbers. Raises DataError, InputError,
    OptionError.
    """
    model: Model = predictor.model
    steps = whole_number("steps", steps, LEAST)
    task = model.config.task
    if task == "forecast":
        return _series(predictor, what, steps)
    language = task == "language"
    if not language and model.codec.tokens is None:
        expected = "one that reads text, or a forecaster"
        raise InputError("units of a model that reads sequences of numbers", expected=expected)
    if what is None or (language and not isinstance(what, str)):
        got, expected = type(what).__name__, "a text" if language else "a text a line, or texts"
        got = "nothing" if what is None else got
        raise InputError("what the units are found on", got=got, expected=expected)
    return (_language if language else _labelled)(model, what, steps)


def _bounded(units: Sequence[Unit], steps: int) -> int:
    return max(1, min(steps, ROOM // len(units)))


def _demand(count: int, segment: int = 0) -> None:
    """Raise DataError where `count` tokens, or segments of a series, are too few."""
    if count < LEAST:
        got, expected, remedy = f"{count:,} tokens", f"at least {LEAST:,}", "pass more text"
        if segment:
            values = "1 value" if segment == 1 else f"{segment:,} values"
            expected += f", where a step is a segment of {values}"
            got, remedy = f"{count:,} steps", "pass longer series, or more of them"
        raise DataError("too little to find units on", got=got, expected=expected, remedy=remedy)


def _marked(tokens: Sequence[str], *, words: bool) -> dict[str, np.ndarray]:
    """Return the properties of each token: those of its last character."""
    last = np.array([*accumulate(map(len, tokens))], np.int64) - 1
    return {name: held[last] for name, held in mark_text("".join(tokens), words=words).items()}


def _tail(text: str, steps: int) -> str:
    """Return the end of a text that is far longer than what is read, from a line on where there is one."""
    text, most = plain_line_ends(text), _CHARACTERS * steps
    if len(text) <= most:
        return text
    text = text[-most:]
    return text[text.find(LINE_END, 0, most // 8) + 1 :]


def _shown(codec: Any, tokens: Sequence[str]) -> tuple[str, ...]:
    pairs = zip([None, *tokens], tokens, strict=False)
    return tuple(codec.separator(before, token) + token for before, token in pairs)


def _language(model: Model, text: str, steps: int) -> Reading:
    codec, config = model.codec, model.config
    layers = Layers(config, model.arrays, residual=config.residual, kernel=False)
    units = tuple(
        Unit(layer, state, number)
        for layer in range(config.num_layers)
        for state in layers.cell.states
        for number in range(config.hidden_size)
    )
    steps = _bounded(units, steps)
    text = _tail(text, steps)
    tokens, ids = codec.tokenise(text)[-steps:], codec.encode(text)[-steps:]
    if codec.end_id is not None and len(ids) and ids[0] != codec.end_id:
        tokens, ids = [LINE_END, *tokens], np.concatenate([[codec.end_id], ids])
    _demand(len(ids))
    states = np.empty((len(units), len(ids)), np.float32)
    embedding = model.arrays["embedding.weight"]
    runs = _runs(ids, codec.end_id)
    for some in (runs[first : first + _BATCH] for first in range(0, len(runs), _BATCH)):
        _read(layers, embedding, ids, some, states)
    shown = _shown(codec, tokens)
    return Reading(shown, ids, _marked(shown, words=codec.level == "word"), units, states)


_Run = tuple[int, int, int]


def _runs(ids: np.ndarray, end_id: int | None) -> list[_Run]:
    """Return what is read from zeros: where it begins, where it begins to count, where it ends."""
    if end_id is not None:
        ends = [*np.flatnonzero(ids == end_id).tolist(), len(ids)]
        lines = [(a, a, b) for a, b in pairwise(ends)]
        return sorted(lines, key=lambda line: line[2] - line[0])
    lanes = max(1, min(LANES, len(ids) // (4 * WARM_UP)))
    edges = [len(ids) * lane // lanes for lane in range(lanes + 1)]
    return [(max(0, a - WARM_UP), a, b) for a, b in pairwise(edges)]


def _read(
    layers: Layers, embedding: np.ndarray, ids: np.ndarray, runs: list[_Run], states: np.ndarray
) -> None:
    """Write into ``states [U, N]`` those of `runs`, read side by side."""
    longest, going = max(end - first for first, _, end in runs), None
    for begin in range(0, longest, CHUNK):
        size = min(CHUNK, longest - begin)
        inputs = np.zeros((size, len(runs)), np.int64)
        for lane, (first, _, end) in enumerate(runs):
            part = ids[first + begin : min(end, first + begin + size)]
            inputs[: len(part), lane] = part
        passage = layers.read(embedding[inputs], going)
        going = passage.end
        block = np.concatenate(
            [part[0].transpose(0, 3, 1, 2).reshape(-1, *inputs.shape) for part in passage.states]
        )
        for lane, (first, counted, end) in enumerate(runs):
            low, high = max(counted, first + begin), min(end, first + begin + size)
            if low < high:
                offset = first + begin
                states[:, low:high] = block[:, low - offset : high - offset, lane]


def _of_hidden(layers: Sequence[Layer]) -> tuple[Unit, ...]:
    return tuple(
        Unit(layer, "hidden", number)
        for layer, one in enumerate(layers)
        for number in range(len(one.directions) * one.hidden_size)
    )


def _outputs(layers: Sequence[Layer], x: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return the outputs of all layers, one beside the other, for packed rows, ``[N, U]``."""
    found = []
    for layer in layers:
        x, _ = layer.run(x, sizes)
        found.append(x)
    return np.concatenate(found, axis=1)


def _labelled(model: Model, what: Any, steps: int) -> Reading:
    """Read texts with the first member's layers: their outputs, each way."""
    one, codec = SequenceNetwork(model).members[0], model.codec
    units = _of_hidden(one.layers)
    steps = _bounded(units, steps)
    if isinstance(what, str):
        what = [line for line in _tail(what, steps).split(LINE_END) if line.strip()]
    given = Sequences.of(what or [""])
    if model.config.task == "tag":
        given = given.stepwise()
    encoded = EncodedSequences.of(codec, given)
    lengths = encoded.lengths
    kept = np.flatnonzero(np.cumsum(lengths[::-1])[::-1] <= steps)
    total = int(lengths[kept].sum())
    _demand(total)
    states = np.empty((len(units), total), np.float32)
    places = dict(
        zip(kept.tolist(), (np.cumsum(lengths[kept]) - lengths[kept]).tolist(), strict=True)
    )
    for some in (kept[rows] for rows in length_buckets(lengths[kept], _BATCH)):
        batch = encoded.batch(some)
        y = batch.steps.unpack(_outputs(one.layers, one.read(batch), batch.steps.sizes))
        for row, part in zip(some.tolist(), y, strict=True):
            states[:, places[row] : places[row] + len(part)] = part.T
    tokens: list[str] = []
    for item in (given.items[row] for row in kept):
        words = codec.tokens.tokenise(item) if given.kind == "text" else [*item]
        first, *rest = _shown(codec.tokens, words or [" "])
        tokens += [LINE_END + first, *rest]
    ids = np.concatenate([encoded.sequences[row] for row in kept])
    marks = _marked(tokens, words=codec.tokens.level == "word")
    return Reading(tuple(tokens), ids, marks, units, states)


def _series(predictor: Any, what: Any, steps: int) -> Reading:
    """Read windows that stand side by side in series, with the first member's layers: a step a segment."""
    series = predictor.history if what is None else predictor.read(what)
    model, codec = predictor.model, predictor.codec
    rule, own = codec.rule, member_arrays(model.arrays, 0)
    config = model.config
    cell = find(config.cell, config.activation)
    layers = [Layer(cell, own, f"layers.{k}") for k in range(config.num_layers)]
    units = _of_hidden(layers)
    steps = _bounded(units, steps)
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray, SeriesSteps, list[str]]] = []
    count = 0
    for window, place, origin in _windows(codec, series):
        inputs = window[: len(window) - rule.ahead]
        ends = origin - rule.segment * np.arange(len(inputs) - 1, -1, -1) - 1
        inside = ends >= 0
        read = np.maximum(inputs @ own["input.weight"].T + own["input.bias"], 0)
        y = _outputs(layers, read, np.ones(len(inputs), np.int64))
        values, times, ends = series.values[place], series.times[place], ends[inside]
        known = values[max(0, origin - rule.window) : origin]
        mean = np.nanmean(known) if np.isfinite(known).any() else np.nan
        before = np.where(ends > 0, values[ends - 1], np.nan)
        facts = SeriesSteps(
            series.clocks(times[ends]), values[ends], before, np.full(len(ends), mean)
        )
        shown = [f"\n{time}: {value:.6g}" for time, value in zip(facts[0], facts[1], strict=True)]
        parts.append((y[inside], inputs[inside], ends, facts, shown))
        count += len(ends)
        if count >= steps:
            break
    _demand(count, rule.segment)
    parts.reverse()
    facts = SeriesSteps(*(np.concatenate([part[3][k] for part in parts]) for k in range(4)))
    return Reading(
        tuple(word for part in parts for word in part[4]),
        np.concatenate([part[1] for part in parts]).T,
        mark_series(facts),
        units,
        np.ascontiguousarray(np.concatenate([part[0] for part in parts]).T),
    )


def _windows(codec: ForecastCodec, series: Any) -> Iterator[tuple[np.ndarray, int, int]]:
    """Yield windows that do not overlap, ``[S, F]``, their series and origins, from the end backwards."""
    cut = codec.windows(series)
    for place in range(len(series) - 1, -1, -1):
        for origin in range(len(series.values[place]), 0, -codec.rule.window):
            if np.isfinite(codec.rule.transform(series.values[place][:origin])).any():
                prepared, _ = cut.prepare(np.array([place]), np.array([origin]))
                yield prepared.inputs[:, 0], place, origin
