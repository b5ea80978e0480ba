"""Rewriting of messages: arguments of Python become the options that are typed in the shell."""

from __future__ import annotations

import re

from elman.tasks import TASKS

_ARGUMENTS = {
    *("overlap", "storage", "method", "metric", "horizon", "decimal", "header", "resume"),
    *("temperature", "top_p", "unknown", "of", "count"),
}
"""Arguments of Python methods that are options of commands, beside the options of training."""


def _names() -> set[str]:
    return {name for task in TASKS.values() for name in task.options.defaults()} | _ARGUMENTS


def _flag(name: str, value: str = "") -> str:
    flag = "--" + name.replace("_", "-")
    value = value.strip("\"'")
    if value in ("True", "False"):
        return flag if value == "True" else flag.replace("--", "--no-", 1)
    return f"{flag} {value}".strip()


def as_typed(text: str) -> str:
    """Return a message with its options as they are typed in the shell.

    >>> as_typed("hidden_size: got -3; expected a whole number from 1")
    '--hidden-size: got -3; expected a whole number from 1'
    >>> as_typed('2 rows differ: pass overlap="replace" to correct them, or tied=False')
    '2 rows differ: pass --overlap replace to correct them, or --no-tied'
    >>> as_typed("budget: got time and steps; expected one of time, epochs, steps")
    'budget: got --time and --steps; expected one of --time, --epochs, --steps'
    """
    names = _names()

    def replaced(match: re.Match[str]) -> str:
        name, value = match["name"], match["value"]
        return _flag(name, value) if name in names else match[0]

    # A Python argument with its value, such as tied=False or overlap="replace".
    text = re.sub(r"(?<![\w-])(?P<name>[a-z_]+)=(?P<value>\"[^\"]*\"|'[^']*'|\w*)", replaced, text)
    # A message begins with the name of a wrong option: "hidden_size: got -3".
    first = re.match(r"[a-z_]+(?=:| with )", text)
    if first and first[0] in names:
        text = _flag(first[0]) + text[first.end() :]
    # Without "=" only names with an underscore are surely options. The budgets are English words too, and
    # are replaced only in the message about budgets.
    many = r"[a-z]+(?:_[a-z]+)+" + (r"|time|epochs|steps" if text.startswith("budget:") else "")
    return re.sub(
        rf"(?<![\w-])(?:{many})(?![\w=])",
        lambda match: _flag(match[0]) if match[0] in names else match[0],
        text,
    )
