"""Benchmark whole training steps of language models, written as a user's script, and the optimiser alone."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from benchmarks.measure import Case, Prepared, Row, Settings, agree, agree_in_norm

from cases import Case as Sizes
from elman import nn
from elman.bench import Side, operations
from elman.cells import find
from elman.engine import kernel
from elman.training.optimizer import AdamW

__all__ = ["cases", "mingru", "optimizer", "small", "step"]

LAYERS = 2
CLIP = 1.0
# small, so that the network stays near its start for any number of timed steps
RATE = 1e-5

Marks: TypeAlias = tuple[float | None, float | None]
"""The ratio that is asked for at least, and the one hoped for."""


class LanguageModel(torch.nn.Module):
    """A language model: embedding, recurrent layers, head; `layer` is a class of torch.nn or elman.nn."""

    def __init__(
        self, layer: type, V: int, H: int, E: int | None = None, num_layers: int = LAYERS
    ) -> None:
        super().__init__()
        E = H if E is None else E
        self.embedding = torch.nn.Embedding(V, E)
        self.layers = layer(E, H, num_layers)
        self.head = torch.nn.Linear(H, V)

    def plain_loss(self, tokens: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        y, _ = self.layers(self.embedding(tokens))
        logits = self.head(y)
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def loss(self, tokens: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        y, _ = self.layers(self.embedding(tokens))
        return nn.linear_cross_entropy(y, self.head.weight, self.head.bias, targets)

    def embedded_loss(self, tokens: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        y, _ = nn.embedded(self.layers, tokens, self.embedding.weight)
        return nn.linear_cross_entropy(y, self.head.weight, self.head.bias, targets)


class Script:
    """A training script that repeats one batch."""

    def __init__(
        self,
        model: LanguageModel,
        loss: Callable[..., torch.Tensor],
        own: bool = False,
        rate: float = RATE,
    ) -> None:
        self.model, self.loss = model, loss
        kind = AdamW if own else functools.partial(torch.optim.AdamW, fused=True)
        self.optimizer = kind(model.parameters(), lr=rate)
        self.own = own

    def backward(self, tokens: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        self.optimizer.zero_grad()
        loss = self.loss(tokens, targets)
        loss.backward()
        return loss

    def step(self, tokens: torch.Tensor, targets: torch.Tensor) -> float:
        loss = self.backward(tokens, targets)
        if self.own:
            self.optimizer.clipped_step(self.optimizer.norm(), CLIP)
        else:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
            self.optimizer.step()
        return loss.item()

    def results(self, tokens: torch.Tensor, targets: torch.Tensor) -> dict[str, np.ndarray]:
        """Return the loss and every gradient by name."""
        found = {"loss": self.backward(tokens, targets)}
        found |= {name: weight.grad for name, weight in self.model.named_parameters()}
        return {name: tensor.detach().numpy().copy() for name, tensor in found.items()}


def _batch(V: int, T: int, B: int) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    return torch.randint(V, (T, B), generator=draw), torch.randint(V, (T, B), generator=draw)


def _allowed(cell: str, V: int, T: int, B: int, H: int) -> float:
    """Return the allowed difference of two steps, from the roundings of the layers and of the head."""
    sizes = Sizes(find(cell), T, B, H, H, num_layers=LAYERS)
    return 2 * 6 * 2.0**-24 * (sizes.roundings + H + V) ** 0.5


def _script(layer: type, way: str, V: int, H: int, own: bool = False) -> Script:
    torch.manual_seed(0)
    model = LanguageModel(layer, V, H)
    return Script(model, getattr(model, way), own)


def _operations(cell: str, V: int, T: int, B: int, H: int) -> int:
    return 3 * (operations(cell, T, B, H, H, LAYERS) + 2 * T * B * H * V)


def step(
    title: str,
    sizes: tuple[int, int, int, int],
    marks: tuple[Marks, Marks],
    settings: Settings,
) -> Prepared:
    """Compare a step of an LSTM language model of `sizes` V, T, B, H with the same script in torch alone.

    The marks are those of the step in which all is ours.
    """
    del settings
    V, T, B, H = sizes
    batch, allowed = _batch(V, T, B), _allowed("lstm", V, T, B, H)
    scripts = {
        "elman": _script(nn.LSTM, "loss", V, H),
        "elman whole": _script(nn.LSTM, "embedded_loss", V, H, own=True),
        "torch": _script(torch.nn.LSTM, "plain_loss", V, H),
    }
    expected = scripts["torch"].results(*batch)
    agreement = {
        name: agree(scripts[name].results(*batch), expected, allowed)
        for name in ("elman", "elman whole")
    }
    count = _operations("lstm", V, T, B, H)
    rows = [
        Row(f"{title}, layers and loss ours", ("elman",), ("torch",), operations=count),
        Row(f"{title}, all ours", ("elman whole",), ("torch",), *marks[0], count),
    ]
    chosen = kernel.kernel()
    if chosen is not None and chosen.bfloat16:
        low = _script(nn.LSTM, "embedded_loss", V, H, own=True)
        low.model.layers.precision = "bf16"
        # products forward and backward through the layers, and that for the gradient of a weight
        agreement["elman bf16"] = agree_in_norm(low.results(*batch), expected, 2 * LAYERS + 1)
        scripts["elman bf16"] = low
        rows.append(Row(f"{title}, all ours, bf16", ("elman bf16",), ("torch",), *marks[1], count))
    sides = {name: Side(functools.partial(script.step, *batch)) for name, script in scripts.items()}
    return Prepared(rows, sides, agreement)


def small(settings: Settings, V: int = 256, T: int = 64, B: int = 32, H: int = 64) -> Prepared:
    """Compare a step of a GRU model of bytes with torch; the sizes are those that rl-tools publishes."""
    del settings
    E = H // 2
    batch = _batch(V, T, B)

    def script(layer: type, way: str, own: bool) -> Script:
        torch.manual_seed(0)
        model = LanguageModel(layer, V, H, E, num_layers=1)
        return Script(model, getattr(model, way), own)

    ours, theirs = script(nn.GRU, "embedded_loss", True), script(torch.nn.GRU, "plain_loss", False)
    agreement = {
        "elman whole": agree(
            ours.results(*batch), theirs.results(*batch), _allowed("gru", V, T, B, H)
        )
    }
    count = 3 * (operations("gru", T, B, E, H, 1) + 2 * T * B * H * V)
    title = f"GRU step B {B}, T {T}, E {E}, H {H}, V {V}, all ours"
    row = Row(title, ("elman whole",), ("torch",), 5.7, 7.0, count)
    sides = {
        "elman whole": Side(functools.partial(ours.step, *batch)),
        "torch": Side(functools.partial(theirs.step, *batch)),
    }
    return Prepared([row], sides, agreement)


def mingru(H: int, settings: Settings, V: int = 65, T: int = 64, B: int = 32) -> Prepared:
    """Compare a training step of a mingru network with one of an LSTM network."""
    del settings
    batch = _batch(V, T, B)
    scripts = {
        "mingru": _script(nn.MinGRU, "loss", V, H),
        "lstm": _script(nn.LSTM, "loss", V, H),
    }
    agreement = {
        name: agree(
            script.results(*batch),
            Script(script.model, script.model.plain_loss).results(*batch),
            _allowed(name, V, T, B, H),
        )
        for name, script in scripts.items()
    }
    row = Row(
        f"MinGRU {H} over LSTM {H}, whole step",
        ("mingru",),
        ("lstm",),
        operations=_operations("mingru", V, T, B, H),
    )
    sides = {name: Side(functools.partial(script.step, *batch)) for name, script in scripts.items()}
    return Prepared([row], sides, agreement)


def optimizer(settings: Settings, V: int = 10_000, H: int = 200) -> Prepared:
    """Compare AdamW with clipping on the parameters of the word model, with fixed gradients."""
    del settings

    def ready(own: bool) -> Script:
        torch.manual_seed(0)
        model = LanguageModel(torch.nn.LSTM, V, H)
        # at this rate a step changes the weights by more than rounding errors
        script = Script(model, model.plain_loss, own, rate=1e-2)
        draw = torch.Generator().manual_seed(1)
        for weight in script.model.parameters():
            drawn = torch.randn(weight.shape, generator=draw)
            # no gradient is near epsilon, where the rounding of the norm would change a step visibly
            weight.grad = 1e-3 * (drawn + drawn.sign())
        return script

    ours, theirs = ready(True), ready(False)

    def our_step() -> None:
        ours.optimizer.clipped_step(ours.optimizer.norm(), CLIP)

    def their_step() -> None:
        torch.nn.utils.clip_grad_norm_(theirs.model.parameters(), CLIP)
        theirs.optimizer.step()

    def weights(script: Script) -> dict[str, Any]:
        return {name: w.detach().numpy() for name, w in script.model.named_parameters()}

    def means(script: Script) -> dict[str, Any]:
        state = script.optimizer.state
        return {name: state[w]["exp_avg"].numpy() for name, w in script.model.named_parameters()}

    our_step()
    their_step()
    count = sum(weight.numel() for weight in ours.model.parameters())
    agreement = {
        # a step has about twelve roundings, each relative to the rate or to the weight
        "weights": agree(weights(ours), weights(theirs), 12 * 2.0**-24),
        # torch sums the squares for the norm in float32, which limits the accuracy of clipping
        "means": agree(means(ours), means(theirs), 2.0**-24 * count**0.5),
    }
    row = Row("AdamW with clipping, word model", ("elman",), ("torch",), 1.0, None)
    return Prepared([row], {"elman": Side(our_step), "torch": Side(their_step)}, agreement)


def cases() -> list[Case]:
    """Return all cases of whole steps."""
    char = "char step B 50, T 50, H 128, V 65"
    word = "word step B 20, T 35, H 200, V 10,000"
    return [
        Case(
            "step char", functools.partial(step, char, (65, 50, 50, 128), ((1.5, 1.7), (2.0, 2.6)))
        ),
        Case(
            "step word",
            functools.partial(step, word, (10_000, 35, 20, 200), ((2.5, 4.0), (None, None))),
        ),
        Case("step small", small),
        *(Case(f"mingru step {H}", functools.partial(mingru, H)) for H in (128, 256)),
        Case("adamw", optimizer),
    ]
