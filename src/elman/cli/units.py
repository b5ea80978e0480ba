"""Command that finds properties of the input that single units of a network detect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from elman.cli.app import Json, ModelFile, check_source, load
from elman.cli.printing import print_json, show, write_pictures
from elman.cli.task_options import given, with_options
from elman.errors import DataError, OptionError
from elman.task_types import ReadingOptions
from elman.training.options import answering, picture

if TYPE_CHECKING:
    from collections.abc import Sized

    from rich.console import Console
    from rich.text import Text

    from elman.inspect.predictor import Predictor
    from elman.inspect.states import Unit
    from elman.inspect.units import Excerpt, Units, UnitScore


# Colours (red, green, blue) of the lowest and of the highest value of a unit.
_LOW_COLOUR, _HIGH_COLOUR = (243, 182, 168), (136, 184, 228)
_MARKS = " .-+#"
"""Marks below a text where the terminal has no colours, from the lowest to the highest value."""
_COLOUR_LEGEND = "blue: {}; red: {}"
_MARK_LEGEND = "# and +: {}; -: in between; . and nothing: {}"
_MAX_EXCERPT_LINES, _MAX_EXCERPT_COLUMNS = 8, 100
_MAX_EXCERPTS = 3


@dataclass(frozen=True, kw_only=True)
class UnitsOptions(ReadingOptions):
    """Options of the command."""

    like: str | None = answering(
        None, "phrase: show the units that differ most over it, and the passages most like it"
    )
    count: int = answering(12, "number of properties, units or passages to show", low=1)
    unit: str | None = answering(
        None, "show only this unit: layer and number, such as 0.337, or 0.c337 for the cell state"
    )
    svg: str | None = picture("file to draw the coloured text to: .svg", ".svg")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.like is not None and not (self.unit is self.svg is None):
            raise OptionError("--like", got="--unit or --svg with it", expected="one of them")


@with_options(UnitsOptions)
def units(
    model: ModelFile,
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE]",
            help="data that the model was not trained on: a text, texts a line, a table; - is standard input",
        ),
    ] = None,
    json_: Json = False,
    **values: str | int | None,
) -> None:
    """Show which property of the input single units detect: quotes, brackets, position in the line."""
    from elman.inspect.similar import units_like
    from elman.inspect.states import Unit

    options = UnitsOptions.from_values(given(values))
    # Check the name of the unit before the model and the data are read.
    chosen = None if options.unit is None else Unit.of(options.unit)
    task = load(model)
    check_source(task.predictor, file, "FILE")
    data = None if file is None else task.read_input(file, options.how)
    if options.like is not None:
        show(units_like(task.predictor, data, options.like, options.count), json_)
        return
    scored, excerpts = _excerpts(task.predictor, data, chosen, options.count)
    if options.svg is not None:
        if not excerpts:
            got = "no unit that tells a property better than its baselines"
            raise DataError("--svg", got=got, remedy="name a unit with --unit")
        write_pictures({"svg": next(iter(excerpts.values())).to_svg}, {"svg": options.svg})
    if json_:
        rows = [
            {"title": title, "tokens": [*excerpt.tokens], "values": excerpt.values.tolist()}
            for title, excerpt in excerpts.items()
        ]
        print_json(scored.to_dict(options.count) | {"excerpts": rows})
    else:
        _print(scored, excerpts, scored.table(options.count) if chosen is None else "")


def _excerpts(
    predictor: Predictor, data: Sized | None, chosen: Unit | None, count: int
) -> tuple[Units, dict[str, Excerpt]]:
    """Return the scores of the units, and pieces of the text for the chosen or the best ones by title."""
    from elman.inspect.states import read_states
    from elman.inspect.units import Units, find_units

    if chosen is not None:
        scored = Units((), read_states(predictor, data))
        return scored, {f"unit {chosen}": scored.excerpt(chosen)}
    scored = find_units(predictor, data)
    # A unit may be the best one for several properties; the first of them is the one it detects best.
    best: dict[Unit, UnitScore] = {}
    for score in scored.found[:count]:
        best.setdefault(score.place, score)
    return scored, {
        f"{score.place}: {score.meaning} ({score.sentence})": scored.shown(score)
        for score in [*best.values()][:_MAX_EXCERPTS]
    }


def _print(scored: Units, excerpts: dict[str, Excerpt], table: str) -> None:
    """Print the table of scores, and the excerpts coloured by the values of their units."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    if table:
        console.print(Text(table), soft_wrap=True)
    for title, excerpt in excerpts.items():
        console.print(Text(f"\n{title}", style="bold"), soft_wrap=True)
        for line in coloured(excerpt, console):
            console.print(line, no_wrap=True, crop=False)
    legend = ""
    if excerpts:
        meanings = ("the unit says that the property holds", "that it does not")
        marks = _MARK_LEGEND if console.color_system is None else _COLOUR_LEGEND
        legend = "\n" + marks.format(*(meanings if table else ("the unit is high", "low")))
    size = f"{len(scored.recorded.tokens):,} steps, {len(scored.recorded.units):,} units"
    half = "; chosen on the first half, areas under the ROC curve on the second"
    console.print(
        Text(f"{legend}\n{size}{half if scored.scores else ''}", style="dim"), soft_wrap=True
    )


def coloured(excerpt: Excerpt, console: Console) -> list[Text]:
    """Return the lines of an excerpt, coloured by the values of a unit.

    Blue is high and red is low. Where the console has no colours, a line of marks follows each line: ``#``
    and ``+`` are high, a blank and ``.`` are low.
    """
    from rich.cells import cell_len
    from rich.text import Text

    plain = console.color_system is None
    width = min(console.width, _MAX_EXCERPT_COLUMNS)
    # Pairs of a line and its marks. Both have the same width in cells of the terminal.
    lines = [(Text(), Text())]
    for token, value in zip(excerpt.tokens, excerpt.values.tolist(), strict=True):
        for character in token:
            # Control characters could move the cursor or change colours, so replace them.
            shown = character if character.isprintable() else " " if character == "\t" else "\ufffd"
            if character == "\n" or lines[-1][1].cell_len + cell_len(shown) > width:
                lines.append((Text(), Text()))
            if character != "\n":
                line, marks = lines[-1]
                line.append(shown, style="" if plain else _style(value))
                # A value from -1 to 1 chooses one of five marks; a wide character gets two of them.
                marks.append(_MARKS[min(4, int(2.5 * (value + 1)))] * cell_len(shown))
    # Lines of white space show nothing, and would use up the few lines of an excerpt.
    filled = [pair for pair in lines if pair[0].plain.strip()][:_MAX_EXCERPT_LINES]
    for _, marks in filled:
        marks.rstrip()
    return [row for pair in filled for row in (pair if plain else pair[:1])]


def _style(value: float) -> str:
    colour, share = (_HIGH_COLOUR if value > 0 else _LOW_COLOUR), min(1.0, abs(value))
    # Go from white, at 0, to the full colour, at 1 or -1.
    red, green, blue = (round(255 + share * (channel - 255)) for channel in colour)
    return f"black on rgb({red},{green},{blue})"
