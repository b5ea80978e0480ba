"""The state of a stream as bytes: a header that names the model, then the numbers, little-endian."""

from __future__ import annotations

import struct

import numpy as np

from elman.errors import InputError
from elman.language.network import Network

# magic, format version, last token or -1, bytes per number, SHA-256 of the model
_HEADER = struct.Struct("<4sBiB32s")
_MAGIC, _FORMAT_VERSION = b"ELST", 1


def state_to_bytes(network: Network, state: np.ndarray, last: int | None) -> bytes:
    """Return the ``state [S]`` of one stream and its last token as bytes."""
    token = -1 if last is None else last
    header = _HEADER.pack(_MAGIC, _FORMAT_VERSION, token, network.dtype.itemsize, network.digest)
    return header + state.astype(network.dtype.newbyteorder("<")).tobytes()


def state_from_bytes(network: Network, state: object) -> tuple[np.ndarray, int | None]:
    """Return the state and last token that `state_to_bytes` wrote.

    Raises InputError for bytes that it did not write, or wrote for another network.
    """
    dtype = network.dtype
    size = _HEADER.size + network.state_size * dtype.itemsize
    expected = f"{size} bytes that Stream.state gave"
    if not isinstance(state, bytes | bytearray | memoryview):
        raise InputError("state", got=type(state).__name__, expected=expected)
    state = bytes(state)
    if len(state) < _HEADER.size or not state.startswith(_MAGIC):
        raise InputError("state", got=f"{len(state)} other bytes", expected=expected)
    _, version, last, itemsize, digest = _HEADER.unpack_from(state)
    if version != _FORMAT_VERSION:
        raise InputError("state", got=f"format {version}", expected=f"format {_FORMAT_VERSION}")
    if digest != network.digest:
        raise InputError("state of another model", remedy="use the very model that made it")
    if itemsize != dtype.itemsize:
        got = f"{8 * itemsize} bits a number"
        raise InputError("state", got=got, expected=f"{8 * dtype.itemsize}")
    if len(state) != size or not -1 <= last < len(network.model.codec):
        raise InputError("state", got=f"{len(state)} damaged bytes", expected=expected)
    numbers = np.frombuffer(state, dtype.newbyteorder("<"), offset=_HEADER.size)
    return numbers.astype(dtype), None if last < 0 else last
