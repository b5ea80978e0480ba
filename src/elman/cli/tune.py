"""Command that compares configurations in a race, and trains the best one to its end."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from elman.cli.app import Json
from elman.cli.option_names import as_typed
from elman.cli.printing import print_json
from elman.cli.task_options import given, with_task_options
from elman.cli.train import HelpAll, OutputFile, TaskName, checked_task
from elman.errors import OptionError, needs_torch
from elman.training.options import seconds

DEFAULT_TUNING_TIME = "30m"


@with_task_options
def tune(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="training data, as for `elman train`")
    ],
    task_name: TaskName = None,
    output: OutputFile = "model.safetensors",
    resume: Annotated[
        bool, typer.Option("--resume", help="continue an interrupted tuning")
    ] = False,
    help_all: HelpAll = False,  # noqa: ARG001 - its callback shows the help
    json_: Json = False,
    **options: str | float | list[str] | None,
) -> None:
    """Compare configurations for a quarter of the time, then train the best one for the rest (default: 30m).

    The defaults always take part. Options that are given stay as they are in all configurations.
    """
    from elman.files.model import check_output
    from elman.training.progress import TrainingDisplay

    with needs_torch():
        from elman.training.tuning import Tuning

    values = dict(given(options))
    task, _ = checked_task(task_name, files, values)
    time = str(values.pop("time", DEFAULT_TUNING_TIME))
    for name in ("epochs", "steps"):
        if name in values:
            raise OptionError(f"--{name}", got="it in a tuning", expected="--time")
    check_output(Path(output))
    train = partial(task.train, files)
    data = {"task": task.name, "files": files}
    tuning = Tuning(train, values, task.variations, seconds(time), Path(output), data)
    with TrainingDisplay(
        task.display_type(), to_stderr=json_, output=output, wording=as_typed
    ) as display:
        outcome = tuning.run(resume=resume, say=display.say, watch=display.watch)
        card = dict(outcome.model.card)
        display.finish(outcome.stopped, card)
    if json_:
        shown = {"model": output, "stopped": outcome.stopped, "card": card}
        print_json(shown | {"tuning": tuning.table()})
    if outcome.stopped == "interrupted":
        raise typer.Exit(130)
