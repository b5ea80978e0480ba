"""Types of the compiled extension module; tests/engine/test_kernel.py compares them with the module.

T steps, B sequences, N rows of all steps together, I inputs, H units, G gates, S states, V classes. Arrays
are C-contiguous and float32, apart from sizes, tokens and targets (int64) and uniforms (float64). Memory
belongs to the caller, and results are written into the caller's arrays.
"""

from collections.abc import Sequence

import numpy as np

class Saved:
    """Memory in which `Kernel.forward` keeps what `Kernel.backward` of the same call needs."""

class Kernel:
    """The kernel compiled for one instruction set."""

    @property
    def name(self) -> str: ...
    @property
    def width(self) -> int:
        """Floats in a vector."""
    @property
    def bfloat16(self) -> bool:
        """Whether the instruction set multiplies bfloat16 numbers."""
    def forward(
        self,
        *,
        cell: int,
        sizes: np.ndarray,
        reverse: bool,
        bfloat16: bool,
        threads: int,
        x: np.ndarray,
        tokens: np.ndarray | None,
        weight_ih: np.ndarray,
        weight_hh: np.ndarray | None,
        bias_ih: np.ndarray | None,
        bias_hh: np.ndarray | None,
        start: np.ndarray,
        y: np.ndarray,
        end: np.ndarray,
    ) -> Saved:
        """Run one direction of a layer, and return what `backward` needs.

        Sequences come as in PyTorch's PackedSequence: the rows of the first step, then those of the second,
        with the longest sequence first.

        Args:
            cell: number of the cell in `CELLS`.
            sizes: ``[T]``, the number of sequences that are still running at each step.
            reverse: whether to run from the last step to the first.
            bfloat16: whether products round both sides to bfloat16.
            threads: largest number of threads.
            x: ``[N, I]``, a row for each step of each sequence; with `tokens` a table ``[V, I]``.
            tokens: ``[N]``, the row of `x` that each step reads.
            weight_ih: ``[G·H, I]``.
            weight_hh: ``[G·H, H]``; None for a cell without recurrent weights.
            bias_ih: ``[G·H]``, or None for zeros.
            bias_hh: ``[G·H]``, or None for zeros.
            start: ``[S, B, H]``, the start state.
            y: ``[N, H]``; the outputs are written here.
            end: ``[S, B, H]``; the last states are written here.
        """
    def backward(
        self,
        *,
        saved: Saved,
        cell: int,
        sizes: np.ndarray,
        reverse: bool,
        bfloat16: bool,
        threads: int,
        x: np.ndarray,
        tokens: np.ndarray | None,
        weight_ih: np.ndarray,
        weight_hh: np.ndarray | None,
        start: np.ndarray,
        y: np.ndarray,
        dy: np.ndarray,
        dend: np.ndarray | None,
        dx: np.ndarray | None,
        dweight_ih: np.ndarray,
        dweight_hh: np.ndarray | None,
        dbias_ih: np.ndarray | None,
        dbias_hh: np.ndarray | None,
        dstart: np.ndarray,
    ) -> None:
        """Go back through the call of `forward` that returned `saved`, with the same arguments.

        It overwrites `saved`, so a second backward needs another forward. ``y [N, H]`` is what `forward`
        wrote, ``dy [N, H]`` the gradient of the outputs and ``dend [S, B, H]`` that of the last states (None:
        zeros). The gradients of x, of the parameters and of the start state are written into the other
        arrays, each shaped as the array that it belongs to. dx may be None.
        """
    def head(
        self,
        *,
        threads: int,
        hidden: np.ndarray,
        weight: np.ndarray,
        bias: np.ndarray,
        targets: np.ndarray,
        ignore: int,
        scale: float,
        dhidden: np.ndarray | None,
        dweight: np.ndarray | None,
        dbias: np.ndarray | None,
    ) -> tuple[float, int]:
        """Return the summed cross entropy in nats, and the number of rows whose target is not `ignore`.

        Writes the gradients, times `scale`, unless they are None.
        """
    def norm(self, *, gradients: Sequence[np.ndarray], threads: int) -> float:
        """Return the norm of all gradients together."""
    def adamw(
        self,
        *,
        parameters: Sequence[np.ndarray],
        gradients: Sequence[np.ndarray],
        means: Sequence[np.ndarray],
        squares: Sequence[np.ndarray],
        time: int,
        scale: float,
        rate: float,
        decay: float,
        beta_mean: float,
        beta_square: float,
        epsilon: float,
        threads: int,
    ) -> None:
        """Take AdamW's step number `time`; update parameters, means and squares in place."""
    def draw(
        self,
        *,
        logits: np.ndarray,
        uniform: float,
        factor: float,
        top_k: int,
        top_p: float,
        never: int,
    ) -> int:
        """Return the class drawn from ``logits [V]`` by one random number from 0 to 1."""
    def rank(
        self,
        *,
        log_probabilities: np.ndarray,
        k: int,
        never: int,
        names: tuple[str, ...],
        found: list[tuple[str, float]],
    ) -> float:
        """Append the `k` most probable tokens but `never` to `found`, best first, with their probabilities.

        Args:
            log_probabilities: ``[V]``, all finite.
            k: how many; there may be fewer.
            never: the token that is left out.
            names: the name of each token.
            found: the list.

        Returns:
            The probability of `never`.
        """
    def peak(self, *, threads: int) -> float:
        """Return the measured multiply-adds of the processor, in floating-point operations a second."""

class Network:
    """A language model packed for inference."""

    def __init__(
        self,
        *,
        kernel: Kernel,
        storage: str,
        residual: bool,
        cell: int,
        layers: Sequence[
            tuple[np.ndarray, np.ndarray | None, np.ndarray | None, np.ndarray | None]
        ],
        embedding: np.ndarray,
        weight: np.ndarray,
        bias: np.ndarray,
        tabled: int,
    ) -> None:
        """Pack copies of the parameters.

        Args:
            kernel: the kernel that will run the network.
            storage: "float32", or "bf16" or "int8" to round the weights.
            residual: whether each layer but the first adds its input to its output.
            cell: number of the cell in `CELLS`.
            layers: weight_ih, weight_hh, bias_ih and bias_hh of each layer.
            embedding: ``[V, I]``.
            weight: ``[V, H]``, of the output layer.
            bias: ``[V]``.
            tabled: largest table of the first layer's input sums of every token, in numbers.
        """
    @property
    def state_size(self) -> int: ...
    def forward(
        self,
        *,
        tokens: np.ndarray,
        before: np.ndarray,
        after: np.ndarray,
        y: np.ndarray | None,
        threads: int,
    ) -> bool:
        """Read ``tokens [T, B]``; write after and ``y [T, B, H]``. Return whether all are finite."""
    def logits(self, *, hidden: np.ndarray, logits: np.ndarray, log: bool, threads: int) -> bool:
        """Write ``logits [N, V]``, with `log` log probabilities. Return whether all are finite."""
    def generate(
        self,
        *,
        uniforms: np.ndarray,
        factor: float,
        top_k: int,
        top_p: float,
        never: int,
        end: int,
        start: np.ndarray,
        state: np.ndarray,
        tokens: np.ndarray,
        threads: int,
    ) -> bool:
        """Draw a token for each of ``uniforms [N]``; write state and tokens. Return whether all is finite."""

class Position:
    """The position of one stream in its text, on the memory of an array ``[S]``."""

    def __init__(self, *, network: Network, state: np.ndarray, threads: int) -> None:
        """Step from and to `state`, which lives as long as the position."""
    def read(self, token: int) -> bool:
        """Read one token. Return whether all is finite; if not, the state stays as it was."""
    def predict(self, log_probabilities: np.ndarray) -> bool:
        """Write the log probabilities ``[V]`` of the next token. Return whether all are finite."""
    def rank(
        self, k: int, never: int, names: tuple[str, ...], found: list[tuple[str, float]]
    ) -> float:
        """Rank the next tokens as `Kernel.rank`; return a negative number if not all are finite."""

CELLS: tuple[tuple[str, str, int, int, bool], ...]
"""For each cell: name, activation, number of gates, number of states, whether it has recurrent weights."""

def kernels() -> list[Kernel]:
    """Return the kernels that this processor can run, widest first."""

def share_threads() -> bool:
    """Run on the OpenMP threads of this process from now on; return whether there are any."""
