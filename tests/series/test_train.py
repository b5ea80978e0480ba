"""Training a forecaster: held-out values stay unseen, intervals are calibrated, runs resume exactly."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from elman import load
from elman.errors import DataError, OptionError
from elman.series.calibration import conformal_corrections, quantile_levels
from elman.series.network_torch import Forecaster, pinball
from elman.series.options import ForecasterOptions
from elman.series.plan import forecast_plan
from elman.series.predictor import ForecastPredictor
from elman.series.read_options import SeriesOptions
from elman.series.series import SeriesSet, load_series
from elman.series.time_split import held_out_steps, origins_for_test, origins_for_validation
from elman.series.train import train_forecaster
from elman.series.window_choice import choose_rule
from elman.training.journal import Run
from elman.training.objective import Objective
from elman.training.pace import Pace, pace_of
from elman.training.plan import Schedule
from elman.training.trainer import Outcome

pytestmark = pytest.mark.slow

SMALL: dict[str, Any] = {
    "horizon": 4,
    "hidden_size": 4,
    "members": 2,
    "steps": 6,
    "season": 6,
    "transform": "none",
    "batch_size": 8,
    "evaluations": 2,
    "threads": 1,
}
NAN = float("nan")


def train(series: SeriesSet, **settings: Any) -> Outcome:
    run = Run(
        settings.pop("output", None), settings.pop("resume", False), settings.pop("watch", None)
    )
    return train_forecaster(series, ForecasterOptions(**SMALL | settings), run)


def waves(count: int = 90, ids: tuple[str, ...] = ("a", "b")) -> dict[str, np.ndarray]:
    at = np.arange(count)
    draw = np.random.default_rng(0)
    return {
        name: 10 * (n + 1) + 3 * np.sin(at * 2 * np.pi / 6) + draw.standard_normal(count)
        for n, name in enumerate(ids)
    }


@pytest.fixture(scope="module")
def series() -> SeriesSet:
    return load_series(waves())


def weights(outcome: Outcome) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in outcome.model.arrays.items()}


def panel(values: np.ndarray, rain: np.ndarray) -> SeriesSet:
    frame = {"y": values, "rain": rain, "offer": np.arange(len(values)) % 4.0}
    return load_series(frame, SeriesOptions(target="y", past=("rain",), future=("offer",)))


@pytest.mark.parametrize("garbage", [NAN, 1e6, -1.0])
def test_held_out_values_are_not_trained_on(
    garbage: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    # validation may not choose the network's share of the forecast
    monkeypatch.setattr("elman.series.calibration.SHARES", (1.0,))
    values = waves()["a"]
    rain = np.cos(np.arange(90.0))
    # a single evaluation, so that validation cannot choose another network
    settings = {"refit": False, "evaluations": 1}
    whole = train(panel(values, rain), **settings)
    held = round(0.15 * 90)
    assert whole.model.card["held_out"]["windows"] > 0
    values[-held:-1], rain[-held:-1] = garbage, np.nan_to_num(garbage)
    rain[-1] = np.nan_to_num(garbage)
    if garbage == garbage:
        values[-1] = garbage
    assert weights(train(panel(values, rain), **settings)) == weights(whole)
    # values before the held-out ones are trained on
    values[-held - 9 : -held] += np.arange(9)
    assert weights(train(panel(values, rain), **settings)) != weights(whole)


def test_values_of_the_test_set_choose_nothing() -> None:
    # the best step, the calibration and the window rule do not depend on the test set
    values, settings = waves()["a"], {"refit": False, "evaluations": 3, "season": None}
    one = train(load_series(values), **settings)
    held = round(0.15 * 90) // 2
    values[-held:] = 10 + 40 * np.arange(held) % 7
    two = train(load_series(values), **settings)
    assert weights(two) == weights(one)
    assert two.model.codec.corrections.tobytes() == one.model.codec.corrections.tobytes()
    assert two.model.codec.rule == one.model.codec.rule
    assert two.model.card["validation"] == one.model.card["validation"]
    assert (
        two.model.card["held_out"]["methods"][0]["mae"]
        > 2 * (one.model.card["held_out"]["methods"][0]["mae"])
    )
    # but the validation set does influence them
    values[-held - 3 : -held] += 20
    three = train(load_series(values), **settings)
    assert three.model.card["validation"] != one.model.card["validation"]


@pytest.mark.parametrize(("count", "tested"), [(1, 24), (3, 24), (600, 6), (2000, 6)])
def test_windows_of_the_test_come_after_those_of_validation(count: int, tested: int) -> None:
    made = load_series(list(np.random.default_rng(0).standard_normal((count, 80))))
    held = held_out_steps(made, 4, 20)
    assert held == (12,) * count
    codec = train(load_series(waves()["a"])).model.codec
    validate, test = (
        choose(made, codec, held) for choose in (origins_for_validation, origins_for_test)
    )
    assert validate is not None
    assert test is not None
    assert {*validate.series.tolist()} == {*range(count)}
    assert len(test) <= max(4000, tested * count)
    # the validation windows end where the test windows begin
    _, truth = validate.prepare(np.arange(len(validate)))
    last = validate.origins + np.where(np.isfinite(truth), np.arange(1, 5), 0).max(axis=1)
    assert last.max() == 74
    assert 68 <= validate.origins.min() <= validate.origins.max() < 74
    assert (test.origins.min(), test.origins.max()) == (74, 77)
    assert len(np.unique(test.origins)) == 4


def test_the_second_stage_trains_on_all() -> None:
    settings = {"evaluations": 1}
    values = waves()["a"]
    before = train(load_series(values), **settings)
    values[-9:] += np.arange(9)
    assert weights(train(load_series(values), **settings)) != weights(before)
    assert before.model.card["refit"]


def test_the_same_seed_is_the_same_network(series: SeriesSet) -> None:
    first = train(series)
    assert weights(train(series)) == weights(first)
    assert weights(train(series, seed=1)) != weights(first)


def test_threads_change_nothing(series: SeriesSet) -> None:
    assert weights(train(series)) == weights(train(series, threads=2))


def test_members_differ(series: SeriesSet) -> None:
    arrays = train(series).model.arrays
    names = [name.removeprefix("members.0.") for name in arrays if name.startswith("members.0.")]
    assert len(arrays) == 2 * len(names)
    assert not np.array_equal(arrays["members.0.input.weight"], arrays["members.1.input.weight"])


def test_an_untrained_network_gives_the_linear_autoregression(series: SeriesSet) -> None:
    outcome = train(series, steps=1, learning_rate=0.0, refit=False)
    predictor = ForecastPredictor(outcome.model)
    ends = np.array([len(values) for values in series.values])
    ridge = predictor.codec.ridge_quantiles(series, np.arange(len(series)), ends)
    median = predictor.codec.levels.index(0.5)
    expected = [quantiles[:, median] for quantiles in ridge if quantiles is not None]
    np.testing.assert_allclose(predictor.predict().median, expected, rtol=1e-12)


def test_an_untrained_network_gives_the_naive_forecast_of_a_short_series() -> None:
    series = load_series([values[:14] for values in waves().values()])
    outcome = train(series, steps=1, learning_rate=0.0, refit=False)
    median = ForecastPredictor(outcome.model).predict().median
    expected = np.stack([values[-6:-2] for values in series.values])
    np.testing.assert_allclose(median, expected, rtol=1e-12)


def test_it_learns() -> None:
    # each wave is the wave before it with the opposite sign, so the seasonal naive forecast is always wrong
    at = np.arange(240)
    values = np.sin(at * 2 * np.pi / 6) * np.where(at // 6 % 2, 1, -1)
    outcome = train(
        load_series(values),
        steps=200,
        batch_size=32,
        hidden_size=16,
        learning_rate=0.02,
        members=1,
        dropout=0.0,
    )
    skills = ForecastPredictor(outcome.model).evaluate(values).skills
    (seasonal,) = (skill for skill in skills if skill.against == "seasonal naive")
    assert seasonal.value > 0.5


class CutOffError(Exception):
    """Error that ends a run in the middle, as if the process was killed."""


@pytest.mark.parametrize(("event", "count"), [("evaluation", 2), ("evaluation", 3)])
def test_a_killed_run_resumes_to_the_same_bits(
    series: SeriesSet, tmp_path: Path, event: str, count: int
) -> None:
    settings: dict[str, Any] = {"steps": 45, "dropout": 0.3, "checkpoint_every": 1e-6}
    whole = train(series, output=tmp_path / "whole.safetensors", **settings)
    told = 0

    def stop(found: dict[str, Any]) -> None:
        nonlocal told
        told += found["event"] == event
        if told == count:
            raise CutOffError

    output = tmp_path / "part.safetensors"
    with pytest.raises(CutOffError):
        train(series, output=output, watch=stop, **settings)
    assert output.with_suffix(".checkpoint").exists()
    events: list[dict[str, Any]] = []
    part = train(series, output=output, resume=True, watch=events.append, **settings)
    assert "resume" in [found["event"] for found in events]
    assert weights(part) == weights(whole)
    assert part.model.codec.corrections.tolist() == whole.model.codec.corrections.tolist()
    ours, theirs = dict(part.model.card), dict(whole.model.card)
    for card in (ours, theirs):
        card["training"] = {k: v for k, v in card["training"].items() if k != "seconds"}
        del card["created"]
    assert ours == theirs
    assert not output.with_suffix(".checkpoint").exists()


def test_a_run_that_is_killed_while_the_rate_falls_resumes_to_the_same_bits(
    series: SeriesSet, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"steps": None, "patience": 1, "checkpoint_every": 1e-6}
    events: list[dict[str, Any]] = []
    whole = train(series, watch=events.append, refit=False, **settings)
    evaluations = [event for event in events if event["event"] == "evaluation"]
    steps = [event["step"] for event in evaluations]
    # one evaluation without a better network, and then a fifth of the whole run
    worse = next(n for n, event in enumerate(evaluations) if not event["best"])
    assert steps[-1] == round(1.25 * steps[worse])
    told = 0

    def stop(event: dict[str, Any]) -> None:
        nonlocal told
        told += event["event"] == "evaluation"
        if told == len(steps):
            raise CutOffError

    output = tmp_path / "part.safetensors"
    with pytest.raises(CutOffError):
        train(series, output=output, watch=stop, refit=False, **settings)
    part = train(series, output=output, resume=True, refit=False, **settings)
    assert weights(part) == weights(whole)


@pytest.mark.parametrize("stage", [1, 2])
def test_an_interrupted_run_leaves_a_model_and_can_resume(
    series: SeriesSet, tmp_path: Path, stage: int
) -> None:
    settings: dict[str, Any] = {"steps": 60, "evaluations": 3}
    whole = train(series, output=tmp_path / "whole.safetensors", **settings)
    told, wanted = 0, {1: 1, 2: 4}[stage]

    def interrupt(found: dict[str, Any]) -> None:
        nonlocal told
        told += found["event"] == "evaluation"
        if found["event"] == "evaluation" and told == wanted:
            signal.raise_signal(signal.SIGINT)

    output = tmp_path / "part.safetensors"
    part = train(series, output=output, watch=interrupt, **settings)
    forecast = load(output, kind=ForecastPredictor).predict()
    assert np.isfinite(forecast.quantiles).all()
    if stage == 1:
        assert part.stopped == "interrupted"
        assert part.model.config.members == 1
        assert part.model.card["held_out"]["windows"] > 0
        part = train(series, output=output, resume=True, **settings)
    assert weights(part) == weights(whole)


def test_an_untested_run_says_so() -> None:
    events: list[dict[str, Any]] = []
    outcome = train(load_series([1.0, 2.0, 1.0, 3.0]), season=1, horizon=3, watch=events.append)
    assert outcome.model.card["held_out"] is None
    assert not outcome.model.codec.corrections.any()
    (start,) = (found for found in events if found["event"] == "start")
    assert any("held out" in said for said in start["data"]["warnings"])
    # the last network is kept, not the first one
    assert outcome.model.card["training"]["best_step"] == 6
    told: list[dict[str, Any]] = []
    train(load_series(waves()), watch=told.append)
    assert not any("held out" in said for said in told[0]["data"]["warnings"])


@pytest.mark.parametrize("values", [[1.0], [1.0, NAN, NAN], {"a": [1.0], "b": [2.0]}])
def test_too_short(values: Any) -> None:
    with pytest.raises(DataError, match="the series are too short to train on"):
        train(load_series(values), season=1)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"levels": "80,soon"}, "levels: got 80,soon; expected percents such as 80,95"),
        ({"levels": "100"}, "levels"),
        ({"levels": "0"}, "levels"),
        ({"levels": ""}, "levels"),
        ({"transform": "log"}, "transform: got log; expected none: there is a value of -3"),
        ({"season": 10**9}, "season: got 1000000000; expected at most 30"),
    ],
)
def test_options_that_do_not_fit(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        train(load_series(np.arange(-3.0, 27)), **wrong)


def test_levels_are_pairs_around_the_median() -> None:
    levels = quantile_levels("80, 99")
    assert levels == (0.005, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.995)


def test_pinball_by_hand() -> None:
    quantiles = torch.tensor([[[[1.0, 2.0], [0.0, 4.0]]], [[[1.0, 2.0], [0.0, 4.0]]]])
    truth = torch.tensor([[3.0, NAN]])
    # the mean of .1 · 2 and .9 · 1 for the only known step, times the weight 2
    found = pinball(quantiles, truth, torch.tensor([2.0]), torch.tensor([0.1, 0.9]))
    assert float(found) == pytest.approx(0.2 + 0.9, rel=1e-6)


def test_gradients_of_missing_truth_are_zero() -> None:
    quantiles = torch.zeros(1, 2, 3, 1, requires_grad=True)
    truth = torch.tensor([[1.0, NAN, 1.0], [NAN, NAN, NAN]])
    pinball(quantiles, truth, torch.ones(2), torch.tensor([0.5])).backward()
    assert quantiles.grad is not None
    assert torch.isfinite(quantiles.grad).all()
    assert quantiles.grad[0, :, :, 0].tolist() == [[-0.25, 0, -0.25], [0, 0, 0]]


def test_corrections_make_intervals_hold_their_share() -> None:
    draw = np.random.default_rng(0)
    truth = draw.standard_normal((400, 5))
    truth[:, 3] = NAN
    levels = quantile_levels("80")
    narrow = np.broadcast_to(np.array(levels) - 0.5, (400, 5, len(levels)))
    for quantiles in (narrow, 20 * narrow):
        corrections = conformal_corrections(quantiles, truth, levels)
        moved = np.sort(quantiles + corrections, axis=2)
        known = np.isfinite(truth)
        for low in range(len(levels) // 2):
            inside = (moved[..., low] <= truth) & (truth <= moved[..., -1 - low])
            share = levels[-1 - low] - levels[low]
            # not exact, because a quantile of 1,600 numbers lies between two of them
            assert inside[known].mean() == pytest.approx(share, abs=2 / known.sum())
        assert corrections[len(levels) // 2] == 0
        np.testing.assert_array_equal(corrections, -corrections[::-1])


def test_intervals_hold_on_fresh_values() -> None:
    # series of noise with different scales, which the network can see in the window only
    draw = np.random.default_rng(1)
    count, trained, fresh, horizon = 30, 60, 120, 2
    sizes = np.exp(draw.uniform(-2, 2, count))
    values = {f"s{n}": size * draw.standard_normal(trained + fresh) for n, size in enumerate(sizes)}
    first = load_series({name: v[:trained] for name, v in values.items()})
    outcome = train(first, horizon=horizon, season=1, steps=40, members=1, levels="80")
    codec = outcome.model.codec
    assert codec.corrections.any()
    report = ForecastPredictor(outcome.model).evaluate(
        {name: v[trained:] for name, v in values.items()}
    )
    (found,) = (one for one in report.methods[0].intervals if one.level == 0.8)
    # calibrated on n validation values and measured on m: the standard error of a share p is
    # sqrt(p · q · (1/n + 1/m)) for independent values; the steps of a window are nearly independent
    card = outcome.model.card["held_out"]
    n, m = card["values"] / horizon, report.values / horizon
    assert abs(found.coverage - 0.8) < 4 * np.sqrt(0.8 * 0.2 * (1 / n + 1 / m))
    (told,) = (one for one in card["methods"][0]["intervals"] if one["level"] == 0.8)
    # this test set is as large as the validation set, so m = n
    assert abs(told["coverage"] - 0.8) < 4 * np.sqrt(0.8 * 0.2 * 2 / n)


def test_two_processes_train_what_one_trains(series: SeriesSet, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        "import sys, numpy as np\n"
        "from pathlib import Path\n"
        "from elman.series.series import load_series\n"
        "from elman.series.options import ForecasterOptions\n"
        "from elman.series.train import train_forecaster\n"
        "from elman.training.journal import Run\n"
        "values = dict(np.load(sys.argv[1]))\n"
        f"options = ForecasterOptions(**{SMALL | {'dropout': 0.0, 'device': 'cpu'}!r})\n"
        "train_forecaster(load_series(values), options, Run(Path(sys.argv[2])))\n",
        encoding="utf-8",
    )
    arrays: dict[str, Any] = dict(zip(series.ids, series.values, strict=True))
    np.savez(tmp_path / "values.npz", **arrays)
    arguments = [str(script), str(tmp_path / "values.npz")]
    found = []
    for processes in (1, 2):
        start = [sys.executable]
        if processes > 1:
            start += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        output = tmp_path / f"{processes}.safetensors"
        done = subprocess.run(
            [*start, *arguments, str(output)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        found.append(load(output).model)
    one, two = found
    for name, array in one.arrays.items():
        # two processes add gradients in another order, which 12 steps of Adam magnify
        np.testing.assert_allclose(two.arrays[name], array, atol=2e-3, err_msg=name)
    assert two.card["identity"]["processes"] == 2


def test_the_network_of_the_file_is_the_network(series: SeriesSet) -> None:
    model = train(series).model
    network = Forecaster(model.config, 4)
    assert {name.replace("_l0", "") for name, _ in network.named_parameters()} == {*model.arrays}


def test_held_out_values_do_not_influence_the_window_rule() -> None:
    values = np.exp(np.arange(90) * 0.02) * (2 + np.sin(np.arange(90) * 2 * np.pi / 6))
    other = values.copy()
    other[-4:] = values[-4:][::-1] * 3
    settings = {"season": None, "transform": "auto"}
    one, two = (train(load_series(some), **settings) for some in (values, other))
    assert one.model.codec.rule == two.model.codec.rule
    assert one.model.codec.rule.log
    # but a held-out value without a logarithm rules out logarithms
    other[-1] = -5.0
    assert not train(load_series(other), **settings).model.codec.rule.log


def test_coverage_is_measured_on_windows_that_calibrated_nothing() -> None:
    draw = np.random.default_rng(1)
    quiet, loud = draw.standard_normal(200), 20 * draw.standard_normal(200)
    # the validation set is quiet, the test set loud
    values = 100 + np.concatenate([quiet, quiet[:20], loud[:20]])
    held_out = train(load_series(values), season=1, members=1).model.card["held_out"]
    (eighty,) = (
        one for one in held_out["methods"][0]["intervals"] if abs(one["level"] - 0.8) < 1e-9
    )
    # an interval fitted to the test set would hold 80 % of it
    assert eighty["coverage"] < 0.5


@pytest.mark.parametrize("horizon", [20, 500])
def test_a_horizon_as_long_as_the_series_is_refused(horizon: int) -> None:
    said = f"horizon: got {horizon}; expected at most 19: the longest series has 20 values"
    with pytest.raises(OptionError, match=said):
        train(load_series(np.sin(np.arange(20.0))), horizon=horizon)


@pytest.mark.parametrize(("count", "horizon"), [(144, 10), (144, 140), (30, 29), (6000, 10)])
def test_without_a_budget_a_run_has_a_limit(count: int, horizon: int) -> None:
    options = ForecasterOptions(horizon=horizon)
    rule, _ = choose_rule(load_series(np.sin(np.arange(count) * 2 * np.pi / 12)), options)
    plan = forecast_plan(options, rule, [count])
    assert (plan.time, plan.epochs, plan.steps) == (None, None, None)
    assert plan.limit is not None
    assert plan.limit <= 180
    assert forecast_plan(replace(options, steps=9), rule, [count]).limit is None


def test_the_stages_of_a_run_share_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    # a limit of 1.5 seconds instead of minutes
    monkeypatch.setattr("elman.series.plan.FORECAST_LIMIT", 1.5)
    options = ForecasterOptions(**{n: v for n, v in SMALL.items() if n != "steps"})
    events: list[dict[str, Any]] = []
    begun = time.monotonic()
    outcome = train_forecaster(load_series(waves()), options, Run(watch=events.append))
    assert outcome.stopped in ("budget", "early")
    assert events[0]["plan"]["limit"] == 1.5
    # training keeps the limit; evaluation takes extra time
    assert outcome.model.card["training"]["seconds"] < 1.5
    assert time.monotonic() - begun < 60


def test_a_second_stage_uses_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    # the clock stands still, so that all time is left after the first stage
    monkeypatch.setattr("elman.series.train.monotonic", lambda: 0.0)
    events: list[dict[str, Any]] = []
    settings = {"steps": None, "members": None, "time": "60s", "evaluations": 20}
    outcome = train(load_series(waves(40)), **settings, patience=1, watch=events.append)
    (stage,) = (event for event in events if event["event"] == "stage")
    # trained again for as long as was best, all members together
    assert outcome.model.card["refit"]
    assert outcome.model.card["training"]["steps"] == stage["steps"]
    assert outcome.model.config.members == 5
    # with no time left after it, the first network is kept
    times = iter([0.0] + [59.99] * 9)
    monkeypatch.setattr("elman.series.train.monotonic", lambda: next(times))
    outcome = train(load_series(waves(40)), **settings, patience=1)
    assert not outcome.model.card["refit"]
    assert outcome.model.config.members == 1


def test_many_windows_are_read_at_falling_rates_in_both_stages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("elman.series.plan.MANY_WINDOWS", 20)
    # the clock stands still, so that epochs end both stages
    monkeypatch.setattr("elman.series.train.monotonic", lambda: 0.0)
    schedules: list[Schedule] = []

    def spy(schedule: Schedule, objective: Objective) -> Pace:
        schedules.append(schedule)
        return pace_of(schedule, objective)

    monkeypatch.setattr("elman.training.trainer.pace_of", spy)
    outcome = train(load_series(waves(40)), steps=None, members=None, time="60s", patience=9)
    first, last = schedules
    # a sixth of the time, because four more networks follow; no limit, with which the rate would stay high
    assert first.time == pytest.approx(10)
    assert (first.epochs, first.limit) == (10, None)
    assert (last.time, last.epochs, last.limit) == (60, None, None)
    assert last.stop is not None
    assert last.stop <= (last.steps or 0)
    assert outcome.model.card["refit"]
    assert outcome.model.config.members == 4


def test_a_run_without_validation_ends() -> None:
    options = ForecasterOptions(**{n: v for n, v in SMALL.items() if n != "steps"} | {"horizon": 3})
    outcome = train_forecaster(load_series([1.0, 2.0, 1.0, 3.0]), replace(options, season=1), Run())
    assert outcome.model.card["training"]["steps"] == 400


def test_values_behind_a_long_gap_are_trained_on() -> None:
    values = np.concatenate([[3.0], np.full(3000, NAN), np.sin(np.arange(30.0))])
    outcome = train(load_series(values), season=1)
    assert outcome.model.card["held_out"] is None


def test_the_season_with_the_lower_error_is_repeated() -> None:
    # days of 4 steps in weeks of 7 days; with size 3, the level depends on the day of the week
    at = np.arange(28 * 20)
    noise = 0.1 * np.random.default_rng(0).standard_normal(len(at))
    day = np.sin(at * np.pi / 2)
    for size, season in ((3.0, 28), (0.0, 4)):
        series = load_series(10 + day + size * ((at // 4) % 7 > 4) + noise)
        rule, _ = choose_rule(series, ForecasterOptions(horizon=4))
        assert rule.season == season
        assert rule.window >= 2 * season
