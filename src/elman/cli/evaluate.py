"""Command that measures a trained model on new data."""

from __future__ import annotations

from typing import Annotated

import typer

from elman.cli.app import Json, ModelFile, load
from elman.cli.printing import show, write_pictures
from elman.cli.task_options import check_options, given, with_task_options


@with_task_options
def evaluate(
    model: ModelFile,
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="texts, or a table as in training")
    ],
    json_: Json = False,
    **options: str | float | list[str] | None,
) -> None:
    """Measure a model on new data, beside plain models that any network should beat.

    Columns of a table that no option names are those of training.
    """
    task, values = load(model), given(options)
    check_options("evaluate", type(task), values)
    result = task.evaluate(files, values)
    # A picture that cannot be written is an error, so write it before a report tells of success.
    write_pictures(result.pictures, values)
    show(result.printed, json_)
