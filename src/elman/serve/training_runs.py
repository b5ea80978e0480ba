"""Runs of training, read from their journals: what happened, and their curves, while they go on or after."""

from __future__ import annotations

import json
import math
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from typing_extensions import TypedDict

from elman.draw import figures
from elman.errors import DataError
from elman.serve.json_route import Route, told
from elman.serve.replies import clean
from elman.serve.stream_store import NotFoundError

__all__ = ["Asked", "Happened", "Journal", "RunLine", "RunList", "Runs", "router", "written_at"]

SUFFIX = ".run.jsonl"
MOST_RUNS = 200
MOST_EVENTS, MAX_BYTES = 1000, 1 << 20
"""Events in one answer, and bytes of their lines; the rest comes with the next."""
LONGEST_LINE = 1 << 20
LARGEST_JOURNAL = 256 << 20
"""Bytes of one journal that are read; days of a run."""
KEPT = 64
"""Bytes before the place read to, which tell whether the file is still the one that was read."""
MOST_POINTS, MOST_MARKS = 400, 40
LARGEST = 2**53
"""Beyond it a number of a journal is none: no run has so many steps, and no curve shows such a loss."""


class Asked(BaseModel):
    """What the address of a run may ask for."""

    start: Annotated[int, Field(alias="from", ge=0, le=2**48, description="first event")] = 0
    width: Annotated[int, Field(ge=280, le=2000, description="width of the curves")] = 720


class RunLine(TypedDict):
    """A run in a line."""

    id: str
    model: str
    task: str | None
    cell: str | None
    finished: bool
    steps: int


class RunList(TypedDict):
    """The runs there are."""

    object: str
    data: list[RunLine]


# the field is called as the query parameter is, which is a word of Python's own
Happened = TypedDict(
    "Happened",
    {
        "id": str,
        "from": int,
        "generation": int,
        "events": list[dict[str, Any]],
        "dropped": int,
        "next": int,
        "more": bool,
        "finished": bool,
        "svg": str | None,
    },
)
"""Events of a run from one number to the next, and the curves with the last of them; ``dropped`` counts the
lines of the whole journal that are no event of the form that training writes."""


_NUMBER, _WORDS = (int, float, type(None)), (str, type(None))
FIELDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("step", "epoch", "loss", "held_out_loss", "back_to_step"), _NUMBER),
    **dict.fromkeys(("seconds", "seconds_left", "share_done"), _NUMBER),
    **dict.fromkeys(("gradient_norm", "learning_rate", "rate_scale", "parameters"), _NUMBER),
    **dict.fromkeys(("text", "stopped", "next", "sample", "task", "culprit"), _WORDS),
    **dict.fromkeys(("network", "card", "plan"), (dict,)),
    "best": (bool,),
}
"""The types of what an event may say; a line where one is another is dropped."""
STAGES = {"fold": "next part", "measured": "on the training set"}
"""What the curves call a network that begins after the first one, by `next` of its event."""


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
        if b"\\ud" in line.lower():  # it may be half of a character, which no text can hold
            event = json.loads(json.dumps(event, ensure_ascii=False).encode("utf-8", "replace"))
        event = clean(event)
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        return None
    if event["event"] in ("steps", "evaluation") and event.get("step") is None:
        return None
    for name in event.keys() & FIELDS:
        value, types = event[name], FIELDS[name]
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            return None
        if isinstance(value, int | float) and abs(value) > LARGEST:
            return None
    # what it names was found to be an object above
    return event if isinstance(event.get("network", {}).get("cell", ""), str) else None


@dataclass
class Journal:
    """One journal, read on from where it was read to; a file that was begun anew is read anew."""

    path: Path
    events: list[dict[str, Any]] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    """Bytes of each event's line."""
    dropped: int = 0
    """Lines that are no event."""
    generation: int = 0
    """How often the file was found begun anew."""
    _offset: int = 0
    _tail: bytes = b""
    _drawn: tuple[dict[str, Any] | None, int, str] | None = None
    """The last event that the curves were drawn with, their width, and the drawing."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self) -> list[dict[str, Any]]:
        """Return all events so far; a line that is not an event is left out. Raises DataError."""
        try:
            with self._lock, self.path.open("rb") as file:
                file.seek(self._offset - len(self._tail))
                if file.read(len(self._tail)) != self._tail:
                    self.events, self.sizes, self.dropped = [], [], 0
                    self._offset, self._tail = 0, b""
                    self.generation += 1
                    file.seek(0)
                for line in self._lines(file):
                    if (event := _event(line)) is not None:
                        self.events.append(event)
                        self.sizes.append(len(line))
                    else:
                        self.dropped += bool(line.strip())
                return list(self.events)
        except OSError as error:
            raise DataError(f"cannot read {self.path}", got=error.strerror) from error

    def drawn(self, events: list[dict[str, Any]], width: int) -> str:
        """Return the curves of all `events`, empty axes without any; drawn anew only where an event came."""
        last = events[-1] if events else None
        if self._drawn is None or self._drawn[0] is not last or self._drawn[1] != width:
            self._drawn = (
                last,
                width,
                figures.curves(*_curves(events), width=width, standalone=False),
            )
        return self._drawn[2]

    def _lines(self, file: Any) -> Iterator[bytes]:
        while self._offset < LARGEST_JOURNAL:
            line = file.readline(LONGEST_LINE)
            # half a line is read when the rest of it is there
            if not line or (len(line) < LONGEST_LINE and not line.endswith(b"\n")):
                return
            self._offset += len(line)
            self._tail = (self._tail + line)[-KEPT:]
            yield line


def _curves(events: list[dict[str, Any]]) -> tuple[dict[str, Any], list[tuple[float, str]]]:
    """Return losses by step, and marks: the samples by number, and what else happened on the way.

    Steps that were taken back are left out.
    """
    lines: dict[str, list[tuple[float, float]]] = {"training": [], "validation": []}
    marks: list[tuple[float, str]] = []
    base = last = 0.0
    samples = 0
    for event in events:
        kind, at = event["event"], event.get("step")
        if kind == "stage":
            base = last
            marks.append((base, STAGES.get(str(event.get("next")), "on all data")))
        if at is None:
            continue
        back = {"resume": at, "recovery": event.get("back_to_step")}.get(kind)
        if back is not None:
            for points in lines.values():
                points[:] = [point for point in points if point[0] <= base + back]
            marks.append((base + back, "resumed" if kind == "resume" else "recovered"))
            last = base + back
        name, of = ("training", "loss") if kind == "steps" else ("validation", "held_out_loss")
        if kind in ("steps", "evaluation"):
            last = base + at
            if (loss := event.get(of)) is not None:
                lines[name].append((last, loss))
            if event.get("sample") is not None:
                samples += 1
                marks.append((last, str(samples)))
    return {name: _thinned(points) for name, points in lines.items() if points}, marks[-MOST_MARKS:]


def _thinned(points: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Return steps and values, in rows of neighbours that are averaged where there are too many."""
    size = max(1, math.ceil(len(points) / MOST_POINTS))
    groups = [points[at : at + size] for at in range(0, len(points), size)]
    return [group[-1][0] for group in groups], [
        sum(value for _, value in group) / len(group) for group in groups
    ]


def written_at(path: str | Path) -> int | None:
    """Return when a file was written, in ns; None where it is not there. Raises OSError."""
    try:
        return Path(path).stat().st_mtime_ns
    except FileNotFoundError:
        return None


class Runs:
    """The journals of a folder, or one of them, each by a name that never becomes a path.

    Of one of them, what was written at `past` (its time in ns) is a run before, and not shown.
    """

    def __init__(self, where: str | Path, past: int | None = None) -> None:
        self.where, self.past = Path(where), past
        self._journals: dict[Path, Journal] = {}

    def journals(self) -> dict[str, Journal]:
        """Return the journals there are by name, the newest first, at most 200; raises DataError."""
        try:
            if not self.where.is_dir():
                written = written_at(self.where)
                found = [] if written in (None, self.past) else [(0, self.where)]
            else:
                found = [
                    (-written, Path(entry.path))
                    for entry in os.scandir(self.where)
                    if entry.name.endswith(SUFFIX) and entry.is_file(follow_symlinks=False)
                    if (written := written_at(entry.path)) is not None
                ]
        except OSError as error:
            raise DataError(f"cannot read {self.where}", got=error.strerror) from error
        paths = [path for _, path in sorted(found)[:MOST_RUNS]]
        self._journals = {path: self._journals.get(path, Journal(path)) for path in paths}
        return {
            os.fsencode(path.name.removesuffix(SUFFIX)).decode("utf-8", "replace"): journal
            for path, journal in self._journals.items()
        }

    def listed(self) -> list[RunLine]:
        """Return what there is to say of each run in a line."""
        rows: list[RunLine] = []
        for name, journal in self.journals().items():
            try:
                events = journal.read()
            except DataError:
                continue  # it went meanwhile, or may not be read: the others may
            start = next((event for event in events if event["event"] == "start"), {})
            last = events[-1]["event"] if events else ""
            steps = (at for event in reversed(events) if (at := event.get("step")) is not None)
            rows.append(
                {
                    "id": name,
                    "model": f"{name}.safetensors",
                    "task": start.get("task"),
                    "cell": start.get("network", {}).get("cell"),
                    "finished": last == "end",
                    "steps": int(next(steps, 0)),
                }
            )
        return rows

    def answer(self, name: str, start: int, width: int = 720) -> Happened:
        """Return events from number `start` on, as many as an answer takes, and the curves with the last.

        The curves are `width` pixels wide. Raises NotFoundError for a name that is none, DataError.
        """
        journal = self.journals().get(name)
        if journal is None:
            raise NotFoundError("no such run", got=name)
        events = journal.read()
        start = start if start <= len(events) else 0
        sizes = accumulate(journal.sizes[start : min(start + MOST_EVENTS, len(events))])
        stop = start + sum(1 for size in sizes if size <= MAX_BYTES)
        stop = min(max(stop, start + 1), len(events))  # one is sent, however large
        part = events[start:stop]
        return {
            "id": name,
            "from": start,
            "generation": journal.generation,
            "events": part,
            "dropped": journal.dropped,
            "next": stop,
            "more": stop < len(events),
            "finished": bool(events) and events[-1]["event"] == "end",
            "svg": journal.drawn(events, width) if stop == len(events) else None,
        }


def router(where: str | Path, past: int | None = None) -> APIRouter:
    """Return the routes of the runs in a folder of journals, or of one journal written since `past`."""
    runs, routes = Runs(where, past), APIRouter(tags=["runs"], route_class=Route)

    @routes.get("/v1/runs", summary="The runs there are, the newest first")
    async def listed() -> RunList:
        return {"object": "list", "data": await run_in_threadpool(runs.listed)}

    @routes.get("/v1/runs/{name}", summary="What happened in a run, and its curves")
    async def one(name: str, asked: Annotated[Asked, Query()]) -> Happened:
        return await run_in_threadpool(told, runs.answer, name, asked.start, asked.width)

    return routes
