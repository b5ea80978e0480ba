"""Report on forecasts: errors and intervals beside those of simple forecasts, and verdicts in words."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from elman.errors import DataError, OptionError, ShapeError
from elman.metrics.forecast_errors import (
    coverage,
    crps,
    interval_width,
    mae,
    pinball,
    rmse,
    scale,
    smape,
    weighted_quantile_loss,
)
from elman.metrics.skill import Skill, is_repeated_last, paired_skill
from elman.series.calendar import positions
from elman.series.codec import ForecastCodec
from elman.series.naive import naive, naive_quantiles
from elman.series.series import SeriesSet
from elman.tables.frames import frame_of
from elman.training.journal import JsonObject

_NETWORK, _RIDGE = "the network", "ridge on lags"
_MAX = float(np.finfo(np.float64).max)


@dataclass(frozen=True, eq=False)
class Window:
    """One forecast of one series, and the values that came."""

    series: str
    """The id of the series."""
    history: np.ndarray
    """``[T]``: all values before the origin, NaN where missing."""
    truth: np.ndarray
    """``[H]``: the values after it, NaN where missing."""
    quantiles: np.ndarray
    """``[Q, H]``: the forecast."""
    season: int = 1
    """Steps of the season of MASE and of the seasonal naive forecast, 1 for none."""
    seasons: tuple[int, ...] = ()
    """Other seasons that the series may have."""
    time: int | None = None
    """The step of the origin, counted from the same start for all series; None: the length of the history."""
    ridge: np.ndarray | None = None
    """``[Q, H]``: the forecast of the linear autoregression, if there is one."""

    @property
    def origin(self) -> int:
        """The step of the origin."""
        return len(self.history) if self.time is None else self.time


@dataclass(frozen=True)
class Interval:
    """Coverage and width of an interval."""

    level: float
    """The share of the truth that it should hold."""
    coverage: float
    """The share that it holds."""
    width: float
    """The mean width, in the unit of the series."""


@dataclass(frozen=True)
class Figures:
    """The error measures of one method, over all windows."""

    name: str
    mae: float
    rmse: float
    smape: float
    """Mean over the windows, in percent."""
    mase: float | None
    """Mean over the windows whose history gives a scale; None if none does."""
    pinball: float
    """Mean of the quantile losses of all levels."""
    crps: float
    """Continuous ranked probability score, in the unit of the series."""
    weighted_quantile_loss: float | None
    intervals: tuple[Interval, ...]


@dataclass(frozen=True)
class ForecastReport:
    """The accuracy of forecasts, beside the simple ones (naive, seasonal naive, drift, average, ridge)."""

    series: int
    windows: int
    horizon: int
    values: int
    """The number of true values that were compared."""
    levels: tuple[float, ...]
    """The quantile levels."""
    methods: tuple[Figures, ...]
    """The network first, then the simple forecasts."""
    best: str
    """The simple forecast with the lowest error, by MASE if there is a scale."""
    skills: tuple[Skill, ...]
    """The comparison of the network with each simple forecast."""
    repeats_last: bool
    """Whether the forecast is in effect the last value repeated."""

    @property
    def sentences(self) -> tuple[str, ...]:
        """The verdicts in words."""
        skills = {skill.against: skill for skill in self.skills}
        verdicts = [str(skills[self.best])]
        # The order matters to readers: first the strongest comparison.
        # Even if another simple forecast is the best, compare with the last value: users ask about it.
        if self.best != "naive" and skills["naive"].verdict != "better":
            verdicts.append(str(skills["naive"]))
        if self.repeats_last:
            verdicts.append("the forecast is, in effect, THE LAST VALUE REPEATED")
        return tuple(verdicts)

    @property
    def skill(self) -> Skill:
        """The comparison with the best simple forecast."""
        return next(skill for skill in self.skills if skill.against == self.best)

    def to_dict(self) -> JsonObject:
        """Return all fields and the sentences, for JSON."""
        return asdict(self) | {"sentences": list(self.sentences)}

    def to_frame(self) -> Any:
        """Return a row for each method as a polars data frame, or as columns if polars is not installed."""
        return frame_of(
            {name: value for name, value in asdict(row).items() if name != "intervals"}
            | {f"coverage_{100 * each.level:g}": each.coverage for each in row.intervals}
            for row in self.methods
        )

    def __str__(self) -> str:
        wide = max(15, *(len(row.name) + 1 for row in self.methods))
        heads = [f"{100 * interval.level:g} %" for interval in self.methods[0].intervals]
        lines = [
            f"series {self.series:,}, windows {self.windows:,}, horizon {self.horizon:,}, "
            f"values {self.values:,}",
            f"{'':{wide}}{'MAE':>11}{'RMSE':>11}{'sMAPE':>9}{'MASE':>9}{'CRPS':>11}"
            + "".join(f"{head:>9}" for head in heads),
        ]
        for row in self.methods:
            scaled = "-" if row.mase is None else f"{row.mase:.3f}"
            lines.append(
                f"{row.name:{wide}}{row.mae:>11.4g}{row.rmse:>11.4g}{row.smape:>7.2f} %{scaled:>9}"
                f"{row.crps:>11.4g}"
                + "".join(f"{100 * interval.coverage:>7.1f} %" for interval in row.intervals)
            )
        return "\n".join([*lines, *self.sentences])


def report_windows(
    codec: ForecastCodec,
    series: SeriesSet,
    which: np.ndarray,
    origins: np.ndarray,
    quantiles: np.ndarray,
) -> list[Window]:
    """Return forecasts of `series` with the values that came, for a report.

    Args:
        codec: The codec; it knows the plausible seasons.
        series: The series.
        which: ``[N]`` index of each forecast's series.
        origins: ``[N]`` number of values before each forecast.
        quantiles: ``[N, H, Q]``.
    """
    # Steps of all series are counted from the earliest start.
    starts = positions(series.starts, series.frequency, series.starts.min())[0].tolist()
    horizon = quantiles.shape[1]
    season, *seasons = codec.seasons
    ridge = codec.ridge_quantiles(series, which, origins)
    windows = []
    for n, at, forecast, line in zip(
        which.tolist(), origins.tolist(), quantiles, ridge, strict=True
    ):
        # The last forecasts may reach beyond the known values.
        history, came = series.values[n][:at], series.values[n][at:][:horizon]
        truth = np.pad(came, (0, horizon - len(came)), constant_values=np.nan)
        facts = (season, tuple(seasons), starts[n] + at, None if line is None else line.T)
        windows.append(Window(series.ids[n], history, truth, forecast.T, *facts))
    return windows


def _intervals(
    by_level: np.ndarray, levels: Sequence[float]
) -> list[tuple[float, np.ndarray, np.ndarray]]:
    """Return share, lower and upper ends of every interval, the widest last, of ``by_level [Q, ...]``."""
    # A lower level below the median and an upper one as far above it.
    pairs = itertools.permutations(zip(levels, by_level, strict=True), 2)
    intervals = [
        (round(high - low, 9), low_ends, high_ends)
        for (low, low_ends), (high, high_ends) in pairs
        if low < 0.5 and abs(low + high - 1) < 1e-9
    ]
    return sorted(intervals, key=lambda interval: interval[0])


def _figures(
    name: str, quantiles: np.ndarray, truth: np.ndarray, mase: float | None, levels: Sequence[float]
) -> Figures:
    """Return the figures of ``quantiles [N, Q, H]`` for ``truth [N, H]``."""
    point, by_level = quantiles[:, levels.index(0.5)], quantiles.swapaxes(0, 1)
    return Figures(
        name=name,
        mae=mae(point, truth),
        rmse=rmse(point, truth),
        smape=float(np.mean([smape(*pair) for pair in zip(point, truth, strict=True)])),
        mase=mase,
        pinball=sum(
            pinball(rows, truth, level) / len(levels)
            for rows, level in zip(by_level, levels, strict=True)
        ),
        crps=crps(by_level, truth, levels),
        weighted_quantile_loss=weighted_quantile_loss(by_level, truth, levels),
        intervals=tuple(
            Interval(share, coverage(low, high, truth), interval_width(low, high, truth))
            for share, low, high in _intervals(by_level, levels)
        ),
    )


def _scales(windows: Sequence[Window]) -> tuple[np.ndarray, bool]:
    """Return the scale ``[N]`` of each window, NaN without one, and whether any window has a scale."""
    scales = np.array([scale(window.history, window.season) for window in windows], np.float64)
    if np.isnan(scales).all():
        # Only constant histories: compare the errors as they are.
        return np.ones(len(windows)), False
    return scales, True


def _in_scales(values: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Divide ``values [N, ...]`` by the scale of each window, for the windows that have one."""
    measured = ~np.isnan(scales)
    with np.errstate(over="ignore"):
        return np.asarray(np.clip((values[measured].T / scales[measured]).T, -_MAX, _MAX))


def _scaled_errors(point: np.ndarray, truth: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Return the MAE of each window divided by its scale, for the windows that have one."""
    errors = np.array([mae(*pair) for pair in zip(point, truth, strict=True)])
    return _in_scales(errors, scales)


def _other_seasons(windows: Sequence[Window]) -> tuple[int, ...]:
    """Return the other seasons of which most histories hold two or more."""
    seasons = sorted({steps for window in windows for steps in window.seasons})
    # A season that fewer than two repetitions support makes a poor forecast.
    lengths = np.array([len(window.history) for window in windows])
    return tuple(steps for steps in seasons if np.mean(lengths >= 2 * steps) > 0.5)


def _all_quantiles(windows: Sequence[Window], levels: Sequence[float]) -> dict[str, np.ndarray]:
    """Return the quantiles ``[N, Q, H]`` of the network and of each simple forecast, the network first."""
    horizon = len(windows[0].truth)
    is_seasonal, seasons = any(window.season > 1 for window in windows), _other_seasons(windows)
    quantiles: dict[str, list[np.ndarray]] = {}
    for window in windows:
        if window.truth.shape != (horizon,) or window.quantiles.shape != (len(levels), horizon):
            raise ShapeError(
                f"a window of series {window.series}",
                got=f"truth {window.truth.shape}, quantiles {window.quantiles.shape}",
                expected=f"({horizon},) and ({len(levels)}, {horizon})",
            )
        simple = naive_quantiles(window.history, horizon, window.season, levels, seasons=seasons)
        if is_seasonal:
            # A series without a season repeats its last value under both names.
            simple.setdefault("seasonal naive", simple["naive"])
        if window.ridge is not None:
            simple[_RIDGE] = window.ridge
        for name, rows in ({_NETWORK: window.quantiles} | simple).items():
            quantiles.setdefault(name, []).append(rows)
    others = [f"seasonal naive {steps}" for steps in seasons]
    order = [_NETWORK, "naive", "seasonal naive", *others, "drift", "average", _RIDGE]
    return {name: np.stack(quantiles[name]) for name in order if name in quantiles}


def forecast_report(windows: Iterable[Window], levels: Sequence[float]) -> ForecastReport:
    """Measure forecasts, given as quantiles, and compare them with the simple forecasts.

    Args:
        windows: The forecasts, all with the same horizon; those without a true value are left out.
        levels: The quantile levels, 0.5 among them.

    Raises:
        OptionError: the levels are not shares, or lack 0.5.
        ShapeError: a window has another horizon or number of levels.
        DataError: no window has a true value.

    >>> values = np.sin(np.arange(90) * 2 * np.pi / 12) * 5 + np.arange(90) % 7
    >>> cut = [(values[:n], values[n:][:6]) for n in range(24, 78, 6)]
    >>> report = forecast_report([Window("a", *pair, pair[1][None] + 1, 12) for pair in cut], [0.5])
    >>> report.best, report.skill.verdict, report.methods[0].mae
    ('seasonal naive', 'better', 1.0)
    """
    levels = tuple(map(float, levels))
    if 0.5 not in levels or not all(0 < level < 1 for level in levels):
        raise OptionError("levels", got=levels, expected="shares between 0 and 1, 0.5 among them")
    kept = [window for window in windows if np.isfinite(window.truth).any()]
    if not kept:
        raise DataError("there is no true value to measure a forecast by")
    methods, truth = _all_quantiles(kept, levels), np.stack([window.truth for window in kept])
    scales, has_scale = _scales(kept)
    medians = {name: rows[:, levels.index(0.5)] for name, rows in methods.items()}
    errors = {name: _scaled_errors(rows, truth, scales) for name, rows in medians.items()}
    figures = tuple(
        _figures(name, rows, truth, float(errors[name].mean()) if has_scale else None, levels)
        for name, rows in methods.items()
    )
    # Windows of several series at one time are one observation of the tests.
    times, horizon = np.array([window.origin for window in kept])[~np.isnan(scales)], truth.shape[1]
    network = errors.pop(_NETWORK)
    return ForecastReport(
        series=len({window.series for window in kept}),
        windows=len(kept),
        horizon=horizon,
        values=int(np.isfinite(truth).sum()),
        levels=levels,
        methods=figures,
        best=min(errors, key=lambda name: errors[name].mean()),
        skills=tuple(
            paired_skill(network, other, against=name, times=times, horizon=horizon)
            for name, other in errors.items()
        ),
        repeats_last=_repeats_last(kept, medians[_NETWORK], truth, scales, times),
    )


def _repeats_last(
    windows: Sequence[Window],
    median: np.ndarray,
    truth: np.ndarray,
    scales: np.ndarray,
    times: np.ndarray,
) -> bool:
    """Return whether ``median [N, H]`` is in effect the last value of each window, repeated."""
    last = np.array([naive(window.history, 1)[0] for window in windows])
    moves = [_in_scales(values, scales) for values in (median, last, truth)]
    return is_repeated_last(*moves, times=times, horizon=truth.shape[1])
