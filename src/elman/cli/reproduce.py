"""Command that measures the figures on public data again: training, official split, published marks."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from elman.cli.app import Json
from elman.cli.printing import print_json
from elman.cli.task_options import INTEGER
from elman.errors import OptionError


def reproduce(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="the row to measure")] = None,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="FOLDER", help="folder of the public data")
    ] = None,
    list_: Annotated[
        bool, typer.Option("--list", help="show all rows with marks and latest results")
    ] = False,
    seeds: Annotated[
        int | None, typer.Option(**INTEGER, help="number of seeds (default: that of the row)")
    ] = None,
    time: Annotated[
        str | None, typer.Option(help="budget of one training (default: that of the row)")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(**INTEGER, help="budget in steps instead, for a trial")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(**INTEGER, help="threads (default: every core)")
    ] = None,
    results: Annotated[
        Path, typer.Option(metavar="FOLDER", help="folder of the results", show_default=True)
    ] = Path("benchmarks/results"),
    models: Annotated[
        Path, typer.Option(metavar="FOLDER", help="folder of the models", show_default=True)
    ] = Path("elman-reproduce"),
    json_: Json = False,
) -> None:
    """Train on public data with the defaults and show the figure beside the published ones.

    A row that was interrupted goes on where it stopped: finished seeds are kept, and so are checkpoints.
    """
    from elman.engine.shapes import whole_number
    from elman.reproduce.results import described, measure, read_result
    from elman.reproduce.row import Settings, all_rows, row_of
    from elman.training.options import seconds

    if list_ or name is None:
        for row in all_rows().values():
            stored = read_result(results, row)
            ours = "-" if stored is None else f"{stored['mean']:.4f} ({stored['verdict']})"
            asked = f"at least {row.at_least:g}, reach for {row.reach_for:g}"
            typer.echo(f"{row.name:<20} {row.budget:>4}  {asked:<31} {ours:<18} {row.title}")
        return
    row = row_of(name)
    if data is None:
        raise OptionError("--data", got="nothing", expected="the folder of the public data")
    for option, number in (("--seeds", seeds), ("--steps", steps), ("--threads", threads)):
        if number is not None:
            whole_number(option, number, 1)
    budget = seconds(time or row.budget, "--time") if steps is None else None
    settings: Settings = {"time": budget, "steps": steps, "seed": 0, "threads": threads}
    # the folder of the data is not part of the result, which others read
    typed = ["elman", "reproduce", name, "--data", "FOLDER"]
    for option, value in (("--time", time), ("--steps", steps), ("--threads", threads)):
        typed += [] if value is None else [option, str(value)]
    command = shlex.join(typed)
    result = measure(row, data, models, results, settings, seeds or row.seeds, command)
    if json_:
        print_json(result)
    else:
        typer.echo(described(result))
