"""The network of a language model, ready to run in the compiled kernel, or in numpy without it."""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from elman.cells import find
from elman.engine import kernel as native
from elman.engine.layers import Layer, bounded, log_softmax
from elman.engine.passage import Layers
from elman.engine.pauses import one_thread, pause
from elman.engine.quantisation import IntegerLayer, IntegerMatrix
from elman.errors import InputError, OptionError
from elman.files.model import Model
from elman.language.config import NetworkConfig
from elman.language.tokens import Chunk
from elman.text.vocabulary import TextCodec

# Logits that are held at once when many rows of them are needed (8 MiB).
MAX_LOGITS = 2**21
TABLE_LIMIT = 2**21
"""Largest table of the first layer's input sums of every token, in numbers (8 MiB)."""
# Steps of one forward call on a long text: enough for speed, few enough for little memory.
STEPS_PER_CALL = 512

STORAGES = ("float32", "bf16", "int8")


class DrawSettings(TypedDict):
    """The settings of a random draw as the kernel takes them."""

    factor: float
    """Factor of the logits; 0 takes the most probable token."""
    top_k: int
    """0 for all tokens."""
    top_p: float
    """0 for all tokens."""
    never: int
    """The token that is never drawn."""


class Network:
    """A language model's network, ready to run.

    It never changes, so any number of streams and threads may share it. The state of a stream is a row of
    numbers ``[S]``: the states ``[H]`` of every layer, then the last output ``[H]``.

    Args:
        model: The trained model.
        dtype: Float32, or float64 for reference results.
        storage: "float32"; "bf16" to read weights rounded to bfloat16, half the memory traffic of a step; or
            "int8" to multiply integers of 8 bits (default: as the model is stored).

    Raises:
        OptionError: The storage does not exist, or needs the compiled kernel, which is missing.
    """

    def __init__(
        self,
        model: Model[NetworkConfig, TextCodec],
        dtype: npt.DTypeLike = np.float32,
        storage: str | None = None,
    ) -> None:
        if storage == "int8":
            model = model.quantised()
        config = model.config
        self.model = model
        self.dtype = np.dtype(dtype)
        self.storage = storage = model.storage if storage is None else storage
        self.cell = find(config.cell, config.activation)
        self.hidden_size = config.hidden_size
        self._use(model.arrays)
        # the states of all layers, then the last output
        self.state_size = (config.num_layers * len(self.cell.states) + 1) * config.hidden_size
        self._threads = native.threads()
        # The kernel computes in float32 only.
        kernel = native.kernel() if self.dtype == np.float32 else None
        if native.cell_number(self.cell) is None:
            kernel = None
        if storage not in STORAGES:
            raise OptionError("storage", got=storage, expected=f"one of {', '.join(STORAGES)}")
        if storage == "bf16" and kernel is None:
            reason = f"without the compiled kernel: {native.why_not()}"
            got = f"bf16 {reason if self.dtype == np.float32 else f'in {self.dtype}'}"
            raise OptionError("storage", got=got, expected="float32")
        self._kernel = None if kernel is None else self._in_kernel(kernel)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.model, self.dtype, self.storage)

    def _use(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take the parameters from `arrays`, named as in the model."""
        self.arrays = arrays
        self.embedding: np.ndarray = arrays["embedding.weight"]
        self.head_weight = self.embedding if self.model.config.tied else arrays["head.weight"]
        self.head_bias: np.ndarray = arrays["head.bias"]

    def _in_kernel(self, kernel: native.Kernel) -> native.Network | None:
        config = self.model.config
        embedding = np.ascontiguousarray(self.embedding, np.float32)
        return native.network_type()(
            kernel=kernel,
            storage=self.storage,
            residual=config.residual,
            cell=native.required_number(self.cell),
            layers=[
                Layer(self.cell, self.model.arrays, f"layers.{k}").directions[0]
                for k in range(config.num_layers)
            ],
            embedding=embedding,
            weight=embedding if config.tied else np.ascontiguousarray(self.head_weight, np.float32),
            bias=np.ascontiguousarray(self.head_bias, np.float32),
            tabled=TABLE_LIMIT,
        )

    @functools.cached_property
    def _numpy_layers(self) -> list[Layer]:
        if self.storage != "int8":
            return self._layers(self.dtype).layers
        names = [f"layers.{k}" for k in range(self.model.config.num_layers)]
        return [IntegerLayer(self.cell, self.arrays, name, self.dtype) for name in names]

    @functools.cached_property
    def _integer_head(self) -> IntegerMatrix:
        return IntegerMatrix(self.head_weight)

    def _times_head(self, hidden: np.ndarray) -> np.ndarray:
        if self.storage == "int8":
            return self._integer_head.product(hidden)
        product: np.ndarray = hidden @ self.head_weight.T.astype(self.dtype, copy=False)
        return product

    def _layers(self, dtype: npt.DTypeLike, *, kernel: bool = True) -> Layers:
        config = self.model.config
        return Layers(config, self.arrays, residual=config.residual, dtype=dtype, kernel=kernel)

    def recording_layers(
        self, dtype: npt.DTypeLike | None = None, *, kernel: bool = True
    ) -> Layers:
        """Return the layers, ready to record a pass that explanations go back through.

        Args:
            dtype: The precision of the passes; None for the network's own.
            kernel: Whether the compiled kernel may run them, as in `Layers`.

        Raises:
            InputError: The weights are rounded, so their gradients would not be those of the model.
        """
        if self.storage == "bf16":
            what = "to look inside, the weights must be as trained"
            raise InputError(what, got=self.storage, remedy="load the model without storage")
        return self._layers(self.dtype if dtype is None else dtype, kernel=kernel)

    def layer_states(self, states: np.ndarray) -> list[np.ndarray]:
        """Return ``states [B, S]`` as `Layers.read` takes them: ``[1, states, B, H]`` for each layer."""
        H, count = self.hidden_size, len(self.cell.states)
        # A row of states ends with the last output, which no layer reads.
        rows = states[:, :-H].reshape(len(states), -1, 1, count, H)
        return [*rows.transpose(1, 2, 3, 0, 4)]

    @functools.cached_property
    def digest(self) -> bytes:
        """SHA-256 of configuration, vocabulary and weights; a stream's state names its model by it."""
        # The digest is part of saved states, so what it covers and in which order must not change.
        digest = hashlib.sha256(json.dumps(asdict(self.model.config), sort_keys=True).encode())
        codec = self.model.codec
        for token in (codec.level, codec.split, codec.documents, *codec.tokens):
            digest.update(token.encode("utf-8", "surrogatepass") + b"\xff")
        for name in sorted(self.model.arrays):
            digest.update(name.encode() + b"\xff")
            digest.update(np.ascontiguousarray(self.model.arrays[name]).data)
        return digest.digest()

    def initial_state(self, batch_size: int) -> np.ndarray:
        """Return state zero of `batch_size` streams, ``[B, S]``."""
        return np.zeros((batch_size, self.state_size), self.dtype)

    def output(self, state: np.ndarray) -> np.ndarray:
        """Return a view of the last output ``[.., H]`` in ``state [.., S]``."""
        return state[..., -self.hidden_size :]

    @functools.cached_property
    def start(self) -> np.ndarray:
        """The state ``[S]`` from which the first token is predicted.

        Its output is the one after the codec's start token. The states of the layers are those after the
        start token only if it is `<end>`, which begins every line in training; otherwise they are zero.
        """
        codec = self.model.codec
        _, after = self.forward(np.array([[codec.start_id]]), self.initial_state(1))
        if codec.end_id is None:
            after[:, : -self.hidden_size] = 0
        start: np.ndarray = after[0]
        start.flags.writeable = False
        return start

    def forward(
        self, tokens: np.ndarray, state: np.ndarray, fresh: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Read ``tokens [T, B]``; return the last layer's output ``[T, B, H]`` and the new state.

        Args:
            tokens: Token numbers below V; T is at least 1.
            state: ``[B, S]``.
            fresh: ``[B]`` bool: lanes that start from state zero instead of `state`.
        """
        pause()
        # np.where copies, so the caller's states stay as they are.
        if fresh is not None and fresh.any():
            state = np.where(fresh[:, None], self.dtype.type(0), state)
        if self._kernel is None:
            return self._in_numpy(tokens, state)
        # The kernel writes into arrays of ours and reports whether every number is finite.
        y = np.empty((*tokens.shape, self.hidden_size), np.float32)
        after = np.empty(state.shape, np.float32)
        is_finite = self._kernel.forward(
            tokens=np.ascontiguousarray(tokens, np.int64),
            before=np.ascontiguousarray(state, np.float32),
            after=after,
            y=y,
            threads=self._threads,
        )
        if not is_finite:
            # Repeat only the lanes that overflowed: the others keep their results to the bit.
            overflowed = ~np.isfinite(y).all(axis=(0, 2))
            y[:, overflowed], after[overflowed] = self._in_numpy(
                tokens[:, overflowed], state[overflowed]
            )
        return y, after

    @one_thread()
    def _in_numpy(self, tokens: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with np.errstate(over="ignore", invalid="ignore"):
            y, after = self._forward_in_numpy(tokens, state)
            # A NaN in any layer reaches y. Only then repeat the pass with limited numbers.
            if not math.isfinite(np.vdot(y, y)):
                y, after = self._forward_in_numpy(tokens, state, limited=True)
        return y, after

    def _forward_in_numpy(
        self, tokens: np.ndarray, state: np.ndarray, *, limited: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Compute `forward` layer by layer, as the specification and the fallback of the kernel.

        With `limited`, every state is kept finite; finite numbers do not change.
        """
        T, B = tokens.shape
        count, H = len(self.cell.states), self.hidden_size
        # [B, H] each: the states of the first layer, those of the second and so on, the last output
        before = np.split(state, range(H, state.shape[1], H), axis=1)
        after: list[np.ndarray] = []
        x = self.embedding[tokens.reshape(-1)].astype(self.dtype, copy=False)  # [T·B, E]
        for k, layer in enumerate(self._numpy_layers):
            start = tuple(before[k * count : (k + 1) * count])
            sizes = np.full(T, B)
            y, end = layer.run_in_numpy(layer.input_sums(x), sizes, start, limited=limited)
            after += end
            x = y + x if self.model.config.residual and k else y
        y = x.reshape(T, B, H)
        return y, np.concatenate([*after, y[-1]], axis=1)

    def position(self, state: np.ndarray) -> native.Position | None:
        """Return a position that the kernel moves on in ``state [S]`` itself; None without the kernel."""
        if self._kernel is None:
            return None
        position = native.position_type()
        return position(network=self._kernel, state=state, threads=self._threads)

    def generate(
        self, state: np.ndarray, uniforms: np.ndarray, settings: DrawSettings
    ) -> np.ndarray | None:
        """Draw a token for each of ``uniforms [N]``, read it into ``state [S]``, and return the tokens.

        Returns None and leaves `state` as it was if the kernel is missing or met numbers that are not finite.
        """
        if self._kernel is None:
            return None
        # The kernel changes the state token by token, so it gets a copy until it has succeeded.
        end_id, new_state = self.model.codec.end_id, state.copy()
        tokens = np.empty(len(uniforms), np.int64)
        done = self._kernel.generate(
            uniforms=uniforms,
            end=-1 if end_id is None else end_id,
            start=self.start,
            state=new_state,
            tokens=tokens,
            threads=self._threads,
            **settings,
        )
        if not done:
            return None
        state[:] = new_state
        return tokens

    def logits(self, hidden: np.ndarray) -> np.ndarray:
        """Return the logits ``[..., V]`` after outputs ``hidden [..., H]``, finite for any weights."""
        return self._rows(hidden, log=False)

    def log_probabilities(self, hidden: np.ndarray) -> np.ndarray:
        """Return the log probabilities ``[..., V]`` after outputs ``hidden [..., H]``."""
        return self._rows(hidden, log=True)

    def _rows(self, hidden: np.ndarray, log: bool) -> np.ndarray:
        pause()
        if self._kernel is not None:
            shape = (*hidden.shape[:-1], len(self.model.codec))
            rows = np.ascontiguousarray(hidden, np.float32).reshape(-1, self.hidden_size)
            # [rows, V]; callers keep the number of rows small
            result = np.empty((len(rows), shape[-1]), np.float32)
            if len(rows) and not self._kernel.logits(
                hidden=rows, logits=result, log=log, threads=self._threads
            ):
                overflowed = ~np.isfinite(result).all(axis=1)
                result[overflowed] = self._rows_in_numpy(rows[overflowed], log)
            return result.reshape(shape)
        return self._rows_in_numpy(hidden, log)

    @one_thread()
    def _rows_in_numpy(self, hidden: np.ndarray, log: bool) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):
            result = self._times_head(hidden) + self.head_bias
            # The dot product with itself finds NaN and infinity in one pass without a mask.
            if not math.isfinite(np.vdot(result, result)):
                result = bounded(result)
        return log_softmax(result) if log else result

    def target_log_probabilities(self, hidden: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return the log probability ``[N]`` of each of ``targets [N]`` after outputs ``hidden [N, H]``.

        Blocks of rows are computed one after the other, to hold only a part of ``[N, V]`` in memory.
        """
        result = np.empty(len(targets), self.dtype)
        for block in self.blocks(len(targets)):
            rows = self.log_probabilities(hidden[block])
            result[block] = rows[np.arange(len(rows)), targets[block]]
        return result

    def blocks(self, rows: int) -> Iterator[slice]:
        """Yield slices of so many rows of logits ``[V]``, each small enough to be computed at once."""
        size = max(1, MAX_LOGITS // len(self.model.codec))
        return (slice(start, start + size) for start in range(0, rows, size))

    def read(self, tokens: np.ndarray, state: np.ndarray) -> np.ndarray:
        """Read ``tokens [N]`` from ``state [S]`` and return the new state."""
        for start in range(0, len(tokens), STEPS_PER_CALL):
            _, states = self.forward(tokens[start : start + STEPS_PER_CALL, None], state[None])
            state = states[0]
        return state

    def score(self, tokens: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Read ``tokens [N]`` from ``state [S]``; return each one's log probability, and the new state."""
        log_probabilities = [np.empty(0, self.dtype)]
        for start in range(0, len(tokens), STEPS_PER_CALL):
            block = tokens[start : start + STEPS_PER_CALL]
            # The first token is predicted from the output before the text, each other one from the output
            # before it.
            before = self.output(state)[None]
            outputs, states = self.forward(block[:, None], state[None])
            hidden = np.concatenate([before, outputs[:-1, 0]])
            log_probabilities.append(self.target_log_probabilities(hidden, block))
            state = states[0]
        return np.concatenate(log_probabilities), state

    def score_chunks(self, chunks: Iterable[Chunk]) -> Iterator[tuple[Chunk, np.ndarray]]:
        """Yield each chunk with the log probabilities ``[chunk.predicted]`` of its targets, row by row."""
        state: np.ndarray | None = None
        for chunk in chunks:
            if state is None:
                state = self.initial_state(len(chunk.fresh))
            hidden, state = self.forward(chunk.inputs, state, chunk.fresh)
            targets = chunk.targets[chunk.is_target]
            yield chunk, self.target_log_probabilities(hidden[chunk.is_target], targets)
