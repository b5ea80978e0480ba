"""What a network holds while it reads: states, gates and predictions at every step, as arrays."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from elman.engine.layers import log_softmax, member_arrays
from elman.engine.passage import Layers, Passage
from elman.engine.shapes import whole_number
from elman.errors import InputError, OptionError, printable
from elman.files.model import Model
from elman.inspect.states import Unit
from elman.labels.ablation import ablatable_sequence
from elman.labels.batches import EncodedSequences
from elman.labels.dataset import Sequences
from elman.labels.network import SequenceNetwork
from elman.language.differentiable import DifferentiableNetwork
from elman.language.sampling import ranked
from elman.language.stream import token_numbers
from elman.series.explain import one_series, span
from elman.tables.frames import frame
from elman.text.words import plain_line_ends

__all__ = ["ROOM", "Trace", "read_trace"]

STEPS = 512
"""Steps whose logits are computed at once."""
ROOM = 1 << 26
"""Numbers of all states and gates of all steps, at most: 256 MiB."""
_PREFIXES = 128  # steps of a labelled text of which each has an answer of its own
_ROWS = 24
_SHOWN = 64  # units of a picture


@dataclass(frozen=True, eq=False)
class Trace:
    """Everything a network held and said while it read one sequence, T steps of it."""

    task: str
    tokens: tuple[str, ...]
    """``[T]``: what was read at each step."""
    begins: tuple[int, ...]
    """The steps before which the network forgot all it knew: lines, where each stands alone."""
    states: dict[str, np.ndarray]
    """float32 ``[L, T, H]`` by name, after each step; the names of the way back end in "back"."""
    gates: dict[str, np.ndarray]
    """float32 ``[L, T, H]`` by name: the values that the gates and candidates had."""
    outputs: np.ndarray
    """float32 ``[T, D·H]``: what the last layer gave."""
    predictions: tuple[tuple[tuple[str, float], ...], ...]
    """After each step the most probable answers with their probability; empty where a step has none."""

    def values(self, unit: Unit | str) -> np.ndarray:
        """Return a unit's value after each step ``[T]``, named as in `Units`; raises OptionError."""
        unit = Unit.of(unit) if isinstance(unit, str) else unit
        one = self.states.get(unit.state)
        if one is None or not (unit.layer < len(one) and unit.number < one.shape[2]):
            L, _, H = next(iter(self.states.values())).shape
            expected = f"layers to {L - 1}, units to {H - 1}, of {', '.join(self.states)}"
            raise OptionError("unit", got=unit, expected=expected)
        return np.asarray(one[unit.layer, :, unit.number])

    def changing(self, count: int, layer: int = -1, state: str = "hidden") -> np.ndarray:
        """Return the numbers of the `count` units of a layer that change most; raises OptionError."""
        count = whole_number("units", count, 0)
        one = self._layer(layer, state)
        spread = one.std(axis=0) if self.tokens else np.empty(0)
        return np.sort(np.argsort(-spread, kind="stable")[:count])

    def _layer(self, layer: int, state: str) -> np.ndarray:
        """Return a state of a layer ``[T, H]``; raises OptionError."""
        if state not in [*self.states]:  # it may be a list, which has no hash
            raise OptionError("state", got=state, expected=" | ".join(self.states))
        found = self.states[state]
        return np.asarray(found[whole_number("layer", layer, -1, len(found) - 1)])

    def _chosen(self, units: Any, layer: int, state: str = "hidden") -> list[int]:
        """Return the numbers of units: of these, or of so many that change most; raises OptionError."""
        H = self.states["hidden"].shape[2]
        if isinstance(units, Sequence | np.ndarray) and not isinstance(units, str | bytes):
            return [whole_number("units", unit, 0, H - 1) for unit in units]
        found: list[int] = self.changing(units, layer, state).tolist()
        return found

    def to_dict(
        self, units: int | Sequence[int] | None = None, layer: int | None = None
    ) -> dict[str, Any]:
        """Return all of it for JSON, of one `layer` or all, and of `units`: these, so many, or all.

        So many, at most, are those that change most in the last of the layers. Raises OptionError.
        """
        L, _, H = next(iter(self.states.values())).shape
        if layer is not None:
            whole_number("layer", layer, 0, L - 1)
        layers = [*range(L)] if layer is None else [layer]
        chosen = [*range(H)] if units is None else self._chosen(units, layers[-1])

        def cut(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
            return {
                name: array[layers][..., chosen].astype(np.float64).round(6).tolist()
                for name, array in arrays.items()
            }

        said = [
            [{"token": token, "probability": probability} for token, probability in step]
            for step in self.predictions
        ]
        return {
            "task": self.task,
            "tokens": [*self.tokens],
            "begins": [*self.begins],
            "layers": layers,
            "units": chosen,
            "states": cut(self.states),
            "gates": cut(self.gates),
            "predictions": said,
        }

    def to_frame(self) -> Any:
        """Return each step's token and most probable answer as a data frame, or as columns without polars."""
        best = [step[0] if step else (None, None) for step in self.predictions]
        answers, probabilities = ([*part] for part in zip(*best, strict=True)) if best else ([], [])
        return frame({"token": self.tokens, "answer": answers, "probability": probabilities})

    def to_json(self, units: int | Sequence[int] | None = None, layer: int | None = None) -> str:
        """Return `to_dict` as one line of JSON; raises OptionError."""
        return json.dumps(self.to_dict(units, layer), ensure_ascii=False, allow_nan=False)

    def to_svg(
        self,
        *,
        layer: int = -1,
        state: str = "hidden",
        units: int | Sequence[int] = _SHOWN,
        width: float = 720,
        standalone: bool = True,
    ) -> str:
        """Return units over time as a picture: these, or so many of a layer that change most, 64 at most.

        `layer` is from 0 (-1: the last), `state` one of `states`. Raises OptionError.
        """
        from elman.draw import figures

        values, chosen, title = self._shown(layer, state, units)
        return figures.heat(
            values, self.tokens, chosen, title=title, width=width, standalone=standalone
        )

    def plot(
        self, *, layer: int = -1, state: str = "hidden", units: int | Sequence[int] = _SHOWN
    ) -> Any:
        """Return the same as a matplotlib figure; raises OptionError, MissingDependencyError."""
        from elman.draw import plots

        values, chosen, title = self._shown(layer, state, units)
        figure = plots.states(values, self.tokens, chosen, title)
        if not self.tokens:
            figure.axes[0].set_axis_off()
        return figure

    def _shown(self, layer: int, state: str, units: Any) -> tuple[np.ndarray, list[int], str]:
        """Return what a picture shows ``[U, T]``, of which units, and its title; raises OptionError."""
        one = self._layer(layer, state)
        H, place = one.shape[1], f"layer {layer % len(self.states[state])}, {state}"
        if not self.tokens:
            return np.empty((0, 0)), [], f"{place}: no step was read"
        named = isinstance(units, Sequence | np.ndarray)
        whole_number("units", len(units) if named else units, 1, _SHOWN)
        chosen, most = self._chosen(units, layer, state), "" if named else " that change most"
        said = f"all {H} units" if chosen == [*range(H)] else f"{len(chosen)} of {H:,} units{most}"
        return one[:, chosen].T, chosen, f"{place}: {said}"

    def __str__(self) -> str:
        L, T, H = next(iter(self.states.values())).shape
        lines = [f"{T:,} steps, {L} × {H} units of {', '.join(self.states)}"]
        first = max(0, T - _ROWS)
        if first:
            lines.append(f"the last {_ROWS}:")
        length = np.linalg.norm(self.outputs, axis=1)
        for step in range(first, T):
            said = "  ".join(
                f"{printable(token, 16)} {p:.2f}" for token, p in self.predictions[step][:3]
            )
            name = printable(self.tokens[step], 20)
            lines.append(f"{name:20} |output| {length[step]:7.3f}   {said}".rstrip())
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return self.to_svg()


def read_trace(predictor: Any, what: Any = None, *, k: int = 5) -> Trace:
    """Return what a model holds and says while it reads `what`, in the first of its members.

    A text or token numbers for a language model, one sequence for the labelled tasks, the name of a series
    for a forecaster (nothing where it knows one alone), whose steps are segments. Raises InputError,
    DataError.
    """
    k = whole_number("k", k, 1)
    task = predictor.model.config.task
    if task == "language":
        return _language(predictor, what, k)
    if task == "forecast":
        return _forecast(predictor, what)
    return _labelled(predictor, what, k)


def _demand(layers: Layers, T: int) -> None:
    """Raise InputError where the states of so many steps would not fit."""
    ways = sum(len(layer.directions) for layer in layers.layers)
    numbers = ways * layers.hidden_size * (len(layers.cell.states) + layers.cell.G)
    if T * numbers > ROOM:
        got, expected = f"{T:,} steps", f"at most {max(1, ROOM // numbers):,} of this network"
        raise InputError("the sequence is too long to trace", got=got, expected=expected)


def _language(predictor: Any, what: Any, k: int) -> Trace:
    network, model = predictor.network, predictor.model
    codec = model.codec
    numbers = token_numbers(codec, what)
    if isinstance(what, str):
        tokens = codec.tokenise(plain_line_ends(what))
    else:
        tokens = [codec.tokens[number] for number in numbers.tolist()]
    opened = DifferentiableNetwork(network, kernel=False)
    _demand(opened.layers, len(numbers))
    ends = [] if codec.end_id is None else np.flatnonzero(numbers == codec.end_id).tolist()
    passages, begins = [], []
    for first, end in pairwise([*dict.fromkeys([0, *ends]), len(numbers)]):
        # before anything stands what the codec says; a line's end is the first that the next line reads
        fresh = first > 0 or first in ends[:1]
        row = np.zeros_like(network.start) if fresh else network.start
        if first < end:
            passages.append(opened.passage(opened.embedding[numbers[first:end], None], row[None]))
            begins.append(first)
    # in blocks, so that the logits of all steps are never held at once
    blocks = [one.y[at : at + STEPS, 0] for one in passages for at in range(0, len(one.y), STEPS)]
    said = [tuple(ranked(codec, row, k)) for y in blocks for row in network.log_probabilities(y)]
    return _traced(model, tokens, opened.layers, passages, begins, said)


def _labelled(predictor: Any, what: Any, k: int) -> Trace:
    model: Model = predictor.model
    given = Sequences.of([what])
    if model.config.task == "tag":
        given = given.stepwise()
    encoded = EncodedSequences.of(model.codec, given)
    batch, one = encoded.batch([0]), SequenceNetwork(model).members[0]
    x = one.read(batch)
    layers = Layers(model.config, one.arrays, kernel=False)
    _demand(layers, len(x))
    names = predictor.labels.names if model.config.task != "regress" else ()

    def best(logits: np.ndarray) -> tuple[tuple[str, float], ...]:
        shares = np.exp(log_softmax(logits.astype(np.float64)))
        order = np.argsort(-shares, kind="stable")[:k].tolist()
        return tuple((names[i], float(shares[i])) for i in order)

    said: list[tuple[tuple[str, float], ...]] = [()] * len(x)
    tokens = [f"step {step}" for step in range(len(x))]
    if given.kind != "numbers":
        apart = ablatable_sequence(predictor.network, what, None)
        tokens = apart.names if len(apart.names) == len(x) else tokens
        if model.config.task == "classify" and len(tokens) <= _PREFIXES:
            # what it would say if the sequence ended there
            later = [tuple(range(step + 1, len(tokens))) for step in range(len(tokens))]
            said = [best(row) for row in apart.logits_without(later)]
    if model.config.task == "tag":
        (rows,) = predictor.network.step_logits(given)
        said = [best(row) for row in rows]
    return _traced(model, tokens, layers, [layers.read(x[:, None])], [0], said)


def _forecast(predictor: Any, what: Any) -> Trace:
    model, codec = predictor.model, predictor.codec
    own, rule = member_arrays(model.arrays, 0), codec.rule
    history = one_series(predictor, what)
    origin = np.array([len(history.values[0])])
    prepared, _ = codec.windows(history).prepare(np.array([0]), origin)
    inputs = prepared.inputs
    read = np.maximum(inputs @ own["input.weight"].T + own["input.bias"], 0)
    layers = Layers(model.config, own, kernel=False)
    _demand(layers, len(read))
    past = len(read) - rule.ahead
    size = rule.segment
    ends = [(size * step + 1, size * (step + 1)) for step in range(max(past, rule.ahead))]
    tokens = [f"{span(last, first)} before" for first, last in reversed(ends[:past])]
    tokens += [f"{span(*two)} ahead" for two in ends[: rule.ahead]]
    return _traced(model, tokens, layers, [layers.read(read)], [0], [()] * len(read))


def _traced(
    model: Model,
    tokens: list[str],
    layers: Layers,
    passages: list[Passage],
    begins: list[int],
    said: list[tuple[tuple[str, float], ...]],
) -> Trace:
    cell, L, H = layers.cell, len(layers.layers), layers.hidden_size
    ways = ("", " back")[: len(layers.layers[0].directions)]
    states = [np.stack(one.states) for one in passages]
    gates = [one.gates for one in passages]

    def joined(parts: Iterable[np.ndarray]) -> np.ndarray:
        return np.concatenate([np.empty((L, 0, H), np.float32), *parts], axis=1)

    return Trace(
        model.config.task,
        tuple(tokens),
        tuple(begins),
        {
            name + end: joined(part[:, way, place, :, 0] for part in states)
            for way, end in enumerate(ways)
            for place, name in enumerate(cell.states)
        },
        {
            name + end: joined(np.stack([one[name][way, :, 0] for one in part]) for part in gates)
            for way, end in enumerate(ways)
            for name in cell.gates
        },
        np.concatenate(
            [np.empty((0, H * len(ways)), np.float32), *(one.y[:, 0] for one in passages)]
        ),
        tuple(said),
    )
