"""Names of inputs in the sentences of explanations."""

from __future__ import annotations

from collections.abc import Iterable

from elman.errors import printable


def display_name(token: str) -> str:
    r"""Return the name of an input on one line, without characters that control a terminal.

    >>> display_name("\n"), display_name("pizza")
    ('line end', 'pizza')
    """
    return {"\n": "line end", " ": "space"}.get(token) or printable(token, 24)


def unknown_words_note(words: Iterable[str], how: str = "read as <unk>") -> str:
    """Return a sentence that names `words` outside the vocabulary and `how` they were treated; "" for none.

    >>> unknown_words_note(["zork", "blip", "zork"])
    'Not in the vocabulary, read as <unk>: zork, blip.'
    """
    names = ", ".join(printable(word, 24) for word in [*dict.fromkeys(words)][:8])
    return f"Not in the vocabulary, {how}: {names}." if names else ""
