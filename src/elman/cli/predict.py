"""Commands that ask a trained model: predict, generate, evaluate, score."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer

from elman.cli.app import (
    INTEGER,
    NUMBER,
    PICTURE_FILE,
    TABLE_FILE,
    Json,
    ModelFile,
    check_source,
    check_task_options,
    load,
    print_json,
    show,
    with_options,
)
from elman.cli.inputs import READING, pop_columns, pop_reading, write_answers, write_pictures
from elman.task_types import EvaluateRequest, PredictRequest, Ranking

Output = Annotated[
    str | None,
    typer.Option(
        "-o",
        "--output",
        **TABLE_FILE,
        help="file to write the answers to: .csv .tsv .jsonl .parquet (default: standard output)",
    ),
]
Overlap = Annotated[
    str,
    typer.Option(
        metavar="error|replace|keep",
        help="rows of series that the model already knows with another value: an error, replace the known "
        "value, or keep it (rows with equal values always pass)",
    ),
]
Plot = Annotated[
    str | None, typer.Option(**PICTURE_FILE, help="file to draw a picture to: .svg or .png")
]


def _column(help_: str) -> Any:
    return Annotated[str | None, typer.Option(help=f"{help_} (default: as in training)")]


COLUMNS = {
    "text": _column("column of texts"),
    "label": _column("column of labels"),
    "columns": _column("columns of numbers, with commas between them"),
    "id_column": _column("column that says which rows belong to one sequence"),
    "time_column": _column("column that orders the rows of a sequence"),
}
"""Options that name the columns of labelled sequences."""


def _predict(
    model: ModelFile,
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[TEXT|FILE|-]",
            help="a text to go on from; or a file: a text a line, a tag file, a table of sequences, new rows "
            "of series; - is standard input, read as a file is",
        ),
    ] = None,
    k: Annotated[
        int, typer.Option("-k", **INTEGER, help="number of words or labels to show, the best first")
    ] = 5,
    horizon: Annotated[
        int | None, typer.Option(**INTEGER, help="steps to forecast (default: as in training)")
    ] = None,
    future: Annotated[
        str | None, typer.Option(help="table of the columns that are known in advance")
    ] = None,
    overlap: Overlap = "error",
    point: Annotated[
        str,
        typer.Option(
            metavar="median|mean",
            help="column y_hat of a forecast: medians, or means, which can be added up",
        ),
    ] = "median",
    output: Output = None,
    plot: Plot = None,
    json_: Json = False,
    **options: Any,
) -> None:
    """Answer by the model's task: the next words, a label, a number, tags, or the next values of series."""
    predictor, task = load(model)
    check_source(predictor, source, "TEXT")
    check_task_options("predict", task, horizon=horizon, future=future, plot=plot)
    request = PredictRequest(
        source=source,
        reading=pop_reading(options),
        columns=pop_columns(options),
        count=k,
        as_table=json_ or output is not None,
        horizon=horizon,
        future=future,
        overlap=overlap,
        point=point,
    )
    answers = task.predict(predictor, request)
    if answers.table is not None:
        write_answers(answers.table, output, json_)
    for ranking in answers.rankings:
        _print_ranking(ranking, json_)
    if answers.picture is not None:
        write_pictures(answers.picture, plot=plot)


def _print_ranking(ranking: Ranking, json_: bool) -> None:
    if json_:
        print_json(ranking.details)
        return
    from elman.training.formatting import print_predictions

    print_predictions(ranking.text, [*ranking.shares])


def generate(
    model: ModelFile,
    prompt: Annotated[str, typer.Option(help="text to go on from")] = "",
    n: Annotated[
        int, typer.Option("-n", **INTEGER, help="number of new words or characters")
    ] = 200,
    temperature: Annotated[
        float,
        typer.Option(
            **NUMBER, help="below 1 favours probable words, above 1 rare ones; 0 takes the best"
        ),
    ] = 1.0,
    top_k: Annotated[
        int | None,
        typer.Option(**INTEGER, help="draw from the k most probable (default: from all)"),
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(
            **NUMBER,
            help="draw from the most probable whose probabilities add up to this (default: from all)",
        ),
    ] = None,
    beam: Annotated[
        int | None,
        typer.Option(
            **INTEGER,
            help="search for the most probable text with a beam of this width; draws nothing",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(**INTEGER, help="the same seed gives the same text (default: random)"),
    ] = None,
    json_: Json = False,
) -> None:
    """Write new text, printed as it is generated."""
    from elman.language.predictor import LanguagePredictor
    from elman.language.task import warn_of_unknown_tokens

    predictor, _ = load(model, LanguagePredictor)
    [prompt] = warn_of_unknown_tokens(predictor, [prompt])
    pieces: Iterable[str]
    more: dict[str, float | None]
    if beam is not None:
        text, log_probability = predictor.beam(prompt, n=n, width=beam)[0]
        pieces, more = [text], {"log_probability": log_probability}
    else:
        pieces = predictor.generate_pieces(
            prompt, n, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed
        )
        more = {"seed": seed}
    if json_:
        print_json({"prompt": prompt, "text": "".join(pieces)} | more)
    else:
        from elman.training.formatting import write_text

        write_text(chain([prompt], pieces, ["\n"]))


def _evaluate(
    model: ModelFile,
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="texts, or a table as in training")
    ],
    train: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="training data of the model: plain models are fitted to it and measured too",
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="accuracy|macro_f1|macro_recall|entity_f1",
            help="metric that compares the network with plain models (default: accuracy, or entity_f1 where "
            "tags mark entities)",
        ),
    ] = None,
    windows: Annotated[
        int | None,
        typer.Option(
            **INTEGER, help="forecasts of each series to measure, the last ones (default: all)"
        ),
    ] = None,
    step: Annotated[
        int | None,
        typer.Option(
            **INTEGER, help="steps between the starts of two forecasts (default: the horizon)"
        ),
    ] = None,
    overlap: Overlap = "error",
    plot: Plot = None,
    plot_calibration: Annotated[
        str | None,
        typer.Option(
            **PICTURE_FILE,
            help="file to draw the calibration of a classifier or tagger to: .svg or .png",
        ),
    ] = None,
    json_: Json = False,
    **options: Any,
) -> None:
    """Measure a model on new data, beside plain models that any network should beat."""
    predictor, task = load(model)
    check_task_options(
        "evaluate",
        task,
        train=train,
        metric=metric,
        windows=windows,
        step=step,
        plot=plot,
        plot_calibration=plot_calibration,
    )
    request = EvaluateRequest(
        files=files,
        reading=pop_reading(options),
        columns=pop_columns(options),
        train=train,
        metric=metric,
        windows=windows,
        step=step,
        overlap=overlap,
    )
    evaluated = task.evaluate(predictor, request)
    for name, path in {"plot": plot, "plot_calibration": plot_calibration}.items():
        if path is not None:
            from elman.draw import plots

            plots.save(evaluated.pictures[name](), Path(path))
    show(evaluated.report, json_)


def _score(
    model: ModelFile,
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="files with a sequence or log entry a line; - is standard input",
        ),
    ],
    measure: Annotated[
        str,
        typer.Option(
            metavar="max|top|mean|total",
            help="score of a line: the surprise of its most surprising token, the mean of its three most "
            "surprising tokens, the mean or the sum of all its tokens",
        ),
    ] = "max",
    top: Annotated[
        int, typer.Option("-n", "--top", **INTEGER, help="lines to show, 0 for all")
    ] = 20,
    steps: Annotated[
        bool, typer.Option("--steps", help="show the surprise of every token of these lines")
    ] = False,
    output: Output = None,
    json_: Json = False,
    **reading: Any,
) -> None:
    """Rank the lines of files by how surprising they are to a language model."""
    from elman.language.predictor import LanguagePredictor
    from elman.language.ranking import rank_lines

    predictor, _ = load(model, LanguagePredictor)
    paths = [Path(file) for file in files]
    ranking = rank_lines(predictor, paths, measure=measure, top=top or None, **reading)
    if output is not None:
        rows = ranking.to_rows()
        columns = {name: [row[name] for row in rows] for name in rows[0]} if rows else {}
        write_answers(columns, output, json_)
    elif json_:
        print_json(ranking.to_dict(steps))
    else:
        show(ranking, json_)
        for row in ranking.rows if steps else ():
            typer.echo(f"\nrank {row.rank}, line {row.surprise.line}\n{row.surprise}")


_SEQUENCES = {name: column for name, column in COLUMNS.items() if name != "label"}
predict = with_options(_predict, _SEQUENCES | READING)
evaluate = with_options(_evaluate, COLUMNS | READING)
score = with_options(_score, {"encoding": READING["encoding"]})
