"""A classifier, regressor or tagger as the runtime of the exported page reads it."""

from __future__ import annotations

import numpy as np

from elman.engine.layers import member_arrays
from elman.export.html_weights import Weights, seed_of
from elman.export.refusal import refusal
from elman.files.container import JsonObject
from elman.files.model import Model
from elman.labels.codec import SequenceCodec
from elman.labels.config import SequenceConfig
from elman.labels.convolutions import ConvolutionPart
from elman.labels.network import SequenceNetwork
from elman.labels.ngrams import NgramPart
from elman.tables.scaler import MAX_STANDARDISED

_SIZES = ("task", "cell", "activation", "hidden_size", "num_layers", "bidirectional", "members")
_MORE_SIZES = ("embedding_size", "spelling_size", "affixes", "channels", "pooling")


def described_labels(model: Model[SequenceConfig, SequenceCodec]) -> JsonObject:
    """Return sizes, vocabulary, labels and weights; raises InputError for a model with convolutions."""
    config, codec, weights = model.config, model.codec, Weights()
    if isinstance(codec.wide, ConvolutionPart):
        raise refusal("html", "a network with random convolutions")
    for m in range(config.members):
        for name, array in member_arrays(model.arrays, m).items():
            # the rows of a table lie one after the other
            table = name.removesuffix(".weight")
            is_table = table in ("embedding", "alphabet", "affixes")
            if not name.startswith("transitions."):
                weights.add(f"{m}.{table if is_table else name}", array.T if is_table else array)
    described = JsonObject(config={name: getattr(config, name) for name in _SIZES + _MORE_SIZES})
    layers = (size.size for name, size in model.arrays.items() if ".layers." in name)
    described |= {"layer_weights": sum(layers), "seeds": {"test": seed_of(0)}}
    described |= {"lowercase": codec.lowercase}
    if codec.tokens is not None:
        described["codec"] = {**codec.tokens.settings(), "tokens": codec.tokens.tokens}
    if codec.alphabet is not None:
        described["alphabet"] = codec.alphabet.tokens
    if codec.labels is not None:
        described["labels"] = codec.labels.names
    if codec.target is not None:
        described["target"] = {"mean": codec.target.mean[0], "scale": codec.target.scale[0]}
    if (scaler := codec.scaler) is not None:
        numbers = {"mean": scaler.mean.tolist(), "scale": scaler.scale.tolist()}
        described["scaler"] = {
            **numbers,
            "indicator": scaler.indicator,
            "largest": MAX_STANDARDISED,
        }
    chain = SequenceNetwork(model).chain
    if chain is not None:
        described["chain"] = {name: scores.tolist() for name, scores in vars(chain).items()}
    if (part := codec.wide) is not None and isinstance(part, NgramPart):
        sizes = {"tokens": part.reader.tokens, "letters": part.reader.letters}
        keys = {"folded": part.reader.folded.tolist(), "keys": part.keys.tolist()}
        described["ngrams"] = sizes | keys
        for name, array in (
            ("scale", part.scale),
            ("weights", part.weights.T),
            ("bias", part.bias),
        ):
            weights.add(f"ngrams.{name}", np.asarray(array, np.float32))
    return described | weights.packed()
