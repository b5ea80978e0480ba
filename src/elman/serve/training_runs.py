"""Training runs as the Training panel shows them: events and loss curves, read from the runs' journals."""

from __future__ import annotations

import json
import math
import os
import threading
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Required, TypeAlias

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from elman.draw import charts
from elman.errors import DataError
from elman.serve.http_errors import NotFoundError
from elman.serve.json_route import JsonRoute
from elman.tables.json_values import json_value

SUFFIX = ".run.jsonl"
MAX_RUNS = 200
MAX_REPLY_EVENTS, MAX_REPLY_BYTES = 1000, 1 << 20
"""Largest number of events in one reply, and of bytes of their lines; the client requests the rest."""
MAX_LINE_BYTES = 1 << 20
MAX_JOURNAL_BYTES = 256 << 20
"""Bytes of one journal that are read, enough for a run of several days."""
TAIL_BYTES = 64
"""Bytes before the position read so far, which show whether the file is still the one that was read."""
MAX_CURVE_POINTS, MAX_CURVE_MARKS = 400, 40
MAX_NUMBER = 2**53
"""A larger number makes an event invalid: no run has so many steps, and no curve shows such a loss."""
STAGE_MARKS = {"fold": "next part", "measured": "on the training set"}
"""Marks in the curves where another network begins, by the `next` field of the stage event."""

_Limits = Field(ge=-MAX_NUMBER, le=MAX_NUMBER)
_Number: TypeAlias = Annotated[int, _Limits] | Annotated[float, _Limits] | None


class _Network(TypedDict, total=False):
    __pydantic_config__ = ConfigDict(strict=True, extra="allow")  # type: ignore[misc]

    cell: str


class RunEvent(TypedDict, total=False):
    """An event of a run: the fields that the page shows; training writes further ones.

    A line of a journal whose fields have other types is left out.
    """

    __pydantic_config__ = ConfigDict(strict=True, extra="allow")  # type: ignore[misc]

    event: Required[str]
    step: _Number
    loss: _Number
    held_out_loss: _Number
    back_to_step: _Number
    seconds_left: _Number
    share_done: _Number
    text: str | None
    stopped: str | None
    next: str | None
    sample: str | None
    task: str | None
    network: _Network
    best: bool


_validate_event = TypeAdapter(RunEvent).validate_python


class RunQuery(BaseModel):
    """Query parameters of a run's address."""

    start: Annotated[int, Field(alias="from", ge=0, le=2**48, description="first event")] = 0
    width: Annotated[int, Field(ge=280, le=2000, description="width of the curves")] = 720


class Run(TypedDict):
    """A run in the list of runs."""

    id: str
    model: str
    task: str | None
    cell: str | None
    finished: bool
    steps: int


class RunList(TypedDict):
    """The runs, newest first."""

    object: str
    data: list[Run]


# `from` is a keyword of Python, so this type cannot be written as a class.
RunEvents = TypedDict(
    "RunEvents",
    {
        "id": str,
        "from": int,
        "generation": int,
        "events": list[RunEvent],
        "dropped": int,
        "next": int,
        "more": bool,
        "finished": bool,
        "svg": str | None,
    },
)
"""Events of a run from number ``from`` to ``next``; the last of them comes with the curves.

``generation`` grows when the journal is begun anew; ``dropped`` counts its lines that are not valid events.
"""


def _event(line: bytes) -> RunEvent | None:
    """Return the event in a line of a journal, or None if the line is not a valid event."""
    try:
        event = json.loads(line)
        if b"\\ud" in line.lower():  # possibly half of a surrogate pair, which UTF-8 cannot encode
            event = json.loads(json.dumps(event, ensure_ascii=False).encode("utf-8", "replace"))
        event = _validate_event(json_value(event))
    except (ValidationError, ValueError, RecursionError):
        return None
    needs_step = event["event"] in ("steps", "evaluation")
    return None if needs_step and event.get("step") is None else event


@dataclass
class Journal:
    """A run's journal; each read continues where the last one ended, or starts again if the file is new."""

    path: Path
    events: list[RunEvent] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    """Bytes of each event's line."""
    dropped: int = 0
    """Number of lines that are not valid events."""
    generation: int = 0
    """Number of times that a new file has replaced this one."""
    _offset: int = 0
    _tail: bytes = b""
    _curves: tuple[RunEvent | None, int, str] | None = None
    """The last event and the width of the curves that were drawn last, and these curves."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self) -> list[RunEvent]:
        """Return all valid events so far; raise DataError if the file cannot be read."""
        try:
            with self._lock, self.path.open("rb") as file:
                # The last bytes read before must still be there, otherwise this is another run's file.
                file.seek(self._offset - len(self._tail))
                if file.read(len(self._tail)) != self._tail:
                    # Another run has begun the file anew.
                    self.events, self.sizes, self.dropped = [], [], 0
                    self._offset, self._tail, self.generation = 0, b"", self.generation + 1
                    file.seek(0)
                while self._offset < MAX_JOURNAL_BYTES:
                    line = file.readline(MAX_LINE_BYTES)
                    # Leave an incomplete line for the next read.
                    if not line or (len(line) < MAX_LINE_BYTES and not line.endswith(b"\n")):
                        break
                    self._offset += len(line)
                    self._tail = (self._tail + line)[-TAIL_BYTES:]
                    if (event := _event(line)) is not None:
                        self.events.append(event)
                        self.sizes.append(len(line))
                    else:
                        self.dropped += bool(line.strip())
                return list(self.events)
        except OSError as error:
            raise DataError(f"cannot read {self.path}", got=error.strerror) from error

    def curves(self, events: list[RunEvent], width: int) -> str:
        """Return the loss curves of `events` as SVG; draw them again only for a new event or width."""
        last = events[-1] if events else None
        # The page asks every second, and with --watch the server takes its time from the training.
        if self._curves is None or self._curves[0] is not last or self._curves[1] != width:
            svg = charts.curves(*_curves(events), width=width, standalone=False)
            self._curves = last, width, svg
        return self._curves[2]


def _curves(
    events: list[RunEvent],
) -> tuple[dict[str, tuple[list[float], list[float]]], list[tuple[float, str]]]:
    """Return losses by step, and marks: the samples by number, and stages, recoveries and resumptions.

    Steps that were undone are left out.
    """
    lines: dict[str, list[tuple[float, float]]] = {"training": [], "validation": []}
    marks: list[tuple[float, str]] = []
    # The axis counts on from stage to stage: `base` is the step at which the present stage began.
    base = last = 0.0
    samples = 0
    for event in events:
        kind, step = event["event"], event.get("step")
        if kind == "stage":
            base = last
            marks.append((base, STAGE_MARKS.get(str(event.get("next")), "on all data")))
        if step is None:
            continue
        back_to = {"resume": step, "recovery": event.get("back_to_step")}.get(kind)
        if back_to is not None:
            last = base + back_to
            for points in lines.values():
                points[:] = [point for point in points if point[0] <= last]
            marks.append((last, "resumed" if kind == "resume" else "recovered"))
        if kind in ("steps", "evaluation"):
            last = base + step
            is_training = kind == "steps"
            loss = event.get("loss") if is_training else event.get("held_out_loss")
            if loss is not None:
                lines["training" if is_training else "validation"].append((last, loss))
            if event.get("sample") is not None:
                samples += 1
                marks.append((last, str(samples)))
    thinned = {name: _thinned(points) for name, points in lines.items() if points}
    return thinned, marks[-MAX_CURVE_MARKS:]


def _thinned(points: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Return steps and values, averaged over neighbours if there are too many points to draw."""
    size = max(1, math.ceil(len(points) / MAX_CURVE_POINTS))
    # Each group of neighbours becomes one point.
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    steps = [group[-1][0] for group in groups]
    return steps, [sum(value for _, value in group) / len(group) for group in groups]


def modified_at(path: str | Path) -> int | None:
    """Return when a file was last written, in nanoseconds, or None if it does not exist; raise OSError."""
    try:
        return Path(path).stat().st_mtime_ns
    except FileNotFoundError:
        return None


class RunFolder:
    """The journals of a folder, or a single journal. A requested name is looked up and never becomes a path.

    Args:
        path: A folder of journals, or one journal.
        earlier: Time in nanoseconds at which a previous run last wrote the single journal; as long as that
            is still its time, the journal is not shown.
    """

    def __init__(self, path: str | Path, earlier: int | None = None) -> None:
        self.path, self.earlier = Path(path), earlier
        self._journals: dict[Path, Journal] = {}

    def journals(self) -> dict[str, Journal]:
        """Return at most `MAX_RUNS` journals by name, newest first; raise DataError."""
        times: dict[Path, int] = {}
        try:
            if self.path.is_dir():
                for entry in os.scandir(self.path):
                    # A link could lead out of the folder.
                    if entry.name.endswith(SUFFIX) and entry.is_file(follow_symlinks=False):
                        times[Path(entry.path)] = modified_at(entry.path) or 0
            elif (time := modified_at(self.path)) not in (None, self.earlier):
                times[self.path] = time or 0
        except OSError as error:
            raise DataError(f"cannot read {self.path}", got=error.strerror) from error
        paths = sorted(times, key=lambda path: (-times[path], path))[:MAX_RUNS]
        self._journals = {path: self._journals.get(path, Journal(path)) for path in paths}
        return {
            os.fsencode(path.name.removesuffix(SUFFIX)).decode("utf-8", "replace"): journal
            for path, journal in self._journals.items()
        }

    def runs(self) -> list[Run]:
        """Return a summary of each run."""
        runs: list[Run] = []
        for name, journal in self.journals().items():
            try:
                events = journal.read()
            except DataError:
                continue  # the file has been deleted meanwhile, or its permissions forbid reading
            start = next((event for event in events if event["event"] == "start"), None)
            steps = [step for event in events if (step := event.get("step")) is not None]
            run: Run = {
                "id": name,
                "model": f"{name}.safetensors",
                "task": start and start.get("task"),
                "cell": start and start.get("network", {}).get("cell"),
                "finished": bool(events) and events[-1]["event"] == "end",
                "steps": int(steps[-1]) if steps else 0,
            }
            runs.append(run)
        return runs

    def events(self, name: str, start: int, width: int = 720) -> RunEvents:
        """Return as many events from number `start` on as a reply may hold.

        Args:
            name: Name of the run.
            start: Number of the first event, from 0; beyond the last event all are returned.
            width: Width of the curves in pixels; the reply with the last event has them.

        Raises:
            NotFoundError: There is no such run.
            DataError: The journal cannot be read.
        """
        journal = self.journals().get(name)
        if journal is None:
            raise NotFoundError("no such run", got=name)
        events = journal.read()
        # The client knows a longer file: it has been replaced, so begin again.
        start = start if start <= len(events) else 0
        # Count the events that fit both limits of a reply.
        sizes = accumulate(journal.sizes[start : min(start + MAX_REPLY_EVENTS, len(events))])
        stop = start + sum(1 for size in sizes if size <= MAX_REPLY_BYTES)
        stop = min(max(stop, start + 1), len(events))  # send at least one event, however large
        return {
            "id": name,
            "from": start,
            "generation": journal.generation,
            "events": events[start:stop],
            "dropped": journal.dropped,
            "next": stop,
            "more": stop < len(events),
            "finished": bool(events) and events[-1]["event"] == "end",
            "svg": journal.curves(events, width) if stop == len(events) else None,
        }


def runs_router(path: str | Path, earlier: int | None = None) -> APIRouter:
    """Return the routes of the runs that `RunFolder` finds with the same arguments."""
    folder, router = RunFolder(path, earlier), APIRouter(tags=["runs"], route_class=JsonRoute)

    @router.get("/v1/runs", summary="The training runs, newest first")
    def runs() -> RunList:
        return {"object": "list", "data": folder.runs()}

    @router.get("/v1/runs/{name}", summary="The events of a training run, and its loss curves")
    def run(name: str, query: Annotated[RunQuery, Query()]) -> RunEvents:
        return folder.events(name, query.start, query.width)

    return router
