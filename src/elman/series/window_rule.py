"""Rule of the windows: how the past of a series is scaled and becomes the inputs of the network.

A window is the values before an origin and the steps to forecast after it. Its location, scale and seasonal
naive forecast are computed from its own past, so nothing after the origin can leak into them. The network
forecasts a correction of that naive forecast, or of the linear autoregression that adds to it (`Ridge`). Its
input is the window in segments (as in SegRNN: S. Lin et al., arXiv:2308.11200), with the forecast that it
corrects in place of the future values.

Shapes: B windows, W steps of the past, h of the horizon, s of the season, S segments, F numbers a segment.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from elman.errors import OptionError
from elman.series.autoregression import Ridge

MIN_CHANGES = 3
"""A window with fewer known seasonal changes has a unit of at least `WindowRule.usual`."""
MAX_WINDOW_NUMBERS = 1 << 26
"""The largest count of numbers in a single window."""
MAX_BATCH_NUMBERS = 1 << 22
"""The largest count of numbers in windows that are prepared together."""
MIN_UNIT_SHARE = 0.02
"""Least unit of a window, as a share of its deviation."""
MAX_INPUT = 12.0
"""Bound of the absolute value of scaled inputs."""


class Prepared(NamedTuple):
    """Windows that are ready for the network."""

    inputs: np.ndarray
    """float32 ``[S, B, F]``: segments in time; the last ones are those of the future."""
    base: np.ndarray
    """float64 ``[B, h]``: the forecast that the network corrects, after the rule's transform."""
    unit: np.ndarray
    """float64 ``[B]``, above 0: the change that a network output of 1 stands for, after the transform."""


class Scale(NamedTuple):
    """Location and scale of each window; values are divided by ``2^power`` before they are scaled."""

    power: np.ndarray
    """int64 ``[B]``."""
    location: np.ndarray
    """float64 ``[B]``."""
    deviation: np.ndarray
    """float64 ``[B]``."""
    unit: np.ndarray
    """float64 ``[B]``: the mean absolute seasonal change, bounded from below."""


@dataclass(frozen=True)
class WindowRule:
    """Length, season and scaling of the windows. A model file keeps the fields by these names.

    >>> rule = WindowRule(horizon=4, season=2, long_season=0, segment=2, window=4, log=False)
    >>> prepared = rule.prepare(np.array([[1.0, 2.0, 3.0, 4.0]]))
    >>> prepared.base.tolist(), prepared.unit.tolist(), prepared.inputs.shape
    ([[3.0, 4.0, 3.0, 4.0]], [2.0], (4, 1, 10))
    """

    horizon: int
    season: int
    """Steps of the season that the naive forecast repeats; 1 repeats the last value."""
    long_season: int
    """Steps of a longer season that is an input too; 0 for none."""
    segment: int
    """Time steps that one recurrent step reads."""
    window: int
    """Steps of the past, a whole number of segments and at least a season."""
    log: bool
    """Whether logarithms of the values are forecast."""
    covariates: int = 0
    """Number of covariates at each time step: past ones, known-future ones and calendar features."""
    past: int = 0
    """Number of past covariates, known only up to the origin; they come first among the covariates."""
    static: int = 0
    """Number of static covariates of each series, after encoding."""
    naive_season: int = 0
    """Steps of the season that reports repeat as the seasonal naive forecast; 0 takes `season`."""
    nonnegative: bool = False
    """Whether forecasts are bounded by 0, because no value was below 0."""
    floor: bool = False
    """Whether the last `LONG_PAST_STEPS` can raise the unit of a window whose values mostly do not change."""
    usual: float = 0.0
    """The least unit of a window with few seasonal changes: in logarithms, or as a share of the location."""
    lags: int = 0
    """Number of last values that the linear autoregression reads; 0 if there is none."""
    lag_season: int = 0
    """Steps of the season that the linear autoregression adds to, 1 for the last value; 0 without it."""

    def __post_init__(self) -> None:
        # An upper bound of the time steps of one window, past and future.
        steps = self.window + self.horizon + self.segment
        allowed = {
            "horizon": 1 <= self.horizon <= 1 << 16,
            "season": 1 <= self.season <= self.window,
            "long_season": 0 <= self.long_season <= self.window,
            "segment": 1 <= self.segment <= self.window and self.window % self.segment == 0,
            "window": 1 <= self.window <= 1 << 20
            and steps * (4 + self.covariates) <= MAX_WINDOW_NUMBERS,
            "covariates": 0 <= self.covariates <= 1 << 16,
            "past": 0 <= self.past <= self.covariates,
            "static": 0 <= self.static <= 1 << 16,
            "naive_season": 0 <= self.naive_season <= 1 << 20,
            "usual": 0 <= self.usual < math.inf,
            "lags": 0 <= self.lags <= 1 << 12,
            "lag_season": bool(self.lags) <= self.lag_season <= self.window,
        }
        for name, is_allowed in allowed.items():
            if not is_allowed:
                expected = "a size that fits the other sizes of the window"
                raise OptionError(name, got=getattr(self, name), expected=expected)

    @property
    def report_season(self) -> int:
        """Steps of the season of the seasonal naive forecast and of MASE in reports."""
        return self.naive_season or self.season

    @property
    def steps_back(self) -> int:
        """Steps before an origin that a forecast depends on: the network's window, or the lags if more."""
        return max(self.window, self.lags)

    @property
    def ahead(self) -> int:
        """Number of segments that cover the horizon."""
        return math.ceil(self.horizon / self.segment)

    @property
    def reach(self) -> int:
        """Number of time steps in the segments that cover the horizon; at least the horizon."""
        return self.ahead * self.segment

    @property
    def input_size(self) -> int:
        """F, the size of the input of a recurrent step."""
        # Level, change and missing mark, and for a long season its change, for each time step of a segment.
        channels = 3 + bool(self.long_season) + self.covariates
        return channels * self.segment + self.ahead + 2 + self.static

    @property
    def largest(self) -> float:
        """The largest transformed value that a forecast may have."""
        # exp(709) is just below the largest float64.
        return 709.0 if self.log else float(np.finfo(np.float64).max)

    @property
    def rounding_unit(self) -> float:
        """The least unit of a window, after its division by a power of two: what rounding may cause."""
        return 1e-5 if self.log else 1e-6

    @property
    def batch_size(self) -> int:
        """Number of windows that are prepared together, limited to bound the memory."""
        window_numbers = (self.steps_back + self.reach) * (4 + self.covariates)
        return max(1, min(512, MAX_BATCH_NUMBERS // window_numbers))

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Return the values, or their logarithms with NaN where there is none."""
        # A value of 0 or below has no logarithm and counts as missing.
        return np.log(np.where(values > 0, values, np.nan)) if self.log else values

    def forecast(self, prepared: Prepared, answers: np.ndarray) -> np.ndarray:
        """Convert the network's answers ``[B, h, Q]`` to values of the series, always finite."""
        largest = self.largest
        with np.errstate(over="ignore", invalid="ignore"):
            moved = prepared.base[..., None] + answers * prepared.unit[:, None, None]
        bounded: np.ndarray = np.nan_to_num(moved).clip(
            0.0 if self.nonnegative else -largest, largest
        )
        return np.exp(bounded) if self.log else bounded

    def prepare(
        self,
        past: np.ndarray,
        covariates: np.ndarray | None = None,
        static: np.ndarray | None = None,
        least_unit: np.ndarray | None = None,
        ridge: Ridge | None = None,
    ) -> Prepared:
        """Scale windows and arrange them as network inputs.

        Args:
            past: ``[B, W]`` transformed values, NaN where missing; W is `steps_back` here.
            covariates: ``[B, W + reach, C]``, scaled and finite.
            static: ``[B, S]``, scaled and finite.
            least_unit: ``[B]`` lower bound of each window's unit.
            ridge: The linear autoregression that the network corrects; None for the naive forecast.
        """
        return self.arrange(past, self.scale(past, least_unit), covariates, static, ridge)

    def arrange(
        self,
        past: np.ndarray,
        scale: Scale,
        covariates: np.ndarray | None = None,
        static: np.ndarray | None = None,
        ridge: Ridge | None = None,
    ) -> Prepared:
        """Arrange windows as network inputs by a known `scale`; the other arguments are as for `prepare`."""
        power = scale.power[:, None]
        known = np.ldexp(past, -power)
        past = known[:, -self.window :]
        forecast = self.repeated(past, scale, self.season)
        if ridge is not None:
            h, moved = self.horizon, ridge.correction(known, scale.unit) * scale.unit[:, None]
            forecast[:, :h] = self.repeated(past, scale, self.lag_season)[:, :h] + moved
        channels = self._channels(
            np.concatenate([past, forecast], axis=1), scale, is_naive=ridge is None
        )
        # [B, W + reach, channels]
        rows = np.stack(channels, axis=2)
        if covariates is not None and self.covariates:
            rows = np.concatenate([rows, covariates[:, -rows.shape[1] :]], axis=2)
            # Past covariates are not known after the origin.
            rows[:, self.window :, len(channels) : len(channels) + self.past] = 0
        rows = np.nan_to_num(rows, nan=0.0).clip(-MAX_INPUT, MAX_INPUT)
        # [B, S·s, C] → [S, B, C·s]: the numbers of a segment stand side by side, channel by channel.
        steps = rows.reshape(len(rows), -1, self.segment, rows.shape[2]).transpose(1, 0, 3, 2)
        facts = self._facts(len(steps), scale, static)
        steps = steps.reshape(len(steps), len(rows), -1)
        inputs = np.concatenate([steps, facts], axis=2, dtype=np.float32)
        with np.errstate(over="ignore"):
            base = np.ldexp(forecast[:, : self.horizon], power)
            # The better the ridge is, the smaller are the corrections that the network learns.
            spread = 1.0 if ridge is None else ridge.spread
            unit = np.ldexp(scale.unit * spread, scale.power).clip(1e-308, 1e308)
        return Prepared(inputs, base, unit)

    def scale(self, past: np.ndarray, least_unit: np.ndarray | None = None) -> Scale:
        """Return power, location, deviation and unit of each window from its own past ``[B, W]``."""
        # Divide by a power of two, which keeps all digits: squares of huge values would overflow.
        power = np.zeros(len(past), np.int64) if self.log else _power_of_two(past)
        past, s = np.ldexp(past[:, -self.window :], -power[:, None]), self.season
        # The location is the mean of the last season, so that a trend moves it along.
        recent, count = known_mean(past[:, -s:])
        location = np.where(count > 0, recent, known_mean(past)[0])
        deviation = np.sqrt(known_mean((past - location[:, None]) ** 2)[0])
        # The unit is the mean error of the seasonal naive forecast inside the window, as in MASE.
        unit, count = known_mean(abs(past[:, s:] - past[:, :-s]))
        unit = np.where(count > 0, unit, deviation)
        if least_unit is not None:
            unit = np.maximum(unit, np.ldexp(least_unit, -power))
        # Two or three values show little of how much the next ones change.
        usual = self.usual if self.log else self.usual * abs(location)
        unit = np.where(count < MIN_CHANGES, np.maximum(unit, usual), unit)
        # Bound the unit from below: in a constant window it is only rounding error.
        unit = np.maximum(unit, np.maximum(MIN_UNIT_SHARE * deviation, self.rounding_unit))
        return Scale(power, location, np.maximum(deviation, unit), unit)

    def _channels(self, values: np.ndarray, scale: Scale, *, is_naive: bool) -> list[np.ndarray]:
        """Return the inputs from ``values [B, W + reach]``: level, seasonal change, long season, missing."""
        W, s, long = self.window, self.season, self.long_season
        # [B, W + reach]: the value that the naive forecast would repeat at each time step
        season_before = _shifted(values, s)
        level = (values - scale.location[:, None]) / scale.deviation[:, None]
        change = (values - season_before) / scale.unit[:, None]
        if is_naive:
            # The naive forecast repeats the season, so its changes carry no information.
            change[:, W:] = 0
            if s == 1:
                level[:, W:] = 0
        channels = [level, change]
        if long:
            earlier = _shifted(values, long)
            # Beyond a whole long season of the future, repeat the last known long season.
            for first in range(W + long, W + self.reach, long):
                later = earlier[:, first : first + long]
                later[:] = earlier[:, first - long :][:, : later.shape[1]]
            channels.append((earlier - season_before) / scale.unit[:, None])
        return [*channels, np.isnan(values).astype(np.float64)]

    def _facts(self, segments: int, scale: Scale, static: np.ndarray | None) -> np.ndarray:
        """Return inputs beside the values, float32 ``[S, B, ahead + 2 + static]``.

        They are a one-hot code of the future segment, the unit of logarithms, the unit as a share of the
        deviation, and the static covariates.
        """
        B = len(scale.unit)
        facts = np.zeros((segments, B, self.ahead + 2 + self.static), np.float32)
        # Tells the network which future segment it forecasts; 0 in segments of the past.
        for segment in range(self.ahead):
            facts[segments - self.ahead + segment, :, segment] = 1
        if self.log:
            # Logarithms change by 0.01 to 1 in most series: this maps them to -0.5 to 0.5.
            facts[:, :, self.ahead] = np.log10(scale.unit) / 2 + 0.5
        facts[:, :, self.ahead + 1] = np.log(scale.unit / scale.deviation) / 3
        if static is not None and self.static:
            facts[:, :, self.ahead + 2 :] = static.clip(-MAX_INPUT, MAX_INPUT)
        return facts

    def repeated(self, past: np.ndarray, scale: Scale, season: int) -> np.ndarray:
        """Return the naive forecast ``[B, reach]``: the last season repeated over the future segments."""
        last = _last_season(past[:, -self.window :], season, scale.location)
        return np.tile(last, (1, math.ceil(self.reach / season)))[:, : self.reach]


def _last_season(past: np.ndarray, s: int, location: np.ndarray) -> np.ndarray:
    """Return the last known value at each phase of the season, ``[B, s]``; `location` where none is known."""
    last = past[:, -s:].copy()
    # Go back season by season until every phase has a known value.
    for first in range(past.shape[1] - 2 * s, -s, -s):
        missing = np.isnan(last)
        if not missing.any():
            break
        older = past[:, max(0, first) : first + s]
        older = np.pad(older, ((0, 0), (s - older.shape[1], 0)), constant_values=np.nan)
        last = np.where(missing, older, last)
    return np.where(np.isnan(last), location[:, None], last)


def known_mean(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of the finite numbers of each row, 0 if there are none, and their count."""
    known = np.isfinite(values)
    count = known.sum(axis=1)
    return np.where(known, values, 0.0).sum(axis=1) / np.maximum(count, 1), count


def _power_of_two(values: np.ndarray) -> np.ndarray:
    """Return for each row the exponent of the least power of two above its numbers, int64 ``[B]``."""
    largest = np.where(np.isfinite(values), abs(values), 0.0).max(axis=1)
    # Powers near the limits of float64 would turn values into 0 or infinity.
    exponents = np.frexp(largest)[1].astype(np.int64)
    return np.asarray(exponents.clip(-1010, 1020))


def _shifted(values: np.ndarray, steps: int) -> np.ndarray:
    """Return at each time step the value `steps` before, NaN where there is none."""
    earlier = np.full_like(values, np.nan)
    earlier[:, steps:] = values[:, :-steps]
    return earlier
