"""Continuation of known series by new rows, and the checks that both fit each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from elman.errors import DataError, OptionError
from elman.series.calendar import advance, positions
from elman.series.frequency import DAY
from elman.series.frequency_inference import without_jitter
from elman.series.grid import max_gap, stamp_name
from elman.series.series import SeriesSet, stamps_from
from elman.tables.columns import is_number, of_series, quoted, several


def append_series(
    known: SeriesSet, new: SeriesSet, *, gaps: str = "mask", overlap: str = "error"
) -> SeriesSet:
    """Continue each known series by the new rows with its id; new ids become new series.

    Without dates, new values follow the last value. The columns of `new` may come in any order.

    Args:
        known: the series to continue.
        new: the new rows, read with the same columns and the same frequency.
        gaps: the policy for steps between both: mask (left missing), fill or error.
        overlap: the policy for steps that both have with different values: error, replace (the new values
            win) or keep (the known values win). Equal values always pass.

    Raises:
        DataError: the rows do not fit the known series.
        OptionError: there is no such policy.

    >>> from elman.series.series import load_series
    >>> append_series(load_series([1, 2]), load_series([3])).values
    (array([1., 2., 3.]),)
    """
    _check_policies(known, new, gaps, overlap)
    new = _with_columns_of(known, new)
    notes: list[str] = []
    early: dict[str, int] = {}
    missing: dict[str, int] = {}
    index = {key: place for place, key in enumerate(known.ids)}
    added = [key for key in new.ids if key not in index]
    if known.ids and added:
        _check_spelling(known.ids, added)
        notes.append(f"series not known before: {several(added)}")
    values, past, future = list(known.values), list(known.past), list(known.future)
    for place, key in enumerate(new.ids):
        if key not in index:
            continue
        at = index[key]
        step, rows = _aligned(known, at, new.at([place]))
        if step < 0:
            early[key], step = -step, 0
        elif len(rows.values[0]) and step > len(values[at]):
            missing[key] = step - len(values[at])
        if known.names["time"]:
            _check_gap(known, rows, at, step, gaps)
            _check_overlap(known, rows, at, step, overlap)
        keep = overlap == "keep"
        if len(rows.values[0]):
            values[at] = _joined(values[at], rows.values[0], step, gaps, keep)
            past[at] = _joined(past[at], rows.past[0], step, gaps, keep)
        joined_future = _joined(future[at], rows.future[0], step, gaps, keep)
        # Without known-future columns, `future` is as long as the values.
        future[at] = joined_future if known.names["future"] else np.zeros((len(values[at]), 0))
    policy = "left missing" if gaps == "mask" else "filled with the value before"
    if early:
        rows_of = f"{sum(early.values())} rows before the first step that is kept"
        notes.append(f"{rows_of}: left out ({of_series([*early])})")
    if missing:
        steps = f"{sum(missing.values())} steps without a row before the new rows"
        notes.append(f"{steps}: {policy} ({of_series([*missing])})")
    more = new.select(added)
    all_values = (*values, *more.values)
    starts = np.concatenate([known.starts, more.starts])
    return replace(
        known,
        ids=known.ids + more.ids,
        starts=starts,
        times=stamps_from(starts, all_values, known.frequency),
        values=all_values,
        past=(*past, *more.past),
        future=(*future, *more.future),
        static=np.concatenate([known.static, more.static]),
        warnings=tuple(dict.fromkeys((*known.warnings, *new.warnings, *notes))),
    )


def _check_policies(known: SeriesSet, new: SeriesSet, gaps: str, overlap: str) -> None:
    if gaps not in ("mask", "fill", "error"):
        raise OptionError("gaps", got=gaps, expected="mask | fill | error")
    if overlap not in ("error", "replace", "keep"):
        raise OptionError("overlap", got=overlap, expected="error | replace | keep")
    if known.frequency != new.frequency or bool(known.names["time"]) != bool(new.names["time"]):
        raise DataError(
            "the rows to append have another frequency",
            got=new.frequency.words,
            expected=known.frequency.words,
            remedy=f"pass frequency={str(known.frequency)!r} when reading them",
        )


def _with_columns_of(known: SeriesSet, new: SeriesSet) -> SeriesSet:
    """Return `new` with its columns in the order of `known`; raises DataError if the columns differ.

    A category of a static text that no new series has becomes a column of zeros; a category that `known`
    lacks is left out.
    """
    roles = ("past", "future", "static")
    if all(new.names[role] == known.names[role] for role in roles):
        return new
    texts = set(known.categories) & set(new.categories)
    new_categories = {f"{name}={kind}" for name in texts for kind in new.categories[name]}
    known_categories = {f"{name}={kind}" for name in texts for kind in known.categories[name]}
    order: dict[str, list[int]] = {}
    for role in roles:
        own, wanted = new.names[role], known.names[role]
        if (set(own) - new_categories) != (set(wanted) - known_categories):
            raise DataError(
                f"the {role} columns differ",
                got=", ".join(own) or "none",
                expected=", ".join(wanted) or "none",
            )
        order[role] = [own.index(name) if name in own else len(own) for name in wanted]
    # A column of zeros, appended at the index len(own), stands for absent categories.
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


def _aligned(known: SeriesSet, at: int, rows: SeriesSet) -> tuple[int, SeriesSet]:
    """Return the step of series `at` at which its new rows begin, and the rows.

    The step is negative if they begin before the first known step; the rows before it are then cut off.
    """
    length = len(known.values[at])
    if not known.names["time"]:
        return length, rows
    if 0 < known.frequency.step < DAY and rows.starts.dtype.kind == "M":
        starts = without_jitter(rows.starts, known.frequency.step, known.starts[at])
        rows = replace(rows, starts=starts)
    steps, exact = positions(rows.starts, known.frequency, known.starts[at])
    what, step = f"series {quoted(known.ids[at])} at {stamp_name(rows.starts[0])}", int(steps[0])
    if not exact[0]:
        expected = f"{known.frequency.words} from {stamp_name(known.starts[at])}"
        raise DataError(f"{what} is between its steps", expected=expected)
    if step < 0:
        rows = replace(
            rows,
            starts=known.starts[at : at + 1],
            values=(rows.values[0][-step:],),
            past=(rows.past[0][-step:],),
            future=(rows.future[0][-step:],),
        )
    return step, rows


def _check_gap(known: SeriesSet, rows: SeriesSet, at: int, step: int, gaps: str) -> None:
    """Raise DataError for missing steps before new rows if the policy is "error", or for too many of them."""
    gap = step - len(known.values[at])
    if gap <= 0 or not len(rows.values[0]):
        return
    what = f"series {quoted(known.ids[at])} at {stamp_name(rows.starts[0])}"
    if gaps == "error":
        raise DataError(f"{what}: {gap} steps are missing before it")
    # A known series may be cut to its end, so it counts for a tenth of its length only.
    if gap > max_gap(len(known.values[at]) // 10 + len(rows.values[0])):
        raise DataError(f"{what}: {gap} steps after its last value", remedy="correct the stamp")


def _check_overlap(known: SeriesSet, rows: SeriesSet, at: int, step: int, overlap: str) -> None:
    """Raise DataError for a known step with another value, if the policy is "error"."""
    if overlap != "error":
        return
    shared = known.values[at][step : step + len(rows.values[0])]
    columns = [("the value", shared[:, None], rows.values[0][: len(shared), None])]
    for role in ("past", "future") if len(shared) else ():
        both = slice(step, step + len(shared))
        columns.append(
            (role, getattr(known, role)[at][both], getattr(rows, role)[0][: len(shared)])
        )
    for what, old, new in columns:
        differ = np.isfinite(old) & np.isfinite(new) & ~np.isclose(old, new, rtol=1e-9, atol=0)
        if differ.any():
            row, column = map(int, np.argwhere(differ)[0])
            (stamp,) = advance(known.starts[at], known.frequency, np.array([step + row]))
            name = what if what == "the value" else quoted(known.names[what][column])
            raise DataError(
                f"series {quoted(known.ids[at])} at {stamp_name(stamp)}: {name} is known already",
                got=f"{new[row, column]:g}",
                expected=f"{old[row, column]:g}",
                remedy='pass overlap="replace" to correct it, or overlap="keep"',
            )


def _joined(old: np.ndarray, new: np.ndarray, step: int, gaps: str, keep: bool) -> np.ndarray:
    """Return `old` ``[T, ...]`` with `new` from `step` on; `keep` lets old values win over new ones."""
    joined = np.full((max(len(old), step + len(new)), *old.shape[1:]), np.nan)
    joined[: len(old)] = old
    present = joined[step : step + len(new)]
    first, second = (present, new) if keep else (new, present)
    joined[step : step + len(new)] = np.where(np.isnan(first), second, first)
    if gaps == "fill" and 0 < len(old) < step:
        joined[len(old) : step] = old[-1]
    return joined
