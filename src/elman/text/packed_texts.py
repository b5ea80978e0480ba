"""Lists of texts as two arrays of a model file: the bytes of all texts, and the length of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from elman.errors import ModelFileError


def pack_texts(name: str, texts: Iterable[str]) -> dict[str, np.ndarray]:
    """Return texts as the arrays ``{name}.bytes`` (UTF-8) and ``{name}.lengths`` (in bytes)."""
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    return {
        f"{name}.bytes": np.frombuffer(b"".join(encoded), np.uint8),
        f"{name}.lengths": np.array([len(text) for text in encoded], np.uint32),
    }


def unpack_texts(name: str, arrays: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """Return the texts that `pack_texts` packed; raises ModelFileError for arrays of another form."""
    payload = _row(arrays, f"{name}.bytes", np.uint8)
    lengths = _row(arrays, f"{name}.lengths", np.uint32)
    if int(lengths.sum(dtype=np.uint64)) != len(payload):
        raise ModelFileError("vocabulary: lengths and bytes do not fit together")
    # The lengths cut the bytes into texts one after the other.
    text, stops = payload.tobytes(), np.cumsum(lengths, dtype=np.int64).tolist()
    try:
        return tuple(
            text[start:stop].decode("utf-8", "surrogatepass")
            for start, stop in zip([0, *stops], stops, strict=False)
        )
    except UnicodeDecodeError as error:
        raise ModelFileError("vocabulary: not UTF-8", got=error.reason) from None


def _row(arrays: Mapping[str, np.ndarray], name: str, dtype: type[np.generic]) -> np.ndarray:
    array = arrays.get(name)
    if array is None or array.dtype != dtype or array.ndim != 1:
        got = "nothing" if array is None else f"{array.dtype} {list(array.shape)}"
        raise ModelFileError(name, got=got, expected=f"a row of {dtype.__name__}")
    return array
