"""Tag files in the forms of CoNLL, and labelled texts in plain files."""

from __future__ import annotations

from pathlib import Path

import pytest

import elman
from elman.errors import DataError, DataWarning, OptionError
from elman.labels.conll import read_tags

CONLLU = """\
# sent_id = 1
# text = Vámonos al mar
1-2\tVámonos\t_\t_\t_\t_\t_\t_\t_\t_
1\tVamos\tir\tVERB\t_\tMood=Imp\t0\troot\t_\t_
2\tnos\tnosotros\tPRON\t_\t_\t1\tobj\t_\t_
3-4\tal\t_\t_\t_\t_\t_\t_\t_\t_
3\ta\ta\tADP\t_\t_\t5\tcase\t_\t_
4\tel\tel\tDET\t_\t_\t5\tdet\t_\t_
4.1\tgran\tgrande\tADJ\t_\t_\t_\t_\t5:amod\t_
5\tmar\tmar\tNOUN\t_\t_\t1\tobl\t_\t_

# sent_id = 2
1\t#\t#\tSYM\t_\t_\t0\troot\t_\t_

"""
CONLL = """\
-DOCSTART- -X- -X- O

EU NNP I-NP B-ORG
rejects VBZ I-VP O

-DOCSTART- -X- -X- O

# NN I-NP O
"""


@pytest.mark.parametrize("name", ["some.conllu", "some.txt"])
def test_conllu(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(CONLLU, encoding="utf-8")
    tokens = [["Vamos", "nos", "a", "el", "mar"], ["#"]]
    tags = [["VERB", "PRON", "ADP", "DET", "NOUN"], ["SYM"]]
    assert read_tags(tmp_path / name) == (tokens, tags)
    assert elman.read_sequences(tmp_path / name, task="tag") == (tokens, tags)
    for label in ("deprel", "8"):
        assert read_tags(tmp_path / name, label=label)[1] == [
            ["root", "obj", "case", "det", "obl"],
            ["root"],
        ]
    assert read_tags(tmp_path / name, text="LEMMA")[0][0][0] == "ir"
    for column in ("0", "11", "lema"):
        with pytest.raises(
            OptionError, match=f"label: got {column}; expected a column's number from 1 to 10"
        ):
            read_tags(tmp_path / name, label=column)


def test_conll_2003() -> None:
    tokens = [["EU", "rejects"], ["#"]]
    assert read_tags(CONLL.splitlines()) == (tokens, [["B-ORG", "O"], ["O"]])
    assert read_tags(CONLL.splitlines(), label="2")[1] == [["NNP", "VBZ"], ["NN"]]
    commented = ["# made by hand, in May", "Bern LOC", "", "# and one more", "is O"]
    assert read_tags(commented) == ([["Bern"], ["is"]], [["LOC"], ["O"]])
    with pytest.raises(DataError, match="has no tokens"):
        read_tags(["-DOCSTART- O"])
    with pytest.raises(DataError, match="line 3: got 3 columns; expected 2"):
        read_tags(["Bern LOC", "is O", "a b c"])


def test_texts_and_labels_in_two_files(tmp_path: Path) -> None:
    texts, labels = tmp_path / "texts.txt", tmp_path / "labels.txt"
    texts.write_text("good, food\n\nso bad\n")
    labels.write_text("2\n1\n0\n")
    wanted = (["good, food", "", "so bad"], [2, 1, 0])
    assert elman.read_sequences(texts, label=str(labels)) == wanted
    for label in (None, str(labels)):
        assert elman.read_sequences(f"{texts},{labels}", label=label) == wanted
    labels.write_text("2\n\n0\n")
    with pytest.raises(DataError, match=r"labels\.txt, line 2: got nothing; expected a label"):
        elman.read_sequences(f"{texts},{labels}")


def test_lines_of_label_and_text(tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    for mark in ("", "__label__"):
        path.write_text(f"{mark}pos good food\n{mark}neg so bad\n" * 3)
        with pytest.warns(DataWarning, match="the first word of each line is read as its label"):
            found = elman.read_sequences(path)
        assert found == (["good food", "so bad"] * 3, ["pos", "neg"] * 3)


def test_a_mistyped_file_name_is_an_error() -> None:
    with pytest.raises(
        DataError,
        match=r"no file or folder has the name 'mymeals': got a text of one word; check the path",
    ):
        elman.LanguageModel(steps=1).fit("mymeals")
