"""Command that writes a trained model in a form that runs without Python."""

from __future__ import annotations

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
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="file to write (default: named after the model)"),
    ] = None,
    json_: Json = False,
) -> None:
    """Write a model in a form that runs without Python: the vocabulary and labels can be read in it."""
    asked = [name for name, wanted in {"onnx": onnx}.items() if wanted]
    from elman.export.forms import FORMS

    if len(asked) != 1:
        options = ", ".join(f"--{name}" for name in FORMS)
        got = " and ".join(f"--{name}" for name in asked) or "nothing"
        raise OptionError("form of the export", got=got, expected=f"one of {options}")
    form = FORMS[asked[0]]
    path = Path(model).with_suffix(form.suffix) if output is None else output
    files = form.write(load(model).predictor.model, path)
    if json_:
        print_json({"files": [str(file) for file in files]})
        return
    for file in files:
        typer.echo(f"{file}  {file.stat().st_size:,} bytes")
