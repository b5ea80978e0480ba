"""Rows of public data, as `rows.toml` declares them, and the trial of a row with one seed."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from typing_extensions import TypedDict

from elman.errors import DataError, OptionError
from elman.files.model import folder_of
from elman.training.journal import JsonObject

SPLIT_SEED = 0
"""Seed of folds and of shuffled lines; the seed of a trial changes the training alone."""


class Measured(NamedTuple):
    """The figure of one seed, and other figures on the same split by name."""

    value: float
    beside: Mapping[str, float] = {}


class Settings(TypedDict):
    """The options of training that a row sets; all others keep their defaults."""

    time: float | None
    steps: int | None
    seed: int
    threads: int | None


class RunFiles(TypedDict):
    """The arguments of `fit` about the files of the run."""

    output: Path
    resume: bool


class Fitted(Protocol):
    """An estimator after `fit`."""

    card_: JsonObject
    stopped_: str


@dataclass
class Trial:
    """The measurement of one row with one seed."""

    name: str
    """Name of the trained model."""
    files: tuple[Path, ...]
    """The data files of the row."""
    models: Path
    """The folder of the trained models; a training that is found there is finished or continued."""
    settings: Settings
    trained: list[float] = field(default_factory=list)
    """Minutes that each training took, interruptions not counted."""

    def run(self, part: str = "") -> RunFiles:
        """Return the arguments of `fit` for the model of a `part` of the row, continued if unfinished."""
        budget = self.settings["steps"] or f"{self.settings['time']:g}s"
        path = self.models / f"{self.name}{part}-{budget}-{self.settings['seed']}.safetensors"
        return {"output": path, "resume": path.exists() or folder_of(path).exists()}

    def ended(self, model: Fitted) -> None:
        """Record the time of a training; raises KeyboardInterrupt if Ctrl-C ended it."""
        if model.stopped_ == "interrupted":
            raise KeyboardInterrupt
        self.trained.append(round(model.card_["training"]["seconds"] / 60, 2))


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row: what is measured on which files, within which budget, and the marks to compare with."""

    name: str
    title: str
    model: str
    """Name of the trained model, which rows that differ only in the measure share."""
    files: tuple[str, ...]
    measure: str
    """The folder of the task, and a function of the task's rows, such as "series.next_value"."""
    budget: str
    """The time of one training, as `--time` takes it."""
    at_least: float
    reach_for: float
    more_is_better: bool = False
    seeds: int = 3
    arguments: Mapping[str, Any] = field(default_factory=dict)
    published: tuple[tuple[str, float, str], ...] = ()

    @property
    def task(self) -> str:
        """The folder of the task whose networks the row trains."""
        return self.measure.partition(".")[0]

    def measured(self, trial: Trial) -> Measured:
        """Train and measure with one seed."""
        return self.function(trial, **self.arguments)

    @property
    def function(self) -> Callable[..., Measured]:
        """The function that `measure` names."""
        rows = import_module(f"elman.reproduce.{self.task}_rows")
        function: Callable[..., Measured] = getattr(rows, self.measure.split(".")[1])
        return function

    def verdict(self, value: float) -> str:
        """Return how `value` compares with the marks: reached, enough or missed."""
        sign = 1 if self.more_is_better else -1
        if sign * value >= sign * self.reach_for:
            return "reached"
        return "enough" if sign * value >= sign * self.at_least else "missed"

    def check_files(self, folder: Path) -> None:
        """Raise DataError for the first file that is missing or has other bytes than its digest says."""
        for name in self.files:
            origin = declared()["origins"][name.split("/")[0]]
            try:
                digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
            except OSError as error:
                what, remedy = f"cannot read {folder / name}", f"the file comes from {origin}"
                raise DataError(what, got=error.strerror, remedy=remedy) from error
            if digest != (known := declared()["sha256"][name]):
                raise DataError(
                    f"{folder / name} is not the file that the marks belong to",
                    got=f"sha256 {digest[:12]}",
                    expected=f"{known[:12]}, from {origin}",
                )


@cache
def declared() -> JsonObject:
    """Return the content of `rows.toml`."""
    return tomllib.loads(Path(__file__).with_name("rows.toml").read_text(encoding="utf-8"))


def all_rows() -> dict[str, Row]:
    """Return all rows by name.

    >>> row = all_rows()["tinyshakespeare-15m"]
    >>> row.files, row.verdict(1.37), row.verdict(1.4)
    (('tinyshakespeare/input.txt',), 'enough', 'missed')
    """
    values: dict[str, JsonObject] = {}
    for name, row in declared()["rows"].items():
        # a row that is `like` another one takes from it what it does not declare itself
        values[name] = values.get(row.get("like", ""), {}) | {"name": name, "model": name} | row
    for row in values.values():
        row.pop("like", None)
        row["files"] = tuple(row["files"])
    return {name: Row(**row) for name, row in values.items()}


def row_of(name: str) -> Row:
    """Return the row of this name; raises OptionError if there is none."""
    rows = all_rows()
    if name not in rows:
        raise OptionError("NAME", got=name, expected="one of " + ", ".join(rows))
    return rows[name]
