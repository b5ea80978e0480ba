"""A network that adapts to the text that a stream reads, by dynamic evaluation and a continuous cache.

Dynamic evaluation goes on training: after every few tokens it takes a gradient step, whose rate is divided
by the root mean square of each weight's gradients, and lets each weight decay towards its stored value
(B. Krause et al., arXiv:1709.07432, section 4; here the mean square is that of the steps so far). For the
cache see `elman.language.continuous_cache`. Both belong to one stream, and the stored model never changes.
"""

from __future__ import annotations

import math
from copy import deepcopy
from typing import TypeAlias

import numpy as np

from elman.engine import kernel as native
from elman.engine.passage import Passage
from elman.engine.pauses import one_thread
from elman.errors import InputError, OptionError
from elman.language.adaptation import Adaptation
from elman.language.continuous_cache import Cache
from elman.language.network import Network

Rows: TypeAlias = np.ndarray | slice
"""Indices of rows of an array, or all rows."""

# Of a large vocabulary, only targets and tokens that reach this probability take part in a gradient step.
MIN_LEARNED_PROBABILITY = 1e-4
SMALL_VOCABULARY = 1024
"""Largest vocabulary all of whose tokens take part in every gradient step."""
SEGMENT_WITHOUT_STEPS = 64
"""Tokens that are read at once if only the cache adapts."""
PRIOR_STEPS = 300.0
"""Steps for which the mean over a whole array stands in for the mean square of each of its numbers."""


class AdaptedNetwork(Network):
    """A network that learns from the text that it reads; it belongs to one stream.

    `learn` is the only method that changes it. All other answers come from the weights and the cache as they
    are, so that a text that is drawn or scored teaches nothing.

    Args:
        network: The network to begin with, which stays as it is.
        settings: The strengths of the adaptation.

    Raises:
        OptionError: The weights of the network are rounded to bfloat16.
    """

    def __init__(self, network: Network, settings: Adaptation) -> None:
        if network.storage == "bf16":
            raise OptionError("adapt", got="storage bf16", expected="float32 or int8")
        # A model in int8 learns in float32 too: its rounded weights are those that it begins with.
        super().__init__(network.model, network.dtype, "float32")
        self.settings = settings
        self._segment = settings.segment if settings.rate else SEGMENT_WITHOUT_STEPS
        self._use({name: np.array(a, self.dtype) for name, a in self.model.arrays.items()})
        self._recorder = self._layers(self.dtype)
        # Sums over all gradient steps: the square of each gradient, and their mean in each array.
        self._squares = {name: np.zeros_like(a) for name, a in self.arrays.items() if settings.rate}
        self._means = dict.fromkeys(self.arrays, 0.0)
        self._steps = 0
        self._cache = (
            Cache(settings, self.hidden_size, self.dtype) if settings.cache_share else None
        )
        self._after = np.empty(0, self.dtype)
        self._forget_segment()

    def _in_kernel(self, kernel: native.Kernel) -> None:
        """Return None, because the kernel's network holds packed copies of weights that do not change."""

    def __reduce__(self) -> tuple[object, ...]:
        return object.__new__, (type(self),), self.__dict__

    def renewed(self) -> AdaptedNetwork:
        """Return a copy that has learned nothing."""
        return AdaptedNetwork(self, self.settings)

    def fork(self) -> AdaptedNetwork:
        """Return a copy that learns independently; both share the model."""
        return deepcopy(self, {id(self.model): self.model})

    def _forget_segment(self) -> None:
        """Begin a new segment: tokens that were read, with the targets and predictions after them."""
        self._inputs: list[int] = []
        self._targets: list[int] = []
        self._log_probabilities: list[np.ndarray] = []
        self._passage: Passage | None = None

    @one_thread()
    def learn(self, tokens: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Predict each of ``tokens [N]`` from ``state [S]`` on, read it, and learn from it.

        Reading a text in pieces teaches the same as reading it at once. If documents are lines, `<end>` ends
        the segment, and the state after it is `start`.

        Returns:
            The log probabilities ``[2, N]`` without and with the cache, and the new state.

        Raises:
            InputError: A hidden state overflows.
        """
        end_id = self.model.codec.end_id
        scores = [np.empty((2, 0), self.dtype)]
        for line in np.split(tokens, np.flatnonzero(tokens == end_id) + 1):
            if not len(line):
                continue
            self._continue_from(state)
            ended = line[-1] == end_id
            scores.append(self._predict(self.output(state)[None], line[:1]))
            done, inputs = 0, line[: len(line) - ended]
            while done < len(inputs):
                piece = inputs[done : done + self._segment - len(self._inputs)]
                hidden, state = self._read_piece(piece, state)
                done += len(piece)
                targets = line[done + 1 - len(piece) : done + 1]
                scores.append(self._predict(hidden[: len(targets)], targets))
            if ended:
                self._step()
                state = self.start
        # A pass is only kept within a call, because it holds memory of the kernel.
        self._passage = None
        self._after = state
        return np.concatenate(scores, axis=1), state

    def _continue_from(self, state: np.ndarray) -> None:
        """Drop the segment if the stream is elsewhere, and begin with `<end>` at the start of a line."""
        if not np.array_equal(state, self._after):
            self._forget_segment()
        end_id = self.model.codec.end_id
        if end_id is not None and not self._inputs and np.array_equal(state, self.start):
            self._inputs, self._begin = [end_id], np.zeros_like(state)

    def _read_piece(self, tokens: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Read tokens of one segment; return the outputs ``[N, H]`` and the new state."""
        whole = not self._inputs
        if whole:
            self._begin = state
        passage = self._record(tokens, state)
        self._inputs.extend(tokens.tolist())
        self._passage = passage if whole else None
        hidden = passage.y[:, 0]
        ends = [end[0, :, 0].reshape(-1) for end in passage.end]
        return hidden, np.concatenate([*ends, hidden[-1]])

    def _record(self, tokens: np.ndarray | list[int], state: np.ndarray) -> Passage:
        x = self.embedding[tokens][:, None]
        try:
            return self._recorder.read(x, self.layer_states(state[None]))
        except InputError:
            what, remedy = "the states overflow while the network adapts", "lower the rate"
            raise InputError(what, got=f"rate {self.settings.rate:g}", remedy=remedy) from None

    def _predict(self, hidden: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return the log probabilities ``[2, N]`` of ``targets [N]`` after outputs ``hidden [N, H]``.

        Outputs and targets go into the segment and into the cache. The last target of a segment ends it.
        """
        if not len(targets):
            return np.empty((2, 0), self.dtype)
        rows = super()._rows(hidden, log=True)
        scores = np.tile(rows[np.arange(len(targets)), targets], (2, 1))
        # The first token of a file follows nothing that was read, so it teaches nothing.
        learned = bool(self._inputs)
        if self._cache is not None:
            scores[1] = self._cache.score(hidden, targets, scores[0], keep=learned)
        if learned:
            self._targets.extend(targets.tolist())
            if self.settings.rate:
                self._log_probabilities.append(rows)
            if len(self._targets) == self._segment:
                self._step()
        return scores

    def _rows(self, hidden: np.ndarray, log: bool) -> np.ndarray:
        if self._cache is None or not len(self._cache):
            return super()._rows(hidden, log)
        own = super()._rows(hidden, log=True)
        rows = self._cache.mixed(
            hidden.reshape(-1, self.hidden_size), own.reshape(-1, own.shape[-1])
        )
        return rows.reshape(own.shape)

    def _step(self) -> None:
        """Take a gradient step on the segment, if there is one, and begin a new segment."""
        if self._targets and self.settings.rate:
            # What overflows is found by the next read.
            with np.errstate(over="ignore", invalid="ignore"):
                self._steps += 1
                for name, (rows, gradient) in self._gradients().items():
                    self._move(name, rows, gradient)
                # The cached start state belongs to the old weights.
                self.__dict__.pop("start", None)
        self._forget_segment()

    def _gradients(self) -> dict[str, tuple[Rows, np.ndarray]]:
        """Return for each array the rows that the loss of the segment depends on, and their gradient."""
        inputs, targets = np.array(self._inputs), np.array(self._targets)
        passage = self._passage or self._record(inputs, self._begin)
        rows = np.concatenate(self._log_probabilities)
        likely = np.full(rows.shape[1], rows.shape[1] <= SMALL_VOCABULARY)
        likely |= (rows > math.log(MIN_LEARNED_PROBABILITY)).any(axis=0)
        likely[targets] = True
        learned = np.flatnonzero(likely)
        # The gradient of the loss by the logits: the probabilities, minus 1 at the target.
        error = np.exp(rows[:, learned])
        error[np.arange(len(targets)), np.searchsorted(learned, targets)] -= 1
        error /= self._segment
        hidden = passage.y[:, 0]
        back = passage.back((error @ self.head_weight[learned])[:, None], weights=True)
        result: dict[str, tuple[Rows, np.ndarray]] = {
            f"layers.{k}.{name}": (slice(None), gradient)
            for k, [layer] in enumerate(back.dweights)
            for name, gradient in layer._asdict().items()
            if gradient is not None
        }
        result["head.bias"] = learned, error.sum(axis=0)
        tied = self.model.config.tied
        read = np.union1d(inputs, learned) if tied else np.unique(inputs)
        embedding = np.zeros((len(read), self.embedding.shape[1]), self.dtype)
        np.add.at(embedding, np.searchsorted(read, inputs), back.dx[:, 0])
        if tied:
            embedding[np.searchsorted(read, learned)] += error.T @ hidden
        else:
            result["head.weight"] = learned, error.T @ hidden
        return result | {"embedding.weight": (read, embedding)}

    def _move(self, name: str, rows: Rows, gradient: np.ndarray) -> None:
        """Move the rows of an array against its gradient and towards the stored weights.

        Each weight moves by ``rate · gradient / rms``, where rms is the root mean square of its gradients
        so far, and loses the share ``decay · rms / (rms of the whole array)`` of its distance, at most all.
        """
        weight, stored = self.arrays[name], self.model.arrays[name][rows]
        square = gradient * gradient
        self._means[name] += float(square.sum()) / weight.size
        mean = max(self._means[name] / self._steps, 1e-30)
        square += self._squares[name][rows]
        self._squares[name][rows] = square
        # At first the mean of the whole array stands in for each number's own.
        rms = np.sqrt((square + PRIOR_STEPS * mean) / (self._steps + PRIOR_STEPS))
        move = self.settings.rate * gradient / rms
        if self.settings.decay:
            share = np.minimum(self.settings.decay / math.sqrt(mean) * rms, 1)
            move += share * (weight[rows] - stored)
        weight[rows] -= move
