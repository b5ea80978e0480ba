"""Recurrent layers for torch: a program changes ``torch.nn`` to ``elman.nn`` and keeps everything else."""

from __future__ import annotations

import importlib

from elman.errors import MissingDependencyError, installing

try:
    importlib.import_module("torch")
except ImportError as error:
    raise MissingDependencyError("elman.nn needs torch", remedy=installing("train")) from error

from elman.nn.functional import embedded, linear_cross_entropy
from elman.nn.layers import GRU, LSTM, RNN, MinGRU, layer_class

__all__ = ["GRU", "LSTM", "RNN", "MinGRU", "embedded", "layer_class", "linear_cross_entropy"]
