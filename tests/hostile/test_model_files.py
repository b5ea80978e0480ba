"""Damaged and forged model files are refused, and refusing them costs little.

``ELMAN_HOSTILE_COUNT`` sets how many random corruptions of each kind are tried (a release: 100000).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import random
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elman.errors import ModelFileError
from elman.files import container
from elman.files.container import FORMAT
from elman.files.model import Model

GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("*.safetensors"))
SMALLEST = min((path.read_bytes() for path in GOLDEN), key=len)
COUNT = int(os.environ.get("ELMAN_HOSTILE_COUNT", "1000"))
ZEROS = b"0" * 64
MEBIBYTE = 1 << 20


def load(path: Path, content: bytes) -> Model:
    path.write_bytes(content)
    return Model.load(path)


def refusal(path: Path, content: bytes) -> str:
    """Return the message with which the file is refused; anything else fails the test."""
    with pytest.raises(ModelFileError) as caught:
        load(path, content)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < 1000
    return message


def sign(content: bytes) -> bytes:
    """Return `content` with a valid digest, as an attacker would compute it."""
    start = content.find(b'"sha256":"')
    if start < 0:
        return content
    start += len(b'"sha256":"')
    unsigned = content[:start] + ZEROS + content[start + 64 :]
    digest = hashlib.sha256(unsigned).hexdigest().encode()
    return content[:start] + digest + content[start + 64 :]


def split(content: bytes) -> tuple[bytes, bytes]:
    stop = 8 + struct.unpack("<Q", content[:8])[0]
    return content[8:stop], content[stop:]


def join(header: bytes, payload: bytes = b"") -> bytes:
    header += b" " * (-len(header) % 8)
    return sign(struct.pack("<Q", len(header)) + header + payload)


def forge(tensors: str, payload: bytes = b"", metadata: str = "") -> bytes:
    """Return a file with a valid digest whose header has this text in the place of its tensors."""
    version = json.dumps(json.dumps({"format": FORMAT, "needs": "0.1.0"}, separators=(",", ":")))
    start = f'{{"__metadata__":{{"sha256":"{"0" * 64}","elman":{version}{metadata}}}'
    return join((start + ("," if tensors else "") + tensors + "}").encode(), payload)


def tensor(name: str = "a", dtype: str = "U8", shape: str = "[0]", offsets: str = "[0,0]") -> str:
    return f'"{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}'


def test_valid_files_of_the_helpers_load(tmp_path: Path) -> None:
    """The helpers can write a valid file, so the tests below fail to load because of the defect they add."""
    content = forge(tensor(shape="[2,3]", offsets="[0,6]"), b"abcdef", ',"x":"[1,{\\"y\\":2.5}]"')
    (tmp_path / "file").write_bytes(content)
    arrays, metadata = container.read(tmp_path / "file")
    assert arrays["a"].tobytes() == b"abcdef"
    assert metadata == {"x": [1, {"y": 2.5}]}
    header, payload = split(SMALLEST)
    assert join(header, payload) == SMALLEST


@pytest.mark.slow
def test_every_single_bit(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(SMALLEST)
    Model.load(path)
    loaded = []
    with open(path, "r+b", buffering=0) as file:
        for bit in range(8 * len(SMALLEST)):
            at = bit // 8
            os.pwrite(file.fileno(), bytes([SMALLEST[at] ^ (1 << bit % 8)]), at)
            try:
                Model.load(path)
                loaded.append(bit)
            except ModelFileError:
                pass
            os.pwrite(file.fileno(), SMALLEST[at : at + 1], at)
    assert loaded == []
    Model.load(path)


@pytest.mark.slow
def test_every_length(tmp_path: Path) -> None:
    path = tmp_path / "model"
    for length in range(len(SMALLEST)):
        refusal(path, SMALLEST[:length])
    assert "not an Elman file" in refusal(path, b"")
    assert "it is cut short" in refusal(path, SMALLEST[:-1])
    assert "it is cut short" in refusal(path, SMALLEST[:500])
    for more in (b"\0", b" ", SMALLEST):
        assert "it has more bytes than its header says" in refusal(path, SMALLEST + more)


def _damage(content: bytes, other: bytes, draw: random.Random) -> bytes:
    kind = draw.randrange(8)
    one, two = sorted(draw.randrange(len(content) + 1) for _ in range(2))
    if kind == 0:
        damaged = bytearray(content)
        for _ in range(draw.randint(2, 20)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        return bytes(damaged)
    if kind == 1:
        return content[:one] + content[two:]
    if kind == 2:
        return content[:two] + content[one:]
    if kind == 3:
        return content[:one] + other[draw.randrange(len(other)) :]
    if kind == 4:
        return content[:one] + other[one:two] + content[two:]
    if kind == 5:
        return content[:one] + bytes(two - one) + content[two:]
    if kind == 6:
        return content[:one] + draw.randbytes(two - one) + content[two:]
    return content[:one] + content[one:two][::-1] + content[two:]


@pytest.mark.slow
def test_random_damage(tmp_path: Path) -> None:
    path = tmp_path / "model"
    contents = [golden.read_bytes() for golden in GOLDEN]
    draw = random.Random(0)
    tried = 0
    while tried < COUNT:
        content, other = draw.choice(contents), draw.choice(contents)
        damaged = _damage(content, other, draw)
        if damaged not in contents:
            tried += 1
            refusal(path, damaged)


def _mutate(header: bytes, payload: bytes, draw: random.Random) -> tuple[bytes, bytes]:
    """Return header and payload with a change that gets past the first checks of the reader."""
    marks = [at for at, byte in enumerate(header) if byte in b'{}[],:"\\0123456789']
    at = draw.choice(marks)
    kind = draw.randrange(6)
    if kind == 0:
        bits = (
            "-1",
            "9" * draw.randint(1, 30),
            "1.0",
            "1e9",
            "null",
            "true",
            '"a"',
            "[]",
            "{}",
            "",
        )
        header = header[:at] + draw.choice(bits).encode() + header[at + 1 :]
    elif kind == 1:
        header = header[:at] + bytes([draw.choice(b'{}[],:"\\01289 ')]) + header[at + 1 :]
    elif kind == 2:
        to = draw.choice(marks)
        header = header[: min(at, to)] + header[max(at, to) :]
    elif kind == 3:
        to = draw.choice(marks)
        header = header[: max(at, to)] + header[min(at, to) :]
    elif kind == 4:
        names = (
            b"F32",
            b"F64",
            b"U32",
            b"U8",
            b"I8",
            b"BOOL",
            b"BF16",
            b"gru",
            b"lstm",
            b"true",
            b"false",
        )
        header = header.replace(draw.choice(names), draw.choice(names), draw.randint(1, 3))
    else:
        numbers = np.frombuffer(payload[: len(payload) // 4 * 4], np.uint8).copy()
        where = 4 * draw.randrange(len(numbers) // 4)
        numbers[where : where + 4] = np.frombuffer(
            struct.pack("<f", draw.choice((0.0, 1e38, math.nan, math.inf))), np.uint8
        )
        payload = numbers.tobytes() + payload[len(numbers) :]
    return header, payload


@pytest.mark.slow
def test_forgeries_with_a_right_digest(tmp_path: Path) -> None:
    """A forged file is either refused, or it is a valid model that saves to the same bytes."""
    path, again = tmp_path / "model", tmp_path / "again"
    draw = random.Random(1)
    loaded = 0
    for _ in range(COUNT):
        header, payload = split(draw.choice(GOLDEN).read_bytes())
        for _ in range(draw.randint(1, 2)):
            header, payload = _mutate(header, payload, draw)
        content = join(header, payload)
        try:
            model = load(path, content)
        except ModelFileError:
            continue
        loaded += 1
        assert all(np.isfinite(array).all() for array in model.arrays.values())
        model.save(again)
        assert again.read_bytes() == content
    assert 0 < loaded < COUNT


@pytest.mark.parametrize(
    ("tensors", "payload", "metadata"),
    [
        pytest.param(tensor(offsets="[0,1]"), b"", "", id="offsets beyond the end"),
        pytest.param(tensor(shape="[1]"), b"a", "", id="shape larger than offsets"),
        pytest.param(tensor(shape="[1]", offsets="[1,2]"), b"ab", "", id="gap at the start"),
        pytest.param(tensor(shape="[1]", offsets="[-1,0]"), b"", "", id="negative offset"),
        pytest.param(tensor(shape="[1]", offsets="[1,0]"), b"a", "", id="offsets backwards"),
        pytest.param(
            tensor("a", shape="[2]", offsets="[0,2]") + "," + tensor("b", shape="[2]", offsets="[1,3]"),
            b"abc", "", id="overlap",
        ),
        pytest.param(
            tensor("a", shape="[2]", offsets="[0,2]") + "," + tensor("b", shape="[2]", offsets="[0,2]"),
            b"ab", "", id="the same bytes twice",
        ),
        pytest.param(
            tensor("a", shape="[1]", offsets="[0,1]") + "," + tensor("b", shape="[1]", offsets="[2,3]"),
            b"abc", "", id="gap",
        ),
        pytest.param(
            tensor("b", shape="[1]", offsets="[0,1]") + "," + tensor("a", shape="[1]", offsets="[1,2]"),
            b"ab", "", id="another order",
        ),
        pytest.param(tensor() + "," + tensor(), b"", "", id="a tensor twice"),
        pytest.param('"__metadata__":{}', b"", "", id="metadata twice"),
        pytest.param("", b"", ',"x":"1","x":"1"', id="a key of metadata twice"),
        pytest.param("", b"", ',"sha256":"' + "0" * 64 + '"', id="two digests"),
        pytest.param("", b"", ',"x":"{\\"a\\":1,\\"a\\":1}"', id="a key in the JSON twice"),
        pytest.param("", b"", ',"x":1', id="metadata that is no text"),
        pytest.param("", b"", ',"x":"NaN"', id="NaN in JSON"),
        pytest.param("", b"", ',"x":"1e999"', id="infinity in JSON"),
        pytest.param("", b"", ',"x":"1.50"', id="another form of a number"),
        pytest.param("", b"", ',"x":"[1, 2]"', id="space in JSON"),
        pytest.param("", b"", ',"x":""', id="no JSON"),
        pytest.param("", b"", ',"\\u0078":"1"', id="an escape that needs none"),
        pytest.param("", b"", ',"é":"1"', id="UTF-8 not escaped"),
        pytest.param(" " + tensor(), b"", "", id="space in the header"),
        pytest.param(tensor(shape="[0 ]"), b"", "", id="space in a shape"),
        pytest.param(tensor(shape="[-1]"), b"", "", id="negative size"),
        pytest.param(tensor(shape="[0.0]"), b"", "", id="size that is no whole number"),
        pytest.param(tensor(shape="[true]", offsets="[0,1]"), b"a", "", id="size true"),
        pytest.param(tensor(shape='["0"]'), b"", "", id="size in quotes"),
        pytest.param(tensor(shape="[null]"), b"", "", id="size null"),
        pytest.param(tensor(shape="0"), b"", "", id="shape that is no list"),
        pytest.param(tensor(shape="[[0]]"), b"", "", id="shape of lists"),
        pytest.param(tensor(shape="[4294967296,4294967296]"), b"", "", id="product is 2**64"),
        pytest.param(tensor(dtype="F64", shape="[2305843009213693952]"), b"", "", id="bytes are 2**64"),
        pytest.param(tensor(shape="[18446744073709551616]"), b"", "", id="size 2**64"),
        pytest.param(tensor(shape="[0,9223372036854775807]"), b"", "", id="zero times 2**63"),
        pytest.param(tensor(shape="[" + "9" * 5000 + "]"), b"", "", id="size of 5000 digits"),
        pytest.param(tensor(shape="[" + "1," * 40 + "0]"), b"", "", id="41 dimensions"),
        pytest.param(tensor(dtype="BF16"), b"", "", id="a type that we do not read"),
        pytest.param(tensor(dtype="O"), b"", "", id="numpy's object type"),
        pytest.param(tensor(dtype="f4"), b"", "", id="numpy's name of a type"),
        pytest.param('"a":{"dtype":["U8"],"shape":[0],"data_offsets":[0,0]}', b"", "", id="type a list"),
        pytest.param('"a":{"dtype":"U8","shape":[0]}', b"", "", id="no offsets"),
        pytest.param('"a":{"dtype":"U8","data_offsets":[0,0]}', b"", "", id="no shape"),
        pytest.param('"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"x":0}', b"", "", id="a field"),
        pytest.param('"a":[]', b"", "", id="tensor that is a list"),
        pytest.param('"a":null', b"", "", id="tensor that is null"),
        pytest.param(tensor(""), b"", "", id="no name"),
        pytest.param(tensor("\\u0000"), b"", "", id="name NUL"),
        pytest.param(tensor("a" * 256), b"", "", id="name of 256 characters"),
        pytest.param(tensor(dtype="BOOL", shape="[1]", offsets="[0,1]"), b"\2", "", id="truth of 2"),
    ],
)  # fmt: skip
def test_forged_headers(tmp_path: Path, tensors: str, payload: bytes, metadata: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(forge(tensors, payload, metadata))
    with pytest.raises(ModelFileError):
        container.read(path)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"\0" * 1000, id="zeros"),
        pytest.param(b"PK\3\4" + b"\0" * 100, id="a zip archive, so torch.save"),
        pytest.param(b"\x80\x04\x95" + b"\0" * 100, id="a pickle"),
        pytest.param(b"\x89HDF\r\n\x1a\n" + b"\0" * 100, id="HDF5"),
        pytest.param(b"I like to eat pizza.\n" * 10, id="a text"),
        pytest.param(struct.pack("<Q", 0), id="no header"),
        pytest.param(struct.pack("<Q", 2) + b"{}", id="an empty safetensors file"),
        pytest.param(struct.pack("<Q", 10) + SMALLEST[8:], id="header shorter than its start"),
        pytest.param(struct.pack("<Q", 1 << 63) + SMALLEST[8:], id="header of 2**63 bytes"),
        pytest.param(struct.pack("<Q", MEBIBYTE + 8) + SMALLEST[8:], id="header over the limit"),
        pytest.param(
            join(b'{"__metadata__":{"format":"pt"},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}'),
            id="a safetensors file of another tool",
        ),
    ],
)  # fmt: skip
def test_other_files(tmp_path: Path, content: bytes) -> None:
    message = refusal(tmp_path / "file", content)
    assert "not an Elman file" in message
    assert "pass a file that elman train wrote" in message


def test_pipes_devices_and_folders(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, message in (
        (tmp_path, "Is a directory"),
        (tmp_path / "missing", "No such file or directory; check the name"),
        (tmp_path / "pipe", "not a regular file"),
        (Path("/dev/zero"), "not a regular file"),
        (Path("a\0b"), "null byte"),
    ):
        with pytest.raises(ModelFileError, match=message):
            Model.load(path)


def test_a_newer_format_says_what_it_needs(tmp_path: Path) -> None:
    old = json.dumps(json.dumps({"format": 1, "needs": "0.1.0"}, separators=(",", ":"))).encode()
    new = old.replace(b":1,", b":7,").replace(b"0.1.0", b"2.3.0")
    header, payload = split(SMALLEST)
    assert old in header
    message = refusal(tmp_path / "file", join(header.replace(old, new), payload))
    told = (
        "a newer Elman wrote it: got format 7; expected format 1 or 2; install Elman 2.3.0 or later"
    )
    assert told in message
    # a later version may write the same format with metadata that this version does not know
    same = header.replace(old, old.replace(b"0.1.0", b"2.3.0"))
    message = refusal(tmp_path / "file", join(same, payload))
    assert "a newer Elman wrote it: got format 1;" in message
    for needs, told in ((rb"\\u001b[2J\\n", r"Elman \x1b[2J\n or"), (b"9" * 99, "9" * 19 + "… or")):
        message = refusal(
            tmp_path / "file", join(header.replace(old, new.replace(b"2.3.0", needs)), payload)
        )
        assert told in message
        assert message.isprintable()
    for wrong in (
        new.replace(rb"\"2.3.0\"", b"[9,9]"),
        b'"0"',
        b'"true"',
        b'"{}"',
        b'"[]"',
        b'"1.0"',
        b'""',
        b'"x"',
        old.replace(b":1,", b":0,"),
    ):
        assert "install" not in refusal(
            tmp_path / "file", join(header.replace(old, wrong), payload)
        )


def fill(start: str, unit: str, end: str = "") -> str:
    return start + unit * ((MEBIBYTE - 400 - len(start + end)) // len(unit)) + end


BOMBS = {
    "a header of 100 MB": lambda: (
        struct.pack("<Q", 100_000_000) + SMALLEST[8:] + bytes(100_000_000)
    ),
    "100000 tensors": lambda: forge(",".join(tensor(f"t{k}") for k in range(100_000))),
    "10000 tensors": lambda: forge(",".join(tensor(f"t{k}") for k in range(10_000))),
    "513 tensors": lambda: forge(",".join(tensor(f"t{k:03}") for k in range(513))),
    "tensors in disguise": lambda: forge(
        ",".join(tensor(f"t{k}").replace("dtype", "\\u0064type") for k in range(12_000))
    ),
    "empty tensors": lambda: forge(",".join(f'"{k}":{{}}' for k in range(70_000))),
    "a long shape": lambda: forge(tensor(shape=fill("[0", ",0", "]"))),
    "lists in a row": lambda: forge(fill('"a":[[]', ",[]", "]")),
    "lists in lists": lambda: forge(fill('"a":', "[")),
    "objects in objects": lambda: forge(fill('"a":', '{"":')),
    "9500 lists in lists": lambda: forge('"a":' + "[" * 9_500 + "]" * 9_500),
    "keys of metadata": lambda: forge("", b"", "".join(f',"{k}":""' for k in range(80_000))),
    "deep metadata": lambda: forge("", b"", ',"x":"' + "[" * 9_500 + "]" * 9_500 + '"'),
    "17 deep metadata": lambda: forge("", b"", ',"x":"' + "[" * 17 + "]" * 17 + '"'),
    "long metadata": lambda: forge("", b"", fill(',"x":"[0', ",0", ']"')),
    "a key a hundred thousand times": lambda: forge(
        "", b"", fill(',"x":"{\\"a\\":0', ',\\"a\\":0', '}"')
    ),
    "a number of a million digits": lambda: forge("", b"", fill(',"x":"', "7", '"')),
    "numbers of 4000 digits": lambda: forge("", b"", fill(',"x":"[1', "," + "7" * 4000, ']"')),
    "a fraction of a million digits": lambda: forge("", b"", fill(',"x":"0.', "7", '"')),
    "a name of a million characters": lambda: forge(tensor(fill("", "a"))),
    "escapes": lambda: forge("", b"", fill(',"x":"', "\\u0041", '"')),
    "huge shapes": lambda: forge(
        ",".join(tensor(f"t{k:03}", shape="[8589934592]") for k in range(512))
    ),
    "one tensor of 8 GiB": lambda: forge(tensor(shape="[8589934592]", offsets="[0,8589934592]")),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs(tmp_path: Path, name: str) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(BOMBS[name]())
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError):
            container.read(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # the header, copies of it as text, and the 10,000 values that a header may have
    assert peak < 12 * MEBIBYTE


def test_a_header_that_declares_more_bytes_than_the_file_has(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    size = 1 << 34
    path.write_bytes(forge(tensor(shape=f"[{size}]", offsets=f"[0,{size}]")))
    os.truncate(path, path.stat().st_size + size)
    with pytest.raises(ModelFileError, match="8589934592 bytes at most"):
        container.read(path)


def test_a_file_that_shrinks_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model"
    container.write(path, {"a": np.zeros(MEBIBYTE)}, {})
    real = np.empty

    def shrinking(*arguments: Any, **keywords: Any) -> np.ndarray:
        os.truncate(path, MEBIBYTE)
        return real(*arguments, **keywords)

    monkeypatch.setattr(np, "empty", shrinking)
    with pytest.raises(ModelFileError, match="changed while it was read"):
        container.read(path)


def test_too_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model"
    path.write_bytes(SMALLEST)

    def full(*arguments: Any, **keywords: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(np, "empty", full)
    with pytest.raises(ModelFileError, match="larger than the memory that is free"):
        container.read(path)


WRONG: list[object] = [None, True, 0, -1, 1.5, 10**30, "x", "", [], [1], ["a"], [[]], {}, {"a": 1}]
"""JSON values that replace each part of a model's metadata, with a valid digest."""


def places(value: Any, above: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """Return the keys and indices that lead to every part of a JSON value."""
    keys = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    found = [(*above, key) for key in keys]
    return found + [place for (*_, key) in found for place in places(value[key], (*above, key))]


def replaced(value: object, place: tuple[object, ...], new: object) -> Any:
    """Return a JSON value with `new` at `place`."""
    changed = json.loads(json.dumps(value))
    *above, last = place
    parent = changed
    for key in above:
        parent = parent[key]
    parent[last] = new
    return changed


@pytest.mark.parametrize("new", WRONG, ids=repr)
def test_the_task_is_a_text(new: object, tmp_path: Path) -> None:
    arrays, metadata = container.read(GOLDEN[0])
    path = tmp_path / "forged.safetensors"
    container.write(path, arrays, replaced(metadata, ("config", "task"), new))
    assert "its task" in refusal(path, path.read_bytes())


@pytest.mark.slow
@pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: path.stem)
def test_every_field_has_its_type(golden: Path, tmp_path: Path) -> None:
    """A field of another type is refused with a ModelFileError, unless the new value is valid for it."""
    arrays, metadata = container.read(golden)
    forged = [(place, new) for place in places(metadata) for new in WRONG]
    path = tmp_path / "forged.safetensors"
    for place, new in random.Random(golden.stem).sample(forged, min(len(forged), COUNT // 20)):
        container.write(path, arrays, replaced(metadata, place, new))
        with contextlib.suppress(ModelFileError):
            Model.load(path)
