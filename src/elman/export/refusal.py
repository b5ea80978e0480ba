"""Error about a model that a form of export cannot hold."""

from __future__ import annotations

from elman.errors import InputError


def check_holds(form: str, problem: str) -> None:
    """Raise InputError where a form cannot hold a model, because of a `problem` in words.

    Args:
        form: Name of the form, such as "onnx".
        problem: The part of the model that does not fit, or "" if the form can hold it.

    >>> check_holds("onnx", "")
    """
    if problem:
        raise InputError(f"--{form} cannot hold this model", got=problem)
