"""Reproduction of figures on public data: one row for each published table, trained with the defaults."""
