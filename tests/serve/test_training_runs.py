"""Training runs: replies from complete, growing, replaced and invalid journals."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from elman.draw import charts
from elman.files.model import Model
from elman.serve.training_page import training_page
from elman.serve.training_runs import MAX_CURVE_POINTS, MAX_REPLY_BYTES, MAX_REPLY_EVENTS, RunFolder

pytestmark = pytest.mark.slow


def steps(number: Any, loss: Any = 1.0, **more: Any) -> dict[str, Any]:
    return {"event": "steps", "step": number, "loss": loss, **more}


def measured(number: int, loss: Any, **more: Any) -> dict[str, Any]:
    return {"event": "evaluation", "step": number, "held_out_loss": loss, "best": True, **more}


START = {"event": "start", "task": "language", "network": {"cell": "gru"}}
END = {"event": "end", "stopped": "budget", "card": {}}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Function that writes events as a journal and returns its path."""

    def write(name: str, *events: dict[str, Any], mode: str = "w") -> Path:
        path = tmp_path / f"{name}.run.jsonl"
        with path.open(mode, encoding="utf-8") as file:
            file.writelines(json.dumps(event) + "\n" for event in events)
        return path

    return write


def marks(svg: str) -> list[str]:
    return re.findall(r'class="small grey(?: end)?"[^>]*>([^<]*)</text>', svg)


def test_a_folder_lists_its_runs_newest_first(write: Callable[..., Path], tmp_path: Path) -> None:
    os.utime(write("old", START, steps(7)), (1, 1))
    write("new", START, steps(3), END)
    (tmp_path / "notes.jsonl").write_text("{}\n")
    first, second = RunFolder(tmp_path).runs()
    new = {"id": "new", "model": "new.safetensors", "task": "language", "cell": "gru"}
    assert first == new | {"finished": True, "steps": 3}
    assert (second["id"], second["finished"], second["steps"]) == ("old", False, 7)


def test_events_come_in_several_replies_and_the_curves_with_the_last(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    write("a", START, *(steps(n) for n in range(1, MAX_REPLY_EVENTS + 10)))
    runs = RunFolder(tmp_path)
    first = runs.events("a", 0)
    assert (first["from"], first["next"], first["more"]) == (0, MAX_REPLY_EVENTS, True)
    assert first["svg"] is None
    last = runs.events("a", first["next"])
    assert (last["next"], last["more"], last["finished"]) == (MAX_REPLY_EVENTS + 10, False, False)
    assert [event["step"] for event in last["events"]] == [
        *range(MAX_REPLY_EVENTS, MAX_REPLY_EVENTS + 10)
    ]
    svg = last["svg"] or ""
    assert svg.startswith("<svg")
    assert "<style" not in svg


def test_a_growing_journal_is_read_on_and_an_incomplete_line_waits(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    path = write("a", START, steps(1))
    runs = RunFolder(tmp_path)
    assert runs.events("a", 0)["next"] == 2
    line = json.dumps(steps(2)) + "\n"
    with path.open("a") as file:
        file.write(line[:10])
    assert runs.events("a", 2)["events"] == []
    with path.open("a") as file:
        file.write(line[10:])
    assert runs.events("a", 2)["events"] == [steps(2)]


def test_a_replaced_journal_is_noticed(write: Callable[..., Path], tmp_path: Path) -> None:
    write("a", START, steps(1), steps(2))
    runs = RunFolder(tmp_path)
    before = runs.events("a", 0)
    write("a", START, steps(9))
    shorter = runs.events("a", before["next"])
    assert (shorter["from"], shorter["generation"]) == (0, before["generation"] + 1)
    assert shorter["events"] == [START, steps(9)]
    # the new file has grown beyond the old position before the next read
    write("a", *[START | {"parameters": 5}] * 9)
    longer = runs.events("a", 2)
    assert longer["generation"] == before["generation"] + 2
    assert longer["next"] == 9


def test_curves_omit_undone_steps_and_continue_in_the_next_stage(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    write(
        "a",
        START,
        *(steps(n, 5.0 - n) for n in (1, 2, 3)),
        {"event": "recovery", "step": 3, "back_to_step": 1, "culprit": "x", "rate_scale": 0.5},
        steps(2, 2.0),
        measured(2, 2.5, sample="I like tea"),
        {"event": "stage", "steps": 2, "next": "refit"},
        steps(1, 1.0),
        measured(2, 1.5, sample="we like soup"),
        END,
    )
    reply = RunFolder(tmp_path).events("a", 0)
    assert reply["finished"]
    wanted = ["recovered", "1", "on all data", "2"]
    assert [mark for mark in marks(reply["svg"] or "") if mark in wanted] == wanted


def test_invalid_lines_are_left_out_and_numbers_are_finite(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    path = write("a", START)
    with path.open("ab") as file:
        file.write(b'{"event": "steps", "step": 1, "loss": NaN, "gradient_norm": 1e999}\n')
        file.write(b'{"event": "steps", "step": 2, "loss": -Infinity}\n')
        file.write(b'\xff\xfe\n[1]\n{}\n{"event": 3}\nnot json\n' + b"[" * 9999 + b"\n")
        file.write(b'{"event": "evaluation", "step": "two", "sample": 5, "held_out_loss": "x"}\n')
        file.write(b'{"event": "warning", "text": "half \\ud800 a character"}\n')
        file.write(b'{"event": "steps", "step": ' + b"9" * 5000 + b"}\n")
        file.write(b'{"event": "steps", "step": 4, "loss": 1' + b"0" * 400 + b"}\n")
        file.write(b"x" * (3 << 20) + b"\n")
        file.write(b'{"event": "steps", "step": 5, "loss": 0.5}\n')
    reply = RunFolder(tmp_path).events("a", 0)
    text = json.dumps(reply, ensure_ascii=False, allow_nan=False)
    assert "half ? a character" in text.encode("utf-8").decode()
    assert reply["events"][1] == {"event": "steps", "step": 1, "loss": None, "gradient_norm": None}
    assert reply["events"][-1] == steps(5, 0.5)


@pytest.mark.parametrize(
    "wrong",
    [
        steps(2, "low"),
        steps(2, [1.0]),
        steps(2, True),
        steps("2"),
        steps(None),
        steps(2, 2**60),
        {"event": "steps", "loss": 1.0},
        measured(2, "low"),
        measured(2, 1.0, best="yes"),
        measured(2, 1.0, sample=["a"]),
        steps(2, seconds_left="soon"),
        steps(2, share_done={}),
        {"event": "warning", "text": {"a": 1}},
        {"event": "end", "stopped": 3, "card": {}},
        {"event": "start", "task": ["language"]},
        {"event": "start", "network": "gru"},
        {"event": "start", "network": {"cell": 7}},
        {"event": ["steps"]},
    ],
    ids=str,
)
def test_an_event_with_wrong_types_is_dropped_and_counted(
    write: Callable[..., Path], tmp_path: Path, wrong: Any
) -> None:
    """The fields of the events that the page gets have the types that training writes."""
    write("a", START, steps(1), wrong, steps(3, None), measured(3, 1.0, sample="a"), END)
    reply = RunFolder(tmp_path).events("a", 0)
    assert reply["events"] == [START, steps(1), steps(3, None), measured(3, 1.0, sample="a"), END]
    assert reply["dropped"] == 1
    assert RunFolder(tmp_path).runs()[0]["steps"] == 3


def test_no_event_that_training_writes_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("I like tea .\nwe like soup .\n" * 40)
    done = train(tmp_path, tmp_path / "plain.safetensors")
    done.communicate(timeout=120)
    reply = RunFolder(tmp_path).events("plain", 0)
    lines = (tmp_path / "plain.run.jsonl").read_text().splitlines()
    assert reply["dropped"] == 0
    assert len(reply["events"]) == len(lines)
    assert {"start", "evaluation", "end"} <= {event["event"] for event in reply["events"]}


def test_the_bytes_of_a_reply_are_limited(write: Callable[..., Path], tmp_path: Path) -> None:
    large = measured(1, 1.0, sample="a" * (MAX_REPLY_BYTES // 3))
    write("a", START, *[large] * 7, measured(2, 1.0, sample="b" * (MAX_REPLY_BYTES - 200)), END)
    runs, at, seen = RunFolder(tmp_path), 0, []
    while True:
        reply = runs.events("a", at)
        assert len(json.dumps(reply["events"])) <= MAX_REPLY_BYTES + 1000
        seen += reply["events"]
        at = reply["next"]
        if not reply["more"]:
            break
    assert len(seen) == 10
    assert at == 10


def test_an_unreadable_journal_is_left_out_of_the_list(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("good", START, steps(7), {"event": "steps", "step": 1e200})
    secret, gone = write("secret", START), write("gone", START)
    scan, opened = os.scandir, Path.open

    def scanned(folder: Path) -> list[Any]:
        entries = list(scan(folder))
        gone.unlink(missing_ok=True)
        return entries

    def refused(path: Any, *how: Any, **more: Any) -> Any:
        if path == secret:
            raise PermissionError(13, "Permission denied")
        return opened(path, *how, **more)

    monkeypatch.setattr(os, "scandir", scanned)
    monkeypatch.setattr(Path, "open", refused)
    (row,) = RunFolder(tmp_path).runs()
    # numbers that no run can have are dropped too
    assert (row["id"], row["steps"]) == ("good", 7)


def test_curves_are_drawn_again_only_after_a_new_event(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Any] = []

    def curves_of(curves: Any, *_: Any, **__: Any) -> str:
        drawn.append(curves)
        return "<svg/>"

    monkeypatch.setattr(charts, "curves", curves_of)
    write("a", START, steps(1))
    runs = RunFolder(tmp_path)
    assert [runs.events("a", at)["svg"] for at in (0, 2, 2)] == ["<svg/>"] * 3
    assert len(drawn) == 1
    write("a", steps(2), mode="a")
    runs.events("a", 2)
    write("a", START, steps(1), steps(9))  # as many events, but of another run
    runs.events("a", 2)
    assert [curves["training"][0] for curves in drawn] == [[1], [1, 2], [1, 9]]


@pytest.mark.parametrize("events", [[], [START], [START, {"event": "warning", "text": "slow"}]])
def test_a_run_without_steps_has_empty_axes(
    write: Callable[..., Path], tmp_path: Path, events: Any
) -> None:
    """The page then no longer shows the curves of another run."""
    write("a", *events)
    svg = RunFolder(tmp_path).events("a", 0)["svg"] or ""
    assert svg.startswith("<svg")
    assert 'class="line ink"' not in svg


def test_long_curves_are_averaged(write: Callable[..., Path], tmp_path: Path) -> None:
    write("a", *(steps(n, float(n % 2)) for n in range(1, 4 * MAX_CURVE_POINTS + 1)))
    runs = RunFolder(tmp_path)
    reply, at = runs.events("a", 0), 0
    while reply["more"]:
        at = reply["next"]
        reply = runs.events("a", at)
    (line,) = re.findall(r'<path class="line ink"[^>]*d="([^"]*)"', reply["svg"] or "")
    heights = {pair.split()[1] for pair in re.findall(r"[\d.]+ [\d.]+", line)}
    assert len(heights) == 1  # each point is the mean of as many zeros as ones


def test_a_missing_single_journal_is_not_listed(write: Callable[..., Path], tmp_path: Path) -> None:
    runs = RunFolder(tmp_path / "model.run.jsonl")
    assert runs.runs() == []
    write("model", START)
    write("other", START)
    assert [row["id"] for row in runs.runs()] == ["model"]


@pytest.mark.parametrize("resume", [False, True])
def test_watching_shows_an_earlier_run_only_when_resuming_it(
    write: Callable[..., Path], resume: bool
) -> None:
    path = write("model", START, steps(7), END)
    with training_page(path, resume=resume) as url:
        address = url.partition("/?")[0]
        reply = httpx.get(f"{address}/v1/runs").json()["data"]
        assert [row["finished"] for row in reply] == ([True] if resume else [])
        path.write_text("")
        write("model", START, steps(3))
        (reply,) = httpx.get(f"{address}/v1/runs").json()["data"]
        assert (reply["finished"], reply["steps"]) == (False, 3)


NAMES = (
    "../secret",
    "..%2fsecret",
    "%2e%2e/secret",
    "....//secret",
    "..\\secret",
    "/etc/passwd",
    "a/../../secret",
    "secret.run.jsonl",
    "\x00",
    "link",
    "a.run",
    ".",
    "..",
    "",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_never_becomes_a_path(
    write: Callable[..., Path], ask: Any, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()
    secret = write("secret", START | {"hidden": "do not tell"})
    (folder / "a.run.jsonl").write_text(json.dumps(START) + "\n")
    (folder / "link.run.jsonl").symlink_to(secret)

    async def go() -> Any:
        async with ask({}, runs=folder) as client:
            quoted = httpx.URL("http://127.0.0.1:8765/v1/runs/").copy_with(
                raw_path=b"/v1/runs/" + name.replace("\x00", "%00").encode()
            )
            return await client.get(quoted)

    answer = asyncio.run(go())
    assert "do not tell" not in answer.text
    assert answer.status_code == 404 or set(answer.json()) == {"object", "data"}


def test_the_routes_of_runs(write: Callable[..., Path], ask: Any, tmp_path: Path) -> None:
    write("a <b>&\u202e", START, steps(1), END)

    async def go() -> Any:
        async with ask({}, runs=tmp_path) as client:
            listed = (await client.get("/v1/runs")).json()["data"]
            name = listed[0]["id"]
            whole = await client.get(f"/v1/runs/{name}")
            rest = await client.get(f"/v1/runs/{name}?from=2")
            wrong = [
                await client.get(f"/v1/runs/{name}?{x}")
                for x in (
                    "from=-1",
                    "from=x",
                    f"from={'9' * 40}",
                    "from=²",
                    "width=1",
                    "width=2001",
                )
            ]
            wrong.append(await client.get(f"/v1/runs/{name}?width=x"))
            narrow = await client.get(f"/v1/runs/{name}?width=358")
            assert 'width="358"' in narrow.json()["svg"]
            none = await client.get("/v1/runs/none")
            return whole, rest, wrong, none

    whole, rest, wrong, none = asyncio.run(go())
    assert [event["event"] for event in whole.json()["events"]] == ["start", "steps", "end"]
    assert [event["event"] for event in rest.json()["events"]] == ["end"]
    assert {answer.status_code for answer in wrong} == {400}
    assert none.status_code == 404
    assert none.json()["error"]["message"] == "no such run: got none"


def test_an_unreadable_folder_is_an_error(ask: Any, tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()

    async def go() -> Any:
        async with ask({}, runs=folder) as client:
            folder.rmdir()
            return await client.get("/v1/runs")

    # a missing journal is a run that has not begun
    assert asyncio.run(go()).json()["data"] == []


def train(folder: Path, output: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "elman", "train", str(folder / "text.txt"), "-o", str(output)]
    command += ["--steps", "30", "--hidden-size", "8", "--threads", "1", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("json_", [False, True])
def test_watching_does_not_change_training(tmp_path: Path, json_: bool) -> None:
    (tmp_path / "text.txt").write_text("I like tea .\nwe like soup .\n" * 40)
    plain = train(tmp_path, tmp_path / "plain.safetensors")
    plain.communicate(timeout=120)
    options = ["--json"] if json_ else []
    watched = train(tmp_path, tmp_path / "watched.safetensors", "--watch", *options)
    lines: Any = watched.stderr if json_ else watched.stdout
    url = next(found[0] for line in lines if (found := re.search(r"http://127\.0\.0\.1:\d+", line)))
    seen: list[dict[str, Any]] = []
    try:
        while watched.poll() is None:
            seen += httpx.get(f"{url}/v1/runs").json()["data"]
    except httpx.HTTPError:
        pass  # the server has stopped
    out, err = watched.communicate(timeout=120)
    assert watched.returncode == plain.returncode == 0, err
    # the page could read the end before the server stopped
    assert seen[-1]["id"] == "watched"
    assert seen[-1]["finished"]
    if json_:
        assert json.loads(out)["stopped"] == "budget"
    models = [Model.load(tmp_path / f"{name}.safetensors") for name in ("plain", "watched")]
    for name, array in models[0].arrays.items():
        np.testing.assert_array_equal(array, models[1].arrays[name])


def test_watching_without_the_extra_says_how_to_install_it(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("I like tea .\n" * 40)
    code = (
        "import sys; sys.modules['uvicorn'] = None\n"
        "from elman.cli import main\n"
        "main(['train', 'text.txt', '-o', 'm.safetensors', '--watch'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 2
    assert 'pip install ".[serve]"' in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "m.safetensors").exists()
