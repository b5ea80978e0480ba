"""The commands about this installation and its models: info, demo, bench."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from elman.cli._app import REAL, WHOLE, Json, app, print_json

__all__ = ["bench", "demo", "info"]


@app.command("info")
def info(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="a trained model")] = None,
    json_: Json = False,
) -> None:
    """Show a model's card, or without one this installation."""
    from elman._display import describe_installation, describe_model, print_facts

    facts = describe_installation() if model is None else describe_model(model)
    if json_:
        print_json(facts)
    else:
        print_facts(facts)


@app.command("demo")
def demo(
    folder: Annotated[Path, typer.Option(help="where the models are written")] = Path(),
    seconds: Annotated[float, typer.Option(**REAL, help="time for the character network")] = 60.0,
    seed: Annotated[int, typer.Option(**WHOLE, help="seed of all random numbers")] = 0,
    json_: Json = False,
) -> None:
    """Train three small networks in three minutes and show what they learned."""
    from elman.demo import run

    result = run(folder, seconds=seconds, seed=seed, to_stderr=json_)
    if json_:
        print_json(result)


@app.command("bench")
def bench(
    seconds: Annotated[float, typer.Option(**REAL, help="time to take, about")] = 20.0,
    json_: Json = False,
) -> None:
    """Measure how fast this machine runs: layers beside torch's, a stream's step, generation."""
    from elman.bench import run, show

    result = run(seconds)
    if json_:
        print_json(result)
    else:
        show(result)
