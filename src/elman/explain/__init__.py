"""Explanations of single predictions: the class of their results, their self-test and shared methods."""
