"""Error measures, and tests of whether two models differ by more than chance."""

__all__ = ()
