"""A trained network and its wide part, measured together on held-out sequences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from elman.labels.examples import EncodedExamples
from elman.labels.fusion import MEAN, Factors, fit_factors
from elman.labels.objective import LabelledObjective
from elman.labels.wide import WidePart
from elman.training.checkpoint import StageResult
from elman.training.journal import JsonObject


@dataclass(frozen=True)
class FusedNetwork:
    """The network of a stage, and the wide part that was fitted to the same sequences, if any."""

    objective: LabelledObjective
    wide: WidePart | None

    def _logits(self, examples: EncodedExamples) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the logits ``[N, K]`` of the network, and those of the wide part if there is one."""
        network, _ = self.objective.logits(examples)
        return network, None if self.wide is None else self.wide.logits(examples.encoded)

    def calibrated(self, held: EncodedExamples) -> tuple[Factors, JsonObject]:
        """Return the factors that are best on held-out sequences, and the metrics there with them."""
        objective, parts = self.objective, self._logits(held)
        targets = np.concatenate(held.targets)
        factors = fit_factors(*parts, targets, is_number=objective.config.kind.is_number)
        if objective.rules is not None:
            factors = Factors(1 / objective.chain_temperature(parts[0]), 0.0)
        facts = objective.measure_logits(factors.fuse(*parts), held, factors.network).facts
        return factors, {**facts, "sequences": len(held)}

    def tested(
        self, test: EncodedExamples, factors: Factors, metric: str
    ) -> tuple[JsonObject, np.ndarray]:
        """Measure both parts, together and alone, on a test set.

        Args:
            test: The test set.
            factors: The factors of both parts.
            metric: The metric of each part alone.

        Returns:
            The metrics, and the answers ``[N]``: numbers of labels, or standardised numbers.
        """
        objective = self.objective
        network, wide = self._logits(test)
        logits = factors.fuse(network, wide)
        facts = objective.measure_logits(logits, test, factors.network).facts
        alone = {} if wide is None else {"network": network, "wide": wide}
        parts = {
            name: objective.measure_logits(part, test).facts[metric] for name, part in alone.items()
        }
        answers = logits[:, 0]
        if not objective.config.kind.is_number:
            _, answers = objective.decided(logits, test, factors.network)
        return {**facts, "sequences": len(test), "parts": parts}, answers


def mean_of_folds(
    folds: Sequence[StageResult], *, fused: bool
) -> tuple[Factors, JsonObject | None]:
    """Return the mean factors and the mean metrics of the folds; without folds, the prior of the factors."""
    if not folds:
        return MEAN if fused else Factors(1.0, 0.0), None
    # temperatures are factors, so their geometric mean is taken
    temperature = float(np.exp(np.mean([math.log(stage["temperature"]) for stage in folds])))
    wide = float(np.mean([stage["wide_factor"] for stage in folds]))
    validations = [stage["validation"] for stage in folds]
    means = {
        name: float(np.mean([facts[name] for facts in validations])) for name in validations[0]
    }
    count = sum(facts["sequences"] for facts in validations)
    return Factors(1 / temperature, wide), means | {"sequences": count, "folds": len(validations)}
