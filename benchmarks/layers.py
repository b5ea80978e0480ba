"""Compare stacks of layers, forward and backward, with torch's of the same weights, padded and packed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from benchmarks import peers
from benchmarks.measure import Case, Prepared, Row, Settings, agree, agree_in_norm
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from cases import Case as Sizes
from cases import plain
from elman.bench import Side, operations
from elman.cells import find
from elman.engine import kernel

__all__ = ["cases", "packed", "scan", "stack"]

LAYERS = 2
# ratios to torch, forward and backward together: the least that passes, and the goal
MARKS = {
    ("rnn", 128): (2.5, 4.0),
    ("rnn", 256): (2.5, 4.0),
    ("rnn", 512): (2.0, 2.8),
    ("gru", 128): (2.5, 4.0),
    ("gru", 256): (2.5, 4.0),
    ("gru", 512): (2.0, 2.8),
    ("lstm", 128): (1.15, 1.4),
    ("lstm", 256): (1.15, 1.4),
    ("lstm", 512): (1.15, 1.4),
}
# shares of the peak, forward and backward together
SHARES = {
    ("rnn", 128): (0.5, 0.85),
    ("rnn", 256): (0.62, 0.85),
    ("rnn", 512): (0.72, 0.85),
    ("gru", 512): (0.65, None),
    ("lstm", 512): (0.65, None),
}
KINDS = {"rnn": "RNN", "gru": "GRU", "lstm": "LSTM", "mingru": "MinGRU"}


class Run:
    """A layer with an input and a gradient of its output, called as a training step calls it."""

    def __init__(self, layer: Any, x: torch.Tensor, gradient: torch.Tensor) -> None:
        self.layer, self.x, self.gradient = layer, x, gradient
        self.apply: Callable[[torch.Tensor], torch.Tensor] = lambda x: layer(x)[0]

    def forward(self) -> torch.Tensor:
        return self.apply(self.x)

    def both(self) -> torch.Tensor:
        self.layer.zero_grad()
        self.x.grad = None
        y = self.apply(self.x)
        y.backward(self.gradient)
        return y

    def results(self) -> dict[str, np.ndarray]:
        """Return the output and every gradient by name."""
        y = self.both()
        found = {"y": y, "x": self.x.grad}
        found |= {name: weight.grad for name, weight in self.layer.named_parameters()}
        return {name: tensor.detach().numpy().copy() for name, tensor in found.items()}

    def sides(self, name: str) -> dict[str, Side]:
        return {f"{name} forward": Side(self.forward), name: Side(self.both)}


def _pair(sizes: Sizes) -> tuple[Any, Any]:
    """Return the layer of elman.nn and that of torch, with the same weights."""
    ours: Any = sizes.layer(torch.float32)
    theirs = getattr(torch.nn, KINDS[sizes.cell.name])(**sizes.options)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def _without_onednn(run: Callable[[], Any]) -> Callable[[], Any]:
    def call() -> Any:
        with peers.onednn(False):
            return run()

    return call


def stack(name: str, H: int, settings: Settings, T: int = 64, B: int = 32) -> Prepared:
    """Compare two layers of the cell `name`: elman.nn in float32 and bf16, torch.nn, torch.compile, JAX."""
    sizes = Sizes(find(name), T, B, H, H, num_layers=LAYERS)
    ours, theirs = _pair(sizes)
    x = sizes.batch(torch.float32)[0].detach()
    gradient = torch.randn(T, B, H, generator=torch.Generator().manual_seed(2))

    def run_of(layer: Any) -> Run:
        return Run(layer, x.clone().requires_grad_(), gradient)

    mine, other = run_of(ours), run_of(theirs)
    tolerance = (
        2 * sizes.scattered()
    )  # each of the two sides may differ from the exact result by this much
    expected = other.results()
    agreement = {"torch": agree(mine.results(), expected, tolerance)}
    sides = mine.sides("elman") | other.sides("torch")
    left_out: dict[str, str] = {}
    peer_names = ["torch"]

    if name == "lstm":  # oneDNN implements only this cell of the three
        agreement["torch without oneDNN"] = agree(
            _without_onednn(other.results)(), expected, tolerance
        )
        sides |= {
            "no oneDNN forward": Side(_without_onednn(other.forward)),
            "no oneDNN": Side(_without_onednn(other.both)),
        }
        peer_names.append("no oneDNN")

    chosen = kernel.kernel()
    if chosen is not None and chosen.bfloat16:
        low, _ = _pair(sizes)
        low.precision = "bf16"
        rounded = run_of(low)
        # operations of the products: forward, backward, and the gradient of the weights
        agreement["bf16"] = agree_in_norm(rounded.results(), expected, 2 * LAYERS + 1)
        sides |= rounded.sides("elman bf16")

    unrolled = run_of(theirs)

    def try_out(made: Any) -> None:
        unrolled.apply = lambda x: made(x)[0]
        unrolled.both()
        unrolled.forward()

    if reason := peers.compiled(name, theirs, try_out, settings.compile_seconds):
        left_out["torch.compile"] = reason
    else:
        agreement["torch.compile"] = agree(unrolled.results(), expected, tolerance)
        sides |= unrolled.sides("compile")
        peer_names.append("compile")

    jax = peers.jax_stack(name, theirs, x, gradient)
    if jax is None:
        left_out["JAX"] = "not installed"
    else:
        wanted = {key: expected[key] for key in ("y", "x")}
        agreement["JAX"] = agree(jax.results(), wanted, tolerance)
        sides |= {"jax forward": Side(jax.forward), "jax": Side(jax.both)}

    at_least, hope = MARKS.get((name, H), (None, None))
    count = operations(name, T, B, H, H, LAYERS)
    title, both, forward = f"{KINDS[name]} {H}", "forward + backward", "forward"
    ends = tuple(f"{peer} forward" for peer in peer_names)
    rows = [
        Row(f"{title}, {both}", ("elman",), tuple(peer_names), at_least, hope, 3 * count),
        Row(f"{title}, {forward}", ("elman forward",), ends, operations=count),
    ]
    if "elman bf16" in sides:
        hope = 2.0 if name == "lstm" else None
        rows += [
            Row(f"{title} bf16, {both}", ("elman bf16",), tuple(peer_names), None, hope, 3 * count),
            Row(f"{title} bf16, {forward}", ("elman bf16 forward",), ends, operations=count),
        ]
    if "jax" in sides:
        rows.append(Row(f"{title}, {both}, over JAX", ("elman",), ("jax",), operations=3 * count))
    if H == 512:
        rows.append(
            Row(f"{title}, {forward}: share", ("elman forward",), (), 0.75, None, count, "share")
        )
    if shares := SHARES.get((name, H)):
        rows.append(Row(f"{title}, {both}: share", ("elman",), (), *shares, 3 * count, "share"))
    return Prepared(rows, sides, agreement, left_out)


def packed(
    name: str, settings: Settings, B: int = 64, H: int = 128, longest: int = 200
) -> Prepared:
    """Compare one layer over sequences of 5 to `longest` steps; both sides read the same PackedSequence."""
    del settings
    sizes = Sizes(find(name), longest, B, H, H)
    ours, theirs = _pair(sizes)
    lengths = torch.from_numpy(np.random.default_rng(0).integers(5, longest + 1, B))
    padded = sizes.batch(torch.float32)[0].detach()
    sequences = pack_padded_sequence(padded, lengths, enforce_sorted=False)
    draw = torch.Generator().manual_seed(2)
    gradient = torch.randn(sequences.data.shape[0], H, generator=draw)

    def run_of(layer: Any) -> Run:
        run = Run(layer, sequences.data.clone().requires_grad_(), gradient)
        run.apply = lambda x: layer(PackedSequence(x, *sequences[1:]))[0].data
        return run

    mine, other = run_of(ours), run_of(theirs)
    expected, tolerance = other.results(), 2 * sizes.scattered()
    agreement = {"torch": agree(mine.results(), expected, tolerance)}
    padding, _ = pad_packed_sequence(PackedSequence(gradient, *sequences[1:]))
    whole = Run(theirs, padded.requires_grad_(), padding)
    weights = [weight for weight, _ in theirs.named_parameters()]
    agreement["padded"] = agree(
        {weight: whole.results()[weight] for weight in weights},
        {weight: expected[weight] for weight in weights},
        tolerance,
    )
    sides = {
        "elman": Side(mine.both),
        "torch": Side(other.both),
        "torch padded": Side(whole.both),
    }
    count = 3 * operations(name, 1, int(lengths.sum()), H, H, 1)
    title = f"{KINDS[name]} {H}, lengths 5 to {longest}"
    return Prepared(
        [
            Row(f"{title}, over packed", ("elman",), ("torch",), 3.0, 10.0, count),
            Row(f"{title}, over padded", ("elman",), ("torch padded",), operations=count),
        ],
        sides,
        agreement,
    )


def scan(H: int, settings: Settings, T: int = 64, B: int = 32) -> Prepared:
    """Compare mingru with lstm, both of elman.nn, in tokens per second."""
    del settings
    runs, agreement = {}, {}
    for name in ("mingru", "lstm"):
        sizes = Sizes(find(name), T, B, H, H, num_layers=LAYERS)
        layer = sizes.layer(torch.float32)
        x = sizes.batch(torch.float32)[0]
        gradient = torch.randn(T, B, H, generator=torch.Generator().manual_seed(2))
        runs[name] = Run(layer, x, gradient)
        oracle = Run(layer, x, gradient)
        oracle.apply = lambda x, layer=layer: plain(layer, x)[0]
        agreement[name] = agree(runs[name].results(), oracle.results(), 2 * sizes.scattered())
    count = 3 * operations("mingru", T, B, H, H, LAYERS)
    row = Row(f"MinGRU {H} over LSTM {H}", ("mingru",), ("lstm",), 2.0, 4.0, count)
    return Prepared([row], {name: Side(run.both) for name, run in runs.items()}, agreement)


def cases() -> list[Case]:
    """Return all cases of layers."""
    found = [
        Case(f"layers {name} {H}", functools.partial(stack, name, H))
        for name in ("rnn", "gru", "lstm")
        for H in (128, 256, 512)
    ]
    found += [Case(f"packed {name}", functools.partial(packed, name)) for name in ("lstm", "gru")]
    return found + [Case(f"mingru {H}", functools.partial(scan, H)) for H in (128, 256)]
