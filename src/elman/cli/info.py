"""Commands about the installation and model files: info, demo, bench."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from elman.cli.app import Json, load
from elman.cli.printing import print_json, show, write_pictures
from elman.cli.task_options import INTEGER, NUMBER, flag, given, with_options
from elman.errors import OptionError
from elman.task_types import ReadingOptions
from elman.training.options import answering, picture


@dataclass(frozen=True, kw_only=True)
class MemoryOptions(ReadingOptions):
    """Options of the measurement of memory."""

    text: str | None = answering(
        None,
        "data to measure memory on: a text, texts a line, a table of sequences or of series; - is standard "
        "input (default: text that the model generates, random sequences, the series in the model)",
    )
    svg: str | None = picture("file to draw memory by lag to: .svg", ".svg")


@with_options(MemoryOptions)
def info(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="a trained model")] = None,
    memory: Annotated[
        bool,
        typer.Option(
            "--memory", help="measure how many steps back the answers depend on the input"
        ),
    ] = False,
    json_: Json = False,
    **values: str | bool | None,
) -> None:
    """Show a model's card, or without a model this installation."""
    if memory:
        if model is None:
            raise OptionError("--memory", got="no MODEL", expected="a trained model")
        from elman.inspect.memory import measure_memory

        # Without data the predictor measures itself on plausible inputs of its own.
        task, options = load(model), MemoryOptions.from_values(given(values))
        data = None if options.text is None else task.read_input(options.text, options.how)
        measured = measure_memory(task.predictor, data)
        write_pictures({"svg": measured.to_svg}, values)
        show(measured, json_)
        return
    # All other options of the command are about memory.
    for name in given(values):
        raise OptionError(flag(name), got="no --memory", expected="--memory with it")
    from elman.training.facts import describe_installation, describe_model, print_facts

    facts = describe_installation() if model is None else describe_model(model)
    if json_:
        print_json(facts)
    else:
        print_facts(facts)


def demo(
    folder: Annotated[
        Path, typer.Option(help="folder for the trained models", show_default=True)
    ] = Path("elman-demo"),
    time: Annotated[
        str, typer.Option(help="training time of the character network: 90s, 3m, 1h30m")
    ] = "1m",
    seed: Annotated[int, typer.Option(**INTEGER, help="seed of all random numbers")] = 0,
    json_: Json = False,
) -> None:
    """Train four small networks in about three minutes and show what they learned."""
    from elman.cli.demo import run
    from elman.training.options import seconds

    result = run(folder, seconds=seconds(time, "--time"), seed=seed, to_stderr=json_)
    if json_:
        print_json(result)


def bench(
    seconds: Annotated[
        float, typer.Option(**NUMBER, help="approximate duration of the measurement")
    ] = 20.0,
    json_: Json = False,
) -> None:
    """Measure the speed of this machine: layers beside torch's, a step of a stream, generation."""
    from elman.bench import run
    from elman.bench import show as print_table

    result = run(seconds)
    if json_:
        print_json(result)
    else:
        print_table(result)
