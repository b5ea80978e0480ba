"""The states of a network: traces, memory, and the meaning of single units, for every task."""
