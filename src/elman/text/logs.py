r"""Log lines: the numbers in them masked, so that lines which say the same are the same words.

The rule: what follows becomes a placeholder where no letter or digit stands directly before or
behind it (``_``, ``-``, ``/`` and every other sign may); all else stays, byte for byte.

===========  ==========================================================================================
``<hex>``    ``0x`` and hexadecimal digits; a UUID; a MAC address; 8 or more hexadecimal digits of which
             one at least is a letter and one a digit
``<time>``   a date (``2005-06-03``, ``2005.06.03``, ``17/06/09``, ``9.11.2008``, ``10/Oct/2000``), a time
             (``15:42:50.67``, ``03:07:08 AM`` as far as the space), or both joined, with zone
``<ip>``     an IPv4 address with or without port; an IPv6 address whose first group has a digit
``<num>``    any other run of the digits 0 to 9: sign, ``.`` and thousands' commas inside, exponent; a unit
             of time or size may follow at once and stays (``10ms`` becomes ``<num>ms``)
===========  ==========================================================================================

So ``blk_-6952`` becomes ``blk_<num>``, and ``node12``, ``R02-M1``, ``E5``, ``sha256``, ``3rd`` stay: a
digit beside a letter is part of a name. No match holds white space, so a line's masked words are its words
masked. Each run of digits is looked at a bounded number of times: the time is linear in the text.
"""

from __future__ import annotations

import re

__all__ = ["mask"]

_HEX = "[0-9A-Fa-f]"
_START = r"(?<![^\W_])"
_END = r"(?![^\W_])"
# What a unit is: seconds, minutes, hours, days; bytes and bits; hertz; multiples of 1000 or 1024.
_UNIT = rf"(?:[nuµm]?s|secs?|min|[mhd]|[kKMGT]i?[bB]|[bBkKMGT]|[kMG]?Hz){_END}"
_EXPONENT = rf"[eE][-+]?[0-9]{{1,4}}(?:{_END}|(?={_UNIT}))"
# what stands behind the digits of a number; looks ahead a few characters, never a run
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
    # the digits of a part are taken whole, and a part that is no number is left: nothing is read twice
    "num": (
        rf"[-+]?[0-9]++{_AFTER}(?:(?:\.[0-9]++|,[0-9]{{3}}(?![0-9])){_AFTER})*+(?:{_EXPONENT})?+"
    ),
}
_MASKED = re.compile(
    _START + "(?:" + "|".join(f"(?P<{kind}>{pattern})" for kind, pattern in _KINDS.items()) + ")"
)


def mask(text: str) -> str:
    """Return `text` with its numbers, times, addresses and hexadecimal ids masked.

    The module's docstring is the rule. Masked text is not changed by masking it again.

    >>> mask("Received block blk_-1608 of size 67108864 from /10.250.19.102:50010 in 3.5ms")
    'Received block blk_<num> of size <num> from /<ip> in <num>ms'
    >>> mask("2005-06-03-15.42.50.675872 R02-M1-N0 CE sym 2, at 0x0b85eee0")
    '<time> R02-M1-N0 CE sym <num>, at <hex>'
    """
    return _MASKED.sub(lambda match: f"<{match.lastgroup}>", text)
