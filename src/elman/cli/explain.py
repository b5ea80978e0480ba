"""The command that tells why: explain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elman.cli.app import PICTURE, SVG, WHOLE, Json, ModelFile, app, complain, load, print_json
from elman.cli.inputs import argument_lines, is_file, read_input, with_reading, write_pictures
from elman.engine.shapes import whole_number
from elman.errors import DataError, OptionError

if TYPE_CHECKING:
    from elman.language.predictor import LanguagePredictor

__all__ = ["explain"]

_BAR = 40


@app.command("explain")
@with_reading
def explain(
    model: ModelFile,
    text: Annotated[
        str | None,
        typer.Argument(
            metavar="[TEXT]",
            help="what was read, or a file of it: a text, texts a line, a table or .ts of sequences, rows of "
            "series; - is standard input; of a forecaster also the name of a series that it knows",
        ),
    ] = None,
    row: Annotated[
        int | None,
        typer.Option(
            **WHOLE, help="the sequence of a file to explain, counted from 0 (default: 0)"
        ),
    ] = None,
    series: Annotated[
        str | None, typer.Option(help="the series of a file of rows, where it has several")
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            help="the answer to explain (default: the most probable one), of a forecaster the step ahead "
            "(default: the mean of all)"
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            metavar="replacement|decomposition|integrated gradients|leave-one-out",
            help="how each input is measured (default: replacement)",
        ),
    ] = None,
    of: Annotated[
        str | None,
        typer.Option(
            help="of a tagger the step, of a classifier words or characters, of numbers steps or channels"
        ),
    ] = None,
    unknown: Annotated[
        bool, typer.Option("--unknown", help="the same as --method replacement")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="a first answer, from fewer replacements and untested")
    ] = False,
    equations: Annotated[
        bool, typer.Option("--equations", help="write the equations out, from backwards")
    ] = False,
    replace: Annotated[
        str | None,
        typer.Option(
            metavar="POSITION=WORD", help="what comes with another word there, counted from 0"
        ),
    ] = None,
    svg: Annotated[str | None, typer.Option(**SVG, help="a picture as on the page: .svg")] = None,
    plot: Annotated[
        str | None, typer.Option(**PICTURE, help="a picture by matplotlib: .svg or .png")
    ] = None,
    json_: Json = False,
    **how: Any,
) -> None:
    """Tell which earlier input moved an answer, and whether that stands its own test."""
    predictor = load(model)
    task = predictor.model.config.task
    if task != "language" and (equations or replace is not None):
        name = "--equations" if equations else "--replace"
        raise OptionError(name, got=f"a model for {task}", expected="one for language")
    options: dict[str, Any] = {"method": method, "unknown": unknown, "of": of, "quick": quick}
    options = {name: value for name, value in options.items() if value not in (None, False)}
    beside = options | {"target": target, "svg": svg, "plot": plot, "equations": equations}
    given = [name for name, value in beside.items() if value not in (None, False)]
    if replace is not None and given:
        raise OptionError("--replace", got=f"--{given[0]}", expected="it and --json alone")
    if equations and (unknown or method not in (None, "decomposition")):
        got = "--unknown" if unknown else f"--method {method}"
        raise OptionError("--equations", got=got, expected="it alone: they are the decomposition's")
    if text is None and task != "forecast":
        raise OptionError("TEXT", got="nothing", expected=f"what a model for {task} is to read")
    what = _asked(predictor, text, row, series, how)
    if task == "language":
        text = what
    if replace is not None:
        _replaced(predictor, text or "", replace, json_)
        return
    if equations:
        options["method"] = "decomposition"
    if of is not None and of.isdecimal() and len(of) < 9:
        options["of"] = int(of)
    found = predictor.explain(what, target, **options)
    told: dict[str, Any] = found.to_dict()
    shown = str(found)
    if equations:
        from elman.language.equations import equations as written

        shown = written(predictor, text or "", told=found)
        told["equations"] = shown.splitlines()
    write_pictures(found, svg=svg, plot=plot)
    if json_:
        print_json(told)
    else:
        typer.echo(shown)


def _asked(
    predictor: Any, text: str | None, row: int | None, series: str | None, how: Mapping[str, Any]
) -> Any:
    """Return what is to be explained: a text, one sequence, the rows of one series or a series' name."""
    task = predictor.model.config.task
    known = task == "forecast" and text in predictor.history.ids
    file = text is not None and not known and is_file(text)
    for name, given, kept in (
        ("--row", row, task not in ("language", "forecast")),
        ("--series", series, task == "forecast"),
    ):
        if given is not None and not (kept and file):
            got = f"a model for {task}" if not kept else "no file"
            raise OptionError(
                name, got=got, expected="a file of several, and a model that reads such files"
            )
    if task == "language":
        return "\n".join(argument_lines(text or "", how["encoding"]))
    if task == "forecast":
        if not file:
            return text
        rows = read_input(predictor, text or "", how)
        return rows if series is None else rows.select([series])
    from elman.labels.read import TABLES

    if not file:
        if predictor.model.codec.scaler is not None:
            expected = "a table of sequences, whose name ends in " + " ".join(TABLES)
            raise OptionError("what a model of numbers reads", got=text, expected=expected)
        return text
    sequences = read_input(predictor, text or "", how)
    if not len(sequences):
        raise DataError(f"the sequences of {text}", got="none", expected="at least one")
    if row is None and len(sequences) > 1:
        complain(f"row 0 of {len(sequences):,} is explained; --row explains another one")
    return sequences[whole_number("--row", row or 0, 0, len(sequences) - 1)]


def _replaced(predictor: LanguagePredictor, text: str, given: str, json_: bool) -> None:
    """Show what comes after `text` with another word at a place: POSITION=WORD."""
    from elman.language.explain import replace
    from elman.language.recorded import Read

    position, equals, word = given.partition("=")
    if not (equals and position.strip().isdecimal() and len(position) < 9):
        raise OptionError("--replace", got=given, expected="POSITION=WORD, such as 1=hate")
    place = int(position)
    after = replace(predictor, text, place, word)
    before = dict(predictor.predict_next(text, len(predictor.model.codec)))
    tokens = list(Read.of(predictor, text).tokens)
    was, tokens[place] = tokens[place], word
    if json_:
        rows = [{"token": one, "probability": p, "before": before[one]} for one, p in after]
        told = {"text": text, "position": place, "token": was, "word": word, "predictions": rows}
        print_json(told)
        return
    from elman.errors import printable
    from elman.explain.explanation import printed

    separator = predictor.model.codec.separator
    pairs = zip([None, *tokens], tokens, strict=False)
    shown = "".join(separator(previous, token) + token for previous, token in pairs)
    lines = [f"{printable(shown, 400)} …"]
    names = [printed(token) for token, _ in after]
    width = max(map(len, names))
    lines.append(f"{'':{width}}    now  before")
    for name, (token, probability) in zip(names, after, strict=True):
        bar = "█" * round(_BAR * probability)
        lines.append(f"{name:{width}}  {probability:.3f}   {before[token]:.3f}  {bar}".rstrip())
    typer.echo("\n".join(lines))
