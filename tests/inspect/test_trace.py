"""States, gates and predictions at every step, compared with plain streams and layers run step by step."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from elman.cells import find
from elman.engine.layers import layer_sequence
from elman.errors import ElmanError, InputError, OptionError
from elman.files.model import Model
from elman.inspect import trace as traces
from elman.inspect.trace import Trace, read_trace
from elman.labels.predictor import ClassifierPredictor, RegressorPredictor, TaggerPredictor
from elman.language import trace as language_trace
from elman.language.predictor import LanguagePredictor
from elman.language.stream import Stream
from factories import CELLS
from forecasters import shop
from pictures import ATTRIBUTES, ELEMENTS, HOSTILE, STEERING, SVG
from readers import reader_of

TEXT = "I like my pizza ( tea ! I zebra"
LINES = "I like tea !\n\nmy zebra (\nI"
# Sums of up to 300 products whose roundings are 2**-24 each, over numbers that the gates keep below 1.
FLOAT32 = 300 * 2.0**-24
STACKS: list[dict[str, Any]] = [
    {"num_layers": 1},
    {"tied": True},
    {"bias": False},
    {"num_layers": 3, "residual": True},
]
EACH = pytest.mark.parametrize(("cell", "activation"), CELLS)
Make = Callable[..., Model]


def near(got: Any, wanted: Any) -> None:
    scale = max(1.0, float(np.abs(wanted).max(initial=0)))
    np.testing.assert_allclose(got, wanted, rtol=0, atol=scale * FLOAT32)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(("documents", "text"), [("file", TEXT), ("line", LINES), ("line", "\nI")])
@pytest.mark.parametrize("stack", STACKS, ids=str)
@EACH
def test_trace_of_a_text_equals_a_stream(
    make: Make, cell: str, activation: str, stack: dict[str, bool], documents: str, text: str
) -> None:
    model = make(cell, activation=activation, level="word", documents=documents, scale=0.5, **stack)
    predictor = LanguagePredictor(model)
    found = read_trace(predictor, text, k=3)
    numbers = model.codec.encode(text)
    assert found.tokens == tuple(model.codec.tokenise(text))
    assert len(numbers) == len(found.tokens) == len(found.predictions)
    stream, config = Stream(predictor.network), model.config
    assert [*found.states] == [*predictor.network.cell.states]
    for step, number in enumerate(numbers.tolist()):
        stream.feed([number])
        shape = (config.num_layers, len(found.states), config.hidden_size)
        rows = stream._state[: -config.hidden_size].reshape(shape)
        for place, states in enumerate(found.states.values()):
            near(states[:, step], rows[:, place])
        near(found.outputs[step], predictor.network.output(stream._state))
        wanted = stream.predict(3)
        assert [token for token, _ in found.predictions[step]] == [token for token, _ in wanted]
        near([p for _, p in found.predictions[step]], [p for _, p in wanted])
    again = read_trace(predictor, numbers, k=3)
    np.testing.assert_array_equal(again.outputs, found.outputs)
    known = [model.codec.tokens[number] for number in numbers.tolist()]
    assert again.tokens == tuple(known)


def test_predictions_are_computed_in_blocks(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = LanguagePredictor(make("gru"))
    found, asked = read_trace(predictor, "abcdefgh"), []
    monkeypatch.setattr(language_trace, "STEPS_PER_CALL", 3)
    plain = predictor.network.log_probabilities

    def counted(y: np.ndarray) -> np.ndarray:
        asked.append(len(y))
        return plain(y)

    monkeypatch.setattr(predictor.network, "log_probabilities", counted)
    assert read_trace(predictor, "abcdefgh").predictions == found.predictions
    assert asked == [3, 3, 2]


def test_line_starts_are_listed(make: Make) -> None:
    predictor = LanguagePredictor(make("gru", level="word", documents="line"))
    found = read_trace(predictor, LINES)
    assert [found.tokens[step] for step in found.begins] == ["I", "\n", "\n", "\n"]
    assert read_trace(predictor, "\nI").begins == (0,)
    plain = LanguagePredictor(make("gru", level="word"))
    assert read_trace(plain, LINES).begins == (0,)


def parts(found: Trace) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """The gates, the hidden state before each step, zeros first, and the hidden state after it."""
    after = found.states["hidden"]
    return found.gates, np.concatenate([np.zeros_like(after[:, :1]), after[:, :-1]], axis=1), after


@pytest.mark.usefixtures("way")
def test_states_follow_from_the_gates(make: Make) -> None:
    found = {
        cell: parts(read_trace(LanguagePredictor(make(cell)), "abcdefgh ba"))
        for cell in ("rnn", "gru", "mingru")
    }
    gates, before, after = found["rnn"]
    np.testing.assert_array_equal(gates["hidden"], after)
    gates, before, after = found["gru"]
    near((1 - gates["update"]) * gates["candidate"] + gates["update"] * before, after)
    gates, before, after = found["mingru"]
    near((1 - gates["update"]) * before + gates["update"] * gates["candidate"], after)
    lstm = read_trace(LanguagePredictor(make("lstm")), "abcdefgh ba")
    gates, cells = lstm.gates, lstm.states["cell"]
    before = np.concatenate([np.zeros_like(cells[:, :1]), cells[:, :-1]], axis=1)
    near(gates["forget"] * before + gates["input"] * gates["candidate"], cells)
    near(gates["output"] * np.tanh(cells), lstm.states["hidden"])


@pytest.mark.usefixtures("way")
def test_gates_of_an_lstm_follow_its_equations(make: Make) -> None:
    model = make("lstm", level="word", documents="line", num_layers=1)
    found = read_trace(LanguagePredictor(model), f"\n{TEXT}")
    own = {name: array.astype(np.float64) for name, array in model.arrays.items()}
    h = c = np.zeros(6)
    for step, number in enumerate(model.codec.encode(f"\n{TEXT}").tolist()):
        from_input = own["layers.0.weight_ih"] @ own["embedding.weight"][number]
        from_state = own["layers.0.weight_hh"] @ h
        sums = from_input + from_state + own["layers.0.bias_ih"] + own["layers.0.bias_hh"]
        i, f, g, o = np.split(sums, 4)
        i, f, o = (1 / (1 + np.exp(-one)) for one in (i, f, o))
        g = np.tanh(g)
        c = f * c + i * g
        h = o * np.tanh(c)
        for name, wanted in (("input", i), ("forget", f), ("candidate", g), ("output", o)):
            near(found.gates[name][0, step], wanted)
        near(found.states["cell"][0, step], c)
        near(found.states["hidden"][0, step], h)


@EACH
def test_gates_lie_between_0_and_1(make: Make, cell: str, activation: str) -> None:
    found = read_trace(LanguagePredictor(make(cell, activation=activation)), "abcdefgh" * 9)
    assert tuple(found.gates) == find(cell, activation).gates
    for name, gate in found.gates.items():
        assert gate.shape == next(iter(found.states.values())).shape
        assert np.isfinite(gate).all()
        if name in ("input", "forget", "output", "reset", "update"):
            assert gate.min() >= 0
            assert gate.max() <= 1
        elif cell != "mingru" and activation == "tanh":
            assert np.abs(gate).max() <= 1


def stepped(one: Any, config: Any, x: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Every state ``[L, T, H]`` by name, each by reading only what stands before it, and the outputs."""
    cell, ways = find(config.cell, config.activation), 1 + config.bidirectional
    found: dict[str, list[Any]] = {}
    for k in range(config.num_layers):
        outputs = []
        for way in range(ways):
            end = "_reverse" * way
            own = {
                name: one.arrays[f"layers.{k}.{name}{end}"]
                for name in cell.parameters(1, 1, config.bias)
            }
            given = x[::-1] if way else x
            ends = [layer_sequence(cell, own, given[: t + 1, None])[1] for t in range(len(x))]
            states = [np.concatenate([step[s] for step in ends]) for s in range(len(cell.states))]
            states = [part[::-1] for part in states] if way else states
            for name, part in zip(cell.states, states, strict=True):
                found.setdefault(name + " back" * way, []).append(part)
            outputs.append(states[0])
        x = np.concatenate(outputs, axis=1)
    return {name: np.stack(layers) for name, layers in found.items()}, x


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("bidirectional", [True, False])
@EACH
def test_labelled_sequence_is_traced_in_both_directions(
    cell: str, activation: str, bidirectional: bool
) -> None:
    model = reader_of("numbers", cell=cell, activation=activation, bidirectional=bidirectional)
    predictor = ClassifierPredictor(model)
    given = np.random.default_rng(2).normal(size=(6, 3))
    found = read_trace(predictor, given)
    assert found.tokens == tuple(f"step {step}" for step in range(6))
    one = predictor.network.members[0]
    x = ((given - model.codec.scaler.mean) / model.codec.scaler.scale).astype(np.float32)
    states, outputs = stepped(one, model.config, x)
    assert [*found.states] == sorted(states, key=lambda name: name.endswith(" back"))
    for name, wanted in states.items():
        near(found.states[name], wanted)
    near(found.outputs, outputs)
    assert {name.removesuffix(" back") for name in found.gates} == {*one.layers[0].cell.gates}
    assert all(gate.shape == (2, 6, 7) for gate in found.gates.values())


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("kind", ["both", "word", "char"])
def test_classifier_predicts_after_each_prefix_of_a_text(kind: str) -> None:
    predictor = ClassifierPredictor(reader_of(kind))
    text = "to be or zebra" if kind != "char" else "to be"
    found = read_trace(predictor, text, k=2)
    pieces = text.split() if kind != "char" else [*text]
    assert found.tokens == tuple(pieces)
    for step, said in enumerate(found.predictions):
        so_far = (" " if kind != "char" else "").join(pieces[: step + 1])
        shares = predictor.predict_proba([so_far])[0]
        order = np.argsort(-shares, kind="stable")[:2]
        assert [label for label, _ in said] == [predictor.labels.names[i] for i in order]
        near([p for _, p in said], shares[order])


@pytest.mark.usefixtures("way")
def test_tagger_predicts_at_each_step() -> None:
    predictor = TaggerPredictor(reader_of(task="tag"))
    found = read_trace(predictor, "to be or zebra")
    assert found.tokens == ("to", "be", "or", "zebra")
    (shares,) = predictor.predict_proba(["to be or zebra"])
    for said, row in zip(found.predictions, shares, strict=True):
        assert dict(said) == pytest.approx(
            dict(zip(predictor.labels.names, row.tolist(), strict=True)), abs=FLOAT32
        )
        assert [p for _, p in said] == sorted((p for _, p in said), reverse=True)


def test_regressor_has_no_predictions() -> None:
    found = read_trace(RegressorPredictor(reader_of(task="regress")), "to be or not")
    assert found.task == "regress"
    assert found.predictions == ((), (), (), ())


@pytest.mark.usefixtures("way")
@EACH
def test_series_is_traced_segment_by_segment(cell: str, activation: str) -> None:
    predictor = shop(cell, activation)
    found = read_trace(predictor, "a")
    assert found.tokens == ("14-8 before", "7-1 before", "1-7 ahead")
    assert found.predictions == ((), (), ())
    one, codec = predictor._members[0], predictor.codec
    series = codec.trimmed(predictor.history.select(["a"]))
    end = np.array([len(series.values[0])])
    inputs = codec.windows(series).prepare(np.array([0]), end)[0].inputs[:, 0]
    x = np.maximum(inputs @ one.arrays["input.weight"].T + one.arrays["input.bias"], 0)
    y = x
    for k, layer in enumerate(one.layers):
        y, _ = layer.run(y, np.ones(len(y), np.int64))
        near(found.states["hidden"][k], y)
    near(found.outputs, y)


def test_sequence_too_long_is_refused_with_the_length_that_fits(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = LanguagePredictor(make("gru"))
    # two layers of six units, each with a state and three gates
    monkeypatch.setattr(traces, "MAX_TRACE_NUMBERS", 2 * 6 * 4 * 10)
    assert len(read_trace(predictor, "abcdefghab").tokens) == 10
    with pytest.raises(InputError, match="too long to trace: got 11 steps; expected at most 10 of"):
        read_trace(predictor, "abcdefghabc")
    with pytest.raises(InputError, match="too long to trace"):
        read_trace(ClassifierPredictor(reader_of("char")), "to be or not to be" * 9)


def test_json_of_chosen_units_and_layers(make: Make) -> None:
    found = LanguagePredictor(make("lstm")).trace("abcd")
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert (told["layers"], told["units"], told["begins"]) == ([0, 1], [*range(6)], [0])
    assert np.shape(told["states"]["cell"]) == np.shape(told["gates"]["output"]) == (2, 4, 6)
    # six decimals are told
    np.testing.assert_allclose(told["states"]["cell"], found.states["cell"], rtol=0, atol=1e-6)
    assert [row[0]["token"] for row in told["predictions"]] == [
        row[0][0] for row in found.predictions
    ]
    assert json.loads(found.to_json()) == told
    assert json.loads(found.to_json(units=2, layer=0)) == found.to_dict(units=2, layer=0)
    some = found.to_dict(units=[4, 1], layer=1)
    assert (some["layers"], some["units"]) == ([1], [4, 1])
    np.testing.assert_allclose(
        some["states"]["hidden"][0], found.states["hidden"][1][:, [4, 1]], rtol=0, atol=1e-6
    )
    spread = found.states["hidden"][1].std(axis=0)
    assert found.to_dict(units=2)["units"] == sorted(np.argsort(-spread)[:2].tolist())
    assert found.to_dict(units=1_000)["units"] == [*range(6)]
    assert found.changing(6).tolist() == found.changing(9, 0).tolist() == [*range(6)]
    np.testing.assert_array_equal(found.values("0.3"), found.states["hidden"][0, :, 3])
    np.testing.assert_array_equal(found.values("1.c3"), found.states["cell"][1, :, 3])
    for wrong in ({"units": [6]}, {"units": [-1]}, {"units": -1}, {"layer": 2}, {"layer": -1}):
        with pytest.raises(OptionError):
            found.to_dict(**wrong)
    refused: tuple[tuple[Any, int], ...] = ((-1, 0), (2.5, 0), (1, 2), (1, -2))
    for count, layer in refused:
        with pytest.raises(OptionError):
            found.changing(count, layer)
    for unit in ("2.0", "0.6", "0.c6"):
        with pytest.raises(OptionError, match="expected layers to 1, units to 5, of hidden, cell"):
            found.values(unit)


def test_trace_of_an_empty_text_is_empty(make: Make) -> None:
    found = read_trace(LanguagePredictor(make("gru")), "")
    assert (found.tokens, found.predictions) == ((), ())
    assert found.states["hidden"].shape == (2, 0, 6)
    json.dumps(found.to_dict(units=3))
    said = "layer 1, hidden: no step was read"
    assert f">{said}</text>" in found.to_svg()
    assert f'aria-label="{said}"' in found.to_svg()
    assert "data-unit" not in found.to_svg()
    assert str(found) == "0 steps, 2 × 6 units of hidden"
    (axes,) = found.plot().axes
    assert axes.get_title(loc="left") == said
    assert not axes.axison
    with pytest.raises(OptionError, match="state"):
        found.to_svg(state="cell")


def rows(picture: str) -> list[str]:
    """The units of a picture, from above."""
    found = (element.get("data-unit") for element in ElementTree.fromstring(picture).iter())
    return [unit for unit in found if unit]


def test_picture_names_the_units_it_shows(make: Make) -> None:
    found = read_trace(LanguagePredictor(make("lstm")), "abcdefgh")
    cases: tuple[tuple[dict[str, Any], str, list[int]], ...] = (
        ({}, "layer 1, hidden: all 6 units", [*range(6)]),
        (
            {"units": 2, "layer": 0, "state": "cell"},
            "layer 0, cell: 2 of 6 units that change most",
            found.changing(2, 0, "cell").tolist(),
        ),
        ({"units": [5, 1], "layer": 0}, "layer 0, hidden: 2 of 6 units", [5, 1]),
        ({"units": np.array([4])}, "layer 1, hidden: 1 of 6 units", [4]),
    )
    for options, title, units in cases:
        drawn = found.to_svg(**options)
        assert rows(drawn) == [*map(str, units)]
        assert f"{title}, from −" in drawn
        assert f'aria-label="{title} over 8 steps"' in drawn
        axes = found.plot(**options).axes[0]
        assert axes.get_title(loc="left") == title
        assert [label.get_text() for label in axes.get_yticklabels()] == [*map(str, units)]
        values = found.states[options.get("state", "hidden")][options.get("layer", -1)]
        np.testing.assert_array_equal(axes.images[0].get_array(), values[:, units].T)


def test_picture_of_a_large_network_says_how_many_units_it_shows(make: Make) -> None:
    found = read_trace(LanguagePredictor(make("gru", hidden_size=80)), "abcdefgh")
    title = "layer 1, hidden: 64 of 80 units that change most"
    assert rows(found.to_svg()) == [*map(str, found.changing(64))]
    assert f"{title}, from −" in found.to_svg()
    assert found.plot().axes[0].get_title(loc="left") == title
    long = read_trace(LanguagePredictor(make("gru", hidden_size=80)), "abcdefgh" * 99)
    words = " ".join(ElementTree.fromstring(long.to_svg(width=300)).itertext())
    # on a narrow picture in several lines, none of them cut
    assert " of 792 steps, from" in words
    assert "(blue)" in words


@pytest.mark.parametrize(
    "wrong",
    [
        {"layer": 2},
        {"layer": -2},
        {"layer": None},
        {"layer": "0"},
        {"state": "cell"},
        {"state": []},
        {"units": 0},
        {"units": 65},
        {"units": [0] * 65},
        {"units": []},
        {"units": [6]},
        {"units": [-1]},
        {"units": 2.5},
        {"units": "12"},
        {"units": None},
        {"units": True},
        {"units": np.eye(2)},
    ],
    ids=str,
)
def test_picture_of_units_that_do_not_exist_is_refused(make: Make, wrong: Any) -> None:
    found = read_trace(LanguagePredictor(make("gru")), "abcd")
    for draw in (found.to_svg, found.plot):
        with pytest.raises(OptionError, match=next(iter(wrong))) as said:
            draw(**wrong)
        assert "\n" not in str(said.value)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_tokens_are_shown_as_text(make: Make, name: str) -> None:
    predictor = LanguagePredictor(make("gru", level="word"))
    found = read_trace(predictor, f"I {name} like\n{name} my tea")
    for shown in (found.to_svg(), found._repr_html_()):
        for element in ElementTree.fromstring(shown).iter():
            assert element.tag.removeprefix(SVG) in ELEMENTS
            assert {*element.attrib} <= ATTRIBUTES
        assert not STEERING & set(shown) - set("\u2068\u2069")
        assert not {"\x00", "\x1b", "\ud800"} & set(shown)
    printed = str(found)
    assert all(one.isprintable() or one == "\n" for one in printed)
    assert max(map(len, printed.splitlines())) < 200
    json.dumps(found.to_dict())


def test_end_of_a_long_trace_is_printed(make: Make) -> None:
    printed = str(read_trace(LanguagePredictor(make("gru")), "abcdefgh" * 9)).splitlines()
    assert printed[:2] == ["72 steps, 2 × 6 units of hidden", "the last 24:"]
    assert len(printed) == 26
    assert printed[-1].startswith("h  ")


@pytest.mark.parametrize("what", [None, b"abc", 99, 3.0, [99], [[1]]])
def test_input_that_is_no_text_is_refused(make: Make, what: Any) -> None:
    with pytest.raises(InputError):
        read_trace(LanguagePredictor(make("gru")), what)


def test_other_wrong_inputs_are_refused(make: Make) -> None:
    with pytest.raises(OptionError, match="k"):
        read_trace(LanguagePredictor(make("gru")), "abc", k=0)
    with pytest.raises(ElmanError):
        read_trace(ClassifierPredictor(reader_of()), np.zeros((3, 2)))
    with pytest.raises(ElmanError, match="which series"):
        read_trace(shop())
    with pytest.raises(ElmanError, match="a text without a word has no tag"):
        read_trace(TaggerPredictor(reader_of(task="tag")), "")
    found = read_trace(ClassifierPredictor(reader_of()), "")  # it is read as one unknown word
    assert found.states["hidden"].shape[1] == len(found.tokens) == 1
    # of so many steps the names are numbers, and none has an answer of its own
    long = read_trace(ClassifierPredictor(reader_of("word")), "to be " * 200)
    assert (len(long.tokens), long.predictions[-1]) == (400, ())
