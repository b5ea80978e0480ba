"""How good tags are: entities found whole, where tags say begin, inside and outside."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from elman._errors import ShapeError

__all__ = ["EntityFigures", "are_entities", "entities", "entity_figures"]


def are_entities(tags: Iterable[str]) -> bool:
    """Return whether tags are in BIO: each ``O``, ``B-type`` or ``I-type``, and one at least ``B-``.

    >>> are_entities(["O", "B-place", "I-place"]), are_entities(["NOUN", "VERB"])
    (True, False)
    """
    known = set(tags)
    inside = [tag for tag in known if tag[:2] in ("B-", "I-") and len(tag) > 2]
    return len(inside) + ("O" in known) == len(known) and any(tag[0] == "B" for tag in inside)


def entities(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """Return type, first step and step after the last of every entity in a sequence of BIO tags.

    An ``I-`` that goes on no entity of its type begins one, as in the CoNLL shared tasks' script (Tjong
    Kim Sang, De Meulder 2003).

    >>> entities(["B-place", "I-place", "O", "I-name", "B-name"])
    [('place', 0, 2), ('name', 3, 4), ('name', 4, 5)]
    """
    found: list[tuple[str, int, int]] = []
    for step, tag in enumerate(tags):
        if tag == "O":
            continue
        kind = tag[2:]
        if tag[0] == "I" and found and found[-1][0] == kind and found[-1][2] == step:
            found[-1] = (kind, found[-1][1], step + 1)
        else:
            found.append((kind, step, step + 1))
    return found


@dataclass(frozen=True)
class EntityFigures:
    """How many entities were found whole: same type, same first and last step."""

    true: int
    answered: int
    right: int

    @property
    def precision(self) -> float:
        """Share of the answered entities that is right, 0 of none."""
        return self.right / max(1, self.answered)

    @property
    def recall(self) -> float:
        """Share of the true entities that was found, 0 of none."""
        return self.right / max(1, self.true)

    @property
    def f1(self) -> float:
        """Harmonic mean of both, 0 of none."""
        return 2 * self.right / max(1, self.true + self.answered)


def entity_figures(
    truth: Sequence[Sequence[str]], answers: Sequence[Sequence[str]]
) -> EntityFigures:
    """Return how many entities of BIO sequences were found; raises ShapeError where they do not pair.

    >>> entity_figures([["B-a", "I-a", "O", "B-b"]], [["B-a", "I-a", "O", "B-a"]]).f1
    0.5
    """
    if [len(tags) for tags in truth] != [len(tags) for tags in answers]:
        raise ShapeError("true and answered tags do not pair", expected="one answer a step")
    true = right = answered = 0
    for tags, other in zip(truth, answers, strict=True):
        one, two = set(entities(tags)), set(entities(other))
        true, answered, right = true + len(one), answered + len(two), right + len(one & two)
    return EntityFigures(true, answered, right)
