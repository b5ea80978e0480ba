"""Kinds of targets: a label for each sequence, a number for each sequence, or a tag for each time step."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TargetKind:
    """The kind of target that a task trains on and answers with."""

    task: str
    per_step: bool = False
    """Whether every time step has a target, instead of every sequence."""
    is_number: bool = False
    """Whether a target is a number to predict, instead of a label to choose."""


LABEL, NUMBER, TAG = (
    TargetKind("classify"),
    TargetKind("regress", is_number=True),
    TargetKind("tag", per_step=True),
)
KINDS = {kind.task: kind for kind in (LABEL, NUMBER, TAG)}
