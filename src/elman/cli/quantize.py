"""Command that rounds the weights of a trained model to integers of 8 bits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from elman.cli.app import Json, ModelFile
from elman.cli.printing import print_json
from elman.errors import OptionError


def quantize(
    model: ModelFile,
    output: Annotated[Path, typer.Option("--output", "-o", help="file to write")],
    test: Annotated[
        list[str] | None,
        typer.Option("--test", help="data to measure both models on, as for evaluate"),
    ] = None,
    json_: Json = False,
) -> None:
    """Round the weights of a model to 8 bits: a quarter of the bytes, and language models answer faster."""
    import elman
    from elman.files.model import check_output
    from elman.tasks import task_of

    if output.resolve() == Path(model).resolve():
        raise OptionError("--output", got="the model itself", expected="another file")
    check_output(output)
    before, after = elman.load(model), elman.load(model, storage="int8")
    # Data that cannot be read is an error, so measure before the file is written.
    reports = [
        {
            name: value
            for name, value in task_of(one.model)(one).evaluate(test, {}).printed.to_dict().items()
            if isinstance(value, float)
        }
        for one in (before, after)
        if test
    ]
    after.save(output)
    sizes = [Path(path).stat().st_size for path in (model, output)]
    if json_:
        measured = dict(zip(("before", "after"), reports, strict=False))
        print_json({"file": str(output), "bytes": sizes[1], "bytes_before": sizes[0], **measured})
        return
    typer.echo(f"{output}  {sizes[1]:,} bytes, {sizes[1] / sizes[0]:.1%} of {sizes[0]:,}")
    if reports:
        names = (one.model.storage for one in (before, after))
        typer.echo(f"{'':<24} " + " ".join(f"{name:>12}" for name in names) + "  change")
    for name, value in reports[0].items() if reports else ():
        # A figure of a plain model is the same for both; one that is undefined has no value.
        if (other := reports[1].get(name)) not in (None, value):
            change = f"  {other / value - 1:+.3%}" if value else ""
            typer.echo(f"{name:<24} {value:12.6g} {other:12.6g}{change}")
