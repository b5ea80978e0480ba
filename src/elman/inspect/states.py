"""The states of a network after every step of a long input, recorded in bounded memory.

Each task records its own states (`Predictor.record_states`). This module holds the record, the limits that
keep it in memory, and the helpers that the tasks share. Of a longer input only the last part is recorded:
where training had no validation text of its own, it held out the end of its text, so the end is new to the
network.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from elman.engine.layers import Layer
from elman.engine.shapes import whole_number
from elman.errors import DataError, OptionError
from elman.inspect.properties import mark_text
from elman.text.vocabulary import TextCodec
from elman.text.words import LINE_END, plain_line_ends

if TYPE_CHECKING:
    from elman.files.model import Model
    from elman.inspect.predictor import InitialWeights, Predictor, Source


MAX_STEPS = 60_000
"""Steps that are recorded by default; a large network has fewer, see `MAX_STATE_NUMBERS`."""
MIN_STEPS = 1_000
"""Smallest number of steps; with fewer, the scores of units would depend on chance."""
MAX_STATE_NUMBERS = 1 << 26
"""Numbers in all recorded states together: 256 MiB of float32."""
_CHARACTERS_PER_STEP = 40  # of a text that is kept before it is split into tokens


class Unit(NamedTuple):
    """A unit of a network by its layer, the name of its state, and its number, all counted from 0.

    In a bidirectional layer the units of the backward direction have the numbers after those of the forward
    one.

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
        """Return the unit with a name such as "0.337", or "0.c337" for an lstm's cell; raises OptionError."""
        layer, _, number = name.partition(".")
        state = "cell" if number.startswith("c") else "hidden"
        number = number.removeprefix("c")
        for digits in (layer, number):
            if not (digits.isascii() and digits.isdigit() and len(digits) < 9):
                expected = "LAYER.UNIT from 0, as 0.337, or 0.c337 of an lstm's cell"
                raise OptionError("unit", got=name, expected=expected)
        return cls(int(layer), state, int(number))


@dataclass(frozen=True, eq=False)
class RecordedStates:
    """The N steps of an input, and the value of every unit after each of them."""

    tokens: tuple[str, ...]
    """``[N]``: each step as text, with the white space before it."""
    inputs: np.ndarray
    """The input at each step: token numbers ``[N]``, or numbers ``[F, N]``."""
    marks: dict[str, np.ndarray]
    """Properties by name: whether each holds after each step, bool ``[N]``."""
    units: tuple[Unit, ...]
    states: np.ndarray
    """float32 ``[U, N]``: a row for each unit."""

    def values(self, unit: Unit) -> np.ndarray:
        """Return the unit's value after each step, ``[N]``; raises OptionError."""
        if unit not in self.units:
            last = self.units[-1]
            states = ", ".join(dict.fromkeys(known.state for known in self.units))
            expected = f"layers to {last.layer}, units to {last.number}, of the states {states}"
            raise OptionError("unit", got=unit, expected=expected)
        # [N], a row of the array of all states
        return np.asarray(self.states[self.units.index(unit)])


def read_states(
    predictor: Predictor, source: Source = None, steps: int = MAX_STEPS
) -> RecordedStates:
    """Return the states of the network after each step of `source`.

    Args:
        predictor: What `elman.load` returns.
        source: A text for a language model; a list of texts, or a text with one on each line, for a
            classifier, regressor or tagger; rows of series for a forecaster, by default those in its file.
        steps: How many steps are recorded at most, counted from the end.

    Returns:
        The steps, their properties and the states. There are fewer steps than asked for where all states
        would have more than `MAX_STATE_NUMBERS` numbers.

    Raises:
        DataError: The source has fewer than `MIN_STEPS` steps, or differs from the data of training.
        InputError: The source is missing, or the model reads sequences of numbers.
        OptionError: `steps` is less than `MIN_STEPS`.
    """
    return predictor.record_states(source, whole_number("steps", steps, MIN_STEPS))


def untrained(predictor: Predictor) -> Predictor:
    """Return a predictor with the same configuration and the weights of a network before its training.

    The weights are drawn with seed 0 from the distributions that training draws from. Recurrent layers are
    uniform within ±1/√H, linear layers within ±1/√(their inputs), embeddings normal; what differs between the
    tasks is in `Predictor.initial_weights`.
    """
    model, draw = predictor.model, np.random.default_rng(0)
    begins = predictor.initial_weights
    arrays = {name: _initial(model, name, begins, draw) for name in model.arrays}
    return type(predictor)(replace(model, arrays=arrays))


def _initial(
    model: Model, name: str, begins: InitialWeights, draw: np.random.Generator
) -> np.ndarray:
    config = model.config
    shape = model.arrays[name].shape
    # Each member of an ensemble is drawn like a single network.
    parameter = re.sub(r"^members\.\d+\.", "", name)
    if parameter in ("embedding.weight", "alphabet.weight"):
        deviation = begins.embeddings(shape[1], model.arrays)
        return draw.normal(0, deviation, shape).astype(np.float32)
    if parameter.startswith(begins.zero):
        return np.zeros(shape, np.float32)
    # PyTorch draws both matrices and both biases of a recurrent layer by its hidden size.
    if parameter.startswith("layers."):
        inputs = config.hidden_size
    elif parameter.startswith("spelling."):
        inputs = config.spelling_size
    else:
        inputs = model.arrays[re.sub("bias$", "weight", name)].shape[1]
    drawn = draw.uniform(-(inputs**-0.5), inputs**-0.5, shape)
    if begins.open_forget_gates and config.cell == "lstm" and ".bias_ih" in parameter:
        # PyTorch's gate order is input, forget, candidate, output; each takes one hidden size
        drawn[inputs : 2 * inputs] = 1
    return drawn.astype(np.float32)


def max_recorded_steps(units: Sequence[Unit], steps: int) -> int:
    """Return `steps`, or as many of them as `MAX_STATE_NUMBERS` allows."""
    return max(1, min(steps, MAX_STATE_NUMBERS // len(units)))


def check_step_count(count: int, segment: int = 0) -> None:
    """Raise DataError where there are fewer than `MIN_STEPS` tokens, or segments of `segment` values."""
    if count >= MIN_STEPS:
        return
    got, expected, remedy = f"{count:,} tokens", f"at least {MIN_STEPS:,}", "pass more text"
    if segment:
        expected += f", where a step is a segment of {segment:,} value{'s' * (segment != 1)}"
        got, remedy = f"{count:,} steps", "pass longer series, or more of them"
    raise DataError("too little to find units on", got=got, expected=expected, remedy=remedy)


def mark_tokens(tokens: Sequence[str], *, words: bool) -> dict[str, np.ndarray]:
    """Return by name whether each property of a text holds at the last character of each token."""
    # [N]: the last character of each token in the joined text
    last = np.array([*accumulate(map(len, tokens))], np.int64) - 1
    return {name: marks[last] for name, marks in mark_text("".join(tokens), words=words).items()}


def end_of_text(text: str, steps: int) -> str:
    """Return as much of the end of a text as `steps` tokens need, from the start of a line if one is near."""
    text, size = plain_line_ends(text), _CHARACTERS_PER_STEP * steps
    if len(text) <= size:
        return text
    text = text[-size:]
    # Without a line end in the first eighth, the text starts within a line.
    return text[text.find(LINE_END, 0, size // 8) + 1 :]


def spaced_tokens(codec: TextCodec, tokens: Sequence[str]) -> tuple[str, ...]:
    """Return each token with the white space that the codec puts before it."""
    pairs = zip([None, *tokens], tokens, strict=False)
    return tuple(codec.separator(before, token) + token for before, token in pairs)


def units_of(layers: Sequence[Layer], states: Sequence[str] = ("hidden",)) -> tuple[Unit, ...]:
    """Return the units of some states of each layer; without `states`, in the order of `layer_outputs`."""
    return tuple(
        Unit(k, state, number)
        for k, layer in enumerate(layers)
        for state in states
        for number in range(len(layer.directions) * layer.hidden_size)
    )


def layer_outputs(layers: Sequence[Layer], x: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return the outputs of all layers for packed rows ``[N, I]``, side by side: ``[N, U]``."""
    outputs = []
    for layer in layers:
        # [N, directions·H], also the input of the next layer
        x, _ = layer.run(x, sizes)
        outputs.append(x)
    return np.concatenate(outputs, axis=1)
