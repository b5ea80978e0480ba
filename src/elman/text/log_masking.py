r"""Masking of the numbers in log lines, so that lines of the same kind become the same words.

A number, time or address becomes a placeholder if no letter or digit stands directly before or after it (a
sign such as ``_``, ``-`` or ``/`` may). All other text stays as it is.

===========  ==========================================================================================
``<hex>``    ``0x`` and hexadecimal digits; a UUID; a MAC address; 8 or more hexadecimal digits with at
             least one letter and one digit
``<time>``   a date (``2005-06-03``, ``2005.06.03``, ``17/06/09``, ``9.11.2008``, ``10/Oct/2000``), a time
             (``15:42:50.67``, ``03:07:08 AM`` up to the space), or both joined, with time zone
``<ip>``     an IPv4 address with or without port; an IPv6 address whose first group has a digit
``<num>``    any other run of the digits 0 to 9, with sign, ``.``, thousands' commas and exponent; a unit
             of time or size may follow directly and stays (``10ms`` becomes ``<num>ms``)
===========  ==========================================================================================

So ``blk_-6952`` becomes ``blk_<num>``, but ``node12``, ``R02-M1``, ``E5``, ``sha256`` and ``3rd`` stay: a
digit beside a letter is part of a name. No match contains white space, so masking a line and masking each of
its words give the same result. Matching takes linear time: no run of digits is read more than a few times.
"""

from __future__ import annotations

import functools
import re

_HEX = "[0-9A-Fa-f]"
_START = r"(?<![^\W_])"
_END = r"(?![^\W_])"
# Units of seconds, minutes, hours, days; bytes and bits; hertz; with prefixes for powers of 1000 or 1024.
_UNIT = rf"(?:[nuµm]?s|secs?|min|[mhd]|[kKMGT]i?[bB]|[bBkKMGT]|[kMG]?Hz){_END}"
_EXPONENT = rf"[eE][-+]?[0-9]{{1,4}}(?:{_END}|(?={_UNIT}))"
# What may follow the digits of a number. It looks ahead a few characters, never over a run of digits.
_AFTER = rf"(?={_END}|{_UNIT}|{_EXPONENT})"

_GROUP = f"{_HEX}{{1,4}}"
_CLOCK = r"[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]{1,9})?(?:[AaPp][Mm]|Z|[-+][0-9]{2}:?[0-9]{2})?"
_DATE = (
    r"(?:[0-9]{4}(?P<between>[-/.])[0-9]{1,2}(?P=between)[0-9]{1,2}"
    r"|[0-9]{1,2}(?P<within>[-/.])[0-9]{1,2}(?P=within)[0-9]{4}"
    r"|[0-9]{2}/[0-9]{2}/[0-9]{2}"
    r"|[0-9]{1,2}[-/][A-Z][a-z]{2}[-/][0-9]{4})"
)
_KINDS = {
    "hex": (
        rf"0[xX]{_HEX}++{_END}"
        rf"|{_HEX}{{8}}(?:-{_HEX}{{4}}){{3}}-{_HEX}{{12}}{_END}"
        rf"|{_HEX}{{2}}(?:(?::{_HEX}{{2}}){{5}}|(?:-{_HEX}{{2}}){{5}}){_END}"
        rf"|(?=[0-9]*+[A-Fa-f])(?=[A-Fa-f]*+[0-9]){_HEX}{{8,}}+{_END}"
    ),
    "time": (
        rf"{_DATE}(?:[T:_-](?:{_CLOCK}|[0-9]{{1,2}}\.[0-9]{{2}}\.[0-9]{{2}}(?:\.[0-9]{{1,9}})?))?{_END}"
        rf"|{_CLOCK}{_END}"
    ),
    "ip": (
        r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?!\.?[^\W_])(?::[0-9]{1,5}" + _END + r")?"
        rf"|(?=[A-Fa-f]{{0,3}}[0-9]){_GROUP}(?::{_GROUP}){{7}}{_END}"
        rf"|(?=[A-Fa-f]{{0,3}}[0-9]){_GROUP}(?::{_GROUP}){{0,6}}::(?:{_GROUP}(?::{_GROUP}){{0,6}})?{_END}"
    ),
    # Possessive quantifiers (++) keep each run of digits whole, so that no run is read twice.
    "num": (
        rf"[-+]?[0-9]++{_AFTER}(?:(?:\.[0-9]++|,[0-9]{{3}}(?![0-9])){_AFTER})*+(?:{_EXPONENT})?+"
    ),
}


@functools.cache
def _masked() -> re.Pattern[str]:
    # Few programs mask, so the pattern is compiled only for them.
    kinds = "|".join(f"(?P<{kind}>{pattern})" for kind, pattern in _KINDS.items())
    return re.compile(f"{_START}(?:{kinds})")


def mask(text: str) -> str:
    """Return `text` with its numbers, times, addresses and hexadecimal ids masked.

    The module's docstring gives the rules. Masking a masked text changes nothing.

    >>> mask("Received block blk_-1608 of size 67108864 from /10.250.19.102:50010 in 3.5ms")
    'Received block blk_<num> of size <num> from /<ip> in <num>ms'
    >>> mask("2005-06-03-15.42.50.675872 R02-M1-N0 CE sym 2, at 0x0b85eee0")
    '<time> R02-M1-N0 CE sym <num>, at <hex>'
    """
    return _masked().sub(lambda match: f"<{match.lastgroup}>", text)
