"""States that clients keep: bytes that only this server, or one with its key, can have made."""

from __future__ import annotations

import base64
import hashlib
import hmac

from elman.errors import InputError

__all__ = ["open_state", "seal_state"]

SIZE = hashlib.sha256().digest_size


def seal_state(key: bytes, state: bytes) -> str:
    """Return a state as text, authenticated by HMAC-SHA256 (RFC 2104)."""
    return base64.urlsafe_b64encode(_mac(key, state) + state).decode()


def open_state(key: bytes, sealed: str) -> bytes:
    """Return the state in what `seal_state` gave; raises InputError for anything else.

    >>> open_state(b"key", seal_state(b"key", b"state"))
    b'state'
    """
    try:
        whole = base64.b64decode(sealed, altchars=b"-_", validate=True)
    except ValueError:
        whole = b""
    state = whole[SIZE:]
    # one text alone for each state: base64 ignores the last bits
    same = base64.urlsafe_b64encode(whole).decode() == sealed
    if not (same and hmac.compare_digest(whole[:SIZE], _mac(key, state))):
        expected = "what this server, or one with the same key, gave"
        raise InputError("state", got="something else", expected=expected)
    return state


def _mac(key: bytes, state: bytes) -> bytes:
    # the name parts these from anything else that a key may sign
    return hmac.digest(key, b"elman state 1\0" + state, "sha256")
