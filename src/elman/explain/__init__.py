"""Explanations of single predictions: their values, their self-test and methods shared by the tasks."""
