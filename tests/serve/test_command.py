"""The command `elman serve`: its output, its errors, and how it stops."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import webbrowser
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from elman.cli import main
from elman.serve import server
from elman.serve.server_metrics import Metrics
from elman.serve.settings import Settings

pytestmark = pytest.mark.slow

SECONDS = 60


def command(*arguments: object, **variables: Any) -> dict[str, Any]:
    return {
        "args": [sys.executable, "-m", "elman", "serve", *map(str, arguments)],
        "env": {k: v for k, v in os.environ.items() if not k.startswith("ELMAN_")} | variables,
        "text": True,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
    }


def served(*arguments: object) -> Any:
    return subprocess.Popen(**command(*arguments))


@pytest.fixture
def refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """Function that runs the command in this process and returns its error line."""

    def refused(*arguments: object, **variables: Any) -> str:
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as left:
                main(["serve", *map(str, arguments)])
        said = capsys.readouterr()
        assert left.value.code == 2
        assert said.out == ""
        assert said.err.count("\n") == 1
        return said.err

    return refused


def test_it_prints_its_address_and_stops_at_sigterm(model_file: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a secret\n", encoding="utf-8")
    options = ["--port", "0", "--token-file", tmp_path / "token", "--allow-host", "elman.example"]
    with served(model_file, *options) as process:
        try:
            line = process.stdout.readline()
            assert line.startswith("serving letters on http://127.0.0.1:")
            url = line.split()[-1]
            assert httpx.get(f"{url}/healthz").json() == {"status": "ok"}
            assert httpx.get(f"{url}/v1/models").status_code == 401
            headers = {"Authorization": "Bearer a secret"}
            assert httpx.get(f"{url}/v1/models", headers=headers).status_code == 200
            headers["Host"] = "elman.example"
            assert httpx.get(f"{url}/v1/models", headers=headers).status_code == 200
            headers["Host"] = "evil.example"
            assert httpx.get(f"{url}/v1/models", headers=headers).status_code == 403
            process.send_signal(signal.SIGTERM)
            assert process.wait(SECONDS) == 0
            assert process.stderr.read() == ""
        finally:
            process.kill()


def test_it_stops_at_ctrl_c(model_file: Path) -> None:
    with served(model_file, "--port", "0") as process:
        try:
            process.stdout.readline()
            process.send_signal(signal.SIGINT)
            assert process.wait(SECONDS) == 130
            assert process.stderr.read() == ""
        finally:
            process.kill()


def test_invalid_options_are_refused_in_one_line(
    refused: Callable[..., str], model_file: Path, tmp_path: Path
) -> None:
    text = refused(model_file, "--host", "0.0.0.0")
    assert "--host: got 0.0.0.0; expected an address that only this machine can reach" in text
    assert "give --token-file FILE or set ELMAN_TOKEN" in text
    assert "the token" in refused(model_file, ELMAN_TOKEN="")
    assert "the state key" in refused(model_file, ELMAN_STATE_KEY="short")
    assert "cannot read" in refused(model_file, "--token-file", tmp_path / "none")
    assert "two called letters" in refused(model_file, model_file)
    assert "MODEL: got nothing" in refused()
    nameless = tmp_path / ".safetensors"
    nameless.write_bytes(model_file.read_bytes())
    assert "got .safetensors; expected a name before the suffix" in refused(nameless)
    assert "none.safetensors" in refused(tmp_path / "none.safetensors")
    assert "max_streams: got 0" in refused(model_file, "--max-streams", "0")
    assert "--port: got 99999; expected 0 to 65535" in refused(model_file, "--port", "99999")
    nowhere = tmp_path / "nowhere"
    text = refused("--runs", nowhere)
    assert f"--runs: got {nowhere}; expected an existing folder" in text
    text = refused(model_file, "--host", "a..b", ELMAN_TOKEN="a secret")
    assert "cannot listen on a..b:8765" in text
    assert "pass another --host" in text


@pytest.mark.parametrize(
    ("host", "shown"), [("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("127.0.0.1", "127.0.0.1")]
)
def test_it_prints_an_address_that_this_machine_can_open(
    model_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    host: str,
    shown: str,
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(server, "serve", lambda _, settings, ready: ready(settings))
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setenv("ELMAN_TOKEN", "a secret")
    more = ["--allow-host", "elman.example"]
    for allowed in ([], more):
        with pytest.raises(SystemExit) as left:
            main(["serve", str(model_file), "--host", host, "--open", *allowed])
        assert not left.value.code
        printed = capsys.readouterr()
        assert printed.out == f"serving letters on http://{shown}:8765\n"
        assert ("--allow-host" in printed.err) == (host != shown and not allowed)
    assert opened == [f"http://{shown}:8765"] * 2


@pytest.mark.parametrize("key", [bytes(range(200, 232)), b"0123456789abcdef\n"])
def test_the_state_key_may_be_any_bytes(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: bytes
) -> None:
    file = tmp_path / "key"
    file.write_bytes(key)
    found = []
    monkeypatch.setattr(server, "serve", lambda _, settings, __: found.append(settings))
    with pytest.raises(SystemExit) as left:
        main(["serve", str(model_file), "--state-key", str(file)])
    assert not left.value.code
    assert found[0].state_key == key.strip()


WORKING = """
import sys, threading
import elman
from elman.language.pool import StreamPool
from elman.language.stream import Stream
from elman.serve import server
from elman.serve.server_metrics import Metrics
from elman.serve.settings import Settings
def forever(*_, **__):
    print("begun", flush=True)
    threading.Event().wait()
model = elman.load(sys.argv[1])
Stream.generate_pieces = StreamPool.feed = forever
server.serve(
    {"letters": model}, Settings(port=0, grace_seconds=1), lambda s: print(s.port, flush=True)
)
"""


@pytest.mark.parametrize(
    ("route", "body"), [("generate", {"prompt": "a"}), ("streams", {"input": "abc"})]
)
def test_it_stops_while_a_thread_computes(model_file: Path, route: str, body: Any) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WORKING, str(model_file)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        try:
            url = f"http://127.0.0.1:{int(process.stdout.readline())}/v1/{route}"
            with ThreadPoolExecutor(1) as threads:
                body = {"model": "letters"} | body
                asked = threads.submit(httpx.post, url, json=body, timeout=SECONDS)
                assert process.stdout.readline() == "begun\n"
                process.send_signal(signal.SIGTERM)
                assert process.wait(SECONDS) == 0
                # the connection was closed, or the request refused
                assert asked.exception() is not None or asked.result().status_code >= 500
        finally:
            process.kill()


def test_it_allows_as_many_connections_as_the_system() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
        app: Any = None
        config: Any = server.uvicorn_config(app, Settings(), Metrics())
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert soft == (server.MAX_OPEN_FILES if before[1] == resource.RLIM_INFINITY else before[1])
        assert config.http.max_connections == soft - server.RESERVED_FILES
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_without_the_extra_it_says_what_to_install(model_file: Path, tmp_path: Path) -> None:
    (tmp_path / "fastapi.py").write_text("raise ImportError('No module named fastapi')\n")
    options = command(model_file, PYTHONPATH=str(tmp_path))
    done = subprocess.run(**options, timeout=SECONDS)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert 'pip install ".[serve]"' in done.stderr


@pytest.mark.parametrize("name", ["a\x1b[31m", "<b>", "\u202eabc", "x" * 200])
def test_hostile_names_are_shown_as_text(model_file: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / f"{name}.safetensors"
    try:
        path.write_bytes(Path(model_file).read_bytes())
    except OSError:
        pytest.fail("the file system does not take the name")
    with served(path, "--port", "0") as process:
        try:
            line = process.stdout.readline()
            assert line.startswith("serving ")
            assert line[:-1].isprintable()
            url = line.split()[-1]
            rows = json.loads(httpx.get(f"{url}/v1/models").text)["data"]
            assert rows[0]["id"] == name
        finally:
            process.kill()
