"""Recurrent layers for torch: change ``torch.nn`` to ``elman.nn`` and keep the rest."""

from __future__ import annotations

from elman.nn.functional import embedded, linear_cross_entropy
from elman.nn.layers import GRU, LSTM, RNN, MinGRU

__all__ = ["GRU", "LSTM", "RNN", "MinGRU", "embedded", "linear_cross_entropy"]
