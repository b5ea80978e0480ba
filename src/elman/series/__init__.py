"""Forecasts of time series: from tables of values to quantiles of the values that follow."""
