"""The network of `elman.labels.network` as a torch module, for training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from elman.labels.affixes import affix_rows
from elman.labels.batches import PackedSteps, SequenceBatch
from elman.labels.config import SequenceConfig
from elman.labels.predictor import EMBEDDING_DEVIATION, LabelPredictor
from elman.labels.tag_chain import FORBIDDEN, TagChain
from elman.text.words import UNKNOWN_ID
from elman.training.objective import LayerState, Trainable
from elman.training.random import Drawing, Dropout
from elman.training.recurrent_layers import initialise, recurrent

LEAST_PRODUCT = 1e-30
"""Smaller products of probabilities are raised to this, so that every logarithm has a gradient."""


def _packed(rows: Tensor, steps: PackedSteps) -> PackedSequence:
    return PackedSequence(rows, torch.from_numpy(steps.sizes))


def _last(states: LayerState) -> Tensor:
    """Return the last hidden state ``[B, D·H]`` of a layer, D directions side by side."""
    hidden = states[0] if isinstance(states, tuple) else states
    return torch.cat([*hidden], dim=-1)


class TorchTransitions(torch.nn.Module):
    """The learned scores of neighbouring tags (`elman.labels.tag_chain`)."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.start = torch.nn.Parameter(torch.zeros(count))
        self.weight = torch.nn.Parameter(torch.zeros(count, count))
        self.end = torch.nn.Parameter(torch.zeros(count))

    def losses(self, logits: Tensor, targets: Tensor, sizes: list[int], rules: TagChain) -> Tensor:
        """Return the summed ``-ln p`` of the true tags of packed sequences.

        Args:
            logits: The logits of all steps ``[N, K]``.
            targets: The numbers of the true tags ``[N]``.
            sizes: Number of sequences that are still running at each step.
            rules: The pairs of tags that may occur.
        """
        start, weight, end = (
            scores + torch.from_numpy(allowed).to(scores)
            for scores, allowed in (
                (self.start, rules.start),
                (self.weight, rules.weight),
                (self.end, rules.end),
            )
        )
        follows = weight.exp()
        rows, tags = logits.split(sizes), targets.split(sizes)
        score = start + rows[0]
        true = start[tags[0]].sum() + logits.gather(1, targets[:, None]).sum()
        ended = []
        for row, tag, before in zip(rows[1:], tags[1:], tags, strict=False):
            count = len(row)
            # the sequences that have no further step
            ended.append(score[count:])
            true = true + end[before[count:]].sum() + weight[before[:count], tag].sum()
            largest = score[:count].detach().amax(1, keepdim=True)
            products = (score[:count] - largest).exp() @ follows
            score = products.clamp_min(LEAST_PRODUCT).log() + largest + row
        ended.append(score)
        total = torch.logsumexp(torch.cat(ended) + end, 1).sum()
        return total - true - end[tags[-1]].sum()


class Reader(Drawing):
    """The embeddings and recurrent layers of one member of a network."""

    def __init__(
        self, config: SequenceConfig, dropout: float, word_dropout: float, precision: str
    ) -> None:
        super().__init__()
        self.config, self.word_dropout = config, word_dropout
        if config.vocabulary_size:
            self.embedding = torch.nn.Embedding(config.vocabulary_size, config.embedding_size)
        if config.alphabet_size:
            size = config.spelling_size
            self.alphabet = torch.nn.Embedding(config.alphabet_size, size)
            self.spelling = recurrent(config, size, size, precision, bidirectional=True)
        if config.affixes:
            self.affixes = torch.nn.Embedding(config.affixes, config.embedding_size)
        # number of inputs of each layer
        sizes = [config.input_size] + [config.output_size] * (config.num_layers - 1)
        self.layers = torch.nn.ModuleList(
            recurrent(
                config, size, config.hidden_size, precision, bidirectional=config.bidirectional
            )
            for size in sizes
        )
        self.dropout = Dropout(dropout)

    def read(self, batch: SequenceBatch) -> Tensor:
        """Return the inputs of the first layer, ``[N, I]``."""
        device = next(self.parameters()).device
        rows = torch.from_numpy(batch.steps.rows).to(device)
        if self.config.channels:
            return cast(Tensor, self.dropout(rows)) if self.config.channels > 64 else rows
        if batch.words is None or batch.letters is None:
            return cast(Tensor, self.dropout(self.embedding(self._unknown(rows))))
        letters = batch.letters
        spelled = self.alphabet(torch.from_numpy(letters.rows).to(device))
        _, states = self.spelling(_packed(self.dropout(spelled), letters))
        # positions of the words in the packed order of their spellings
        back = torch.from_numpy(letters.order).to(device).argsort()
        words = torch.from_numpy(batch.words).to(device)[rows]
        spelled = _last(states).index_select(0, back).index_select(0, rows)
        known = self.embedding(self._unknown(words))
        if self.config.affixes:
            affixes = torch.from_numpy(affix_rows(letters, self.config.affixes)).to(device)
            known = known + self.affixes(affixes).sum(1)[back].index_select(0, rows)
        return cast(Tensor, self.dropout(torch.cat([known, spelled], dim=1)))

    def _unknown(self, words: Tensor) -> Tensor:
        """Return the ids of `words`, in training with a random share of them replaced by `<unk>`."""
        if not self.training or not self.word_dropout:
            return words
        # the generator belongs to the run, so that a resumed run draws the same numbers
        drawn = torch.rand(len(words), device=words.device, generator=self.generator)
        return words.masked_fill(drawn < self.word_dropout, UNKNOWN_ID)

    def outputs(self, batch: SequenceBatch) -> tuple[Tensor, LayerState]:
        """Return the outputs of the last layer ``[N, D]``, in the packed order, and its last states."""
        y = self.read(batch)
        for index, layer in enumerate(self.layers):
            y = self.dropout(y) if index else y
            packed, states = layer(_packed(y, batch.steps))
            y = packed.data
        return y, states


class _Member(Reader):
    def __init__(
        self, config: SequenceConfig, dropout: float, word_dropout: float, precision: str
    ) -> None:
        super().__init__(config, dropout, word_dropout, precision)
        if "attention" in config.pools:
            self.attention = torch.nn.Linear(config.output_size, 1, bias=False)
        self.head = torch.nn.Linear(max(1, len(config.pools)) * config.output_size, config.outputs)
        if config.transitions:
            self.transitions = TorchTransitions(config.outputs)
        initialise(self, config, LabelPredictor.initial_weights)

    def forward(self, batch: SequenceBatch) -> Tensor:
        """Return the logits of each sequence, in the packed order, or for a tagger of each row."""
        y, states = self.outputs(batch)
        if self.config.pools:
            y = self._pool(self.dropout(y), states, batch.steps)
        return cast(Tensor, self.head(self.dropout(y)))

    def _pool(self, y: Tensor, states: LayerState, steps: PackedSteps) -> Tensor:
        """Return the pools ``[B, P·D]``, as `elman.engine.pooling.pool` does."""
        columns = torch.from_numpy(steps.columns).to(y.device)
        count = len(steps.order)
        # [N, D]: the sequence of each row, for every number in it
        wide = columns[:, None].expand(-1, y.shape[1])
        pools = []
        for way in self.config.pools:
            if way == "last":
                pools.append(_last(states))
            elif way == "max":
                empty = y.new_full((count, y.shape[1]), -torch.inf)
                pools.append(empty.scatter_reduce(0, wide, y, "amax"))
            else:
                weights = y.new_ones(len(y), 1)
                if way == "attention":
                    scores = self.attention(y)[:, 0]
                    # subtract the largest score of a sequence, so that no exponential overflows
                    largest = scores.new_full((count,), -torch.inf)
                    largest = largest.scatter_reduce(0, columns, scores.detach(), "amax")
                    weights = (scores - largest[columns]).exp()[:, None]
                # the sum of the weights of each sequence [B, 1]
                divisor = y.new_zeros(count, 1).index_add(0, columns, weights)
                pools.append(
                    y.new_zeros(count, y.shape[1]).index_add(0, columns, weights * y) / divisor
                )
        return torch.cat(pools, dim=1)


class Members(Trainable):
    """Readers that share nothing; their parameters are named ``members.{m}.…``."""

    def __init__(self, readers: Iterable[Reader]) -> None:
        super().__init__()
        self.members = torch.nn.ModuleList(readers)

    def start_from(self, words: np.ndarray, vectors: np.ndarray) -> None:
        """Set the embeddings of `words` ``[W]`` in every member to ``vectors [W, E]``, on the usual scale."""
        # the direction of a vector is what others have learned; the rate of training fits the usual scale
        scaled = vectors * (EMBEDDING_DEVIATION / max(float(vectors.std()), 1e-12))
        with torch.no_grad():
            for m in range(len(self.members)):
                embedding = self.get_parameter(f"members.{m}.embedding.weight")
                embedding[torch.from_numpy(words)] = torch.from_numpy(scaled)


class TorchSequenceNetwork(Members):
    """All members: logits ``[M, B, K]`` of each sequence, or ``[M, N, K]`` of each row for a tagger."""

    def __init__(
        self,
        config: SequenceConfig,
        dropout: float = 0.0,
        word_dropout: float = 0.0,
        precision: str = "float32",
    ) -> None:
        super().__init__(
            _Member(config, dropout, word_dropout, precision) for _ in range(config.members)
        )

    @property
    def chains(self) -> list[TorchTransitions]:
        """The scores of neighbouring tags of each member; empty where tags are not chained."""
        return [module for module in self.modules() if isinstance(module, TorchTransitions)]

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Set every parameter; scores of pairs that a model file rules out begin at 0 again."""
        super().load(arrays)
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if ".transitions." in name:
                    parameter[parameter < FORBIDDEN / 100] = 0.0

    def forward(self, batch: SequenceBatch) -> Tensor:
        """Return the logits of each member."""
        return torch.stack([member(batch) for member in self.members])
