"""Time zones: stamps as the clocks of a place show them, and as UTC."""

from __future__ import annotations

import datetime
import re
import zoneinfo
from collections.abc import Callable
from typing import Any

import numpy as np

from elman.errors import DataError, OptionError
from elman.tables.columns import objects, row_name

__all__ = ["known_zone", "local_days", "one_clock", "to_aware", "to_local", "to_utc", "usable_zone"]

_OFFSET = re.compile(r"(?:UTC)?([+-])(\d\d):(\d\d)")


def known_zone(name: str) -> datetime.tzinfo:
    """Return the zone of a name such as Europe/Berlin or UTC+01:00; raises OptionError."""
    if isinstance(name, str) and (found := _OFFSET.fullmatch(name)):
        ahead = datetime.timedelta(hours=int(found[2]), minutes=int(found[3]))
        if ahead < datetime.timedelta(days=1):
            return datetime.timezone(ahead if found[1] == "+" else -ahead)
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError, TypeError):
        raise OptionError(
            "timezone",
            got=name,
            expected="a name such as Europe/Berlin",
            remedy="where the machine knows no time zones: pip install tzdata",
        ) from None


def usable_zone(name: str) -> str:
    """Return the name of a time zone, "UTC" where only the library that made the stamps knows it.

    >>> usable_zone("Europe/Berlin"), usable_zone("tzlocal()")
    ('Europe/Berlin', 'UTC')
    """
    try:
        known_zone(name)
    except OptionError:
        return "UTC"
    return name


def _each(times: np.ndarray, call: Callable[[datetime.datetime], Any], kind: str) -> np.ndarray:
    unique, inverse = np.unique(times, return_inverse=True)
    return np.array([call(stamp) for stamp in unique.tolist()], kind)[inverse]


def to_local(times: np.ndarray, timezone: str) -> np.ndarray:
    """Return stamps of UTC ``[T]`` as clocks in `timezone` show them.

    >>> to_local(np.array(["2020-07-01T12:00"], "datetime64[us]"), "Europe/Berlin")
    array(['2020-07-01T14:00:00.000000'], dtype='datetime64[us]')
    """
    zone = known_zone(timezone)

    def local(stamp: datetime.datetime) -> datetime.datetime:
        return stamp.replace(tzinfo=datetime.UTC).astimezone(zone).replace(tzinfo=None)

    return _each(times, local, "datetime64[us]")


def to_utc(times: np.ndarray, timezone: str, where: Callable[[int], str] = row_name) -> np.ndarray:
    """Return the stamps ``[T]`` of clocks in `timezone` as UTC.

    In the hour that clocks show twice the order of the stamps decides: one that would not follow
    the one before it is of the second time. Raises DataError at a time that clocks leap over.

    >>> times = np.array(["2020-10-25T02:00", "2020-10-25T02:00"], "datetime64[us]")
    >>> to_utc(times, "Europe/Berlin").astype("datetime64[h]").astype(str).tolist()
    ['2020-10-25T00', '2020-10-25T01']
    """
    zone = known_zone(timezone)
    if len(times) > 1 and times[0] > times[-1]:
        last = len(times) - 1
        return to_utc(times[::-1], timezone, lambda row: where(last - row))[::-1]
    if (leapt := _ahead(times, zone, 0) < _ahead(times, zone, 1)).any():
        row = int(np.argmax(leapt))
        raise DataError(
            f"clocks in {timezone} never showed {times[row].item()}, {where(row)}",
            remedy="pass timezone= with the one they are in, or none where they are not local",
        )
    return _resolved(times, zone)


def _ahead(times: np.ndarray, zone: datetime.tzinfo, fold: int) -> np.ndarray:
    """Return how far the clocks are ahead of UTC; they differ by `fold` in an hour that comes twice."""
    return _each(times, lambda at: at.replace(tzinfo=zone, fold=fold).utcoffset(), "m8[us]")


def _resolved(times: np.ndarray, zone: datetime.tzinfo) -> np.ndarray:
    """Return local stamps as UTC; a time that clocks leap over is as if they had not yet leapt."""
    before, after = _ahead(times, zone, 0), _ahead(times, zone, 1)
    utc: np.ndarray = times - before
    for twice in np.flatnonzero(before > after):
        if twice and utc[twice] <= utc[twice - 1]:
            utc[twice] = times[twice] - after[twice]
    return utc


def one_clock(times: np.ndarray) -> bool:
    """Return whether stamps ``[T]`` show one time of day, as dates do."""
    return len(np.unique(times - times.astype("datetime64[D]"))) == 1


def local_days(times: np.ndarray, timezone: str) -> np.ndarray | None:
    """Return stamps of UTC ``[T]`` as local ones of one time of day; None where they have several.

    A day whose midnight the clocks leap over begins an hour later; it has the time of the other days.

    >>> midnights = np.array(["2020-03-28T23", "2020-03-29T22"], "datetime64[us]")
    >>> local_days(midnights, "Europe/Berlin").astype("datetime64[D]").astype(str).tolist()
    ['2020-03-29', '2020-03-30']
    """
    zone, local = known_zone(timezone), to_local(times, timezone)
    days = local.astype("datetime64[D]")
    clocks, counts = np.unique(local - days, return_counts=True)
    if not len(clocks):
        return local
    whole: np.ndarray = days + clocks[np.argmax(counts)]
    fits = (whole - _ahead(whole, zone, 0) == times) | (whole - _ahead(whole, zone, 1) == times)
    return whole if fits.all() else None


def to_aware(times: np.ndarray, timezone: str) -> np.ndarray:
    """Return local stamps ``[T]`` as datetimes that bear the time zone.

    >>> to_aware(np.array(["2020-07-01T14:00"], "datetime64[us]"), "Europe/Berlin")[0].isoformat()
    '2020-07-01T14:00:00+02:00'
    """
    zone = known_zone(timezone)
    utc = _resolved(times, zone).tolist()
    return objects(stamp.replace(tzinfo=datetime.UTC).astimezone(zone) for stamp in utc)
