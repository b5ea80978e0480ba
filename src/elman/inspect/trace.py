"""The states, gates and predictions of a network at every step of one sequence, as arrays."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from typing_extensions import TypedDict

from elman.engine.passage import Layers, Passage
from elman.engine.shapes import whole_number
from elman.errors import InputError, OptionError, printable
from elman.inspect.states import Unit
from elman.tables.frames import Frame, frame
from elman.tables.json_values import json_fields

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from elman.inspect.predictor import Predictor, Source


MAX_TRACE_NUMBERS = 1 << 26
"""Numbers in all states and gates of a trace together: 256 MiB of float32."""
_PRINTED_STEPS = 24
_MAX_DRAWN_UNITS = 64

StepPredictions: TypeAlias = tuple[tuple[str, float], ...]
"""The most probable answers after one step with their probabilities, best first, or none."""
_UnitChoice: TypeAlias = int | list[int] | tuple[int, ...] | np.ndarray
"""The numbers of units, or how many of the units that change most."""


class PredictionRow(TypedDict):
    """A token that may come next."""

    token: str
    probability: float


class TraceJson(TypedDict):
    """A trace as `Trace.to_dict` returns it; states and gates are lists ``[L, T, U]`` by name."""

    task: str
    tokens: list[str]
    begins: list[int]
    layers: list[int]
    units: list[int]
    states: dict[str, list[list[list[float]]]]
    gates: dict[str, list[list[list[float]]]]
    predictions: list[list[PredictionRow]]


@dataclass(frozen=True, eq=False)
class Trace:
    """Everything that a network computed while it read one sequence of T steps."""

    task: str
    tokens: tuple[str, ...]
    """Input at each step ``[T]``, as text."""
    begins: tuple[int, ...]
    """The steps before which the state was reset: line starts, where each line is a document."""
    states: dict[str, np.ndarray]
    """States after each step by name, float32 ``[L, T, H]``; backward directions have names with "back"."""
    gates: dict[str, np.ndarray]
    """Values of the gates and candidates by name, float32 ``[L, T, H]``."""
    outputs: np.ndarray
    """Outputs of the last layer, float32 ``[T, D·H]``."""
    predictions: tuple[StepPredictions, ...]
    """Predictions after each step ``[T]``."""

    @classmethod
    def of(
        cls,
        task: str,
        tokens: Sequence[str],
        layers: Layers,
        passages: Sequence[Passage],
        begins: Sequence[int],
        predictions: Sequence[StepPredictions],
    ) -> Trace:
        """Return the trace of passages through `layers`, which follow each other in time, one column each."""
        cell, L, H = layers.cell, len(layers.layers), layers.hidden_size
        ways = [*enumerate(("", " back")[: len(layers.layers[0].directions)])]

        def in_time(passages: Iterable[list[np.ndarray]]) -> np.ndarray:
            """Join values ``[T, B, H]`` of layers in all passages as ``[L, T, H]``, for the first column."""
            blocks = [np.stack(values)[:, :, 0] for values in passages]
            return np.concatenate([np.empty((L, 0, H), np.float32), *blocks], axis=1)

        states = [passage.states for passage in passages]
        gates = [passage.gates for passage in passages]
        # An empty text has no passage, but its arrays have the usual shapes.
        empty = np.empty((0, len(ways) * H), np.float32)
        return cls(
            task,
            tuple(tokens),
            tuple(begins),
            {
                name + end: in_time([layer[d, s] for layer in recorded] for recorded in states)
                for d, end in ways
                for s, name in enumerate(cell.states)
            },
            {
                name + end: in_time([layer[name][d] for layer in recorded] for recorded in gates)
                for d, end in ways
                for name in cell.gates
            },
            np.concatenate([empty, *(passage.y[:, 0] for passage in passages)]),
            tuple(predictions),
        )

    def values(self, unit: Unit | str) -> np.ndarray:
        """Return the value of a unit after each step, ``[T]``; `unit` may be its name. Raises OptionError."""
        unit = Unit.of(unit) if isinstance(unit, str) else unit
        layers = self.states.get(unit.state)
        if layers is None or not (unit.layer < len(layers) and unit.number < layers.shape[2]):
            L, _, H = next(iter(self.states.values())).shape
            expected = f"layers to {L - 1}, units to {H - 1}, of {', '.join(self.states)}"
            raise OptionError("unit", got=unit, expected=expected)
        return np.asarray(layers[unit.layer, :, unit.number])

    def changing(self, count: int, layer: int = -1, state: str = "hidden") -> np.ndarray:
        """Return the numbers of the `count` units of a layer that change most; raises OptionError."""
        count = whole_number("units", count, 0)
        values = self._layer(layer, state)
        # [H]: the deviation of each unit over the steps
        spread = values.std(axis=0) if self.tokens else np.empty(0)
        return np.sort(np.argsort(-spread, kind="stable")[:count])

    def _layer(self, layer: int, state: str) -> np.ndarray:
        """Return a state of a layer ``[T, H]``; raises OptionError."""
        # in a list, because a state that cannot be hashed must not raise TypeError
        if state not in [*self.states]:
            raise OptionError("state", got=state, expected=" | ".join(self.states))
        layers = self.states[state]
        return np.asarray(layers[whole_number("layer", layer, -1, len(layers) - 1)])

    def _chosen(self, units: _UnitChoice, layer: int, state: str = "hidden") -> list[int]:
        """Return the numbers of the units that are asked for; raises OptionError."""
        H = self.states["hidden"].shape[2]
        if isinstance(units, Sequence | np.ndarray) and not isinstance(units, str | bytes):
            return [whole_number("units", unit, 0, H - 1) for unit in units]
        chosen: list[int] = self.changing(units, layer, state).tolist()
        return chosen

    def to_dict(self, units: _UnitChoice | None = None, layer: int | None = None) -> TraceJson:
        """Return the trace for JSON, with six decimals.

        Args:
            units: The numbers of the units to return, or how many of them: those that change most in the last
                of the layers that are returned. By default all units.
            layer: The layer to return, from 0. By default all layers.

        Raises:
            OptionError: There is no such layer or unit.
        """
        L, _, H = next(iter(self.states.values())).shape
        if layer is not None:
            whole_number("layer", layer, 0, L - 1)
        layers = [*range(L)] if layer is None else [layer]
        # The units that change most are chosen in the last of the layers that are returned.
        chosen = [*range(H)] if units is None else self._chosen(units, layers[-1])

        def cut(arrays: dict[str, np.ndarray]) -> dict[str, list[list[list[float]]]]:
            return {
                name: array[layers][..., chosen].astype(np.float64).round(6).tolist()
                for name, array in arrays.items()
            }

        predictions = [
            [PredictionRow(token=token, probability=p) for token, p in step]
            for step in self.predictions
        ]
        arrays = {"states": cut(self.states), "gates": cut(self.gates)}
        return json_fields(
            self, TraceJson, layers=layers, units=chosen, predictions=predictions, **arrays
        )

    def to_frame(self) -> Frame:
        """Return each step's token and best answer as a polars data frame, or as columns without polars."""
        best = [step[0] if step else (None, None) for step in self.predictions]
        columns = {"answer": [answer for answer, _ in best], "probability": [p for _, p in best]}
        return frame({"token": self.tokens, **columns})

    def to_json(self, units: _UnitChoice | None = None, layer: int | None = None) -> str:
        """Return `to_dict` as one line of JSON; raises OptionError."""
        return json.dumps(self.to_dict(units, layer), ensure_ascii=False, allow_nan=False)

    def to_svg(
        self,
        *,
        layer: int = -1,
        state: str = "hidden",
        units: _UnitChoice = _MAX_DRAWN_UNITS,
        width: float = 720,
        standalone: bool = True,
    ) -> str:
        """Return a picture of units over time: a row for each unit, a column for each step.

        Args:
            layer: The layer, from 0; -1 is the last one.
            state: The name of a state, such as "hidden" or "cell".
            units: The numbers of the units, or how many of those that change most; at most 64.
            width: In pixels.
            standalone: Whether the picture contains its style sheet.

        Raises:
            OptionError: There is no such layer, state or unit.
        """
        from elman.draw import figures

        values, chosen, title = self._drawn(layer, state, units)
        return figures.heat(
            values, self.tokens, chosen, title=title, width=width, standalone=standalone
        )

    def plot(
        self, *, layer: int = -1, state: str = "hidden", units: _UnitChoice = _MAX_DRAWN_UNITS
    ) -> Figure:
        """Return the same picture as a matplotlib figure; raises OptionError, MissingDependencyError."""
        from elman.draw import plots

        values, chosen, title = self._drawn(layer, state, units)
        figure = plots.states(values, self.tokens, chosen, title)
        if not self.tokens:
            figure.axes[0].set_axis_off()
        return figure

    def _drawn(
        self, layer: int, state: str, units: _UnitChoice
    ) -> tuple[np.ndarray, list[int], str]:
        """Return the values of a picture ``[U, T]``, the numbers of its units, and its title."""
        values = self._layer(layer, state)
        H, name = values.shape[1], f"layer {layer % len(self.states[state])}, {state}"
        if not self.tokens:
            return np.empty((0, 0)), [], f"{name}: no step was read"
        count, suffix = units, " that change most"
        if isinstance(units, Sequence | np.ndarray):
            count, suffix = len(units), ""
        whole_number("units", count, 1, _MAX_DRAWN_UNITS)
        chosen = self._chosen(units, layer, state)
        shown = f"{len(chosen)} of {H:,} units{suffix}"
        shown = f"all {H} units" if chosen == [*range(H)] else shown
        return values[:, chosen].T, chosen, f"{name}: {shown}"

    def __str__(self) -> str:
        L, T, H = next(iter(self.states.values())).shape
        lines = [f"{T:,} steps, {L} × {H} units of {', '.join(self.states)}"]
        # Print the last steps only: a terminal shows some dozen lines.
        first = max(0, T - _PRINTED_STEPS)
        if first:
            lines.append(f"the last {_PRINTED_STEPS}:")
        # [T]: the length of the output vector shows how much the network says at a step
        lengths = np.linalg.norm(self.outputs, axis=1)
        for step in range(first, T):
            best = self.predictions[step][:3]
            answers = "  ".join(f"{printable(token, 16)} {p:.2f}" for token, p in best)
            name = printable(self.tokens[step], 20)
            lines.append(f"{name:20} |output| {lengths[step]:7.3f}   {answers}".rstrip())
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return self.to_svg()


def read_trace(predictor: Predictor, sequence: Source = None, *, k: int = 5) -> Trace:
    """Return states, gates and predictions of a model's first member while it reads one sequence.

    Args:
        predictor: What `elman.load` returns.
        sequence: A text or token numbers for a language model; one sequence for a classifier, regressor or
            tagger; for a forecaster the name of a series, which may be left out where it knows only one.
        k: How many predictions are kept after each step.

    Returns:
        The trace. A step of a forecaster is a segment of its window.

    Raises:
        InputError: The sequence is too long to keep all of it, or is no sequence.
        DataError: The sequence differs from the data of training.
        OptionError: `k` is less than 1.
    """
    return predictor.record_trace(sequence, whole_number("k", k, 1))


def check_trace_size(layers: Layers, steps: int) -> None:
    """Raise InputError where the states and gates of so many steps exceed `MAX_TRACE_NUMBERS`."""
    # Every layer keeps all states and gates of both directions.
    directions = sum(len(layer.directions) for layer in layers.layers)
    per_step = directions * layers.hidden_size * (len(layers.cell.states) + layers.cell.G)
    if steps * per_step > MAX_TRACE_NUMBERS:
        limit = max(1, MAX_TRACE_NUMBERS // per_step)
        got, expected = f"{steps:,} steps", f"at most {limit:,} of this network"
        raise InputError("the sequence is too long to trace", got=got, expected=expected)
