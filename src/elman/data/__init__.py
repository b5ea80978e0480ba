"""Files to numbers: text, its vocabulary, and the batches cut from it; numpy only."""

__all__ = ()
