"""How good numbers are, beside the mean and a linear model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from elman._frames import frame_of
from elman.metrics.forecast import mae, rmse

__all__ = ["Regression", "RegressionFigures", "r2", "regression"]

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

    @classmethod
    def of(cls, name: str, predicted: ArrayLike, truth: ArrayLike) -> RegressionFigures:
        """Return the figures of predictions; raises DataError, ShapeError."""
        return cls(name, mae(predicted, truth), rmse(predicted, truth), r2(predicted, truth))


@dataclass(frozen=True)
class Regression:
    """How good a network's numbers are, beside plain answers."""

    count: int
    methods: tuple[RegressionFigures, ...]
    """The network first."""

    @property
    def sentences(self) -> tuple[str, ...]:
        """How the network stands to each other method by MAE, in plain words."""
        network, *others = self.methods
        return tuple(
            f"{plain.name} of the same training part has MAE {plain.mae:.4g}: "
            + (
                f"the network beats it by {plain.mae - network.mae:.4g}"
                if network.mae < plain.mae
                else f"the network, with {network.mae:.4g}, DOES NOT BEAT IT"
            )
            for plain in others
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all fields and the sentences, for JSON."""
        return asdict(self) | {"sentences": list(self.sentences)}

    def to_frame(self) -> Any:
        """Return the figures of every method as a data frame of polars, or as columns without polars."""
        return frame_of(map(asdict, self.methods))

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


def regression(
    predicted: ArrayLike, truth: ArrayLike, beside: Sequence[RegressionFigures] = ()
) -> Regression:
    """Return the report of predictions ``[N]``, beside what others reach; raises DataError, ShapeError.

    >>> print(regression([1.0, 2.0, 2.0], [1.0, 2.0, 3.0]))
    3 sequences
                                    MAE       RMSE       R²
    the network                  0.3333     0.5774   0.5000
    """
    return Regression(
        int(np.isfinite(np.asarray(truth, np.float64)).sum()),
        (RegressionFigures.of(_NETWORK, predicted, truth), *beside),
    )
