"""A prediction written out from backwards: the logit, the state it was read from, the state before that.

Of the linear rnn every line is the network's own equation; of mingru it is, with its gates as they were. Of
other cells the lines are those of the frozen network, whose gates and slopes stay as they were in this text.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from elman.cells import FROZEN, Cell
from elman.draw.numbers import aligned
from elman.engine.passage import Passage
from elman.explain.explanation import DECOMPOSITION, Explanation, printed
from elman.files.model import Model
from elman.language.explain import explain_language
from elman.language.recorded import Opened, Read
from elman.language.stream import Readable

__all__ = ["SMALL", "equations", "summands"]

SMALL = 4
"""Units of a layer up to which the numbers themselves are shown."""
_ROWS = 40
_OTHERS = "{s}[{t}] = A[{t}]·{s}[{b}] + B[{t}]·{x}[{t}] + c[{t}]"
# by what is held: of the cells that are linear themselves, given their gates
_FORMS: dict[tuple[str, ...], str] = {
    (): "{s}[{t}] = W_h·{s}[{b}] + W_x·{x}[{t}] + b",
    ("gates",): "{s}[{t}] = (1 - z[{t}])∘{s}[{b}] + z[{t}]∘(W_x·{x}[{t}]) + z[{t}]∘b",
}
_WORDS: dict[tuple[str, ...], str] = {
    (): "This is the network itself.",
    (
        "gates",
    ): "z is the update gate, held as it was in this text: given it, this is the network itself.",
}
_MODEL = (
    "A, B and c are the network at that step with its gates and slopes held as they were in this text: "
    "a model of it, for what it would do with other words they would change."
)


def equations(
    predictor: Any, text: Readable, target: str | None = None, *, told: Explanation | None = None
) -> str:
    """Return the chain of equations from the logit of `target` (the most probable) back to the first token.

    Behind each line stand its left side and its terms: of a network of at most 4 units as numbers, with the
    weights below, of a larger one as lengths (Euclidean norms). The last lines are the terms of
    `elman.language.explain.decompose`, which sum to the logit, and how their test went. `told` is the
    text's decomposition where that is at hand. Raises InputError, OptionError.
    """
    found = told or explain_language(predictor, text, target, method=DECOMPOSITION)
    network, read = predictor.network, Read.of(predictor, text)
    config, cell = network.model.config, network.cell
    names, word = _names(read), printed(found.target)
    several = config.num_layers > 1
    y = [
        f"{'y' if config.residual and k else 'h'}{k + 1 if several else ''}"
        for k in range(config.num_layers)
    ]
    end = names[-1] if names else "start"
    lines = [f'logit("{word}") = w("{word}")·{y[-1]}[{end}] + b("{word}")']
    if names:
        opened = Opened(network, np.float64)
        passage = opened.passage(opened.embedding[read.numbers, None], read.start[None])
        for k in range(config.num_layers - 1, -1, -1):
            state = f"{'s' if len(cell.states) > 1 else 'h'}{k + 1 if several else ''}"
            read_by = (y[k - 1], None) if k else ("x", found.contributions)
            lines += ["", *_layer(passage, k, names, state, *read_by)]
        small = config.hidden_size <= SMALL
        lines += ["", *_legend(cell, y, residual=config.residual, small=small)]
        if small:
            lines += ["", *_weights(network.model, found.target)]
    lines += ["", f'logit("{word}") = {found.score:.6f}, the sum of']
    terms = [*zip(names, found.contributions.tolist(), strict=True)][::-1]
    terms += [
        ("start state", found.start_state),
        ("biases", found.bias),
        ("rounding", found.residual),
    ]
    width = max(len(name) for name, _ in terms)
    lines += [f"  {name:{width}}  {term:+.6f}" for name, term in terms]
    return "\n".join([*lines, found.verdict])


def _names(read: Read) -> list[str]:
    """Return a name for each token, with its place where it occurs more than once."""
    shown = [printed(token) for token in read.tokens]
    counts = Counter(shown)
    return [f"{one} {place}" if counts[one] > 1 else one for place, one in enumerate(shown)]


def _weights(model: Model, target: str) -> list[str]:
    """Return the numbers of the layers' weights, as the file has them, and the target's row of the head."""
    arrays, config = model.arrays, model.config
    number = model.codec.tokens.index(target)
    head = arrays["embedding.weight" if config.tied else "head.weight"][number]
    lines = [f'w("{printed(target)}") = {_numbers(head)}']
    for name, array in sorted(arrays.items()):
        if name.startswith("layers."):
            rows = array.reshape(len(array), -1) if array.ndim > 1 else array[None]
            lines += [f"{name} =", *(f"  {_numbers(row)}" for row in rows)]
    return lines


def _numbers(vector: np.ndarray) -> str:
    return f"({', '.join(aligned(vector.tolist(), plus=True))})"


def _legend(cell: Cell, y: list[str], *, residual: bool, small: bool) -> list[str]:
    shown = "(…) the numbers" if small else "|…| the length"
    lines = [
        f"x is a token's embedding, {shown} of each vector, x[…]: +… what it adds to the logit."
    ]
    if len(cell.states) > 1:
        lines.append(f"s is the whole state: {' and '.join(cell.states)}; h is the first of them.")
    if residual and len(y) > 1:
        sums = [f"{y[k]} = h{k + 1} + {y[k - 1]}" for k in range(1, len(y))]
        lines.append(f"Each layer but the first adds what it reads: {', '.join(sums)}.")
    return [*lines, _WORDS.get(cell.held, _MODEL)]


def _layer(
    passage: Passage, k: int, names: list[str], state: str, x: str, terms: np.ndarray | None
) -> list[str]:
    """Return a layer's lines from the last token to the first: vectors, and what `x` adds to the logit."""
    form = _FORMS.get(passage.layers.cell.held, _OTHERS)
    rows = []
    for place in range(len(names) - 1, max(-1, len(names) - 1 - _ROWS), -1):
        before = names[place - 1] if place else "start"
        line = form.format(s=state, x=x, t=names[place], b=before)
        whole, *parts = map(_shown, _vectors(passage, k, place))
        term = "" if terms is None else f"   x[{names[place]}]: {terms[place]:+.4f}"
        rows.append((line, f"{whole}: {', '.join(parts)}{term}"))
    width = max(len(line) for line, _ in rows)
    lines = [f"{line:{width}}   {lengths}" for line, lengths in rows]
    return lines if len(rows) == len(names) else [*lines, f"… and {len(names) - len(rows)} more"]


def _vectors(passage: Passage, k: int, place: int) -> list[np.ndarray]:
    """Return the state after a step and what it sums: state before, input, biases, each ``[states, H]``."""
    whole = np.stack([part[0] for part in passage.steps(k)[0][place].after])
    return [whole, *summands(passage, k, place).swapaxes(0, 1)]


def _shown(vector: np.ndarray) -> str:
    """Return the numbers of a small vector, each state in its own brackets, else its length."""
    if vector.shape[1] <= SMALL:
        return " ".join(map(_numbers, vector))
    return f"|{float(np.linalg.norm(vector)):.3f}|"


def summands(passage: Passage, k: int, place: int) -> np.ndarray:
    """Return what the states of layer `k` are the sum of ``[states, 3, H]``: state before, input, biases."""
    layers, step = passage.layers, passage.steps(k)[0][place]
    weights, x = layers.layers[k].directions[0], passage.inputs[k][place, 0]
    count, H = len(step.after), layers.hidden_size
    parts = np.zeros((count, 3, H))
    for row in range(count):
        ones = tuple(np.eye(H, dtype=x.dtype) * (row == other) for other in range(count))
        to_input, to_hidden, to_before = layers.cell.backward(FROZEN, step, ones)
        from_x = np.concatenate(to_input, axis=1)
        parts[row, 1] = from_x @ (weights.weight_ih @ x)
        if weights.bias_ih is not None:
            parts[row, 2] = from_x @ weights.bias_ih
        if weights.weight_hh is not None:
            from_h = np.concatenate(to_hidden, axis=1)
            parts[row, 0] = from_h @ (weights.weight_hh @ step.before[0][0])
            if weights.bias_hh is not None:
                parts[row, 2] += from_h @ weights.bias_hh
        for part, before in zip(to_before, step.before, strict=True):
            parts[row, 0] += np.broadcast_to(part, (H, H)) @ before[0]
    return parts
