"""Labels of classes and tags: the distinct values of training, and their numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from elman.errors import DataError, ModelFileError
from elman.text.packed_texts import pack_texts, unpack_texts
from elman.training.journal import JsonObject

UNKNOWN_LABEL = -1
"""Number of a label that did not occur in training."""
MAX_LABELS_IN_MESSAGE = 10
MAX_INT64 = 2**63 - 1

Label: TypeAlias = str | int | float

_TYPE_OF_KIND: dict[str, type] = {"text": str, "whole": int, "real": float, "truth": bool}
_DTYPE_OF_KIND = {"whole": np.int64, "real": np.float64, "truth": np.bool_}
_BOOLEANS = {"true": True, "false": False}


@dataclass(frozen=True)
class Labels:
    """The sorted classes or tags of training: texts, whole numbers, or True and False.

    >>> labels = Labels.of(["no", "yes", "no"])
    >>> labels.encode(["yes", "maybe"]).tolist(), labels.decode([1, 0]).tolist()
    ([1, -1], ['yes', 'no'])
    """

    kind: str
    """"text", "whole", "real" (whole numbers written as floats) or "truth"."""
    values: tuple[Label, ...]

    @classmethod
    def of(cls, labels: Iterable[Label | None]) -> Labels:
        """Return the distinct values of `labels`.

        Raises:
            DataError: A value is missing or cannot be a label, values differ in type, or a number has a
                fraction (then the task is regression).
        """
        plain = _plain(labels)
        kinds = {type_: name for name, type_ in _TYPE_OF_KIND.items()}
        first_type = type(plain[0])
        for row, value in enumerate(plain):
            if type(value) is not first_type or first_type not in kinds:
                expected = first_type.__name__ if row else "texts, whole numbers, or True and False"
                raise DataError(f"label {row}", got=repr(value), expected=expected)
            if isinstance(value, int) and not -MAX_INT64 - 1 <= value <= MAX_INT64:
                raise DataError(f"label {row}", got=value, expected="at most 64 bits")
            if isinstance(value, float) and not value.is_integer():
                # scikit-learn's wording, which its checks of estimators expect
                what, remedy = "Unknown label type: continuous", "for numbers use SequenceRegressor"
                remedy += " (--task regress)"
                raise DataError(what, got=value, expected="classes", remedy=remedy)
        return cls(kinds[first_type], tuple(sorted(set(plain))))

    def __len__(self) -> int:
        return len(self.values)

    def encode(self, labels: Iterable[Label | None]) -> np.ndarray:
        """Return the number of each label, int64 ``[N]``; `UNKNOWN_LABEL` if it was not in training."""
        number_of: dict[Label | None, int] = {value: k for k, value in enumerate(self.values)}
        return np.array(
            [number_of.get(self._converted(value), UNKNOWN_LABEL) for value in _plain(labels)],
            np.int64,
        )

    def encode_distinct(self, labels: Iterable[Label | None]) -> np.ndarray:
        """Return the number of each label; each label not in training gets a negative number of its own.

        >>> Labels.of(["no", "yes"]).encode_distinct(["maybe", "yes", "never", "maybe"]).tolist()
        [-1, 1, -2, -1]
        """
        plain = _plain(labels)
        numbers = self.encode(plain)
        unknown = [plain[row] for row in np.flatnonzero(numbers == UNKNOWN_LABEL)]
        # -1, -2 and so on, in the order of first occurrence
        number_of = {value: -1 - index for index, value in enumerate(dict.fromkeys(unknown))}
        numbers[numbers == UNKNOWN_LABEL] = [number_of[value] for value in unknown]
        return numbers

    def _converted(self, value: Label) -> Label | None:
        """Return `value` in the type of these labels, so that "1" of a file equals the 1 of training."""
        if not isinstance(value, str) and self.kind != "text":
            return value  # 1, 1.0 and True are the same dictionary key
        if not isinstance(value, str):
            return str(int(value) if isinstance(value, float) and value.is_integer() else value)
        if self.kind == "text":
            return value
        text = value.strip().lower()
        if text in _BOOLEANS:
            return _BOOLEANS[text]
        for convert in (int, float):
            try:
                return convert(text)
            except ValueError:
                continue
        return None

    def with_labels(self, others: Labels) -> Labels:
        """Return these labels and the `others`; raises DataError if they are of another type."""
        unknown = np.flatnonzero(self.encode(others.values) == UNKNOWN_LABEL)
        new = [others.values[number] for number in unknown]
        converted = [self._converted(value) for value in new]
        for value, label in zip(new, converted, strict=True):
            if type(label) is not type(self.values[0]):
                known = ", ".join(self.names[:MAX_LABELS_IN_MESSAGE])
                expected = f"a label of the same type as those of the model: {known}"
                raise DataError("a new label", got=repr(value), expected=expected)
        return Labels.of([*self.values, *converted]) if new else self

    def check_known(self, labels: Sequence[Label]) -> None:
        """Raise DataError for the first of `labels` that is not among these."""
        # the first unknown label is enough for a message
        for row in np.flatnonzero(self.encode(labels) == UNKNOWN_LABEL)[:1]:
            label = labels[row].item() if isinstance(labels[row], np.generic) else labels[row]
            more = ", …" if len(self) > MAX_LABELS_IN_MESSAGE else ""
            raise DataError(
                "a label that is not among the expected ones",
                got=repr(label),
                expected="one of " + ", ".join(self.names[:MAX_LABELS_IN_MESSAGE]) + more,
            )

    def decode(self, numbers: Iterable[int]) -> np.ndarray:
        """Return the labels with these `numbers`, as an array of the labels' type."""
        return self.array[np.asarray(numbers, np.int64)]

    @property
    def array(self) -> np.ndarray:
        """All labels in order, as an array of the labels' type."""
        return np.array(self.values)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the labels as arrays named ``codec.labels.…``, for a model file."""
        if self.kind == "text":
            return pack_texts("codec.labels", self.names)
        return {"codec.labels.values": np.array(self.values, _DTYPE_OF_KIND[self.kind])}

    @property
    def names(self) -> tuple[str, ...]:
        """All labels as text."""
        return tuple(map(str, self.values))

    @classmethod
    def from_parts(cls, form: JsonObject, arrays: Mapping[str, np.ndarray]) -> Labels:
        """Return the labels stored by `to_arrays`, of the kind in `form`; raises ModelFileError."""
        kind = form.get("kind")
        if form.keys() != {"kind"} or type(kind) is not str or kind not in _TYPE_OF_KIND:
            expected = "a kind: " + ", ".join(_TYPE_OF_KIND)
            raise ModelFileError("codec labels", got=form, expected=expected)
        if kind == "text":
            values: list[Label] = list(unpack_texts("codec.labels", arrays))
        else:
            array = arrays.get("codec.labels.values")
            if array is None or array.dtype != _DTYPE_OF_KIND[kind] or array.ndim != 1:
                raise ModelFileError("codec labels", expected=f"a row of labels of the kind {kind}")
            values = array.tolist()
        try:
            labels = cls.of(values)
        except DataError as error:
            raise ModelFileError(f"codec labels: {error}") from None
        # in another order, every output would get the wrong label
        if labels.kind != kind or list(labels.values) != values:
            raise ModelFileError("codec labels", expected="each once, in order")
        return labels


def _plain(labels: Iterable[Label | None]) -> list[Label]:
    """Return labels as Python values; raises DataError if the list is empty or a label is missing."""
    values = labels.tolist() if isinstance(labels, np.ndarray) else list(labels)
    if not values:
        raise DataError("labels", got="none", expected="one for each sequence")
    plain: list[Label] = []
    for row, value in enumerate(values):
        label = value.item() if isinstance(value, np.generic) else value
        if label is None or (isinstance(label, float) and not math.isfinite(label)):
            # scikit-learn's wording, which its checks of estimators expect
            what = "NaN" if label is None or label != label else "infinity"
            raise DataError(f"Input y contains {what}", got=f"{label} in row {row}")
        plain.append(label)
    return plain
