"""Settings of a server: its address, who may send requests, and how much it accepts at once.

The command ``elman serve`` makes its options from the settings that have a help text here.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

from elman.errors import OptionError

_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[\w.-]+)(:\d{1,5})?")
_ORIGIN = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(:\d{1,5})?")
LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
"""Names in a request's Host header that always mean this server."""


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """Return a host as an address, or None for a name."""
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address or name.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    address = _address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def is_any(host: str) -> bool:
    """Return whether an address stands for all addresses of this machine.

    >>> is_any("0.0.0.0"), is_any("[::]"), is_any("localhost")
    (True, True, False)
    """
    address = _address(host)
    return address is not None and address.is_unspecified


def bracketed(name: str) -> str:
    """Return a name or address in the form that may precede a port: IPv6 addresses get brackets.

    >>> bracketed("::1"), bracketed("[::1]:80"), bracketed("localhost:80")
    ('[::1]', '[::1]:80', 'localhost:80')
    """
    return f"[{name}]" if name.count(":") > 1 and not name.startswith("[") else name


def _option(text: str, *, flag: str = "", variable: str = "", **default: Any) -> Any:
    """Return a field that is an option of the command.

    Args:
        text: Help of the option.
        flag: Name of the option, by default that of the field.
        variable: For a secret, which the option reads from a file: environment variable to read otherwise.
        default: ``default`` or ``default_factory``, as `dataclasses.field` takes them.
    """
    metadata = {"help": text, "flag": flag, "variable": variable}
    return field(metadata=metadata, repr=not variable, **default)


@dataclass(frozen=True)
class Settings:
    """The settings of a server; raises OptionError if other machines could use it without a token."""

    host: str = _option(
        "address to listen on; addresses that other machines can reach need a token",
        default="127.0.0.1",
    )
    port: int = _option("port to listen on, 0 for any free port", default=8765)
    token: str | None = _option(
        "file with the token that requests must carry (default: ELMAN_TOKEN, else no token)",
        flag="--token-file",
        variable="ELMAN_TOKEN",
        default=None,
    )
    """Secret that requests must carry as ``Authorization: Bearer``; the page's files and health need none."""
    allow_hosts: tuple[str, ...] = _option(
        "further host name that requests may use for this server", flag="--allow-host", default=()
    )
    """Further names, with or without a port, that a request's Host header may contain."""
    cors: tuple[str, ...] = _option(
        "web site whose pages may send requests, such as https://my.example", default=()
    )
    """Other origins whose pages may send requests and read the answers."""
    state_key: bytes = _option(
        "file with the key that seals the states that clients keep; servers behind one address share it "
        "(default: ELMAN_STATE_KEY, else a random key)",
        variable="ELMAN_STATE_KEY",
        default_factory=lambda: os.urandom(32),
    )
    """Key that signs the states which clients keep; servers with the same key accept each other's states."""
    runs: Path | None = _option(  # noqa: RUF009 - it returns a field
        "folder of training runs (.run.jsonl) to show on the page", default=None
    )
    max_streams: int = _option("largest number of open streams", default=10_000)
    idle_seconds: float = 3600.0
    """Time without a request after which a stream is forgotten."""
    max_body: int = 2**21
    """Bytes; the longest text fits even if every character is escaped."""
    max_requests: int = 4096
    """Requests that may be in progress at the same time."""
    max_tasks: int = 32
    """Long computations among them (explain, generate, score), and as many short ones."""
    threads: int = 2
    """Computations that run at the same time."""
    window: float = 0.001
    """Seconds that a request of a stream waits for others to share its batch."""
    transfer_seconds: float = 10.0
    """Time for a request to arrive completely, and for a client to take its answer."""
    keep_alive_seconds: float = 75.0
    """Time after which an idle connection is closed."""
    grace_seconds: float = 30.0
    """Time for requests to finish after the server is told to stop."""

    def __post_init__(self) -> None:
        # Anybody on the network could use an open server.
        if self.token is None and not is_loopback(self.host):
            raise OptionError(
                "--host",
                got=self.host,
                expected="an address that only this machine can reach, such as 127.0.0.1",
                remedy="to let other machines send requests, give --token-file FILE or set ELMAN_TOKEN",
            )
        token = self.token
        is_clean = token and token.isascii() and token.isprintable() and token.strip() == token
        if token is not None and not is_clean:
            raise OptionError("the token", expected="printable ASCII without spaces at its ends")
        if not 0 <= self.port < 2**16:
            raise OptionError("--port", got=self.port, expected="0 to 65535")
        # A shorter key could be guessed by trying.
        if len(self.state_key) < 16:
            got = f"{len(self.state_key)} bytes"
            raise OptionError("the state key", got=got, expected="at least 16 bytes")
        for name in self.allow_hosts:
            if not _HOST.fullmatch(bracketed(name)):
                expected = "a name or an address, with or without :PORT"
                raise OptionError("--allow-host", got=name, expected=expected)
        for origin in self.cors:
            if not _ORIGIN.fullmatch(origin):
                expected = "http:// or https://, a host in lower case, and :PORT if it has one"
                raise OptionError("--cors", got=origin, expected=expected)
        if self.runs is not None and not self.runs.is_dir():
            raise OptionError("--runs", got=self.runs, expected="an existing folder")
        for name in ("max_streams", "max_body", "max_requests", "max_tasks", "threads"):
            if getattr(self, name) < 1:
                raise OptionError(name, got=getattr(self, name), expected="at least 1")
