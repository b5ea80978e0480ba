"""Random numbers of one run: its own generators, so that two runs in one process do not disturb each other.

The modules of torch draw their initial weights from torch's global generator, which all threads share. Within
`Randomness.making` they draw them from the generator of the run. Modules that draw in training derive from
`Drawing`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_DRAWS = {torch.Tensor.uniform_, torch.Tensor.normal_}


class _Making(TorchFunctionMode):
    """Passes `generator` to every function of this thread that would draw from torch's global generator."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.generator = generator

    def __torch_function__(
        self,
        func: Callable[..., Tensor],
        types: Sequence[type],
        args: tuple[Tensor, ...] = (),
        kwargs: Mapping[str, torch.Generator | None] | None = None,
    ) -> Tensor:
        # Some functions draw without having a parameter `generator` in this call.
        named = dict(kwargs or {})
        if (func in _DRAWS or "generator" in named) and named.get("generator") is None:
            named["generator"] = self.generator
        return func(*args, **named)


class Randomness:
    """The generators of one run: one on the CPU for initial weights, and one on the device for training.

    On a CPU these are the same generator. It gives the same numbers as ``torch.manual_seed(seed)``.

    >>> Randomness(3).generators[0].initial_seed()
    3
    """

    def __init__(self, seed: int = 0, device: torch.device | None = None) -> None:
        self._cpu = torch.Generator()
        on_cpu = device is None or device.type == "cpu"
        self._device = self._cpu if on_cpu else torch.Generator(device)
        self.seed(seed)

    @property
    def generators(self) -> tuple[torch.Generator, ...]:
        """The generator of the CPU, and that of another device where the run has one."""
        return (self._cpu,) if self._device is self._cpu else (self._cpu, self._device)

    def seed(self, seed: int) -> None:
        """Restart the generators from `seed`."""
        for generator in self.generators:
            generator.manual_seed(seed)

    def making(self) -> TorchFunctionMode:
        """Return a context in which new modules of this thread draw their weights from this run."""
        return _Making(self._cpu)

    def give(self, network: torch.nn.Module) -> None:
        """Make every `Drawing` module of `network` draw from this run."""
        for module in network.modules():
            if isinstance(module, Drawing):
                module.generator = self._device


class Drawing(torch.nn.Module):
    """A module that draws random numbers in training, from its run or else from torch's global generator."""

    generator: torch.Generator | None = None


class Dropout(Drawing):
    """``torch.nn.Dropout`` that draws the same bits from the generator of the run.

    With `locked`, the same elements are zero at all steps of ``x [T, ...]``, which needs T times fewer random
    numbers (Y. Gal and Z. Ghahramani, arXiv:1512.05287).

    >>> locked = Dropout(0.5, locked=True)(torch.ones(3, 100))
    >>> bool((locked == locked[0]).all()), sorted(set(locked.flatten().tolist()))
    (True, [0.0, 2.0])
    """

    def __init__(self, rate: float, locked: bool = False) -> None:
        super().__init__()
        self.rate, self.locked = rate, locked

    def forward(self, x: Tensor) -> Tensor:
        """Return `x`, in training with the share `rate` of its elements at zero and the others scaled up."""
        if not self.training or self.rate == 0:
            return x
        # the same calls in the same order as torch's own dropout, hence the same bits
        kept = torch.empty_like(x[:1] if self.locked else x)
        kept.bernoulli_(1 - self.rate, generator=self.generator)
        return x * kept.div_(1 - self.rate)
