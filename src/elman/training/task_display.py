"""A task's part of the display of a training run, and the phrases that all tasks share.

The trainer's events and the model's card are JSON, so they are read by their names here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import NamedTuple

from elman.files.container import Facts as Facts


class Line(NamedTuple):
    """A line of text and its style, as rich names it."""

    text: str
    style: str = ""


class TaskDisplay(ABC):
    """Words of one task about a training run, made from its events and its card."""

    unit = "sequence"
    """Noun for the items of a batch."""
    per_unit = ""
    """The unit of a validation loss, such as " nats per word"."""
    note = Line("warning", "yellow")
    """Name and style of a note about the data."""

    def start(self, event: Facts) -> None:  # noqa: B027 - most tasks remember nothing
        """Remember what later lines need from the event that starts the run."""

    @abstractmethod
    def data_facts(self, event: Facts) -> dict[str, str]:
        """Return the data, their split and the network by name, from the event that starts the run."""

    @abstractmethod
    def notes(self, event: Facts) -> list[str]:
        """Return notes about the data, from the event that starts the run."""

    def batch(self, plan: Facts) -> str:
        """Return the size of a batch in words."""
        return f"{plan['batch_size']} {self.unit}s"

    def metrics(self, event: Facts) -> str:  # noqa: ARG002 - most tasks have the loss alone
        """Return further metrics of an evaluation, each after a comma."""
        return ""

    @abstractmethod
    def outcome(self, card: Facts) -> Iterable[Line]:
        """Return how good the finished model is on the test set."""

    @abstractmethod
    def next_command(self, card: Facts, model: str) -> str:
        """Return a command to run with the finished `model` file."""


def count(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> count(1, "step"), count(2000, "step")
    ('1 step', '2,000 steps')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def span(data: Facts, noun: str) -> str:
    """Return the shortest and the longest length in words, once where they are equal.

    >>> span({"shortest": 3, "longest": 8}, "step"), span({"shortest": 3, "longest": 3}, "step")
    ('3 to 8 steps', '3 steps')
    """
    shortest, longest = data["shortest"], data["longest"]
    return ("" if shortest == longest else f"{shortest:,} to ") + count(longest, noun)


def network_fact(event: Facts) -> str:
    """Return cell, sizes and number of parameters of the network."""
    network = event["network"]
    cell = network["cell"] + (f"/{network['activation']}" if network["cell"] == "rnn" else "")
    directions = ", bidirectional" if network.get("bidirectional") else ""
    members = f", {network['members']} members" if network.get("members", 1) > 1 else ""
    units = f"{network['num_layers']} × {network['hidden_size']} units"
    return f"{cell}, {units}{directions}{members}, {event['parameters']:,} parameters"
