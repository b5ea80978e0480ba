from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from elman.errors import DataError, OptionError
from elman.text.sources import read_sources


def texts(source: Any, encoding: str | None = None, *, lines: bool = False) -> list[str]:
    documents, _ = read_sources(source, encoding, lines=lines)
    return ["".join(document.blocks()) for document in documents]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in {
        "b.txt": "bee",
        "a.txt": "ay\n",
        ".hidden": "no",
        "z/deep.txt": "deep",
        ".git/x": "no",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_a_string_is_a_path_if_that_file_exists(folder: Path) -> None:
    path = str(folder / "b.txt")
    assert texts(path) == ["bee"]
    assert texts(path + "\n") == [path + "\n"]
    assert texts("no such file") == ["no such file"]
    assert texts(Path(path)) == ["bee"]


def test_a_mistyped_file_name_is_not_read_as_a_text(folder: Path) -> None:
    for source in (folder / "c.txt", str(folder / "c.txt"), "c.TXT", Path("x\0y"), Path("a\nb")):
        with pytest.raises(DataError, match=r"no such file: .*: check the name") as caught:
            texts(source)
        assert "\n" not in str(caught.value)


def test_a_folder_gives_its_files_in_order_without_hidden_ones(folder: Path) -> None:
    assert texts(folder) == ["ay\n", "bee", "deep"]
    assert texts(str(folder)) == ["ay\n", "bee", "deep"]


def test_files_that_training_wrote_are_skipped(folder: Path) -> None:
    (folder / "model.run.jsonl").write_text('{"step": 1}\n')
    (folder / "model.safetensors").write_text("letters")
    (folder / "model.checkpoint").mkdir()
    (folder / "model.checkpoint" / "notes.txt").write_text("letters")
    documents, warnings = read_sources(folder, None, lines=False)
    assert ["".join(document.blocks()) for document in documents] == ["ay\n", "bee", "deep"]
    assert warnings == []
    # named by itself it is a file like another
    assert texts(folder / "model.run.jsonl") == ['{"step": 1}\n']


def test_documents_share_no_line_if_lines_are_documents(folder: Path) -> None:
    several = [folder / "b.txt", "one\ntwo", ["three\n", folder / "a.txt"], "x"]
    assert texts(several) == ["bee", "one\ntwo", "three\n", "ay\n", "x"]
    assert texts(several, lines=True) == ["bee\n", "one\ntwo\n", "three\n", "ay\n", "x"]
    assert texts((text for text in ("a", "b")), lines=True) == ["a\n", "b"]


def test_line_ends_of_strings_become_plain() -> None:
    assert texts("a\r\nb\rc") == ["a\nb\nc"]
    assert texts(["a\r", "b"], lines=True) == ["a\n", "b"]


@pytest.mark.parametrize("source", ["", [], [""], ["", ["", ""]]])
def test_sources_without_text_are_refused(source: list[list[str] | str] | str) -> None:
    with pytest.raises(DataError, match="the text is empty"):
        texts(source)


def test_empty_files(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    with pytest.raises(DataError, match=r"the text is empty: got .*empty\.txt"):
        texts(tmp_path / "empty.txt")
    documents, warnings = read_sources([tmp_path / "empty.txt", "", "text"], None, lines=False)
    assert [document.name for document in documents] == ["text 3"]
    assert re.fullmatch(r"empty: .*empty\.txt \(and 1 more\)", warnings[0])


@pytest.mark.parametrize("source", [b"bytes", 7, None, ["a", None], {"a": "b"}, [float("nan")]])
def test_objects_that_are_not_sources_are_refused(source: Any) -> None:
    with pytest.raises(DataError, match="expected a text, a path, or several of these"):
        texts(source)


def test_binary_files_in_a_folder_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"\0\1")
    (tmp_path / "b.bin").write_bytes(b"\0\1")
    with pytest.raises(DataError, match=r"has no text file: .*a\.bin is not text"):
        texts(tmp_path)
    (tmp_path / "c.txt").write_text("text")
    assert texts(tmp_path) == ["text"]
    (warning,) = read_sources(tmp_path, None, lines=False)[1]
    assert re.match(r"left out .*a\.bin is not text: .* \(and 1 more\)", warning)
    with pytest.raises(DataError, match="is not text"):
        texts([tmp_path / "a.bin"])


def test_a_folder_without_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no text file: pass a folder with text files"):
        texts(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="neither a file nor a folder"):
        texts(tmp_path / "pipe")


def test_a_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("a")

    def refuse(self: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"cannot read .*a\.txt: got Permission denied"):
        texts(tmp_path / "a.txt")


def test_guessed_encodings_give_one_warning(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_bytes("Füße".encode("cp1252"))
    documents, (warning,) = read_sources(tmp_path, None, lines=False)
    assert [document.encoding and document.encoding.name for document in documents] == [
        "cp1252"
    ] * 2
    assert warning.startswith("read as cp1252, a guess: ")
    assert "a: not UTF-8 at line 1, byte 1, which reads as 'Füße' (and 1 more)" in warning
    assert "if that reads wrong, pass encoding= (such as" in warning
    assert texts(tmp_path, "latin-1") == ["Füße", "Füße"]
    with pytest.raises(OptionError, match="encoding"):
        texts(tmp_path, "rot13")


def test_a_file_that_breaks_off_gives_a_warning(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes("üü €".encode()[:-1])
    (warning,) = read_sources(tmp_path, None, lines=False)[1]
    assert "breaks off within a character at byte 5" in warning


def test_a_file_that_grows_is_read_as_it_was_measured(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("one")
    documents, _ = read_sources([path, "two"], None, lines=True)
    path.write_text("one more")
    assert ["".join(document.blocks()) for document in documents] == ["one\n", "two"]
