"""Entities that tags mark, in any of the usual schemes, and precision, recall and F1 of whole entities.

| scheme | tags of an entity of three time steps | of one step |
|---|---|---|
| IOB2 | B I I | B |
| IOB1 | I I I; the first is B if an entity of the same type ends just before | I or B |
| BIOES | B I E | S |
| BILOU | B I L | U |

Steps outside entities are tagged O. The rules for where an entity begins and ends are those of the script of
the CoNLL shared tasks (E. Tjong Kim Sang, F. De Meulder 2003). They read all four schemes, and sequences that
violate them, in the same way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from elman.errors import ShapeError

_BIOES_OF_BILOU = {"L": "E", "U": "S"}


def split_tag(tag: str) -> tuple[str, str]:
    """Return the letter of a tag, as in BIOES, and the type of its entity."""
    letter, _, kind = tag.partition("-")
    return _BIOES_OF_BILOU.get(letter, letter), kind


def are_entities(tags: Iterable[str]) -> bool:
    """Return whether tags mark entities.

    They do if each is ``O``, or a letter of one of the schemes, ``-`` and a type. ``B``, ``I`` and ``O``
    alone count too. If no tag is ``O``, there must be one that begins an entity.

    >>> are_entities(["O", "B-place", "I-place"]), are_entities(["NOUN", "VERB"])
    (True, False)
    """
    known = set(tags)
    marks = known - {"O"}
    letters = {tag.partition("-")[0] for tag in marks}
    # B-PER and the like
    typed = all(tag[1:2] == "-" and len(tag) > 2 for tag in marks)
    # B, I and O without types, as for a single type of entity
    plain = "O" in known and {"B", "I"} <= marks and all(len(tag) == 1 for tag in marks)
    # letters of both schemes together mark no entities
    one_scheme = letters <= set("BIES") or letters <= set("BILU")
    return (
        bool(marks)
        and (typed or plain)
        and one_scheme
        and ("O" in known or bool(letters & set("BSU")))
    )


def scheme(sequences: Iterable[Sequence[str]]) -> str:
    """Return the scheme in which sequences of tags mark entities: IOB1, IOB2, BIOES or BILOU.

    >>> scheme([["I-name", "O", "I-name", "B-name"]]), scheme([["B-name", "L-name", "U-place"]])
    ('IOB1', 'BILOU')
    """
    letters, begins = set[str](), set[str]()
    for tags in sequences:
        last = "O"
        for tag in tags:
            letters.add(tag[:1])
            # an entity begins here, whatever its letter
            if last == "O" or split_tag(last)[1] != split_tag(tag)[1]:
                begins.add(tag[:1])
            last = tag
    if letters & set("LU"):
        return "BILOU"
    if letters & set("ES"):
        return "BIOES"
    return "IOB1" if "I" in begins and "B" not in begins else "IOB2"


def entities(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """Return the type, the first step and the step after the last of each entity in a sequence of tags.

    >>> entities(["B-place", "I-place", "O", "I-name", "B-name"])
    [('place', 0, 2), ('name', 3, 4), ('name', 4, 5)]
    >>> entities(["B-place", "E-place", "S-place", "O"])
    [('place', 0, 2), ('place', 2, 3)]
    """
    spans: list[tuple[str, int, int]] = []
    is_open = False  # whether the next step may continue the last entity
    for step, tag in enumerate(tags):
        letter, kind = split_tag(tag)
        if letter == "O":
            is_open = False
            continue
        if is_open and letter in "IE" and spans[-1][0] == kind:
            spans[-1] = (kind, spans[-1][1], step + 1)
        else:
            spans.append((kind, step, step + 1))
        # after E or S, the entity has ended
        is_open = letter in "BI"
    return spans


@dataclass(frozen=True)
class EntityFigures:
    """Counts of entities; an answered entity is right if type, first and last step are."""

    true: int
    answered: int
    right: int
    types: Mapping[str, EntityFigures] = field(default_factory=dict)
    """Counts of each type of entity; empty in the counts of a single type."""
    scheme: str = ""
    """The scheme of the true tags: IOB1, IOB2, BIOES or BILOU."""

    @property
    def precision(self) -> float:
        """Share of the answered entities that are right; 0 if none was answered."""
        return self.right / max(1, self.answered)

    @property
    def recall(self) -> float:
        """Share of the true entities that were found; 0 if there are none."""
        return self.right / max(1, self.true)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 0 without any entity."""
        return 2 * self.right / max(1, self.true + self.answered)


def entity_counts(
    truth: Sequence[Sequence[str]], answers: Sequence[Sequence[str]]
) -> list[tuple[Counter[str], Counter[str], Counter[str]]]:
    """Return for each sequence how many entities of each type are true, answered, and right.

    Raises ShapeError if the sequences of `truth` and `answers` differ in length.
    """
    if [len(tags) for tags in truth] != [len(tags) for tags in answers]:
        raise ShapeError("true and answered tags do not pair", expected="one answer a step")
    counts = []
    for true_tags, answered_tags in zip(truth, answers, strict=True):
        # an entity is right if its type and both of its ends are
        true, answered = set(entities(true_tags)), set(entities(answered_tags))
        counts.append((_count_types(true), _count_types(answered), _count_types(true & answered)))
    return counts


def _count_types(spans: Iterable[tuple[str, int, int]]) -> Counter[str]:
    return Counter(kind for kind, _, _ in spans)


def entity_figures(
    truth: Sequence[Sequence[str]], answers: Sequence[Sequence[str]]
) -> EntityFigures:
    """Return the counts of whole entities in sequences of tags; raises ShapeError as `entity_counts`.

    >>> figures = entity_figures([["B-a", "I-a", "O", "B-b"]], [["B-a", "I-a", "O", "B-a"]])
    >>> figures.f1, figures.types["b"].recall, figures.scheme
    (0.5, 0.0, 'IOB2')
    """
    counts = [Counter[str](), Counter[str](), Counter[str]()]
    for of_sequence in entity_counts(truth, answers):
        for total, count in zip(counts, of_sequence, strict=True):
            total.update(count)
    true, answered, right = counts
    types = {
        kind: EntityFigures(true[kind], answered[kind], right[kind])
        for kind in sorted(true.keys() | answered.keys())
    }
    all_true, all_answered, all_right = (count.total() for count in counts)
    return EntityFigures(all_true, all_answered, all_right, types, scheme(truth))
