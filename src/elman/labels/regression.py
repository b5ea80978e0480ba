"""Report on a regressor: MAE, RMSE and R², beside plain models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from elman.metrics.forecast import mae, rmse
from elman.metrics.paired import Comparison, exchange_p_value
from elman.tables.frames import frame_of

NETWORK_NAME = "the network"


def r2(predicted: ArrayLike, truth: ArrayLike) -> float:
    """Return the share of the truth's variance that is explained; below 0, the mean would be better.

    For a constant truth, which has no variance, it is 1 if every prediction is right, else 0.
    Raises DataError, ShapeError.

    >>> round(r2([1.0, 2.0, 2.0], [1.0, 2.0, 3.0]), 4)
    0.5
    """
    error = rmse(predicted, truth)
    truths = np.asarray(truth, np.float64)
    middle = float(np.mean(truths[np.isfinite(truths)]))
    spread = rmse(np.full_like(truths, middle), truths)
    # the spread of a constant may be a rounding error instead of 0
    if spread <= 1e-12 * abs(middle):
        return float(error == 0)
    return 1 - min((error / spread) ** 2, 1e300)


@dataclass(frozen=True)
class RegressionFigures:
    """The errors of one method."""

    name: str
    mae: float
    rmse: float
    r2: float
    predicted: np.ndarray | None = field(default=None, repr=False, compare=False)
    """Its predictions ``[N]``; without them no test can tell skill from chance."""

    @classmethod
    def of(cls, name: str, predicted: ArrayLike, truth: ArrayLike) -> RegressionFigures:
        """Return the errors of predictions ``[N]``; raises DataError, ShapeError."""
        figures = mae(predicted, truth), rmse(predicted, truth), r2(predicted, truth)
        return cls(name, *figures, np.asarray(predicted, np.float64))

    def figures(self) -> dict[str, str | float]:
        """Return name and errors, for JSON."""
        return {name: value for name, value in vars(self).items() if name != "predicted"}


@dataclass(frozen=True)
class Regression:
    """The errors of a network, beside those of plain models."""

    count: int
    methods: tuple[RegressionFigures, ...]
    """The network first."""

    comparisons: tuple[Comparison, ...] = ()
    """The network compared with each other method by MAE."""

    @property
    def sentences(self) -> tuple[str, ...]:
        """A sentence on each comparison."""
        return tuple(map(str, self.comparisons))

    def to_dict(self) -> dict[str, Any]:
        """Return all fields and the sentences, for JSON."""
        return asdict(self) | {
            "methods": [one.figures() for one in self.methods],
            "sentences": list(self.sentences),
        }

    def to_frame(self) -> Any:
        """Return the errors of every method as a polars data frame, or as columns if polars is missing."""
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


def compare_numbers(
    truth: ArrayLike, network: RegressionFigures, beside: Sequence[RegressionFigures]
) -> tuple[Comparison, ...]:
    """Compare the network with other methods by MAE, with a paired test of the absolute errors."""
    truths = np.asarray(truth, np.float64)
    known = np.isfinite(truths)

    def errors(predicted: np.ndarray) -> np.ndarray:
        return np.asarray(abs(predicted - truths)[known][:, None])

    comparisons = []
    for plain in beside:
        p_value = None
        if network.predicted is not None and plain.predicted is not None:
            ours, theirs = errors(network.predicted), errors(plain.predicted)
            p_value = exchange_p_value(ours, theirs, lambda sums: sums[..., 0])
        comparisons.append(Comparison(plain.name, "MAE", network.mae, plain.mae, p_value, True))
    return tuple(comparisons)


def regression(
    predicted: ArrayLike, truth: ArrayLike, beside: Sequence[RegressionFigures] = ()
) -> Regression:
    """Return the report on predictions ``[N]``, beside the errors of others; raises DataError, ShapeError.

    >>> print(regression([1.0, 2.0, 2.0], [1.0, 2.0, 3.0]))
    3 sequences
                                    MAE       RMSE       R²
    the network                  0.3333     0.5774   0.5000
    """
    network = RegressionFigures.of(NETWORK_NAME, predicted, truth)
    return Regression(
        int(np.isfinite(np.asarray(truth, np.float64)).sum()),
        tuple(replace(one, predicted=None) for one in (network, *beside)),
        compare_numbers(truth, network, beside),
    )
