"""The file format: named arrays and JSON in one file with a digest over every byte.

    8 bytes   length of the header, little-endian
    header    {"__metadata__":{"sha256":"…","elman":"…",…},"name":{"dtype":…,…},…}, then spaces
    payload   the arrays, one after the other, the widest types first

Every file is a safetensors file, so other tools can read it. Not every safetensors file is accepted: each
content has exactly one valid header, which the reader writes again and compares, and the digest covers
every byte of the file, with its own 64 digits counted as zeros. ``docs/format.md`` specifies the format.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from io import BufferedReader
from typing import Any, NoReturn, TypeAlias

import numpy as np

from elman.errors import InputError, ModelFileError, printable
from elman.files.atomic import Path, atomic_write

JsonObject: TypeAlias = dict[str, Any]
"""An object as `json` reads and writes it."""
Facts: TypeAlias = Mapping[str, Any]
"""A JSON object that is only read."""

FORMAT = 1
INT8_FORMAT = 2
"""The format of files with integers of 8 bits. All other files keep the first format."""
# "needs" is the first version of Elman that reads a format
_VERSIONS = [{"format": number, "needs": "0.1.0"} for number in (FORMAT, INT8_FORMAT)]

_DTYPES: dict[str, np.dtype[np.generic]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "I8": np.dtype("i1"),
    "BOOL": np.dtype("?"),
}
_CODES = {dtype: code for code, dtype in _DTYPES.items()}
_OWN_KEYS = ("sha256", "elman")
_START = b'{"__metadata__":{"sha256":"'
_DIGEST = slice(len(_START), len(_START) + 64)
_UNSIGNED = b"0" * 64
_DAMAGED = "the file is damaged: copy it or write it again"
_FOREIGN = "pass a file that elman train wrote"


@dataclass(frozen=True)
class Limits:
    """Limits of what the reader accepts, so that it refuses a hostile file at little cost."""

    header_bytes: int = 1 << 20
    tensors: int = 512
    dimensions: int = 8
    name_characters: int = 255
    payload_bytes: int = 1 << 33
    json_marks: int = 10_000
    """Commas and opening brackets in the header; a header has at most as many JSON values."""
    json_depth: int = 16
    json_digits: int = 64


@dataclass(frozen=True)
class _Tensor:
    code: str
    shape: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype[np.generic]:
        return _DTYPES[self.code]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


class _RefusedError(Exception):
    """The reason why a file cannot be read or written; `read` and `write` add the name of the file."""

    def __init__(
        self, what: str, *, got: object = None, expected: str = "", remedy: str = _DAMAGED
    ) -> None:
        super().__init__(what)
        # a hostile header can be a megabyte long
        self.got = None if got is None else str(got)[:100]
        self.expected = expected
        self.remedy = remedy


def write(
    path: Path,
    arrays: Mapping[str, np.ndarray],
    metadata: Facts,
    *,
    limits: Limits = Limits(),
) -> None:
    """Write `arrays` and `metadata` to `path`, completely or not at all.

    The same content gives the same bytes.

    Args:
        path: The file.
        arrays: Arrays by name, of the types in `_DTYPES`.
        metadata: JSON values by name.
        limits: The limits of `read`, which must be able to read the file.

    Raises:
        OutputError: the file cannot be written.
        InputError: the format cannot hold an array or a value, or `limits` does not allow it.
    """
    tensors, payload, texts = {}, {}, {}
    try:
        for name, given in arrays.items():
            array = np.asarray(given, order="C")
            if (code := _CODES.get(array.dtype.newbyteorder("<"))) is None:
                types = ", ".join(str(dtype) for dtype in _CODES)
                raise _RefusedError(f"array {name}", got=array.dtype, expected=f"one of {types}")
            tensors[name] = _Tensor(code, array.shape)
            # The file is little-endian on every machine.
            payload[name] = array.astype(_DTYPES[code], copy=False).reshape(-1).view(np.uint8)
        for key, value in metadata.items():
            if key in _OWN_KEYS:
                raise _RefusedError("a key of metadata", got=key, expected="one not taken")
            try:
                texts[key] = _dump(value)
            except (TypeError, ValueError, RecursionError) as error:
                expected = "JSON values, every number finite"
                raise _RefusedError(f"metadata {key}", got=error, expected=expected) from error
        # The digest is still zeros; it is filled in once the rest of the header is known.
        header = _header(tensors, texts)
        _parse(header, limits)  # refuse to write what `read` would refuse
    except _RefusedError as error:
        raise InputError(
            f"cannot write {os.fspath(path)}: {error}", got=error.got, expected=error.expected
        ) from error
    length = len(header).to_bytes(8, "little")
    parts = [payload[name].data for name in _order(tensors)]
    atomic_write(path, length, _sign(header, _digest(length, header, *parts)), *parts)


def read(path: Path, *, limits: Limits = Limits()) -> tuple[dict[str, np.ndarray], JsonObject]:
    """Return the arrays and the metadata of the file at `path`.

    The arrays are views of one block of memory. The file is not mapped into memory, because another process
    could then change the numbers after they have been checked.

    Raises:
        ModelFileError: the file is missing, incomplete, changed or beyond `limits`.
    """
    what = f"cannot read {os.fspath(path)}"
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise _RefusedError("it is not a regular file", remedy=_FOREIGN)
            return _read(file, status.st_size, limits)
    except _RefusedError as error:
        raise ModelFileError(
            f"{what}: {error}", got=error.got, expected=error.expected, remedy=error.remedy
        ) from error
    except (OSError, ValueError) as error:
        got = getattr(error, "strerror", None) or error
        remedy = "check the name" if isinstance(error, FileNotFoundError) else ""
        raise ModelFileError(what, got=got, remedy=remedy) from error
    except MemoryError as error:
        raise ModelFileError(f"{what}: it is larger than the memory that is free") from error


def _dump(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _order(tensors: Mapping[str, _Tensor]) -> list[str]:
    # with the widest types first, every array is aligned, whatever the sizes before it
    return sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))


def _header(tensors: Mapping[str, _Tensor], texts: Mapping[str, str]) -> bytes:
    """Return the only valid header of this content, with a digest of zeros."""
    version = _VERSIONS[any(tensor.code == "I8" for tensor in tensors.values())]
    own = {"sha256": _UNSIGNED.decode(), "elman": _dump(version)}
    entries: JsonObject = {"__metadata__": {**own, **texts}}
    begin = 0
    for name in _order(tensors):
        tensor = tensors[name]
        end = begin + tensor.nbytes
        entries[name] = {"dtype": tensor.code, "shape": tensor.shape, "data_offsets": (begin, end)}
        begin = end
    header = _dump(entries).encode("ascii")
    return header + b" " * (-len(header) % 8)


def _sign(header: bytes, digest: bytes) -> bytes:
    return header[: _DIGEST.start] + digest + header[_DIGEST.stop :]


def _digest(*parts: bytes | memoryview) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest().encode("ascii")


def _read(
    file: BufferedReader, size: int, limits: Limits
) -> tuple[dict[str, np.ndarray], JsonObject]:
    length = file.read(8)
    header_bytes = int.from_bytes(length, "little")
    # Check the length before reading, because a hostile one could claim terabytes.
    fits = len(_START) <= header_bytes <= limits.header_bytes
    start = file.read(len(_START)) if fits else b""
    if start != _START:
        raise _RefusedError("it is not an Elman file", got=(length + start)[:16], remedy=_FOREIGN)
    header = start + file.read(header_bytes - len(_START))
    if len(header) != header_bytes:
        raise _RefusedError("it is cut short", got=f"{size} bytes")
    unsigned = _sign(header, _UNSIGNED)
    tensors, values = _parse(unsigned, limits)
    payload_bytes = sum(tensor.nbytes for tensor in tensors.values())
    if payload_bytes > limits.payload_bytes:
        expected = f"at most {limits.payload_bytes}"
        raise _RefusedError("the bytes of its arrays", got=payload_bytes, expected=expected)
    file_bytes = len(length) + header_bytes + payload_bytes
    if size != file_bytes:
        what = "it is cut short" if size < file_bytes else "it has more bytes than its header says"
        raise _RefusedError(what, got=f"{size} bytes", expected=f"{file_bytes} bytes")
    # The size of the file was checked, so that this allocates no more than the file has.
    payload = np.empty(payload_bytes, np.uint8)
    if file.readinto(payload.data) != payload_bytes:
        raise _RefusedError("it changed while it was read", remedy="try again")
    if _digest(length, unsigned, payload.data) != header[_DIGEST]:
        raise _RefusedError("its bytes do not match its SHA-256")
    arrays: dict[str, np.ndarray] = {}
    begin = 0
    for name in _order(tensors):
        tensor = tensors[name]
        # a view, without a copy
        piece = payload[begin : begin + tensor.nbytes]
        if tensor.code == "BOOL" and piece.size and piece.max() > 1:
            raise _RefusedError(f"array {name}", got=piece.max(), expected="bytes of 0 and 1")
        arrays[name] = piece.view(tensor.dtype).reshape(tensor.shape)
        begin += tensor.nbytes
    return arrays, values


def _parse(unsigned: bytes, limits: Limits) -> tuple[dict[str, _Tensor], JsonObject]:
    """Return the tensors and the metadata of a header with a digest of zeros."""
    if len(unsigned) > limits.header_bytes:
        expected = f"at most {limits.header_bytes}"
        raise _RefusedError("the bytes of its header", got=len(unsigned), expected=expected)
    # count before parsing, because parsing a hundred thousand tensors would cost seconds
    for what, marks, most in (
        ("tensors", (b'"dtype":',), limits.tensors),
        ("values", (b",", b"[", b"{"), limits.json_marks),
    ):
        if (count := sum(map(unsigned.count, marks))) > most:
            raise _RefusedError(f"the {what} in its header", got=count, expected=f"at most {most}")
    entries = _load("its header", unsigned.decode("ascii", "replace"), limits)
    texts = entries.pop("__metadata__", None) if type(entries) is dict else None
    if type(texts) is not dict or not all(type(text) is str for text in texts.values()):
        raise _RefusedError("its metadata", expected="texts")
    if (version := texts.get("elman", "")) not in map(_dump, _VERSIONS):
        _refuse_version(_value("elman", version, limits))
    if len(entries) > limits.tensors:
        expected = f"at most {limits.tensors}"
        raise _RefusedError("the tensors in its header", got=len(entries), expected=expected)
    tensors = {name: _tensor(name, entry, limits) for name, entry in entries.items()}
    others = {key: text for key, text in texts.items() if key not in _OWN_KEYS}
    # this comparison rules out repeated keys, gaps and overlaps of arrays, and other spellings of the JSON
    if _header(tensors, others) != unsigned:
        raise _RefusedError("its header is not the only valid one for its content")
    return tensors, {key: _value(key, text, limits) for key, text in others.items()}


def _refuse_version(version: Any) -> NoReturn:
    number, needs = (
        (version.get(key) for key in _VERSIONS[0]) if type(version) is dict else (None, None)
    )
    # this version's own files never come here, so an equal or larger number is that of a later version
    if type(number) is int and number >= FORMAT and type(needs) is str:
        raise _RefusedError(
            "a newer Elman wrote it",
            got=f"format {number}",
            expected=f"format {FORMAT} or {INT8_FORMAT}",
            remedy=f"install Elman {printable(needs, 20)} or later",
        )
    raise _RefusedError("its format version", got=number, expected=f"{FORMAT} or {INT8_FORMAT}")


def _tensor(name: str, entry: object, limits: Limits) -> _Tensor:
    if not (name.isascii() and name.isprintable() and 0 < len(name) <= limits.name_characters):
        raise _RefusedError("a tensor's name", got=name, expected="printable ASCII")
    if type(entry) is not dict or entry.get("dtype") not in _CODES.values():
        expected = "a dtype of " + ", ".join(_DTYPES)
        raise _RefusedError(f"tensor {name}", got=entry, expected=expected)
    shape = entry.get("shape")
    if (
        type(shape) is not list
        or len(shape) > limits.dimensions
        or not all(type(size) is int and 0 <= size <= limits.payload_bytes for size in shape)
        # leave sizes of zero out: numpy refuses [0, 2**62] although it holds no numbers
        or math.prod(size for size in shape if size) > limits.payload_bytes
    ):
        expected = f"{limits.dimensions} sizes at most, of {limits.payload_bytes} bytes at most"
        raise _RefusedError(f"the shape of tensor {name}", got=shape, expected=expected)
    return _Tensor(entry["dtype"], tuple(shape))


def _value(key: str, text: str, limits: Limits) -> Any:
    what = f"metadata {key}"
    value = _load(what, text, limits)
    try:
        # One value has one spelling, or two files could hold the same model.
        exact = _dump(value) == text
    except ValueError:  # 1e999 reads as an infinity
        exact = False
    if not exact:
        raise _RefusedError(what, got=text, expected="JSON as Elman writes it")
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > limits.json_depth:
            raise _RefusedError(what, expected=f"JSON at most {limits.json_depth} deep")
        level = [
            child
            for parent in level
            if type(parent) in (dict, list)
            for child in (parent.values() if type(parent) is dict else parent)
        ]
    return value


def _load(what: str, text: str, limits: Limits) -> Any:
    def whole(digits: str) -> int:
        # the time of int() grows with the square of the number of digits
        if len(digits) > limits.json_digits:
            raise ValueError("too many digits")
        return int(digits)

    try:
        return json.loads(text, parse_int=whole)
    except (ValueError, RecursionError) as error:
        raise _RefusedError(what, got=text, expected="JSON") from error


def _open_at_once(path: str, flags: int) -> int:
    # without O_NONBLOCK, opening a named pipe would wait forever
    return os.open(path, flags | os.O_NONBLOCK)
