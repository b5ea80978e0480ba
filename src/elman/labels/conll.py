r"""Reader of tag files: a token and its tag in each line, and a blank line after each sentence.

| line | meaning |
|---|---|
| ``Bern LOC``, with a tab or spaces | the first column is the token, the last one its tag |
| ``Bern``, in the whole file | tokens without tags |
| ``1  Bern  Bern  PROPN ...`` (CoNLL-U) | FORM and UPOS; without ranges (``1-2``) and empty nodes (``1.1``) |
| ``# text = ...``, before a sentence | a comment, unless it has as many columns as the other lines |
| ``-DOCSTART- ...`` (CoNLL 2003) | left out |

The user can name other columns by number, from 1, or in CoNLL-U by name.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from elman.errors import DataError, OptionError, warn
from elman.text.input_files import read_text

TaggedSentences: TypeAlias = tuple[list[list[str]], list[list[str]] | None]
"""The tokens of each sentence, and their tags if there are any."""

CONLLU = ("ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC")
_CONLLU_ID = re.compile(r"\d+([-.]\d+)?")
_DOCUMENT = "-DOCSTART-"


def _fields(line: str) -> list[str]:
    fields = line.rstrip("\r\n").split("\t") if "\t" in line else line.split()
    return [field.strip() for field in fields]


def _column(wanted: str, width: int, conllu: bool, option: str) -> int:
    """Return the index of the column that the user named; raises OptionError if there is none."""
    if conllu and wanted.upper() in CONLLU:
        return CONLLU.index(wanted.upper())
    if wanted.isdecimal() and 1 <= int(wanted) <= width:
        return int(wanted) - 1
    names = f", or one of {', '.join(CONLLU)}" if conllu else ""
    raise OptionError(option, got=wanted, expected=f"a column's number from 1 to {width}{names}")


def is_tag_file(lines: Sequence[str], tags: Iterable[str]) -> bool:
    """Return whether each line is one token, alone or followed by one of the known `tags`.

    Otherwise each line is a sentence.

    >>> is_tag_file(["Bern LOC", "", "is O"], ["LOC", "O"]), is_tag_file(["Bern is"], ["LOC", "O"])
    (True, False)
    """
    # a tag file has one token in each line that is not blank or a comment
    rows = [_fields(line) for line in lines if line.strip() and not line.startswith("#")]
    known = {*tags}
    tabs = any("\t" in line for line in lines)
    return tabs or all(len(row) == 1 or row[-1] in known for row in rows)


def read_tags(
    source: str | os.PathLike[str] | Iterable[str],
    *,
    text: str | None = None,
    label: str | None = None,
    encoding: str | None = None,
) -> TaggedSentences:
    r"""Return the sentences of a tag file as lists of tokens, and their tags.

    Args:
        source: A path, "-" for standard input, or the lines.
        text: The column of tokens: its number from 1, or its name in CoNLL-U.
        label: The column of tags, in the same form.
        encoding: Encoding of the file (default: detected).

    Returns:
        The tokens and the tags of each sentence; the tags are None if the file has none.

    Raises:
        DataError: There are no tokens, or a line has another number of columns; the message names it.
        OptionError: There is no such column.

    >>> read_tags(["I\tPRON", "like\tVERB", "", "Tea\tNOUN"])
    ([['I', 'like'], ['Tea']], [['PRON', 'VERB'], ['NOUN']])
    """
    name = "the lines"
    if isinstance(source, str | os.PathLike):
        name = "standard input" if os.fspath(source) == "-" else os.fspath(source)
        content, notes = read_text(source, encoding)
        warn(notes)
        source = content.split("\n")
    numbered = [*enumerate(source, 1)]
    width, conllu = _layout([line for _, line in numbered if line.strip()], name)
    token = _column(text, width, conllu, "text") if text else int(conllu)
    default = CONLLU.index("UPOS") if conllu else width - 1
    tag = _column(label, width, conllu, "label") if label else default
    blocks = itertools.groupby(numbered, lambda pair: bool(pair[1].strip()))
    sentences = [
        _sentence(block, name, width, (token, tag), conllu) for is_text, block in blocks if is_text
    ]
    # a block of comments, or of a document's mark, has no token
    sentences = [sentence for sentence in sentences if sentence]
    if not sentences:
        raise DataError(f"{name} has no tokens")
    # columns become lists of tokens and lists of tags
    tokens = [[fields[token] for fields in sentence] for sentence in sentences]
    if width == 1 or tag == token:
        return tokens, None
    return tokens, [[fields[tag] for fields in sentence] for sentence in sentences]


def _layout(lines: Sequence[str], name: str) -> tuple[int, bool]:
    """Return the number of columns of lines that are not blank, and whether they are CoNLL-U."""
    rows = (_fields(line) for line in lines if not line.startswith("#"))
    first = next((row for row in rows if row[0] != _DOCUMENT), None)
    if first is None:
        if not lines:
            raise DataError(f"{name} has no tokens")
        first = _fields(lines[0])
    return len(first), len(first) == len(CONLLU) and bool(_CONLLU_ID.fullmatch(first[0]))


def _sentence(
    block: Iterable[tuple[int, str]], name: str, width: int, used: Sequence[int], conllu: bool
) -> list[list[str]]:
    """Return the fields of each token of one sentence, given as pairs of line number and line."""
    sentence: list[list[str]] = []
    for number, line in block:
        fields = _fields(line)
        # a token may be the sign # itself, so a comment is known by its place or its width
        comment = line.startswith("#") and not sentence and (conllu or len(fields) != width)
        if comment or fields[0] == _DOCUMENT:
            continue
        if len(fields) != width or not all(fields[column] for column in used):
            got = f"{len(fields)} columns" if all(fields) else "an empty column"
            expected = f"{width}, as in the first line" if width > 1 else "a token alone, as before"
            raise DataError(f"{name}, line {number}", got=got, expected=expected)
        # CoNLL-U numbers its tokens; 1-2 is a range of them and 1.1 has no text
        if not conllu or fields[0].isdecimal():
            sentence.append(fields)
    return sentence
