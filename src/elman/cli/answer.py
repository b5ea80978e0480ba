"""The commands that use or measure a trained model: generate, evaluate, score."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from elman._errors import OptionError
from elman.cli._app import REAL, WHOLE, Json, ModelFile, app, load, print_json
from elman.cli._asked import (
    Columns,
    Id,
    Label,
    Output,
    Overlap,
    Plot,
    Text,
    Time,
    complain_of_tokens,
    complain_of_unknown,
    places_of,
    read_new_rows,
    save_figure,
)
from elman.cli._sources import Decimal, Encoding, Header, read_examples, write_answers

__all__ = ["evaluate", "generate", "score"]


@app.command("generate")
def generate(
    model: ModelFile,
    prompt: Annotated[str, typer.Option(help="text to go on from")] = "",
    n: Annotated[int, typer.Option("-n", **WHOLE, help="number of new words or characters")] = 200,
    temperature: Annotated[
        float, typer.Option(**REAL, help="0 always takes the most probable")
    ] = 1.0,
    top_k: Annotated[
        int | None, typer.Option(**WHOLE, help="choose among the k most probable")
    ] = None,
    top_p: Annotated[
        float | None, typer.Option(**REAL, help="choose among the most probable with this sum")
    ] = None,
    beam: Annotated[
        int | None,
        typer.Option(**WHOLE, help="search this many texts at once for the most probable"),
    ] = None,
    seed: Annotated[int | None, typer.Option(**WHOLE, help="the same seed, the same text")] = None,
    json_: Json = False,
) -> None:
    """Write new text, printed as it comes."""
    predictor = load(model, "language")
    complain_of_tokens(predictor, prompt)
    if beam is not None:
        text, log_probability = predictor.beam(prompt, n=n, width=beam)[0]
        if json_:
            print_json({"prompt": prompt, "text": text, "log_probability": log_probability})
        else:
            from elman._display import write_text

            write_text([prompt, text, "\n"])
        return
    pieces = predictor.generate_pieces(
        prompt, n, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed
    )
    if json_:
        print_json({"prompt": prompt, "text": "".join(pieces), "seed": seed})
    else:
        from elman._display import write_text

        write_text([prompt])
        write_text(pieces)
        write_text(["\n"])


@app.command("evaluate")
def evaluate(
    model: ModelFile,
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="texts, or a table as in training")
    ],
    encoding: Encoding = None,
    decimal: Decimal = None,
    header: Header = None,
    text: Text = None,
    label: Label = None,
    columns: Columns = None,
    id_column: Id = None,
    time_column: Time = None,
    train: Annotated[
        list[str] | None,
        typer.Option(help="what was trained on: plain models of it are fitted and measured too"),
    ] = None,
    metric: Annotated[
        str,
        typer.Option(
            metavar="accuracy|macro_f1|macro_recall", help="by which a classifier is compared"
        ),
    ] = "accuracy",
    windows: Annotated[
        int | None, typer.Option(**WHOLE, help="forecasts of each series at most, the last ones")
    ] = None,
    step: Annotated[
        int | None, typer.Option(**WHOLE, help="steps between two forecasts (the horizon)")
    ] = None,
    overlap: Overlap = "error",
    plot: Plot = None,
    plot_calibration: Annotated[
        str | None, typer.Option(help="a picture of a classifier's or tagger's calibration")
    ] = None,
    json_: Json = False,
) -> None:
    """Measure a model on new data, beside plain models that any network should beat."""
    predictor = load(model)
    task = predictor.model.config.task
    if plot_calibration is not None and task not in ("classify", "tag"):
        got, expected = f"a model for {task}", "one for classify or tag"
        raise OptionError("--plot-calibration", got=got, expected=expected)
    how = {"encoding": encoding, "decimal": decimal, "header": header}
    if task == "language":
        report = predictor.evaluate([Path(file) for file in files], encoding=encoding)
    elif task == "forecast":
        if len(files) != 1:
            raise OptionError("FILE", got=f"{len(files)} files", expected="one table of new rows")
        rows = read_new_rows(predictor, files[0], **how)
        report = predictor.evaluate(rows, windows=windows, step=step, overlap=overlap)
        if plot is not None:
            save_figure(predictor.update(rows, overlap=overlap).predict().plot(), plot)
    else:
        places = places_of(
            predictor,
            text=text,
            label=label,
            columns=columns,
            id_column=id_column,
            time_column=time_column,
        )
        data = read_examples(files, task, places, **how)
        complain_of_unknown(predictor.unknown_share(data[0]))
        beside: dict[str, Any] = {"beside": _plain(predictor, train, data, places, metric)}
        if task == "classify":
            beside["metric"] = metric
        report = predictor.evaluate(*data, **beside)
        if plot is not None and task == "regress":
            from elman import plots

            save_figure(plots.scatter(data[1], predictor.predict(data[0])), plot)
        elif plot is not None:
            save_figure(report.plot(), plot)
        if plot_calibration is not None:
            save_figure(report.plot(calibration=True), plot_calibration)
    if json_:
        print_json(report.to_dict())
    else:
        typer.echo(str(report))


def _plain(
    predictor: Any,
    train: list[str] | None,
    data: tuple[Any, list[Any]],
    places: dict[str, Any],
    metric: str,
) -> Any:
    """Return what plain models reach on `data`, fitted on the files `train`; nothing without them."""
    if train is None:
        return ()
    from elman import estimators

    task = predictor.model.config.task
    wing = estimators.training()
    weight = "balanced" if metric == "macro_recall" else None
    training = wing.Labelled(*read_examples(train, task, places))
    return wing.compare(task, training, wing.Labelled(*data), predictor.model.codec.labels, weight)


@app.command("score")
def score(
    model: ModelFile,
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...", help="a sequence or log line a line; - is standard input"
        ),
    ],
    measure: Annotated[
        str,
        typer.Option(
            metavar="max|top|mean|total",
            help="a line's score: its most surprising token, the mean of three, of all, the sum",
        ),
    ] = "max",
    top: Annotated[int, typer.Option("-n", "--top", **WHOLE, help="lines to show, 0 for all")] = 20,
    steps: Annotated[
        bool, typer.Option("--steps", help="show the surprise of each of their tokens")
    ] = False,
    encoding: Encoding = None,
    output: Output = None,
    json_: Json = False,
) -> None:
    """Rank the lines of files by how surprising they are to a language model."""
    from elman.runtime.surprise import rank_lines

    predictor = load(model, "language")
    paths = [Path(file) for file in files]
    ranking = rank_lines(predictor, paths, measure=measure, top=top or None, encoding=encoding)
    if output is not None:
        rows = ranking.to_rows()
        write_answers(
            {name: [row[name] for row in rows] for name in rows[0]} if rows else {}, output, json_
        )
    elif json_:
        print_json(ranking.to_dict(steps))
    else:
        typer.echo(str(ranking))
        for row in ranking.rows if steps else ():
            typer.echo(f"\nrank {row.rank}, line {row.surprise.line}\n{row.surprise}")
