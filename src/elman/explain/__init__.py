"""Why a model answers as it does: which input moved it, what its states hold, how far back it remembers."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from elman._errors import OptionError

if TYPE_CHECKING:
    from elman.explain.explanation import Explanation

__all__ = ["explain"]

_LABELLED = ("labelled", "explain_labelled", ("method", "of", "quick"))
_TASKS = {
    "language": ("influence", "explain_language", ("method", "unknown", "quick")),
    "classify": _LABELLED,
    "regress": _LABELLED,
    "tag": _LABELLED,
    "forecast": ("forecast", "explain_forecast", ("method", "quick")),
}


def explain(predictor: Any, what: Any = None, target: Any = None, **options: Any) -> Explanation:
    """Return why `predictor` (what `elman.load` returns) answers as it does after reading `what`.

    `target` is the answer that is explained, by default the most probable one; `options` are those of the
    task: `explain_language`, `explain_labelled`, `explain_forecast`. Raises InputError, OptionError.
    """
    task = predictor.model.config.task
    module, name, known = _TASKS[task]
    for option in options:
        if option not in known:
            raise OptionError(
                option, got=f"a model for {task}", expected="only " + ", ".join(known)
            )
    found: Explanation = getattr(import_module(f"elman.explain.{module}"), name)(
        predictor, what, target, **options
    )
    return found
