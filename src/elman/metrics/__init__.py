"""How good an answer is: measures of labels and of forecasts, and the plain answers they stand beside."""

from __future__ import annotations

from elman.metrics.calibration import fit_temperature
from elman.metrics.classification import METRICS, Baseline, Classification, classification
from elman.metrics.naive import find_season
from elman.metrics.regression import Regression, RegressionFigures, regression
from elman.metrics.report import ForecastReport, Window, forecast_report
from elman.metrics.skill import Skill, is_repeated_last, paired_skill
from elman.metrics.tags import EntityFigures, are_entities, entity_figures

__all__ = [
    "METRICS",
    "Baseline",
    "Classification",
    "EntityFigures",
    "ForecastReport",
    "Regression",
    "RegressionFigures",
    "Skill",
    "Window",
    "are_entities",
    "classification",
    "entity_figures",
    "find_season",
    "fit_temperature",
    "forecast_report",
    "is_repeated_last",
    "paired_skill",
    "regression",
]
