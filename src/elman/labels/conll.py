r"""Tag files: a token and its tag a line, a blank line behind each sentence, in the forms of CoNLL.

| a line | what is read |
|---|---|
| ``Bern LOC``, with a tab or spaces | the first column is the token, the last one its tag |
| ``Bern``, all along | tokens without tags |
| ``1  Bern  Bern  PROPN ...`` (CoNLL-U) | FORM and UPOS, without ranges (``1-2``) and empty nodes (``1.1``) |
| ``# text = ...``, before a sentence | a comment, where it has not the columns of the other lines |
| ``-DOCSTART- ...`` (CoNLL 2003) | left out |

Other columns are read by their number from 1, or in CoNLL-U by their name.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from elman.errors import DataError, OptionError, warn
from elman.text.encodings import read_text

__all__ = ["Tagged", "is_tag_file", "read_tags"]

Tagged: TypeAlias = tuple[list[list[str]], list[list[str]] | None]

CONLLU = ("ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC")
_CONLLU_ID = re.compile(r"\d+([-.]\d+)?")
_DOCUMENT = "-DOCSTART-"


def _fields(line: str) -> list[str]:
    fields = line.rstrip("\r\n").split("\t") if "\t" in line else line.split()
    return [field.strip() for field in fields]


def _column(wanted: str, width: int, conllu: bool, option: str) -> int:
    """Return the place of the column that a person names; raises OptionError where there is none."""
    if conllu and wanted.upper() in CONLLU:
        return CONLLU.index(wanted.upper())
    if wanted.isdecimal() and 1 <= int(wanted) <= width:
        return int(wanted) - 1
    names = f", or one of {', '.join(CONLLU)}" if conllu else ""
    raise OptionError(option, got=wanted, expected=f"a column's number from 1 to {width}{names}")


def is_tag_file(lines: Sequence[str], tags: Iterable[str]) -> bool:
    """Return whether lines are a token each, alone or before one of the known `tags`, not sentences.

    >>> is_tag_file(["Bern LOC", "", "is O"], ["LOC", "O"]), is_tag_file(["Bern is"], ["LOC", "O"])
    (True, False)
    """
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
) -> Tagged:
    r"""Return the sentences of a tag file, as tokens, and their tags; None where it has tokens alone.

    Args:
        source: a path, "-" for standard input, or the lines.
        text: the column of tokens, by its number from 1 or its name in CoNLL-U.
        label: the column of tags, likewise.
        encoding: of the file; None finds it.

    Raises:
        DataError: a line with another number of columns, or no tokens, with the line.
        OptionError: a column that is not there.

    >>> read_tags(["I\tPRON", "like\tVERB", "", "Tea\tNOUN"])
    ([['I', 'like'], ['Tea']], [['PRON', 'VERB'], ['NOUN']])
    """
    name = "the lines"
    if isinstance(source, str | os.PathLike):
        name = "standard input" if os.fspath(source) == "-" else os.fspath(source)
        whole, notes = read_text(source, encoding)
        warn(notes)
        source = whole.split("\n")
    lines = [*source]
    rows = (_fields(line) for line in lines if line.strip() and not line.startswith("#"))
    first = next((row for row in rows if row[0] != _DOCUMENT), None)
    first = first or next((_fields(line) for line in lines if line.strip()), None)
    if first is None:
        raise DataError(f"{name} has no tokens")
    width = len(first)
    conllu = width == len(CONLLU) and _CONLLU_ID.fullmatch(first[0]) is not None
    token = _column(text, width, conllu, "text") if text else int(conllu)
    default = CONLLU.index("UPOS") if conllu else width - 1
    tag = _column(label, width, conllu, "label") if label else default
    sentences: list[list[list[str]]] = []
    for begins, block in itertools.groupby(enumerate(lines, 1), lambda pair: bool(pair[1].strip())):
        sentence = _sentence(block, name, width, (token, tag), conllu) if begins else []
        sentences += [sentence] if sentence else []
    if not sentences:
        raise DataError(f"{name} has no tokens")
    tokens = [[fields[token] for fields in sentence] for sentence in sentences]
    tagged = width > 1 and tag != token
    return tokens, [[row[tag] for row in sentence] for sentence in sentences] if tagged else None


def _sentence(
    block: Iterable[tuple[int, str]], name: str, width: int, used: Sequence[int], conllu: bool
) -> list[list[str]]:
    """Return the fields of each token of one sentence."""
    sentence: list[list[str]] = []
    for number, line in block:
        fields = _fields(line)
        comment = line.startswith("#") and not sentence and (conllu or len(fields) != width)
        if comment or fields[0] == _DOCUMENT:
            continue
        if len(fields) != width or not all(fields[place] for place in used):
            got = f"{len(fields)} columns" if all(fields) else "an empty column"
            expected = f"{width}, as in the first line" if width > 1 else "a token alone, as before"
            raise DataError(f"{name}, line {number}", got=got, expected=expected)
        if not conllu or fields[0].isdecimal():
            sentence.append(fields)
    return sentence
