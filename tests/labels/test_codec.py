"""Labels, scaling and the codec that holds them: any input, saving, and refusal of corrupt files."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from elman import DataError, InputError, ModelFileError
from elman.labels.codec import SequenceCodec
from elman.labels.config import SequenceConfig
from elman.labels.label_values import UNKNOWN_LABEL, Labels
from elman.tables.scaler import Scaler
from elman.text.vocabulary import TextCodec

# Mean and scale are sums of float64: at most a few thousand roundings of numbers near 1.
ROUNDING = 1e-11

CODECS = {
    "text": SequenceCodec(
        tokens=TextCodec("word", ("<unk>", "a", "b")),
        alphabet=TextCodec("char", ("<unk>", "é")),
        lowercase=True,
        labels=Labels.of(["no", "yes"]),
    ),
    "whole": SequenceCodec(scaler=Scaler(np.zeros(2), np.ones(2), True), labels=Labels.of([-1, 7])),
    "real": SequenceCodec(scaler=Scaler(np.zeros(2), np.ones(2)), labels=Labels.of([0.0, 1e300])),
    "truth": SequenceCodec(scaler=Scaler(np.zeros(2), np.ones(2)), labels=Labels.of([True, False])),
    "number": SequenceCodec(
        scaler=Scaler(np.zeros(1), np.ones(1)), target=Scaler(np.array([3.0]), np.array([2.0]))
    ),
}


@pytest.mark.parametrize(
    ("given", "values", "kind"),
    [
        (["b", "a", "b"], ("a", "b"), "text"),
        (np.array(["b", "a"]), ("a", "b"), "text"),
        (np.array(["b", "a"], object), ("a", "b"), "text"),
        ([3, 1, 3], (1, 3), "whole"),
        (np.array([3, 1], np.uint8), (1, 3), "whole"),
        ([np.int64(3), np.int64(1)], (1, 3), "whole"),
        ([2.0, 1.0], (1.0, 2.0), "real"),
        (np.array([2.0, 1.0], np.float32), (1.0, 2.0), "real"),
        ([True, False, True], (False, True), "truth"),
        (np.array([True]), (True,), "truth"),
        ([" a", "a"], (" a", "a"), "text"),
        (["", "a"], ("", "a"), "text"),
    ],
)
def test_labels_are_sorted_and_plain(given: Any, values: tuple[Any, ...], kind: str) -> None:
    labels = Labels.of(given)
    assert (labels.values, labels.kind) == (values, kind)
    assert [type(one) for one in labels.values] == [type(one) for one in values]
    np.testing.assert_array_equal(labels.array, np.unique(np.asarray(given)))
    assert labels.array.dtype.kind == np.asarray(given).dtype.kind or labels.kind in (
        "text",
        "whole",
    )
    assert labels.encode(given).tolist() == [
        values.index(one) for one in np.asarray(given).tolist()
    ]
    assert labels.decode(labels.encode(given)).tolist() == np.asarray(given).tolist()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "labels: got none"),
        (["a", None], "Input y contains NaN: got None in row 1"),
        ([1.0, float("nan")], "Input y contains NaN: got nan in row 1"),
        ([1.0, float("inf")], "Input y contains infinity: got inf in row 1"),
        ([0.5, 1.0], "Unknown label type: continuous"),
        ([0.5], "for numbers use SequenceRegressor (--task regress)"),
        (["a", 1], "label 1: got 1; expected str"),
        ([1, True], "label 1: got True; expected int"),
        ([["a"]], "label 0: got ['a']; expected texts, whole numbers, or True and False"),
        ([2**63], "label 0: got 9223372036854775808; expected at most 64 bits"),
    ],
)
def test_unusable_labels_are_errors(given: list[Any], words: str) -> None:
    with pytest.raises(DataError) as caught:
        Labels.of(given)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("known", "given", "expected"),
    [
        ([1, 2], ["2", " 1 ", "3", "x", 2.0, True, "1.0", ""], [1, 0, -1, -1, 1, 0, 0, -1]),
        ([1.0, 2.0], ["2", 1, "2.0", "1e0", "2.5"], [1, 0, 1, 0, -1]),
        ([True, False], ["True", "false", 1, 0, "1", "yes"], [1, 0, 1, 0, 1, -1]),
        (["1", "2"], [1, 2.0, 3, "1"], [0, 1, -1, 0]),
        (["True", "x"], [True, "true"], [0, -1]),
        ([2**53, 2**53 + 1], [str(2**53 + 1), 2**53], [1, 0]),
        (["a"], ["A", "a ", "a"], [-1, -1, 0]),
    ],
)
def test_labels_of_another_type_are_recognised(
    known: list[Any], given: list[Any], expected: list[int]
) -> None:
    assert UNKNOWN_LABEL == -1
    assert Labels.of(known).encode(given).tolist() == expected


@given(
    hnp.arrays(
        np.float64,
        st.tuples(st.integers(2, 20), st.integers(1, 3)),
        elements=st.floats(-1.0, 1.0) | st.just(np.nan),
    ),
    st.sampled_from([1e-300, 1e-3, 1.0, 1e150, 1e303]),
    st.sampled_from([0.0, 1.0, -1e3]),
)
def test_scaled_numbers_have_mean_0_and_deviation_1(
    rows: np.ndarray, unit: float, shift: float
) -> None:
    rows = np.where(abs(rows) < 1e-3, 0.0, rows) * unit + shift * unit
    scaler = Scaler.of([rows[:1], rows[1:]])
    assert np.isfinite(scaler.mean).all()
    assert (scaler.scale > 0).all()
    scaled = scaler.apply(rows)
    assert np.isfinite(scaled).all()
    for channel in range(rows.shape[1]):
        present = rows[~np.isnan(rows[:, channel]), channel] / unit
        exact = (rows[~np.isnan(rows[:, channel]), channel] - scaler.mean[channel]) / scaler.scale[
            channel
        ]
        np.testing.assert_array_equal(scaled[np.isnan(rows[:, channel]), channel], 0.0)
        if len(present) > 1 and np.ptp(present) > 1e-4:
            # a deviation of 1e-7 of the mean magnifies the rounding error
            assert abs(exact.mean()) < ROUNDING * 1e7
            assert exact.std() == pytest.approx(1, abs=ROUNDING * 1e7)
        elif len(present) and np.ptp(present) == 0:
            np.testing.assert_allclose(exact, 0.0, atol=ROUNDING * max(1, abs(shift)))


def test_missing_numbers_become_the_mean_and_are_marked() -> None:
    rows = np.array([[1.0, np.nan], [3.0, np.nan], [np.nan, 5.0]])
    scaler = Scaler.of([rows], indicator=True)
    assert scaler.channels == 4
    np.testing.assert_array_equal(
        scaler.apply(rows), np.array([[-1, 0, 0, 1], [1, 0, 0, 1], [0, 0, 1, 0]], np.float32)
    )


def test_missing_channels_and_extreme_numbers_stay_finite() -> None:
    scaler = Scaler.of([np.full((3, 1), np.nan)])
    assert scaler.apply(np.array([[np.nan], [1e308], [-1e308]])).tolist() == [[0.0], [1e6], [-1e6]]
    narrow = Scaler.of([np.array([[0.0], [1e-300]])])
    assert narrow.apply(np.array([[1.7e308], [-1.7e308]])).tolist() == [[1e6], [-1e6]]


def config(codec: SequenceCodec) -> SequenceConfig:
    tokens, alphabet = len(codec.tokens or ()), len(codec.alphabet or ())
    return SequenceConfig(
        "regress" if codec.target else "classify", "gru", "tanh", tokens, 4 * bool(tokens), alphabet,
        2 * bool(alphabet), codec.scaler.channels if codec.scaler else 0, 3, 1, True, True, "max",
        len(codec.labels) if codec.labels else 1, 1,
    )  # fmt: skip


@pytest.mark.parametrize("name", CODECS)
def test_a_codec_survives_saving(name: str) -> None:
    codec = CODECS[name]
    form, arrays = codec.to_parts()
    again = SequenceCodec.from_parts(json.loads(json.dumps(form)), arrays)
    form_again, arrays_again = again.to_parts()
    assert form_again == form
    assert arrays_again.keys() == arrays.keys()
    for key, array in arrays.items():
        assert arrays_again[key].dtype == array.dtype
        np.testing.assert_array_equal(arrays_again[key], array)
    assert again.labels == codec.labels
    again.check(config(codec))


def test_ten_thousand_labels_are_stored_as_arrays() -> None:
    labels = Labels.of([f"kind {number}" for number in range(10_000)])
    form, arrays = replace(CODECS["text"], labels=labels).to_parts()
    assert len(json.dumps(form)) < 1000
    assert SequenceCodec.from_parts(form, arrays).labels == labels


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("text", {"vocabulary_size": 4}),
        ("text", {"alphabet_size": 3}),
        ("text", {"outputs": 3}),
        ("whole", {"channels": 2}),
        ("number", {"task": "classify"}),
    ],
)
def test_a_network_of_other_sizes_is_an_error(name: str, change: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        CODECS[name].check(replace(config(CODECS[name]), **change))


def without(key: str) -> Any:
    return lambda form, arrays: arrays.pop(key)


def put(key: str, array: np.ndarray) -> Any:
    return lambda form, arrays: arrays.update({key: array})


def say(key: str, value: Any) -> Any:
    return lambda form, arrays: form.update({key: value})


HOSTILE: list[tuple[str, Any]] = [
    ("text", lambda form, arrays: form.pop("labels")),
    ("text", say("more", None)),
    ("text", say("lowercase", 1)),
    ("text", say("tokens", "word")),
    ("text", say("tokens", {})),
    ("text", say("scaler", [])),
    ("text", say("labels", {})),
    ("text", say("labels", {"kind": "any"})),
    ("text", say("labels", {"kind": ["text"]})),
    ("text", say("labels", {"kind": "whole"})),
    ("text", say("labels", {"kind": "text", "values": ["a"]})),
    ("text", without("codec.labels.bytes")),
    ("text", without("codec.labels.lengths")),
    ("text", put("codec.labels.lengths", np.array([4], np.uint32))),
    ("text", put("codec.labels.lengths", np.array([], np.uint32))),
    ("text", put("codec.labels.lengths", np.array([2, 4], np.uint32))),
    ("text", put("codec.labels.bytes", np.frombuffer(b"yesno", np.uint8))),
    ("text", put("codec.labels.bytes", np.frombuffer(b"\xff\xffyes", np.uint8))),
    ("text", without("codec.tokens.bytes")),
    ("text", without("codec.alphabet.lengths")),
    ("whole", without("codec.labels.values")),
    ("whole", put("codec.labels.values", np.array([7, -1]))),
    ("whole", put("codec.labels.values", np.array([7, 7]))),
    ("whole", put("codec.labels.values", np.array([], np.int64))),
    ("whole", put("codec.labels.values", np.array([[1], [2]]))),
    ("whole", put("codec.labels.values", np.array([-1.0, 7.0]))),
    ("whole", say("scaler", {"indicator": 1})),
    ("whole", say("scaler", {})),
    ("whole", without("codec.scaler.mean")),
    ("whole", without("codec.scaler.scale")),
    ("whole", put("codec.scaler.scale", np.array([1.0, 0.0]))),
    ("whole", put("codec.scaler.scale", np.array([1.0, -1.0]))),
    ("whole", put("codec.scaler.scale", np.array([1.0, np.nan]))),
    ("whole", put("codec.scaler.mean", np.array([1.0, np.inf]))),
    ("whole", put("codec.scaler.mean", np.array([1.0]))),
    ("whole", put("codec.scaler.mean", np.zeros(2, np.float32))),
    ("whole", put("codec.scaler.mean", np.zeros((2, 1)))),
    ("real", put("codec.labels.values", np.array([0.0, 0.5]))),
    ("real", put("codec.labels.values", np.array([0.0, np.nan]))),
    ("real", put("codec.labels.values", np.array([0.0, np.inf]))),
    ("truth", put("codec.labels.values", np.array([0, 1], np.uint8))),
    ("number", put("codec.target.scale", np.array([0.0]))),
]


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_corrupt_codecs_are_errors(number: int) -> None:
    name, harm = HOSTILE[number]
    form, arrays = CODECS[name].to_parts()
    harm(form, arrays)
    with pytest.raises(ModelFileError) as caught:
        SequenceCodec.from_parts(form, arrays)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("number", {"target": Scaler(np.zeros(2), np.ones(2))}, "target"),
        ("number", {"target": Scaler(np.zeros(1), np.ones(1), True)}, "target"),
        ("number", {"labels": Labels.of(["one"])}, "labels"),
        ("text", {"alphabet": TextCodec("word", ("<unk>", "é"))}, "alphabet"),
        ("text", {"tokens": TextCodec("char", ("<unk>", "a", "b"))}, "alphabet"),
    ],
)
def test_a_codec_that_does_not_fit_its_task_is_an_error(
    name: str, change: dict[str, Any], said: str
) -> None:
    own = CODECS[name]
    own.check(config(own))
    with pytest.raises(InputError, match=f"the codec's {said}"):
        replace(own, **change).check(config(own))
