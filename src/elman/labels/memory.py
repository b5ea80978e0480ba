"""The memory of a classifier, regressor or tagger: labelled sequences cut to their last steps."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from elman.explain import plausible
from elman.inspect.memory import MAX_WINDOWS, Cuts, spread_evenly, total_variation
from elman.labels.batches import EncodedSequences
from elman.labels.codec import SequenceCodec
from elman.labels.dataset import Sequences, SequenceSource
from elman.labels.network import SequenceNetwork, probabilities

_DRAWN_STEPS = 64
"""Length of a sequence that is drawn where none is given."""


def memory_cuts(network: SequenceNetwork, source: SequenceSource | None, far: int) -> Cuts:
    """Return at most 64 sequences with the answer to each: a label, a number, or a tag.

    Without a source, 64 plausible sequences of 64 steps are drawn. The tag is the one at the step two thirds
    into the sequence, which has steps on both sides. A number moves in standard deviations of the training
    targets. Raises DataError.
    """
    codec, tags = network.codec, network.config.kind.per_step
    sequences, name = _sequences(codec, source)
    encoded = EncodedSequences.of(codec, network.sequences(sequences))
    long = [row for row, length in enumerate(encoded.lengths.tolist()) if length > 1]
    items = [encoded.sequences[long[index]] for index in spread_evenly(len(long))]
    # the step whose answer is watched
    steps = [2 * len(item) // 3 if tags else len(item) - 1 for item in items]

    def answers_of(rows: Iterable[int], lag: int) -> np.ndarray:
        """Return what the network answers for some sequences without the steps before the last `lag`."""
        # the first step that is kept
        starts = [(row, max(0, steps[row] + 1 - lag)) for row in rows]
        variants = EncodedSequences(
            [items[row][start:] for row, start in starts], encoded.words, encoded.letters
        )
        at = [steps[row] - start for row, start in starts] if tags else None
        if at is not None:
            chained = zip(network.encoded_step_logits(variants), at, strict=True)
            return probabilities(np.stack([logits[step] for logits, step in chained]))
        logits = network.encoded_logits(variants)
        return logits.astype(np.float64) if codec.labels is None else probabilities(logits)

    # the answers with twice as many steps as the farthest cut
    uncut = answers_of(range(len(items)), 2 * far)

    def moved(lag: int, rows: list[int]) -> np.ndarray:
        halved = total_variation(answers_of(rows, lag), uncut[rows])
        # a regressor's single number is no distribution: undo the halving of the total variation
        return halved if codec.labels is not None else 2 * halved

    return Cuts("step", "answer", name, [step + 1 for step in steps], moved)


def _sequences(codec: SequenceCodec, source: SequenceSource | None) -> tuple[Sequences, str]:
    """Return the sequences to measure on, and their name in the report."""
    if source is not None:
        lines = source.split("\n") if isinstance(source, str) else source
        return Sequences.of(lines), "the sequences that were given"
    draw, count, size = np.random.default_rng(0), MAX_WINDOWS, _DRAWN_STEPS
    if codec.scaler is not None:
        drawn = plausible.numbers(codec.scaler, count, size, draw)
        name = f"sequences of {size} steps with numbers drawn as they were in training"
        return Sequences("numbers", (*drawn,)), name
    tokens = plausible.tokens(codec.vocabulary, count, size, draw)
    name = f"sequences of {size} tokens drawn by their frequency in training"
    if codec.vocabulary.level == "char":
        return Sequences("text", tuple(map("".join, tokens))), name
    return Sequences("tokens", tuple(map(tuple, tokens))), name
