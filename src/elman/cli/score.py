"""Command that ranks lines by how surprising they are to a language model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from elman.cli.app import Json, ModelFile
from elman.cli.printing import Output, print_json, show, write_answers
from elman.cli.task_options import INTEGER, given, with_options
from elman.task_types import EncodingOptions
from elman.training.options import answering


@dataclass(frozen=True, kw_only=True)
class ScoreOptions(EncodingOptions):
    """Options of the command `score`."""

    measure: Literal["peaks", "max", "top", "mean", "total"] = answering(
        "peaks",
        "score of a line: the surprise of its most surprising token, raised by further ones (peaks) or alone "
        "(max), the mean of its three most surprising tokens, the mean or the sum of all its tokens",
    )
    steps: bool = answering(False, "show the surprise of every token of these lines")
    normal: tuple[str, ...] | None = answering(
        None,
        "file of normal lines: count the lines that score above 98 % of these, and those that a plain "
        "detector reports, because no normal line has the same tokens equally often",
    )
    labels: str | None = answering(
        None,
        "file with 0 (normal) or 1 (unusual) for each line of FILE: show precision, recall and F1; needs "
        "--normal",
    )


@with_options(ScoreOptions)
def score(
    model: ModelFile,
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="files with a sequence or log entry a line; - is standard input",
        ),
    ],
    top: Annotated[
        int, typer.Option("-n", "--top", **INTEGER, help="lines to show, 0 for all")
    ] = 20,
    output: Output = None,
    json_: Json = False,
    **values: str | list[str] | None,
) -> None:
    """Rank the lines of files by how surprising they are to a language model."""
    import elman
    from elman.language.detection import read_labels
    from elman.language.ranking import rank_lines

    predictor = elman.load(model, kind=elman.LanguagePredictor)
    options, paths = ScoreOptions.from_values(given(values)), [Path(file) for file in files]
    ranking = rank_lines(
        predictor,
        paths,
        measure=options.measure,
        top=top or None,
        encoding=options.encoding,
        normal=options.normal and [Path(file) for file in options.normal],
        labels=options.labels and read_labels(options.labels),
    )
    if output is not None:
        rows = ranking.to_rows()
        # An empty file has no rows; the table then has no columns either.
        columns = {name: [row[name] for row in rows] for name in rows[0]} if rows else {}
        write_answers(columns, output, json_)
    elif json_:
        print_json(ranking.to_dict(options.steps))
    else:
        show(ranking, json_)
        for row in ranking.rows if options.steps else ():
            typer.echo(f"\nrank {row.rank}, line {row.surprise.line}\n{row.surprise}")
