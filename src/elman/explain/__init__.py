"""Why a model answers as it does: which input moved it, what its states hold, how far back it remembers."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from elman.explain.explanation import Explanation

__all__ = ["explain"]

_TASKS = {
    "language": ("influence", "explain_language"),
    "classify": ("labelled", "explain_labelled"),
    "regress": ("labelled", "explain_labelled"),
    "tag": ("labelled", "explain_labelled"),
    "forecast": ("forecast", "explain_forecast"),
}


def explain(predictor: Any, what: Any = None, target: Any = None, **options: Any) -> Explanation:
    """Return why `predictor` (what `elman.load` returns) answers as it does after reading `what`.

    `target` is the answer that is explained, by default the most probable one; `options` are those of the
    task: `explain_language`, `explain_labelled`, `explain_forecast`. Raises InputError, OptionError.
    """
    module, name = _TASKS[predictor.model.config.task]
    found: Explanation = getattr(import_module(f"elman.explain.{module}"), name)(
        predictor, what, target, **options
    )
    return found
