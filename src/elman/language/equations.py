"""The equations of a prediction, from the logit back to the first token.

For the linear rnn, every line is the network's own equation, and so it is for mingru with its gates as they
were. For other cells, the lines are equations of the frozen network, whose gates and slopes keep the values
that they had in this text.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from elman.cells import FROZEN, Cell
from elman.draw.numbers import aligned
from elman.engine.passage import Passage
from elman.explain.explanation import DECOMPOSITION, Explanation
from elman.explain.input_names import display_name
from elman.files.model import Model
from elman.language.context import Context
from elman.language.explain import explain_language
from elman.language.readable import Readable

if TYPE_CHECKING:
    from elman.language.predictor import LanguagePredictor


MAX_SHOWN_UNITS = 4
"""Vectors of at most this many units are shown as numbers, longer ones as lengths."""
_MAX_SHOWN_TOKENS = 40
_FROZEN_FORM = "{s}[{t}] = A[{t}]·{s}[{b}] + B[{t}]·{x}[{t}] + c[{t}]"
# Equations of the cells that are linear, at least given their gates, by what is held (`Cell.held`).
_FORMS: dict[tuple[str, ...], str] = {
    (): "{s}[{t}] = W_h·{s}[{b}] + W_x·{x}[{t}] + b",
    ("gates",): "{s}[{t}] = (1 - z[{t}])∘{s}[{b}] + z[{t}]∘(W_x·{x}[{t}]) + z[{t}]∘b",
}
_FORM_NOTES: dict[tuple[str, ...], str] = {
    (): "This is the network itself.",
    (
        "gates",
    ): "z is the update gate as it was in this text: given it, this is the network itself.",
}
_FROZEN_NOTE = (
    "A, B and c are the network at that step with its gates and slopes as they were in this text. "
    "With other words they would change, so these equations are only a model of the network."
)


def equations(
    predictor: LanguagePredictor,
    text: Readable,
    target: str | None = None,
    *,
    explanation: Explanation | None = None,
) -> str:
    """Return the chain of equations from the logit of a token back to the first token of a text.

    After each equation come its left side and its terms: as numbers for a network of at most 4 units, whose
    weights are printed below, or else as lengths (Euclidean norms). The last lines are the terms of the
    decomposition, which sum to the logit, and the result of their self-test.

    Args:
        predictor: A language model, as `elman.load` returns it.
        text: The text, or the numbers of its tokens.
        target: The token (default: the most probable next token).
        explanation: The decomposition of this text, if it has been computed already.

    Raises:
        InputError: The text cannot be read, or the states overflow.
        OptionError: The vocabulary lacks the target.
    """
    explanation = explanation or explain_language(predictor, text, target, method=DECOMPOSITION)
    network, context = predictor.network, Context.of(predictor.network, text)
    config, cell = network.model.config, network.cell
    names, word = _names(context), display_name(explanation.target)
    several = config.num_layers > 1
    y = [
        f"{'y' if config.residual and k else 'h'}{k + 1 if several else ''}"
        for k in range(config.num_layers)
    ]
    end = names[-1] if names else "start"
    # The equations go backwards: the head, then the last layer at the last token, down to the first.
    lines = [f'logit("{word}") = w("{word}")·{y[-1]}[{end}] + b("{word}")']
    if names:
        passage = context.passage(np.float64)
        for k in range(config.num_layers - 1, -1, -1):
            state = f"{'s' if len(cell.states) > 1 else 'h'}{k + 1 if several else ''}"
            layer_input = (y[k - 1], None) if k else ("x", explanation.contributions)
            lines += ["", *_layer(passage, k, names, state, *layer_input)]
        small = config.hidden_size <= MAX_SHOWN_UNITS
        lines += ["", *_legend(cell, y, residual=config.residual, small=small)]
        if small:
            lines += ["", *_weights(network.model, explanation.target)]
    return "\n".join([*lines, "", *_sum_of_terms(names, explanation)])


def _sum_of_terms(names: list[str], explanation: Explanation) -> list[str]:
    """Return lines with the terms that sum to the logit, and the verdict of their test."""
    terms = [*zip(names, explanation.contributions.tolist(), strict=True)][::-1]
    terms += [
        ("start state", explanation.start_state),
        ("biases", explanation.bias),
        ("rounding", explanation.residual),
    ]
    width = max(len(name) for name, _ in terms)
    head = f'logit("{display_name(explanation.target)}") = {explanation.score:.6f}, the sum of'
    rows = (f"  {name:{width}}  {term:+.6f}" for name, term in terms)
    return [head, *rows, explanation.verdict]


def _names(context: Context) -> list[str]:
    """Return a name for each token, with its position if it occurs more than once."""
    names = [display_name(token) for token in context.tokens]
    counts = Counter(names)
    return [f"{name} {i}" if counts[name] > 1 else name for i, name in enumerate(names)]


def _weights(model: Model, target: str) -> list[str]:
    """Return lines with the target's row of the head and the weights of the layers, as in the model file."""
    arrays, config = model.arrays, model.config
    number = model.codec.tokens.index(target)
    head = arrays["embedding.weight" if config.tied else "head.weight"][number]
    lines = [f'w("{display_name(target)}") = {_numbers(head)}']
    for name, array in sorted(arrays.items()):
        if name.startswith("layers."):
            rows = array.reshape(len(array), -1) if array.ndim > 1 else array[None]
            lines += [f"{name} =", *(f"  {_numbers(row)}" for row in rows)]
    return lines


def _numbers(vector: np.ndarray) -> str:
    return f"({', '.join(aligned(vector.tolist(), plus=True))})"


def _legend(cell: Cell, y: list[str], *, residual: bool, small: bool) -> list[str]:
    notation = "(…) the numbers" if small else "|…| the length"
    lines = [
        f"x is a token's embedding; {notation} of each vector; x[…]: +… what it adds to the logit."
    ]
    if len(cell.states) > 1:
        lines.append(f"s is the full state: {' and '.join(cell.states)}; h is the first of them.")
    if residual and len(y) > 1:
        sums = [f"{y[k]} = h{k + 1} + {y[k - 1]}" for k in range(1, len(y))]
        lines.append(f"Each layer but the first adds what it reads: {', '.join(sums)}.")
    return [*lines, _FORM_NOTES.get(cell.held, _FROZEN_NOTE)]


def _layer(
    passage: Passage, k: int, names: list[str], state: str, x: str, terms: np.ndarray | None
) -> list[str]:
    """Return a line for each token, last one first: equation, its terms, and what `x` adds to the logit."""
    form = _FORMS.get(passage.layers.cell.held, _FROZEN_FORM)
    rows = []
    for i in range(len(names) - 1, max(-1, len(names) - 1 - _MAX_SHOWN_TOKENS), -1):
        before = names[i - 1] if i else "start"
        line = form.format(s=state, x=x, t=names[i], b=before)
        after = np.stack([state[0] for state in passage.steps(k)[0][i].after])
        left_side, *summed = map(_shown, (after, *summands(passage, k, i).swapaxes(0, 1)))
        term = "" if terms is None else f"   x[{names[i]}]: {terms[i]:+.4f}"
        rows.append((line, f"{left_side}: {', '.join(summed)}{term}"))
    width = max(len(line) for line, _ in rows)
    lines = [f"{line:{width}}   {lengths}" for line, lengths in rows]
    return lines if len(rows) == len(names) else [*lines, f"… and {len(names) - len(rows)} more"]


def _shown(vector: np.ndarray) -> str:
    """Return the numbers of short vectors, each state in its own brackets, or the length of long ones."""
    if vector.shape[1] <= MAX_SHOWN_UNITS:
        return " ".join(map(_numbers, vector))
    return f"|{float(np.linalg.norm(vector)):.3f}|"


def summands(passage: Passage, k: int, step: int) -> np.ndarray:
    """Return the terms ``[states, 3, H]`` that sum to the states of layer `k` after a step.

    The three terms come from the states before the step, the input and the biases.
    """
    layers, record = passage.layers, passage.steps(k)[0][step]
    # The frozen step is linear, so Jacobian times vector gives each term exactly.
    weights, x = layers.layers[k].directions[0], passage.inputs[k][step, 0]
    count, H = len(record.after), layers.hidden_size
    terms = np.zeros((count, 3, H))
    for state in range(count):
        # The backward step of an identity matrix gives the Jacobian matrices of this state.
        identity = tuple(np.eye(H, dtype=x.dtype) * (state == other) for other in range(count))
        to_input, to_hidden, to_before = layers.cell.backward(FROZEN, record, identity)
        from_x = np.concatenate(to_input, axis=1)
        terms[state, 1] = from_x @ (weights.weight_ih @ x)
        if weights.bias_ih is not None:
            terms[state, 2] = from_x @ weights.bias_ih
        if weights.weight_hh is not None:
            from_h = np.concatenate(to_hidden, axis=1)
            terms[state, 0] = from_h @ (weights.weight_hh @ record.before[0][0])
            if weights.bias_hh is not None:
                terms[state, 2] += from_h @ weights.bias_hh
        # A step also depends on the states before it without the recurrent weights. Where it does not,
        # the Jacobian is the single number 0.
        for jacobian, before in zip(to_before, record.before, strict=True):
            terms[state, 0] += np.broadcast_to(jacobian, (H, H)) @ before[0]
    return terms
