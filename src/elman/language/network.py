"""A model made ready to run: in the compiled kernel where there is one, else in numpy."""

from __future__ import annotations

import functools
import hashlib
import json
import math
from dataclasses import asdict
from typing import Any

import numpy as np

from elman.cells import find
from elman.engine import kernel as native
from elman.engine.layers import Layer, bounded, log_softmax
from elman.engine.network import TABLE_LIMIT, NumpyNetwork
from elman.engine.pauses import one_thread, pause
from elman.errors import OptionError
from elman.files.model import Model
from elman.text.words import UNKNOWN_ID

__all__ = ["BLOCK", "STORAGES", "Network"]

# Logits held at once where there are many rows of them (8 MiB).
BLOCK = 2**21

STORAGES = ("float32", "bf16")


class Network:
    """A model's network made ready to run.

    `dtype` is float32, or float64 where an oracle is wanted; with `storage` "bf16" a
    step reads the weights rounded to bfloat16, half the bytes, which needs the kernel. Nothing here
    changes after it is made, so any number of streams and threads may share one.

    A state is one row of numbers ``[S]`` a stream: the states ``[H]`` of every layer, then the last
    output ``[H]``. Raises OptionError.
    """

    def __init__(self, model: Model, dtype: Any = np.float32, storage: str = "float32") -> None:
        config = model.config
        self.model = model
        self.dtype = np.dtype(dtype)
        self.storage = storage
        self.cell = find(config.cell, config.activation)
        self.hidden_size = config.hidden_size
        self.state_size = (config.num_layers * len(self.cell.states) + 1) * config.hidden_size
        self._threads = native.threads()
        kernel = native.kernel() if self.dtype == np.float32 else None
        if native.cell_number(self.cell) is None:
            kernel = None
        if storage not in STORAGES:
            raise OptionError("storage", got=storage, expected=" or ".join(STORAGES))
        if storage == "bf16" and kernel is None:
            lack = f"without the compiled kernel: {native.why_not()}"
            got = f"bf16 {lack if self.dtype == np.float32 else f'in {self.dtype}'}"
            raise OptionError("storage", got=got, expected="float32")
        self._kernel = None if kernel is None else self._in_kernel()

    def __reduce__(self) -> tuple[type[Network], tuple[Model, Any, str]]:
        return type(self), (self.model, self.dtype, self.storage)

    def _in_kernel(self) -> native.Network:
        config, arrays = self.model.config, self.model.arrays

        def ready(name: str) -> np.ndarray:
            return np.ascontiguousarray(arrays[name], np.float32)

        embedding = ready("embedding.weight")
        return native.network_type()(
            kernel=native.running(),
            widened=self.storage == "bf16",
            residual=config.residual,
            cell=native.required_number(self.cell),
            layers=[
                Layer(self.cell, arrays, f"layers.{k}").directions[0]
                for k in range(config.num_layers)
            ],
            embedding=embedding,
            weight=embedding if config.tied else ready("head.weight"),
            bias=ready("head.bias"),
            tabled=TABLE_LIMIT,
        )

    @functools.cached_property
    def _stack(self) -> NumpyNetwork:
        return NumpyNetwork(self.model.config, self.model.arrays, self.dtype)

    @functools.cached_property
    def digest(self) -> bytes:
        """The SHA-256 of configuration, vocabulary and weights: which model a state belongs to."""
        whole = hashlib.sha256(json.dumps(asdict(self.model.config), sort_keys=True).encode())
        codec = self.model.codec
        for token in (codec.level, codec.split, codec.documents, *codec.tokens):
            whole.update(token.encode("utf-8", "surrogatepass") + b"\xff")
        for name in sorted(self.model.arrays):
            whole.update(name.encode() + b"\xff")
            whole.update(np.ascontiguousarray(self.model.arrays[name]).data)
        return whole.digest()

    def initial_state(self, batch_size: int) -> np.ndarray:
        """Return the start state of `batch_size` streams: zeros ``[B, S]``."""
        return np.zeros((batch_size, self.state_size), self.dtype)

    def output(self, state: np.ndarray) -> np.ndarray:
        """Return the last output ``[.., H]`` in ``state [.., S]``, a view."""
        return state[..., -self.hidden_size :]

    @functools.cached_property
    def start(self) -> np.ndarray:
        """The state ``[S]`` from which the first token is predicted.

        Its output is that after the codec's start token. Only `<end>`, which begins every line in
        training, is in the layers too: a text that no document end precedes is read from zeros.
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
        """Return the last layer's output ``[T, B, H]`` and the new state, for ``tokens [T, B]``.

        Lanes marked in ``fresh [B]`` start from zeros. Tokens are ids below V; T is at least 1.
        """
        pause()
        if fresh is not None and fresh.any():
            state = np.where(fresh[:, None], self.dtype.type(0), state)
        if self._kernel is None:
            return self._in_numpy(tokens, state)
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
            # those lanes alone: whoever shares the batch keeps its numbers to the bit
            lost = ~np.isfinite(y).all(axis=(0, 2))
            y[:, lost], after[lost] = self._in_numpy(tokens[:, lost], state[lost])
        return y, after

    @one_thread()
    def _in_numpy(self, tokens: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with np.errstate(over="ignore", invalid="ignore"):
            y, after = self._stack.forward(tokens, state)
            # a NaN anywhere below has reached y; the plain pass above is the common one
            if not math.isfinite(np.vdot(y, y)):
                y, after = self._stack.forward(tokens, state, limited=True)
        return y, after

    def step(
        self, token: int, state: np.ndarray, after: np.ndarray, log_probabilities: np.ndarray
    ) -> None:
        """Read one token from ``state [S]``; write the state after it and ``log_probabilities [V]``."""
        kernel = self._kernel
        if kernel is not None and kernel.step(
            token=token,
            before=state,
            after=after,
            log_probabilities=log_probabilities,
            threads=self._threads,
        ):
            return
        _, states = self.forward(np.array([[token]]), state[None])
        after[:] = states[0]
        log_probabilities[:] = self.log_probabilities(self.output(after)[None])[0]

    def generate(
        self, state: np.ndarray, uniforms: np.ndarray, factor: float, top_k: int, top_p: float
    ) -> np.ndarray | None:
        """Return as many drawn tokens as there are ``uniforms [N]``, each read into ``state [S]``.

        None where the kernel is absent or met numbers that are not finite; `state` is as it was.
        """
        if self._kernel is None:
            return None
        codec, going = self.model.codec, state.copy()
        tokens = np.empty(len(uniforms), np.int64)
        end = -1 if codec.end_id is None else codec.end_id
        done = self._kernel.generate(
            uniforms=uniforms,
            factor=factor,
            top_k=top_k,
            top_p=top_p,
            never=UNKNOWN_ID,
            end=end,
            start=self.start,
            state=going,
            tokens=tokens,
            threads=self._threads,
        )
        if not done:
            return None
        state[:] = going
        return tokens

    def logits(self, hidden: np.ndarray) -> np.ndarray:
        """Return the logits ``[..., V]`` of ``hidden [..., H]``, finite whatever the weights."""
        return self._rows(hidden, log=False)

    def log_probabilities(self, hidden: np.ndarray) -> np.ndarray:
        """Return the log probabilities ``[..., V]`` after ``hidden [..., H]``."""
        return self._rows(hidden, log=True)

    def _rows(self, hidden: np.ndarray, log: bool) -> np.ndarray:
        pause()
        if self._kernel is not None:
            shape = (*hidden.shape[:-1], len(self.model.codec))
            rows = np.ascontiguousarray(hidden, np.float32).reshape(-1, self.hidden_size)
            found = np.empty((len(rows), shape[-1]), np.float32)
            if len(rows) and not self._kernel.logits(
                hidden=rows, logits=found, log=log, threads=self._threads
            ):
                lost = ~np.isfinite(found).all(axis=1)
                found[lost] = self._rows_in_numpy(rows[lost], log)
            return found.reshape(shape)
        return self._rows_in_numpy(hidden, log)

    @one_thread()
    def _rows_in_numpy(self, hidden: np.ndarray, log: bool) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):
            result = self._stack.logits(hidden)
            if not math.isfinite(np.vdot(result, result)):
                result = bounded(result)
        return log_softmax(result) if log else result

    def target_log_probabilities(self, hidden: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return the log probability ``[N]`` of each of ``targets [N]`` after ``hidden [N, H]``.

        Works in blocks of rows, so that ``[N, V]`` is never held whole.
        """
        result = np.empty(len(targets), self.dtype)
        rows = max(1, BLOCK // len(self.model.codec))
        for start in range(0, len(targets), rows):
            block = self.log_probabilities(hidden[start : start + rows])
            wanted = targets[start : start + rows]
            result[start : start + rows] = block[np.arange(len(wanted)), wanted]
        return result
