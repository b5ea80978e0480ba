from __future__ import annotations

from elman.errors import message


def test_a_message_is_one_printable_line_whatever_it_is_made_of() -> None:
    hostile = "\x1b[2J\n" + "x" * 5000
    told = message(hostile, got=hostile, expected=hostile, remedy=hostile)
    assert told.isprintable()
    assert told.count("\\x1b[2J\\n") == 4
    assert len(told) < 1400
