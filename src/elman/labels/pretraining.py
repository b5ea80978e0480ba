"""Pre-training: language modelling of unlabelled texts, which gives a reader of texts its first weights.

The embeddings, the network that reads spellings and the first recurrent layer learn to predict the next token
of each text, and where the network reads in both directions also the token before. Deeper layers of such a
network see what is to be predicted, so they start at random. The output layer over the vocabulary is dropped.

Source: A. Dai, Q. Le, "Semi-supervised Sequence Learning" (arXiv:1511.01432), section 2, with recurrent
layers in both directions.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from elman.errors import DataError, OptionError
from elman.labels.batches import EncodedSequences, EpochBatches, SequenceBatch
from elman.labels.config import SequenceConfig
from elman.labels.dataset import Sequences
from elman.labels.network_torch import Members, Reader
from elman.labels.plan import LabelledPlan
from elman.labels.predictor import LabelPredictor
from elman.nn.functional import linear_cross_entropy
from elman.nn.sampled_softmax import sampled_cross_entropy
from elman.text.input_files import read_lines
from elman.text.words import UNKNOWN_ID
from elman.training.distributed import Group
from elman.training.objective import Measure, Objective
from elman.training.recurrent_layers import initialise

MAX_STEPS = 200
"""Longer lines of unlabelled text are cut into sequences of at most so many steps."""
DROPOUT = 0.1
"""Dropout of the language model, which sees each text only a few times."""
SAMPLED = 2000
"""Common tokens, and drawn tokens, of the sampled softmax."""


def read_unlabelled(path: str, kind: str) -> Sequences:
    """Return the texts of a file, one a line, as sequences of the `kind` of the labelled ones.

    Raises:
        DataError: The file cannot be read, or has no text.
        OptionError: The labelled sequences are numbers.
    """
    if kind == "numbers":
        expected = "a network that reads texts"
        raise OptionError("pretrain", got="a network that reads numbers", expected=expected)
    lines = [line for line in read_lines(path) if line.strip()]
    if not lines:
        raise DataError(f"{path} has only empty lines", expected="a text on each line")
    sequences = Sequences.of(lines)
    return sequences.stepwise() if kind == "tokens" else sequences


class _LanguageReader(Reader):
    """A reader with an output layer over its vocabulary."""

    def __init__(self, config: SequenceConfig, precision: str, counts: np.ndarray) -> None:
        super().__init__(config, DROPOUT, 0.0, precision)
        self.tokens = torch.nn.Linear(config.hidden_size, config.vocabulary_size)
        initialise(self, config, LabelPredictor.initial_weights)
        # the frequencies of tokens then need no learning, which would push all embeddings in one direction
        frequencies = (1 + counts) / (1 + counts).sum()
        with torch.no_grad():
            self.tokens.weight.zero_()
            self.tokens.bias.copy_(torch.from_numpy(np.log(frequencies)))

    def loss(self, batch: SequenceBatch) -> Tensor:
        """Return the summed cross entropy (nats) of the tokens after and before those that were read."""
        rows, sizes = batch.steps.rows, batch.steps.sizes
        ids = torch.from_numpy(rows if batch.words is None else batch.words[rows])
        # rows of all steps but the first, and the rows of the same sequences one step before
        after = np.arange(sizes[0], len(rows))
        before = torch.from_numpy(after - np.repeat(sizes[:-1], sizes[1:]))
        y, _ = self.outputs(batch)
        size = self.config.hidden_size
        states, targets = [y[before, :size]], [ids[sizes[0] :]]
        if self.config.bidirectional:
            # the second half of the outputs has read the sequence from its end
            states.append(y[sizes[0] :, size:])
            targets.append(ids[before])
        hidden, wanted = torch.cat(states), torch.cat(targets).to(y.device)
        known = wanted != UNKNOWN_ID
        hidden, wanted = self.dropout(hidden[known]), wanted[known]
        weight, bias = self.tokens.weight, self.tokens.bias
        if len(bias) <= 2 * SAMPLED:
            return linear_cross_entropy(hidden, weight, bias, wanted, reduction="sum")
        return sampled_cross_entropy(hidden, weight, bias, wanted, SAMPLED, SAMPLED, self.generator)


class PretrainingObjective(Objective):
    """The cross entropy of the next token, and of the one before, in unlabelled texts."""

    unit = "token"
    pretrains = True

    def __init__(
        self, config: SequenceConfig, plan: LabelledPlan, group: Group, texts: EncodedSequences
    ) -> None:
        """Make a network with the sizes of `config`, and the batches of unlabelled `texts`."""
        self.group = group
        parts = [
            sequence[start : start + MAX_STEPS]
            for sequence in texts.sequences
            for start in range(0, len(sequence), MAX_STEPS)
        ]
        # a single token predicts nothing
        self.texts = replace(texts, sequences=[part for part in parts if len(part) > 1])
        if not len(self.texts):
            raise DataError("the unlabelled text", got="single tokens", expected="longer texts")
        self.batches = EpochBatches(self.texts.lengths, plan.batch_size, plan.seed)
        known = [ids != UNKNOWN_ID for ids in self.texts.token_ids]
        self.predicted = np.array(
            [row[1:].sum() + (config.bidirectional and row[:-1].sum()) for row in known]
        )
        """Number of predicted tokens of each text ``[N]``."""
        # only the first layer is trained
        config = replace(config, num_layers=1)
        counts = np.bincount(np.concatenate(self.texts.token_ids), minlength=config.vocabulary_size)
        self.readers = [
            _LanguageReader(config, plan.precision, counts) for _ in range(config.members)
        ]
        self.network: Members = Members(self.readers)

    def steps_in_epoch(self, epoch: int) -> int:  # noqa: ARG002 - all epochs are equally long
        """Return the number of batches in a pass over the texts."""
        return len(self.batches)

    def loss(self, epoch: int, index: int) -> tuple[Tensor, int]:
        """Return the summed loss of this process's share of a batch, and the batch's predicted tokens."""
        rows = self.batches.of(epoch)[index]
        share = rows[self.group.rank :: self.group.world_size]
        count = max(1, int(self.predicted[rows].sum()))
        if not self.predicted[share].sum():
            return self.network.zero_loss(), count
        batch = self.texts.batch(share)
        losses = [reader.loss(batch) for reader in self.readers]
        return torch.stack(losses).sum() / len(losses), count

    def measure(self) -> Measure:
        """Return no measure: the stage trains for a fixed number of steps."""
        return Measure(0.0, {"held_out_loss": None})
