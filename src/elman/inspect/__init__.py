"""What a network's hidden states hold: traces, memory, and what single units stand for."""
