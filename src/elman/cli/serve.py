"""Command that serves models over HTTP, with a page in the browser."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elman.cli.app import INTEGER, Json, complain, load, print_json
from elman.errors import DataError, OptionError, printable

if TYPE_CHECKING:
    from elman.inspect.predictor import Predictor


TokenFile = Annotated[
    Path | None,
    typer.Option(
        help="file with the token that requests must carry (default: ELMAN_TOKEN, else no token)"
    ),
]
StateKey = Annotated[
    Path | None,
    typer.Option(
        help="file with the key that seals the states that clients keep; servers behind one address "
        "share it (default: ELMAN_STATE_KEY, else a random key)"
    ),
]


def serve(
    models: Annotated[
        list[str] | None, typer.Argument(metavar="MODEL...", help="trained models (.safetensors)")
    ] = None,
    host: Annotated[
        str,
        typer.Option(
            help="address to listen on; addresses that other machines can reach need a token"
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(**INTEGER, help="port to listen on, 0 for any free port")
    ] = 8765,
    token_file: TokenFile = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="further host name that requests may use for this server"),
    ] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help="web site whose pages may send requests, such as https://my.example",
        ),
    ] = None,
    state_key: StateKey = None,
    max_streams: Annotated[
        int, typer.Option(**INTEGER, help="largest number of open streams")
    ] = 10_000,
    runs: Annotated[
        Path | None, typer.Option(help="folder of training runs (.run.jsonl) to show on the page")
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="open the page in the browser")] = False,
    json_: Json = False,
) -> None:
    """Serve models over HTTP on this machine, with a page that shows them at work."""
    from elman.serve import server
    from elman.serve.settings import Settings, is_any

    if not models and runs is None:
        raise OptionError("MODEL", got="nothing", expected="a trained model, or --runs FOLDER")
    token, key = _secret(token_file, "ELMAN_TOKEN"), _secret(state_key, "ELMAN_STATE_KEY")
    # Without a key the settings draw a random one.
    key_setting: dict[str, Any] = {} if key is None else {"state_key": key}
    settings = Settings(
        host=host,
        port=port,
        token=None if token is None else token.decode("latin-1"),
        allow_hosts=tuple(allow_host or ()),
        cors=tuple(cors or ()),
        runs=runs,
        max_streams=max_streams,
        **key_setting,
    )
    loaded = _load_models(models or ())

    def ready(settings: Settings) -> None:
        url = server.page_url(settings)
        refuses_names = is_any(settings.host) and not settings.allow_hosts
        if json_:
            shown = None if runs is None else str(runs)
            print_json({"url": url, "models": [*loaded], "runs": shown})
        else:
            typer.echo(f"serving {', '.join(map(printable, loaded)) or printable(runs)} on {url}")
        if refuses_names:
            complain("other machines must use a name or address that --allow-host gives")
        if open_:
            import webbrowser

            webbrowser.open(url)

    server.serve(loaded, settings, ready)


def _load_models(paths: Iterable[str]) -> dict[str, Predictor]:
    """Return the models of some files by name; raises OptionError where two have the same name."""
    from elman.files.model import model_name

    models: dict[str, Predictor] = {}
    for path in paths:
        name = model_name(path)
        if name in models:
            raise OptionError("models", got=f"two called {name}", expected="different names")
        models[name], _ = load(path)
    return models


def _secret(file: Path | None, variable: str) -> bytes | None:
    """Return the secret in a file, without its line end, or that of an environment variable."""
    if file is None:
        value = os.environ.get(variable)
        return None if value is None else os.fsencode(value)
    try:
        return file.read_bytes().strip()
    except OSError as error:
        raise DataError(f"cannot read {file}", got=error.strerror or error) from error
