"""Generation in one call of the kernel, its random draws, and a step that allocates no memory."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from elman.files.model import Model
from elman.language.network import Network
from elman.language.sampling import Sampling
from elman.language.stream import Stream
from elman.text.vocabulary import TextCodec
from elman.text.words import UNKNOWN_ID
from factories import CELL_NAMES

KINDS = [(level, documents) for level in ("char", "word") for documents in ("file", "line")]
SAMPLINGS: list[dict[str, Any]] = [
    *({"temperature": value} for value in (0, 1e-300, 1e-40, 0.5, 1, 1e40)),
    *({"top_k": value} for value in (1, 3, 10_000)),
    *({"top_p": value} for value in (1e-9, 0.6, 1.0)),
    {"temperature": 0.5, "top_k": 5, "top_p": 0.9},
    {"temperature": 3.0, "top_k": 9, "top_p": 1.0},
    {"temperature": 0, "top_k": 2, "top_p": 0.1},
]


def with_bias(model: Model, **biases: float) -> Model:
    bias = model.arrays["head.bias"].copy()
    for token, value in biases.items():
        bias[model.codec.tokens.index(token)] = value
    return replace(model, arrays={**model.arrays, "head.bias": bias})


def assert_whole_is_its_pieces(stream: Stream, n: int, **options: Any) -> str:
    pieces = stream.fork()
    expected = "".join(pieces.generate_pieces(n, **options))
    assert stream.generate(n, **options) == expected
    # the stream is at the same position as after its pieces
    assert stream.state == pieces.state
    assert stream.unknown == pieces.unknown
    assert stream.predict(5) == pieces.predict(5)
    return expected


@pytest.mark.slow
@pytest.mark.parametrize(("level", "documents"), KINDS)
@pytest.mark.parametrize("cell", CELL_NAMES)
def test_generate_joins_its_pieces(
    make: Callable[..., Model], way: str, cell: str, level: str, documents: str
) -> None:
    model = make(cell, level=level, documents=documents, scale=0.7)
    for storage in ("float32", "bf16") if way == "kernel" else ("float32",):
        stream = Stream(Network(model, storage=storage))
        for seed, options in enumerate(SAMPLINGS):
            prompt = ["", "abc", "I like", "\n"][seed % 4]
            stream.feed(prompt)
            for n in (1, 23):
                assert_whole_is_its_pieces(stream, n, seed=seed, **options)
            if seed % 3 == 0:
                stream.reset()


@pytest.mark.parametrize("level", ["char", "word"])
def test_generated_document_ends_are_line_ends(
    make: Callable[..., Model], way: str, level: str
) -> None:
    model = with_bias(make("lstm", level=level, documents="line", scale=0.3), **{"<end>": 1.0})
    stream = Stream(model).feed("ab")
    text = assert_whole_is_its_pieces(stream, 200, seed=1)
    assert 10 < text.count("\n") < 150
    # after a generation that ends with the end of a document, the stream is in its initial state
    sure = Stream(with_bias(model, **{"<end>": 1e4})).feed("ab")
    assert sure.generate(3) == "\n\n\n"
    assert sure.state == Stream(sure.network).state


def test_generate_without_a_seed_varies(make: Callable[..., Model], way: str) -> None:
    stream = Stream(make("gru", scale=0.3))
    assert stream.fork().generate(40) != stream.fork().generate(40)


@pytest.mark.parametrize("scale", [1e19, 1e37])
@pytest.mark.parametrize("cell", CELL_NAMES)
def test_a_network_that_overflows_generates_its_pieces(
    make: Callable[..., Model], way: str, cell: str, scale: float
) -> None:
    """If numbers overflow, the kernel gives up, and the whole text is generated again piece by piece."""
    activation = "linear" if cell == "rnn" else "tanh"
    stream = Stream(make(cell, activation=activation, scale=scale))
    for options in SAMPLINGS[::3]:
        assert len(assert_whole_is_its_pieces(stream, 9, seed=2, **options)) == 9


def shares(sampling: Sampling, logits: np.ndarray) -> np.ndarray:
    """Return the probability of each token, in float64."""
    weights = sampling.weights(logits.astype(np.float64))
    return np.asarray(weights / weights.sum())


# Largest error of a probability. Weights are exponentials of float32 products, each a few roundings (2^-24)
# from the exact weight, and their sum is in float64.
SHARE = 16 * 2.0**-24


@pytest.mark.parametrize("V", [2, 3, 15, 16, 17, 33, 65, 500])
@pytest.mark.parametrize("options", SAMPLINGS, ids=str)
def test_draws_have_the_exact_probabilities(kernel: Any, V: int, options: dict[str, Any]) -> None:
    """Of evenly spread random numbers, each token gets its probability's share, give or take one number."""
    sampling = Sampling(**options)
    logits = np.random.default_rng(V).standard_normal(V).astype(np.float32)
    logits[UNKNOWN_ID] = 30  # <unk> is the most probable token by far, but must never be drawn
    uniforms = (np.arange(4000) + 0.5) / 4000
    drawn = [sampling.draw(logits, uniform) for uniform in uniforms.tolist()]
    assert drawn == sorted(drawn)  # because the tokens have their intervals in ascending order
    found = np.bincount(drawn, minlength=V) / len(drawn)
    assert found[UNKNOWN_ID] == 0
    expected = shares(sampling, logits)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1 / len(drawn) + SHARE)
    assert not found[expected == 0].any()
    # the lowest and the highest random number draw tokens with a probability above 0
    reachable = np.flatnonzero(expected)
    assert sampling.draw(logits, 0.0) == reachable[0]
    assert sampling.draw(logits, np.nextafter(1.0, 0.0)) == reachable[-1]


@pytest.mark.parametrize("V", [2, 16, 37])
@pytest.mark.parametrize("options", SAMPLINGS, ids=str)
def test_the_kernel_draws_ties_as_numpy_does(kernel: Any, V: int, options: dict[str, Any]) -> None:
    logits = np.random.default_rng(0).integers(-1, 2, V).astype(np.float32)
    sampling = Sampling(**options)
    weights = sampling.weights(logits)
    reach = weights.cumsum(dtype=np.float64)
    # leave out numbers close to the border of two tokens' intervals, where a rounding error decides
    uniforms = [
        u for u in np.linspace(0.001, 0.999, 97) if abs(u - reach / reach[-1]).min() > SHARE
    ]
    assert len(uniforms) > 90
    for uniform in uniforms:
        expected = int(reach.searchsorted(uniform * reach[-1], side="right"))
        assert sampling.draw(logits, uniform) == expected


def test_unknown_is_not_drawn_even_if_it_is_certain(make: Callable[..., Model], way: str) -> None:
    stream = Stream(with_bias(make("rnn"), **{"<unk>": 1e30}))
    for options in SAMPLINGS:
        text = assert_whole_is_its_pieces(stream, 30, seed=0, **options)
        assert "\ufffd" not in text
        assert "<unk>" not in text


@pytest.mark.parametrize("given", ["float64", "strided", "short", "list", "read-only"])
def test_step_writes_to_out_or_refuses_it(make: Callable[..., Model], way: str, given: str) -> None:
    """An unsuitable array is an error; `step` never leaves it silently without the result."""
    stream = Stream(make("lstm"))
    expected = stream.fork().step(3)
    out: Any = {
        "float64": np.zeros(11),
        "strided": np.zeros(22, np.float32)[::2],
        "short": np.zeros(10, np.float32),
        "list": [0.0] * 11,
        "read-only": np.zeros(11, np.float32),
    }[given]
    if given == "read-only":
        out.flags.writeable = False
    try:
        stream.step(3, out)
    except (TypeError, ValueError):
        return
    np.testing.assert_allclose(out, expected, rtol=0, atol=2.0**-20)


def test_a_fork_steps_independently(make: Callable[..., Model], way: str) -> None:
    """A stream writes its states into two rows in turn, which it must not share with its forks."""
    stream = Stream(make("gru", scale=0.5))
    stream.step(3)
    forks = [stream.fork() for _ in range(3)]
    before = stream.state
    for token, fork in enumerate(forks, 4):
        for _ in range(3):
            fork.step(token)
        assert stream.state == before
    for token, fork in enumerate(forks, 4):
        for _ in range(3):
            stream.step(token)
        assert stream.state == fork.state
        stream.state = before


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["float32", "bf16"])
@pytest.mark.parametrize("cell", CELL_NAMES)
def test_a_step_allocates_nothing(
    make: Callable[..., Model], widest: Any, cell: str, storage: str
) -> None:
    codec = TextCodec("char", ("<unk>", *(chr(0x4E00 + i) for i in range(299))))
    network = Network(make(cell, codec=codec, hidden_size=65, scale=0.1), storage=storage)
    stream, out = Stream(network), np.empty(300, np.float32)
    tokens = np.random.default_rng(0).integers(1, 300, 10_000).tolist()

    def growth() -> tuple[int, int]:
        """Return how many bytes stay allocated after 10,000 steps, and the most during these steps."""
        # what measures coverage follows every line of Python and allocates memory for that
        tracer = sys.gettrace()
        sys.settrace(None)
        tracemalloc.start()
        try:
            for token in tokens[:100]:
                stream.step(token, out=out)
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            for token in tokens:
                stream.step(token, out=out)
            after, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            sys.settrace(tracer)
        return after - before, peak - before

    # another thread of the test's process may allocate too, so take the smallest of three counts
    stays, most = (min(part) for part in zip(*(growth() for _ in range(3)), strict=True))
    # less than one byte per step stays allocated
    assert stays < len(tokens)
    # a step may allocate small Python objects, but no array as large as a state or a row of logits
    assert most < 4 * min(network.state_size, 300)


MEMORY = """
import re, resource, sys
from pathlib import Path
import numpy as np
from elman.text.vocabulary import TextCodec
from elman.language.config import NetworkConfig
from elman.files.model import Model
from elman.language.network import Network
from elman.language.stream import Stream

def most():
    if Path("/proc/self/status").exists():  # on Linux, getrusage counts the parent process too
        return int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

for V, storage in ((2, "float32"), (11, "float32"), (11, "bf16")):
    codec = TextCodec("char", ("<unk>", *"abcdefghij"[: V - 1]))
    config = NetworkConfig("language", "lstm", "tanh", V, 33, 33, 2)
    arrays = {n: np.full(s, 0.01, np.float32) for n, s in config.parameters().items()}
    stream = Stream(Network(Model(config, arrays, codec, {}), storage=storage))
    out = np.empty(V, np.float32)
    for act, tokens in ((lambda: stream.step(1, out), 1), (lambda: stream.generate(50, seed=0), 50)):
        grown = []
        for count in (500, 10_000):
            for _ in range(count // tokens):
                act()
            grown.append(most())
        print(grown[1] - grown[0])
"""


@pytest.mark.slow
def test_steps_leak_no_memory_in_the_kernel(widest: Any) -> None:
    run = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    grown = [int(line) for line in run.stdout.split()]
    # in kilobytes; a leak of the smallest block (64 bytes) in each of 10,000 steps would be 640
    assert len(grown) == 6
    assert max(grown) < 500, grown
