from __future__ import annotations

import pytest

from elman._errors import ShapeError
from elman.metrics import are_entities, entity_figures
from elman.metrics.tags import entities


def test_bio_is_recognised():
    assert are_entities(["O", "B-x", "I-x"])
    assert are_entities(["B-x"])
    for tags in (["O"], ["I-x", "O"], ["NOUN", "B-x"], ["B-", "O"], [], ["B", "I", "O"]):
        assert not are_entities(tags)


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
    ],
)
def test_entities_by_hand(tags, found):
    assert entities(tags.split()) == found


def test_only_whole_entities_count():
    truth = [["B-a", "I-a", "O", "B-b"], ["O", "B-a"]]
    answers = [["B-a", "O", "O", "B-b"], ["B-b", "B-a"]]
    figures = entity_figures(truth, answers)
    assert (figures.true, figures.answered, figures.right) == (3, 4, 2)
    assert (figures.precision, figures.recall, figures.f1) == (0.5, 2 / 3, 4 / 7)


def test_nothing_to_find_is_no_division():
    figures = entity_figures([["O"]], [["O"]])
    assert (figures.precision, figures.recall, figures.f1) == (0.0, 0.0, 0.0)


def test_unequal_lengths_are_refused():
    with pytest.raises(ShapeError, match="one answer a step"):
        entity_figures([["O", "O"]], [["O"]])
