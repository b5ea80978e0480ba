"""Labelled sequences as numbers and back: the words or the scaling that were learned, and the labels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman.errors import DataError, InputError, ModelFileError
from elman.tables.scaler import Scaler
from elman.text.vocabulary import TextCodec, pack_texts, unpack_texts

__all__ = ["ABSENT", "Labels", "SequenceCodec"]

ABSENT = -1
"""Number of a label that was not there in training."""

_KINDS: dict[str, type] = {"text": str, "whole": int, "real": float, "truth": bool}
_STORED = {"whole": np.int64, "real": np.float64, "truth": np.bool_}
_SHOWN = 10
_LARGEST = 2**63 - 1
_TRUTHS = {"true": True, "false": False}


@dataclass(frozen=True)
class Labels:
    """The classes or tags, in order: texts, whole numbers, or True and False.

    >>> labels = Labels.of(["no", "yes", "no"])
    >>> labels.encode(["yes", "maybe"]).tolist(), labels.decode([1, 0]).tolist()
    ([1, -1], ['yes', 'no'])
    """

    kind: str
    values: tuple[Any, ...]

    @classmethod
    def of(cls, given: Iterable[Any]) -> Labels:
        """Return the labels that occur in `given`; raises DataError for what is no label.

        Numbers are classes where all of them are whole; other numbers are for regression.
        """
        plain = _plain(given)
        kind = next((name for name, kind in _KINDS.items() if type(plain[0]) is kind), None)
        for row, value in enumerate(plain):
            if kind is None or type(value) is not _KINDS[kind]:
                known = type(plain[0]).__name__
                expected = "texts, whole numbers, or True and False" if not row else known
                raise DataError(f"label {row}", got=repr(value), expected=expected)
            if isinstance(value, int) and not -_LARGEST - 1 <= value <= _LARGEST:
                raise DataError(f"label {row}", got=value, expected="at most 64 bits")
            if isinstance(value, float) and not value.is_integer():
                raise DataError(
                    "Unknown label type: continuous",
                    got=value,
                    expected="classes",
                    remedy="for numbers use SequenceRegressor (--task regress)",
                )
        return cls(str(kind), tuple(sorted(set(plain))))

    def __len__(self) -> int:
        return len(self.values)

    def encode(self, given: Iterable[Any]) -> np.ndarray:
        """Return the number of each label, int64 ``[N]``; `ABSENT` for one that is none of these."""
        index = {value: number for number, value in enumerate(self.values)}
        return np.array([index.get(self._own(value), ABSENT) for value in _plain(given)], np.int64)

    def encode_apart(self, given: Iterable[Any]) -> np.ndarray:
        """Return the number of each label as `encode`, and one of its own below 0 for each unknown label.

        >>> Labels.of(["no", "yes"]).encode_apart(["maybe", "yes", "never", "maybe"]).tolist()
        [-1, 1, -2, -1]
        """
        plain = _plain(given)
        numbers = self.encode(plain)
        unknown = [plain[row] for row in np.flatnonzero(numbers == ABSENT)]
        index = {value: -1 - number for number, value in enumerate(dict.fromkeys(unknown))}
        numbers[numbers == ABSENT] = [index[value] for value in unknown]
        return numbers

    def _own(self, value: Any) -> Any:
        """Return `value` as these labels have it: a file's "1" is the 1 of training, and 1.0 its "1"."""
        if isinstance(value, str) == (self.kind == "text"):
            return value  # 1, 1.0 and True are one key
        if self.kind == "text":
            return str(int(value) if isinstance(value, float) and value.is_integer() else value)
        text = value.strip().lower()
        if text in _TRUTHS:
            return _TRUTHS[text]
        for kind in (int, float):
            try:
                return kind(text)
            except ValueError:
                continue
        return None

    def require(self, given: Sequence[Any]) -> None:
        """Raise DataError where one of `given` is none of these labels."""
        for row in np.flatnonzero(self.encode(given) == ABSENT)[:1]:
            label = given[row].item() if isinstance(given[row], np.generic) else given[row]
            more = ", …" if len(self) > _SHOWN else ""
            raise DataError(
                "a label that the network does not have",
                got=repr(label),
                expected="one of " + ", ".join(self.names[:_SHOWN]) + more,
                remedy="fit on all of them",
            )

    def decode(self, numbers: Iterable[int]) -> np.ndarray:
        """Return the labels of numbers, in an array of their own type."""
        return self.array[np.asarray(numbers, np.int64)]

    @property
    def array(self) -> np.ndarray:
        """All labels in their order, as an array of their own type."""
        return np.array(self.values)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the labels as arrays named ``codec.labels.…``, for a model file."""
        if self.kind == "text":
            return pack_texts("codec.labels", self.values)
        return {"codec.labels.values": np.array(self.values, _STORED[self.kind])}

    @property
    def names(self) -> tuple[str, ...]:
        """All labels as text."""
        return tuple(map(str, self.values))


def _plain(given: Iterable[Any]) -> list[Any]:
    """Return labels as Python's own values; raises DataError where there are none, or one is missing."""
    values = given.tolist() if isinstance(given, np.ndarray) else list(given)
    if not values:
        raise DataError("labels", got="none", expected="one a sequence")
    plain = [value.item() if isinstance(value, np.generic) else value for value in values]
    for row, value in enumerate(plain):
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            # scikit-learn's words
            what = "NaN" if value is None or value != value else "infinity"
            raise DataError(f"Input y contains {what}", got=f"{value} in row {row}")
    return plain


@dataclass(frozen=True, eq=False)
class SequenceCodec:
    """What a reader of labelled sequences learned of its data: words or scaling, and labels.

    Exactly one of `tokens` and `scaler` is there; `labels` for classes and tags, `target` (mean and
    scale) for a number.
    """

    tokens: TextCodec | None = None
    alphabet: TextCodec | None = None
    """Characters, where words are spelled too."""
    lowercase: bool = False
    """Whether `tokens` (not `alphabet`) see text in lower case."""
    scaler: Scaler | None = None
    labels: Labels | None = None
    target: Scaler | None = None

    def check(self, config: Any) -> None:
        """Raise InputError where the network has other sizes than this codec."""
        sizes = {
            "vocabulary_size": len(self.tokens) if self.tokens else 0,
            "alphabet_size": len(self.alphabet) if self.alphabet else 0,
            "channels": self.scaler.channels if self.scaler else 0,
            "outputs": len(self.labels) if self.labels else 1,
        }
        for name, size in sizes.items():
            if getattr(config, name) != size:
                raise InputError(f"the codec's {name}", got=size, expected=getattr(config, name))
        regress, target, alphabet = config.task == "regress", self.target, self.alphabet
        fits = {
            "target": (target is not None) == regress and (target is None or target.channels == 1),
            "labels": (self.labels is None) == regress,
            "tokens": (self.tokens is None) != (self.scaler is None),
            "alphabet": alphabet is None
            or (
                alphabet.level == "char" and self.tokens is not None and self.tokens.level == "word"
            ),
        }
        for name, right in fits.items():
            if not right:
                raise InputError(f"the codec's {name}", expected=f"what {config.task} needs")

    def to_parts(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return the codec as a JSON object and arrays named ``codec.…``, for a model file."""
        form: dict[str, Any] = {"lowercase": self.lowercase}
        arrays: dict[str, np.ndarray] = {}
        for name in ("tokens", "alphabet"):
            codec: TextCodec | None = getattr(self, name)
            form[name] = None
            if codec is not None:
                form[name], parts = codec.to_parts(f"codec.{name}")
                arrays |= parts
        for name in ("scaler", "target"):
            scaler: Scaler | None = getattr(self, name)
            form[name] = None
            if scaler is not None:
                form[name] = {"indicator": scaler.indicator}
                arrays |= scaler.to_arrays(name)
        form["labels"] = None
        if self.labels is not None:
            form["labels"] = {"kind": self.labels.kind}
            arrays |= self.labels.to_arrays()
        return form, arrays

    @classmethod
    def from_parts(
        cls, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> SequenceCodec:
        """Return the codec that `to_parts` took apart; raises ModelFileError for anything else."""
        names = {"lowercase", "tokens", "alphabet", "scaler", "target", "labels"}
        if config.keys() != names or type(config["lowercase"]) is not bool:
            raise ModelFileError("its codec", got=sorted(config), expected=", ".join(sorted(names)))
        read: dict[str, Any] = {"lowercase": config["lowercase"]}
        for name in names - {"lowercase"}:
            if config[name] is not None and type(config[name]) is not dict:
                raise ModelFileError(f"codec {name}", got=config[name], expected="an object")
        for name in ("tokens", "alphabet"):
            if config[name] is not None:
                read[name] = TextCodec.from_parts(config[name], arrays, f"codec.{name}")
        for name in ("scaler", "target"):
            if (form := config[name]) is not None:
                if form.keys() != {"indicator"} or type(form["indicator"]) is not bool:
                    raise ModelFileError(f"codec {name}", got=form, expected="an indicator")
                read[name] = Scaler.from_arrays(name, arrays, form["indicator"])
        if config["labels"] is not None:
            read["labels"] = _labels(config["labels"], arrays)
        return cls(**read)


def _labels(form: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Labels:
    kind = form.get("kind")
    if form.keys() != {"kind"} or type(kind) is not str or kind not in _KINDS:
        raise ModelFileError("codec labels", got=form, expected="a kind: " + ", ".join(_KINDS))
    if kind == "text":
        values: list[Any] = list(unpack_texts("codec.labels", arrays))
    else:
        array = arrays.get("codec.labels.values")
        if array is None or array.dtype != _STORED[kind] or array.ndim != 1:
            raise ModelFileError("codec labels", expected=f"a row of labels of the kind {kind}")
        values = array.tolist()
    try:
        labels = Labels.of(values)
    except DataError as error:
        raise ModelFileError(f"codec labels: {error}") from None
    if labels.kind != kind or list(labels.values) != values:
        raise ModelFileError("codec labels", expected="each once, in order")
    return labels
