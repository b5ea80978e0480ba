"""Command that trains a network for any task, with the options of all tasks."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from copy import copy
from dataclasses import Field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
from typer.core import TyperCommand, TyperOption

from elman.cli.app import PARSERS, Json, print_json, with_options
from elman.cli.inputs import READING, pop_columns, pop_reading
from elman.cli.option_names import as_typed
from elman.cli.suggestion import likely_command
from elman.errors import OptionError
from elman.serve import check_installed
from elman.task_types import TrainingFiles
from elman.tasks import TASKS, Task
from elman.training.options import members_of

if TYPE_CHECKING:
    from click import Context, Parameter


# Begins the words for a default. An option whose help has them describes its default itself.
_DEFAULT = "(default:"
COLUMN_HELP = {
    "text": "column of texts, or of tokens",
    "label": "column of labels, numbers or tags; or a file of them, with a line for each text",
    "columns": "columns of numbers, with commas between them",
    "id_column": "column that says which rows belong to one sequence or series (default: none; for "
    "series unique_id)",
    "time_column": "column that orders the rows (default: none; for series ds, or the only column of "
    "dates)",
}
"""Help of the options that name columns of a table."""


def guess_task(
    name: str | None, files: list[str], options: Mapping[str, Any]
) -> tuple[Task[Any, Any], str]:
    """Return the task that ``--task`` names or that the command suggests, and the reason in words.

    >>> task, reason = guess_task(None, ["prices.csv"], {"horizon": 10})
    >>> task.name, reason
    ('forecast', '--horizon')
    """
    if name is not None:
        if name not in TASKS:
            raise OptionError("--task", got=name, expected="one of " + ", ".join(TASKS))
        return TASKS[name], "--task"
    for task in TASKS.values():
        if reason := task.guess(files, options):
            return task, reason
    return next(iter(TASKS.values())), ""


def _train(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...", help="texts or folders; tables: .csv .tsv .parquet .jsonl .ts -"
        ),
    ],
    task_name: Annotated[
        str | None,
        typer.Option(
            "--task",
            metavar="|".join(TASKS),
            is_eager=True,
            help="what to train (default: guessed from other options); with --help, show only its options",
        ),
    ] = None,
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="MODEL", help="file to write the model to")
    ] = "model.safetensors",
    valid: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="validation data, which choose when training ends (default: a share of FILE...); without "
            "--test, half of them are the test set",
        ),
    ] = None,
    test: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="test set, on which reported figures are measured (default: half of the validation data)",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="continue the interrupted run of the same settings")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="show the progress of training in the browser")
    ] = False,
    json_: Json = False,
    **options: Any,
) -> None:
    """Train a network on files until the budget of time, epochs or steps is used up.

    The task is a language model of text files or folders; classify, regress or tag for labelled sequences;
    or forecast for series. Without --task it is guessed from the other options.
    """
    options = {name: value for name, value in options.items() if value is not None}
    from elman.files.model import check_output
    from elman.training.journal import Run
    from elman.training.progress import TrainingDisplay

    task, reason = guess_task(task_name, files, options)
    if not reason and (likely := likely_command(files)):
        raise OptionError("--task", got="nothing for a table", remedy=likely)
    training_options, data = _training_arguments(task, files, valid, test, options)
    check_output(Path(output))
    with ExitStack() as stack:
        display = stack.enter_context(
            TrainingDisplay(task.display(), to_stderr=json_, output=output, wording=as_typed)
        )
        if watch and display.leads:
            display.say(f"the run as it goes on: {_open(stack, Path(output), resume)}", "bold")
        if reason != "--task":
            display.say(f"task {task.name}" + (f", as {reason} says" if reason else ""))
        outcome = task.train(data, training_options, Run(Path(output), resume, display.watch))
        card = dict(outcome.model.card)
        display.finish(outcome.stopped, card)
    if json_ and display.leads:
        print_json({"model": output, "stopped": outcome.stopped, "card": card})
    if outcome.stopped == "interrupted":
        raise typer.Exit(130)


def _open(stack: ExitStack, output: Path, resume: bool) -> str:
    """Serve the page of training until `stack` ends and return its address; open it where a display is."""
    check_installed()
    from elman.serve.training_page import TrainingPage

    journal = output.with_suffix(".run.jsonl")
    url = stack.enter_context(TrainingPage(journal, resume=resume)).url
    if sys.platform in ("darwin", "win32") or {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ):
        import webbrowser

        webbrowser.open(url)
    return url


def _training_arguments(
    task: Task[Any, Any],
    files: list[str],
    valid: list[str] | None,
    test: list[str] | None,
    options: dict[str, Any],
) -> tuple[Any, TrainingFiles]:
    """Return the options of training and the files; raises OptionError for an option of another task."""
    held_out = {name: paths for name, paths in (("valid", valid), ("test", test)) if paths}
    _check_options(task, options | held_out)
    declared = task.options.defaults()
    own = {name: value for name, value in options.items() if name in declared}
    others = {name: value for name, value in options.items() if name not in declared}
    columns, reading = pop_columns(others), pop_reading(others)
    return task.options(**own), TrainingFiles(files, valid, test, columns, reading)


def _check_options(task: Task[Any, Any], options: Mapping[str, Any]) -> None:
    """Raise OptionError for an option that has a value, but that the task does not have."""
    known = _option_names(task)
    for name in options:
        if name not in known:
            others = [other for other in TASKS if name in _option_names(TASKS[other])]
            flag = "--" + name.replace("_", "-")
            expected = f"it with --task {' or '.join(others)}"
            raise OptionError(flag, got=f"it with --task {task.name}", expected=expected)


def _option_names(task: Task[Any, Any]) -> set[str]:
    """Return the names of all options of ``elman train`` that depend on the task and that it has."""
    held_out = ("valid", "test") if task.trains_on_held_out_files else ()
    return {*task.options.defaults(), *task.column_options, *held_out, *READING}


def _annotation(name: str, declared: Mapping[str, tuple[Field[Any], Any]]) -> Any:
    """Return typer's annotation of an option.

    Args:
        name: the name of the option.
        declared: for each task that has the option, by name, its declaration and type.
    """
    (field, _), *_ = declared.values()
    members = [member for _, kind in declared.values() for member in members_of(kind)]
    choices = list(dict.fromkeys(member for member in members if isinstance(member, str)))
    plain: Any = str
    if str not in members and not choices:
        plain = next((kind for kind in (float, int, bool) if kind in members), str)
    flag = "--" + name.replace("_", "-")
    parsing = {"metavar": "|".join(choices) or None} | PARSERS.get(plain, {})
    option = typer.Option(
        f"{flag}/--no-{flag[2:]}" if plain is bool else flag,
        help=field.metadata["help"] + _default_help(declared),
        rich_help_panel=_panel(field.metadata["group"], [*declared]),
        show_default=False,
        **parsing,
    )
    return Annotated[plain | None, option]


def _default_help(declared: Mapping[str, tuple[Field[Any], Any]]) -> str:
    """Return the default of an option, by task where the tasks differ, and the tasks that have the option."""
    tasks_by_default: dict[Any, list[str]] = {}
    for task, (field, _) in declared.items():
        tasks_by_default.setdefault(field.default, []).append(task)
    defaults = [
        _shown(default) + (f" for {_task_words(tasks)}" if len(tasks_by_default) > 1 else "")
        for default, tasks in tasks_by_default.items()
        if default is not None
    ]
    described = (
        len(tasks_by_default) == 1 and _DEFAULT in next(iter(declared.values()))[0].metadata["help"]
    )
    text = f" {_DEFAULT} {'; '.join(defaults)})" if defaults and not described else ""
    words = _task_words([*declared])
    whole_panel = words in {_panel_word(task) for task in TASKS.values()}
    return text if len(declared) == len(TASKS) or whole_panel else f"{text} ({words})"


def _shown(default: Any) -> str:
    return ("yes" if default else "no") if isinstance(default, bool) else str(default)


def _panel_word(task: Task[Any, Any]) -> str:
    """Return the word for the data of a task, such as "labels"."""
    return task.panel.split(" (")[0].lower()


def _task_words(names: list[str]) -> str:
    """Return tasks in words: the word of a panel stands for all of its tasks."""
    tasks_by_word: dict[str, set[str]] = {}
    for name, task in TASKS.items():
        tasks_by_word.setdefault(_panel_word(task), set()).add(name)
    words = [
        word if tasks_by_word[word] <= {*names} else name
        for name in names
        for word in (_panel_word(TASKS[name]),)
    ]
    return ", ".join(dict.fromkeys(words))


def _panel(group: str, tasks: list[str]) -> str:
    """Return the panel of an option in the help: that of its tasks, or its group where tasks share it."""
    panels = {TASKS[task].panel for task in tasks}
    return panels.pop() if len(panels) == 1 else group


def _column(name: str) -> Any:
    """Return typer's annotation of an option that names a column."""
    tasks = [task for task in TASKS if name in _option_names(TASKS[task])]
    option = typer.Option(help=COLUMN_HELP[name], rich_help_panel=_panel("Data", tasks))
    return Annotated[str | None, option]


def _options() -> dict[str, Any]:
    """Return typer's annotations of the options of all tasks, those that the tasks share first."""
    declared: dict[str, dict[str, tuple[Field[Any], Any]]] = {}
    for name, task in TASKS.items():
        hints = get_type_hints(task.options)
        for field in task.options.declared():
            declared.setdefault(field.name, {})[name] = field, hints[field.name]
    options = READING | {name: _column(name) for name in COLUMN_HELP}
    options |= {name: _annotation(name, declared[name]) for name in declared if name not in options}

    panels = [*dict.fromkeys(task.panel for task in TASKS.values())]

    def panel_number(name: str) -> int:
        """Return 0 for an option that panels share, so that it comes first, else the panel's number."""
        own = {task.panel for task in TASKS.values() if name in _option_names(task)}
        return 1 + panels.index(own.pop()) if len(own) == 1 else 0

    return {name: options[name] for name in sorted(options, key=panel_number)}


class TrainCommand(TyperCommand):
    """The command `train`, whose help shows only the options of the task that ``--task`` names."""

    def get_params(self, ctx: Context) -> list[Parameter]:
        """Return the parameters; after an eager ``--task`` only those of this task, in its words."""
        parameters = super().get_params(ctx)
        task = TASKS.get(ctx.params.get("task_name") or "")
        if task is None:
            return parameters
        own = _option_names(task)
        others = {name for other in TASKS.values() for name in _option_names(other)} - own
        return [
            _own_help(parameter, task) for parameter in parameters if parameter.name not in others
        ]


def _own_help(parameter: Parameter, task: Task[Any, Any]) -> Parameter:
    """Return an option with the help, default and group that its task declares."""
    field = next((field for field in task.options.declared() if field.name == parameter.name), None)
    if field is None or not isinstance(parameter, TyperOption):
        return parameter
    option = copy(parameter)
    option.help = field.metadata["help"]
    if field.default is not None and _DEFAULT not in option.help:
        option.help += f" {_DEFAULT} {_shown(field.default)})"
    option.rich_help_panel = field.metadata["group"]
    return option


train = with_options(_train, _options())
