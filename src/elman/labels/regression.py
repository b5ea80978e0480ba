"""How good numbers are, beside the mean and a linear model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from elman.metrics.comparison import Comparison, chance_of_exchange
from elman.metrics.forecast import mae, rmse
from elman.tables.frames import frame_of

__all__ = ["Regression", "RegressionFigures", "compared_numbers", "r2", "regression"]

_NETWORK = "the network"


def r2(predicted: ArrayLike, truth: ArrayLike) -> float:
    """Return the share of the truth's variance that is explained; below 0 it is worse than the mean.

    A constant truth has no variance: 1 where every prediction is right, else 0.
    Raises DataError, ShapeError.

    >>> round(r2([1.0, 2.0, 2.0], [1.0, 2.0, 3.0]), 4)
    0.5
    """
    error = rmse(predicted, truth)
    truths = np.asarray(truth, np.float64)
    middle = float(np.mean(truths[np.isfinite(truths)]))
    spread = rmse(np.full_like(truths, middle), truths)
    # of a constant the mean leaves rounding
    if spread <= 1e-12 * abs(middle):
        return float(error == 0)
    return 1 - min((error / spread) ** 2, 1e300)


@dataclass(frozen=True)
class RegressionFigures:
    """The figures of one method."""

    name: str
    mae: float
    rmse: float
    r2: float
    predicted: np.ndarray | None = field(default=None, repr=False, compare=False)
    """Its predictions ``[N]``; without them no test tells chance from skill."""

    @classmethod
    def of(cls, name: str, predicted: ArrayLike, truth: ArrayLike) -> RegressionFigures:
        """Return the figures of predictions; raises DataError, ShapeError."""
        figures = mae(predicted, truth), rmse(predicted, truth), r2(predicted, truth)
        return cls(name, *figures, np.asarray(predicted, np.float64))

    def figures(self) -> dict[str, Any]:
        """Return name and figures, for JSON."""
        return {name: value for name, value in vars(self).items() if name != "predicted"}


@dataclass(frozen=True)
class Regression:
    """How good a network's numbers are, beside plain answers."""

    count: int
    methods: tuple[RegressionFigures, ...]
    """The network first."""

    comparisons: tuple[Comparison, ...] = ()
    """How the network stands to each other method by MAE."""

    @property
    def sentences(self) -> tuple[str, ...]:
        """How the network stands to each other method by MAE, in plain words."""
        return tuple(map(str, self.comparisons))

    def to_dict(self) -> dict[str, Any]:
        """Return all fields and the sentences, for JSON."""
        return asdict(self) | {
            "methods": [one.figures() for one in self.methods],
            "sentences": list(self.sentences),
        }

    def to_frame(self) -> Any:
        """Return the figures of every method as a data frame of polars, or as columns without polars."""
        return frame_of(one.figures() for one in self.methods)

    def __str__(self) -> str:
        return "\n".join(
            [
                f"{self.count:,} sequences",
                f"{'':24}{'MAE':>11}{'RMSE':>11}{'R²':>9}",
                *(
                    f"{row.name:24}{row.mae:>11.4g}{row.rmse:>11.4g}{row.r2:>9.4f}"
                    for row in self.methods
                ),
                *self.sentences,
            ]
        )


def compared_numbers(
    truth: ArrayLike, network: RegressionFigures, beside: Sequence[RegressionFigures]
) -> tuple[Comparison, ...]:
    """Return how the network stands to other methods by MAE; their absolute errors are compared in pairs."""
    truths = np.asarray(truth, np.float64)
    known = np.isfinite(truths)

    def errors(one: np.ndarray) -> np.ndarray:
        return np.asarray(abs(one - truths)[known][:, None])

    found = []
    for plain in beside:
        chance = None
        if network.predicted is not None and plain.predicted is not None:
            ours, theirs = errors(network.predicted), errors(plain.predicted)
            chance = chance_of_exchange(ours, theirs, lambda sums: sums[..., 0])
        found.append(Comparison(plain.name, "MAE", network.mae, plain.mae, chance, True))
    return tuple(found)


def regression(
    predicted: ArrayLike, truth: ArrayLike, beside: Sequence[RegressionFigures] = ()
) -> Regression:
    """Return the report of predictions ``[N]``, beside what others reach; raises DataError, ShapeError.

    >>> print(regression([1.0, 2.0, 2.0], [1.0, 2.0, 3.0]))
    3 sequences
                                    MAE       RMSE       R²
    the network                  0.3333     0.5774   0.5000
    """
    network = RegressionFigures.of(_NETWORK, predicted, truth)
    return Regression(
        int(np.isfinite(np.asarray(truth, np.float64)).sum()),
        tuple(replace(one, predicted=None) for one in (network, *beside)),
        compared_numbers(truth, network, beside),
    )
