"""Learning on: a trained model as the start of a new run, with rows for new tokens and labels.

The run keeps every setting that the trained model fixes, such as its sizes and its tokens. `adopted` takes
these settings from the model and refuses options that contradict them; `extended` adds rows to its weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any, TypeVar

import numpy as np

from elman.errors import OptionError
from elman.files.container import Facts, JsonObject
from elman.files.growth import Growth, grown
from elman.files.model import C, K, Model
from elman.training.options import Options, Values
from elman.training.plan import Schedule, is_unlimited, rounded_rate
from elman.training.recurrent_options import RecurrentOptions

CONTINUED_EPOCHS, CONTINUED_RATE_FACTOR = 5.0, 0.25
"""Defaults when a trained model learns on: epochs over the new data, and factor of the learning rate."""
MIN_RATE_FACTOR, FULL_RATE_SURPRISE = 0.1, 1.5
"""Smallest factor, and how much higher (nats) the loss on new data must be for a factor of 1."""

PlanT = TypeVar("PlanT", bound=Schedule)
OptionsT = TypeVar("OptionsT", bound=RecurrentOptions)


def adopted(options: type[Options], values: Values, task_name: str, model: Model) -> Values:
    """Return `values` with the settings of `model`, which a run that trains it further keeps.

    Args:
        options: The class of the task's options.
        values: The values that the user chose, by the names of the options.
        task_name: The task of the run.
        model: The trained model.

    Raises:
        OptionError: the model is for another task, or a value contradicts it.
    """
    trained_for = model.config.task
    if trained_for != task_name:
        got, expected = f"a model for {trained_for}", f"one for {task_name}"
        raise OptionError("the model to train further", got=got, expected=expected)
    chosen = options.from_values(values)
    settings = asdict(model.config) | model.codec.settings()
    # A size of 0 belongs to a part that the network does not have.
    kept = {
        name: value
        for name, value in settings.items()
        if name in options.defaults() and (value or isinstance(value, bool | None))
    }
    for name in kept.keys() & values.keys():
        if (got := getattr(chosen, name)) is not None and got != kept[name]:
            raise OptionError(
                name,
                got=got,
                expected=f"{kept[name]}, as in the model to train further",
                remedy="leave the option out, or train a new model",
            )
    return {**values, **kept}


def extended(model: Model[C, K], codec: K, growths: Mapping[str, Growth], seed: int) -> Model[C, K]:
    """Return `model` with entries for new tokens or labels in every parameter that has entries for them.

    A new entry is the mean of the old ones plus a little noise; its bias is lower, so that it gets a small
    probability.

    Args:
        model: The trained model.
        codec: Its codec with the new tokens and labels.
        growths: The growth of each size by its name in the configuration.
        seed: Seed of the noise.
    """
    config: Any = model.config
    arrays = dict(model.arrays)
    draw = np.random.default_rng([seed, 3])
    for name, growth in growths.items():
        config = replace(config, **{name: growth.size})
        # One size grows at a time, so every axis that differs is an axis of this size.
        for parameter, shape in config.parameters().items():
            for axis, size in enumerate(shape):
                if arrays[parameter].shape[axis] != size:
                    arrays[parameter] = grown(arrays[parameter], axis, growth, draw)
    return Model(config, arrays, codec, model.card)


def few_epochs(options: OptionsT) -> OptionsT:
    """Return the options of a run that learns on: `CONTINUED_EPOCHS` if they set no budget."""
    return replace(options, epochs=CONTINUED_EPOCHS) if is_unlimited(options) else options


def small_steps(plan: PlanT, options: RecurrentOptions, surprise: float | None = None) -> PlanT:
    """Return `plan` with the lower rate of a model that learns on, so that it forgets little.

    Args:
        plan: The plan of a new network on the same data.
        options: The options of the user, whose learning rate stays as it is.
        surprise: How much higher (nats) the model's loss is on the new data than on its own validation set;
            None if this is not known. On data of another kind, the model has more to learn than to forget.
    """
    if options.learning_rate is not None:
        return plan
    factor = CONTINUED_RATE_FACTOR
    if surprise is not None:
        factor = min(1.0, max(MIN_RATE_FACTOR, surprise / FULL_RATE_SURPRISE))
    return replace(plan, learning_rate=rounded_rate(factor * plan.learning_rate))


def history_of(model: Model, data: Iterable[str]) -> list[JsonObject]:
    """Return the trainings of `model`, the last one last, as its card tells them.

    Args:
        model: The trained model.
        data: Names of the data sets in the identity of its run.
    """
    card = model.card
    identity, training = card.get("identity", {}), card.get("training", {})
    last = {
        "version": card.get("version"),
        "created": card.get("created"),
        "data": {name: identity[name] for name in data if name in identity},
        "steps": training.get("steps"),
        "epochs": training.get("epochs"),
        "held_out": _figures(card.get("held_out")),
    }
    return [*card.get("history", []), last]


def _figures(held_out: Facts | None) -> JsonObject | None:
    """Return the numbers of a test report, without its tables."""
    if held_out is None:
        return None
    return {name: value for name, value in held_out.items() if isinstance(value, int | float)}
