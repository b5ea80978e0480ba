"""Tuning: a race of configurations by successive halving, in which survivors go on where they paused.

Every configuration trains with the schedule of the final run and pauses at the end of a rung; the better half
trains on, for twice as long. So the winner has lost nothing when it alone trains to its end: the race costs
only the time of the losers.

Source: K. Jamieson and A. Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization"
(arXiv:1502.07943).
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from elman.errors import DivergedError, OptionError
from elman.files.atomic import atomic_write
from elman.files.model import Model, folder_of
from elman.training.journal import Event, JsonObject, Run, Watch
from elman.training.options import Values
from elman.training.store import check_same_run
from elman.training.trainer import Outcome, PausedRunError

Variation: TypeAlias = Mapping[str, float]
"""A change of the default plan: a factor of each number, by the name of its option."""

RACE_SHARE = 0.25
"""Share of the time that the losers of the race may take."""
MAX_RACERS = 4
"""Configurations in a race, at most: with more, the first rung would end while the rate still rises."""
MIN_RUNG_SECONDS = 8.0
"""Least time of a configuration in the first rung; a shorter race has fewer configurations."""
MAX_DROPOUT = 0.8


@dataclass
class Candidate:
    """A configuration in the race."""

    changes: JsonObject
    """Options that differ from the defaults."""
    measures: list[float | None] = field(default_factory=list)
    """Best validation measure by the end of each rung, less is better; None where training diverged."""

    @property
    def rank(self) -> float:
        """The last measure, infinite where training diverged."""
        last = self.measures[-1] if self.measures else None
        return math.inf if last is None else last

    def __str__(self) -> str:
        words = [
            f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in self.changes.items()
        ]
        return ", ".join(words) or "the defaults"


def race_of(seconds: float, available: int) -> tuple[int, float]:
    """Return how many configurations race, a power of two, and the seconds of the first rung.

    Args:
        seconds: The time of the whole tuning.
        available: The number of configurations.

    >>> race_of(1800, 8), race_of(120, 8), race_of(60, 8), race_of(10, 8)
    ((4, 112.5), (2, 30.0), (2, 15.0), (1, 0.0))
    """
    count = 1 << (min(available, MAX_RACERS).bit_length() - 1)
    while count > 1:
        # Half of the racers leave in every rung, after twice the time of the rung before.
        losers = count // 2 * (count.bit_length() - 1)
        first = RACE_SHARE * seconds / losers
        if first >= MIN_RUNG_SECONDS:
            return count, first
        count //= 2
    return 1, 0.0


def changes_of(variation: Variation, plan: JsonObject) -> JsonObject:
    """Return the options of a variation of the default `plan`; none where it changes nothing.

    >>> changes_of({"hidden_size": 1.5, "dropout": 2}, {"hidden_size": 64, "dropout": 0.0})
    {'hidden_size': 96}
    """
    changes: JsonObject = {}
    for name, factor in variation.items():
        default = plan.get(name)
        if not isinstance(default, int | float):
            continue
        changed = max(1, round(default * factor)) if isinstance(default, int) else default * factor
        changed = min(changed, MAX_DROPOUT) if name == "dropout" else changed
        if changed != default:
            changes[name] = changed
    return changes


class Tuning:
    """One tuning, with its state in a folder beside the model."""

    def __init__(
        self,
        train: Callable[[Values, Run], Outcome],
        values: Values,
        variations: Sequence[Variation],
        seconds: float,
        output: Path,
        data: JsonObject | None = None,
    ) -> None:
        """Prepare the race.

        Args:
            train: Trains with the given values of the options.
            values: The options that the user chose, without a budget; no variation changes them.
            variations: Changes of the default plan.
            seconds: The time of training altogether.
            output: The model's file.
            data: Task and files by name; a tuning of other data cannot resume this one.
        """
        self.train, self.output = train, output
        settings = {**(data or {}), **values, "time": seconds}
        settings.pop("threads", None)
        # Values as they come back from a file of JSON, which has lists for tuples.
        self.identity: JsonObject = json.loads(json.dumps(settings))
        self.variations = [own for own in variations if not own.keys() & values.keys()]
        self.folder = output.with_suffix(".tuning")
        self.count, self.first = race_of(seconds, 1 + len(self.variations))
        whole = seconds * (1 - RACE_SHARE) if self.count > 1 else seconds
        self.values = {**values, "time": whole}
        self.candidates = [Candidate({})]
        self.plan: JsonObject = {}

    def run(self, *, resume: bool, say: Callable[[str], None], watch: Watch) -> Outcome:
        """Race, train the winner to its end, and write its model.

        Args:
            resume: Whether to go on with an interrupted tuning.
            say: Is called with each line about the race.
            watch: Is called with every event of the winner's last run.
        """
        if resume:
            self._load()
        else:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir()
            self._save()
        numbers, pause = [0], self.first
        for rung in range(self.count.bit_length() - 1):
            say(f"rung {rung + 1}: {pause:.0f} s of training for each configuration")
            for number in numbers:
                candidate = self.candidates[number]
                if len(candidate.measures) <= rung:
                    interrupted = self._advance(number, pause)
                    if interrupted is not None:
                        return interrupted
                shown = "diverged" if candidate.rank == math.inf else f"{candidate.rank:.4f}"
                say(f"    {shown:>10}  {candidate}")
                if len(self.candidates) == 1:
                    # The run of the defaults has told their plan, which the others vary.
                    self._add_variations()
                if rung == 0 and number == 0:
                    numbers += range(1, len(self.candidates))
            # Python's sort is stable: of equal configurations, the defaults stay.
            numbers.sort(key=lambda number: self.candidates[number].rank)
            numbers = numbers[: self.count >> (rung + 1)]
            pause *= 2
        say(f"training to the end: {self.candidates[numbers[0]]}")
        return self._finish(numbers[0], watch)

    def table(self) -> list[JsonObject]:
        """Return the configurations with their measures, for the card."""
        return [{"changes": one.changes, "measures": one.measures} for one in self.candidates]

    def _add_variations(self) -> None:
        """Derive the other configurations from the plan of the default one."""
        changes = [changes_of(variation, self.plan) for variation in self.variations]
        different = [
            one for number, one in enumerate(changes) if one and one not in changes[:number]
        ]
        self.candidates += [Candidate(one) for one in different[: self.count - 1]]

    def _run(self, number: int, watch: Watch, pause: float | None) -> Outcome:
        output = self.folder / f"{number}.safetensors"
        resume = folder_of(output).exists() or output.exists()
        values = {**self.values, **self.candidates[number].changes}
        return self.train(values, Run(output, resume, watch, pause=pause))

    def _advance(self, number: int, pause: float) -> Outcome | None:
        """Train a configuration until it pauses, and keep its measure; return an interrupted outcome."""
        candidate, measures = self.candidates[number], [self.candidates[number].rank]
        stages: list[Event] = []

        def watch(event: Event) -> None:
            if event["event"] == "start" and number == 0:
                self.plan = event["plan"] | event["network"]
            if event["event"] == "stage":
                stages.append(event)
            # Later stages, such as folds, are measured on other data.
            if event["event"] == "evaluation" and not stages:
                measures.append(event["measure"])

        outcome = None
        try:
            outcome = self._run(number, watch, pause)
        except PausedRunError:
            pass
        except DivergedError:
            measures = [math.inf]
        if outcome is not None and outcome.stopped == "interrupted":
            return self._kept(outcome)
        best = min(measures)
        candidate.measures.append(best if math.isfinite(best) else None)
        self._save()
        return None

    def _finish(self, number: int, watch: Watch) -> Outcome:
        outcome = self._kept(self._run(number, watch, None))
        if outcome.stopped != "interrupted":
            shutil.rmtree(self.folder, ignore_errors=True)
        return outcome

    def _kept(self, outcome: Outcome) -> Outcome:
        """Return the outcome with the race on the card, written to the output."""
        card = {**outcome.model.card, "tuning": self.table()}
        model = Model(outcome.model.config, outcome.model.arrays, outcome.model.codec, card)
        model.save(self.output)
        return replace(outcome, model=model)

    def _save(self) -> None:
        state = {"settings": self.identity, "plan": self.plan, "candidates": self.table()}
        atomic_write(self.folder / "race.json", json.dumps(state).encode())

    def _load(self) -> None:
        """Read the state of an interrupted tuning; raises OptionError, ModelFileError.

        There may be none, or one with other options or data.
        """
        file = self.folder / "race.json"
        if not file.exists():
            expected = "that of an interrupted tuning"
            raise OptionError("resume", got=f"no {file}", expected=expected)
        state = json.loads(file.read_text("utf-8"))
        check_same_run("tuning", state["settings"], self.identity, self.folder)
        self.plan = state["plan"]
        self.candidates = [
            Candidate(one["changes"], one["measures"]) for one in state["candidates"]
        ]
