"""The command that looks for what the units of a network stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from elman.cli.app import SVG, WHOLE, Json, ModelFile, check_source, load, print_json, show
from elman.cli.inputs import pop_reading, with_reading, write_pictures
from elman.errors import DataError, OptionError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from elman.inspect.units import Excerpt, Units

__all__ = ["coloured", "units"]

# the unit says that the property does not hold, and that it does
_FALL, _RISE = (243, 182, 168), (136, 184, 228)
_MARKS = " .-+#"
_COLOURED = "blue: {}; red: {}"
_MARKED = "# and +: {}; -: in between; . and nothing: {}"
_ROWS, _WIDEST = 8, 100
_SHOWN = 3


@with_reading
def units(
    model: ModelFile,
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE]",
            help="a text that was not trained on, texts a line, a table; - is standard input",
        ),
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(help="a phrase: show the units that stand out over it, and places like it"),
    ] = None,
    count: Annotated[int, typer.Option(**WHOLE, help="properties, units or places to show")] = 12,
    unit: Annotated[
        str | None,
        typer.Option(metavar="L.N", help="show this unit alone, as 0.337, or 0.c337 of a cell"),
    ] = None,
    svg: Annotated[
        str | None, typer.Option(**SVG, help="a picture (.svg) of the text on colours")
    ] = None,
    json_: Json = False,
    **reading: Any,
) -> None:
    """Show what single units of a network stand for: quotes, brackets, place in the line and so on."""
    from elman.engine.shapes import whole_number
    from elman.inspect.states import Unit, read_states
    from elman.inspect.units import Units, find_units, units_like

    count = whole_number("--count", count, 1)
    if like is not None and not (unit is svg is None):
        raise OptionError("--like", got="--unit or --svg with it", expected="one of them")
    place = None if unit is None else Unit.of(unit)
    predictor, task = load(model)
    check_source(task, file, "FILE")
    data = None if file is None else task.read_input(predictor, file, pop_reading(reading))
    if like is not None:
        alike = units_like(predictor, data, like, count)
        show(alike, json_)
        return
    if place is not None:
        scored = Units((), read_states(predictor, data))
        shown = [(f"unit {place}", scored.excerpt(place))]
    else:
        scored = find_units(predictor, data)
        best: dict[Any, Any] = {}  # of each unit the first of its properties
        for score in scored.found[:count]:
            best.setdefault(score.place, score)
        shown = [
            (f"{one.place}: {one.meaning} ({one.sentence})", scored.shown(one))
            for one in [*best.values()][:_SHOWN]
        ]
    if svg is not None:
        if not shown:
            got = "no unit that tells a property better than its baselines"
            raise DataError("--svg", got=got, remedy="name a unit with --unit")
        write_pictures(shown[0][1], svg=svg)
    if json_:
        parts = [
            {"title": title, "tokens": [*one.tokens], "values": one.values.tolist()}
            for title, one in shown
        ]
        print_json(scored.to_dict(count) | {"excerpts": parts})
    else:
        _print(scored, shown, scored.table(count) if place is None else "")


def _print(scored: Units, shown: list[tuple[str, Excerpt]], table: str) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    if table:
        console.print(Text(table), soft_wrap=True)
    for title, excerpt in shown:
        console.print(Text(f"\n{title}", style="bold"), soft_wrap=True)
        for line in coloured(excerpt, console):
            console.print(line, no_wrap=True, crop=False)
    legend = ""
    if shown:
        says = ("the unit says that the property holds", "that it does not")
        marks = _MARKED if console.color_system is None else _COLOURED
        legend = "\n" + marks.format(*(says if table else ("the unit stands high", "low")))
    size = f"{len(scored.reading.tokens):,} steps, {len(scored.reading.units):,} units"
    half = "; chosen on the first half, areas under the ROC curve on the second"
    console.print(
        Text(f"{legend}\n{size}{half if scored.scores else ''}", style="dim"), soft_wrap=True
    )


def coloured(excerpt: Excerpt, console: Console) -> list[Text]:
    """Return the lines of an excerpt on colours; with a line of marks under each where there are none.

    Blue, or ``#`` and ``+``, is where the unit stands high; red, or nothing and ``.``, where it stands low.
    """
    from rich.cells import cell_len
    from rich.text import Text

    plain = console.color_system is None
    width = min(console.width, _WIDEST)
    lines = [(Text(), Text())]  # each with its marks, which are as wide as it is
    for token, value in zip(excerpt.tokens, excerpt.values.tolist(), strict=True):
        for character in token:
            shown = character if character.isprintable() else " " if character == "\t" else "\ufffd"
            if character == "\n" or lines[-1][1].cell_len + cell_len(shown) > width:
                lines.append((Text(), Text()))
            if character != "\n":
                line, marks = lines[-1]
                line.append(shown, style="" if plain else _style(value))
                marks.append(_MARKS[min(4, int(2.5 * (value + 1)))] * cell_len(shown))
    filled = [pair for pair in lines if pair[0].plain.strip()][:_ROWS]
    for _, marks in filled:
        marks.rstrip()
    return [row for pair in filled for row in (pair if plain else pair[:1])]


def _style(value: float) -> str:
    goal, share = (_RISE if value > 0 else _FALL), min(1.0, abs(value))
    red, green, blue = (round(255 + share * (one - 255)) for one in goal)
    return f"black on rgb({red},{green},{blue})"
