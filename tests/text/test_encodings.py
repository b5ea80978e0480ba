from __future__ import annotations

import codecs
import gzip
import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.errors import DataError, DataWarning, OptionError
from elman.text import encodings
from elman.text.encodings import (
    Encoding,
    decoding_notes,
    detect,
    read_blocks,
)
from elman.text.input_files import input_lines, read_text

TEXT = "Größe: 3 €, 日本語, हिन्दी, 👩‍👩‍👧\nzweite Zeile\n"


def read(path: Path, name: str | None = None) -> str:
    return "".join(read_blocks(path, detect(path, name)))


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(data: bytes) -> Path:
        path = tmp_path / "text.txt"
        path.write_bytes(data)
        return path

    return write


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (TEXT.encode(), "utf-8"),
        (codecs.BOM_UTF8 + TEXT.encode(), "utf-8"),
        (codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"), "utf-16"),
        (codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"), "utf-16"),
        (codecs.BOM_UTF32_LE + TEXT.encode("utf-32-le"), "utf-32"),
        (codecs.BOM_UTF32_BE + TEXT.encode("utf-32-be"), "utf-32"),
    ],
)
@pytest.mark.parametrize("block", [4, 5, 7, 1 << 20])
def test_unicode_is_decoded_with_any_block_size(
    write: Callable[..., Path], data: bytes, name: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encodings, "_BLOCK_BYTES", block)
    path = write(data)
    assert detect(path) == Encoding(name)
    assert read(path) == TEXT


def test_text_that_is_not_utf8_is_guessed_with_a_note(write: Callable[..., Path]) -> None:
    path = write("eins\nFüße – „gut“".encode("cp1252"))
    found = detect(path)
    assert (found.name, found.guessed) == ("cp1252", True)
    # the note names the position and shows how the guess decodes the text there
    assert found.note == "not UTF-8 at line 2, byte 6, which reads as 'eins\\nFüße – „gut“'"
    assert read(path) == "eins\nFüße – „gut“"


def test_every_byte_of_a_guess_becomes_one_character(write: Callable[..., Path]) -> None:
    high = bytes(range(0x80, 0x100))
    text = read(write(b"plain text " * 100 + high))[-128:]
    assert len(set(text)) == 128
    for byte in (0x81, 0x8D, 0x8F, 0x90, 0x9D):
        assert text[byte - 0x80] == chr(byte)
    assert text[0] == "€"


@pytest.mark.parametrize("block", [1, 2, 1 << 20])
def test_all_line_ends_become_plain(
    write: Callable[..., Path], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encodings, "_BLOCK_BYTES", block)
    assert read(write(b"a\r\nb\rc\nd\r\r\ne\r")) == "a\nb\nc\nd\n\ne\n"


def test_lone_surrogates_are_characters(write: Callable[..., Path]) -> None:
    text = "a\ud800b\udfff"
    assert read(write(text.encode("utf-8", "surrogatepass"))) == text
    assert read(write(codecs.BOM_UTF16_LE + text.encode("utf-16-le", "surrogatepass"))) == text


def test_a_file_cut_within_its_last_character_is_still_utf8(write: Callable[..., Path]) -> None:
    path = write("größer €".encode()[:-1])
    found = detect(path)
    assert (found.name, found.guessed, found.note) == (
        "utf-8",
        False,
        "breaks off within a character at byte 9",
    )
    assert read(path) == "größer "
    # one high byte at the end of plain letters says nothing for UTF-8
    assert read(write("café".encode("cp1252"))) == "café"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"one\ntwo\x00three", "a zero byte at line 2, byte 7"),
        (b"ab\n" + bytes(range(1, 7)) * 20, "120 control characters, the first at line 2, byte 3"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "a zero byte at line 3, byte 8"),
        ("plain".encode("utf-16-le"), "utf-16-le"),
        (
            codecs.BOM_UTF16_LE + "a\0b".encode("utf-16-le"),
            "a zero character at line 1, character 2",
        ),
        (codecs.BOM_UTF16_LE + b"a\x00b", "is not utf-16, although it has its mark"),
        (codecs.BOM_UTF16_LE + "Ċ\nb".encode("utf-16-le") + b"\n", "truncated data at byte 8:"),
        (codecs.BOM_UTF32_LE + b"\xff\xff\xff\xff", "is not utf-32, although it has its mark"),
    ],
)
def test_binary_files_are_one_clear_error_with_a_position(
    write: Callable[..., Path], data: bytes, words: str
) -> None:
    path = write(data)
    with pytest.raises(DataError) as caught:
        detect(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("block", [3, 1 << 20])
def test_positions_count_over_all_blocks(
    write: Callable[..., Path], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encodings, "_BLOCK_BYTES", block)
    path = write("ä\nzwei\nüü".encode() + b"\xff rest")
    assert detect(path).note.startswith("not UTF-8 at line 3, byte 12, which reads as ")
    with pytest.raises(DataError, match="is not utf-8: invalid start byte at line 3, byte 12"):
        detect(path, "utf8")


@pytest.mark.parametrize("name", ["utf-16", "utf-32"])
@pytest.mark.parametrize("block", [4, 1 << 20])
def test_positions_in_wide_encodings_count_characters(
    write: Callable[..., Path], block: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encodings, "_BLOCK_BYTES", block)
    # U+0A0A holds the byte of a line end twice
    path = write("a\u0a0a\nb\0".encode(name))
    with pytest.raises(DataError, match="a zero character at line 2, character 5"):
        detect(path)


@pytest.mark.parametrize("block", [4, 1 << 20])
def test_utf8_with_a_few_bad_bytes_stays_utf8(
    write: Callable[..., Path], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encodings, "_BLOCK_BYTES", block)
    good, bad = "größer\n" * 10 + "日本", b"\xff"
    path = write(good.encode() + bad + good.encode())
    found = detect(path)
    assert (found.name, found.guessed) == ("utf-8", False)
    place = f"line 11, byte {len(good.encode())}"
    assert found.note == f"damaged UTF-8, first at {place}: read as U+FFFD (1 in all)"
    assert read(path) == f"{good}\ufffd{good}"
    # one in 16 is too many
    assert detect(write(path.read_bytes() + bad * 2)).guessed


def test_a_few_zero_bytes_are_left_out_with_a_note(write: Callable[..., Path]) -> None:
    path = write(b"a line of a log\n" * 20 + b"cut\0 off\n")
    assert detect(path).note == "zero bytes are left out (1 in all, the first at line 21, byte 323)"
    assert read(path).endswith("log\ncut off\n")
    wide = write(("x" * 100 + "\0").encode("utf-16"))
    assert "zero bytes are left out" in detect(wide).note
    assert read(wide) == "x" * 100


def test_files_compressed_by_gzip_are_read(write: Callable[..., Path]) -> None:
    path = write(gzip.compress("größer\n".encode() * 3))
    assert read(path) == "größer\n" * 3
    with pytest.raises(DataError, match="cannot read"):
        detect(write(gzip.compress(b"text" * 99)[:-9]))


@pytest.mark.parametrize(
    ("text", "name", "implausible"),
    [
        ("Schöne Grüße – „gut“", "cp1252", False),
        ("hyvää päivää, tämä on yö", "cp1252", False),
        ("這部電影很好看", "gb18030", True),
        ("Привет, как дела", "cp1251", True),
        ("映画はとても良かった", "shift_jis", True),
    ],
)
def test_an_implausible_guess_is_marked(
    write: Callable[..., Path], text: str, name: str, implausible: bool
) -> None:
    found = detect(write(text.encode(name)))
    assert (found.guessed, found.implausible) == (True, implausible)


def test_standard_input_is_read_like_a_file(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = "ready\nSchön\nweiß\n".encode("cp1252")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    lines = input_lines()
    assert next(lines) == "ready"
    with pytest.warns(DataWarning, match="standard input: not UTF-8 at line 2") as caught:
        assert [*lines] == ["Schön", "weiß"]
    notes = decoding_notes([("standard input", detect(write(data)))])
    assert [str(warning.message) for warning in caught] == notes
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert read_text("-")[0] == read_text(write(data))[0]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    with pytest.raises(DataError, match="standard input is empty"):
        next(input_lines())


def test_a_few_control_characters_are_allowed(write: Callable[..., Path]) -> None:
    assert read(write(b"\x1b[31mred\x1b[0m\x0c" * 50 + b"\x01")).endswith("\x01")


@pytest.mark.parametrize("name", ["latin-1", "utf-16-le", "shift_jis", "gb18030", "utf-7", "cp437"])
def test_a_given_encoding_is_used(write: Callable[..., Path], name: str) -> None:
    text = "plain letters, and more\n" * 3
    path = write(text.encode(name))
    assert read(path, name) == text
    assert not detect(path, name).guessed


@pytest.mark.parametrize("name", ["", "no-such", "rot13", "zlib", "base64", "undefined", "a\0b"])
def test_an_unknown_encoding_is_an_option_error(write: Callable[..., Path], name: str) -> None:
    with pytest.raises(OptionError, match="encoding"):
        detect(write(b"text"), name)


def test_an_unreadable_file_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read"):
        detect(tmp_path / "missing.txt")
    with pytest.raises(DataError, match="cannot read"):
        detect(tmp_path)


def test_a_file_that_changed_while_it_was_read_is_an_error(write: Callable[..., Path]) -> None:
    path = write(b"gut")
    found = detect(path)
    write(b"\xff\xfe")
    with pytest.raises(DataError, match="changed while it was read"):
        "".join(read_blocks(path, found))


def test_an_empty_file_has_no_text(write: Callable[..., Path]) -> None:
    assert read(write(b"")) == ""
    assert read(write(codecs.BOM_UTF8)) == ""


@given(data=st.binary(max_size=200), block=st.sampled_from([4, 7, 1 << 20]))
def test_any_bytes_are_decoded_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, block: int
) -> None:
    path = tmp_path_factory.mktemp("bytes") / "x"
    path.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encodings, "_BLOCK_BYTES", block)
        try:
            text, refusal = read(path), ""
        except DataError as error:
            text, refusal = "", str(error)
    assert "\n" not in refusal
    assert not set(text) & {"\r", "\0"}
