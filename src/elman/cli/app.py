"""Command line: the application, options and checks that commands share, and exit codes."""

from __future__ import annotations

import inspect
import io
import json
import sys
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, TextIO, TypeVar, overload

import typer

from elman.errors import (
    DataWarning,
    ElmanError,
    InputError,
    KernelWarning,
    OptionError,
    OutputError,
    message,
)

if TYPE_CHECKING:
    from elman.inspect.predictor import Predictor
    from elman.task_types import Printable
    from elman.tasks import Task


app = typer.Typer(
    name="elman",
    help="Train recurrent networks on your own sequences and use them.",
    no_args_is_help=True,
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
# Base of all errors about the command line; typer does not export it.
UsageError: type[Exception] = typer.BadParameter.__bases__[0]


def _parsed(read: Callable[[str], Any], expected: str, metavar: str) -> dict[str, Any]:
    """Return typer's arguments for an option that `read` parses; an error says what is `expected`."""

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


INTEGER = _parsed(int, "a whole number", "INTEGER")
NUMBER = _parsed(float, "a number", "NUMBER")
SVG_FILE, PICTURE_FILE = _file(".svg"), _file(".svg", ".png")
TABLE_FILE = _file(".csv", ".tsv", ".jsonl", ".parquet", ".txt", ".ndjson", ".json", "-")
PARSERS: dict[Any, dict[str, Any]] = {int: INTEGER, float: NUMBER}


def print_json(value: Any) -> None:
    """Write `value` as one line of JSON to standard output."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        # The text has a lone surrogate, or the terminal's encoding lacks a character: escape all but ASCII.
        text = json.dumps(value, allow_nan=False)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def show(result: Printable, json_: bool) -> None:
    """Print a result: as JSON, or as text with its warnings on standard error."""
    if json_:
        print_json(result.to_dict())
        return
    if notes := getattr(result, "warnings", ()):
        for warning in notes:
            complain(warning)
        # The text of a result repeats its warnings, in the names of Python's arguments.
        result = replace(result, warnings=())
    typer.echo(str(result))


P = TypeVar("P", bound="Predictor")


@overload
def load(path: str) -> tuple[Predictor, Task[Any, Any]]: ...
@overload
def load(path: str, kind: type[P]) -> tuple[P, Task[Any, Any]]: ...
def load(path: str, kind: type[Any] | None = None) -> tuple[Any, Task[Any, Any]]:
    """Return the predictor of a model file and its task; raises InputError unless it is of this `kind`."""
    import elman
    from elman.tasks import TASKS, task_of

    predictor = elman.load(path)
    task = task_of(predictor.model)
    if kind is not None and not isinstance(predictor, kind):
        names = [name for name, other in TASKS.items() if other.predictor_type() is kind]
        expected = f"one for {' or '.join(names)}"
        raise InputError(f"{path} is a model for {task.name}", expected=expected)
    return predictor, task


def check_source(predictor: Predictor, source: str | None, name: str) -> None:
    """Raise OptionError where the argument `name` is missing, but the model holds no input to read."""
    if source is None and not predictor.holds_input:
        expected = f"what a model for {predictor.model.config.task} reads"
        raise OptionError(name, got="nothing", expected=expected)


def check_task_options(command: str, task: Task[Any, Any], **options: object) -> None:
    """Raise OptionError for an option of a command that has a value, but that the task does not have.

    Args:
        command: "predict", "evaluate" or "explain".
        task: the task of the model.
        options: the options that not all tasks have; None, False and () stand for no value.
    """
    from elman.tasks import TASKS

    attribute = f"{command}_options"
    for name, value in options.items():
        if value not in (None, False, ()) and name not in getattr(task, attribute):
            others = [other for other in TASKS if name in getattr(TASKS[other], attribute)]
            flag = "--" + name.replace("_", "-")
            expected = f"one for {' or '.join(others)}"
            raise OptionError(flag, got=f"a model for {task.name}", expected=expected)


def with_options(function: Callable[..., None], options: Mapping[str, Any]) -> Callable[..., None]:
    """Return `function` with options in place of its ``**`` parameter.

    Args:
        function: a command.
        options: typer's annotations of the options by name.
    """
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
    """Write a line to standard error, with options as they are typed in the shell."""
    from elman.cli.option_names import as_typed

    sys.stderr.write(f"elman: {as_typed(text)}\n")


def _show_warning(
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
    """Return a space and the command among the arguments, or "" where they name none."""
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
    """Train recurrent networks on your own sequences and use them."""


def _complain_of(error: Exception, arguments: list[str]) -> int:
    """Write one line that says what went wrong, and return the exit code."""
    if isinstance(error, ElmanError):
        complain(str(error))
        return error.exit_code
    if isinstance(error, UsageError):
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()  # type: ignore[attr-defined]
            return 2
        text = error.format_message()  # type: ignore[attr-defined]
        remedy = f"`elman{_command(arguments)} --help` lists commands and options"
        is_question = text.endswith("?")
        complain(f"{text} {remedy}" if is_question else message(text.rstrip("."), remedy=remedy))
        return 2
    if isinstance(error, OSError):
        what = "standard output" if error.filename is None else str(error.filename)
        complain(message(f"cannot read or write {what}", got=error.strerror or error))
        # The rest of the buffer cannot be written either. Drop it, or Python would end with another code.
        with suppress(OSError):
            sys.stdout.close()
        return OutputError.exit_code
    # torch reports a lack of memory as a RuntimeError with one of these texts.
    words = ("not enough memory", "can't allocate memory", "out of memory")
    if isinstance(error, MemoryError) or any(part in str(error).lower() for part in words):
        remedy = "choose a smaller --hidden-size or --batch-size"
        complain(message("out of memory", remedy=remedy))
        return InputError.exit_code
    complain(message(f"{type(error).__name__}: {error}", remedy="--debug shows the traceback"))
    return 1


def main(arguments: list[str] | None = None) -> None:
    """Run the command and end the process with its exit code.

    The code is 0 for success, 2 for bad input or an output that cannot be written, 3 for a training run that
    diverged, and 130 after an interruption by Ctrl-C or SIGTERM.
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
            warnings.showwarning = _show_warning
            code = app(arguments, prog_name="elman", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        complain("interrupted")
        code = 130
    except SystemExit as left:
        # typer exits like this when the reader of the output has closed it, as `head` does.
        code = 0 if isinstance(left.__context__, BrokenPipeError) else left.code
    except Exception as error:
        if debug:
            raise
        code = _complain_of(error, arguments)
    sys.exit(code)
