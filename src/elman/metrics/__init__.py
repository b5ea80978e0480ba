"""Measures of labels and of forecasts, and the plain answers that they are compared with."""

__all__ = ()
