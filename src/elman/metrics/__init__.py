"""How good an answer is: measures of labels and of forecasts, and the plain answers they stand beside."""

from __future__ import annotations

from elman.metrics.calibration import fit_temperature
from elman.metrics.classification import Classification, classification, compared_labels
from elman.metrics.comparison import Comparison
from elman.metrics.confusion import ENTITY_F1, METRICS, Baseline, Tags, label_figures
from elman.metrics.naive import find_season
from elman.metrics.regression import Regression, RegressionFigures, compared_numbers, regression
from elman.metrics.report import ForecastReport, Window, forecast_report
from elman.metrics.skill import Skill, is_repeated_last, paired_skill
from elman.metrics.tags import EntityFigures, are_entities, entity_figures, scheme

__all__ = [
    "ENTITY_F1",
    "METRICS",
    "Baseline",
    "Classification",
    "Comparison",
    "EntityFigures",
    "ForecastReport",
    "Regression",
    "RegressionFigures",
    "Skill",
    "Tags",
    "Window",
    "are_entities",
    "classification",
    "compared_labels",
    "compared_numbers",
    "entity_figures",
    "find_season",
    "fit_temperature",
    "forecast_report",
    "is_repeated_last",
    "label_figures",
    "paired_skill",
    "regression",
    "scheme",
]
