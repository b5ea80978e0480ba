"""A written file reads back the same, has the same bytes every time, and other tools can read it."""

from __future__ import annotations

import json
import math
import tracemalloc
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load_file

from elman.errors import InputError, ModelFileError, OutputError
from elman.files import container
from elman.files.container import Limits

DTYPES = ("float64", "float32", "int64", "int32", "uint32", "uint16", "uint8", "int8", "bool")
NAMES = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1, max_size=20)
ARRAYS = st.dictionaries(
    NAMES.filter(lambda name: name != "__metadata__"),
    st.sampled_from(DTYPES).flatmap(
        lambda dtype: hnp.arrays(
            dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
        )
    ),
    max_size=6,
)
# Python turns file names that are not UTF-8 into lone surrogates.
TEXTS = st.text(st.characters() | st.sampled_from('\udc80\ud83d"\\\0\n'), max_size=10)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 128), 1 << 128)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=10,
)
METADATA = st.dictionaries(TEXTS.filter(lambda key: key not in ("sha256", "elman")), VALUES)
# All examples share the folder of the test, and each writes its file anew.
shared_folder = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None
)


def assert_same(arrays: dict[str, np.ndarray], others: dict[str, np.ndarray]) -> None:
    assert arrays.keys() == others.keys()
    for name, array in arrays.items():
        other = others[name]
        assert (other.shape, other.dtype) == (array.shape, array.dtype)
        assert other.tobytes() == array.tobytes()


@pytest.mark.slow
@shared_folder
@given(arrays=ARRAYS, metadata=METADATA)
def test_a_written_file_reads_back_the_same(
    tmp_path: Path, arrays: dict[str, np.ndarray], metadata: dict[str, Any]
) -> None:
    path = tmp_path / "file.safetensors"
    container.write(path, arrays, metadata)
    found, values = container.read(path)
    assert_same(arrays, found)
    assert all(array.flags.aligned and array.flags.writeable for array in found.values())
    assert values == metadata
    assert list(values) == list(metadata)
    assert json.dumps(values) == json.dumps(metadata)  # also the order of keys, and -0.0


@pytest.mark.slow
@shared_folder
@given(arrays=ARRAYS, metadata=METADATA, shuffle=st.randoms(use_true_random=False))
def test_same_content_same_bytes(
    tmp_path: Path, arrays: dict[str, np.ndarray], metadata: dict[str, Any], shuffle: Random
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    container.write(one, arrays, metadata)
    names = list(arrays)
    shuffle.shuffle(names)
    shuffled = {name: np.asfortranarray(arrays[name]).reshape(arrays[name].shape) for name in names}
    swapped = {
        name: array.astype(array.dtype.newbyteorder(">")) for name, array in shuffled.items()
    }
    container.write(two, swapped, metadata)
    assert one.read_bytes() == two.read_bytes()
    container.write(two, *container.read(one))
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.slow
@shared_folder
@given(arrays=ARRAYS)
def test_safetensors_reads_it(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    path = tmp_path / "file.safetensors"
    container.write(path, arrays, {"text": 'a "quoted" ü', "number": 1.5})
    assert_same(arrays, load_file(path))


def test_metadata_is_json_for_other_tools(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    container.write(path, {}, {"card": {"loss": 1.5}})
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert json.loads(header["__metadata__"]["card"]) == {"loss": 1.5}
    assert json.loads(header["__metadata__"]["elman"])["format"] == container.FORMAT


def test_views_and_steps(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.float32).reshape(4, 6)
    arrays = {
        "transposed": array.T,
        "stepped": array[::2, ::-3],
        "one": np.broadcast_to(array[:1], (3, 6)),
    }
    container.write(tmp_path / "file", arrays, {})
    assert_same(
        {name: np.ascontiguousarray(a) for name, a in arrays.items()},
        container.read(tmp_path / "file")[0],
    )


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (np.zeros(1, np.int16), "int16"),
        (np.zeros(1, complex), "complex128"),
        (np.array(["a"]), "<U1"),
        (np.array([None]), "object"),
    ],
)
def test_other_types_are_refused(tmp_path: Path, array: np.ndarray, found: str) -> None:
    with pytest.raises(InputError, match=f"array a: got {found}; expected one of float64"):
        container.write(tmp_path / "file", {"a": array}, {})
    assert not (tmp_path / "file").exists()


def deep(depth: int) -> object:
    value: object = 0
    for _ in range(depth - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"a": math.nan}, "metadata a: got Out of range float"),
        ({"a": math.inf}, "metadata a: got Out of range float"),
        ({"a": np.float32(1)}, "metadata a: got Object of type float32"),
        ({"a": deep(17)}, "at most 16 deep"),
        ({"a": deep(5000)}, "metadata a"),
        ({"a": "x" * (1 << 20)}, "bytes of its header: got 10.*at most 1048576"),
        ({"a": [0] * 40_000}, "values in its header: got 40.*at most 10000"),
        ({"a": 10**64}, "metadata a"),
        ({"sha256": "x"}, "a key of metadata: got sha256"),
        ({"elman": "x"}, "a key of metadata: got elman"),
    ],
)  # fmt: skip
def test_unreadable_metadata_is_not_written(
    tmp_path: Path, metadata: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        container.write(tmp_path / "file", {}, metadata)
    assert "damaged" not in str(caught.value)
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"": np.zeros(1)}, "a tensor's name"),
        ({"é": np.zeros(1)}, "a tensor's name"),
        ({"a" * 256: np.zeros(1)}, "a tensor's name"),
        ({"__metadata__": np.zeros(1)}, "its metadata"),
        ({"a": np.zeros((1,) * 9)}, "the shape of tensor a"),
        ({f"a{k}": np.zeros(0) for k in range(513)}, "tensors in its header: got 513"),
    ],
)
def test_unreadable_arrays_are_not_written(
    tmp_path: Path, arrays: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        container.write(tmp_path / "file", arrays, {})
    assert not (tmp_path / "file").exists()


def test_as_many_tensors_as_allowed(tmp_path: Path) -> None:
    arrays = {f"a{k}": np.full(k % 3, k, np.uint16) for k in range(512)}
    container.write(tmp_path / "file", arrays, {"depth": deep(16), "digits": 10**63})
    assert_same(arrays, container.read(tmp_path / "file")[0])


def test_limits_can_be_narrowed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    container.write(path, {"a": np.zeros((2, 3)), "b": np.zeros(1)}, {"deep": deep(3)})
    container.read(path, limits=Limits(tensors=2, dimensions=2, payload_bytes=56, json_depth=3))
    for limits in (
        Limits(tensors=1),
        Limits(dimensions=1),
        Limits(payload_bytes=55),
        Limits(json_depth=2),
        Limits(header_bytes=100),
        Limits(name_characters=0),
        Limits(json_marks=5),
    ):
        with pytest.raises(ModelFileError):
            container.read(path, limits=limits)


def test_limits_can_be_widened(tmp_path: Path) -> None:
    path = tmp_path / "file"
    arrays = {f"a{k}": np.full(1, k, np.uint16) for k in range(600)}
    wide = Limits(tensors=600)
    container.write(path, arrays, {}, limits=wide)
    assert_same(arrays, container.read(path, limits=wide)[0])
    with pytest.raises(ModelFileError, match="tensors in its header: got 600"):
        container.read(path)
    with pytest.raises(InputError, match=r"got 600.*at most 599"):
        container.write(tmp_path / "other", arrays, {}, limits=Limits(tensors=599))
    assert not (tmp_path / "other").exists()


def test_reading_holds_the_payload_once(tmp_path: Path) -> None:
    path = tmp_path / "file"
    size = 20_000_000
    container.write(path, {"a": np.zeros(size, np.uint8)}, {})
    tracemalloc.start()
    try:
        arrays, _ = container.read(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert arrays["a"].size == size
    # the payload, the file's buffer, and what the JSON reader keeps after its first call
    assert peak < size + 1_000_000


def test_writing_copies_nothing(tmp_path: Path) -> None:
    size = 20_000_000
    array = np.zeros(size, np.uint8)
    tracemalloc.start()
    try:
        container.write(tmp_path / "file", {"a": array}, {})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


def test_an_unwritable_folder_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot write .*missing/file.*make the folder first"):
        container.write(tmp_path / "missing" / "file", {}, {})
