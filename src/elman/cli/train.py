"""Command that trains a network for any task, with the options of all tasks."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elman.cli.app import Json
from elman.cli.option_names import as_typed
from elman.cli.printing import print_json
from elman.cli.suggestion import likely_command
from elman.cli.task_options import check_options, given, show_all_help, with_task_options
from elman.errors import OptionError
from elman.serve import check_installed
from elman.tasks import TASKS, task_of

if TYPE_CHECKING:
    from elman.files.model import Model
    from elman.task_types import Task
    from elman.training.options import Values


TaskName = Annotated[
    str | None,
    typer.Option(
        "--task",
        metavar="TASK",
        is_eager=True,
        help="task (default: guessed); with --help, explain its options",
    ),
]
OutputFile = Annotated[
    str, typer.Option("-o", "--output", metavar="MODEL", help="file to write the model to")
]
HelpAll = Annotated[
    bool,
    typer.Option("--help-all", is_eager=True, callback=show_all_help, help="explain all options"),
]


def guess_task(
    name: str | None, files: list[str], values: Values, trained: Model | None = None
) -> tuple[type[Task], str]:
    """Return the task that ``--task``, a trained model or the command names, and the reason in words.

    >>> task, reason = guess_task(None, ["prices.csv"], {"horizon": 10})
    >>> task.name, reason
    ('forecast', '--horizon')
    """
    if name is not None:
        if name not in TASKS:
            raise OptionError("--task", got=name, expected="one of " + ", ".join(TASKS))
        return TASKS[name], "--task"
    if trained is not None:
        return task_of(trained), "--from"
    # The order of the registry decides: options of labels win over those that series share with them.
    for task in TASKS.values():
        if reason := task.guess(files, values):
            return task, reason
    return next(iter(TASKS.values())), ""


@with_task_options
def train(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...", help="texts or folders; tables: .csv .tsv .parquet .jsonl .ts -"
        ),
    ],
    task_name: TaskName = None,
    output: OutputFile = "model.safetensors",
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="MODEL",
            help="trained model to train further on FILE",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="continue an interrupted run")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="show the progress of training in the browser")
    ] = False,
    help_all: HelpAll = False,  # noqa: ARG001 - its callback shows the help
    json_: Json = False,
    **options: str | float | list[str] | None,
) -> None:
    """Train a network on files until the budget of time, epochs or steps is used up.

    The task is language for texts; classify, regress or tag for labelled sequences; forecast for series.
    """
    from elman.files.model import check_output
    from elman.training.continuation import adopted
    from elman.training.journal import Run
    from elman.training.progress import TrainingDisplay

    values = given(options)
    trained = None if start is None else _trained(start, output)
    task, reason = checked_task(task_name, files, values, trained)
    if trained is not None:
        values = adopted(task.options, values, task.name, trained)
    check_output(Path(output))
    with ExitStack() as stack:
        display = stack.enter_context(
            TrainingDisplay(task.display_type(), to_stderr=json_, output=output, wording=as_typed)
        )
        # Of several processes under torchrun only the first one prints and serves the page.
        if watch and display.leads:
            display.say(f"the run as it goes on: {_open(stack, Path(output), resume)}", "bold")
        if reason != "--task":
            display.say(f"task {task.name}" + (f", as {reason} says" if reason else ""))
        run = Run(Path(output), resume, display.watch, trained)
        outcome = task.train(files, values, run)
        card = dict(outcome.model.card)
        display.finish(outcome.stopped, card)
    if json_ and display.leads:
        print_json({"model": output, "stopped": outcome.stopped, "card": card})
    # The best network so far is saved, but a script must see that the run did not end by itself.
    if outcome.stopped == "interrupted":
        raise typer.Exit(130)


def checked_task(
    name: str | None, files: list[str], values: Values, trained: Model | None = None
) -> tuple[type[Task], str]:
    """Return the task and its reason, after a check of the options, before the data are read."""
    task, reason = guess_task(name, files, values, trained)
    # A table without any option about its columns is more likely a mistake than a text.
    if not reason and (likely := likely_command(files)):
        raise OptionError("--task", got="nothing for a table", remedy=likely)
    check_options("train", task, values)
    task.options.from_values(values)
    return task, reason


def _trained(start: str, output: str) -> Model:
    """Return the model to train further; raises ModelFileError, OptionError."""
    from elman.files.model import Model

    # A run that is interrupted writes its model, and could not be resumed from another one.
    if Path(start).exists() and Path(output).exists() and Path(start).samefile(output):
        raise OptionError("--output", got="the model of --from", expected="another file")
    return Model.load(start)


def _open(stack: ExitStack, output: Path, resume: bool) -> str:
    """Serve the page of training until `stack` ends and return its address; open it where a display is."""
    check_installed()
    from elman.serve.training_page import training_page

    # The page reads the events that the trainer appends to this file.
    journal = output.with_suffix(".run.jsonl")
    url = stack.enter_context(training_page(journal, resume=resume))
    # A server without a display has no browser to open, so print the address alone.
    if sys.platform in ("darwin", "win32") or {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ):
        import webbrowser

        webbrowser.open(url)
    return url
