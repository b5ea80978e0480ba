"""Strategies of hypothesis that several tests use."""

from __future__ import annotations

from hypothesis import strategies as st

# lengths of the sequences of a batch, in any order
lengths = st.lists(st.integers(1, 7), min_size=1, max_size=5)
