"""The command that trains: one for all tasks, its options made from those of each."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import Field, asdict
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from elman.cli.app import PARSERS, Json, app, print_json, with_options
from elman.cli.inputs import READING, read_examples
from elman.cli.option_names import as_typed
from elman.cli.suggestion import likely_command
from elman.errors import DataError, OptionError
from elman.labels.options import ClassifierOptions, RegressorOptions, TaggerOptions
from elman.language.options import LanguageOptions
from elman.series.options import ForecasterOptions
from elman.training.options import Options, members_of

__all__ = ["TASKS", "guess_task"]

TASKS: dict[str, type[Options]] = {
    "language": LanguageOptions,
    "classify": ClassifierOptions,
    "regress": RegressorOptions,
    "tag": TaggerOptions,
    "forecast": ForecasterOptions,
}
READERS = ("classify", "regress", "tag")


def _place(help_: str) -> Any:
    return Annotated[str | None, typer.Option(help=help_, rich_help_panel="Data")]


PLACES = {
    "text": _place("column of texts, or of tokens (classify, regress, tag)"),
    "label": _place(
        "column of labels, numbers or tags, or a file of them, a line for each text (classify, "
        "regress, tag)"
    ),
    "columns": _place("columns of numbers, with commas between them (classify, regress, tag)"),
}
"""Where labelled sequences stand in a table."""
SHARED_PLACES = ("id_column", "time_column")
"""The same, of sequences as of series: a forecaster declares these among its own options."""
# options that tell of series, where no label is named
SERIES = ("horizon", "target", "time_column", "season", "past", "future", "static", "id_column")


def guess_task(task: str | None, files: list[str], given: Mapping[str, Any]) -> tuple[str, str]:
    """Return the task that was asked for or that the options tell, and why, in words.

    >>> guess_task(None, ["prices.csv"], {"horizon": 10})
    ('forecast', '--horizon')
    """
    if task is not None:
        if task not in TASKS:
            raise OptionError("--task", got=task, expected="one of " + ", ".join(TASKS))
        return task, "--task"
    for name in ("label", "text"):
        if name in given:
            return "classify", f"--{name}"
    if all(file.lower().endswith(".ts") for file in files):
        return "classify", "the file's name"
    for name in SERIES:
        if name in given:
            return "forecast", "--" + name.replace("_", "-")
    return "language", "no option for another"


def _train(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...", help="texts or folders; tables: .csv .tsv .parquet .jsonl .ts -"
        ),
    ],
    task: Annotated[
        str | None,
        typer.Option(metavar="|".join(TASKS), help="what to train (guessed from the options)"),
    ] = None,
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="MODEL", help="the model's file")
    ] = "model.safetensors",
    valid: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="data held out of training (default: a part of FILE...); without --test, half of it "
            "is the test set",
        ),
    ] = None,
    test: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="test set: every reported figure comes from it (default: half of the data held out)",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="go on with the interrupted run of the same settings")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="show the run in the browser as it goes on (serve)")
    ] = False,
    json_: Json = False,
    **options: Any,
) -> None:
    """Train a network on files; it ends with the budget of time, epochs or steps.

    The task is a language model of text files or folders; classify, regress or tag labelled sequences;
    or forecast series. It is guessed from the options where --task does not name it.
    """
    from elman.files.model import check_output
    from elman.training.progress import TrainingDisplay

    given = {name: value for name, value in options.items() if value is not None}
    task, why = guess_task(task, files, given)
    if task == "language" and why != "--task" and (likely := likely_command(files)):
        raise OptionError("--task", got="nothing for a table", remedy=likely)
    known = TASKS[task].defaults()
    reading = {name: given.pop(name) for name in READING if name in given and name not in known}
    named = (*PLACES, *SHARED_PLACES) if task in READERS else ()
    places = {name: given.pop(name) for name in named if name in given}
    for name in given:
        if name not in known:
            has = [other for other, declared in TASKS.items() if name in declared.defaults()]
            flag = "--" + name.replace("_", "-")
            expected = f"with --task {' or '.join(has or READERS)} alone"
            raise OptionError(flag, got=f"it with --task {task}", expected=expected)
    checked = TASKS[task](**given)
    for flag, others in (("--valid", valid), ("--test", test)):
        if task == "forecast" and others is not None:
            raise OptionError(flag, got="it with --task forecast", remedy="leave it out")
    check_output(Path(output))
    with ExitStack() as stack:
        display = stack.enter_context(
            TrainingDisplay(to_stderr=json_, output=output, wording=as_typed)
        )
        if watch and display.leads:
            display.say(f"the run as it goes on: {_open(stack, Path(output), resume)}", "bold")
        if why != "--task":
            display.say(f"task {task}, as {why} says" if task != "language" else "task language")
        # after the first line is on the screen: importing torch takes a second
        held = valid, test
        outcome = _run(task, files, held, checked, places, reading, output, resume, display.watch)
        card = dict(outcome.model.card)
        display.finish(task, outcome.stopped, card)
    if json_ and display.leads:
        print_json({"model": output, "stopped": outcome.stopped, "card": card})
    if outcome.stopped == "interrupted":
        raise typer.Exit(130)


def _open(stack: ExitStack, output: Path, resume: bool) -> str:
    """Serve the Training panel until `stack` ends, show it where there is a display; return its address."""
    from elman.serve.training_page import Watched

    journal = output.with_suffix(".run.jsonl")
    url = stack.enter_context(Watched(journal, resume=resume)).url
    if sys.platform in ("darwin", "win32") or {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ):
        import webbrowser

        webbrowser.open(url)
    return url


def _run(
    task: str,
    files: list[str],
    others: tuple[list[str] | None, list[str] | None],
    options: Any,
    places: Mapping[str, str],
    reading: Mapping[str, Any],
    output: str,
    resume: bool,
    watch: Callable[[dict[str, Any]], None],
) -> Any:
    """Train by the task and return its outcome; `others` are the files of --valid and of --test."""
    from elman.tables.reader import read_table
    from elman.training.estimator import needs_torch

    how: dict[str, Any] = {"output": Path(output), "resume": resume, "watch": watch}
    if task == "language":
        valid, test = (None if some is None else [*map(Path, some)] for some in others)
        with needs_torch():
            from elman.language.estimator import sample
            from elman.language.train import train_language

        how["sample"] = sample
        return train_language([*map(Path, files)], options, valid=valid, test=test, **how)
    if task == "forecast":
        if len(files) != 1:
            raise DataError("files of series", got=f"{len(files)}", expected="one")
        table = read_table(files[0], **reading)
        with needs_torch():
            from elman.series.estimator import Forecaster
            from elman.series.train import train_forecaster

        series = Forecaster(**asdict(options)).read(table)
        return train_forecaster(series, options, **how)
    with needs_torch():
        from elman.labels.examples import Labelled
        from elman.labels.train import train_labelled

    # A file of labels belongs to its texts; new texts have another one, or none.
    kept = dict(places)
    if os.path.isfile(kept.get("label", "")):
        del kept["label"]

    def examples(some: list[str]) -> Labelled:
        return Labelled(*read_examples(some, task, places, **reading), kept)

    held, last = (None if some is None else examples(some) for some in others)
    return train_labelled(task, examples(files), options, valid=held, test=last, **how)


def _annotation(name: str, declared: Mapping[str, tuple[Field[Any], Any]]) -> Any:
    """Return typer's annotation of the option `name`, which one task or several have declared."""
    (field, _), *_ = declared.values()
    members = [member for _, kind in declared.values() for member in members_of(kind)]
    choices = list(dict.fromkeys(member for member in members if isinstance(member, str)))
    plain: Any = str
    if str not in members and not choices:
        plain = next((kind for kind in (float, int, bool) if kind in members), str)
    flag = "--" + name.replace("_", "-")
    defaults: dict[Any, list[str]] = {}
    for task, (one, _) in declared.items():
        defaults.setdefault(one.default, []).append(task)
    said = [
        (str(default) if not isinstance(default, bool) else "yes" if default else "no")
        + (f" for {', '.join(tasks)}" if len(defaults) > 1 else "")
        for default, tasks in defaults.items()
        if default is not None
    ]
    help_ = field.metadata["help"] + (f" [{'; '.join(said)}]" if said else "")
    if len(declared) < len(TASKS):
        help_ += f" ({', '.join(declared)})"
    parsing = {"metavar": "|".join(choices) or None} | PARSERS.get(plain, {})
    option = typer.Option(
        f"{flag}/--no-{flag[2:]}" if plain is bool else flag,
        help=help_,
        rich_help_panel=field.metadata["group"],
        show_default=False,
        **parsing,
    )
    return Annotated[plain | None, option]


def _options() -> dict[str, Any]:
    """Return the annotations of the options of every task by name."""
    declared: dict[str, dict[str, tuple[Field[Any], Any]]] = {}
    for task, options in TASKS.items():
        hints = get_type_hints(options)
        for field in options.declared():
            declared.setdefault(field.name, {})[task] = field, hints[field.name]
    found = PLACES | READING
    return found | {
        name: _annotation(name, declared[name]) for name in declared if name not in found
    }


app.command("train")(with_options(_train, _options()))
