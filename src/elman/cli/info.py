"""The commands about this installation and its models: info, demo, bench."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from elman.cli.app import REAL, SVG, WHOLE, Json, app, load, print_json, show
from elman.cli.inputs import read_input, with_reading, write_pictures
from elman.errors import OptionError

__all__ = ["bench", "demo", "info"]


@app.command("info")
@with_reading
def info(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="a trained model")] = None,
    memory: Annotated[
        bool,
        typer.Option(
            "--memory", help="measure how far back the answers of the model depend on its input"
        ),
    ] = False,
    text: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="what to measure memory on: a text, texts a line, a table of sequences or of series; - is "
            "standard input (default: its own words, drawn sequences, the series that it knows)",
        ),
    ] = None,
    svg: Annotated[
        str | None, typer.Option(**SVG, help="a picture (.svg) of memory by lag")
    ] = None,
    json_: Json = False,
    **how: Any,
) -> None:
    """Show a model's card, or without one this installation."""
    if memory:
        if model is None:
            raise OptionError("--memory", got="no MODEL", expected="a trained model")
        predictor = load(model)
        from elman.inspect.memory import measure_memory

        what = None if text is None else read_input(predictor, text, how)
        found = measure_memory(predictor, what)
        write_pictures(found, svg=svg)
        show(found, json_)
        return
    for name, given in {"text": text, "svg": svg, **how}.items():
        if given is not None:
            raise OptionError(f"--{name}", got="no --memory", expected="--memory with it")
    from elman.training.display import describe_installation, describe_model, print_facts

    facts = describe_installation() if model is None else describe_model(model)
    if json_:
        print_json(facts)
    else:
        print_facts(facts)


@app.command("demo")
def demo(
    folder: Annotated[
        Path, typer.Option(help="where the models are written", show_default=True)
    ] = Path("elman-demo"),
    time: Annotated[
        str, typer.Option(help="training time of the character network: 90s, 3m, 1h30m")
    ] = "1m",
    seed: Annotated[int, typer.Option(**WHOLE, help="seed of all random numbers")] = 0,
    json_: Json = False,
) -> None:
    """Train four small networks in about three minutes and show what they learned."""
    from elman.cli.demo import run
    from elman.training.options import seconds

    result = run(folder, seconds=seconds(time, "--time"), seed=seed, to_stderr=json_)
    if json_:
        print_json(result)


@app.command("bench")
def bench(
    seconds: Annotated[float, typer.Option(**REAL, help="time to take, about")] = 20.0,
    json_: Json = False,
) -> None:
    """Measure how fast this machine runs: layers beside torch's, a stream's step, generation."""
    from elman.bench import run
    from elman.bench import show as print_table

    result = run(seconds)
    if json_:
        print_json(result)
    else:
        print_table(result)
