"""The command: a table of commands, each a few lines over what the package does.

Nothing heavy is imported before a command needs it, so that help comes at once.
"""

from __future__ import annotations

import inspect
import io
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_type_hints

import typer

from elman._errors import ElmanError, InputError, message, printable
from elman.options import LanguageOptions, option_fields

if TYPE_CHECKING:
    from elman.runtime import LanguagePredictor

__all__ = ["app", "main"]

app = typer.Typer(
    name="elman",
    help="Train recurrent networks on your own sequences and ask them for more.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    epilog="Every command takes --debug: the whole traceback of an error.",
)

Json = Annotated[
    bool,
    typer.Option("--json", help="one JSON object to standard output, all else to standard error"),
]
ModelFile = Annotated[str, typer.Argument(metavar="MODEL", help="a trained model (.safetensors)")]
# of every error in the words of the command line; typer keeps its name private
UsageError: type[Exception] = typer.BadParameter.__bases__[0]


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"got {text}; expected a whole number") from None


def _real(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"got {text}; expected a number") from None


WHOLE: dict[str, Any] = {"parser": _whole, "metavar": "INTEGER"}
REAL: dict[str, Any] = {"parser": _real, "metavar": "NUMBER"}
_PARSERS: dict[Any, dict[str, Any]] = {int: WHOLE, float: REAL}


def _print_json(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:  # lone surrogates, or a terminal that knows few characters
        text = json.dumps(value, allow_nan=False)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _report_unknown(predictor: LanguagePredictor, text: str) -> None:
    unknown = predictor.unknown_tokens(text)
    if unknown:
        names = ", ".join(printable(token) for token in unknown)
        _complain(f"not in the vocabulary, read as <unk>: {names}")


def _load(path: str) -> LanguagePredictor:
    import elman

    return elman.load(path)


def _train(
    files: list[str],
    output: str,
    valid: list[str] | None,
    resume: bool,
    json_: bool,
    **options: Any,
) -> None:
    """Train a network on text files or folders; it ends with the budget of time, epochs or steps."""
    from elman._display import TrainingDisplay

    checked = LanguageOptions(**options)
    with TrainingDisplay(to_stderr=json_, output=output) as display:
        # after the first line is on the screen: importing torch takes a second
        from elman.estimators import LanguageModel

        model = LanguageModel(**asdict(checked)).fit(
            [Path(file) for file in files],
            valid=[Path(file) for file in valid] if valid else None,
            output=output,
            resume=resume,
            watch=display.watch,
        )
        display.finish(model.stopped_, model.card_)
    if json_ and display.leads:
        _print_json({"model": output, "stopped": model.stopped_, "card": model.card_})
    if model.stopped_ == "interrupted":
        raise typer.Exit(130)


def _option_parameter(
    name: str, kind: Any, help_: str, default: Any, group: str
) -> inspect.Parameter:
    flag = "--" + name.replace("_", "-")
    members = get_args(kind) or (kind,)
    choices = [member for member in members if isinstance(member, str)]
    plain: Any = str
    for candidate in (bool, int, float):
        if candidate in members and str not in members:
            plain = candidate
    optional = type(None) in members
    declared = f"{flag}/--no-{flag[2:]}" if plain is bool else flag
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[
            plain | None if optional else plain,
            typer.Option(
                declared,
                help=help_,
                metavar="|".join(choices) or _PARSERS.get(plain, {}).get("metavar"),
                parser=_PARSERS.get(plain, {}).get("parser"),
                rich_help_panel=group,
                show_default=default is not None and plain is not bool,
            ),
        ],
    )


def _with_options(function: Callable[..., None]) -> Callable[..., None]:
    """Return `function` with `LanguageOptions` spelled out in its signature, from which typer reads."""
    own = [
        (
            "files",
            Annotated[list[str], typer.Argument(metavar="FILE...", help="text files or folders")],
            ...,
        ),
        (
            "output",
            Annotated[
                str, typer.Option("-o", "--output", metavar="MODEL", help="the model's file")
            ],
            "model.safetensors",
        ),
        (
            "valid",
            Annotated[
                list[str] | None,
                typer.Option(
                    "--valid", metavar="FILE", help="measure on this text instead of the last part"
                ),
            ],
            None,
        ),
        (
            "resume",
            Annotated[
                bool,
                typer.Option(
                    "--resume", help="go on with the interrupted run of the same settings"
                ),
            ],
            False,
        ),
        ("json_", Json, False),
    ]
    parameters = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if default is ... else default,
            annotation=annotation,
        )
        for name, annotation, default in own
    ]
    kinds = get_type_hints(LanguageOptions)
    parameters += [
        _option_parameter(
            field.name,
            kinds[field.name],
            field.metadata["help"],
            field.default,
            field.metadata["group"],
        )
        for field in option_fields()
    ]

    def command(**given: Any) -> None:
        function(**given)

    command.__doc__ = function.__doc__
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


app.command("train")(_with_options(_train))


@app.command("predict")
def _predict(
    model: ModelFile,
    text: Annotated[
        str, typer.Argument(help="what came so far; - reads standard input line by line")
    ],
    k: Annotated[int, typer.Option("-k", **WHOLE, help="number of predictions")] = 5,
    json_: Json = False,
) -> None:
    """Show the most probable next words or characters after a text."""
    predictor = _load(model)
    # lone surrogates stand for bytes of the command line or input that are not text
    if text == "-" and isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")
    lines = (line.rstrip("\r\n") for line in sys.stdin) if text == "-" else iter([text])
    for line in lines:
        line = line.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        predictions = predictor.predict_next(line, k)
        if json_:
            rows = [
                {"token": token, "probability": probability} for token, probability in predictions
            ]
            unknown = list(predictor.unknown_tokens(line))
            _print_json({"text": line, "predictions": rows, "unknown": unknown})
        else:
            from elman._display import print_predictions

            print_predictions(line, predictions)
        _report_unknown(predictor, line)


@app.command("generate")
def _generate(
    model: ModelFile,
    prompt: Annotated[str, typer.Option(help="text to go on from")] = "",
    n: Annotated[int, typer.Option("-n", **WHOLE, help="number of new words or characters")] = 200,
    temperature: Annotated[
        float, typer.Option(**REAL, help="0 always takes the most probable")
    ] = 1.0,
    top_k: Annotated[
        int | None, typer.Option(**WHOLE, help="choose among the k most probable")
    ] = None,
    top_p: Annotated[
        float | None, typer.Option(**REAL, help="choose among the most probable with this sum")
    ] = None,
    beam: Annotated[
        int | None,
        typer.Option(**WHOLE, help="search this many texts at once for the most probable"),
    ] = None,
    seed: Annotated[int | None, typer.Option(**WHOLE, help="the same seed, the same text")] = None,
    json_: Json = False,
) -> None:
    """Write new text, printed as it comes."""
    predictor = _load(model)
    _report_unknown(predictor, prompt)
    if beam is not None:
        text, log_probability = predictor.beam(prompt, n=n, width=beam)[0]
        if json_:
            _print_json({"prompt": prompt, "text": text, "log_probability": log_probability})
        else:
            from elman._display import write_text

            write_text([prompt, text, "\n"])
        return
    pieces = predictor.generate_pieces(
        prompt, n, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed
    )
    if json_:
        _print_json({"prompt": prompt, "text": "".join(pieces), "seed": seed})
    else:
        from elman._display import write_text

        write_text([prompt])
        write_text(pieces)
        write_text(["\n"])


@app.command("evaluate")
def _evaluate(
    model: ModelFile,
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="text files or folders")],
    encoding: Annotated[
        str | None, typer.Option(help="encoding of the files (found out and said)")
    ] = None,
    json_: Json = False,
) -> None:
    """Measure how well a model predicts a text, beside an n-gram model of its training text."""
    predictor = _load(model)
    evaluation = predictor.evaluate([Path(file) for file in files], encoding=encoding)
    if json_:
        _print_json(evaluation.to_dict())
    else:
        typer.echo(str(evaluation))


@app.command("info")
def _info(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="a trained model")] = None,
    json_: Json = False,
) -> None:
    """Show a model's card, or without one this installation."""
    from elman._display import describe_installation, describe_model, print_facts

    facts = describe_installation() if model is None else describe_model(model)
    if json_:
        _print_json(facts)
    else:
        print_facts(facts)


@app.command("demo")
def _demo(
    folder: Annotated[Path, typer.Option(help="where the models are written")] = Path(),
    seconds: Annotated[float, typer.Option(**REAL, help="time for the character network")] = 60.0,
    seed: Annotated[int, typer.Option(**WHOLE, help="seed of all random numbers")] = 0,
    json_: Json = False,
) -> None:
    """Train three small networks in three minutes and show what they learned."""
    from elman.demo import run

    result = run(folder, seconds=seconds, seed=seed, to_stderr=json_)
    if json_:
        _print_json(result)


@app.command("bench")
def _bench(
    seconds: Annotated[float, typer.Option(**REAL, help="time to take, about")] = 20.0,
    json_: Json = False,
) -> None:
    """Measure how fast this machine runs: layers beside torch's, a stream's step, generation."""
    from elman.bench import run, show

    result = run(seconds)
    if json_:
        _print_json(result)
    else:
        show(result)


def _complain(text: str) -> None:
    sys.stderr.write(f"elman: {text}\n")


def main(arguments: list[str] | None = None) -> None:
    """Run the command and leave with its exit code: 0, 2 bad input, 3 diverged, 130 interrupted."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        code = app(arguments, prog_name="elman", standalone_mode=False)
    except ElmanError as error:
        if debug:
            raise
        _complain(str(error))
        code = error.exit_code
    except UsageError as error:
        if debug:
            raise
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()  # type: ignore[attr-defined]
        else:
            text = error.format_message()  # type: ignore[attr-defined]
            _complain(message(text.rstrip("."), remedy="`elman --help` lists what there is"))
        code = 2
    except (KeyboardInterrupt, typer.Abort):
        _complain("interrupted")
        code = 130
    except SystemExit as left:
        # typer leaves so when the reader has gone, as `head` does
        code = 0 if isinstance(left.__context__, BrokenPipeError) else left.code
    except Exception as error:
        if debug:
            raise
        # torch says it in these words, as a RuntimeError
        words = ("not enough memory", "can't allocate memory", "out of memory")
        if isinstance(error, MemoryError) or any(part in str(error).lower() for part in words):
            _complain(message("out of memory", remedy="a smaller --hidden-size or --batch-size"))
            code = InputError.exit_code
        else:
            _complain(message(f"{type(error).__name__}: {error}", remedy="--debug shows where"))
            code = 1
    sys.exit(code)
