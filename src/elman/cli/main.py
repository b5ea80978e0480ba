"""Run of a command: its warnings and errors as one line each, and its exit code."""

from __future__ import annotations

import io
import sys
import warnings
from contextlib import suppress
from typing import TextIO

import typer

from elman.cli.app import complain
from elman.cli.commands import application, command_of
from elman.errors import DataWarning, ElmanError, InputError, KernelWarning, OutputError, message

# Base of all errors about the command line; typer does not export it.
UsageError: type[Exception] = typer.BadParameter.__bases__[0]


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,  # noqa: ARG001 - the signature of warnings.showwarning
    line: str | None = None,
) -> None:
    """Show Elman's own warnings as one line, and any other warning as Python does."""
    # Warnings of other packages keep their file and line, which a bug report needs.
    if issubclass(category, (DataWarning, KernelWarning)):
        complain(str(message))
    else:
        sys.stderr.write(warnings.formatwarning(message, category, filename, lineno, line))


def _complain_of(error: Exception, arguments: list[str]) -> int:
    """Write one line that says what went wrong, and return the exit code."""
    if isinstance(error, ElmanError):
        complain(str(error))
        return error.exit_code
    if isinstance(error, UsageError):
        # `elman` without arguments is such an error, whose text is the help.
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()  # type: ignore[attr-defined]
            return 2
        text = error.format_message()  # type: ignore[attr-defined]
        name = command_of(arguments)
        remedy = f"`elman {f'{name} ' if name else ''}--help` lists commands and options"
        # click asks "Did you mean …?" at the end of a message about an unknown name.
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
    # A terminal may lack characters of the user's text; print a question mark in their place.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        with warnings.catch_warnings():
            # Python shows a repeated warning once, but two files may have the same fault.
            warnings.simplefilter("always", DataWarning)
            warnings.showwarning = _show_warning
            run = application(command_of(arguments))
            code = run(arguments, prog_name="elman", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        complain("interrupted")
        code = 130  # 128 and the number of the signal, as shells report it
    except SystemExit as left:
        # typer exits like this when the reader of the output has closed it, as `head` does.
        code = 0 if isinstance(left.__context__, BrokenPipeError) else left.code
    except Exception as error:
        if debug:
            raise  # Python then prints the traceback
        code = _complain_of(error, arguments)
    sys.exit(code)
