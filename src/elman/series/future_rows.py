"""Known-future covariates of the steps to forecast, joined to the series."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from elman.errors import DataError
from elman.series.append import append_series
from elman.series.calendar import advance
from elman.series.grid import stamp_name
from elman.series.series import SeriesSet, cut
from elman.tables.columns import several


def with_future_rows(
    history: SeriesSet, rows: SeriesSet, horizon: int
) -> tuple[SeriesSet, list[str]]:
    """Return `history` with the known-future covariates of the next steps, and notes for the user.

    Args:
        history: the series to forecast.
        rows: rows with known-future covariates; a target among them is ignored.
        horizon: the number of steps to forecast.

    Raises:
        DataError: no row is for a series and a step to forecast.
    """
    unknown = [key for key in rows.ids if key not in history.ids]
    rows = rows.select([key for key in rows.ids if key in history.ids])
    if not len(rows):
        got, expected = several(unknown), several(history.ids)
        raise DataError("future has rows of no series to forecast", got=got, expected=expected)
    rows = rows.before(max(map(len, rows.values)))  # drops the target
    ends = [len(values) for values in history.values]
    without = replace(history, future=cut(history.future, ends))
    if not any(_known_steps(append_series(without, rows), horizon)):
        ahead = ends[0] + np.array([0, horizon - 1])
        first, last = map(stamp_name, advance(history.starts[0], history.frequency, ahead))
        got, expected = f"rows from {stamp_name(rows.starts[0])} on", f"{first} to {last}"
        raise DataError("no row of future is of a step to forecast", got=got, expected=expected)
    extended = append_series(history, rows)
    counts = _known_steps(extended, horizon)
    short = [key for key, count in zip(extended.ids, counts, strict=True) if count < horizon]
    notes = []
    if unknown:
        notes.append(f"future has rows of series that are not forecast: {several(unknown)}")
    if short:
        steps = f"{min(counts)} of {horizon} steps of series {several(short)}"
        notes.append(f"future has rows for {steps}; the other steps count as missing")
    return extended, notes


def _known_steps(series: SeriesSet, horizon: int) -> list[int]:
    """Return for each series how many of the next steps have known-future covariates."""
    pairs = zip(series.values, series.future, strict=True)
    ahead = [known[len(values) :][:horizon] for values, known in pairs]
    return [int(np.isfinite(known).any(axis=1).sum()) for known in ahead]
