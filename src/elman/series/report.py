"""What a forecast is worth: its figures beside those of the plain forecasts, and in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from elman.errors import DataError, OptionError, ShapeError
from elman.metrics.forecast import (
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
from elman.series.naive import naive, naive_quantiles
from elman.tables.frames import frame_of

__all__ = ["Figures", "ForecastReport", "Interval", "Window", "forecast_report"]

_NETWORK = "the network"
_MAX = float(np.finfo(np.float64).max)


@dataclass(frozen=True, eq=False)
class Window:
    """One forecast of one series, and what came."""

    series: str
    """The name of the series."""
    history: np.ndarray
    """``[T]`` all values up to the origin, NaN where missing."""
    truth: np.ndarray
    """``[H]`` NaN where missing."""
    quantiles: np.ndarray
    """``[Q, H]`` the forecast."""
    season: int = 1
    """Steps of a season, 1 where there is none."""
    seasons: tuple[int, ...] = ()
    """Other seasons that the series may have."""
    time: int | None = None
    """Step of the origin on a clock that all series share; None: the length of the history."""

    @classmethod
    def of(
        cls,
        series: str,
        values: np.ndarray,
        origin: int,
        quantiles: np.ndarray,
        seasons: Sequence[int],
        start: int = 0,
    ) -> Window:
        """Return the forecast after the first `origin` of ``values [T]``, beside what came after it.

        `seasons` are the plausible ones, that of MASE first; `start` is the step of the first value on the
        clock that all series share.
        """
        horizon = quantiles.shape[1]
        truth = values[origin : origin + horizon]
        truth = np.pad(truth, (0, horizon - len(truth)), constant_values=np.nan)
        season, *others = seasons
        return cls(series, values[:origin], truth, quantiles, season, tuple(others), start + origin)


@dataclass(frozen=True)
class Interval:
    """How often and how wide an interval holds the truth."""

    level: float
    """The share it promises."""
    coverage: float
    """The share it holds."""
    width: float
    """On average, in the unit of the series."""


@dataclass(frozen=True)
class Figures:
    """The figures of one method, of all windows."""

    name: str
    mae: float
    rmse: float
    smape: float
    """Percent; as `mase`, the mean of the windows."""
    mase: float | None
    """None where no history gives a scale; windows whose own gives none are left out."""
    pinball: float
    """Mean of the quantile losses of all levels."""
    crps: float
    """Continuous ranked probability score, in the unit of the series."""
    weighted_quantile_loss: float | None
    intervals: tuple[Interval, ...]


@dataclass(frozen=True)
class ForecastReport:
    """How good forecasts are, beside the simple ones (naive, seasonal naive, drift, average)."""

    series: int
    windows: int
    horizon: int
    values: int
    """True values that were compared."""
    levels: tuple[float, ...]
    """Of the quantiles."""
    methods: tuple[Figures, ...]
    """The network first."""
    best: str
    """The simple forecast with the lowest error, by MASE where there is a scale."""
    skills: tuple[Skill, ...]
    """Against each simple forecast."""
    repeats_last: bool
    """Whether the forecast is in effect the last value repeated."""

    @property
    def sentences(self) -> tuple[str, ...]:
        """What the figures say, in plain words."""
        skills = {skill.against: skill for skill in self.skills}
        said = [str(skills[self.best])]
        # where drift is the best, people still ask about the last value
        if self.best != "naive" and skills["naive"].verdict != "better":
            said.append(str(skills["naive"]))
        if self.repeats_last:
            said.append("the forecast is, in effect, THE LAST VALUE REPEATED")
        return tuple(said)

    @property
    def skill(self) -> Skill:
        """Against the best."""
        return next(skill for skill in self.skills if skill.against == self.best)

    def to_dict(self) -> dict[str, Any]:
        """Return all fields and the sentences, for JSON."""
        return asdict(self) | {"sentences": list(self.sentences)}

    def to_frame(self) -> Any:
        """Return the figures of every method as a data frame of polars, or as columns without polars."""
        return frame_of(
            {name: value for name, value in asdict(row).items() if name != "intervals"}
            | {f"coverage_{100 * one.level:g}": one.coverage for one in row.intervals}
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


def _pairs_of(levels: Sequence[float]) -> list[tuple[float, int, int]]:
    """Return share, place of the low and of the high quantile of every interval, widest last."""
    return sorted(
        (round(levels[high] - level, 9), low, high)
        for low, level in enumerate(levels)
        for high in range(len(levels))
        if level < 0.5 and abs(level + levels[high] - 1) < 1e-9
    )


def _figures(
    name: str, quantiles: np.ndarray, truth: np.ndarray, mase: float | None, levels: Sequence[float]
) -> Figures:
    point = quantiles[:, levels.index(0.5)]
    return Figures(
        name=name,
        mae=mae(point, truth),
        rmse=rmse(point, truth),
        smape=float(np.mean([smape(*pair) for pair in zip(point, truth, strict=True)])),
        mase=mase,
        pinball=sum(
            pinball(quantiles[:, q], truth, level) / len(levels) for q, level in enumerate(levels)
        ),
        crps=crps(quantiles.swapaxes(0, 1), truth, levels),
        weighted_quantile_loss=weighted_quantile_loss(quantiles.swapaxes(0, 1), truth, levels),
        intervals=tuple(
            Interval(
                share,
                coverage(quantiles[:, low], quantiles[:, high], truth),
                interval_width(quantiles[:, low], quantiles[:, high], truth),
            )
            for share, low, high in _pairs_of(levels)
        ),
    )


def _losses(point: np.ndarray, truth: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Return the MAE of each window over its unit, of those that have one."""
    errors = np.array([mae(*pair) for pair in zip(point, truth, strict=True)])
    with np.errstate(over="ignore"):
        scaled = np.minimum(errors / units, _MAX)
    return np.asarray(scaled[~np.isnan(units)])


def _other_seasons(windows: Sequence[Window]) -> tuple[int, ...]:
    """Return the other seasons of which most histories hold two or more."""
    seasons = sorted({steps for window in windows for steps in window.seasons})
    lengths = np.array([len(window.history) for window in windows])
    return tuple(steps for steps in seasons if np.mean(lengths >= 2 * steps) > 0.5)


def forecast_report(windows: Iterable[Window], levels: Sequence[float]) -> ForecastReport:
    """Return the report of forecasts given as quantiles at `levels`, 0.5 among them.

    All windows have one horizon; those without a known truth are left out. Raises OptionError,
    ShapeError, DataError.

    >>> values = np.sin(np.arange(90) * 2 * np.pi / 12) * 5 + np.arange(90) % 7
    >>> def window(origin):
    ...     return Window("a", values[:origin], values[origin:][:6], values[origin:][None, :6] + 1, 12)
    >>> report = forecast_report([window(origin) for origin in range(24, 78, 6)], [0.5])
    >>> report.best, report.skill.verdict, report.methods[0].mae
    ('seasonal naive', 'better', 1.0)
    """
    levels = tuple(float(level) for level in levels)
    if 0.5 not in levels or not all(0 < level < 1 for level in levels):
        raise OptionError("levels", got=levels, expected="shares between 0 and 1, 0.5 among them")
    kept = [window for window in windows if np.isfinite(window.truth).any()]
    if not kept:
        raise DataError("there is no true value to measure a forecast by")
    horizon = len(kept[0].truth)
    seasonal, further = any(window.season > 1 for window in kept), _other_seasons(kept)
    quantiles: dict[str, list[np.ndarray]] = {}
    for window in kept:
        if window.truth.shape != (horizon,) or window.quantiles.shape != (len(levels), horizon):
            raise ShapeError(
                f"a window of series {window.series}",
                got=f"truth {window.truth.shape}, quantiles {window.quantiles.shape}",
                expected=f"({horizon},) and ({len(levels)}, {horizon})",
            )
        plain = naive_quantiles(window.history, horizon, window.season, levels, seasons=further)
        if seasonal:
            plain.setdefault("seasonal naive", plain["naive"])
        for name, rows in ({_NETWORK: window.quantiles} | plain).items():
            quantiles.setdefault(name, []).append(rows)
    others = [f"seasonal naive {steps}" for steps in further]
    names = [_NETWORK, "naive", "seasonal naive", *others, "drift", "average"]
    methods = {name: np.stack(quantiles[name]) for name in names if name in quantiles}
    truth = np.stack([window.truth for window in kept])
    units = np.array([scale(window.history, window.season) for window in kept], np.float64)
    if unscaled := bool(np.isnan(units).all()):
        units = np.ones(len(kept))
    middle = levels.index(0.5)
    losses = {name: _losses(rows[:, middle], truth, units) for name, rows in methods.items()}
    best = min((name for name in losses if name != _NETWORK), key=lambda name: losses[name].mean())
    figures = [
        _figures(name, rows, truth, None if unscaled else float(losses[name].mean()), levels)
        for name, rows in methods.items()
    ]
    measured = ~np.isnan(units)
    times = np.array([len(w.history) if w.time is None else w.time for w in kept])[measured]
    last = np.array([naive(window.history, 1)[0] for window in kept])

    def scaled(values: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            return np.clip((values.T / units).T[measured], -_MAX, _MAX)

    return ForecastReport(
        series=len({window.series for window in kept}),
        windows=len(kept),
        horizon=horizon,
        values=int(np.isfinite(truth).sum()),
        levels=levels,
        methods=tuple(figures),
        best=best,
        skills=tuple(
            paired_skill(losses[_NETWORK], theirs, against=other, times=times, horizon=horizon)
            for other, theirs in losses.items()
            if other != _NETWORK
        ),
        repeats_last=is_repeated_last(
            scaled(methods[_NETWORK][:, middle]),
            scaled(last),
            scaled(truth),
            times=times,
            horizon=horizon,
        ),
    )
