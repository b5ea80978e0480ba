"""Command that writes a trained model in a form that runs without Python."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from elman.cli.app import Json, ModelFile, load
from elman.cli.printing import print_json
from elman.errors import OptionError


def export(
    model: ModelFile,
    onnx: Annotated[
        bool, typer.Option("--onnx", help="ONNX files, for whole sequences and single steps")
    ] = False,
    c: Annotated[bool, typer.Option("--c", help="a C99 file and its header")] = False,
    html: Annotated[
        bool, typer.Option("--html", help="a page in one file, which needs no server")
    ] = False,
    int8: Annotated[
        bool, typer.Option("--int8", help="with --c: weights as integers of 8 bits")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="file to write (default: named after the model)"),
    ] = None,
    json_: Json = False,
) -> None:
    """Write a model in a form that runs without Python: the vocabulary and labels can be read in it."""
    asked = [name for name, wanted in {"onnx": onnx, "c": c, "html": html}.items() if wanted]
    from elman.export import write_c
    from elman.export.forms import FORMS

    if len(asked) != 1:
        options = ", ".join(f"--{name}" for name in FORMS)
        got = " and ".join(f"--{name}" for name in asked) or "nothing"
        raise OptionError("form of the export", got=got, expected=f"one of {options}")
    if int8 and not c:
        raise OptionError("--int8", got=f"--{asked[0]}", expected="--c")
    form = FORMS[asked[0]]
    path = Path(model).with_suffix(form.suffix) if output is None else output
    if path.resolve() == Path(model).resolve():
        raise OptionError("--output", got="the model itself", expected="another file")
    write = partial(write_c, int8=True) if int8 else form.write
    files = write(load(model).predictor.model, path)
    if json_:
        print_json({"files": [str(file) for file in files]})
        return
    for file in files:
        typer.echo(f"{file}  {file.stat().st_size:,} bytes")
