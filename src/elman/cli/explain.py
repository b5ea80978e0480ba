"""Command that explains an answer of a trained model."""

from __future__ import annotations

from typing import Annotated

import typer

from elman.cli.app import Json, ModelFile, check_source, load
from elman.cli.printing import show, write_pictures
from elman.cli.task_options import check_options, given, with_task_options


@with_task_options
def explain(
    model: ModelFile,
    text: Annotated[
        str | None,
        typer.Argument(
            metavar="[TEXT]",
            help="the input of the answer: a text, or a file: a text, texts a line, a table or .ts of "
            "sequences, rows of series; - is standard input; for a forecaster also the name of a series that "
            "it knows",
        ),
    ] = None,
    json_: Json = False,
    **options: str | float | list[str] | None,
) -> None:
    """Show how much each input contributed to an answer, and test that explanation."""
    task, values = load(model), given(options)
    check_options("explain", type(task), values)
    check_source(task.predictor, text, "TEXT")
    result = task.explain(text, values)
    write_pictures(result.pictures, values)
    show(result.printed, json_)
