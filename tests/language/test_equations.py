"""The printed equations: each cell's formulas, the lengths of its vectors, and the terms of the logit."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from elman.errors import OptionError
from elman.files.model import Model
from elman.language.context import Context
from elman.language.equations import equations, summands
from factories import open_language

Make = Callable[..., Model]
CELLS = [("rnn", "linear"), ("rnn", "tanh"), ("gru", "tanh"), ("lstm", "tanh"), ("mingru", "tanh")]
# The terms and the logit are printed with six decimals: the largest error of each.
SIXTH = 0.5e-6


def terms(written: str) -> tuple[float, list[float]]:
    """Return the printed logit, and the printed terms that should sum to it."""
    head, tail = re.split(r", the sum of\n", written)
    rows = [row for row in tail.splitlines() if row.startswith("  ")]
    return float(head.rsplit(" = ", 1)[1]), [float(row.split()[-1]) for row in rows]


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize(("cell", "activation"), CELLS)
def test_the_terms_of_the_last_lines_sum_to_the_logit(
    make: Make, cell: str, activation: str, residual: bool
) -> None:
    model = make(cell, activation=activation, level="word", residual=residual, scale=0.5)
    written = equations(open_language(model), "I like my tea", "pizza")
    logit, numbers = terms(written)
    assert len(numbers) == 4 + 3
    assert sum(numbers) == pytest.approx(logit, abs=SIXTH * (len(numbers) + 1))
    top = "y2" if residual else "h2"
    assert written.startswith(f'logit("pizza") = w("pizza")·{top}[tea] + b("pizza")\n')
    exact = (cell, activation) == ("rnn", "linear") or cell == "mingru"
    assert ("this is the network itself" in written.lower()) is exact
    assert ("only a model of the network" in written) is not exact
    assert ("y2 = h2 + h1" in written) is residual


@pytest.mark.parametrize("documents", ["file", "line"])
@pytest.mark.parametrize(("cell", "activation"), CELLS)
def test_printed_lengths_are_those_of_the_states_and_their_terms(
    make: Make, cell: str, activation: str, documents: str
) -> None:
    settings = {"level": "word", "num_layers": 1, "documents": documents, "scale": 0.5}
    predictor = open_language(make(cell, activation=activation, **settings))
    written = equations(predictor, "I like tea", "pizza")
    lines = [line for line in written.splitlines() if line.count("|") == 8]
    assert len(lines) == 3
    found = [[float(one) for one in re.findall(r"\|([0-9.]+)\|", line)] for line in lines]
    for words, (whole, _, read, bias) in zip(("I like tea", "I like", "I"), found, strict=True):
        state = predictor.stream().feed(words)._state[: -predictor.network.hidden_size]
        assert whole == pytest.approx(np.linalg.norm(state), abs=6e-4)
        assert min(read, bias) > 0
    read_text = Context.of(predictor.network, "I like tea")
    passage = read_text.passage(np.float64)
    for place, (whole, *lengths) in enumerate(found[::-1]):
        parts = summands(passage, 0, place)
        after = [part[0] for part in passage.steps(0)[0][place].after]
        np.testing.assert_allclose(parts.sum(axis=1), after, rtol=0, atol=1e-12)
        norms = np.linalg.norm(parts, axis=(0, 2))
        np.testing.assert_allclose([whole, *lengths], [np.linalg.norm(after), *norms], atol=6e-4)
    assert (found[-1][1] > 0) is (documents == "line")
    if (cell, activation) == ("rnn", "linear"):
        arrays = predictor.model.arrays
        x = arrays["embedding.weight"][predictor.model.codec.encode("tea")[0]]
        assert found[0][2] == pytest.approx(
            np.linalg.norm(arrays["layers.0.weight_ih"] @ x), abs=6e-4
        )
        both = arrays["layers.0.bias_ih"] + arrays["layers.0.bias_hh"]
        assert found[0][3] == pytest.approx(np.linalg.norm(both), abs=6e-4)
        assert "h[tea] = W_h·h[like] + W_x·x[tea] + b" in written


@pytest.mark.parametrize(("cell", "activation"), CELLS)
def test_a_small_network_shows_its_numbers(make: Make, cell: str, activation: str) -> None:
    settings = {"level": "word", "num_layers": 1, "hidden_size": 3, "scale": 0.5}
    predictor = open_language(make(cell, activation=activation, **settings))
    written = equations(predictor, "I like tea", "pizza")
    (line,) = (line for line in written.splitlines() if line.startswith(("h[tea] =", "s[tea] =")))
    found = [
        [float(one) for one in some.split(", ")]
        for some in re.findall(r"\(([+-][0-9.]+, [+-][0-9.]+, [+-][0-9.]+)\)", line)
    ]
    count = len(predictor.network.cell.states)
    whole, *parts = np.reshape(found, (4, count, 3))
    state = predictor.stream().feed("I like tea")._state[: 3 * count].reshape(count, 3)
    np.testing.assert_allclose(whole, state, rtol=0, atol=6e-5)
    np.testing.assert_allclose(sum(parts), whole, rtol=0, atol=3e-4)
    arrays = predictor.model.arrays
    rows = [line for line in written.splitlines() if line.startswith("  (")]
    sizes = {name: len(a) if a.ndim > 1 else 1 for name, a in arrays.items() if "layers" in name}
    assert len(rows) == sum(sizes.values())
    shown = written.split("layers.0.weight_ih =\n")[1].splitlines()[0].strip(" ()").split(", ")
    first = arrays["layers.0.weight_ih"][0]
    np.testing.assert_allclose([float(one) for one in shown], first, rtol=0, atol=6e-5)
    assert "|" not in written


def test_a_repeated_token_is_printed_with_its_position(make: Make) -> None:
    written = equations(open_language(make("rnn", activation="linear", level="word")), "I like I")
    assert "h2[I 2] = W_h·h2[like] + W_x·h1[I 2] + b" in written
    assert "h1[I 0] = W_h·h1[start]" in written


def test_empty_and_long_texts(make: Make) -> None:
    predictor = open_language(make("gru", level="word", scale=0.5))
    logit, numbers = terms(equations(predictor, ""))
    assert sum(numbers) == pytest.approx(logit, abs=4 * SIXTH)
    written = equations(predictor, "tea my " * 50)
    assert written.count("… and 60 more") == 2
    with pytest.raises(OptionError, match="target: got pie"):
        equations(predictor, "tea", "pie")


def test_hostile_tokens_are_escaped(make: Make) -> None:
    written = equations(open_language(make("rnn", level="word")), "\x1b[2J \u202eevil " + "y" * 999)
    assert all(one.isprintable() or one == "\n" for one in written)
