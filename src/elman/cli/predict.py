"""Command that asks a trained model for predictions."""

from __future__ import annotations

from typing import Annotated

import typer

from elman.cli.app import Json, ModelFile, check_source, load
from elman.cli.printing import Output, show_ranking, write_answers, write_pictures
from elman.cli.task_options import check_options, given, with_task_options


@with_task_options
def predict(
    model: ModelFile,
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[TEXT|FILE|-]",
            help="a text to go on from; or a file: a text a line, a tag file, a table of sequences, new rows "
            "of series; - is standard input, read as a file is",
        ),
    ] = None,
    output: Output = None,
    json_: Json = False,
    **options: str | float | list[str] | None,
) -> None:
    """Answer by the model's task: the next words, a label, a number, tags, or the next values of series.

    Columns of a table that no option names are those of training.
    """
    task, values = load(model), given(options)
    # A forecaster holds its series in the model, so that it needs no source.
    check_source(task.predictor, source, "TEXT")
    check_options("predict", type(task), values)
    answers = task.predict(source, values, as_table=json_ or output is not None)
    if answers.table is not None:
        write_answers(answers.table, output, json_)
    # Each ranking is computed when it is printed, so that lines of a pipe are answered as they come.
    for ranking in answers.rankings:
        show_ranking(ranking, json_)
    write_pictures(answers.pictures, values)
