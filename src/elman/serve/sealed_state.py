"""Signed stream states that clients keep: only a server with the same key can have made them."""

from __future__ import annotations

import base64
import hashlib
import hmac

from elman.errors import InputError

SIGNATURE_BYTES = hashlib.sha256().digest_size


def seal_state(key: bytes, state: bytes) -> str:
    """Return a state as text that carries its HMAC-SHA256 (RFC 2104) under `key`."""
    return base64.urlsafe_b64encode(_sign(key, state) + state).decode()


def open_state(key: bytes, sealed: str) -> bytes:
    """Return the state from the text that `seal_state` made; raise InputError if the signature is wrong.

    >>> open_state(b"key", seal_state(b"key", b"state"))
    b'state'
    """
    try:
        content = base64.b64decode(sealed, altchars=b"-_", validate=True)
    except ValueError:
        content = b""
    state = content[SIGNATURE_BYTES:]
    # base64 ignores the last bits of a text; accept only the one spelling that seal_state writes.
    is_canonical = base64.urlsafe_b64encode(content).decode() == sealed
    # compare_digest takes the same time for all values: nobody can guess a signature byte by byte.
    if not (is_canonical and hmac.compare_digest(content[:SIGNATURE_BYTES], _sign(key, state))):
        expected = "a state that this server, or another one with the same key, has returned"
        raise InputError("state", got="something else", expected=expected)
    return state


def _sign(key: bytes, state: bytes) -> bytes:
    # The prefix keeps this signature apart from anything else that is signed with the same key.
    return hmac.digest(key, b"elman state 1\0" + state, "sha256")
