"""The command that asks a model for its answer: predict."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elman._errors import OptionError, printable, warn
from elman.cli._app import WHOLE, Json, ModelFile, app, complain, load, print_json
from elman.cli._asked import (
    Columns,
    Id,
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
from elman.cli._sources import (
    Decimal,
    Encoding,
    Header,
    argument_lines,
    begins_table,
    write_answers,
)

if TYPE_CHECKING:
    from elman.runtime import ForecastPredictor, LanguagePredictor

__all__ = ["predict"]


@app.command("predict")
def predict(
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
    text: Text = None,
    columns: Columns = None,
    id_column: Id = None,
    time_column: Time = None,
    encoding: Encoding = None,
    decimal: Decimal = None,
    header: Header = None,
    output: Output = None,
    plot: Plot = None,
    json_: Json = False,
) -> None:
    """Answer by the model's task: the next words, a label, a number, tags, or the next values of series."""
    predictor = load(model)
    task = predictor.model.config.task
    how = {"encoding": encoding, "decimal": decimal, "header": header}
    if task == "forecast":
        if source is not None:
            predictor.update(read_new_rows(predictor, source, **how), overlap=overlap)
        _forecast(predictor, horizon, future, output, plot, json_)
        return
    if source is None:
        raise OptionError("TEXT", got="nothing", expected=f"what a model for {task} is to read")
    if plot is not None:
        raise OptionError("--plot", got=f"a model for {task}", expected="one for forecast")
    if task == "language":
        _next(predictor, argument_lines(source, encoding), k, json_)
        return
    given = {"text": text, "columns": columns, "id_column": id_column, "time_column": time_column}
    from elman.data.encoding import STDIN, steady_file
    from elman.data.sources import is_path

    if source != STDIN and not (is_path(source) and not os.path.isdir(source)):
        _check_kind(predictor, source)
        _texts(predictor, [source], k, output, json_)
        return
    with steady_file(source) as (path, name):
        answers = _of_file(predictor, path, name, given, how)
        if isinstance(answers, list):
            _texts(predictor, answers, k, output, json_)
        else:
            write_answers(answers, output, json_)


def _check_kind(predictor: Any, source: str) -> None:
    """Raise OptionError where a model of numbers is given what is no table."""
    from elman.data.examples import TABLES

    if predictor.model.codec.scaler is not None:
        expected = "a table, whose name ends in " + " ".join(TABLES)
        raise OptionError("what a model of numbers reads", got=source, expected=expected)


def _next(predictor: LanguagePredictor, lines: Iterable[str], k: int, json_: bool) -> None:
    for line in lines:
        predictions = predictor.predict_next(line, k)
        if json_:
            rows = [
                {"token": token, "probability": probability} for token, probability in predictions
            ]
            unknown = list(predictor.unknown_tokens(line))
            print_json({"text": line, "predictions": rows, "unknown": unknown})
        else:
            from elman._display import print_predictions

            print_predictions(line, predictions)
        complain_of_tokens(predictor, line)


def _texts(predictor: Any, given: list[str], k: int, output: str | None, json_: bool) -> None:
    """Answer for texts: bars of probabilities for a person, rows for anything else."""
    if predictor.model.config.task != "classify" or json_ or output or len(given) != 1:
        texts = {} if predictor.model.config.task == "tag" else {"text": given}
        write_answers(texts | _answers(predictor, given), output, json_)
        return
    from elman._display import print_predictions

    complain_of_unknown(predictor.unknown_share(given))
    (shares,) = predictor.predict_proba(given)
    ranked = sorted(zip(predictor.labels.names, shares, strict=True), key=lambda pair: -pair[1])
    print_predictions(given[0], ranked[:k])


def _of_file(
    predictor: Any, path: str, name: str, given: Mapping[str, Any], how: Mapping[str, Any]
) -> dict[str, Any] | list[str]:
    """Return the answers for a table or tag file, behind the id or the row of each; or the texts of lines.

    The name of a file, a column that is named, or else its first line tells whether it is a table.
    """
    from elman.data.conll import is_tag_file, read_tags
    from elman.data.examples import is_table, read_sequences
    from elman.data.lines import read_lines
    from elman.data.tables import read_table

    task, encoding = predictor.model.config.task, how["encoding"]
    places = places_of(predictor, **given)
    named = is_table(name) or any(given.values())
    if not named and name == path:
        _check_kind(predictor, name)
    known = [value for value in places.values() if isinstance(value, str)]
    numeric = predictor.model.codec.scaler is not None
    if not (named or numeric or begins_table(path, known, encoding)):
        lines = read_lines(path, encoding, name=name)
        if task != "tag" or not is_tag_file(lines, predictor.labels.names):
            return lines
        where = {key: places.get(key) for key in ("text", "label")}
        return _answers(predictor, read_tags(lines, **where)[0])
    if name.lower().removesuffix(".gz").endswith(".ts"):
        sequences, _ = read_sequences(path, task=task, **how)
        return {"row": [*range(len(sequences))]} | _answers(predictor, sequences)
    table = read_table(path, name=name, **how)
    warn(table.notes)
    sequences, _ = read_sequences(table, task=task, labelled=False, **places)
    answers = _answers(predictor, sequences)
    column = places.get("id_column")
    if task == "tag":
        return answers
    if column is None:
        return {"row": [*range(len(sequences))]} | answers
    ids = [*dict.fromkeys(table.column(column).tolist())]
    return {"id" if column in answers else column: ids} | answers


def _answers(predictor: Any, sequences: Any) -> dict[str, Any]:
    """Return the answers as columns: a row a sequence, or for tags a row a step."""
    complain_of_unknown(predictor.unknown_share(sequences))
    task = predictor.model.config.task
    if task == "regress":
        return {"prediction": predictor.predict(sequences)}
    if task == "tag":
        tags = predictor.predict(sequences)
        from elman.data.labelled import Sequences

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
    predictor: ForecastPredictor,
    horizon: int | None,
    future: str | None,
    output: str | None,
    plot: str | None,
    json_: bool,
) -> None:
    history, ahead = predictor.history, horizon or predictor.horizon
    known = zip(history.values, history.future, strict=True) if future is None else ()
    if predictor.codec.future is not None and any(len(b) - len(a) < ahead for a, b in known):
        names = ", ".join(printable(name) for name in history.names["future"])
        complain(f"known in advance but not given: {names}; --future names their table")
    found = predictor.predict(horizon, future=future)
    write_answers(found.to_columns(), output, json_)
    if plot is not None:
        save_figure(found.plot(), plot)
