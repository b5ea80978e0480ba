from __future__ import annotations

import pytest

from elman.errors import ShapeError
from elman.labels.tags import are_entities, entities, entity_figures, scheme


@pytest.mark.parametrize(
    "tags", ["O B-x I-x", "B-x", "O I-x", "B-x I-x E-x S-x O", "B-x I-x L-x U-x O", "B I O"]
)
def test_tags_of_entities_are_recognised(tags: str) -> None:
    assert are_entities(tags.split())


@pytest.mark.parametrize("tags", ["O", "NOUN B-x", "B- O", "", "I-x", "B-x E-x L-x O", "X-x O"])
def test_other_tags_do_not_mark_entities(tags: str) -> None:
    assert not are_entities(tags.split())


# one text in the four schemes: two adjacent names, and a place of one word
SCHEMES = {
    "IOB1": "I-n I-n B-n O I-p I-n",
    "IOB2": "B-n I-n B-n O B-p B-n",
    "BIOES": "B-n E-n S-n O S-p S-n",
    "BILOU": "B-n L-n U-n O U-p U-n",
}


@pytest.mark.parametrize("name", SCHEMES)
def test_all_schemes_give_the_same_entities(name: str) -> None:
    tags = SCHEMES[name].split()
    assert scheme([tags]) == name
    assert entities(tags) == [("n", 0, 2), ("n", 2, 3), ("p", 4, 5), ("n", 5, 6)]
    figures = entity_figures([tags], [tags[:1] + ["O"] * 5])
    assert (figures.true, figures.answered, figures.right) == (4, 1, 0)
    assert {kind: one.true for kind, one in figures.types.items()} == {"n": 3, "p": 1}


def test_a_stray_inside_tag_does_not_change_the_scheme() -> None:
    assert scheme([["B-n", "I-n", "O"], ["I-n", "O"]]) == "IOB2"


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ("", []),
        ("O O", []),
        ("B-a I-a I-a O", [("a", 0, 3)]),
        ("B-a B-a", [("a", 0, 1), ("a", 1, 2)]),
        ("B-a I-b", [("a", 0, 1), ("b", 1, 2)]),
        ("I-a I-a O I-a", [("a", 0, 2), ("a", 3, 4)]),
        ("B-a O I-a", [("a", 0, 1), ("a", 2, 3)]),
        ("O B-a-b I-a-b", [("a-b", 1, 3)]),
        ("B-a E-a E-a", [("a", 0, 2), ("a", 2, 3)]),
        ("S-a I-a E-b", [("a", 0, 1), ("a", 1, 2), ("b", 2, 3)]),
        ("B I O I", [("", 0, 2), ("", 3, 4)]),
    ],
)
def test_entities_by_hand(tags: str, found: list[tuple[str, int, int]]) -> None:
    assert entities(tags.split()) == found


def test_only_whole_entities_count() -> None:
    truth = [["B-a", "I-a", "O", "B-b"], ["O", "B-a"]]
    answers = [["B-a", "O", "O", "B-b"], ["B-b", "B-a"]]
    figures = entity_figures(truth, answers)
    assert (figures.true, figures.answered, figures.right) == (3, 4, 2)
    assert (figures.precision, figures.recall, figures.f1) == (0.5, 2 / 3, 4 / 7)


def test_sequences_without_entities_give_0() -> None:
    figures = entity_figures([["O"]], [["O"]])
    assert (figures.precision, figures.recall, figures.f1) == (0.0, 0.0, 0.0)


def test_sequences_of_unequal_lengths_are_errors() -> None:
    with pytest.raises(ShapeError, match="one answer a step"):
        entity_figures([["O", "O"]], [["O"]])
