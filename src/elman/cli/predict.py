"""The commands that ask a trained model: predict, generate, evaluate, score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, compress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elman.cli.app import (
    ANSWERS,
    PICTURE,
    REAL,
    WHOLE,
    Json,
    ModelFile,
    app,
    complain,
    load,
    print_json,
    show,
    with_options,
)
from elman.cli.inputs import (
    READING,
    argument_lines,
    file_sequences,
    is_file,
    places_of,
    read_examples,
    read_input,
    write_answers,
    write_pictures,
)
from elman.errors import OptionError, printable

if TYPE_CHECKING:
    from elman.language.predictor import LanguagePredictor
    from elman.series.forecast import Forecast
    from elman.series.predictor import ForecastPredictor

__all__ = ["generate"]

Output = Annotated[
    str | None,
    typer.Option(
        "-o", "--output", **ANSWERS, help="a file for the answers: .csv .tsv .jsonl .parquet"
    ),
]
Overlap = Annotated[
    str,
    typer.Option(
        metavar="error|replace|keep",
        help="rows of series that the model knows already with other values: an error, corrected, or "
        "kept as known (rows with equal values always pass)",
    ),
]
Plot = Annotated[str | None, typer.Option(**PICTURE, help="a picture: .svg or .png")]


def _place(help_: str) -> Any:
    return Annotated[str | None, typer.Option(help=f"{help_} (as in training)")]


PLACES = {
    "text": _place("column of texts"),
    "label": _place("column of labels"),
    "columns": _place("columns of numbers"),
    "id_column": _place("column that names the sequence"),
    "time_column": _place("column of their order"),
}
"""Where sequences stand in a table."""


def _unknown(predictor: LanguagePredictor, texts: Iterable[str]) -> Iterator[str]:
    """Yield `texts`; behind the last one say once for all which tokens are outside the vocabulary."""
    from elman.text.vocabulary import unknown_warning
    from elman.text.words import UNKNOWN_ID

    codec, names = predictor.model.codec, Counter[str]()
    lines = tokens = 0
    for lines, text in enumerate(texts, 1):  # noqa: B007 - the last number is their count
        yield text
        unknown = codec.encode(text) == UNKNOWN_ID
        names.update(compress(codec.tokenise(text), unknown.tolist()))
        tokens += len(unknown)
    if names:
        count = f" ({names.total():,} of {tokens:,} tokens in {lines:,} lines)" if lines > 1 else ""
        said = printable(", ".join(names), 400)
        complain(f"not in the vocabulary, read as <unk>: {said}{count}")
        for warning in unknown_warning(names.total(), tokens):
            complain(warning)


def _few_known(predictor: Any, sequences: Any) -> None:
    """Say where most of the tokens that a model is given are outside its vocabulary."""
    from elman.text.vocabulary import unknown_warning

    for warning in unknown_warning(*predictor.count_unknown(sequences)):
        complain(warning)


def _predict(
    model: ModelFile,
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[TEXT|FILE|-]",
            help="what came so far, a text, a file of a text a line, a tag file, a table of sequences "
            "or of new rows; - is standard input, read as a file would be",
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", **WHOLE, help="number of predictions")] = 5,
    horizon: Annotated[
        int | None, typer.Option(**WHOLE, help="steps to forecast (those of training)")
    ] = None,
    future: Annotated[
        str | None, typer.Option(help="table of the columns that are known in advance")
    ] = None,
    overlap: Overlap = "error",
    point: Annotated[
        str, typer.Option(metavar="median|mean", help="what y_hat is: means add up, medians do not")
    ] = "median",
    output: Output = None,
    plot: Plot = None,
    json_: Json = False,
    **given: Any,
) -> None:
    """Answer by the model's task: the next words, a label, a number, tags, or the next values of series."""
    predictor = load(model)
    task = predictor.model.config.task
    how = {name: given.pop(name) for name in READING}
    if task == "forecast":
        if source is not None:
            predictor.update(read_input(predictor, source, how), overlap=overlap)
        found = _forecast(predictor, horizon, future, point)
        write_answers(found.to_columns(), output, json_)
        write_pictures(found, plot=plot)
        return
    if source is None:
        raise OptionError("TEXT", got="nothing", expected=f"what a model for {task} is to read")
    if plot is not None:
        raise OptionError("--plot", got=f"a model for {task}", expected="one for forecast")
    if task == "language":
        _next(predictor, argument_lines(source, how["encoding"]), k, json_)
        return
    from elman.labels.read import TABLES, is_table
    from elman.text.encodings import STDIN, steady_file

    table = source == STDIN or is_table(source) or (is_file(source) and any(given.values()))
    if predictor.model.codec.scaler is not None and not table:
        expected = "a table, whose name ends in " + " ".join(TABLES)
        raise OptionError("what a model of numbers reads", got=source, expected=expected)
    answers: dict[str, Any] | list[str] = [source]
    if is_file(source):
        with steady_file(source) as (path, name):
            answers = _of_file(predictor, path, name, given, how)
    if isinstance(answers, list):
        _texts(predictor, answers, k, output, json_)
    else:
        write_answers(answers, output, json_)


def _next(predictor: LanguagePredictor, lines: Iterable[str], k: int, json_: bool) -> None:
    notes = []
    for line in _unknown(predictor, lines):
        predictions = predictor.predict_next(line, k)
        if json_:
            told: dict[str, Any] = {"text": line}
            told["predictions"] = [{"token": one, "probability": p} for one, p in predictions]
            told["unknown"] = list(predictor.unknown_tokens(line))
            print_json(told | {"unknown_probability": predictions.unknown_probability})
        else:
            from elman.text.words import UNKNOWN
            from elman.training.display import print_predictions

            mostly = [(UNKNOWN, predictions.unknown_probability)] if predictions.note else []
            print_predictions(line, [*predictions, *mostly])
        notes += [predictions.note] if predictions.note else []
    if notes:
        more = f", and most of it in {len(notes) - 1:,} more lines" if len(notes) > 1 else ""
        complain(notes[0] + more)


def _texts(predictor: Any, given: list[str], k: int, output: str | None, json_: bool) -> None:
    """Answer for texts: bars of probabilities for a person, rows for anything else."""
    if predictor.model.config.task != "classify" or json_ or output or len(given) != 1:
        texts = {} if predictor.model.config.task == "tag" else {"text": given}
        write_answers(texts | _answers(predictor, given), output, json_)
        return
    from elman.training.display import print_predictions

    _few_known(predictor, given)
    (shares,) = predictor.predict_proba(given)
    ranked = sorted(zip(predictor.labels.names, shares, strict=True), key=lambda pair: -pair[1])
    print_predictions(given[0], ranked[:k])


def _of_file(
    predictor: Any, path: str, name: str, given: Mapping[str, Any], how: Mapping[str, Any]
) -> dict[str, Any] | list[str]:
    """Return the answers for a table or tag file, behind the id or the row of each; or the texts of lines."""
    sequences, names = file_sequences(predictor, path, name, given, how)
    if names is None:
        return [*sequences]
    answers = _answers(predictor, sequences)
    if predictor.model.config.task == "tag":
        return answers
    return {"id" if one in answers else one: column for one, column in names.items()} | answers


def _answers(predictor: Any, sequences: Any) -> dict[str, Any]:
    """Return the answers as columns: a row a sequence, or for tags a row a step."""
    _few_known(predictor, sequences)
    task = predictor.model.config.task
    if task == "regress":
        return {"prediction": predictor.predict(sequences)}
    if task == "tag":
        tags = predictor.predict(sequences)
        from elman.labels.dataset import Sequences

        items = Sequences.of(sequences).stepwise().items
        steps: dict[str, Any] = {
            "sequence": [row for row, one in enumerate(tags) for _ in one],
            "step": [step for one in tags for step in range(len(one))],
        }
        if all(isinstance(item, tuple) for item in items):
            steps["token"] = [token for item in items for token in item]
        return steps | {"tag": [tag for one in tags for tag in one]}
    shares = predictor.predict_proba(sequences)
    best = shares.argmax(axis=1)
    found = {"label": predictor.labels.decode(best).tolist(), "probability": shares.max(axis=1)}
    names = enumerate(predictor.labels.names)
    return found | {f"p({name})": shares[:, number] for number, name in names}


def _forecast(
    predictor: ForecastPredictor, horizon: int | None, future: str | None, point: str
) -> Forecast:
    """Return the forecast, and say which columns that are known in advance were not given."""
    history, ahead = predictor.history, horizon or predictor.horizon
    known = zip(history.values, history.future, strict=True) if future is None else ()
    if predictor.codec.future is not None and any(len(b) - len(a) < ahead for a, b in known):
        names = ", ".join(printable(name) for name in history.names["future"])
        complain(f"known in advance but not given: {names}; --future names their table")
    return predictor.predict(horizon, future=future, point=point)


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
    [prompt] = _unknown(predictor, [prompt])
    pieces: Iterable[str]
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
        from elman.training.display import write_text

        write_text(chain([prompt], pieces, ["\n"]))


def _evaluate(
    model: ModelFile,
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="texts, or a table as in training")
    ],
    train: Annotated[
        list[str] | None,
        typer.Option(help="what was trained on: plain models of it are fitted and measured too"),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="accuracy|macro_f1|macro_recall|entity_f1",
            help="by which the network is compared (default: accuracy; entity_f1 where tags mark entities)",
        ),
    ] = None,
    windows: Annotated[
        int | None, typer.Option(**WHOLE, help="forecasts of each series at most, the last ones")
    ] = None,
    step: Annotated[
        int | None, typer.Option(**WHOLE, help="steps between two forecasts (the horizon)")
    ] = None,
    overlap: Overlap = "error",
    plot: Plot = None,
    plot_calibration: Annotated[
        str | None,
        typer.Option(**PICTURE, help="a picture of a classifier's or tagger's calibration"),
    ] = None,
    json_: Json = False,
    **given: Any,
) -> None:
    """Measure a model on new data, beside plain models that any network should beat."""
    predictor = load(model)
    task = predictor.model.config.task
    if plot_calibration is not None and task not in ("classify", "tag"):
        got, expected = f"a model for {task}", "one for classify or tag"
        raise OptionError("--plot-calibration", got=got, expected=expected)
    how = {name: given.pop(name) for name in READING}
    if task == "language":
        report = predictor.evaluate([Path(file) for file in files], encoding=how["encoding"])
    elif task == "forecast":
        if len(files) != 1:
            raise OptionError("FILE", got=f"{len(files)} files", expected="one table of new rows")
        rows = read_input(predictor, files[0], how)
        report = predictor.evaluate(rows, windows=windows, step=step, overlap=overlap)
        if plot is not None:
            write_pictures(predictor.backtest(rows, overlap=overlap), plot=plot)
    else:
        places = places_of(predictor, **given)
        data = read_examples(files, task, places, **how)
        _few_known(predictor, data[0])
        beside: dict[str, Any] = {"beside": _plain(predictor, train, data, places, metric, how)}
        if task != "regress":
            beside["metric"] = metric
        report = predictor.evaluate(*data, **beside)
        if plot is not None and task == "regress":
            from elman.draw import plots

            plots.save(plots.scatter(data[1], predictor.predict(data[0])), Path(plot))
        else:
            write_pictures(report, plot=plot)
        write_pictures(report, plot=plot_calibration, calibration=True)
    show(report, json_)


def _plain(
    predictor: Any,
    train: list[str] | None,
    data: tuple[Any, list[Any]],
    places: dict[str, Any],
    metric: str | None,
    how: dict[str, Any],
) -> Any:
    """Return what plain models reach on `data`, fitted on the files `train`; nothing without them."""
    if train is None:
        return ()
    from elman.training.estimator import needs_torch

    task = predictor.model.config.task
    with needs_torch():
        from elman.labels.baselines import compare
        from elman.labels.examples import Labelled
    weight = "balanced" if metric == "macro_recall" else None
    training = Labelled(*read_examples(train, task, places, **how))
    measured = Labelled(*data)
    if task == "tag":
        training, measured = training.stepwise(), measured.stepwise()
    labels = predictor.model.codec.labels
    return compare(task, training, measured, labels, weight, metric=metric or "accuracy")


def _score(
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
    output: Output = None,
    json_: Json = False,
    **reading: Any,
) -> None:
    """Rank the lines of files by how surprising they are to a language model."""
    from elman.language.surprise import rank_lines

    predictor = load(model, "language")
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


_sequences = {name: place for name, place in PLACES.items() if name != "label"}
app.command("predict")(with_options(_predict, _sequences | READING))
app.command("evaluate")(with_options(_evaluate, PLACES | READING))
app.command("score")(with_options(_score, {"encoding": READING["encoding"]}))
