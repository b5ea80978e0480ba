"""Models as one HTML file: the runtime beside Python, and the file in a browser without a network."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import playwright
import pytest
from playwright.sync_api import Browser, Page, expect

import elman
from elman.errors import InputError
from elman.export.html_model import described_model
from elman.export.html_page import bundle, html_page, runtime, write_html
from elman.export.html_weights import MAX_FLOAT32_WEIGHTS
from elman.files.model import Model
from elman.language.config import NetworkConfig
from elman.series.autoregression import Ridge
from elman.series.series import load_series
from elman.tasks import open_model, task_of
from elman.text.vocabulary import TextCodec
from factories import CELLS
from forecasters import make_forecaster, make_random_forecaster, stamps
from labellers import make_labelled
from visits import PATIENCE, WATCH, browser, folder

__all__ = ["browser", "folder"]

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
MODELS = {path.name: path for path in sorted(GOLDEN.glob("*.safetensors"))}
LANGUAGE = ("gru-1", "int8-2", "lstm-1", "mingru-1", "rnn-1")
# the golden models of labelled sequences, with inputs
LABELS: dict[str, list[Any]] = {
    "affixes-1": [["I", "bab", "abba", "zzzzzzzzzzzzzzzzzzzzzab"]],
    "chain-1": [["a", "I", "tea", "zz", "I"]],
    "classify-1": ["Good b ba", "bad", "x Ab zz b good", ""],
    "ngrams-1": ["Good b ba good bad good", "bad", "x Ab zz b", ""],
    "regress-1": [[[1.0, 2.0], [3.0, 4.0], [0.5, -2.0]]],
    "tag-1": [["I", "like", "zz"]],
}
FORECAST = ("forecast-1", "forecast-bounded-1", "forecast-ridge-1")
EXPRESSIBLE = (*LANGUAGE, *LABELS, *FORECAST)
"""The golden models that the page can run; each other one is refused in one line."""
TOLERANCE = 1e-4
DRIVER = """
const { page, runtime, model, requests } = JSON.parse(require("fs").readFileSync(0, "utf8"));
const finished = (0, eval)(`${page}modules["answers.js"].finished`);
let answer;
globalThis.postMessage = ({ reply }) => (answer = reply);
globalThis.onmessage = null;
(0, eval)(runtime);
onmessage({ data: { model } });
const replies = requests.map(([path, body]) => {
  onmessage({ data: { path, body } });
  return finished(path, body, answer, model);
});
console.log(JSON.stringify(replies));
"""


def _asked(model: Model, *requests: tuple[str, dict[str, Any]]) -> list[Any]:
    """Return the runtime's replies to requests of the page, as the browser's worker would give them."""
    # Playwright, which the tests of the page need anyway, brings a node of its own
    node = shutil.which("node") or Path(playwright.__file__).with_name("driver") / "node"
    given: dict[str, Any] = {
        "page": bundle("answers.js"),
        "runtime": runtime(),
        "requests": requests,
    }
    given["model"] = described_model(model, "m")
    done = subprocess.run(
        [node, "-e", DRIVER], input=json.dumps(given), capture_output=True, text=True, check=True
    )
    return list(json.loads(done.stdout))


def _unrolled(text: str, *, quick: bool) -> dict[str, Any]:
    return {"input": text, "target": None, "method": None, "quick": quick, "k": 3, "width": 800}


def _flat(value: Any, at: str = "") -> dict[str, Any]:
    """Return the leaves of a JSON value by their paths."""
    if isinstance(value, list | tuple):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return {at: value}
    return {
        path: leaf
        for key, item in value.items()
        for path, leaf in _flat(item, f"{at}.{key}").items()
    }


_NUMBER = re.compile(r"[+−-]?\d+(?:\.\d+)?(?:e[+−-]\d+)?")


def _equal(ours: Any, theirs: Any) -> None:
    """Check that two replies are equal, with numbers in sentences and pictures up to their last digit."""
    ours, theirs = _flat(ours), _flat(theirs)
    assert ours.keys() == theirs.keys()
    for path, value in ours.items():
        other = theirs[path]
        if isinstance(value, float):
            assert other == pytest.approx(value, rel=TOLERANCE, abs=TOLERANCE), path
        elif isinstance(value, str):
            # a contribution of 0 up to rounding has either sign, and words are drawn by its size
            value, other = (
                "".join(sorted(re.split("(?=<g )|(?<=</g>)", re.sub("rises|falls", "moves", text))))
                for text in (value, other)
            )
            assert _NUMBER.sub("#", value) == _NUMBER.sub("#", other), path
            numbers, others = (
                [float(number.replace("−", "-")) for number in _NUMBER.findall(text)]
                for text in (value, other)
            )
            assert others == pytest.approx(numbers, rel=0.02, abs=0.11), path
        else:
            assert value == other, path


@pytest.mark.parametrize("name", LANGUAGE)
@pytest.mark.parametrize("text", ["pizza I like Ix I like\npizza", "aé a\r\naaé ééa a x"])
def test_the_runtime_answers_like_the_server(name: str, text: str) -> None:
    model = Model.load(GOLDEN / f"{name}.safetensors")
    # The page computes in float32 with the weights that a model in int8 stores.
    replies: Any = task_of(model).replies_type(open_model(model, "float32"))
    quick, tested = _unrolled(text, quick=True), _unrolled(text, quick=False)
    requests = ("/v1/predict", {"input": text, "k": 3}), ("/v1/unroll", quick)
    replace = {"input": text, "position": 1, "token": "a" if "é" in text else "I", "k": 3}
    predicted, first, full, replaced = _asked(
        model, *requests, ("/v1/unroll", tested), ("/v1/replace", replace)
    )
    _equal(dict(replies.predict([text], 3)[0]), predicted)
    for body, reply in ((quick, first), (tested, full)):
        _equal(
            replies.unroll(**{("text" if k == "input" else k): v for k, v in body.items()}), reply
        )
    if "error" in replaced:
        with pytest.raises(InputError, match="word: got") as caught:
            replies.replace(text, 1, replace["token"], 3)
        assert replaced["error"]["message"] == str(caught.value)
    else:
        _equal(replies.replace(text, 1, replace["token"], 3), replaced)


@pytest.mark.parametrize("name", LANGUAGE)
def test_the_states_over_a_text_equal_those_of_python(name: str) -> None:
    model = Model.load(GOLDEN / f"{name}.safetensors")
    text, layer = "pizza I like\n\npizza a", model.config.num_layers - 1
    body = {"input": text, "units": [2, 0], "layer": layer, "svg": True, "width": 800}
    predictor: Any = open_model(model)
    traced = predictor.trace(text)
    theirs = traced.to_dict([2, 0], layer)
    replies = _asked(model, *(("/v1/trace", body | {"state": state}) for state in traced.states))
    for state, ours in zip(traced.states, replies, strict=True):
        assert ours["tokens"] == theirs["tokens"]
        _equal(theirs["states"], ours["states"])
        _equal(traced.to_svg(layer=layer, state=state, width=800, standalone=False), ours["svg"])


def _check_answer(model: Model, given: Any, ours: dict[str, Any]) -> None:
    """Compare an answer about a labelled sequence with Python's, numbers up to `TOLERANCE`."""
    sequence = given if isinstance(given, str) or isinstance(given[0], str) else np.array(given)
    (theirs,) = task_of(model).replies_type(open_model(model)).predict([sequence], 12)
    _equal(dict(theirs), ours)


@pytest.mark.parametrize("name", LABELS)
def test_labels_equal_those_of_python(name: str) -> None:
    model = Model.load(GOLDEN / f"{name}.safetensors")
    requests = [("/v1/predict", {"input": given, "k": 12}) for given in LABELS[name]]
    for given, reply in zip(LABELS[name], _asked(model, *requests), strict=True):
        _check_answer(model, given, reply)


@pytest.mark.parametrize("task", ["classify", "regress", "tag"])
@pytest.mark.parametrize("cell", CELLS)
def test_labels_of_random_networks_equal_those_of_python(task: str, cell: tuple[str, str]) -> None:
    for seed in range(4):
        model, draw = make_labelled(seed, task, *cell), np.random.default_rng(seed)
        given: Any = [*draw.choice(["good", "bad", "tea", "Abcde", "ed", "zz"], 6)]
        if model.config.channels:
            given = draw.normal(size=(5, 2)).tolist()
        elif task != "tag":
            given = " ".join(given)
        _check_answer(model, given, _asked(model, ("/v1/predict", {"input": given, "k": 12}))[0])


@pytest.mark.parametrize("name", [name for name in LABELS if name != "regress-1"])
def test_a_contribution_is_the_mean_fall_over_all_replacements(name: str) -> None:
    model, given = Model.load(GOLDEN / f"{name}.safetensors"), LABELS[name][0]
    (reply,) = _asked(model, ("/v1/explain", {"input": given, "svg": True, "width": 700}))
    predictor: Any = open_model(model)
    explained = predictor.explain(given, method="leave-one-out")
    assert (reply["target"], reply["score_name"]) == (explained.target, explained.score_name)
    assert reply["score"] == pytest.approx(explained.score, abs=TOLERANCE)
    words = given.split() if isinstance(given, str) else given
    assert [row["token"] for row in reply["contributions"]] == words
    known = model.codec.tokens.tokens[1:]
    weights = 1 / (np.arange(len(known)) + 3.7)
    for at, row in enumerate(reply["contributions"]):
        others = [[*words[:at], word, *words[at + 1 :]] for word in known]
        falls = [
            explained.score
            - predictor.explain(
                " ".join(other) if isinstance(given, str) else other,
                explained.target,
                method="leave-one-out",
                quick=True,
            ).score
            for other in others
        ]
        # 32 replacements, one in each 32nd of their probability
        expected, error = np.average(falls, weights=weights), np.ptp(falls) / 32
        assert row["contribution"] == pytest.approx(expected, abs=2 * error + TOLERANCE)
    assert reply["svg"].count('class="row"') == len(words)
    assert reply["verdict"].split(":")[0] in reply["svg"]


def test_wrong_numbers_are_refused_in_one_line() -> None:
    model = Model.load(GOLDEN / "regress-1.safetensors")
    long, text = _asked(
        model, ("/v1/predict", {"input": [[1.0]], "k": 1}), ("/v1/predict", {"input": "a", "k": 1})
    )
    assert long["error"]["message"] == "numbers of a step: got 1; expected 2"
    assert text["error"]["message"] == "numbers: got a text; expected rows of numbers"


def _check_forecast(model: Model, values: np.ndarray) -> None:
    """Compare the forecast after the first series of a model, with other values in it, with Python's."""
    codec = model.codec
    series = replace(codec.history.select(codec.history.ids[:1]), values=(values,))
    past, future, static = (
        np.full_like(x, np.nan) for x in (series.past[0], series.future[0], series.static)
    )
    series = replace(series, past=(past,), future=(future,), static=static)
    predictor: Any = open_model(model)
    theirs = predictor.forecast(series, every_step=True)
    given = [None if np.isnan(value) else float(value) for value in values]
    (ours,) = _asked(model, ("/v1/predict", {"input": given, "width": 700}))
    tolerance = TOLERANCE * max(1.0, np.abs(theirs.quantiles).max())
    assert ours["median"] == pytest.approx(theirs.median[0].tolist(), abs=tolerance)
    assert ours["mean"] == pytest.approx(theirs.mean[0].tolist(), abs=tolerance)
    assert [interval["percent"] for interval in ours["intervals"]] == [*theirs.intervals]
    for interval in ours["intervals"]:
        ends = theirs.interval(interval["percent"])
        for end, expected in zip(("low", "high"), ends, strict=True):
            assert interval[end] == pytest.approx(expected[0].tolist(), abs=tolerance)
    assert ours["svg"].count('class="band"') == len(theirs.intervals)


@pytest.mark.parametrize("name", FORECAST)
def test_forecasts_equal_those_of_python(name: str) -> None:
    model = Model.load(MODELS[f"{name}.safetensors"])
    values, draw = model.codec.history.values[0], np.random.default_rng(0)
    _check_forecast(model, values)
    _check_forecast(model, np.where(draw.random(len(values)) < 0.3, np.nan, values * 2 + 1))


@pytest.mark.parametrize("seed", range(6))
def test_forecasts_by_random_rules_equal_those_of_python(seed: int) -> None:
    draw, (cell, activation) = np.random.default_rng(seed), CELLS[seed % len(CELLS)]
    series = load_series({"ds": stamps(0, 40), "y": draw.normal(size=40).cumsum() + 90})
    model = make_forecaster(series, cell=cell, log=seed % 3 == 1, members=2)
    season = (1, 3)[seed % 2]
    rule = replace(
        model.codec.rule, season=season, long_season=seed % 4 * 2, floor=seed > 2, usual=0.1
    )
    ridge = None
    if seed % 2:
        rule = replace(rule, lags=9, lag_season=season)
        weights = draw.normal(size=(2, rule.horizon, 9)) / 5
        ridge = Ridge(weights[0], draw.uniform(0.5, 1, rule.horizon), weights[1][:, :4], 1.25)
    config = replace(model.config, activation=activation, input_size=rule.input_size)
    shapes = config.parameters().items()
    arrays = {name: draw.normal(scale=0.3, size=size).astype(np.float32) for name, size in shapes}
    model = Model(config, arrays, replace(model.codec, rule=rule, ridge=ridge), {})
    values = series.values[0]
    rounded = np.where(np.arange(40) % 9, 5.0, np.round(values))
    for given in (values, rounded, np.where(np.arange(40) < 20, values, np.nan)):
        _check_forecast(model, given)


@pytest.mark.parametrize("seed", range(20))
def test_forecasts_of_random_networks_equal_those_of_python(seed: int) -> None:
    model = make_random_forecaster(seed, *CELLS[seed % len(CELLS)], plain=True)
    _check_forecast(model, model.codec.history.values[0])


def _random_model(cell: str, seed: int, **sizes: Any) -> Model:
    random = np.random.default_rng(seed)
    level, documents = ("char", "word")[seed % 2], ("file", "line")[seed // 2 % 2]
    ends = ["\n"] if documents == "file" else ["<end>"]
    tokens = [*" abcdefgh'"] if level == "char" else ["I", "don't", "eat", "(", ")", "ไทย", ",中"]
    codec = TextCodec(level, ("<unk>", *ends, *tokens), "words", documents)
    how = {"hidden_size": 7, "num_layers": 2, "embedding_size": 5, "residual": seed % 3 == 0}
    config = NetworkConfig(
        task="language",
        cell=cell,
        activation=("tanh", "linear")[seed % 2] if cell == "rnn" else "tanh",
        vocabulary_size=len(codec),
        bias=seed % 4 < 3,
        **(how | sizes),
    )
    arrays = {
        name: (random.standard_normal(shape) / 2).astype(np.float32)
        for name, shape in config.parameters().items()
    }
    return Model(config, arrays, codec, {})


@pytest.mark.parametrize("cell", elman.cells.CELLS)
@pytest.mark.parametrize("seed", range(4))
def test_probabilities_of_random_networks_equal_those_of_python(cell: str, seed: int) -> None:
    model = _random_model(cell, seed)
    text = "I don't (eat) ไทย 中, a bad cab\r\nheaded back, I eat"
    predictor: Any = open_model(model)
    (reply,) = _asked(model, ("/v1/predict", {"input": text, "k": 20}))
    shares = {row["token"]: row["probability"] for row in reply["predictions"]}
    assert shares == pytest.approx(dict(predictor.predict_next(text, 20)), abs=TOLERANCE)
    assert tuple(reply["unknown"]) == predictor.unknown_tokens(text)
    # the most probable text is the same too
    body = {"prompt": text, "n": 12, "temperature": 0}
    (written,) = _asked(model, ("/v1/generate", body))
    assert written["text"] == predictor.generate(text, 12, temperature=0)


def test_a_large_model_is_small_enough_and_still_exact() -> None:
    model = _random_model("lstm", 0, hidden_size=512, num_layers=1, embedding_size=512)
    assert sum(array.size for array in model.arrays.values()) > MAX_FLOAT32_WEIGHTS
    page = html_page(model)
    assert len(page.encode()) < 6e6
    (reply,) = _asked(model, ("/v1/predict", {"input": "a bad cab", "k": 20}))
    predictor: Any = open_model(model)
    for row, (token, share) in zip(
        reply["predictions"], predictor.predict_next("a bad cab", 20), strict=True
    ):
        assert (row["token"], row["probability"]) == (token, pytest.approx(share, abs=TOLERANCE))


@pytest.mark.parametrize("name", [name for name in MODELS if name[:-12] not in EXPRESSIBLE])
def test_other_models_are_refused_in_one_line(name: str) -> None:
    with pytest.raises(InputError, match=r"^--html cannot hold this model: got a ") as caught:
        html_page(Model.load(MODELS[name]))
    assert "\n" not in str(caught.value)


def test_the_file_tells_nothing_of_the_training(tmp_path: Path) -> None:
    model = Model.load(MODELS["lstm-1.safetensors"])
    secret = Model(
        model.config, model.arrays, model.codec, {"file": "/home/me/x.txt", "sample": "s3cret"}
    )
    (path,) = write_html(secret, tmp_path / "shown.html")
    text = path.read_text("utf-8")
    for hidden in ("/home/me", "s3cret", str(tmp_path)):
        assert hidden not in text
    forecaster = Model.load(MODELS["forecast-1.safetensors"])
    for name in forecaster.codec.history.ids:
        assert f'"{name}"' not in json.dumps(described_model(forecaster, "m"))
    # nothing is loaded: every address in the file is a name of XML, or data
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", text)
    assert set(re.findall(r"https?://[\w./]+", text)) == {"http://www.w3.org/2000/svg"}


@contextmanager
def _opened(browser: Browser, model: Model, path: Path) -> Iterator[Page]:
    """Open a model's file without a network; at the end, check that nothing failed or was requested."""
    write_html(model, path)
    context = browser.new_context()
    context.set_default_timeout(PATIENCE)
    context.set_offline(True)
    asked, errors = list[str](), list[str]()
    context.on("request", lambda request: asked.append(request.url))
    context.route(re.compile("^https?:"), lambda route: route.abort())
    context.add_init_script(WATCH)
    page = context.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(path.as_uri())
    yield page
    assert page.locator("#problem").inner_text() == ""
    assert not errors
    assert page.evaluate("window.__violations") == []
    assert all(url.startswith(("file:", "blob:", "data:")) for url in asked)
    context.close()


def test_the_file_works_without_a_network(browser: Browser, folder: Path, tmp_path: Path) -> None:
    model = Model.load(folder / "meals.safetensors")
    with _opened(browser, model, tmp_path / "meals.html") as page:
        _use_language(page, elman.load(folder / "meals.safetensors"))


def _use_language(page: Page, predictor: Any) -> None:
    expect(page.locator("[role=tab]:visible")).to_have_text(["Unrolled", "Memory"])
    page.locator("#sentence").press_sequentially("my sister likes to eat")
    expect(page.locator("#network .word")).to_have_count(5, timeout=PATIENCE)
    best = predictor.predict_next("my sister likes to eat", 8)
    for rank, (token, share) in enumerate(best):
        expect(page.locator("#keys button").nth(rank)).to_contain_text(
            token.replace("\n", "line end")
        )
        if share >= 0.0005:
            shown = page.locator("#network .prediction").nth(rank).text_content() or ""
            assert float(re.findall(r"([\d.]+) %", shown)[0]) == pytest.approx(
                100 * share, abs=0.11
            )
    expect(page.locator("#because")).to_contain_text("test", timeout=PATIENCE)
    page.locator("#keys button").first.click()
    expect(page.locator("#sentence")).to_have_value(f"my sister likes to eat {best[0][0]}")
    page.locator("#write").click()
    expect(page.locator("#stop")).to_be_hidden(timeout=PATIENCE)
    assert len(page.locator("#sentence").input_value().split()) > 15
    page.locator("#tab-memory").click()
    expect(page.locator("#heat .unit")).to_have_count(24, timeout=PATIENCE)
    page.locator('#heat [data-unit="5"]').click()
    expect(page.locator("#unit-title")).to_have_text("Unit 0.5")
    expect(page.locator("#coloured .tone").first).to_have_text("my")


def test_the_file_of_a_classifier_labels_a_text(browser: Browser, tmp_path: Path) -> None:
    model = Model.load(GOLDEN / "ngrams-1.safetensors")
    with _opened(browser, model, tmp_path / "films.html") as page:
        expect(page.locator("[role=tab]:visible")).to_have_text(["Labels"])
        page.locator("#example").press_sequentially("good bad")
        label, share = page.locator("#labels button .name"), page.locator("#labels button small")
        predictor: Any = open_model(model)
        shares = predictor.predict_proba(["good bad"])[0]
        expect(label.first).to_have_text(model.codec.labels.names[shares.argmax()])
        expect(share.first).to_have_text(
            f"{100 * shares.max():.{0 if shares.max() > 0.0995 else 1}f} %"
        )
        expect(page.locator("#moved .tone")).to_have_text(["good", "bad"])
        expect(page.locator("#answer .row")).to_have_count(2)
        page.locator("#labels button").nth(2).click()
        expect(page.locator("#labels button").nth(2)).to_have_attribute("aria-pressed", "true")


def test_the_file_of_a_tagger_tags_each_word(browser: Browser, tmp_path: Path) -> None:
    model = Model.load(GOLDEN / "chain-1.safetensors")
    with _opened(browser, model, tmp_path / "tags.html") as page:
        page.locator("#example").fill("I like tea")
        predictor: Any = open_model(model)
        tags = predictor.predict([["I", "like", "tea"]])[0]
        expect(page.locator("#labels .name + .name")).to_have_text(tags)
        page.locator("#labels button").first.click()
        expect(page.locator("#answer")).to_contain_text("at step 0")


def test_the_file_of_a_forecaster_forecasts_typed_values(browser: Browser, tmp_path: Path) -> None:
    model = Model.load(GOLDEN / "forecast-ridge-1.safetensors")
    with _opened(browser, model, tmp_path / "visits.html") as page:
        expect(page.locator("[role=tab]:visible")).to_have_text(["Series"])
        expect(page.locator("#ahead .band")).to_have_count(1)  # of an invented series
        (first,) = _asked(model, ("/v1/predict", {"input": [7, None, 9, 8], "width": 700}))
        page.locator("#example").fill("7 ?, 9\n8")
        median = page.locator("#values tbody tr").nth(0).locator("td").nth(2)
        expect(median).to_have_text(f"{first['median'][0]:.5g}")
        page.locator("#example").fill("7 eight")
        expect(page.locator("#problem")).to_contain_text("values: got eight; expected numbers")
        page.locator("#example").fill("7 8")
        expect(page.locator("#problem")).to_be_empty()
