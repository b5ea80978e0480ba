"""A language model from a text: corpus, plan, objective, honest measure, card."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from elman.cells import find
from elman.config import NetworkConfig
from elman.data import (
    IGNORE,
    Chunk,
    Corpus,
    Source,
    TextCodec,
    batches_for,
    evaluation_chunks,
    load_corpora,
    ngram_loss,
    shard,
)
from elman.model import Model
from elman.options import LanguageOptions
from elman.training.checkpoint import Best, folder_of
from elman.training.distributed import Group
from elman.training.loop import Watch
from elman.training.network import Network
from elman.training.objective import LayerState, Measure, Objective
from elman.training.plan import Plan, Schedule, resolve
from elman.training.run import Outcome, Run, execute

__all__ = ["held_out_loss", "train_language"]

HELD_OUT_TOKENS = 250_000
"""Most tokens of the held-out part that are measured, from its beginning."""

NGRAM_ORDER = {"char": 6, "word": 5}
PROBE_CHUNKS = 2


def train_language(
    text: Source,
    options: LanguageOptions,
    *,
    valid: Source | None = None,
    output: Path | None = None,
    resume: bool = False,
    watch: Watch | None = None,
    sample: Callable[[Model], str] | None = None,
) -> Outcome:
    """Train a language model on `text` and return the best by held-out loss, as `execute` says.

    `sample` writes a text from a model. Raises DataError, OptionError, OutputError, ModelFileError,
    DivergedError.
    """

    def load(group: Group) -> _LanguageRun:
        return _LanguageRun.load(text, options, valid, output, group, sample)

    return execute(load, options, output=output, resume=resume, watch=watch)


def _started(state: list[LayerState] | None, fresh: np.ndarray) -> list[LayerState] | None:
    """Return `state` without gradients, with the lanes that start anew at zero."""
    if state is None or fresh.all():
        return None
    new = torch.from_numpy(fresh)[None, :, None]

    def start(part: torch.Tensor) -> torch.Tensor:
        part = part.detach()
        return part.masked_fill(new.to(part.device), 0.0) if fresh.any() else part

    return [
        (start(layer[0]), start(layer[1])) if isinstance(layer, tuple) else start(layer)
        for layer in state
    ]


def held_out_loss(network: Network, chunks: Iterator[Chunk]) -> float:
    """Return the loss (nats a token) over `chunks`, the state carried from one to the next."""
    device = next(network.parameters()).device
    total, predicted, state = 0.0, 0, None
    network.eval()
    with torch.no_grad():
        for chunk in chunks:
            hidden, state = network(
                torch.from_numpy(chunk.inputs).to(device), _started(state, chunk.fresh)
            )
            targets = torch.from_numpy(chunk.targets).to(device)
            total += float(network.loss(hidden, targets, IGNORE))
            predicted += chunk.predicted
    network.train()
    return total / predicted


class _LanguageObjective(Objective):
    """The next token at every step, the state carried from one chunk to the next."""

    unit = "token"

    def __init__(self, run: _LanguageRun) -> None:
        plan, corpus = run.plan, run.training
        self.run, self.group = run, run.group
        self.network: Network = Network(
            run.config, plan.dropout, plan.sampled_softmax, plan.precision
        )
        self.batches = batches_for(
            corpus.ids,
            corpus.starts,
            corpus.codec.end_id,
            plan.batch_size,
            plan.sequence_length,
            plan.seed,
        )
        self._next: list[LayerState] | None = None

    def chunks(self, epoch: int) -> int:
        return self.batches.chunks(epoch)

    def loss(self, epoch: int, index: int) -> tuple[Tensor, int]:
        chunk = self.batches.chunk(epoch, index)
        own = shard(chunk, self.group.rank, self.group.world_size)
        device = self.group.device
        hidden, self._next = self.network(
            torch.from_numpy(own.inputs).to(device), _started(self.carried, own.fresh)
        )
        total = self.network.loss(hidden, torch.from_numpy(own.targets).to(device), IGNORE)
        return total, chunk.predicted

    def advance(self) -> None:
        self.carried = self._next

    def measure(self) -> Measure:
        loss = held_out_loss(self.network, self.run.chunks())
        facts: dict[str, Any] = {"held_out_loss": loss}
        if math.isfinite(loss):
            facts["sample"] = self.run.write(self.network.arrays())
        return Measure(loss, facts)

    def probe(self) -> float:
        chunks = self.run.chunks()
        first = list(itertools.islice(chunks, PROBE_CHUNKS))
        held_out_loss(self.network, iter(first[:1]))  # the first pass is slower than the others
        started = time.monotonic()
        held_out_loss(self.network, iter(first))
        passed = time.monotonic() - started
        every = len(first) + sum(1 for _ in chunks)
        return passed * every / len(first)


@dataclass
class _LanguageRun(Run):
    """One run with everything it was given and what follows from it."""

    options: LanguageOptions
    plan: Plan
    config: NetworkConfig
    codec: TextCodec
    training: Corpus
    held_out: Corpus
    split: str
    sample: Callable[[Model], str] | None

    @classmethod
    def load(
        cls,
        text: Source,
        options: LanguageOptions,
        valid: Source | None,
        output: Path | None,
        group: Group,
        sample: Callable[[Model], str] | None,
    ) -> _LanguageRun:
        # each process keeps its own numbers of the text, so that none reads what another writes
        workspace = None if output is None else folder_of(output) / f"text.{group.rank}"
        training, held_out = load_corpora(
            text,
            level=options.level,
            split=options.split,
            documents=options.documents,
            max_vocabulary=options.max_vocabulary,
            min_count=options.min_count,
            encoding=options.encoding,
            held_out=options.held_out,
            valid=valid,
            workspace=workspace,
        )
        vocabulary_size = len(training.codec.tokens)
        plan = resolve(options, len(training.ids), vocabulary_size)
        config = NetworkConfig(
            task="language",
            cell=options.cell,
            activation=options.activation,
            vocabulary_size=vocabulary_size,
            embedding_size=plan.embedding_size,
            hidden_size=plan.hidden_size,
            num_layers=plan.num_layers,
            residual=options.residual,
            tied=plan.tied,
            bias=options.bias,
        )
        split = f"the last {100 * options.held_out:.3g} % of the text"
        split = split if valid is None else "a text of its own"
        return cls(
            options,
            plan,
            config,
            training.codec,
            group,
            output,
            training,
            held_out,
            split,
            sample,
        )

    def data_identity(self) -> dict[str, str]:
        return {
            "text": self.training.facts.sha256,
            "held-out text": self.held_out.facts.sha256,
        }

    def memory(self) -> int:
        """Return the estimated memory (bytes) of weights, moments, snapshots and one step."""
        config, plan = self.config, self.plan
        gates = find(config.cell, config.activation).G
        units = config.embedding_size + config.num_layers * config.hidden_size * (2 * gates + 4)
        logits = min(config.vocabulary_size, 2 * plan.sampled_softmax or config.vocabulary_size)
        step = plan.batch_size * plan.sequence_length * (units + 3 * logits)
        return 4 * (10 * self.parameters() + step)

    def report(self) -> dict[str, Any]:
        return {
            "data": asdict(self.training.facts),
            "held_out": asdict(self.held_out.facts) | {"split": self.split},
            "vocabulary": self.config.vocabulary_size,
            "level": self.options.level,
            "memory_bytes": self.memory(),
        }

    def stage(
        self,
        earlier: Sequence[Mapping[str, Any]],  # noqa: ARG002 - there is one stage
    ) -> tuple[Objective, Schedule]:
        return _LanguageObjective(self), self.plan

    def write(self, arrays: Mapping[str, np.ndarray]) -> str:
        """Return a text that the network with these arrays writes, if that was asked for."""
        if self.sample is None:
            return ""
        return self.sample(Model(self.config, arrays, self.codec, {}))

    def measured(self) -> tuple[np.ndarray, np.ndarray]:
        """Return ids and document starts of the held-out part, cut off at `HELD_OUT_TOKENS`."""
        ids, starts = self.held_out.ids, self.held_out.starts
        if len(ids) <= HELD_OUT_TOKENS:
            return ids, starts
        if self.held_out.codec.end_id is None:
            return ids[:HELD_OUT_TOKENS], starts[starts < HELD_OUT_TOKENS - 1]
        lines = max(1, int(np.searchsorted(starts, HELD_OUT_TOKENS, "right")) - 1)
        end = starts[lines] if lines < len(starts) else len(ids)
        return ids[:end], starts[:lines]

    def chunks(self) -> Iterator[Chunk]:
        """Return the held-out part as it is measured."""
        ids, starts = self.measured()
        return evaluation_chunks(ids, starts, self.held_out.codec.end_id)

    def facts(
        self,
        best: Best,
        learned: Mapping[str, Any],  # noqa: ARG002 - there is one stage
        refit: bool,  # noqa: ARG002
    ) -> dict[str, Any]:
        ids, starts = self.measured()
        codec = self.training.codec
        ngram = ngram_loss(
            self.training.ids,
            self.training.starts,
            ids,
            starts,
            len(codec.tokens),
            codec.end_id,
            NGRAM_ORDER[self.options.level],
        )
        facts = asdict(self.training.facts)
        facts.pop("warnings")
        return {
            "data": facts,
            "split": self.split,
            "held_out": {
                "loss": best.value,
                "bits_per_token": best.value / math.log(2),
                "perplexity": math.exp(min(best.value, 700.0)),
                "tokens": len(ids) if codec.end_id is not None else len(ids) - len(starts),
                "unknown_share": self.held_out.facts.unknown / max(1, self.held_out.facts.tokens),
                "sha256": self.held_out.facts.sha256,
            },
            "ngram": asdict(ngram),
        }
