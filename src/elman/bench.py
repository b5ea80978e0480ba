"""Benchmark of this machine: recurrent layers beside torch's own, a step of a stream, generation.

`interleave` measures all times, here and in ``benchmarks/``. The sides of a comparison take turns in one
process, so that other load on the machine slows them equally.
"""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from elman.cells import find
from elman.engine import kernel
from elman.errors import MissingDependencyError, OptionError, installing
from elman.files.model import Model
from elman.language.config import NetworkConfig
from elman.language.network import Network
from elman.language.stream import Stream
from elman.text.vocabulary import TextCodec
from elman.training.journal import JsonObject

# Newline and the printable characters of ASCII up to "^".
CHARACTERS = ("\n", *map(chr, range(32, 95)))
"""Vocabulary of models with random weights, 65 tokens with `<unk>`."""
B, T, LAYERS = 32, 64, 2  # sequences in a batch, time steps, layers
HIDDEN_SIZES = (128, 256)
MIN_ROUNDS = 3
SAMPLE_SECONDS = 0.03
"""Time of a sample: much longer than the clock's resolution, but too short for many interruptions."""
NAP_SECONDS, MAX_SETTLE_SECONDS = 0.002, 0.5
STREAM_STEPS = 500
GENERATED_TOKENS = 2_000


@dataclass(frozen=True)
class Side:
    """One of the calls whose times are compared."""

    call: Callable[[], object]
    steps: int = 1
    """Repetitions inside a call; the times are those of a single repetition."""
    ready: Callable[[], object] | None = None
    """Preparation before each sample, which is not timed."""


def settle() -> None:
    """Wait until the threads of this process are idle: a thread pool spins for a while after a call."""
    quiet, end = 0, time.monotonic() + MAX_SETTLE_SECONDS
    while quiet < 2 and time.monotonic() < end:
        before = time.process_time()
        time.sleep(NAP_SECONDS)
        quiet = quiet + 1 if time.process_time() - before < NAP_SECONDS / 10 else 0


def _sample(side: Side, calls: int) -> float:
    settle()
    if side.ready is not None:
        side.ready()
    side.call()  # wakes threads and fills caches
    begin = time.perf_counter()
    for _ in range(calls):
        side.call()
    return (time.perf_counter() - begin) / (calls * side.steps)


def interleave(
    sides: Mapping[str, Side], rounds: int = 7, seconds: float = 0.0, sample: float = SAMPLE_SECONDS
) -> dict[str, list[float]]:
    """Time the sides in turn; return the seconds per step of each side, one sample for each round.

    Args:
        sides: The sides by name.
        rounds: Smallest number of rounds; two further rounds before them are not counted.
        seconds: Time after which no round starts, once there are enough rounds.
        sample: Approximate duration of a sample in seconds; the call is repeated to fill it.
    """
    end = time.monotonic() + seconds
    calls = {}
    for name, side in sides.items():
        # Slow calls fill a sample alone; fast ones are repeated until it lasts long enough to time.
        once = _sample(side, 1) * side.steps
        calls[name] = max(1, math.ceil(sample / once))
    samples: dict[str, list[float]] = {name: [] for name in sides}
    done = -1  # the first round is a warm-up, which is not counted
    while done < rounds or time.monotonic() < end:
        for name, side in sides.items():
            samples[name].append(_sample(side, calls[name]))
        done += 1
    return {name: times[1:] for name, times in samples.items()}


@dataclass(frozen=True)
class Peak:
    """A side that only multiplies and adds; no other side can reach a higher rate of operations."""

    threads: int
    rates: list[float] = field(default_factory=list)

    def __call__(self) -> None:
        """Measure the rate once more, if the kernel is available."""
        if (compiled := kernel.kernel()) is not None:
            self.rates.append(compiled.peak(threads=self.threads))

    @property
    def rate(self) -> float:
        """Median of the measured rates in floating-point operations a second; 0 without the kernel."""
        return statistics.median(self.rates) if self.rates else 0.0


def operations(cell: str, T: int, B: int, I: int, H: int, num_layers: int) -> int:  # noqa: E741
    """Return the floating-point operations in the products of a stack's forward pass.

    Forward and backward together have three times as many.

    >>> operations("lstm", 1, 1, 128, 128, 2) == 2 * 2 * 512 * 256
    True
    """
    kind = find(cell)
    recurrent = H if kind.recurrent else 0
    inputs = I + (num_layers - 1) * H
    # A product of [B, n] and [n, G·H] multiplies and adds B·n·G·H times.
    return 2 * T * B * kind.G * H * (inputs + num_layers * recurrent)


def random_model(cell: str, H: int, num_layers: int = LAYERS, seed: int = 0) -> Model:
    """Return a language model of characters with random initial weights."""
    (task,) = NetworkConfig.tasks
    config = NetworkConfig(task, cell, "tanh", 1 + len(CHARACTERS), H, H, num_layers)
    random, bound = np.random.default_rng(seed), H**-0.5
    arrays = {
        name: random.uniform(-bound, bound, shape).astype(np.float32)
        for name, shape in config.parameters().items()
    }
    # torch initialises embeddings with a variance of 1; a uniform draw from ±bound has bound² / 3.
    arrays["embedding.weight"] *= (3 * H) ** 0.5
    return Model(config, arrays, TextCodec("char", ("<unk>", *CHARACTERS)), {})


def _layers(kind: str, H: int, seconds: float, sample: float, peak: Peak) -> JsonObject:
    """Time a stack of layers of `elman.nn`, and torch's own forward of the same object."""
    from elman import nn

    torch: Any = sys.modules["torch"]  # elman.nn has imported torch
    torch.manual_seed(0)
    layer: Any = getattr(nn, kind)(H, H, LAYERS)
    original: Any = type(layer).__mro__[1]  # torch's own class, which shares the weights
    x = torch.randn(T, B, H, requires_grad=True)
    gradient = torch.randn(T, B, H)

    def run_both_ways(forward: Callable[..., Any]) -> Any:
        layer.zero_grad()
        x.grad = None
        y, _ = forward(x)
        y.backward(gradient)
        # Outputs and gradients together, so that the two sides can be compared.
        return torch.cat([y.detach().flatten(), x.grad.flatten()])

    ours = partial(run_both_ways, layer)
    theirs = partial(run_both_ways, partial(original.forward, layer))
    expected = theirs()
    difference = float((ours() - expected).abs().max() / expected.abs().max())
    sides = {"elman": Side(ours), "torch": Side(theirs), "peak": Side(peak)}
    times = interleave(sides, MIN_ROUNDS, seconds, sample)
    mine, other, _ = (statistics.median(samples) for samples in times.values())
    count = 3 * operations(kind.lower(), T, B, H, H, LAYERS)
    return {
        "case": f"{kind} {H} ×{LAYERS}, forward + backward",
        "milliseconds": mine * 1e3,
        "torch_milliseconds": other * 1e3,
        "ratio": other / mine,
        "gflops": count / mine / 1e9,
        "difference": difference,
    }


def _stream(H: int, seconds: float, sample: float) -> list[JsonObject]:
    """Time one step of a stream from Python, and a generation in one call."""
    network = Network(random_model("lstm", H))
    reader, writer = Stream(network), Stream(network)
    tokens = np.random.default_rng(0).integers(1, len(reader.codec), STREAM_STEPS).tolist()
    out = np.empty(len(reader.codec), np.float32)

    def step() -> None:
        for token in tokens:
            reader.step(token, out)

    sides = {
        "stream step": Side(step, STREAM_STEPS),
        "generated character": Side(lambda: writer.generate(GENERATED_TOKENS, 0), GENERATED_TOKENS),
    }
    return [
        {"case": f"LSTM {H} ×{LAYERS}, {name}", "milliseconds": 1e3 * statistics.median(samples)}
        for name, samples in interleave(sides, MIN_ROUNDS, seconds, sample).items()
    ]


def run(seconds: float = 20.0, sizes: tuple[int, ...] = HIDDEN_SIZES) -> JsonObject:
    """Measure this machine for about `seconds`; return its instruction set, thread count and times.

    If torch is installed, its layers are measured too. Raises OptionError unless `seconds` is positive.
    """
    if not 0 < seconds < math.inf:
        raise OptionError("seconds", got=seconds, expected="a number above 0")
    kinds = ("RNN", "GRU", "LSTM")
    # Each size has one measurement of streams, and one of layers for each kind of cell.
    share = seconds / (len(sizes) * (1 + len(kinds)))
    sample = min(SAMPLE_SECONDS, share / 10)
    threads = kernel.threads()
    peak = Peak(threads)
    peak()  # the first call wakes threads, and is one of the many whose median counts
    torch = f"not installed: {installing('train')}"
    # Streams come first: once layers have run, the kernel keeps using torch's threads.
    rows = [row for H in sizes for row in _stream(H, share, sample)]
    with suppress(MissingDependencyError):
        rows = [_layers(kind, H, share, sample, peak) for H in sizes for kind in kinds] + rows
        torch = str(sys.modules["torch"].__version__)
    for row in rows:
        if peak.rate and "gflops" in row:
            row["share_of_peak"] = row["gflops"] * 1e9 / peak.rate
    return {
        "instruction_set": kernel.isa() or f"none, plain numpy and torch: {kernel.why_not()}",
        "threads": threads,
        "peak_gflops": peak.rate / 1e9,
        "torch": torch,
        "cases": rows,
    }


def _time(milliseconds: float) -> str:
    return f"{milliseconds:.2f} ms" if milliseconds >= 1 else f"{milliseconds * 1e3:.1f} µs"


# Heading of each column, the key of its value in a row, and how the value is written.
_COLUMNS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("Elman", "milliseconds", _time),
    ("torch", "torch_milliseconds", _time),
    ("ratio", "ratio", "{:.1f}×".format),
    ("GFLOP/s", "gflops", "{:.0f}".format),
    ("of peak", "share_of_peak", lambda share: f"{100 * share:.0f} %"),
)


def show(result: JsonObject) -> None:
    """Print the result of `run` as a table."""
    console = Console(highlight=False)
    peak_of = f", peak {result['peak_gflops']:.0f} GFLOP/s" if result["peak_gflops"] else ""
    facts = f"{result['instruction_set']}, {result['threads']} threads{peak_of}"
    console.print(Text(f"{facts}; torch {result['torch']}", style="bold"))
    headings = (Column(heading, justify="right") for heading, _, _ in _COLUMNS)
    table = Table(Column(no_wrap=True), *headings, box=None, pad_edge=False)
    for row in result["cases"]:
        # Rows of streams have a time alone.
        cells = [write(row[key]) for _, key, write in _COLUMNS if key in row]
        table.add_row(Text(row["case"]), *cells)
    console.print(table)
