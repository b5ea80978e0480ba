"""Options of the commands, made from what the options classes declare: one declaration, one help text.

The commands train, predict, evaluate and explain have the options of every task, in a panel for each kind of
data. A value for an option that the task does not have is an error.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from copy import copy
from typing import TYPE_CHECKING, Annotated, NamedTuple, TypedDict, get_type_hints

import typer
from typer.core import TyperCommand, TyperOption

from elman.errors import OptionError
from elman.tasks import TASKS
from elman.training.options import Options, Values, members_of

if TYPE_CHECKING:
    from click import Context, HelpFormatter, Parameter
    from typer.models import OptionInfo

    from elman.task_types import Task


class Parsing(TypedDict, total=False):
    """Arguments of `typer.Option` about the text of a value."""

    parser: Callable[[str], str | float]
    metavar: str | None


def parsing(read: Callable[[str], str | float], expected: str, metavar: str) -> Parsing:
    """Return typer's arguments for an option that `read` parses; an error says what is `expected`."""

    def parser(text: str) -> str | float:
        try:
            return read(text)
        except ValueError:
            raise typer.BadParameter(f"got {text}; expected {expected}") from None

    return {"parser": parser, "metavar": metavar}


def file_ending(*endings: str) -> Parsing:
    """Return typer's arguments for an option that names a file with one of the `endings`."""

    def read(text: str) -> str:
        if not text.lower().endswith(endings):
            raise ValueError(text)
        return text

    return parsing(read, f"a name that ends in {' or '.join(endings)}", "FILE")


INTEGER = parsing(int, "a whole number", "INTEGER")
NUMBER = parsing(float, "a number", "NUMBER")
PARSERS: dict[type, Parsing] = {int: INTEGER, float: NUMBER}
# A longer list of choices would make the column of the help texts too narrow; the help text names them then.
_MAX_METAVAR_CHARACTERS = 26
# A help text that contains this describes its default itself; otherwise the words for it are added.
_DEFAULT = "(default:"
# The command whose options a command takes over.
_SAME_OPTIONS = {"tune": "train"}


class Declared(NamedTuple):
    """The declaration of an option by one class."""

    help: str
    default: str | float | None
    group: str
    members: list[object]
    """The types and the texts that the option takes."""
    endings: tuple[str, ...]
    """Endings of the names of files that the option takes; none for an option of another kind."""
    rare: bool


def declared(options: type[Options]) -> dict[str, Declared]:
    """Return the declarations of a class by the names of the options."""
    hints, defaults = get_type_hints(options), options.defaults()
    return {
        field.name: Declared(
            field.metadata["help"],
            defaults[field.name],
            field.metadata["group"],
            members_of(hints[field.name]),
            field.metadata.get("endings", ()),
            field.metadata["details"].get("rare", False),
        )
        for field in options.declared()
    }


def _declared_by_task(command: str) -> dict[str, dict[str, Declared]]:
    """Return the declarations of all options of a command: for each option those of its tasks."""
    return _declared_by(command, tuple(TASKS.values()))


@functools.cache
def _declared_by(command: str, tasks: tuple[type[Task], ...]) -> dict[str, dict[str, Declared]]:
    by_option: dict[str, dict[str, Declared]] = {}
    for task in tasks:
        classes = [task.command_options[command]]
        if command == "train":
            # Options about files come first in the help, so those of the network follow.
            classes.append(task.options)
        for options in classes:
            for name, declaration in declared(options).items():
                # Both classes may declare an option, such as the encoding; the first one describes it.
                by_option.setdefault(name, {}).setdefault(task.name, declaration)
    return by_option


def flag(name: str) -> str:
    """Return an option as it is typed.

    >>> flag("hidden_size"), flag("k")
    ('--hidden-size', '-k')
    """
    return "--" + name.replace("_", "-") if len(name) > 1 else f"-{name}"


def _parameter(
    name: str, declarations: list[Declared], help_: str, panel: str
) -> inspect.Parameter:
    """Return the parameter of a command that typer turns into an option.

    Args:
        name: The name of the option.
        declarations: The declarations of the option by the tasks that have it.
        help_: Its help text.
        panel: Its panel in the help.
    """
    # The command accepts every value that any of the tasks accepts; the task of the run then checks it.
    members = [member for declaration in declarations for member in declaration.members]
    choices = list(dict.fromkeys(member for member in members if isinstance(member, str)))
    kind: type = str
    names = "|".join(choices) or None
    how = Parsing(metavar="NAME" if len(names or "") > _MAX_METAVAR_CHARACTERS else names)
    if declarations[0].endings:
        how = file_ending(*declarations[0].endings)
    elif Ellipsis in members:  # a tuple of any length, so that the option may be repeated
        kind, how = list[str], Parsing(metavar="FILE")
    elif not choices and str not in members:
        # A whole number is a number too, so float comes before int.
        kind = next(kind for kind in (float, int, bool) if kind in members)
        how |= PARSERS.get(kind, {})
    option = typer.Option(
        f"{flag(name)}/--no-{flag(name)[2:]}" if kind is bool else flag(name),
        help=help_,
        rich_help_panel=panel,
        show_default=False,
        **how,
    )
    return keyword(name, kind, option)


def keyword(name: str, kind: type, option: OptionInfo) -> inspect.Parameter:
    """Return the parameter of a command for typer's `option`, whose values are of one `kind`."""
    # The default is None, whatever the task's default is, so that `given` can tell what was typed.
    where = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, where, default=None, annotation=Annotated[kind | None, option])


def with_parameters(
    function: Callable[..., None], parameters: Iterable[inspect.Parameter]
) -> Callable[..., None]:
    """Return a command with options in place of its ``**`` parameter."""
    *own, _ = inspect.signature(function, eval_str=True).parameters.values()
    every = [*own, *parameters]
    # typer reads the parameters from the signature, and their types from the annotations.
    function.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]
    function.__annotations__ = {parameter.name: parameter.annotation for parameter in every}
    return function


def with_options(options: type[Options]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator for a command that takes the `options` by its ``**`` parameter."""
    parameters = [
        _parameter(name, [declaration], _help_text(declaration), declaration.group)
        for name, declaration in declared(options).items()
    ]
    return lambda function: with_parameters(function, parameters)


def with_task_options(function: Callable[..., None]) -> Callable[..., None]:
    """Return a command with the options of all tasks in place of its ``**`` parameter.

    The options that several kinds of data share come first.
    """
    panels = [*dict.fromkeys(task.panel for task in TASKS.values())]
    placed = []  # pairs of the number of the panel, -1 for a shared one, and the option
    command = _SAME_OPTIONS.get(function.__name__, function.__name__)
    for name, by_task in _declared_by_task(command).items():
        declarations = [*by_task.values()]
        own = {TASKS[task].panel for task in by_task}
        panel = own.pop() if len(own) == 1 else declarations[0].group
        parameter = _parameter(name, declarations, _shared_help(by_task), panel)
        placed.append((panels.index(panel) if panel in panels else -1, parameter))
    placed.sort(key=lambda pair: pair[0])
    return with_parameters(function, [parameter for _, parameter in placed])


def _help_text(declaration: Declared) -> str:
    """Return the help of an option that one class declares, with its default."""
    help_, default = declaration.help, declaration.default
    if default is None or _DEFAULT in help_:
        return help_
    return f"{help_} {_DEFAULT} {_words(default)})"


def _shared_help(by_task: dict[str, Declared]) -> str:
    """Return the help of an option, with its default and the tasks that have it where tasks differ."""
    tasks_by_default: dict[str | float | None, list[str]] = {}
    for task, declaration in by_task.items():
        tasks_by_default.setdefault(declaration.default, []).append(task)
    text = _help_text(first := next(iter(by_task.values())))
    if len(tasks_by_default) > 1:
        defaults = "; ".join(
            f"{_words(default)} for {_task_words(tasks)}"
            for default, tasks in tasks_by_default.items()
            if default is not None
        )
        # A help that describes a default itself ends with it.
        start = first.help[:-1] + "; " if _DEFAULT in first.help else f"{first.help} {_DEFAULT} "
        text = f"{start}{defaults})"
    words = _task_words([*by_task])
    is_panel = words in {_panel_word(task) for task in TASKS.values()}
    return text if is_panel or len(by_task) == len(TASKS) else f"{text} ({words})"


def _words(default: str | float) -> str:
    return ("yes" if default else "no") if isinstance(default, bool) else str(default)


def _panel_word(task: type[Task]) -> str:
    """Return the title of the help panel of a task as a word, such as "labels"."""
    return task.panel.split(" (")[0].lower()


def _task_words(names: list[str]) -> str:
    """Return tasks in words: the word of a panel stands for all of its tasks."""
    words = []
    for name in names:
        panel = TASKS[name].panel
        whole = all(other in names for other, task in TASKS.items() if task.panel == panel)
        words.append(_panel_word(TASKS[name]) if whole else name)
    return ", ".join(dict.fromkeys(words))


def given(values: Values) -> Values:
    """Return the values that are on the command line."""
    return {name: value for name, value in values.items() if value not in (None, [])}


def check_options(command: str, task: type[Task], values: Values) -> None:
    """Raise OptionError for an option of a command that the task does not have."""
    by_option = _declared_by_task(command)
    got, expected = "it with --task", "it with --task"
    if command != "train":
        got, expected = "a model for", "one for"
    for name in values:
        if task.name not in by_option[name]:
            others = " or ".join(by_option[name])
            raise OptionError(flag(name), got=f"{got} {task.name}", expected=f"{expected} {others}")


_HELP_ALL = "elman.help_all"


class TrainCommand(TyperCommand):
    """The command `train`, whose help shows the options that most people need.

    With ``--help-all`` it shows all options, and after ``--task`` all that this task has, in its words.
    """

    def get_params(self, ctx: Context) -> list[Parameter]:
        """Return the parameters, those of the help as described above."""
        # click parses --task before --help, because it is eager, so that the help knows the task.
        parameters, chosen = super().get_params(ctx), ctx.params.get("task_name")
        if chosen in TASKS:
            return _parameters_of(chosen, parameters)
        return parameters if ctx.meta.get(_HELP_ALL) else _without_rare(parameters)

    def format_help(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the help; name the options that it does not explain at its end."""
        hidden = [
            parameter.opts[0]
            for parameter in self.get_params(ctx)
            if isinstance(parameter, TyperOption) and parameter.hidden
        ]
        self.epilog = (
            f"Further options, explained by --help-all: {', '.join(hidden)}" if hidden else ""
        )
        super().format_help(ctx, formatter)


def show_all_help(context: typer.Context, chosen: bool) -> None:
    """Show the help with all options, and end the command, if its option is chosen."""
    if chosen:
        context.meta[_HELP_ALL] = True
        typer.echo(context.get_help())
        raise typer.Exit


def _without_rare(parameters: list[Parameter]) -> list[Parameter]:
    """Return the parameters; the help hides those options that are rare for every task."""
    by_option = _declared_by_task("train")
    # click keeps its parameters for later calls, which may show the whole help, so change copies.
    copies = [copy(parameter) for parameter in parameters]
    for option in copies:
        if isinstance(option, TyperOption) and option.name in by_option:
            option.hidden = all(own.rare for own in by_option[option.name].values())
    return copies


def _parameters_of(task: str, parameters: list[Parameter]) -> list[Parameter]:
    """Return the options that the task has, with the help, default and group that it declares."""
    by_option = _declared_by_task("train")
    kept: list[Parameter] = []
    for parameter in parameters:
        declaration = by_option.get(parameter.name or "", {}).get(task)
        if declaration is not None and isinstance(parameter, TyperOption):
            option = copy(parameter)
            option.help, option.rich_help_panel = _help_text(declaration), declaration.group
            kept.append(option)
        elif parameter.name not in by_option:
            kept.append(parameter)
    return kept
