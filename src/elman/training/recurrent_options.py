"""The options that every task has: of the recurrent layers and of the run that trains them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from elman.errors import OptionError
from elman.training.options import Options, network, seconds, training

CellName: TypeAlias = Literal["rnn", "gru", "lstm", "mingru"]
"""The names of the cells, repeated here because ``elman --help`` reads the options without numpy."""
BUDGETS = ("time", "epochs", "steps")
"""The options that limit a run; at most one of them is given."""


@dataclass(frozen=True, kw_only=True)
class RecurrentOptions(Options):
    """Options of every network and its training; None lets Elman choose."""

    cell: CellName = network("lstm", "recurrent cell")
    activation: Literal["linear", "tanh", "relu"] = network(
        "tanh", "activation function of the cell rnn", rare=True
    )
    hidden_size: int | None = network(
        None, "units of a layer (default: from the size of the data)", low=1, high=16384
    )
    num_layers: int | None = network(
        None, "recurrent layers (default: from the size of the data)", low=1, high=32
    )
    bias: bool = network(True, "add biases to the gates", rare=True)
    dropout: float | None = network(
        None,
        "share of activations set to 0 in training (default: from the data)",
        low=0.0,
        high=0.99,
    )
    time: str | float | None = training(None, "budget of time, such as 90s, 3m or 1h30m")
    epochs: float | None = training(
        None, "budget in passes over the training data", above=0, high=10**9
    )
    steps: int | None = training(None, "budget in steps of the optimizer", low=1, high=10**12)
    batch_size: int | None = training(None, "sequences in a batch (default: from the data)", low=1)
    learning_rate: float | None = training(
        None, "highest learning rate of AdamW (default: from the data)", low=0.0, high=10.0
    )
    weight_decay: float | None = training(
        None,
        "weight decay of AdamW, on matrices only (default: 0.01; language models: from the data)",
        low=0.0,
        rare=True,
    )
    warm_up: float = training(
        0.03,
        "share of the budget in which the learning rate rises to its highest value",
        low=0.0,
        high=1.0,
        rare=True,
    )
    clip: float = training(1.0, "largest norm of the gradient", above=0, rare=True)
    average: float | None = training(
        None,
        "decay of the moving average of the weights, which is evaluated and kept; 0 for no average "
        "(default: from the task)",
        low=0.0,
        high=0.99999,
        rare=True,
    )
    evaluations: int = training(
        10, "evaluations on the validation set within the budget", low=1, high=10000, rare=True
    )
    patience: int = training(5, "evaluations without improvement before training stops", low=1)
    checkpoint_every: str | float = training("30s", "time between two checkpoints", rare=True)
    precision: Literal["float32", "bf16"] | None = training(
        None,
        "number format of the matrix products; bf16 is faster where the processor has it (default: float32; "
        "language models: bf16 where it is faster)",
        rare=True,
    )
    seed: int = training(0, "seed of all random numbers", low=0, high=2**63 - 1)
    threads: int | None = training(None, "processor threads (default: all cores)", low=1, high=4096)
    device: Literal["auto", "cpu", "cuda"] = training(
        "auto", "where to train (default: auto, which is CUDA where torch finds it)"
    )

    def __post_init__(self) -> None:
        for name in ("time", "checkpoint_every"):
            if getattr(self, name) is not None:
                seconds(getattr(self, name), name)
        super().__post_init__()
        if len(given := [name for name in BUDGETS if getattr(self, name) is not None]) > 1:
            got = " and ".join(given)
            raise OptionError("budget", got=got, expected="one of time, epochs, steps")
        if self.activation != "tanh" and self.cell != "rnn":
            got, remedy = self.activation, "or choose cell rnn"
            raise OptionError("activation", got=got, expected="tanh", remedy=remedy)
