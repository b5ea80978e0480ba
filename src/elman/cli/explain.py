"""Command that explains an answer."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from elman.cli.app import (
    INTEGER,
    PICTURE_FILE,
    SVG_FILE,
    Json,
    ModelFile,
    check_source,
    check_task_options,
    load,
    show,
)
from elman.cli.inputs import pop_reading, with_reading, write_pictures
from elman.errors import OptionError
from elman.task_types import ExplainRequest

_MAX_STEP_DIGITS = 8

Source = Annotated[
    str | None,
    typer.Argument(
        metavar="[TEXT]",
        help="the input of the answer: a text, or a file: a text, texts a line, a table or .ts of "
        "sequences, rows of series; - is standard input; for a forecaster also the name of a series that "
        "it knows",
    ),
]
Target = Annotated[
    str | None,
    typer.Option(
        help="answer to explain (default: the most probable); for a forecaster the number of steps ahead "
        "(default: the mean of all steps)"
    ),
]
Method = Annotated[
    str | None,
    typer.Option(
        metavar="replacement|decomposition|integrated gradients|leave-one-out",
        help="how the effect of an input is measured (default: replacement)",
    ),
]
Of = Annotated[
    str | None,
    typer.Option(
        help="for a tagger the step to explain; for a classifier inputs to measure: words or characters "
        "of a text, steps or channels of numbers"
    ),
]


@with_reading
def explain(
    model: ModelFile,
    text: Source = None,
    row: Annotated[
        int | None,
        typer.Option(
            **INTEGER, help="which sequence of a file to explain, counted from 0 (default: 0)"
        ),
    ] = None,
    series: Annotated[
        str | None, typer.Option(help="which series to explain, where a file of rows has several")
    ] = None,
    target: Target = None,
    method: Method = None,
    of: Of = None,
    unknown: Annotated[
        bool, typer.Option("--unknown", help="the same as --method replacement")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="use fewer replacements and skip the self-test")
    ] = False,
    equations: Annotated[
        bool,
        typer.Option(
            "--equations", help="print the network's equations, from the answer backwards"
        ),
    ] = False,
    replace: Annotated[
        str | None,
        typer.Option(
            metavar="POSITION=WORD",
            help="show the predictions with another word at this position, counted from 0",
        ),
    ] = None,
    svg: Annotated[
        str | None, typer.Option(**SVG_FILE, help="file to draw the picture of the page to: .svg")
    ] = None,
    plot: Annotated[
        str | None,
        typer.Option(**PICTURE_FILE, help="file to draw a matplotlib picture to: .svg or .png"),
    ] = None,
    json_: Json = False,
    **reading: Any,
) -> None:
    """Show how much each input contributed to an answer, and test that explanation."""
    predictor, task = load(model)
    check_task_options("explain", task, equations=equations, replace=replace)
    options: dict[str, Any] = {"method": method, "unknown": unknown, "of": of, "quick": quick}
    options = {name: value for name, value in options.items() if value not in (None, False)}
    others = options | {"target": target, "svg": svg, "plot": plot, "equations": equations}
    used = [name for name, value in others.items() if value not in (None, False)]
    if replace is not None and used:
        expected = "no other option but --json"
        raise OptionError("--replace", got=f"--{used[0]} with it", expected=expected)
    if equations and (unknown or method not in (None, "decomposition")):
        got = "--unknown" if unknown else f"--method {method}"
        expected = "no method: equations are those of decomposition"
        raise OptionError("--equations", got=f"{got} with it", expected=expected)
    check_source(predictor, text, "TEXT")
    check_task_options("explain", task, row=row, series=series)
    if of is not None and of.isdecimal() and len(of) <= _MAX_STEP_DIGITS:
        options["of"] = int(of)
    request = ExplainRequest(
        source=text,
        reading=pop_reading(reading),
        options=options,
        target=target,
        row=row,
        series=series,
        equations=equations,
        replace=replace,
    )
    explanation = task.explain(predictor, request)
    write_pictures(explanation, svg=svg, plot=plot)
    show(explanation, json_)
