"""A language model from a text: corpus, plan, loop, honest measure, card."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from elman._errors import DataError, OptionError, OutputError
from elman._version import __version__
from elman.cells import find
from elman.data import (
    Chunk,
    Corpus,
    Source,
    batches_for,
    evaluation_chunks,
    load_corpora,
    ngram_loss,
)
from elman.model import Model, NetworkConfig
from elman.options import LanguageOptions
from elman.training.checkpoint import Store
from elman.training.distributed import Group, join
from elman.training.journal import Journal
from elman.training.loop import Event, Loop, Watch
from elman.training.memory import freed_memory_kept
from elman.training.network import Network
from elman.training.plan import Plan, resolve

__all__ = ["Outcome", "train_language"]

HELD_OUT_TOKENS = 250_000
"""Most tokens of the held-out part that are measured, from its beginning."""

NGRAM_ORDER = {"char": 6, "word": 5}


@dataclass(frozen=True)
class Outcome:
    """A finished or interrupted training run: the best model, and why the run ended."""

    model: Model
    stopped: str  # budget, early, interrupted, or complete: there was nothing left to resume


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
    """Train a language model on `text` and return the best by held-out loss.

    `output` is the model's file: beside it stand the journal and, until the run ends, the checkpoint
    that `resume` goes on from. `watch` is told every event; `sample` writes a text from a model.

    Raises DataError, OptionError, OutputError, ModelFileError, DivergedError.
    """
    device = _device(options.device)
    threads = torch.get_num_threads()
    group = join(device)
    watchers: list[Watch] = [watch] if watch and group.leads else []

    def tell(event: Event) -> None:
        for watcher in watchers:
            watcher(event)

    devices = [group.device] if group.device.type == "cuda" else []
    journal: Journal | None = None
    try:
        torch.set_num_threads(options.threads or threads)
        if output is not None and group.leads:
            _check_writable(output)
        with torch.random.fork_rng(devices=devices), freed_memory_kept():
            torch.manual_seed(options.seed)
            run = _Run.load(text, options, valid, output, group, tell, resume=resume)
            kept = resume and run.store is not None and run.store.file.exists()
            if output is not None:
                complete = resume and not kept and group.leads and run.is_complete(output)
                if group.from_lead([float(complete)])[0]:
                    run.end()
                    return Outcome(Model.load(output), "complete")
                if group.leads:
                    journal = Journal(output, resume=kept)
                    watchers.append(journal)
            return run.train(resume=kept, tell=tell, sample=sample)
    finally:
        torch.set_num_threads(threads)
        if journal is not None:
            journal.close()
        group.leave()


def _device(name: str) -> torch.device:
    cuda = torch.cuda.is_available()
    if name == "cuda" and not cuda:
        raise OptionError("device", got="cuda", expected="a CUDA device that torch can use")
    return torch.device("cuda" if cuda and name != "cpu" else "cpu")


def _check_writable(output: Path) -> None:
    if output.is_dir():
        raise OutputError(
            f"cannot write the model {output}", got="a folder", expected="a file name"
        )
    if output.suffix != ".safetensors":
        raise OptionError("output", got=output.name, expected="a name that ends in .safetensors")
    if not os.access(output.parent, os.W_OK | os.X_OK):
        there = output.parent.exists()
        raise OutputError(
            f"cannot write the model {output}",
            got="a folder that is not writable" if there else "no such folder",
            remedy="choose another with -o" if there else "make it first",
        )


@dataclass
class _Run:
    """One run with everything it was given and what follows from it."""

    options: LanguageOptions
    plan: Plan
    config: NetworkConfig
    training: Corpus
    held_out: Corpus
    split: str
    group: Group
    output: Path | None
    store: Store | None

    @classmethod
    def load(
        cls,
        text: Source,
        options: LanguageOptions,
        valid: Source | None,
        output: Path | None,
        group: Group,
        tell: Callable[[Event], None],
        *,
        resume: bool,
    ) -> _Run:
        workspace = None
        if output is not None:
            # each process keeps its own numbers of the text, so that none reads what another still writes
            workspace = Store(output, {}).folder / f"text.{group.rank}"
            Store(output, {}).make()
        names = (
            "level",
            "split",
            "documents",
            "max_vocabulary",
            "min_count",
            "encoding",
            "held_out",
        )
        training, held_out = load_corpora(
            text,
            **{name: getattr(options, name) for name in names},
            valid=valid,
            workspace=workspace,
        )
        plan = resolve(options, len(training.ids))
        config = NetworkConfig(
            task="language",
            cell=options.cell,
            activation=options.activation,
            vocabulary_size=len(training.codec.tokens),
            embedding_size=plan.embedding_size,
            hidden_size=plan.hidden_size,
            num_layers=plan.num_layers,
            residual=options.residual,
            tied=plan.tied,
            bias=options.bias,
        )
        split = (
            "a text of its own"
            if valid is not None
            else f"the last {100 * options.held_out:.3g} % of the text"
        )
        run = cls(options, plan, config, training, held_out, split, group, output, None)
        if output is not None:
            run.store = Store(output, run.identity())
            if run.store.file.exists() and not resume:
                warning = f"the unfinished run in {run.store.folder} will be replaced"
                tell({"event": "warning", "text": f"{warning}; --resume would go on with it"})
        tell({"event": "start", "elman": __version__, **run.report()})
        return run

    def identity(self) -> dict[str, Any]:
        """Return what must be the same for a run to be resumed, by the name to tell when it is not."""
        settings = asdict(self.options)
        settings.pop("checkpoint_every")
        return {
            "text": self.training.facts.sha256,
            "held-out text": self.held_out.facts.sha256,
            **settings,
            "processes": self.group.world_size,
            "version": __version__,
        }

    def is_complete(self, output: Path) -> bool:
        """Return whether `output` is the model that this very run ended in."""
        return output.exists() and Model.load(output).card.get("identity") == self.identity()

    def report(self) -> dict[str, Any]:
        """Return the data report: what was read, how it is split, what will be trained."""
        return {
            "data": asdict(self.training.facts),
            "held_out": asdict(self.held_out.facts) | {"split": self.split},
            "vocabulary": self.config.vocabulary_size,
            "level": self.options.level,
            "network": asdict(self.config),
            "parameters": sum(math.prod(shape) for shape in self.config.parameters().values()),
            "memory_bytes": self.memory(),
            "plan": asdict(self.plan),
            "device": str(self.group.device),
            "processes": self.group.world_size,
            "threads": torch.get_num_threads(),
        }

    def memory(self) -> int:
        """Return the estimated memory (bytes) of weights, moments, snapshot and one step's activations."""
        config, plan = self.config, self.plan
        weights = sum(math.prod(shape) for shape in config.parameters().values())
        gates = find(config.cell, config.activation).G
        units = config.embedding_size + config.num_layers * config.hidden_size * (2 * gates + 4)
        step = plan.batch_size * plan.sequence_length * (units + 3 * config.vocabulary_size)
        return 4 * (8 * weights + step)

    def chunks(self) -> Iterator[Chunk]:
        """Return the held-out part as it is measured."""
        ids, starts = self.measured()
        return evaluation_chunks(ids, starts, self.held_out.codec.end_id)

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

    def train(
        self, *, resume: bool, tell: Callable[[Event], None], sample: Callable[[Model], str] | None
    ) -> Outcome:
        """Run the loop and return its best model with a card."""
        training = self.training
        batches = batches_for(
            training.ids,
            training.starts,
            training.codec.end_id,
            self.plan.batch_size,
            self.plan.sequence_length,
            self.plan.seed,
        )

        def write(arrays: Mapping[str, np.ndarray]) -> str:
            return sample(Model(self.config, arrays, training.codec, {})) if sample else ""

        network = Network(self.config, self.plan.dropout, self.plan.sampled_softmax).to(
            self.group.device
        )
        if not self.group.leads:
            # the same network in every process, but dropout of its own
            torch.manual_seed(self.plan.seed + 1_000_003 * self.group.rank)
        loop = Loop(network, batches, self.chunks, self.plan, self.group, tell, write, self.store)
        if resume and loop.resume():
            tell({"event": "resume", "step": loop.progress.step})
        stopped = loop.run()
        if loop.best is None:
            raise DataError("no measurement of the held-out part was a finite number")
        model = Model(self.config, loop.best.arrays, training.codec, self.card(loop, stopped))
        if self.output is not None and self.group.leads:
            model.save(self.output)
            if stopped != "interrupted":
                self.end()
        tell({"event": "end", "stopped": stopped, "card": model.card})
        return Outcome(model, stopped)

    def end(self) -> None:
        """Remove what only an unfinished run needs."""
        if self.store is not None and self.group.leads:
            self.store.clear()

    def card(self, loop: Loop, stopped: str) -> dict[str, Any]:
        """Return how the model was trained, on what, and how good it is, as JSON reads it back."""
        best = loop.best
        loss = best.loss if best else math.nan
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
        card = {
            "version": __version__,
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "data": facts,
            "split": self.split,
            "held_out": {
                "loss": loss,
                "bits_per_token": loss / math.log(2),
                "perplexity": math.exp(min(loss, 700.0)),
                "tokens": len(ids) if codec.end_id is not None else len(ids) - len(starts),
                "unknown_share": self.held_out.facts.unknown / max(1, self.held_out.facts.tokens),
                "sha256": self.held_out.facts.sha256,
            },
            "ngram": asdict(ngram),
            "training": {
                "steps": loop.progress.step,
                "best_step": best.step if best else 0,
                "epochs": loop.progress.epoch
                + loop.progress.index / max(1, loop.batches.chunks(loop.progress.epoch)),
                "seconds": round(loop.progress.elapsed, 3),
                "recoveries": loop.progress.recoveries,
                "stopped": stopped,
            },
            "settings": asdict(self.plan),
            "identity": self.identity(),
        }
        return dict(json.loads(json.dumps(card)))
