"""How a server runs: where it listens, who may ask it, and how much at once."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from elman.errors import OptionError

__all__ = ["LOOPBACK", "Settings", "bracketed", "is_any", "is_loopback"]

_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[\w.-]+)(:\d{1,5})?")
_ORIGIN = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(:\d{1,5})?")
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
"""The names of this machine by which it may be asked."""


def is_loopback(host: str) -> bool:
    """Return whether an address or name is that of this machine alone.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host.lower() == "localhost":
        return True
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def is_any(host: str) -> bool:
    """Return whether an address stands for every one of this machine.

    >>> is_any("0.0.0.0"), is_any("[::]"), is_any("localhost")
    (True, True, False)
    """
    try:
        return ip_address(host.strip("[]")).is_unspecified
    except ValueError:
        return False


def bracketed(name: str) -> str:
    """Return a name or address as it stands before a port.

    >>> bracketed("::1"), bracketed("[::1]:80"), bracketed("localhost:80")
    ('[::1]', '[::1]:80', 'localhost:80')
    """
    return f"[{name}]" if name.count(":") > 1 and not name.startswith("[") else name


@dataclass(frozen=True)
class Settings:
    """The settings of a server; raises OptionError where strangers could ask it without a token."""

    host: str = "127.0.0.1"
    port: int = 8765
    token: str | None = None
    """What every request carries as ``Authorization: Bearer``; only the page and its health do without."""
    allow_hosts: tuple[str, ...] = ()
    """Further names, with or without a port, by which clients may ask."""
    cors: tuple[str, ...] = ()
    """Origins, other than this server's own, whose pages may ask and read the answers."""
    state_key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    """Signs the states that clients keep; servers that share streams share it."""
    runs: Path | None = None
    """A folder of training runs to be shown."""
    max_streams: int = 10_000
    idle_seconds: float = 3600.0
    """After which a stream that nobody asked is forgotten."""
    max_body: int = 2**21
    """Bytes: the longest text, each character escaped, fits."""
    max_requests: int = 4096
    """Requests at work at once."""
    max_tasks: int = 32
    """Of them those that explain, generate or score, in threads; and as many short questions."""
    threads: int = 2
    window: float = 0.001
    """Seconds in which requests of several streams gather into one step, at most."""
    dribble_seconds: float = 10.0
    """For a request to arrive whole, and for a client to take an answer."""
    keep_alive_seconds: float = 75.0
    grace_seconds: float = 30.0
    """For requests at work when the server is told to stop."""

    def __post_init__(self) -> None:
        if self.token is None and not is_loopback(self.host):
            raise OptionError(
                "--host",
                got=self.host,
                expected="an address of this machine alone, such as 127.0.0.1",
                remedy="to let other machines ask, give --token-file FILE or set ELMAN_TOKEN",
            )
        printed = self.token is None or (self.token.isascii() and self.token.isprintable())
        if not printed or self.token == "" or (self.token or "").strip() != (self.token or ""):
            raise OptionError("the token", expected="printable ASCII without spaces at its ends")
        if not 0 <= self.port < 2**16:
            raise OptionError("--port", got=self.port, expected="0 to 65535")
        if len(self.state_key) < 16:
            got = f"{len(self.state_key)} bytes"
            raise OptionError("the state key", got=got, expected="at least 16 bytes")
        for name in self.allow_hosts:
            if not _HOST.fullmatch(bracketed(name)):
                expected = "a name or an address, with or without :PORT"
                raise OptionError("--allow-host", got=name, expected=expected)
        for origin in self.cors:
            if not _ORIGIN.fullmatch(origin):
                expected = "http:// or https://, a host in small letters, :PORT where it has one"
                raise OptionError("--cors", got=origin, expected=expected)
        if self.runs is not None and not self.runs.is_dir():
            raise OptionError("--runs", got=self.runs, expected="a folder that is there")
        for name in ("max_streams", "max_body", "max_requests", "max_tasks", "threads"):
            if getattr(self, name) < 1:
                raise OptionError(name, got=getattr(self, name), expected="at least 1")
