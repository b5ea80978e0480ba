"""The command line itself: the table of commands, what they share, and how they end."""

from __future__ import annotations

import inspect
import io
import json
import sys
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Annotated, Any, TextIO

import typer

from elman.errors import DataWarning, ElmanError, InputError, KernelWarning, OutputError, message

__all__ = [
    "ANSWERS",
    "PARSERS",
    "PICTURE",
    "REAL",
    "SVG",
    "WHOLE",
    "Json",
    "ModelFile",
    "app",
    "complain",
    "load",
    "main",
    "print_json",
    "show",
    "with_options",
]

app = typer.Typer(
    name="elman",
    help="Train recurrent networks on your own sequences and ask them for more.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    epilog="Every command takes --debug: the whole traceback of an error.",
)

Json = Annotated[
    bool,
    typer.Option("--json", help="one JSON object to standard output, all else to standard error"),
]
ModelFile = Annotated[str, typer.Argument(metavar="MODEL", help="a trained model (.safetensors)")]
# of every error in the words of the command line; typer keeps its name private
UsageError: type[Exception] = typer.BadParameter.__bases__[0]


def _parsed(read: Callable[[str], Any], expected: str, metavar: str) -> dict[str, Any]:
    """Return how typer is to read an option: what `read` returns, or `expected` in the error."""

    def parser(text: str) -> Any:
        try:
            return read(text)
        except ValueError:
            raise typer.BadParameter(f"got {text}; expected {expected}") from None

    return {"parser": parser, "metavar": metavar}


def _file(*suffixes: str) -> dict[str, Any]:
    def read(text: str) -> str:
        if not text.lower().endswith(suffixes):
            raise ValueError(text)
        return text

    return _parsed(read, f"a name that ends in {' or '.join(suffixes)}", "FILE")


WHOLE = _parsed(int, "a whole number", "INTEGER")
REAL = _parsed(float, "a number", "NUMBER")
SVG, PICTURE = _file(".svg"), _file(".svg", ".png")
ANSWERS = _file(".csv", ".tsv", ".jsonl", ".parquet", ".txt", ".ndjson", ".json", "-")
PARSERS: dict[Any, dict[str, Any]] = {int: WHOLE, float: REAL}


def print_json(value: Any) -> None:
    """Write `value` as one line of JSON to standard output."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:  # lone surrogates, or a terminal that knows few characters
        text = json.dumps(value, allow_nan=False)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def show(found: Any, json_: bool) -> None:
    """Print an answer: what its `to_dict` returns as JSON, or its text for a person."""
    if json_:
        print_json(found.to_dict())
        return
    # What was odd about the data is said in the command's words, beside the answer.
    if warned := getattr(found, "warnings", ()):
        for warning in warned:
            complain(warning)
        found = replace(found, warnings=())
    typer.echo(str(found))


def load(path: str, *tasks: str) -> Any:
    """Return the predictor of a model file, of one of `tasks` where they are named."""
    import elman

    predictor = elman.load(path)
    task = predictor.model.config.task
    if tasks and task not in tasks:
        raise InputError(
            f"{path} is a model for {task}", expected=f"one for {' or '.join(tasks)} here"
        )
    return predictor


def with_options(function: Callable[..., None], options: Mapping[str, Any]) -> Callable[..., None]:
    """Return `function`, whose ``**`` parameter is replaced by options, typer's annotations by name."""
    *own, _ = inspect.signature(function, eval_str=True).parameters.values()
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        *own,
        *(
            inspect.Parameter(name, keyword, default=None, annotation=options[name])
            for name in options
        ),
    ]
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return function


def complain(text: str) -> None:
    """Say one line to standard error, its options as the command has them."""
    from elman.cli.option_names import as_typed

    sys.stderr.write(f"elman: {as_typed(text)}\n")


def _show(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,  # noqa: ARG001 - the signature of warnings.showwarning
    line: str | None = None,
) -> None:
    """Show Elman's own warnings as one line, and any other warning as Python does."""
    if issubclass(category, (DataWarning, KernelWarning)):
        complain(str(message))
    else:
        sys.stderr.write(warnings.formatwarning(message, category, filename, lineno, line))


def _command(arguments: list[str]) -> str:
    """Return the command among the arguments behind a space, or nothing where none is named."""
    names = {command.name for command in app.registered_commands}
    return next((f" {argument}" for argument in arguments if argument in names), "")


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
    """Train recurrent networks on your own sequences and ask them for more."""


def _complain_of(error: Exception, arguments: list[str]) -> int:
    """Say in one line what went wrong, and return the exit code."""
    if isinstance(error, ElmanError):
        complain(str(error))
        return error.exit_code
    if isinstance(error, UsageError):
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()  # type: ignore[attr-defined]
            return 2
        text = error.format_message()  # type: ignore[attr-defined]
        remedy = f"`elman{_command(arguments)} --help` lists what there is"
        asks = text.endswith("?")
        complain(f"{text} {remedy}" if asks else message(text.rstrip("."), remedy=remedy))
        return 2
    if isinstance(error, OSError):
        what = "standard output" if error.filename is None else str(error.filename)
        complain(message(f"cannot read or write {what}", got=error.strerror or error))
        # what is still in the buffer cannot be written either: drop it, so that Python ends with this code
        with suppress(OSError):
            sys.stdout.close()
        return OutputError.exit_code
    # torch says it in these words, as a RuntimeError
    words = ("not enough memory", "can't allocate memory", "out of memory")
    if isinstance(error, MemoryError) or any(part in str(error).lower() for part in words):
        complain(message("out of memory", remedy="a smaller --hidden-size or --batch-size"))
        return InputError.exit_code
    complain(message(f"{type(error).__name__}: {error}", remedy="--debug shows where"))
    return 1


def main(arguments: list[str] | None = None) -> None:
    """Run the command and leave with its exit code.

    0 is success, 2 bad input or an output that cannot be written, 3 a training that diverged, 130 an
    interruption by Ctrl-C or SIGTERM.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", DataWarning)
            warnings.showwarning = _show
            code = app(arguments, prog_name="elman", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        complain("interrupted")
        code = 130
    except SystemExit as left:
        # typer leaves so when the reader has gone, as `head` does
        code = 0 if isinstance(left.__context__, BrokenPipeError) else left.code
    except Exception as error:
        if debug:
            raise
        code = _complain_of(error, arguments)
    sys.exit(code)
