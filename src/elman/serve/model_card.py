"""Description of a model in the list of models: its task, its sizes and the panels that can show it."""

from __future__ import annotations

from typing import Any, Literal

from elman.inspect.replies import ModelDetails, Replies
from elman.tables.json_values import json_value

PANEL_MODELS = {
    "unrolled": "language models",
    "memory": "language models",
    "series": "forecasts and labels",
}
"""Panels of the page that show only some models, and the models that each one is for."""


class ModelCard(ModelDetails):
    """A model, what it answers, and how it was trained. A property that it does not have is null."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    task: str
    answers: str
    cell: str
    activation: str | None
    hidden_size: int
    num_layers: int
    parameters: int
    panels: dict[str, str | None]
    """By panel of the page the reason why it cannot show this model, or null if it can."""
    card: dict[str, Any]


def model_card(name: str, replies: Replies, created: int) -> ModelCard:
    """Return the card of a model that is served as `name` since the Unix time `created`."""
    model = replies.predictor.model
    config = model.config
    return {
        **replies.details(),
        "id": name,
        "object": "model",
        "created": created,
        "owned_by": "elman",
        "task": config.task,
        "answers": replies.answers,
        "cell": config.cell,
        "activation": config.activation,
        "hidden_size": config.hidden_size,
        "num_layers": config.num_layers,
        "parameters": model.parameter_count,
        # The page shows the reason in place of the panel.
        "panels": {
            panel: None
            if panel in replies.panels
            else f"This panel is for {models}; {name} reads {replies.reads}."
            for panel, models in PANEL_MODELS.items()
        },
        "card": json_value(dict(replies.predictor.card)),
    }
