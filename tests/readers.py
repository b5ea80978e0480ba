"""Small networks for labelled sequences with random weights, and sequences for them."""

from __future__ import annotations

from typing import Any

import numpy as np

from elman import tasks
from elman.files.model import Model
from elman.labels.codec import SequenceCodec
from elman.labels.config import SequenceConfig
from elman.labels.dataset import Sequences
from elman.labels.label_values import Labels
from elman.tables.scaler import Scaler
from elman.text.vocabulary import TextCodec

KINDS = ("both", "word", "char", "numbers", "mask")
POOLINGS = ("last", "mean", "max", "attention", "last+mean+max+attention")
# The weights are small enough that states do not grow, and large enough that each weight matters.
SCALE = 0.4
WORDS = ("<unk>", "to", "be", "or", "not", ",")


def codec_of(kind: str, task: str) -> SequenceCodec:
    """Return a codec for inputs of `kind`, and for three labels or a number, by `task`."""
    scaler = tokens = alphabet = None
    if kind in ("numbers", "mask"):
        mask = kind == "mask"
        scaler = Scaler(np.array([0.5, -1.0, 0.0]), np.array([2.0, 0.5, 1.0]), mask)
    elif kind == "char":
        tokens = TextCodec("char", ("<unk>", *" ,tobern"))
    else:
        tokens = TextCodec("word", WORDS)
        alphabet = TextCodec("char", ("<unk>", *"tobern,")) if kind == "both" else None
    regress = task == "regress"
    return SequenceCodec(
        tokens,
        alphabet,
        kind != "char",
        scaler,
        None if regress else Labels.of(["a", "b", "c"]),
        Scaler(np.array([10.0]), np.array([3.0])) if regress else None,
    )


def config_of(codec: SequenceCodec, task: str, **how: Any) -> SequenceConfig:
    """Return the configuration of a small network for `codec`."""
    sizes: dict[str, Any] = {
        "cell": "gru",
        "activation": "tanh",
        "embedding_size": 5 if codec.tokens else 0,
        "spelling_size": 4 if codec.alphabet else 0,
        "hidden_size": 7,
        "num_layers": 2,
        "bidirectional": True,
        "bias": True,
        "pooling": "" if task == "tag" else "last+mean+max+attention",
        "members": 2,
    }
    return SequenceConfig(
        task=task,
        vocabulary_size=len(codec.tokens or ()),
        alphabet_size=len(codec.alphabet or ()),
        channels=codec.scaler.channels if codec.scaler else 0,
        outputs=len(codec.labels or (0,)),
        **sizes | how,
    )


def reader_of(
    kind: str = "both", task: str = "classify", *, scale: float = SCALE, seed: int = 0, **how: Any
) -> Model:
    """Return a model that reads `kind`, with random weights that are equal for equal arguments."""
    codec = codec_of(kind, task)
    config = config_of(codec, task, **how)
    draw = np.random.default_rng(seed)
    arrays = {
        name: (scale * draw.standard_normal(shape)).astype(np.float32)
        for name, shape in config.parameters().items()
    }
    return Model(config, arrays, codec, {})


def sequences_of(kind: str, count: int = 12, seed: int = 1) -> Sequences:
    """Return `count` sequences of one to a few dozen steps, some of them with unknown words."""
    draw = np.random.default_rng(seed)
    lengths = draw.integers(1, 13, count).tolist()
    if kind in ("numbers", "mask"):
        items = [draw.normal(size=(length, 3)) for length in lengths]
        for item in items if kind == "mask" else ():
            item[draw.random(item.shape) < 0.3] = np.nan
        return Sequences.of(items)
    words = [*WORDS[1:], "zebra", "Tö", "notnotnotnotnotnotnotnot"]
    texts = [" ".join(draw.choice(words, length)) for length in lengths]
    return Sequences.of(texts)


def open_labelled(model: Model) -> Any:
    """Return the predictor of a model; its methods depend on the task."""
    return tasks.open_model(model)


def rounding(model: Model, sequences: Sequences) -> float:
    """Return the allowed difference of float32 sums in two orders: six standard deviations of the rounding.

    A logit has behind it the sums of every layer and step, of the spelling of a word, of the pools and
    of the head; each rounding is at most 2^-24 of numbers near one.
    """
    config = model.config
    steps = int(sequences.lengths.max()) + 40 * bool(config.alphabet_size)
    sums = config.input_size + config.output_size + config.hidden_size + 8
    return 6 * 2.0**-24 * float(np.sqrt(steps * (config.num_layers + 2) * sums))
