from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from elman.errors import DataError, OptionError, ShapeError
from elman.metrics.forecast_errors import mase, smape
from elman.series.naive import naive_quantiles
from elman.series.report import Window, forecast_report

LEVELS = (0.025, 0.1, 0.5, 0.9, 0.975)
NAN = float("nan")


def windows(
    values: np.ndarray,
    origins: range | list[int],
    horizon: int,
    season: int = 1,
    name: str = "a",
    forecast: Callable[..., Any] | None = None,
) -> list[Window]:
    """Make windows of a series; without `forecast`, the median forecast is the truth."""
    made = []
    for origin in origins:
        truth = values[origin : origin + horizon]
        rows = truth + np.array([-2.0, -1.0, 0.0, 1.0, 2.0])[:, None]
        if forecast is not None:
            rows = forecast(values[:origin], horizon)
        made.append(Window(name, values[:origin], truth, rows, season))
    return made


def repeated(history: np.ndarray, horizon: int) -> np.ndarray:
    return naive_quantiles(history, horizon, 1, LEVELS)["naive"] + 0.001


def walk(n: int = 400) -> np.ndarray:
    return 100 + np.random.default_rng(2).normal(size=n).cumsum()


def season(n: int = 240) -> np.ndarray:
    draw = np.random.default_rng(3)
    return 50 + np.arange(n) / 10 + 9 * np.sin(np.arange(n) * np.pi / 6) + draw.normal(size=n)


def test_the_report_says_that_a_forecast_repeats_the_last_value() -> None:
    report = forecast_report(windows(walk(), range(200, 390, 10), 10, forecast=repeated), LEVELS)
    assert report.repeats_last
    assert report.sentences[-1] == "the forecast is, in effect, THE LAST VALUE REPEATED"
    against_naive = next(skill for skill in report.skills if skill.against == "naive")
    assert str(against_naive) in report.sentences
    assert "NO DIFFERENCE" in str(against_naive)
    assert [row.name for row in report.methods] == ["the network", "naive", "drift", "average"]


def test_the_report_says_that_a_forecast_is_good() -> None:
    good = windows(season(), range(120, 228, 12), 12, 12)
    report = forecast_report(good, LEVELS)
    assert not report.repeats_last
    assert (report.best, report.skill.verdict) == ("seasonal naive", "better")
    assert report.skill.value == 1.0
    assert len(report.sentences) == 1
    assert "NOT" not in report.sentences[0]


def test_the_figures_are_those_of_the_measures() -> None:
    values = season()
    some = windows(values, [100, 130], 12, 12) + windows(values * 7, [90], 12, 12, "b")
    for window in some:
        window.quantiles[:] += 1.5
    some[1].truth[3] = NAN
    report = forecast_report(some, LEVELS)
    assert (report.series, report.windows, report.horizon, report.values) == (2, 3, 12, 35)
    by_name = {row.name: row for row in report.methods}
    assert list(by_name) == [
        *("the network", "naive", "seasonal naive", "drift", "average"),
    ]
    network = by_name["the network"]
    assert network.mae == pytest.approx(1.5)
    assert network.mase == pytest.approx(
        np.mean([mase(w.quantiles[2], w.truth, w.history, 12) for w in some])
    )
    assert network.smape == pytest.approx(np.mean([smape(w.quantiles[2], w.truth) for w in some]))
    # the truth is 1.5 below the median: outside the interval of ±1, inside that of ±2
    assert [(one.level, one.coverage) for one in network.intervals] == [(0.8, 0.0), (0.95, 1.0)]
    assert [one.width for one in network.intervals] == pytest.approx([2.0, 4.0])


def test_series_without_a_season_have_no_seasonal_naive_forecast() -> None:
    plain = walk()
    some = windows(season(), [120], 6, 12) + windows(plain, [200], 6, 1, "b")
    rows = {row.name: row for row in forecast_report(some, LEVELS).methods}
    alone = forecast_report(some[1:], LEVELS)
    assert "seasonal naive" in rows
    assert "seasonal naive" not in {row.name for row in alone.methods}


def test_constant_series() -> None:
    flat = np.full(40, 3.0)
    report = forecast_report(windows(flat, [20, 30], 5), LEVELS)
    assert [row.mase for row in report.methods] == [None] * 4
    assert (report.skill.value, report.skill.verdict) == (0.0, "not better")
    assert not report.repeats_last
    # the scaled errors leave out a constant series if another series varies
    both = windows(flat, [20], 5) + windows(walk(), [200], 5, 1, "b")
    moving = forecast_report(both[1:], LEVELS)
    assert forecast_report(both, LEVELS).methods[1].mase == moving.methods[1].mase


def test_origins_that_overlap_weigh_less() -> None:
    apart = forecast_report(windows(walk(), range(200, 390, 10), 10, forecast=repeated), LEVELS)
    overlapping = forecast_report(windows(walk(), range(200, 220), 10, forecast=repeated), LEVELS)
    assert apart.skill.standard_error is not None
    # 20 origins, each overlapping 9 others, count as two observations
    assert overlapping.skill.standard_error is None


def test_windows_without_truth_are_left_out() -> None:
    some = windows(walk(), [100, 200], 4)
    some[0].truth[:] = NAN
    some[0].quantiles[:] = 0.0
    assert forecast_report(some, LEVELS).windows == 1
    some[1].truth[:] = NAN
    with pytest.raises(DataError, match="no true value"):
        forecast_report(some, LEVELS)


def test_what_does_not_fit_is_refused() -> None:
    for levels in ((0.1, 0.9), (0.5, 1.0)):
        with pytest.raises(OptionError, match="levels"):
            forecast_report([], levels)
    some = windows(walk(), [100, 200], 4)
    with pytest.raises(ShapeError, match=r"series a: got truth \(4,\), quantiles \(5, 4\)"):
        forecast_report(some, (0.5,))
    some[1].quantiles[2, 1] = NAN
    with pytest.raises(DataError, match="not finite"):
        forecast_report(some, LEVELS)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("size", [1e-308, 1e-200, 1e200, 1e307])
def test_no_figure_is_infinite(size: float) -> None:
    draw = np.random.default_rng(0)
    values = draw.normal(size=100) * size
    report = forecast_report(windows(values, range(50, 90, 5), 5, 4, forecast=repeated), LEVELS)
    json.dumps(report.to_dict(), allow_nan=False)


def test_the_report_prints_as_a_table_and_goes_into_json() -> None:
    report = forecast_report(windows(season(), range(120, 228, 12), 12, 12), LEVELS)
    lines = str(report).splitlines()
    assert lines[0] == "series 1, windows 9, horizon 12, values 108"
    assert lines[1].split() == ["MAE", "RMSE", "sMAPE", "MASE", "CRPS", "80", "%", "95", "%"]
    assert len({len(line) for line in lines[1:7]}) == 1
    assert " ".join(lines[2].split()) == ("the network 0 0 0.00 % 0.000 0.105 100.0 % 100.0 %")
    assert tuple(lines[7:]) == report.sentences
    form = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert form["methods"][1]["name"] == "naive"
    assert form["methods"][0]["intervals"][0] == {
        "level": 0.8,
        "coverage": 1.0,
        "width": pytest.approx(2.0),
    }
    assert form["sentences"] == list(report.sentences)


def test_the_network_is_compared_with_the_best_simple_forecast() -> None:
    # days of 4 steps, whose level depends on the day of the week: a season of 28
    draw = np.random.default_rng(0)
    at = np.arange(28 * 12)
    values = np.sin(at * np.pi / 2) + 5 * ((at // 4) % 7) + 0.1 * draw.normal(size=len(at))
    made = [
        Window("a", values[:origin], values[origin : origin + 4], np.zeros((1, 4)), 4, (28, 999))
        for origin in range(200, 300, 4)
    ]
    report = forecast_report(made, [0.5])
    assert report.best == "seasonal naive 28"
    assert "the seasonal naive forecast (28 steps back)" in str(report)
    # a season longer than every history is left out
    assert "seasonal naive 999" not in str(report)


def test_the_average_is_the_best_simple_forecast_of_white_noise() -> None:
    values = np.random.default_rng(0).normal(size=300)
    zero = np.zeros((1, 5))
    made = [Window("a", values[:n], values[n : n + 5], zero, 7) for n in range(100, 290, 5)]
    report = forecast_report(made, [0.5])
    assert report.best == "average"
    assert report.skill.verdict == "no difference"


@pytest.mark.slow
def test_correlated_series_do_not_turn_chance_into_skill() -> None:
    # random walks with a common component, forecast with a meaningless trend
    called = 0
    for trial in range(60):
        draw = np.random.default_rng(trial)
        common = draw.normal(size=170).cumsum()
        made = []
        for name in "abcdefgh":
            walk = common + 0.3 * draw.normal(size=170).cumsum()
            for n in range(100, 170, 5):
                rows = walk[n - 1] + 0.02 * np.arange(1, 6)[None]
                made.append(Window(name, walk[:n], walk[n : n + 5], rows, time=n))
        (naive,) = (one for one in forecast_report(made, [0.5]).skills if one.against == "naive")
        called += naive.verdict == "better"
    # 5 % of 60 trials plus three standard deviations; if the series counted as independent, it would be 20
    assert called <= 60 * 0.05 + 3 * np.sqrt(60 * 0.05 * 0.95)
