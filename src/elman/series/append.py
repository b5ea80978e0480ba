"""Reading of rows like those of known series, and the continuation of these by new rows, past or future."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from elman.errors import DataError
from elman.series.calendar import Stamp, advance, positions, without_jitter
from elman.series.frequency import DAY
from elman.series.grid import POLICY_WORDS, forward_filled, max_gap, stamp_name
from elman.series.read_options import (
    KEPT_OPTIONS,
    ReadOptions,
    SeriesOptions,
    SeriesSource,
    check_policies,
)
from elman.series.series import SeriesSet, cut, load_series, split_columns
from elman.tables.columns import is_number, of_series, quoted, several
from elman.training.journal import JsonObject


class _Joined(NamedTuple):
    """A known series and its new rows."""

    matrix: np.ndarray
    """``[T + more, 1 + P + F]``: value, past and future columns."""
    length: int
    """The steps up to its last value, T."""
    early: int = 0
    """New rows before the first known step, which are left out."""
    gap: int = 0
    """Steps without a row between the known and the new ones."""


def read_like(
    known: SeriesSet,
    source: SeriesSource | None,
    options: ReadOptions,
    *,
    future_only: bool = False,
) -> SeriesSet:
    """Read series with the columns, frequency, clocks and policies of known ones.

    Args:
        known: The known series.
        source: A path, a data frame or arrays; a `SeriesSet` is only checked.
        options: Fields of `SeriesOptions` that win over those of the known series.
        future_only: Whether the rows hold only known-future covariates.

    Raises:
        DataError: the rows cannot be read, or have other columns or another frequency.
        OptionError: there is no such option or policy.
    """
    # Appending to no series checks columns and frequency, and keeps every series as new.
    if isinstance(source, SeriesSet):
        return append_series(known.select([]), source)
    names = known.names
    settings: JsonObject = {
        **{name: known.reading.get(name) for name in KEPT_OPTIONS},
        "timezone": known.zone,
        "frequency": str(known.frequency),
        "id_column": next(iter(names["id"]), None),
        "time_column": next(iter(names["time"]), None),
        "target": names["target"]
        if len(names["target"]) > 1
        else next(iter(names["target"]), None),
        "past": names["past"],
        "future": names["future"],
        # Static covariates of known series come from the model; only new series must provide them.
        "static": () if future_only else known.static_columns,
    }
    settings |= {name: value for name, value in options.items() if value is not None}
    reading = SeriesOptions(
        **{name: value for name, value in settings.items() if value is not None}
    )
    series = load_series(source, reading, categories=known.categories, future_only=future_only)
    if not future_only:
        return series
    static = np.zeros((len(series), len(names["static"])))
    names = {**series.names, "static": names["static"]}
    return replace(series, static=static, names=names, categories=known.categories)


def append_series(
    known: SeriesSet, new: SeriesSet, *, gaps: str = "mask", overlap: str = "error"
) -> SeriesSet:
    """Continue each known series by the new rows with its id; new ids become new series.

    Without dates, new values follow the last value. The columns of `new` may come in any order.

    Args:
        known: The series to continue.
        new: The new rows, read with the same columns and the same frequency.
        gaps: The policy for steps between both: mask (left missing), fill or error.
        overlap: The policy for steps that both have with different values: error, replace (the new values
            win) or keep (the known values win). Equal values always pass.

    Raises:
        DataError: the rows do not fit the known series.
        OptionError: there is no such policy.

    >>> from elman.series.series import load_series
    >>> append_series(load_series([1, 2]), load_series([3])).values
    (array([1., 2., 3.]),)
    """
    check_policies(gaps=gaps, overlap=overlap)
    new = _with_columns_of(known, new)
    index = {key: number for number, key in enumerate(known.ids)}
    added = [key for key in new.ids if key not in index]
    _check_spelling(known.ids, added)
    joined = {
        at: _joined(known, at, new.at([number]), gaps, overlap)
        for number, key in enumerate(new.ids)
        if (at := index.get(key)) is not None
    }
    notes = [f"series not known before: {several(added)}"] if known.ids and added else []
    notes += _gap_notes({known.ids[at]: rows for at, rows in joined.items()}, gaps)
    more = new.select(added)
    # Known series keep their order, and new ones follow them.
    rows = [joined.get(at) or _unchanged(known, at) for at in range(len(known))]
    rows += [_unchanged(more, number) for number in range(len(more))]
    lengths, past = [each.length for each in rows], len(known.names["past"])
    columns = split_columns([each.matrix for each in rows], lengths, past)
    if not known.names["future"]:  # without such columns, their rows end with the values
        columns["future"] = cut(columns["future"], lengths)
    starts = np.concatenate([known.starts, more.starts])
    static = np.concatenate([known.static, more.static])
    warnings = tuple(dict.fromkeys((*known.warnings, *new.warnings, *notes)))
    ids = known.ids + more.ids
    return replace(known, ids=ids, starts=starts, **columns, static=static, warnings=warnings)


def _unchanged(series: SeriesSet, at: int) -> _Joined:
    return _Joined(series.matrix(at), len(series.values[at]))


def _gap_notes(joined: dict[str, _Joined], gaps: str) -> list[str]:
    """Return notes about rows that were left out, and about gaps, in series by their ids."""
    notes = []
    if early := {key: rows.early for key, rows in joined.items() if rows.early}:
        rows_of = f"{sum(early.values())} rows before the first step that is kept"
        notes.append(f"{rows_of}: left out ({of_series([*early])})")
    if gap := {key: rows.gap for key, rows in joined.items() if rows.gap}:
        steps = f"{sum(gap.values())} steps without a row before the new rows"
        notes.append(f"{steps}: {POLICY_WORDS[gaps]} ({of_series([*gap])})")
    return notes


def _with_columns_of(known: SeriesSet, new: SeriesSet) -> SeriesSet:
    """Return `new` with its columns in the order of `known`; raises DataError if both do not fit.

    A category of a static text that no new series has becomes a column of zeros; a category that `known`
    lacks is left out.
    """
    if known.frequency != new.frequency or bool(known.names["time"]) != bool(new.names["time"]):
        raise DataError(
            "the rows to append have another frequency",
            got=new.frequency.words,
            expected=known.frequency.words,
            remedy=f"pass frequency={str(known.frequency)!r} when reading them",
        )
    texts = set(known.categories) & set(new.categories)
    new_categories, known_categories = (
        {f"{name}={kind}" for name in texts for kind in series.categories[name]}
        for series in (new, known)
    )
    order: dict[str, list[int]] = {}
    for role in ("past", "future", "static"):
        names, wanted = new.names[role], known.names[role]
        if (set(names) - new_categories) != (set(wanted) - known_categories):
            got, expected = ", ".join(names) or "none", ", ".join(wanted) or "none"
            raise DataError(f"the {role} columns differ", got=got, expected=expected)
        order[role] = [names.index(name) if name in names else len(names) for name in wanted]
    # Columns are matched by name, so new rows may come in another order.
    # A column of zeros, appended at the index len(names), stands for absent categories.
    static = np.pad(new.static, ((0, 0), (0, 1)))
    return replace(
        new,
        past=tuple(array[:, order["past"]] for array in new.past),
        future=tuple(array[:, order["future"]] for array in new.future),
        static=static[:, order["static"]],
        names=known.names,
        categories=known.categories,
    )


def _check_spelling(known: Sequence[str], new: Sequence[str]) -> None:
    """Raise DataError for a new id that is a known id in another spelling, such as 7 for 007."""
    # Spreadsheets turn ids such as 007 into the number 7, or into 7.0.
    spelled = {_canonical(key): key for key in known}
    for key in new:
        if (other := spelled.get(_canonical(key))) is not None:
            raise DataError(
                f"series {quoted(key)} is not known, but {quoted(other)} is",
                remedy="write the id as in training (a number loses its leading zeros)",
            )


def _canonical(key: str) -> str:
    text = " ".join(key.split())
    return text.lstrip("0").removesuffix(".0") if is_number(text.lstrip("0") or "0") else text


def _first_step(known: SeriesSet, at: int, start: Stamp) -> int:
    """Return the step of series `at` at which new rows from `start` on begin, below 0 before the first."""
    if not known.names["time"]:
        return len(known.values[at])
    # One stamp of a jittering clock is corrected by the known start, which lies on a step.
    times = np.array([start])
    if 0 < known.frequency.step < DAY and times.dtype.kind == "M":
        times = without_jitter(times, known.frequency.step, known.starts[at])
    steps, exact = positions(times, known.frequency, known.starts[at])
    if not exact[0]:
        what = f"series {quoted(known.ids[at])} at {stamp_name(times[0])} is between its steps"
        expected = f"{known.frequency.words} from {stamp_name(known.starts[at])}"
        raise DataError(what, expected=expected)
    return int(steps[0])


def _at_step(known: SeriesSet, at: int, step: int) -> str:
    """Return how a message names a step of a series."""
    (stamp,) = advance(known.starts[at], known.frequency, np.array([step]))
    return f"series {quoted(known.ids[at])} at {stamp_name(stamp)}"


def _joined(known: SeriesSet, at: int, new: SeriesSet, gaps: str, overlap: str) -> _Joined:
    """Continue series `at` by the one series in `new`; raises DataError if a policy forbids it."""
    step, old, end = _first_step(known, at, new.starts[0]), known.matrix(at), len(known.values[at])
    # Old rows beyond the kept history are left out, not an error: the caller may pass a whole file.
    early = max(0, -step)
    rows, length, step = new.matrix(0)[early:], len(new.values[0]) - early, max(0, step)
    gap = max(0, step - end) if length > 0 else 0
    if gap and gaps == "error":
        raise DataError(f"{_at_step(known, at, step)}: {gap} steps are missing before it")
    # A known series may be cut to its end, so it counts for a tenth of its length only.
    if gap > max_gap(end // 10 + length):
        what = f"{_at_step(known, at, step)}: {gap} steps after its last value"
        raise DataError(what, remedy="correct the stamp")
    if overlap == "error" and known.names["time"]:
        _check_overlap(known, at, step, rows[: max(0, min(end - step, length))])
    # [T + more, 1 + P + F], long enough for both
    joined = np.full((max(len(old), step + len(rows)), old.shape[1]), np.nan)
    joined[: len(old)] = old
    present = joined[step : step + len(rows)]
    first, second = (present, rows) if overlap == "keep" else (rows, present)
    joined[step : step + len(rows)] = np.where(np.isnan(first), second, first)
    if gaps == "fill" and gap and end:
        in_gap = np.zeros_like(joined, bool)
        in_gap[end:step] = True
        joined = forward_filled(joined, in_gap)
    return _Joined(joined, max(end, step + length) if length > 0 else end, early, gap)


def _check_overlap(known: SeriesSet, at: int, step: int, new: np.ndarray) -> None:
    """Raise DataError if a known step has another value in the rows ``new [t, 1 + P + F]``."""
    # Rounding in files changes the last digits, so values that are close count as equal.
    old = known.matrix(at)[step : step + len(new)]
    differ = np.isfinite(old) & np.isfinite(new) & ~np.isclose(old, new, rtol=1e-9, atol=0)
    if differ.any():
        column, row = map(int, np.argwhere(differ.T)[0])
        names = ["the value", *map(quoted, (*known.names["past"], *known.names["future"]))]
        raise DataError(
            f"{_at_step(known, at, step + row)}: {names[column]} is known already",
            got=f"{new[row, column]:g}",
            expected=f"{old[row, column]:g}",
            remedy='pass overlap="replace" to correct it, or overlap="keep"',
        )


def with_future_rows(
    history: SeriesSet, rows: SeriesSet, horizon: int
) -> tuple[SeriesSet, list[str]]:
    """Return `history` with the known-future covariates of the next steps, and notes for the user.

    Args:
        history: The series to forecast.
        rows: Rows with known-future covariates; a target among them is ignored.
        horizon: The number of steps to forecast.

    Raises:
        DataError: no row is for a series and a step to forecast.
    """
    unknown = [key for key in rows.ids if key not in history.ids]
    rows = rows.select([key for key in rows.ids if key in history.ids])
    if not len(rows):
        got, expected = several(unknown), several(history.ids)
        raise DataError("future has rows of no series to forecast", got=got, expected=expected)
    # Leave out as many values as the longest series has: none remains.
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
