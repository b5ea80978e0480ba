"""Command line: the application, and options and checks that commands share."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from elman.errors import OptionError

if TYPE_CHECKING:
    from elman.inspect.predictor import Predictor
    from elman.task_types import Task


app = typer.Typer(
    name="elman",
    help="Train recurrent networks on your own sequences and use them.",
    no_args_is_help=True,
    # Errors are one line, which `main` writes.
    pretty_exceptions_enable=False,
    epilog="Every command takes --debug, which shows the traceback of an error.",
)

Json = Annotated[
    bool,
    typer.Option(
        "--json", help="print one JSON object to standard output, all else to standard error"
    ),
]
ModelFile = Annotated[str, typer.Argument(metavar="MODEL", help="a trained model (.safetensors)")]


def load(path: str) -> Task:
    """Return the task of a model file, with the predictor of the model."""
    # Reading a model needs numpy, which would make `elman --help` slow.
    import elman
    from elman.tasks import task_of

    predictor = elman.load(path)
    return task_of(predictor.model)(predictor)


def check_source(predictor: Predictor, source: str | None, name: str) -> None:
    """Raise OptionError where the argument `name` is missing, but the model holds no input to read."""
    if source is None and not predictor.holds_input:
        expected = f"what a model for {predictor.model.config.task} reads"
        raise OptionError(name, got="nothing", expected=expected)


def complain(text: str) -> None:
    """Write a line to standard error, with options as they are typed in the shell."""
    from elman.cli.option_names import as_typed

    sys.stderr.write(f"elman: {as_typed(text)}\n")


def _version(asked: bool) -> None:
    if asked:
        from elman._version import __version__

        typer.echo(f"elman {__version__}")
        raise typer.Exit


@app.callback()
def _everywhere(
    version: Annotated[
        bool, typer.Option("--version", help="print the version", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Train recurrent networks on your own sequences and use them."""
