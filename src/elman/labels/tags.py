"""How good tags are that mark entities: whole entities, of each type, in any of the usual schemes.

| scheme | the tags of an entity of three steps, and of one |
|---|---|
| IOB2 | B I I, B |
| IOB1 | I I I, I; B only where an entity of the same type stands before |
| BIOES | B I E, S |
| BILOU | B I L, U |

Steps outside are O. The rules for the beginning and the end of an entity are those of the CoNLL shared
tasks' script (E. Tjong Kim Sang, F. De Meulder 2003), which read all four schemes, and sequences that keep
to none, in the same way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from elman.errors import ShapeError

__all__ = ["EntityFigures", "are_entities", "entities", "entity_counts", "entity_figures", "scheme"]

_LAST = {"L": "E", "U": "S"}  # BILOU's letters as those of BIOES


def _split(tag: str) -> tuple[str, str]:
    """Return the letter of a tag, in the words of BIOES, and the type of its entity."""
    letter, _, kind = tag.partition("-")
    return _LAST.get(letter, letter), kind


def are_entities(tags: Iterable[str]) -> bool:
    """Return whether tags mark entities: each ``O`` or a letter of one of the schemes, ``-`` and a type.

    Without ``O`` there must be a tag that begins an entity; ``B``, ``I`` and ``O`` may stand without types.

    >>> are_entities(["O", "B-place", "I-place"]), are_entities(["NOUN", "VERB"])
    (True, False)
    """
    known = set(tags)
    marks = known - {"O"}
    letters = {tag.partition("-")[0] for tag in marks}
    typed = all(tag[1:2] == "-" and len(tag) > 2 for tag in marks)
    plain = "O" in known and {"B", "I"} <= marks and all(len(tag) == 1 for tag in marks)
    one_scheme = letters <= set("BIES") or letters <= set("BILU")
    return (
        bool(marks)
        and (typed or plain)
        and one_scheme
        and ("O" in known or bool(letters & set("BSU")))
    )


def scheme(sequences: Iterable[Sequence[str]]) -> str:
    """Return the name of the scheme in which `sequences` mark entities.

    >>> scheme([["I-name", "O", "I-name", "B-name"]]), scheme([["B-name", "L-name", "U-place"]])
    ('IOB1', 'BILOU')
    """
    letters, begins = set[str](), set[str]()
    for tags in sequences:
        last = "O"
        for tag in tags:
            letters.add(tag[:1])
            if last == "O" or _split(last)[1] != _split(tag)[1]:
                begins.add(tag[:1])
            last = tag
    if letters & set("LU"):
        return "BILOU"
    if letters & set("ES"):
        return "BIOES"
    return "IOB1" if "I" in begins and "B" not in begins else "IOB2"


def entities(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """Return type, first step and step after the last of every entity in a sequence of tags.

    >>> entities(["B-place", "I-place", "O", "I-name", "B-name"])
    [('place', 0, 2), ('name', 3, 4), ('name', 4, 5)]
    >>> entities(["B-place", "E-place", "S-place", "O"])
    [('place', 0, 2), ('place', 2, 3)]
    """
    found: list[tuple[str, int, int]] = []
    goes_on = False  # whether the next step may be part of the last entity
    for step, tag in enumerate(tags):
        letter, kind = _split(tag)
        if letter == "O":
            goes_on = False
            continue
        if goes_on and letter in "IE" and found[-1][0] == kind:
            found[-1] = (kind, found[-1][1], step + 1)
        else:
            found.append((kind, step, step + 1))
        goes_on = letter in "BI"
    return found


@dataclass(frozen=True)
class EntityFigures:
    """How many entities were found whole: same type, same first and last step."""

    true: int
    answered: int
    right: int
    types: Mapping[str, EntityFigures] = field(default_factory=dict)
    """The figures of each type, where these are of all."""
    scheme: str = ""
    """The scheme of the true tags: IOB1, IOB2, BIOES or BILOU."""

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


def entity_counts(
    truth: Sequence[Sequence[str]], answers: Sequence[Sequence[str]]
) -> list[tuple[Counter[str], Counter[str], Counter[str]]]:
    """Return for each sequence how many entities of each type are true, answered, and right.

    Raises ShapeError where the sequences do not pair.
    """
    if [len(tags) for tags in truth] != [len(tags) for tags in answers]:
        raise ShapeError("true and answered tags do not pair", expected="one answer a step")
    pairs = [
        (set(entities(one)), set(entities(two))) for one, two in zip(truth, answers, strict=True)
    ]
    return [(_types(one), _types(two), _types(one & two)) for one, two in pairs]


def _types(found: Iterable[tuple[str, int, int]]) -> Counter[str]:
    return Counter(kind for kind, _, _ in found)


def entity_figures(
    truth: Sequence[Sequence[str]], answers: Sequence[Sequence[str]]
) -> EntityFigures:
    """Return how many entities were found in sequences of tags; raises ShapeError where they do not pair.

    >>> figures = entity_figures([["B-a", "I-a", "O", "B-b"]], [["B-a", "I-a", "O", "B-a"]])
    >>> figures.f1, figures.types["b"].recall, figures.scheme
    (0.5, 0.0, 'IOB2')
    """
    counts = [Counter[str](), Counter[str](), Counter[str]()]
    for one in entity_counts(truth, answers):
        for total, part in zip(counts, one, strict=True):
            total.update(part)
    true, answered, right = counts
    types = {
        kind: EntityFigures(true[kind], answered[kind], right[kind])
        for kind in sorted(true.keys() | answered.keys())
    }
    all_true, all_answered, all_right = (count.total() for count in counts)
    return EntityFigures(all_true, all_answered, all_right, types, scheme(truth))
