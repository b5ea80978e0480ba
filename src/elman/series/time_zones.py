"""Time zones: conversion of stamps between UTC and the local clocks of a place."""

from __future__ import annotations

import datetime
import re
import zoneinfo
from collections.abc import Callable

import numpy as np

from elman.errors import DataError, OptionError
from elman.tables.columns import objects, row_name

_OFFSET = re.compile(r"(?:UTC)?([+-])(\d\d):(\d\d)")


def known_zone(name: str) -> datetime.tzinfo:
    """Return the zone of a name such as Europe/Berlin or UTC+01:00; raises OptionError."""
    if isinstance(name, str) and (offset := _OFFSET.fullmatch(name)):
        ahead = datetime.timedelta(hours=int(offset[2]), minutes=int(offset[3]))
        if ahead < datetime.timedelta(days=1):
            return datetime.timezone(ahead if offset[1] == "+" else -ahead)
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError, TypeError):
        raise OptionError(
            "timezone",
            got=name,
            expected="a name such as Europe/Berlin",
            remedy="if this machine has no time zone data: pip install tzdata",
        ) from None


def usable_zone(name: str) -> str:
    """Return the name of a time zone, or "UTC" if only the library that made the stamps knows it.

    >>> usable_zone("Europe/Berlin"), usable_zone("tzlocal()")
    ('Europe/Berlin', 'UTC')
    """
    try:
        known_zone(name)
    except OptionError:
        return "UTC"
    return name


def to_local(times: np.ndarray, timezone: str) -> np.ndarray:
    """Convert stamps ``[T]`` from UTC to the local time of `timezone`.

    >>> to_local(np.array(["2020-07-01T12:00"], "datetime64[us]"), "Europe/Berlin")
    array(['2020-07-01T14:00:00.000000'], dtype='datetime64[us]')
    """
    zone = known_zone(timezone)
    # Series share their stamps, so convert each stamp once.
    unique, inverse = np.unique(times, return_inverse=True)
    local = [
        stamp.replace(tzinfo=datetime.UTC).astimezone(zone).replace(tzinfo=None)
        for stamp in unique.tolist()
    ]
    return np.array(local, "datetime64[us]")[inverse]


def to_utc(times: np.ndarray, timezone: str, where: Callable[[int], str] = row_name) -> np.ndarray:
    """Convert local stamps ``[T]`` of `timezone` to UTC.

    In the hour that clocks show twice, the order of the stamps decides: a stamp that would not be later
    than the one before it belongs to the second pass.

    Raises:
        DataError: clocks skipped a stamp when they went forward; `where` names its row.

    >>> times = np.array(["2020-10-25T02:00", "2020-10-25T02:00"], "datetime64[us]")
    >>> to_utc(times, "Europe/Berlin").astype("datetime64[h]").astype(str).tolist()
    ['2020-10-25T00', '2020-10-25T01']
    """
    zone = known_zone(timezone)
    # The newest rows come first: read them backwards, because the order tells repeated hours apart.
    if len(times) > 1 and times[0] > times[-1]:
        last = len(times) - 1
        return to_utc(times[::-1], timezone, lambda row: where(last - row))[::-1]
    # An hour that clocks skip has a smaller offset before the change than after it.
    if (skipped := _utc_offset(times, zone, 0) < _utc_offset(times, zone, 1)).any():
        row = int(np.argmax(skipped))
        raise DataError(
            f"clocks in {timezone} never showed {times[row].item()}, {where(row)}",
            remedy="pass timezone= with the zone of the stamps, or leave it out if they are not local",
        )
    return _local_to_utc(times, zone)


def _utc_offset(times: np.ndarray, zone: datetime.tzinfo, fold: int) -> np.ndarray:
    """Return how far local clocks are ahead of UTC; `fold` is the pass through an hour shown twice."""
    unique, inverse = np.unique(times, return_inverse=True)
    offsets = [stamp.replace(tzinfo=zone, fold=fold).utcoffset() for stamp in unique.tolist()]
    return np.array(offsets, "m8[us]")[inverse]


def _local_to_utc(times: np.ndarray, zone: datetime.tzinfo) -> np.ndarray:
    """Convert local stamps to UTC; a stamp that clocks skipped counts as if they had not yet gone forward."""
    before, after = _utc_offset(times, zone, 0), _utc_offset(times, zone, 1)
    utc: np.ndarray = times - before
    # Clocks went back: the first pass through the hour has the larger offset.
    for repeated in np.flatnonzero(before > after):
        if repeated and utc[repeated] <= utc[repeated - 1]:
            utc[repeated] = times[repeated] - after[repeated]
    return utc


def has_one_time_of_day(times: np.ndarray) -> bool:
    """Return whether all stamps ``[T]`` have the same time of day, as dates have."""
    return len(np.unique(times - times.astype("datetime64[D]"))) == 1


def local_days(times: np.ndarray, timezone: str) -> np.ndarray | None:
    """Convert stamps ``[T]`` from UTC to local days at one time of day; None if they have several.

    On a day whose midnight the clocks skip, the stamp gets the time of day of the others.

    >>> midnights = np.array(["2020-03-28T23", "2020-03-29T22"], "datetime64[us]")
    >>> local_days(midnights, "Europe/Berlin").astype("datetime64[D]").astype(str).tolist()
    ['2020-03-29', '2020-03-30']
    """
    zone, local = known_zone(timezone), to_local(times, timezone)
    days = local.astype("datetime64[D]")
    # The commonest time of day is the one that the stamps of days should have.
    clocks, counts = np.unique(local - days, return_counts=True)
    if not len(clocks):
        return local
    moved: np.ndarray = days + clocks[np.argmax(counts)]
    fits = (moved - _utc_offset(moved, zone, 0) == times) | (
        moved - _utc_offset(moved, zone, 1) == times
    )
    return moved if fits.all() else None


def to_aware(times: np.ndarray, timezone: str) -> np.ndarray:
    """Convert local stamps ``[T]`` to datetime objects that carry the time zone.

    >>> to_aware(np.array(["2020-07-01T14:00"], "datetime64[us]"), "Europe/Berlin")[0].isoformat()
    '2020-07-01T14:00:00+02:00'
    """
    zone = known_zone(timezone)
    utc = _local_to_utc(times, zone).tolist()
    return objects(stamp.replace(tzinfo=datetime.UTC).astimezone(zone) for stamp in utc)
