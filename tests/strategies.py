"""What hypothesis draws for the tests."""

from __future__ import annotations

from hypothesis import strategies as st

# How long each sequence of a batch is, in any order.
lengths = st.lists(st.integers(1, 7), min_size=1, max_size=5)
