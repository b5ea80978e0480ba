"""Configuration of a forecaster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from elman.engine.config import Config, Shapes, member_shapes


@dataclass(frozen=True)
class ForecastConfig(Config):
    """Sizes of a forecaster: it reads a window in segments and outputs quantiles of every future step.

    >>> config = ForecastConfig("forecast", "gru", "tanh", 10, 8, 1, True, 4, 3, 1)
    >>> config.parameters()["members.0.output.weight"]
    (12, 8)
    """

    input_size: int
    """Numbers in a segment, F."""
    hidden_size: int
    num_layers: int
    bias: bool
    segment: int
    """Time steps of the series that one recurrent step reads, or forecasts."""
    quantiles: int
    members: int

    tasks = ("forecast",)
    limits: ClassVar[Mapping[str, tuple[int, int]]] = {
        "input_size": (1, 1 << 20),
        "hidden_size": (1, 1 << 16),
        "num_layers": (1, 100),
        "segment": (1, 1 << 16),
        "quantiles": (1, 1 << 10),
        "members": (1, 32),
    }

    def parameters(self) -> Shapes:
        """Return the shape of every parameter by name, each member's behind ``members.{m}.``.

        ``input.weight [H, F]``, ``layers.{k}.…``, ``middle.weight [H, 2·H]``, ``output.weight [s·Q, H]``,
        their biases, and ``skip.weight [s, F]``.
        """
        H = self.hidden_size
        shapes: Shapes = {"input.weight": (H, self.input_size), "input.bias": (H,)}
        for k in range(self.num_layers):
            shapes |= self.layer(f"layers.{k}", H, H, bidirectional=False, bias=self.bias)
        # The middle layer reads the recurrent outputs beside the inputs of the recurrent layers.
        shapes["middle.weight"], shapes["middle.bias"] = (H, 2 * H), (H,)
        shapes["output.weight"] = (self.segment * self.quantiles, H)
        shapes["output.bias"] = (self.segment * self.quantiles,)
        shapes["skip.weight"] = (self.segment, self.input_size)
        return member_shapes(shapes, self.members)
