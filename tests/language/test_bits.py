"""Bitwise reproducibility of streams in the kernel: alone or pooled, at once or in steps, on any threads."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from elman.files.model import Model
from elman.language import network as module
from elman.language.network import Network
from elman.language.pool import StreamPool
from elman.language.stream import Stream
from elman.text.vocabulary import TextCodec
from factories import CELL_NAMES

STORAGES = ["float32", "bf16", "int8"]


def same(pool: StreamPool, streams: list[Stream]) -> None:
    """Check that a pool and single streams have the same states, counts and predictions, bit for bit."""
    found = [pool.stream(i) for i in range(len(pool))]
    assert [one.state for one in found] == [one.state for one in streams]
    assert pool.unknown.tolist() == [one.unknown for one in streams]
    assert pool.predict(3) == [one.predict(3) for one in streams]


@dataclass
class Company:
    """A pool, and the same streams outside it; every method does the same to both."""

    network: Network
    random: np.random.Generator

    def __post_init__(self) -> None:
        self.gather(int(self.random.choice([1, 2, 3, 13, 40, 64])))

    def tokens(self, most: int) -> list[int]:
        size = self.random.integers(0, most + 1)
        return self.random.integers(0, len(self.network.model.codec), size).tolist()

    def gather(self, n: int) -> None:
        """Replace the streams by `n` new ones; every third has read some tokens already."""
        self.alone = [Stream(self.network) for _ in range(n)]
        self.pool = StreamPool(self.network, n)
        for i in range(0, n, 3):
            self.pool.put(i, self.alone[i].feed(self.tokens(9)).fork())

    def feed(self) -> None:
        most = int(self.random.choice([1, 5, 40]))
        texts = [self.tokens(most) for _ in self.alone]
        self.pool.feed(texts)
        for stream, text in zip(self.alone, texts, strict=True):
            stream.feed(text)

    def step(self) -> None:
        tokens = self.random.integers(0, len(self.network.model.codec), len(self.alone)).tolist()
        self.pool.feed([[token] for token in tokens])
        out = np.empty(len(self.network.model.codec), np.float32)
        for stream, token in zip(self.alone, tokens, strict=True):
            stream.step(token, out)

    def fork(self) -> None:
        source, target = self.random.integers(0, len(self.alone), 2).tolist()
        self.pool.put(target, self.pool.stream(source))
        self.alone[target] = self.alone[source].fork()

    def leave_and_return(self) -> None:
        i, text = int(self.random.integers(len(self.alone))), self.tokens(20)
        self.pool.put(i, self.pool.stream(i).feed(text))
        self.alone[i].feed(text)

    def keep_state(self) -> None:
        i = int(self.random.integers(len(self.alone)))
        self.alone[i].state = self.pool.stream(i).state
        self.pool.put(i, self.alone[i])

    def generate(self) -> None:
        how: dict[str, Any] = {
            "seed": int(self.random.integers(99)),
            "temperature": 0.7,
            "top_k": 9,
        }
        seed = how.pop("seed")
        texts = self.pool.generate(4, seed=seed, **how)
        assert texts == [one.generate(4, seed=seed + i, **how) for i, one in enumerate(self.alone)]

    def reset(self) -> None:
        self.pool.reset()
        for stream in self.alone:
            stream.reset()

    def ask(self) -> None:
        i = int(self.random.integers(len(self.alone)))
        self.pool.stream(i).beam(2, 3)
        self.alone[i].score(self.tokens(5))


ACTS = [
    *[Company.feed] * 4,
    *[Company.step] * 3,
    Company.fork,
    Company.leave_and_return,
    Company.keep_state,
    Company.generate,
    Company.reset,
    Company.ask,
]


@pytest.mark.slow
@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("cell", CELL_NAMES)
def test_streams_in_a_pool_have_the_bits_of_single_streams(
    make: Callable[..., Model], kernel: Any, cell: str, storage: str
) -> None:
    sizes: list[dict[str, Any]] = [
        {"documents": "line"},
        {"hidden_size": 33, "embedding_size": 17, "num_layers": 3, "residual": True, "scale": 0.3},
        {"hidden_size": 16, "tied": True, "num_layers": 1, "documents": "line"},
    ]
    for seed in range(12):
        network = Network(make(cell, **sizes[seed % 3]), storage=storage)
        company = Company(network, np.random.default_rng(seed))
        acts = company.random.permutation(len(ACTS))
        for act in acts[:9]:
            ACTS[act](company)
        same(company.pool, company.alone)
        # the same streams among others
        picked = company.random.permutation(len(company.alone))[: 1 + len(company.alone) // 2]
        company.alone = [company.alone[i] for i in picked]
        pool = StreamPool(network, len(picked))
        for i, number in enumerate(picked.tolist()):
            pool.put(i, company.pool.stream(number))
        company.pool = pool
        for act in acts[9:]:
            ACTS[act](company)
        same(company.pool, company.alone)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("cell", CELL_NAMES)
def test_many_steps_in_one_call_have_the_bits_of_single_steps(
    make: Callable[..., Model],
    kernel: Any,
    monkeypatch: pytest.MonkeyPatch,
    cell: str,
    storage: str,
) -> None:
    """The table of input sums also gives the same bits as the product with the embedding."""
    model = make(cell, hidden_size=33, embedding_size=7, scale=0.3)
    looked_up = Network(model, storage=storage)
    monkeypatch.setattr(module, "TABLE_LIMIT", 0)
    network = Network(model, storage=storage)
    random = np.random.default_rng(0)
    # more than the 128 rows that the kernel computes at once, with one and with several rows in a step
    for T, B in ((150, 1), (13, 13), (5, 40)):
        tokens = random.integers(0, 11, (T, B))
        state = random.standard_normal((B, network.state_size)).astype(np.float32)
        y, after = network.forward(tokens, state)
        for given, wanted in zip(looked_up.forward(tokens, state), (y, after), strict=True):
            np.testing.assert_array_equal(given, wanted)
        logits, log = network.logits(y), network.log_probabilities(y)
        for t in range(T):
            one, state = network.forward(tokens[t : t + 1], state)
            np.testing.assert_array_equal(one[0], y[t])
            np.testing.assert_array_equal(network.logits(one[0, 0]), logits[t, 0])
            np.testing.assert_array_equal(network.log_probabilities(one[0, :1]), log[t, :1])
        np.testing.assert_array_equal(state, after)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("cell", CELL_NAMES)
def test_step_has_the_bits_of_feed_and_log_probabilities(
    make: Callable[..., Model], kernel: Any, cell: str, storage: str
) -> None:
    for documents, H in (("file", 31), ("line", 64)):
        model = make(cell, documents=documents, hidden_size=H, scale=0.4)
        network = Network(model, storage=storage)
        stepped, fed = Stream(network), Stream(network)
        out = np.empty(len(model.codec), np.float32)
        for token in np.random.default_rng(0).integers(0, len(model.codec), 60).tolist():
            assert stepped.step(token, out=out) is out
            fed.feed([token])
            np.testing.assert_array_equal(out, fed._log_probabilities())
            np.testing.assert_array_equal(np.exp(out), stepped.probabilities)
            assert (stepped.state, stepped.unknown) == (fed.state, fed.unknown)


# Sizes at which the kernel splits every product between threads, even that of a single row.
LARGE = {"hidden_size": 256, "embedding_size": 64, "num_layers": 2, "scale": 0.06}


def large(make: Callable[..., Model], cell: str, storage: str, threads: int) -> Network:
    codec = TextCodec("char", ("<unk>", *(chr(0x4E00 + i) for i in range(2048))))
    network = Network(make(cell, codec=codec, **LARGE), storage=storage)
    network._threads = threads
    return network


@pytest.mark.slow
@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("cell", CELL_NAMES)
def test_the_number_of_threads_changes_no_bit(
    make: Callable[..., Model], widest: Any, cell: str, storage: str
) -> None:
    random = np.random.default_rng(0)
    tokens = random.integers(0, 2049, (12, 13))
    results = []
    for threads in (1, 2, 3, 2):
        network = large(make, cell, storage, threads)
        y, after = network.forward(tokens, network.initial_state(13))
        alone = Stream(network).feed(tokens[:, 4])
        found = [
            y.tobytes(),
            after.tobytes(),
            network.logits(y).tobytes(),
            alone.state,
            alone.step(7).tobytes(),
            alone.generate(5, seed=1).encode(),
            alone.state,
        ]
        results.append(found)
    assert results[0] == results[1] == results[2] == results[3]


def work(network: Network, number: int) -> list[Any]:
    """Return the results of all methods of a stream that one thread calls."""
    stream = Stream(network)
    random = np.random.default_rng(number)
    found: list[Any] = []
    for _ in range(4):
        tokens = random.integers(0, len(network.model.codec), 9)
        stream.feed(tokens)
        found.append(stream.step(int(tokens[0])).tobytes())
        found.append(stream.generate(3, seed=number, top_k=50))
        found.append(stream.score(tokens).log_probabilities.tobytes())
        found.append(StreamPool(network, 3).put(1, stream).feed([tokens] * 3).stream(1).state)
        found.append(stream.state)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("storage", STORAGES)
def test_concurrent_python_threads_change_no_bit(
    make: Callable[..., Model], widest: Any, storage: str
) -> None:
    """Six Python threads share one network; the kernel's threads work for one of them at a time."""
    network = large(make, "lstm", storage, 2)
    alone = [work(network, number) for number in range(6)]
    with ThreadPoolExecutor(6) as threads:
        together = list(threads.map(lambda number: work(network, number), range(6)))
    assert together == alone


TORCHS = "import torch; from elman.nn import autograd; autograd.threads()"
ALONE = "import sys, pytest; sys.exit(pytest.main(sys.argv[1:]))"


@pytest.mark.slow
@pytest.mark.parametrize("first", ["", TORCHS], ids=["own", "torch"])
def test_python_threads_with_kernel_threads_change_no_bit(first: str) -> None:
    """Repeat the tests above with threads of the kernel's own, and with those of torch."""
    chosen = "(the_number_of_threads and lstm or concurrent_python) and float32"
    command = [sys.executable, "-c", f"{first}\n{ALONE}", "-q", "-k", chosen, __file__]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stdout
    assert " passed" in run.stdout
