"""What the commands that ask a model share: their options, and how they read what they are asked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elman._errors import printable
from elman.cli._app import complain

if TYPE_CHECKING:
    from elman.runtime import ForecastPredictor, LanguagePredictor

__all__ = [
    "Columns",
    "Id",
    "Label",
    "Output",
    "Overlap",
    "Plot",
    "Text",
    "Time",
    "complain_of_tokens",
    "complain_of_unknown",
    "places_of",
    "read_new_rows",
    "save_figure",
]

Output = Annotated[
    str | None,
    typer.Option("-o", "--output", help="a file for the answers: .csv .tsv .jsonl .parquet"),
]
Overlap = Annotated[
    str,
    typer.Option(
        metavar="error|replace|keep",
        help="rows of series that the model knows already with other values: an error, corrected, or "
        "kept as known (rows with equal values always pass)",
    ),
]
Plot = Annotated[str | None, typer.Option(help="a picture: .svg or .png")]

Text = Annotated[str | None, typer.Option(help="column of texts (as in training)")]
Label = Annotated[str | None, typer.Option(help="column of labels (as in training)")]
Columns = Annotated[str | None, typer.Option(help="columns of numbers (as in training)")]
Id = Annotated[str | None, typer.Option(help="column that names the sequence (as in training)")]
Time = Annotated[str | None, typer.Option(help="column of their order (as in training)")]


_MOSTLY = 0.5


def complain_of_tokens(predictor: LanguagePredictor, text: str) -> None:
    """Say which tokens of `text` are outside the vocabulary, and where most of them are."""
    if unknown := predictor.unknown_tokens(text):
        names = ", ".join(printable(token) for token in unknown)
        complain(f"not in the vocabulary, read as <unk>: {names}")
    codec = predictor.model.codec
    unknown_tokens, tokens = int((codec.encode(text) == 0).sum()), len(codec.encode(text))
    complain_of_unknown(unknown_tokens / max(1, tokens))


def complain_of_unknown(share: float) -> None:
    """Say where most of what a model was given is outside its vocabulary."""
    if share > _MOSTLY:
        complain(
            f"{share:.0%} of the tokens are not in the model's vocabulary: is this the language, the"
            " encoding and the kind of text that it was trained on?"
        )


def places_of(predictor: Any, **given: str | None) -> dict[str, Any]:
    """Return the columns of sequences: those that are given, else those of training."""
    kept = predictor.card.get("columns")
    known = dict(kept) if isinstance(kept, dict) else {}
    return known | {name: value for name, value in given.items() if value is not None}


def save_figure(figure: Any, path: str) -> None:
    """Write a figure of matplotlib to a file, by its suffix."""
    from elman import plots

    plots.save(figure, Path(path))


def read_new_rows(predictor: ForecastPredictor, file: str, **how: Any) -> Any:
    """Return new rows of series, and say what was changed in them; `how` tables are read."""
    from elman.data.tables import read_table

    rows = predictor.read(read_table(file, **how))
    for warning in rows.warnings:
        complain(warning)
    return rows
