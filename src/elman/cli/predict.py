"""Commands that ask a trained model: predict, generate, evaluate, score."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal

import typer

from elman.cli.app import Json, ModelFile, check_source, load
from elman.cli.printing import print_json, show, show_ranking, write_answers, write_pictures
from elman.cli.task_options import (
    INTEGER,
    check_options,
    file_ending,
    given,
    with_options,
    with_task_options,
)
from elman.task_types import EncodingOptions
from elman.training.options import Options, answering

Output = Annotated[
    str | None,
    typer.Option(
        "-o",
        "--output",
        **file_ending(".csv", ".tsv", ".jsonl", ".parquet", ".txt", ".ndjson", ".json", "-"),
        help="file to write the answers to: .csv .tsv .jsonl .parquet (default: standard output)",
    ),
]


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


@dataclass(frozen=True, kw_only=True)
class GenerateOptions(Options):
    """Options of the command `generate`."""

    prompt: str = answering("", "text to go on from")
    n: int = answering(200, "number of new words or characters")
    temperature: float = answering(
        1.0, "below 1 favours probable words, above 1 rare ones; 0 takes the best"
    )
    top_k: int | None = answering(None, "draw from the k most probable (default: from all)")
    top_p: float | None = answering(
        None,
        "draw from the most probable whose probabilities add up to this (default: from all)",
    )
    beam: int | None = answering(
        None, "search for the most probable text with a beam of this width; draws nothing"
    )
    seed: int | None = answering(None, "the same seed gives the same text (default: random)")


@with_options(GenerateOptions)
def generate(model: ModelFile, json_: Json = False, **values: str | float | None) -> None:
    """Write new text, printed as it is generated."""
    import elman
    from elman.language.task import warn_of_unknown_tokens

    options = GenerateOptions.from_values(given(values))
    predictor = elman.load(model, kind=elman.LanguagePredictor)
    # The generator of warnings yields the prompt unchanged, and warns once it is exhausted.
    [prompt] = warn_of_unknown_tokens(predictor, [options.prompt])
    pieces: Iterable[str]
    facts: dict[str, str | float | None] = {"prompt": prompt}
    if options.beam is not None:
        # The beam is sorted by probability, the best text first.
        best = predictor.beam(prompt, n=options.n, width=options.beam)[0]
        pieces, facts["log_probability"] = [best[0]], best[1]
    else:
        facts["seed"] = options.seed
        pieces = predictor.generate_pieces(
            prompt,
            options.n,
            temperature=options.temperature,
            top_k=options.top_k,
            top_p=options.top_p,
            seed=options.seed,
        )
    if json_:
        print_json(facts | {"text": "".join(pieces)})
    else:
        from elman.training.formatting import write_text

        # Each piece is written and flushed at once, so that the text appears as the network draws it.
        write_text(chain([prompt], pieces, ["\n"]))


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
