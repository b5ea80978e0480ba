"""Errors that are answered with an HTTP status other than 400."""

from __future__ import annotations

from elman.errors import ElmanError, InputError


class NotFoundError(ElmanError):
    """Nothing has the requested name: it never existed, was deleted, or was forgotten after being idle."""

    status = 404


class StaleError(InputError):
    """A request is not the next one of its stream, or a fault has made the stream's position unknown."""

    status = 409


class BusyError(ElmanError):
    """The server has no room for another computation or stream at the moment."""

    status = 429


class RefusedError(ElmanError):
    """A request is refused for its headers or its size, before a route sees it."""

    def __init__(self, status: int, what: str, **words: str) -> None:
        """Set the status; `words` are those of ElmanError: got, expected, remedy."""
        super().__init__(what, **words)
        self.status = status
