"""A stream's state as bytes: a header that names the model, then the numbers, little-endian."""

from __future__ import annotations

import struct

import numpy as np

from elman.errors import InputError
from elman.language.network import Network

__all__ = ["pack", "unpack"]

# magic, format, last token or -1, bytes a number, SHA-256 of the model
_HEADER = struct.Struct("<4sBiB32s")
_MAGIC, _FORMAT = b"ELST", 1


def pack(network: Network, state: np.ndarray, last: int | None) -> bytes:
    """Return one stream's ``state [S]`` and last token as bytes."""
    token = -1 if last is None else last
    header = _HEADER.pack(_MAGIC, _FORMAT, token, network.dtype.itemsize, network.digest)
    return header + state.astype(network.dtype.newbyteorder("<")).tobytes()


def unpack(network: Network, state: object) -> tuple[np.ndarray, int | None]:
    """Return what `pack` was given; raises InputError for what it did not make for `network`."""
    dtype = network.dtype
    size = _HEADER.size + network.state_size * dtype.itemsize
    expected = f"{size} bytes that Stream.state gave"
    if not isinstance(state, bytes | bytearray | memoryview):
        raise InputError("state", got=type(state).__name__, expected=expected)
    state = bytes(state)
    if len(state) < _HEADER.size or not state.startswith(_MAGIC):
        raise InputError("state", got=f"{len(state)} other bytes", expected=expected)
    _, version, last, itemsize, digest = _HEADER.unpack_from(state)
    if version != _FORMAT:
        raise InputError("state", got=f"format {version}", expected=f"format {_FORMAT}")
    if digest != network.digest:
        raise InputError("state of another model", remedy="use the very model that made it")
    if itemsize != dtype.itemsize:
        got = f"{8 * itemsize} bits a number"
        raise InputError("state", got=got, expected=f"{8 * dtype.itemsize}")
    if len(state) != size or not -1 <= last < len(network.model.codec):
        raise InputError("state", got=f"{len(state)} damaged bytes", expected=expected)
    numbers = np.frombuffer(state, dtype.newbyteorder("<"), offset=_HEADER.size)
    return numbers.astype(dtype), None if last < 0 else last
