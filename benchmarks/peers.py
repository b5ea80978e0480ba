"""Set up the peers torch.compile, JAX and ONNX Runtime."""

from __future__ import annotations

import importlib.util
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from elman.files.model import Model

__all__ = ["JaxStack", "OrtStream", "compiled", "jax_stack", "missing", "onednn", "onnx_bytes"]

# cells that took too long to compile; they are not tried again at other sizes
_too_long: set[str] = set()


class _Late(BaseException):
    """Raised when compiling takes too long; no Exception, because the compiler would catch it."""


@contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    def ring(*_: object) -> None:
        raise _Late

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def onednn(enabled: bool) -> Iterator[None]:
    """Return a context in which torch may or may not use oneDNN."""
    before = torch.backends.mkldnn.enabled
    torch.backends.mkldnn.enabled = enabled
    try:
        yield
    finally:
        torch.backends.mkldnn.enabled = before


def compiled(
    key: str, module: torch.nn.Module, trial: Callable[[Any], object], seconds: float
) -> str:
    """Call `trial` with `module` under torch.compile; return the reason for leaving it out, or "".

    By default torch.compile does not compile recurrent layers; here it is made to unroll them.
    """
    late = f"unrolling takes longer than {seconds:.0f} s"
    if seconds <= 0 or key in _too_long:
        return late if seconds > 0 else "not asked for"
    # compile in this process: a pool of compilers would still run while other sides are timed
    torch._inductor.config.compile_threads = 1
    torch._dynamo.config.allow_rnn = True
    torch._dynamo.reset()
    try:
        with _deadline(seconds):
            trial(torch.compile(module))
    except _Late:
        _too_long.add(key)
        torch._dynamo.reset()
        return late
    except (
        Exception
    ) as error:  # an error of the compiler must not keep the other peers from being measured
        torch._dynamo.reset()
        return f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}"
    return ""


class JaxStack:
    """A compiled stack of layers on `jax.lax.scan`, with torch's weights and formulas."""

    def __init__(self, name: str, layer: Any, x: torch.Tensor, gradient: torch.Tensor) -> None:
        import jax
        import jax.numpy as jnp

        H = layer.hidden_size

        def step(carry: Any, gx: Any, weight: Any, bias: Any) -> tuple[Any, Any]:
            h = carry[0]
            gh = h @ weight.T + bias
            if name == "rnn":
                h = jnp.tanh(gx + gh)
                return (h,), h
            if name == "gru":
                r = jax.nn.sigmoid(gx[:, :H] + gh[:, :H])
                z = jax.nn.sigmoid(gx[:, H : 2 * H] + gh[:, H : 2 * H])
                n = jnp.tanh(gx[:, 2 * H :] + r * gh[:, 2 * H :])
                h = (1 - z) * n + z * h
                return (h,), h
            i, f, g, o = jnp.split(gx + gh, 4, axis=1)
            c = jax.nn.sigmoid(f) * carry[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        def stack(weights: Any, x: Any) -> Any:
            for weight_ih, weight_hh, bias_ih, bias_hh in weights:
                zero = jnp.zeros((x.shape[1], H), x.dtype)
                carry = (zero, zero) if name == "lstm" else (zero,)
                _, x = jax.lax.scan(
                    lambda carry, gx, w=weight_hh, b=bias_hh: step(carry, gx, w, b),
                    carry,
                    x @ weight_ih.T + bias_ih,
                )
            return x

        def both(weights: Any, x: Any, gradient: Any) -> Any:
            y, backward = jax.vjp(stack, weights, x)
            return y, *backward(gradient)

        self._block = jax.block_until_ready
        self._forward, self._both = jax.jit(stack), jax.jit(both)
        self._weights = [[jnp.asarray(w.detach().numpy()) for w in ws] for ws in layer.all_weights]
        self._x, self._gradient = jnp.asarray(x.numpy()), jnp.asarray(gradient.numpy())

    def forward(self) -> Any:
        return self._block(self._forward(self._weights, self._x))

    def both(self) -> Any:
        return self._block(self._both(self._weights, self._x, self._gradient))

    def results(self) -> dict[str, np.ndarray]:
        """Return the output and the gradient of the input."""
        y, _, of_x = self.both()
        return {"y": np.asarray(y), "x": np.asarray(of_x)}


def missing(name: str) -> dict[str, str]:
    """Return a note for each library that is not installed, by its name."""
    found = importlib.util.find_spec(name) is not None
    return {} if found else {name: 'not installed: pip install "elman[bench]"'}


def jax_stack(name: str, layer: Any, x: torch.Tensor, gradient: torch.Tensor) -> JaxStack | None:
    """Return the stack in JAX, or None if JAX is not installed."""
    return JaxStack(name, layer, x, gradient) if importlib.util.find_spec("jax") else None


def onnx_bytes(model: Model) -> bytes:
    """Return a character LSTM as an ONNX graph of one step.

    Its inputs are a token ``[1, B]`` and states, its outputs log probabilities and states. After one step
    the last hidden state of a layer equals its output, so the graph passes the state on to the next layer.
    """
    from onnx import TensorProto, helper, numpy_helper

    config, arrays = model.config, model.arrays
    H, states = config.hidden_size, ("h", "c")

    def gates(array: np.ndarray) -> np.ndarray:
        i, f, g, o = np.split(array, 4)
        return np.concatenate([i, o, f, g])[None]  # ONNX orders the gates of an LSTM in this way

    weights = {"embedding": arrays["embedding.weight"], "head": arrays["head.weight"].T}
    weights["bias"] = arrays["head.bias"]
    nodes = [helper.make_node("Gather", ["embedding", "token"], ["x0"])]
    inputs = [helper.make_tensor_value_info("token", TensorProto.INT64, [1, "B"])]
    outputs = [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, "B", len(model.codec)])]
    x = "x0"
    for k in range(config.num_layers):
        part = f"layers.{k}."
        weights[f"W{k}"] = gates(arrays[part + "weight_ih"])
        weights[f"R{k}"] = gates(arrays[part + "weight_hh"])
        both = [gates(arrays[part + name]) for name in ("bias_ih", "bias_hh")]
        weights[f"B{k}"] = np.concatenate(both, axis=1)
        given = [x, f"W{k}", f"R{k}", f"B{k}", "", f"h{k}", f"c{k}"]
        made = ["", f"h{k}_out", f"c{k}_out"]
        nodes.append(helper.make_node("LSTM", given, made, hidden_size=H))
        x = f"h{k}_out"
        for state in states:
            shape = [1, "B", H]
            for values, name in ((inputs, f"{state}{k}"), (outputs, f"{state}{k}_out")):
                values.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    nodes += [
        helper.make_node("MatMul", [x, "head"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["logits"]),
        helper.make_node("LogSoftmax", ["logits"], ["out"], axis=-1),
    ]
    constants = [
        numpy_helper.from_array(np.ascontiguousarray(array), name)
        for name, array in weights.items()
    ]
    graph = helper.make_graph(nodes, "step", inputs, outputs, constants)
    made_model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10
    )
    data: bytes = made_model.SerializeToString()
    return data


class OrtStream:
    """Streams in ONNX Runtime, run by plain calls or with inputs and outputs bound to fixed memory."""

    def __init__(self, data: bytes, model: Model, threads: int, bound: bool, B: int = 1) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(
            data, options, providers=["CPUExecutionProvider"]
        )
        layers = range(model.config.num_layers)
        self._names = [f"{state}{k}" for k in layers for state in ("h", "c")]
        self._shape = (1, B, model.config.hidden_size)
        self.bound = bound
        if bound:
            make = onnxruntime.OrtValue.ortvalue_from_numpy
            self._token = np.zeros((1, B), np.int64)
            self._out = np.zeros((1, B, len(model.codec)), np.float32)
            token, out = make(self._token), make(self._out)
            # the states that a step writes are the input of the next step
            turns = [[make(np.zeros(self._shape, np.float32)) for _ in self._names] for _ in "ab"]
            self._turns = turns
            self._bindings = []
            for before, after in ((turns[0], turns[1]), (turns[1], turns[0])):
                binding = self._session.io_binding()
                binding.bind_ortvalue_input("token", token)
                binding.bind_ortvalue_output("out", out)
                for name, value, new in zip(self._names, before, after, strict=True):
                    binding.bind_ortvalue_input(name, value)
                    binding.bind_ortvalue_output(f"{name}_out", new)
                self._bindings.append(binding)
        self.reset()

    def reset(self) -> None:
        """Start from zeros."""
        self._turn = 0
        self._states = {name: np.zeros(self._shape, np.float32) for name in self._names}
        if self.bound:
            for turn in self._turns:
                for value in turn:
                    value.update_inplace(np.zeros(self._shape, np.float32))

    def step(self, token: np.ndarray) -> np.ndarray:
        """Read one token of each of B streams, ``[1, B]``; return the log probabilities ``[1, B, V]``."""
        if not self.bound:
            out, *states = self._session.run(None, {"token": token, **self._states})
            self._states = dict(zip(self._names, states, strict=True))
            return out
        self._token[:] = token
        self._session.run_with_iobinding(self._bindings[self._turn])
        self._turn = 1 - self._turn
        return self._out

    def read(self, tokens: Sequence[np.ndarray]) -> None:
        """Read tokens one after the other, with a step for each."""
        for token in tokens:
            self.step(token)
