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

from elman import _native
from elman._errors import DataError, DivergedError, OptionError, OutputError
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
from elman.training.checkpoint import Best, Snapshot, Store, folder_of
from elman.training.distributed import Group, join
from elman.training.journal import Journal
from elman.training.loop import Event, Loop, Watch, interruptible
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
    _check_precision(options.precision, device)
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
            run = _Run.load(text, options, valid, output, group)
            unfinished = run.is_unfinished()
            if resume and not unfinished and (model := run.finished()) is not None:
                run.end()
                return Outcome(model, "complete")
            snapshot = run.store.load() if resume and run.store is not None else None
            if output is not None and group.leads:
                journal = Journal(output, resume=snapshot is not None)
                watchers.append(journal)
            tell({"event": "start", "elman": __version__, **run.report()})
            if unfinished != resume:
                said = (
                    "the unfinished run is replaced; --resume would have gone on with it"
                    if unfinished
                    else "there is nothing to resume: the run starts from the beginning"
                )
                tell({"event": "warning", "text": said})
                run.end()
            return run.train(snapshot, tell=tell, sample=sample)
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


def _check_precision(precision: str, device: torch.device) -> None:
    if precision == "bf16":
        if device.type != "cpu":
            raise OptionError("precision", got=f"bf16 on {device}", expected="float32 there")
        _native.require_bfloat16()


def _check_writable(output: Path) -> None:
    folder, got, remedy = output.parent, "", "choose another with -o"
    if output.is_dir():
        got = "a folder"
    elif not folder.exists():
        got, remedy = "no such folder", "make it first"
    elif not folder.is_dir():
        got = f"{folder.name}, a file where a folder must be"
    elif not os.access(folder, os.W_OK | os.X_OK):
        got = "a folder that is not writable"
    elif output.exists() and not os.access(output, os.W_OK):
        got = "a file that is write-protected"
    elif folder_of(output).exists() and not folder_of(output).is_dir():
        got = f"{folder_of(output).name}, a file where a folder must be"
    elif output.suffix != ".safetensors":
        raise OptionError("output", got=output.name, expected="a name that ends in .safetensors")
    if got:
        raise OutputError(f"cannot write the model {output}", got=got, remedy=remedy)


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

    @classmethod
    def load(
        cls,
        text: Source,
        options: LanguageOptions,
        valid: Source | None,
        output: Path | None,
        group: Group,
    ) -> _Run:
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
        return cls(options, plan, config, training, held_out, split, group, output)

    @property
    def store(self) -> Store | None:
        """Where the run is kept until it ends."""
        return None if self.output is None else Store(self.output, self.identity())

    def identity(self) -> dict[str, Any]:
        """Return what must be the same for a run to be resumed, by the name to tell when it is not."""
        settings = asdict(self.options) | {"time": self.plan.time}
        for name in ("checkpoint_every", "threads"):
            settings.pop(name)
        return {
            "text": self.training.facts.sha256,
            "held-out text": self.held_out.facts.sha256,
            **settings,
            "processes": self.group.world_size,
            "version": __version__,
        }

    def is_unfinished(self) -> bool:
        """Return whether there is a checkpoint to resume, the same answer in every process."""
        there = self.store is not None and self.store.file.exists()
        (count,) = self.group.all_reduce([], [float(there)])
        if count not in (0.0, float(self.group.world_size)):
            raise OutputError(
                "every process needs the checkpoint",
                got=f"it in {count:.0f} of {self.group.world_size}",
                remedy="give all of them one shared folder",
            )
        return bool(count)

    def finished(self) -> Model | None:
        """Return the model in the output if it is the one that this very run ended in."""
        complete = False
        if self.group.leads and self.output is not None and self.output.exists():
            card = Model.load(self.output).card
            ended = card.get("training", {}).get("stopped") in ("budget", "early")
            if ended and card.get("identity") != self.identity():
                raise OutputError(
                    f"there is nothing to resume, and {self.output} is the model of another run",
                    remedy="train without --resume to replace it, or choose another -o",
                )
            complete = ended
        complete = bool(self.group.broadcast([float(complete)])[0])
        return Model.load(self.output) if complete and self.output is not None else None

    def parameters(self) -> int:
        """Return how many numbers are trained."""
        return sum(math.prod(shape) for shape in self.config.parameters().values())

    def memory(self) -> int:
        """Return the estimated memory (bytes) of weights, moments, snapshots and one step."""
        config, plan = self.config, self.plan
        gates = find(config.cell, config.activation).G
        units = config.embedding_size + config.num_layers * config.hidden_size * (2 * gates + 4)
        logits = min(config.vocabulary_size, 2 * plan.sampled_softmax or config.vocabulary_size)
        step = plan.batch_size * plan.sequence_length * (units + 3 * logits)
        return 4 * (10 * self.parameters() + step)

    def report(self) -> dict[str, Any]:
        """Return the data report: what was read, how it is split, what will be trained."""
        return {
            "data": asdict(self.training.facts),
            "held_out": asdict(self.held_out.facts) | {"split": self.split},
            "vocabulary": self.config.vocabulary_size,
            "level": self.options.level,
            "network": asdict(self.config),
            "parameters": self.parameters(),
            "memory_bytes": self.memory(),
            "plan": asdict(self.plan),
            "device": str(self.group.device),
            "processes": self.group.world_size,
            "threads": torch.get_num_threads(),
        }

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

    def train(
        self,
        snapshot: Snapshot | None,
        *,
        tell: Callable[[Event], None],
        sample: Callable[[Model], str] | None,
    ) -> Outcome:
        """Run the loop, from `snapshot` if there is one, and return its best model with a card.

        Raises DivergedError, after the best network so far was written.
        """
        training, plan = self.training, self.plan
        batches = batches_for(
            training.ids,
            training.starts,
            training.codec.end_id,
            plan.batch_size,
            plan.sequence_length,
            plan.seed,
        )

        def write(arrays: Mapping[str, np.ndarray]) -> str:
            return sample(Model(self.config, arrays, training.codec, {})) if sample else ""

        network = Network(self.config, plan.dropout, plan.sampled_softmax, plan.precision)
        network.to(self.group.device)
        if not self.group.leads:
            # the same network in every process, but dropout of its own
            torch.manual_seed(plan.seed + 1_000_003 * self.group.rank)
        loop = Loop(network, batches, self.chunks, plan, self.group, tell, write, self.store)
        if snapshot is not None:
            loop.restore(snapshot)
            tell({"event": "resume", "step": loop.progress.step})
        diverged: DivergedError | None = None
        with interruptible() as asked:
            try:
                stopped = loop.run(asked)
            except DivergedError as error:
                stopped, diverged = "diverged", error
            if loop.best is None:
                raise diverged or DataError("the held-out part could not be measured")
            model = self.keep(loop, loop.best, stopped)
            loop.save(loop.last)
        tell({"event": "end", "stopped": stopped, "card": dict(model.card)})
        if diverged is not None:
            raise diverged
        return Outcome(model, stopped)

    def keep(self, loop: Loop, best: Best, stopped: str) -> Model:
        """Return the best model with its card; the lead writes it to the output."""
        card = self.card(loop, best, stopped) if self.group.leads else {}
        model = Model(self.config, best.arrays, self.training.codec, card)
        if self.output is not None and self.group.leads:
            model.save(self.output)
        if stopped != "interrupted":
            self.end()
        return model

    def end(self) -> None:
        """Remove what only an unfinished run needs."""
        if self.store is not None and self.group.leads:
            self.store.clear()

    def card(self, loop: Loop, best: Best, stopped: str) -> dict[str, Any]:
        """Return how the model was trained, on what, and how good it is, as JSON reads it back."""
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
        progress = loop.progress
        card = {
            "version": __version__,
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "data": facts,
            "split": self.split,
            "held_out": {
                "loss": best.loss,
                "bits_per_token": best.loss / math.log(2),
                "perplexity": math.exp(min(best.loss, 700.0)),
                "tokens": len(ids) if codec.end_id is not None else len(ids) - len(starts),
                "unknown_share": self.held_out.facts.unknown / max(1, self.held_out.facts.tokens),
                "sha256": self.held_out.facts.sha256,
            },
            "ngram": asdict(ngram),
            "training": {
                "steps": progress.step,
                "best_step": best.step,
                "epochs": progress.epoch
                + progress.index / max(1, loop.batches.chunks(progress.epoch)),
                "seconds": round(progress.elapsed, 3),
                "recoveries": progress.recoveries,
                "stopped": stopped,
            },
            "settings": asdict(self.plan),
            "identity": self.identity(),
        }
        return dict(json.loads(json.dumps(card)))
