"""Training of a language model: dataset, sizes, objective, evaluation and the model's card."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

from elman.cells import find
from elman.engine.kernel import has_bfloat16
from elman.files.growth import Growth
from elman.files.model import Model, folder_of
from elman.language.batches import batches_for, evaluation_chunks, shard
from elman.language.config import NetworkConfig
from elman.language.corpus import Corpus
from elman.language.dataset import Dataset, load_dataset
from elman.language.network_torch import Network
from elman.language.ngram import ngram_loss
from elman.language.options import LanguageOptions
from elman.language.plan import Plan, resolve
from elman.language.predictor import LanguagePredictor
from elman.language.tokens import IGNORE, Chunk, Tokens
from elman.metrics.paired import compare_losses
from elman.text.sources import Source
from elman.text.vocabulary import TextCodec
from elman.training.checkpoint import Best, StageResult
from elman.training.continuation import extended, few_epochs, small_steps
from elman.training.distributed import Group
from elman.training.journal import JsonObject, Run
from elman.training.objective import LayerState, Measure, Objective
from elman.training.plan import Schedule
from elman.training.random import Randomness
from elman.training.recipe import Recipe
from elman.training.trainer import Outcome, train

MEASURED_TOKENS = 250_000
"""Longest stretch of the validation set and of the test set that is measured, from the beginning."""
SURPRISE_TOKENS = 20_000
"""Tokens of a new text by which a trained model's learning rate on it is chosen."""
VERDICT_BLOCKS, MIN_BLOCK_TOKENS = 50, 20
"""For the comparison with the n-gram model, a test set of long documents is cut into at most
`VERDICT_BLOCKS` blocks of at least `MIN_BLOCK_TOKENS` tokens."""

MAX_NGRAM_ORDER = {"char": 6, "word": 5}
SAMPLE_TOKENS = {"char": 160, "word": 40}
"""Tokens of the text that the network generates at each evaluation, by level."""
PROBE_CHUNKS = 2
"""Chunks whose evaluation is timed before training, to estimate the time of an evaluation."""


def train_language(
    text: Source,
    options: LanguageOptions,
    run: Run,
    *,
    valid: Source | None = None,
    test: Source | None = None,
) -> Outcome:
    """Train a language model and return the network with the lowest validation loss.

    Args:
        text: A text, a path of a file or folder, or several of either.
        options: The options of the run.
        run: The files of the run, and the function that watches it.
        valid: The held-out text, instead of a part of `text`.
        test: The test set, instead of half of the held-out text.

    Raises:
        DataError: A text is missing, empty, too short or not text.
        OptionError: An option has a value that it cannot take.
        OutputError: `output` cannot be written to.
        ModelFileError: The checkpoint cannot be used.
        DivergedError: Training reached numbers that are not finite.
    """
    folder = None if run.output is None else folder_of(run.output)
    if run.before is not None:
        options = few_epochs(options)

    def prepare(group: Group, random: Randomness) -> _LanguageRecipe:
        # Each process encodes the text into a folder of its own, so that none reads a half-written file.
        workspace = None if folder is None else folder / f"text.{group.rank}"
        known = None if run.before is None else run.before.codec
        dataset = load_dataset(
            text, options, valid=valid, test=test, workspace=workspace, known=known
        )
        return _LanguageRecipe.of(dataset, run.before, group, random)

    return train(prepare, options, run)


def _started(state: list[LayerState] | None, fresh: np.ndarray) -> list[LayerState] | None:
    """Return `state` without its gradient history, and with zeros in the lanes that start anew."""
    if state is None or fresh.all():
        return None
    # [1, B, 1], to broadcast over the states [1, B, H] of a layer
    new = torch.from_numpy(fresh)[None, :, None]

    def start(tensor: Tensor) -> Tensor:
        tensor = tensor.detach()
        return tensor.masked_fill(new.to(tensor.device), 0.0) if fresh.any() else tensor

    return [
        (start(layer[0]), start(layer[1])) if isinstance(layer, tuple) else start(layer)
        for layer in state
    ]


def held_out_loss(network: Network, chunks: Iterator[Chunk]) -> float:
    """Return the mean loss (nats per token) over `chunks`, with the state carried from one to the next."""
    total, predicted = 0.0, 0
    for chunk, hidden in _read(network, chunks):
        targets = torch.from_numpy(chunk.targets).to(hidden.device)
        total += float(network.loss(hidden, targets, IGNORE))
        predicted += chunk.predicted
    return total / predicted


def _read(network: Network, chunks: Iterator[Chunk]) -> Iterator[tuple[Chunk, Tensor]]:
    """Yield each chunk with the head's inputs ``[T, B, H]``; meanwhile the network is in evaluation mode."""
    device = next(network.parameters()).device
    state: list[LayerState] | None = None
    network.eval()
    with torch.no_grad():
        for chunk in chunks:
            tokens = torch.from_numpy(chunk.inputs).to(device)
            hidden, state = network(tokens, _started(state, chunk.fresh))
            yield chunk, hidden
    network.train()


def _surprise(model: Model[NetworkConfig, TextCodec], corpus: Corpus) -> float:
    """Return how much higher the loss is on the beginning of a new text than on the model's validation set.

    NaN if the model has no such set.
    """
    validation = model.card.get("validation")
    if validation is None:
        return math.nan
    with Randomness().making():  # draws that leave those of the run alone
        network = Network(model.config)
    network.load(model.arrays)
    text = corpus.tokens.beginning(SURPRISE_TOKENS)
    return held_out_loss(network, evaluation_chunks(text)) - float(validation["loss"])


def _measured(corpus: Corpus) -> Tokens:
    return corpus.tokens.beginning(MEASURED_TOKENS)


def _token_losses(network: Network, text: Tokens) -> tuple[np.ndarray, np.ndarray]:
    """Return for each prediction, in the order of the text, its loss (nats) and its group.

    A group is a line, or a block of a text of long documents. Losses within a group are correlated.
    """
    # NaN marks the tokens that are not predicted.
    losses = np.full(len(text.ids), np.nan)
    for chunk, hidden in _read(network, evaluation_chunks(text)):
        targets = torch.from_numpy(chunk.targets[chunk.is_target]).to(hidden.device)
        chunk_losses = network.token_losses(hidden[torch.from_numpy(chunk.is_target)], targets)
        losses[chunk.indices[chunk.is_target]] = chunk_losses.cpu().numpy()
    predicted = np.flatnonzero(np.isfinite(losses))
    # Blocks of equal length; the last one may be shorter.
    block = max(MIN_BLOCK_TOKENS, -(-len(losses) // VERDICT_BLOCKS))
    groups = predicted // block
    if text.end_id is not None:
        groups = np.searchsorted(text.starts, predicted, "right") - 1
    return losses[predicted], groups


class _LanguageObjective(Objective):
    """The prediction of the next token at every step, with the state carried from chunk to chunk."""

    unit = "token"

    def __init__(self, config: NetworkConfig, plan: Plan, dataset: Dataset, group: Group) -> None:
        self.config, self.dataset, self.group = config, dataset, group
        self.network: Network = Network(config, plan.dropout, plan.sampled_softmax, plan.precision)
        self.network.start_from(dataset.training.ids, plan.seed)
        self.batches = batches_for(
            dataset.training.tokens,
            plan.batch_size,
            plan.sequence_length,
            plan.seed,
            group.world_size,
        )
        self._next: list[LayerState] | None = None

    def steps_in_epoch(self, epoch: int) -> int:
        return self.batches.chunks(epoch)

    def loss(self, epoch: int, index: int) -> tuple[Tensor, int]:
        chunk = self.batches.chunk(epoch, index)
        local = shard(chunk, self.group.rank, self.group.world_size)
        device = self.group.device
        # The trainer carries the new state over with `advance`, after it has taken the step.
        hidden, self._next = self.network(
            torch.from_numpy(local.inputs).to(device), _started(self.carried, local.fresh)
        )
        total = self.network.loss(hidden, torch.from_numpy(local.targets).to(device), IGNORE)
        # The trainer divides by the tokens of the chunk. Chunks of short documents have few tokens, and each
        # token must have the same weight, or the network would expect short documents too often.
        return total * (chunk.predicted / self.batches.mean_predicted), chunk.predicted

    def advance(self) -> None:
        self.carried = self._next

    def measure(self) -> Measure:
        loss = held_out_loss(self.network, self._validation_chunks())
        held_out = self.dataset.validation is not None
        facts: JsonObject = {"held_out_loss": loss if held_out else None}
        if math.isfinite(loss):
            # A network whose loss is not finite cannot write a text.
            facts["sample"] = self._sample()
        return Measure(loss, facts)

    def seconds_to_measure(self) -> float:
        chunks = self._validation_chunks()
        first = list(itertools.islice(chunks, PROBE_CHUNKS))
        held_out_loss(self.network, iter(first[:1]))  # warm-up: the first pass is slower
        started = time.monotonic()
        held_out_loss(self.network, iter(first))
        passed = time.monotonic() - started
        count = len(first) + sum(1 for _ in chunks)
        if (test := self.dataset.test) is not None:
            # The evaluation of the test set after the last step counts as training time.
            count += sum(1 for _ in evaluation_chunks(_measured(test)))
        return passed * count / len(first)

    def _validation_chunks(self) -> Iterator[Chunk]:
        """Return the chunks that choose the best network: the validation set, or a small text itself."""
        return evaluation_chunks(_measured(self.dataset.validation or self.dataset.training))

    def _sample(self) -> str:
        """Return a short text that the network generates, the same for the same weights."""
        codec = self.dataset.training.codec
        predictor = LanguagePredictor(Model(self.config, self.network.arrays(), codec, {}))
        return predictor.generate(n=SAMPLE_TOKENS[codec.level], temperature=0.8, seed=0)


@dataclass
class _LanguageRecipe(Recipe[_LanguageObjective]):
    """One training run: its inputs and everything that follows from them."""

    options: LanguageOptions
    plan: Plan
    config: NetworkConfig
    codec: TextCodec
    dataset: Dataset

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        before: Model[NetworkConfig, TextCodec] | None,
        group: Group,
        random: Randomness,
    ) -> _LanguageRecipe:
        """Return the recipe; the amount of text decides about the options that the user left open."""
        options, codec = dataset.options, dataset.training.codec
        small = dataset.validation is None
        plan = resolve(
            options,
            len(dataset.training.ids),
            len(codec),
            documents=len(dataset.training.starts),
            small=small,
            bfloat16=group.device.type == "cpu" and has_bfloat16(),
        )
        config = NetworkConfig(
            task="language",
            cell=options.cell,
            activation=options.activation,
            vocabulary_size=len(codec),
            embedding_size=plan.embedding_size,
            hidden_size=plan.hidden_size,
            num_layers=plan.num_layers,
            residual=options.residual,
            tied=plan.tied,
            bias=options.bias,
        )
        if before is not None:
            growth = Growth(len(codec), range(len(before.codec)))
            before = extended(before, codec, {"vocabulary_size": growth}, options.seed)
            known = None
            if options.learning_rate is None:  # a rate of the user needs no measurement
                own = _surprise(before, dataset.training) if group.leads else math.nan
                [surprise] = group.broadcast([own])
                known = None if math.isnan(surprise) else surprise
            plan, config = small_steps(plan, options, known), before.config
        return cls(options, plan, config, codec, group, random, dataset, before=before)

    def data_identity(self) -> dict[str, str]:
        sets = {
            "text": self.dataset.training,
            "validation text": self.dataset.validation,
            "test text": self.dataset.test,
        }
        return {name: corpus.facts.sha256 for name, corpus in sets.items() if corpus is not None}

    def memory(self) -> int:
        """Return an estimate of the memory (bytes) for weights, their moments and snapshots, and one step."""
        config, plan = self.config, self.plan
        # Rough figures: gates and their gradients, and four vectors more, for each unit and step.
        gates = find(config.cell, config.activation).G
        units = config.embedding_size + config.num_layers * config.hidden_size * (2 * gates + 4)
        parameters = sum(math.prod(shape) for shape in config.parameters().values())
        logits = min(config.vocabulary_size, 2 * plan.sampled_softmax or config.vocabulary_size)
        # Logits, their softmax and its gradient are in memory together.
        step = plan.batch_size * plan.sequence_length * (units + 3 * logits)
        return 4 * (10 * parameters + step)

    def start_facts(self) -> JsonObject:
        sets = self.dataset
        return {
            "data": asdict(sets.training.facts),
            "validation": sets.validation and asdict(sets.validation.facts),
            "held_out": sets.test and asdict(sets.test.facts),
            "split": sets.split,
            "warnings": sets.warnings,
            "vocabulary": self.config.vocabulary_size,
            "level": self.codec.level,
            "memory_bytes": self.memory(),
        }

    def stage(self, earlier: Sequence[StageResult]) -> tuple[_LanguageObjective, Schedule]:
        del earlier  # there is one stage
        return _LanguageObjective(self.config, self.plan, self.dataset, self.group), self.plan

    def evaluate(
        self, earlier: Sequence[StageResult], objective: _LanguageObjective, best: Best
    ) -> StageResult:
        del earlier, objective  # there is one stage
        test, validation = self.dataset.test, self.dataset.validation
        if test is None or not self.group.leads:
            return {"held_out": None, "ngram": None}
        with self.random.making():
            network = Network(self.config, precision=self.plan.precision).to(self.group.device)
        network.load(best.arrays)
        # The best network is measured once, after all choices, on tokens that no choice has seen.
        losses, groups = _token_losses(network, _measured(test))
        ngram = ngram_loss(
            self.dataset.training.tokens,
            _measured(test),
            self.config.vocabulary_size,
            MAX_NGRAM_ORDER[self.codec.level],
            choosing=None if validation is None else _measured(validation),
        )
        difference = compare_losses(losses, ngram.token_losses, groups)
        return {
            "held_out": _figures(test, float(losses.mean())),
            "ngram": ngram.to_dict() | {"difference": asdict(difference)},
        }

    def card_facts(self, best: Best, result: StageResult, refit: bool) -> JsonObject:
        sets = self.dataset
        facts = asdict(sets.training.facts)
        facts.pop("warnings")
        return {
            "data": facts,
            "split": sets.split,
            "refit": refit,
            "validation": sets.validation and _figures(sets.validation, best.value),
            **result,
        }


def _figures(corpus: Corpus, loss: float) -> JsonObject:
    """Return the card's figures of a set on which the network has this loss."""
    return {
        "loss": loss,
        "bits_per_token": loss / math.log(2),
        "perplexity": math.exp(min(loss, 700.0)),
        "tokens": int(_measured(corpus).runs()[1].sum()),
        "unknown_share": corpus.facts.unknown / max(1, corpus.facts.tokens),
        "sha256": corpus.facts.sha256,
    }
