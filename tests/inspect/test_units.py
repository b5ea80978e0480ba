"""The search for units: it finds planted units and no chance ones; areas equal scikit-learn's."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from elman.errors import DataError, InputError, OptionError
from elman.files.model import Model
from elman.inspect import states
from elman.inspect import units as finder
from elman.inspect.properties import mark_text
from elman.inspect.similar import units_like
from elman.inspect.states import RecordedStates, Unit, read_states, untrained
from elman.inspect.units import Units, areas, find_units
from elman.labels.network_torch import TorchSequenceNetwork as SequenceReader
from elman.labels.predictor import ClassifierPredictor
from elman.language import states as language_states
from elman.language.config import NetworkConfig
from elman.language.network_torch import Network
from elman.language.predictor import LanguagePredictor
from elman.series.append import append_series
from elman.series.network_torch import Forecaster
from elman.series.predictor import ForecastPredictor
from elman.series.series import load_series
from elman.text.vocabulary import TextCodec
from factories import TOKENS, bracketed, latch
from forecasters import make_forecaster as forecaster
from readers import reader_of

# Areas are quotients of whole numbers below 2^53: what is left is one rounding or two.
EXACT = 1e-12
# Float32 states here are sums of some dozen products, the error of which dies away from step to step.
ROUNDING = 1e-5


def test_unit_that_equals_a_property_is_found() -> None:
    found = find_units(latch(), bracketed(8_000))
    first = found.scores[0]
    assert first.meaning == "inside round brackets"
    assert first.place == Unit(0, "hidden", 3)
    assert first.area > 0.99
    assert max(first.baseline, first.token) < 0.9
    assert first.direction == 1
    assert first.gain == first.area - max(first.baseline, first.token)
    assert [one.gain for one in found.scores] == sorted(
        (s.gain for s in found.scores), reverse=True
    )


def test_unit_that_is_low_where_the_property_holds_is_found() -> None:
    first = find_units(latch(-1), ")" + bracketed(8_000)).scores[0]
    assert (first.meaning, first.place.number, first.direction) == ("inside round brackets", 3, -1)
    assert first.area > 0.99


def planted(
    values: np.ndarray, inputs: np.ndarray | None = None, **marks: np.ndarray
) -> RecordedStates:
    """Recorded states with these values, inputs and properties."""
    N = values.shape[1]
    units = tuple(Unit(0, "hidden", number) for number in range(len(values)))
    ids = np.zeros(N, np.int64) if inputs is None else inputs
    named = {"inside a tag": marks["marks"]} if marks else {}
    return RecordedStates(("a",) * N, ids, named, units, values.astype(np.float32))


def search(
    monkeypatch: pytest.MonkeyPatch, trained: RecordedStates, plain: RecordedStates | None = None
) -> Units:
    given = iter([trained, plain or trained])
    monkeypatch.setattr(finder, "read_states", lambda *_: next(given))
    monkeypatch.setattr(finder, "untrained", lambda predictor: predictor)
    predictor: Any = None
    return find_units(predictor)


def test_unit_is_chosen_on_the_first_half_only(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    N = 8_000
    held = draw.random(N) < 0.3
    values = draw.standard_normal((20, N))
    values[7] += held  # a fair unit, all along
    values[11, N // 2 :] = held[N // 2 :]  # a perfect one, in the second half alone
    values[13, : N // 2] = held[: N // 2]  # a perfect one in the first half, noise in the second
    (score,) = search(monkeypatch, planted(values[:13], marks=held)).scores
    assert score.unit == 7
    assert 0.7 < score.area < 0.8
    (score,) = search(monkeypatch, planted(values, marks=held)).scores
    assert score.unit == 13
    assert score.area < 0.55


@pytest.mark.slow
def test_random_units_have_an_area_of_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    N, share = 6_000, 0.2
    held = draw.random(N) < share
    trained, plain = (planted(draw.standard_normal((500, N)), marks=held) for _ in range(2))
    (score,) = search(monkeypatch, trained, plain).scores
    # the deviation of a rank sum of the half that measures, by Mann and Whitney
    deviation = np.sqrt((N / 2 + 1) / (12 * (N / 2) ** 2 * share * (1 - share)))
    assert deviation < 0.02
    assert abs(score.area - 0.5) < 4 * deviation
    assert abs(score.baseline - 0.5) < 4 * deviation
    assert score.token == 0.5


def test_baseline_of_the_input_alone_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    ids = draw.integers(0, 10, 4_000)
    ids[3_999] = 77  # met for the first time in the second half
    held = ids < 3
    values = np.stack([held, draw.random(4_000)])
    (score,) = search(monkeypatch, planted(values, ids, marks=held)).scores
    assert score.token > 0.999
    numbers = np.stack([draw.random(4_000), -1.0 * held])
    (score,) = search(monkeypatch, planted(values, numbers, marks=held)).scores
    assert score.token == 1
    assert score.share == pytest.approx(held.mean())


@pytest.mark.parametrize("count", [199, 200])
def test_rare_property_is_left_out(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    held = np.zeros(4_000, bool)
    held[:: 4_000 // count][:count] = True
    assert held.sum() >= count
    held[np.flatnonzero(held)[count:]] = False
    values = np.random.default_rng(0).random((3, 4_000))
    for truth in (held, ~held):
        assert len(search(monkeypatch, planted(values, marks=truth)).scores) == (count == 200)
    late = np.zeros(4_000, bool)
    late[-1_000:] = True
    found = search(monkeypatch, planted(values, marks=late))
    assert found.scores == ()
    assert str(found) == "No property occurs often enough in the input."


@pytest.mark.parametrize("kinds", [2, 5, 40, 10**6])
def test_areas_with_ties_equal_those_of_scikit_learn(
    kinds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = np.random.default_rng(kinds)
    values = draw.integers(0, kinds, (7, 500)).astype(np.float32)
    values[6] = 0
    held = np.stack([draw.random(500) < share for share in (0.01, 0.3, 0.99)])
    monkeypatch.setattr(finder, "_BLOCK_NUMBERS", 1_200)  # two units a block, and one that is left
    wanted = [[roc_auc_score(truth, row) for truth in held] for row in values]
    assert np.abs(areas(values, held) - wanted).max() < EXACT
    assert np.isnan(areas(values, np.ones((1, 500), bool))).all()


def close(some: np.ndarray, others: np.ndarray) -> bool:
    return bool((np.abs(some - others) < ROUNDING * (1 + np.abs(others))).all())


@pytest.fixture
def char(make: Callable[..., Model]) -> LanguagePredictor:
    return LanguagePredictor(make("lstm", residual=True))


@pytest.mark.slow
def test_recorded_states_equal_those_of_streams(
    char: LanguagePredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "".join(np.random.default_rng(0).choice([*"abcdefgh \n"], 2_500))
    monkeypatch.setattr(language_states, "LANES", 1)
    found = read_states(char, text)
    ids = char.model.codec.encode(text)
    _, last = char.network.forward(ids[:, None], char.network.initial_state(1))
    # layer by layer: hidden, cell; the last output behind them
    assert close(found.states[:, -1], last[0, :-6])
    assert found.units[0] == Unit(0, "hidden", 0)
    assert found.units[6] == Unit(0, "cell", 0)
    assert found.units[-1] == Unit(1, "cell", 5)
    assert len(found.units) == len(found.states) == 24
    assert "".join(found.tokens) == text
    monkeypatch.setattr(language_states, "LANES", 5)
    beside = read_states(char, text)
    assert np.array_equal(beside.states, found.states)  # too short for two lanes
    monkeypatch.setattr(language_states, "WARM_UP_TOKENS", 60)
    beside = read_states(char, text)
    assert close(beside.states[:, :500], found.states[:, :500])
    first = 500 - 60
    _, last = char.network.forward(ids[first:700, None], char.network.initial_state(1))
    assert close(beside.states[:, 699], last[0, :-6])
    assert not np.array_equal(beside.states, found.states)


def test_lines_start_from_zeros(make: Callable[..., Model]) -> None:
    predictor = LanguagePredictor(make("gru", level="word", documents="line"))
    text = "I like pizza !\n\nmy tea\nlike ( tea\n" * 120
    found = read_states(predictor, text)
    assert "".join(found.tokens[:6]) == "\nI like pizza!\n"
    stream = predictor.stream().feed("\nI like pizza")
    assert close(found.states[:, 3], stream._state[:-6])
    stream = predictor.stream().feed("my tea")
    assert close(found.states[:, 8], stream._state[:-6])
    assert "at a vowel" not in found.marks
    assert found.marks["inside round brackets"][:13].tolist() == [False] * 11 + [True] * 2


def test_end_of_a_long_text_is_read(
    char: LanguagePredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "a" * 200_000 + "\n" + "bad cab \n" * 500
    found = read_states(char, text, steps=1_500)
    assert "".join(found.tokens) == text[-1_500:]
    assert np.array_equal(found.marks["in a number"], mark_text(text[-1_500:])["in a number"])
    monkeypatch.setattr(states, "MAX_STATE_NUMBERS", 24 * 1_200)
    assert len(read_states(char, text).tokens) == 1_200


def begun(config: Any, horizon: int) -> dict[str, np.ndarray]:
    """The arrays of the network that training begins with."""
    torch.manual_seed(0)
    kinds: dict[str, Callable[..., Any]] = {
        "language": Network,
        "forecast": lambda config: Forecaster(config, horizon),
    }
    network = kinds.get(config.task, SequenceReader)(config)
    return {name: array.copy() for name, array in network.arrays().items()}


def wide(task: str, cell: str, *, tied: bool = False) -> Any:
    """A model of a task with weights enough to tell one spread from another."""
    if task == "forecast":
        series = load_series({"ds": [*range(60)], "y": [float(n % 7) for n in range(60)]})
        return ForecastPredictor(forecaster(series, cell=cell, hidden_size=48))
    if task == "classify":
        how: dict[str, Any] = {
            "hidden_size": 48,
            "spelling_size": 40,
            "embedding_size": 36,
            "pooling": "attention",
        }
        return ClassifierPredictor(reader_of("both", cell=cell, **how))
    config = NetworkConfig("language", cell, "tanh", len(TOKENS), 48, 48, 2, tied=tied)
    arrays = {name: np.ones(shape, np.float32) for name, shape in config.parameters().items()}
    return LanguagePredictor(Model(config, arrays, TextCodec("char", TOKENS), {}))


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm", "mingru"])
@pytest.mark.parametrize("task", ["language", "tied", "classify", "forecast"])
def test_untrained_weights_are_distributed_as_before_training(task: str, cell: str) -> None:
    tied = task == "tied"
    predictor = wide("language" if tied else task, cell, tied=tied)
    plain = untrained(predictor).model
    wanted = begun(plain.config, 14)
    assert plain.arrays.keys() == wanted.keys()
    for name, theirs in wanted.items():
        ours = plain.arrays[name]
        assert ours.shape == theirs.shape
        assert ours.dtype == np.float32
        for exact in (0, 1):  # a start that is set is set in the same places
            assert np.array_equal(ours == exact, theirs == exact), name
        drawn, drawn_too = (part[(part != 0) & (part != 1)] for part in (ours, theirs))
        if drawn.size:
            # Uniform or normal: the mean of n has a deviation of s/sqrt(n), the deviation one of at most
            # s/sqrt(2n); two draws differ by five of them once in two million times.
            spread = np.hypot(*(part.std() / np.sqrt(part.size) for part in (drawn, drawn_too)))
            assert abs(drawn.mean() - drawn_too.mean()) < 5 * spread, name
            assert abs(drawn.std() - drawn_too.std()) < 5 * spread / np.sqrt(2) + ROUNDING, name
            if drawn.size > 1_000 and "embedding" not in name and "alphabet" not in name:
                assert np.abs(drawn).max() == pytest.approx(np.abs(drawn_too).max(), rel=0.02), name


def test_untrained_weights_are_the_same_each_time(make: Callable[..., Model]) -> None:
    one, other = (untrained(LanguagePredictor(make("lstm", seed=seed))) for seed in range(2))
    assert all(np.array_equal(one.model.arrays[n], a) for n, a in other.model.arrays.items())


@pytest.mark.parametrize("steps", ["a", 0, -5, 2.5, True, 999])
def test_wrong_number_of_steps_is_refused(char: LanguagePredictor, steps: Any) -> None:
    with pytest.raises(OptionError, match=r"steps: got .*expected a whole number from 1000"):
        find_units(char, bracketed(3_000), steps=steps)


def test_error_for_short_series_says_what_a_step_is() -> None:
    series = load_series({"ds": [*range(60)], "y": [float(n % 7) for n in range(60)]})
    with pytest.raises(
        InputError,
        match=r"got . steps; expected at least 1,000, where a step is a "
        r"segment of 7 values; pass longer series",
    ):
        find_units(ForecastPredictor(forecaster(series)), None)


def test_score_below_its_baselines_is_not_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    held = draw.random(4_000) < 0.3
    values = draw.standard_normal((3, 4_000))
    known = planted(np.stack([*values, held]), marks=held)
    found = search(monkeypatch, planted(values, marks=held), known)
    assert found.scores[0].gain < 0
    assert found.found == ()
    assert "<svg" not in found._repr_html_()
    with pytest.raises(DataError, match="none that tells a property better than its baselines"):
        found.to_svg()
    said, head, row = str(found).splitlines()
    assert said == "No unit indicates a property better than its baselines do."
    assert head.split() == ["property", "unit", "gain", "area", "untrained", "input", "alone"]
    assert float(row.split()[-4]) == pytest.approx(found.scores[0].gain, abs=0.0005)
    found = search(monkeypatch, known, planted(values, marks=held))
    assert found.found == found.scores
    assert str(found).startswith("property ")


def test_units_of_a_classifier_of_texts() -> None:
    predictor = ClassifierPredictor(reader_of("both"))
    text = "to be (or not to be) or not\n" * 200
    found = find_units(predictor, text)
    names = {one.meaning for one in found.scores}
    assert "inside round brackets" in names
    assert {unit.layer for unit in found.recorded.units} == {0, 1}
    assert len(found.recorded.units) == 2 * 2 * 7
    same = find_units(predictor, text.splitlines())
    assert [one.area for one in same.scores] == [one.area for one in found.scores]
    assert "".join(found.recorded.tokens[:8]) == "\nto be (or not to be)"


@pytest.mark.slow
def test_units_of_a_forecaster() -> None:
    at = np.arange(9_000)
    days = np.datetime64("2000-01-01") + at
    rng = np.random.default_rng(0)
    frame = {"ds": days.astype(str).tolist(), "y": (50 + rng.standard_normal(9_000)).tolist()}
    series = load_series(frame)
    predictor = ForecastPredictor(forecaster(series, members=1))
    found = find_units(predictor, append_series(series.select([]), series))
    names = {one.meaning for one in found.scores}
    assert {"rising", "falling", "first quarter of the year"} <= names
    assert "at night" not in names
    first = found.recorded.tokens[0].strip()
    assert first[:2] == "20" or first[:2] == "19"
    steps = found.recorded.states.shape[1]
    assert steps == len(found.recorded.tokens) == found.recorded.inputs.shape[1]
    # a step is a segment of 7 days, of which the last stands for it
    assert abs(steps - 9_000 / 7) < 3
    assert found.recorded.tokens[-1].split(":")[0].strip().startswith(str(days[-1]))


@pytest.mark.parametrize(
    ("predictor", "what", "line"),
    [
        (
            LanguagePredictor,
            "too short",
            "too little to find units on: got 9 tokens; expected at least",
        ),
        (LanguagePredictor, "", "too little to find units on: got 0 tokens"),
        (LanguagePredictor, None, "the text to find units on: got nothing; expected a text"),
        (LanguagePredictor, ["a"], "the text to find units on: got list; expected a text"),
        (
            ClassifierPredictor,
            None,
            "to find units on: got nothing; expected a list of texts, or one text on each line",
        ),
        ("numbers", None, "units of a model that reads sequences of numbers"),
        (ClassifierPredictor, "\n\n", "too little to find units on: got 1 tokens"),
        ("numbers", [[1.0, 2.0]], "units of a model that reads sequences of numbers"),
    ],
)
def test_unsuitable_input_is_refused_in_one_line(
    predictor: Any, what: Any, line: str, make: Callable[..., Model]
) -> None:
    if predictor == "numbers":
        model = ClassifierPredictor(reader_of("numbers"))
    else:
        model = predictor(make() if predictor is LanguagePredictor else reader_of("word"))
    with pytest.raises(InputError) as said:
        find_units(model, what)
    assert line in str(said.value)
    assert "\n" not in str(said.value)


def test_places_similar_to_a_phrase() -> None:
    text = bracketed(3_000).replace("\n", " ")
    text = text[:1_000] + "(cab fed)" + text[1_000:2_000] + "(cab fed)" + text[2_000:]
    predictor = latch()
    found = units_like(predictor, text, "cab fed", 3)
    assert found.occurrences == 2
    assert len(found.units) == len(found.places) == 3
    assert any(unit == Unit(0, "hidden", 3) for unit, _ in found.units)
    assert dict(found.units)[Unit(0, "hidden", 3)] > 1
    likeness = [place.likeness for place in found.places]
    assert likeness == sorted(likeness, reverse=True)
    assert all(-1 <= one <= 1 + EXACT for one in likeness)
    for place in found.places:
        assert text[place.position :].startswith(place.text)
        assert text[: place.position].endswith(place.before)
        assert len(place.text) == len("cab fed")
        assert "cab fed" not in place.text
    positions = sorted(place.position for place in found.places)
    assert all(b - a >= 7 for a, b in pairwise(positions))
    rows = str(found).splitlines()
    assert [rows[1].split(), rows[6].split()] == [["unit", "difference"], ["likeness", "place"]]
    assert json.loads(found.to_json()) == found.to_dict()
    assert found.to_dict()["units"][0].keys() == {"layer", "state", "number", "name", "difference"}


def test_phrase_missing_from_the_text_is_appended() -> None:
    text, predictor = bracketed(2_000), latch()
    phrase = "(((...)))"
    assert phrase not in text
    assert units_like(predictor, text, phrase, 2).occurrences == 1
    with pytest.raises(ValueError, match="phrase"):
        find_units(predictor, text).like(phrase)
    with pytest.raises(ValueError, match="expected some words"):
        units_like(predictor, text, "  ")
    with pytest.raises(ValueError, match="count"):
        units_like(predictor, text, "ab", 0)


def test_phrase_of_words(make: Callable[..., Model]) -> None:
    predictor = LanguagePredictor(make("gru", level="word"))
    text = "I like pizza !\nmy tea\n( my pizza !\n" * 100
    found = units_like(predictor, text, "like pizza", 2)
    assert found.occurrences == 100
    assert not any("like pizza" in place.text for place in found.places)
    # no whole words, so it is read as a phrase of its own
    assert units_like(predictor, text, "ike pizz", 1).occurrences == 1


def test_excerpts_of_the_text_and_their_colours() -> None:
    found = find_units(latch(), bracketed(8_000))
    excerpt = found.excerpt("0.3", "inside round brackets")
    text = "".join(excerpt.tokens)
    assert 100 < len(text) <= 400
    first = "".join(found.recorded.tokens).index(text, 4_000)
    held = found.recorded.marks["inside round brackets"][first : first + len(text)]
    assert np.array_equal(excerpt.values > 0, held)
    assert 0 < held.mean() < 1
    assert np.abs(excerpt.values).max() <= 1
    assert excerpt.to_svg().startswith("<svg")
    assert found.to_svg().startswith("<svg")
    assert "<pre>property" in found._repr_html_()
    # a unit that stands low where the property holds is shown high there
    best = found.found[0]
    turned = dataclasses.replace(best, direction=-best.direction)
    np.testing.assert_array_equal(found.shown(turned).values, -found.shown(best).values)
    np.testing.assert_array_equal(
        found.shown(best).values, best.direction * found.excerpt(best.place, best.meaning).values
    )
    assert excerpt.title == "0.3: inside round brackets"
    assert found.excerpt("0.3").title == "unit 0.3"
    area, untrained = (f"{one:.3f}".removeprefix("0") for one in (best.area, best.baseline))
    title = f"0.3: inside round brackets (area {area}, untrained {untrained})"
    for drawn in (found.to_svg(), found.shown(best).to_svg()):
        assert f'aria-label="{title}"' in drawn
        assert f">{title}</text>" in drawn
    assert json.loads(found.to_json(2)) == found.to_dict(2)
    rows = found.to_dict(1)["properties"]
    assert rows[0]["property"] == "inside round brackets"
    assert rows[0]["name"] == "0.3"
    assert len(rows) == 1
    for name in ("3.0", "0.8", "0.c1"):
        with pytest.raises(
            ValueError, match="expected layers to 0, units to 7, of the states hidden"
        ):
            found.excerpt(name)


@pytest.mark.parametrize(
    "name", ["", "1", "1.", ".1", "a.b", "1.2.3", "-1.2", "1.c", "1.٣", "1" * 30 + ".1"]
)
def test_name_that_is_no_unit_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"expected LAYER\.UNIT"):
        Unit.of(name)
