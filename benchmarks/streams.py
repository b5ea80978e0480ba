"""Benchmark a streamed character LSTM: one step, a whole generation, a thousand streams at once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from benchmarks import peers
from benchmarks.measure import Case, Prepared, Row, Settings, agree, agree_in_norm

from cases import Case as Sizes
from elman.bench import LAYERS, Side, operations, random_model
from elman.cells import find
from elman.engine import kernel as native
from elman.files.model import Model
from elman.language.network import Network
from elman.language.pool import StreamPool
from elman.language.sampling import generator
from elman.language.stream import Stream
from elman.text.words import UNKNOWN_ID

__all__ = ["cases", "generation", "natural", "pool", "step"]

STEPS = 200
COMPARED = 50
# how many times faster than ONNX Runtime and torch a step should be: the least, and the goal
OVER_ORT, OVER_ORT_BF16, OVER_TORCH = (2.0, 4.0), (4.0, 7.0), (20.0, 60.0)


class TorchStream(torch.nn.Module):
    """The model in torch, which maps a token ``[1, B]`` and states to log probabilities and new states."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        config = model.config
        self.embedding = torch.nn.Embedding(config.vocabulary_size, config.embedding_size)
        self.layers = torch.nn.LSTM(
            config.embedding_size, config.hidden_size, num_layers=config.num_layers
        )
        self.head = torch.nn.Linear(config.hidden_size, config.vocabulary_size)
        state = {}
        for name, array in model.arrays.items():
            where, _, rest = name.partition(".")
            number, _, weight = rest.partition(".")
            key = f"layers.{weight}_l{number}" if where == "layers" else name
            state[key] = torch.from_numpy(array.copy())
        self.load_state_dict(state)

    def forward(self, token: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        y, state = self.layers(self.embedding(token), state)
        return torch.log_softmax(self.head(y), -1), state


class TorchReader:
    """Steps of a `TorchStream`, compiled or not, that carry the state."""

    def __init__(self, run: Callable[..., Any], H: int, B: int = 1, onednn: bool = True) -> None:
        self.run, self.onednn = run, onednn
        self.zeros = torch.zeros(LAYERS, B, H)
        self.state: Any = (self.zeros, self.zeros)

    def read(self, tokens: list[torch.Tensor]) -> list[torch.Tensor]:
        with torch.inference_mode(), peers.onednn(self.onednn):
            found = []
            for token in tokens:
                out, self.state = self.run(token, self.state)
                found.append(out)
            return found

    def results(self, tokens: list[torch.Tensor]) -> dict[str, np.ndarray]:
        """Return the log probabilities after each token, from a state of zeros."""
        self.state = (self.zeros, self.zeros)
        return _logs([out.numpy() for out in self.read(tokens)])


def _logs(outs: list[np.ndarray]) -> dict[str, np.ndarray]:
    return {"log probabilities": np.stack([out.reshape(-1) for out in outs])}


def _allowed(H: int, V: int, T: int) -> float:
    """Return the allowed relative difference of two sides' log probabilities after T steps."""
    sizes = Sizes(find("lstm"), T, 1, H, H, num_layers=LAYERS)
    return 2 * 6 * 2.0**-24 * (sizes.roundings + H + V) ** 0.5


def _with_threads(side: Side, threads: int) -> Side:
    """Return a side that runs torch with this number of threads."""
    return Side(side.call, side.steps, lambda: torch.set_num_threads(threads))


def _thread_counts() -> tuple[int, ...]:
    return tuple(sorted({1, torch.get_num_threads()}))


def _networks(model: Model) -> dict[str, Network]:
    """Return Elman's sides of the comparison by name: one for each storage and number of threads."""
    storages = {"elman": "float32", "elman int8": "int8"}
    if native.kernel() is not None:
        storages["elman bf16"] = "bf16"
    found = {}
    for name, storage in storages.items():
        for threads in _thread_counts():
            network = Network(model, storage=storage)
            network._threads = threads
            found[f"{name} x{threads}"] = network
    return found


def _is_rounded(name: str) -> bool:
    """Return whether the weights of a side are rounded, so that its probabilities differ."""
    return "bf16" in name or "int8" in name


def _of(sides: dict[str, Any], start: str) -> tuple[str, ...]:
    """Return the names of the sides of one kind, with any number of threads."""
    return tuple(name for name in sides if name.rsplit(" x", 1)[0] == start)


def _rounded_rows(
    title: str, sides: dict[str, Any], others: tuple[str, ...], count: float
) -> list[Row]:
    """Return the rows of the sides with rounded weights, against the same others."""
    return [
        Row(f"{title}, {low}", ours, others, operations=count)
        for low in ("bf16", "int8")
        if (ours := _of(sides, f"elman {low}"))
    ]


def _from_zeros(network: Network) -> Stream:
    stream = Stream(network)
    stream._state[:] = 0
    return stream


def _ort_streams(model: Model, B: int = 1) -> dict[str, peers.OrtStream]:
    if peers.missing("onnxruntime"):
        return {}
    data = peers.onnx_bytes(model)
    return {
        f"{'ort bound' if bound else 'ort'} x{threads}": peers.OrtStream(
            data, model, threads, bound, B
        )
        for bound in (False, True)
        for threads in _thread_counts()
    }


def _ort_results(stream: peers.OrtStream, tokens: list[np.ndarray]) -> dict[str, np.ndarray]:
    stream.reset()
    return _logs([stream.step(token).copy() for token in tokens])


def step(H: int, settings: Settings) -> Prepared:
    """Compare one streaming step from Python, for one stream."""
    model = random_model("lstm", H)
    V, threads = len(model.codec), torch.get_num_threads()
    numbers = np.random.default_rng(0).integers(1, V, STEPS)
    listed = numbers.tolist()
    as_torch = [torch.tensor([[number]]) for number in listed]
    as_numpy = [np.array([[number]]) for number in listed]
    sides: dict[str, Side] = {}
    agreement, left_out = {}, peers.missing("onnxruntime")

    plain = TorchStream(model)
    expected = TorchReader(plain, H).results(as_torch[:COMPARED])
    allowed = _allowed(H, V, COMPARED)

    out = np.empty(V, np.float32)
    for name, network in _networks(model).items():
        reader = _from_zeros(network)
        got = _logs([reader.step(number).copy() for number in listed[:COMPARED]])
        # operations in the products of the layers and of the head
        agreement[name] = (
            agree_in_norm(got, expected, LAYERS + 1)
            if _is_rounded(name)
            else agree(got, expected, allowed)
        )

        def ours(reader: Stream = reader) -> None:
            for number in listed:
                reader.step(number, out)

        sides[name] = Side(ours, STEPS)

    ways = {"torch": TorchReader(plain, H), "torch no oneDNN": TorchReader(plain, H, onednn=False)}

    def try_out(made: Any) -> None:
        ways["torch compile"] = TorchReader(made, H)
        ways["torch compile"].read(as_torch)

    if reason := peers.compiled("stream", TorchStream(model), try_out, settings.compile_seconds):
        left_out["torch.compile"] = reason
    for name, way in ways.items():
        agreement[name] = agree(way.results(as_torch[:COMPARED]), expected, allowed)
        for count in _thread_counts():
            side = Side(functools.partial(way.read, as_torch), STEPS)
            sides[f"{name} x{count}"] = _with_threads(side, count)

    for name, stream in _ort_streams(model).items():
        agreement[name] = agree(_ort_results(stream, as_numpy[:COMPARED]), expected, allowed)
        sides[name] = Side(functools.partial(stream.read, as_numpy), STEPS)

    in_torch = tuple(name for way in ways for name in _of(sides, way))
    in_ort = _of(sides, "ort") + _of(sides, "ort bound")
    ours_f32, ours_bf16 = _of(sides, "elman"), _of(sides, "elman bf16")
    title = f"stream step, H {H}"
    marked = H in (64, 128, 256)
    over_torch, over_ort, low_marks = (
        marks if marked else (None, None) for marks in (OVER_TORCH, OVER_ORT, OVER_ORT_BF16)
    )
    count = operations("lstm", 1, 1, H, H, LAYERS) + 2 * H * V
    rows = [
        Row(f"{title}, over torch", ours_f32, _of(sides, "torch"), *over_torch, count),
        Row(f"{title}, over torch's best", ours_f32, in_torch, *over_torch, count),
        Row(f"{title}, over ONNX Runtime", ours_f32, in_ort, *over_ort, count),
    ]
    ours_int8 = _of(sides, "elman int8")
    int8_marks = {256: (2.0, 3.5), 512: (2.5, 4.0)}.get(H, (None, None))
    rows.append(Row(f"{title} int8, over float32", ours_int8, ours_f32, *int8_marks, count))
    if ours_bf16:
        rows.append(Row(f"{title} bf16, over ONNX Runtime", ours_bf16, in_ort, *low_marks, count))
    return Prepared(rows, sides, agreement, left_out, after=lambda: torch.set_num_threads(threads))


def natural(H: int, settings: Settings, k: int = 5) -> Prepared:
    """Compare `feed(character)` and `predict(k)` with a step of ONNX Runtime and a sort of its result."""
    del settings
    model = random_model("lstm", H)
    names = model.codec.tokens
    numbers = np.random.default_rng(0).integers(1, len(names), STEPS)
    texts = [names[number] for number in numbers.tolist()]
    as_numpy = [np.array([[number]]) for number in numbers.tolist()]
    sides: dict[str, Side] = {}
    agreement = {}

    def answers(stream: peers.OrtStream, token: np.ndarray) -> list[tuple[str, float]]:
        out = stream.step(token).reshape(-1)
        out[UNKNOWN_ID] = -np.inf
        return [(names[i], float(np.exp(out[i]))) for i in np.argsort(-out)[:k].tolist()]

    expected: list[list[tuple[str, float]]] = []
    for name, stream in _ort_streams(model).items():
        stream.reset()
        expected = [answers(stream, token) for token in as_numpy[:COMPARED]]

        def theirs(stream: peers.OrtStream = stream) -> None:
            for token in as_numpy:
                answers(stream, token)

        sides[name] = Side(theirs, STEPS)
    for name, network in _networks(model).items():
        reader = _from_zeros(network)
        found = [reader.feed(text).predict(k) for text in texts[:COMPARED]]
        if expected and not _is_rounded(name):
            pairs = [
                {"probabilities": np.array([[share for _, share in row] for row in rows])}
                for rows in (found, expected)
            ]
            agreement[name] = agree(*pairs, _allowed(H, len(names), COMPARED))

        def ours(reader: Stream = reader) -> None:
            for text in texts:
                reader.feed(text)
                reader.predict(k)

        sides[name] = Side(ours, STEPS)
    marks = {64: (3.0, 5.0), 128: (2.5, 4.0), 256: (2.0, 3.0)}.get(H, (None, None))
    in_ort = _of(sides, "ort") + _of(sides, "ort bound")
    count = operations("lstm", 1, 1, H, H, LAYERS) + 2 * H * len(names)
    title = f"feed a character and predict {k}, H {H}, over ONNX Runtime"
    rows = [Row(title, _of(sides, "elman"), in_ort, *marks, count)]
    return Prepared(rows, sides, agreement, peers.missing("onnxruntime"))


class OrtWriter:
    """Generate text in a Python loop: ONNX Runtime computes the steps, numpy draws the tokens."""

    def __init__(self, stream: peers.OrtStream, start: int) -> None:
        self.stream = stream
        self.first = self._read(start)

    def _read(self, token: int) -> np.ndarray:
        return self.stream.step(np.array([[token]])).reshape(-1)

    def reset(self) -> np.ndarray:
        """Start as Elman's streams do before the first token, with the log probabilities of that start."""
        self.stream.reset()
        return self.first.copy()

    @staticmethod
    def reach(log_probabilities: np.ndarray) -> np.ndarray:
        """Return the running sum of the probabilities; `<unk>` is never drawn."""
        weights = np.exp(log_probabilities)
        weights[UNKNOWN_ID] = 0
        return weights.cumsum(dtype=np.float64)

    def write(self, n: int, seed: int) -> list[int]:
        out, tokens = self.reset(), []
        for uniform in generator(seed).random(n).tolist():
            reach = self.reach(out)
            token = int(reach.searchsorted(uniform * reach[-1], side="right"))
            tokens.append(token)
            out = self._read(token)
        return tokens

    def check(self, tokens: list[int], seed: int, allowed: float) -> float:
        """Return the largest error of a drawn token, as a share of the error that rounding allows.

        Two sides that draw with the same random numbers may draw different tokens where a number lies on a
        border, and then diverge. So each of our tokens is checked after the tokens that we read before it.
        """
        out, worst = self.reset(), 0.0
        for token, uniform in zip(tokens, generator(seed).random(len(tokens)), strict=True):
            reach = self.reach(out)
            # rounding moves both borders of a token's interval, and the drawn number
            limit = 2 * reach[-1] * allowed * float(np.abs(out).max())
            place = uniform * reach[-1]
            low = reach[token - 1] if token else 0.0
            share = max(low - place, place - reach[token], 0.0) / limit
            assert share <= 1, f"token {token} drawn at {place}, between {low} and {reach[token]}"
            worst = max(worst, share)
            out = self._read(token)
        return worst


def generation(H: int, settings: Settings, n: int = 10_000) -> Prepared:
    """Compare `n` characters generated in one call with a Python loop on ONNX Runtime."""
    del settings
    model, seed = random_model("lstm", H), 1
    allowed = _allowed(H, len(model.codec), COMPARED)
    sides, agreement = {}, {}
    writers = {
        name: OrtWriter(stream, model.codec.start_id)
        for name, stream in _ort_streams(model).items()
    }
    judge = next(iter(writers.values()), None)
    for name, network in _networks(model).items():
        stream = Stream(network)

        def write(stream: Stream = stream) -> str:
            return stream.reset().generate(n, seed)

        if judge is not None and not _is_rounded(name):
            tokens = model.codec.encode(write()).tolist()
            agreement[name] = judge.check(tokens, seed, allowed)
        sides[name] = Side(write)
    for name, writer in writers.items():
        agreement[name] = writer.check(writer.write(n, seed), seed, allowed)
        sides[name] = Side(functools.partial(writer.write, n, seed))
    loops = _of(sides, "ort") + _of(sides, "ort bound")
    title = f"generation of {n:,} characters, H {H}"
    count = n * (operations("lstm", 1, 1, H, H, LAYERS) + 2 * H * len(model.codec))
    rows = [Row(title, _of(sides, "elman"), loops, 3.0, 8.0, count)]
    rows += _rounded_rows(title, sides, loops, count)
    return Prepared(rows, sides, agreement, peers.missing("onnxruntime"))


def pool(settings: Settings, n: int = 1000, H: int = 256) -> Prepared:
    """Compare `n` streams that step together: a token of each goes in, log probabilities come out."""
    del settings
    model = random_model("lstm", H)
    V = len(model.codec)
    tokens = np.random.default_rng(0).integers(1, V, (1, n))
    all_threads = max(_thread_counts())
    sides, agreement = {}, {}
    theirs = TorchReader(TorchStream(model), H, n)
    expected = theirs.results([torch.from_numpy(tokens)])
    allowed = _allowed(H, V, 1)
    for name, network in _networks(model).items():
        if not name.endswith(f" x{all_threads}"):
            continue
        streams = StreamPool(network, n)
        streams._states[:] = 0

        def together(streams: StreamPool = streams) -> np.ndarray:
            y, streams._states = streams.network.forward(tokens, streams._states)
            return streams.network.log_probabilities(y[0])

        got = _logs([together()])
        agreement[name] = (
            agree_in_norm(got, expected, LAYERS + 1)
            if _is_rounded(name)
            else agree(got, expected, allowed)
        )
        sides[name] = Side(together)
    sides["torch"] = Side(functools.partial(theirs.read, [torch.from_numpy(tokens)]))
    for name, stream in _ort_streams(model, n).items():
        agreement[name] = agree(_ort_results(stream, [tokens]), expected, allowed)
        sides[name] = Side(functools.partial(stream.step, tokens))
    # the first layer looks its input product up in a table, so it does not count
    count = operations("lstm", 1, n, H, H, LAYERS) - 2 * n * 4 * H * H + 2 * n * H * V
    others = ("torch", *_of(sides, "ort"), *_of(sides, "ort bound"))
    title = f"{n:,} streams together, H {H}"
    rows = [Row(title, _of(sides, "elman"), others, 0.5, 0.75, count, "share")]
    rows += _rounded_rows(title, sides, others, count)
    return Prepared(rows, sides, agreement, peers.missing("onnxruntime"))


def cases() -> list[Case]:
    """Return all cases of streams."""
    return [
        *(Case(f"stream {H}", functools.partial(step, H)) for H in (64, 128, 256, 512)),
        *(Case(f"natural {H}", functools.partial(natural, H)) for H in (64, 128, 256)),
        *(Case(f"generate {H}", functools.partial(generation, H)) for H in (128, 256)),
        Case("pool", pool),
    ]
