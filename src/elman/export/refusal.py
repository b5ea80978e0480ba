"""Error about a model that a form of export cannot hold."""

from __future__ import annotations

from elman.errors import InputError


def refusal(form: str, problem: str) -> InputError:
    """Return the error about the part of a model that a form of export cannot hold.

    Args:
        form: Name of the form, such as "onnx".
        problem: The part of the model, in words.

    >>> print(refusal("onnx", "a forecaster"))
    --onnx cannot hold this model: got a forecaster
    """
    return InputError(f"--{form} cannot hold this model", got=problem)
