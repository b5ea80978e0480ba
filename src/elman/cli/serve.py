"""Command that serves models over HTTP, with a page in the browser."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import fields
from inspect import Parameter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from elman.cli.app import Json, complain, load
from elman.cli.printing import print_json
from elman.cli.task_options import PARSERS, keyword, with_parameters
from elman.errors import DataError, OptionError, printable
from elman.serve import check_installed
from elman.serve.settings import Settings, is_any

if TYPE_CHECKING:
    from elman.inspect.predictor import Predictor


OPTIONS = {setting.name: setting for setting in fields(Settings) if setting.metadata}
"""The settings that are options of the command."""


def _parameters() -> list[Parameter]:
    """Return the options of the command as its parameters."""
    parameters = []
    for name, kind in get_type_hints(Settings).items():
        if name in OPTIONS:
            setting = OPTIONS[name]
            help_text, flag = setting.metadata["help"], setting.metadata["flag"]
            if kind in (int, str):
                help_text += f" (default: {setting.default})"
            elif setting.default == ():
                kind = list[str]
            else:  # a folder, or a secret, which is read from a file
                kind = Path
            option = typer.Option(
                flag or "--" + name.replace("_", "-"), help=help_text, **PARSERS.get(kind, {})
            )
            parameters.append(keyword(name, kind, option))
    return parameters


def _settings(options: dict[str, Any]) -> Settings:
    """Return the settings that the options of the command and the environment give."""
    for name, setting in OPTIONS.items():
        # typer gives an option that may be repeated as a list.
        if variable := setting.metadata["variable"]:
            options[name] = _secret(options[name], variable)
        elif isinstance(options[name], list):
            options[name] = tuple(options[name])
    # Latin-1 keeps every byte as a character; the settings refuse those that a token may not have.
    if options["token"] is not None:
        options["token"] = options["token"].decode("latin-1")
    return Settings(**{name: value for name, value in options.items() if value is not None})


def serve(
    models: Annotated[
        list[str] | None, typer.Argument(metavar="MODEL...", help="trained models (.safetensors)")
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="open the page in the browser")] = False,
    json_: Json = False,
    **options: Any,
) -> None:
    """Serve models over HTTP on this machine, with a page that shows them at work."""
    check_installed()
    from elman.serve import server

    runs = options["runs"]
    if not models and runs is None:
        raise OptionError("MODEL", got="nothing", expected="a trained model, or --runs FOLDER")
    settings, loaded = _settings(options), _load_models(models or ())

    def ready(settings: Settings) -> None:
        url = server.page_url(settings)
        if json_:
            print_json({"url": url, "models": [*loaded], "runs": runs and str(runs)})
        else:
            typer.echo(f"serving {', '.join(map(printable, loaded)) or printable(runs)} on {url}")
        # The server answers only under names that it knows, and "any address" is none.
        if is_any(settings.host) and not settings.allow_hosts:
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
        models[name] = load(path).predictor
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


with_parameters(serve, _parameters())
