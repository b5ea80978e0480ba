"""Plan of a training run on labelled sequences: the options, with defaults derived from the data."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from elman.errors import OptionError
from elman.files.container import Limits
from elman.labels.affixes import AFFIX_ROWS
from elman.labels.codec import SequenceCodec
from elman.labels.config import SequenceConfig
from elman.labels.confusion import ENTITY_F1
from elman.labels.kinds import KINDS
from elman.labels.options import LabelledOptions
from elman.labels.tag_chain import MAX_CHAINED_TAGS
from elman.labels.tags import are_entities
from elman.training.plan import Schedule, is_unlimited

TIME_LIMIT_SECONDS = 150.0
"""Limit of a training without a budget; with the plain models, a run then takes three minutes."""
REFIT_BELOW_SEQUENCES = 2000
"""With fewer sequences, the final network is trained anew on all of them."""
FEW_SEQUENCES, FEW_STEPS, STEPS_PER_SEQUENCE = 200, 200, 2
"""With so few sequences of numbers the folds are too small to choose when training ends: it then takes
`FEW_STEPS`, or `STEPS_PER_SEQUENCE` for each sequence if that is more, within a budget of time."""
MAX_CODEC_ARRAYS = 10
"""Arrays that a codec may add to a model file: three vocabularies and two scalers, two arrays each."""


@dataclass(frozen=True, kw_only=True)
class LabelledPlan(Schedule):
    """The schedule of a run, the sizes of its network and its regularisation, with every default resolved."""

    hidden_size: int
    num_layers: int
    embedding_size: int
    spelling_size: int
    pooling: str
    members: int
    dropout: float
    word_dropout: float
    label_smoothing: float
    refit: bool
    chooses_step: bool
    """Whether the step with the best result on held-out sequences is kept; otherwise the last step is."""


def labelled_plan(
    options: LabelledOptions,
    lengths: np.ndarray,
    is_text: bool,
    validates: bool = True,
    *,
    in_folds: bool = False,
) -> LabelledPlan:
    """Return the plan of a run.

    Args:
        options: The options that the user chose.
        lengths: Lengths of the training sequences ``[N]``.
        is_text: Whether the sequences are texts, not numbers.
        validates: Whether held-out sequences decide when training ends; without them and without a budget,
            it takes a fixed number of epochs.
        in_folds: Whether these sequences are those of a cross-validation.
    """
    count = len(lengths)
    small = count < REFIT_BELOW_SEQUENCES
    batch_size = 16 if small else 64
    # small sets need about as many steps as large ones, that is, more epochs
    text_epochs = min(20.0, max(3.0, 150_000 / count))
    number_epochs = max(5.0, 1000 * batch_size / count)
    few = in_folds and count < FEW_SEQUENCES and not is_text
    few = few and options.epochs is None and options.steps is None
    until_no_better = validates and is_unlimited(options) and not few
    plan = LabelledPlan.of(
        options,
        batch_size=batch_size,
        learning_rate=4e-3 if small else 2e-3,
        epochs=None if until_no_better or few else text_epochs if is_text else number_epochs,
        limit=TIME_LIMIT_SECONDS if until_no_better else None,
        average=0.99 if small else 0.995,
        hidden_size=64,
        num_layers=1,
        embedding_size=100,
        spelling_size=32,
        pooling="attention+max" if is_text else "mean+max",
        members=3 if small and not is_text else 1,
        dropout=0.5 if is_text else 0.2,
        word_dropout=0.1 if is_text else 0.0,
        label_smoothing=0.1 if is_text else 0.0,
        refit=small,
        chooses_step=validates and not few,
    )
    return replace(plan, steps=max(FEW_STEPS, STEPS_PER_SEQUENCE * count)) if few else plan


def network_config(
    task: str, options: LabelledOptions, plan: LabelledPlan, codec: SequenceCodec
) -> SequenceConfig:
    """Return the sizes of the network; raises OptionError if a model file cannot hold it."""
    tokens, alphabet, scaler = codec.tokens, codec.alphabet, codec.scaler
    per_step = KINDS[task].per_step
    config = SequenceConfig(
        task=task,
        cell=options.cell,
        activation=options.activation,
        vocabulary_size=len(tokens) if tokens else 0,
        embedding_size=plan.embedding_size if tokens else 0,
        alphabet_size=len(alphabet) if alphabet else 0,
        spelling_size=plan.spelling_size if alphabet else 0,
        channels=scaler.channels if scaler else 0,
        hidden_size=plan.hidden_size,
        num_layers=plan.num_layers,
        bidirectional=options.bidirectional,
        bias=options.bias,
        pooling="" if per_step else plan.pooling,
        outputs=len(codec.labels) if codec.labels else 1,
        members=plan.members,
        transitions=per_step
        and codec.labels is not None
        and len(codec.labels) <= MAX_CHAINED_TAGS
        and are_entities(codec.labels.names),
        affixes=AFFIX_ROWS if per_step and alphabet else 0,
    )
    # checked here because saving would fail only after hours of training
    # room is left for the arrays of the codec
    arrays, limit = len(config.parameters()), Limits().tensors - MAX_CODEC_ARRAYS
    if arrays > limit:
        expected = f"at most {limit}, as a model file holds"
        raise OptionError("members and num_layers", got=f"{arrays} parameters", expected=expected)
    return config


def check_metric(options: LabelledOptions, codec: SequenceCodec) -> None:
    """Raise OptionError if entities are to be measured but the tags do not mark any."""
    if options.selection_metric != ENTITY_F1 or are_entities(codec.known_labels.names):
        return
    got = "tags such as " + ", ".join(codec.known_labels.names[:5])
    raise OptionError(
        "metric: entity_f1 needs tags that mark entities", got=got, expected="B-, I- and O"
    )
