"""Codec of labelled sequences: from sequences and labels to numbers, and from answers to labels.

The codec is learned from the training set and stored in the model file: a vocabulary for texts or a scaling
for numbers, and the labels, or the scaling of the target numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from elman.errors import InputError, ModelFileError, OptionError
from elman.files.growth import Growth
from elman.labels.config import SequenceConfig
from elman.labels.convolutions import ConvolutionPart
from elman.labels.dataset import Sequences
from elman.labels.label_values import Labels
from elman.labels.ngrams import NgramPart
from elman.labels.options import LabelledOptions
from elman.labels.wide import WidePart
from elman.tables.scaler import Scaler
from elman.text.counting import count_vocabulary
from elman.text.vocabulary import TextCodec
from elman.text.word_vectors import read_vectors
from elman.text.words import UNKNOWN_ID
from elman.training.journal import JsonObject

_PARTS = ("tokens", "alphabet", "scaler", "target", "labels")
WIDE_PARTS: dict[str, type[WidePart]] = {part.kind: part for part in (NgramPart, ConvolutionPart)}


@dataclass(frozen=True, eq=False)
class SequenceCodec:
    """Vocabulary or scaling of the inputs, and labels or scaling of the targets, learned in training.

    Texts have `tokens`, numbers have `scaler`. Classes and tags have `labels`, regression has `target`.
    """

    tokens: TextCodec | None = None
    alphabet: TextCodec | None = None
    """The characters, if words are also spelled."""
    lowercase: bool = False
    """Whether text is lowercased for `tokens`; for `alphabet` it never is."""
    scaler: Scaler | None = None
    labels: Labels | None = None
    target: Scaler | None = None
    wide: WidePart | None = None
    """The linear model whose logits are added to the network's; models of older versions have none."""

    @property
    def vocabulary(self) -> TextCodec:
        """The vocabulary of texts; raises InputError if the network reads numbers."""
        if self.tokens is None:
            raise InputError("the codec's tokens", got="none", expected="those of a text model")
        return self.tokens

    @property
    def known_labels(self) -> Labels:
        """The labels of a classifier or tagger; raises InputError for a regressor, which has none."""
        if self.labels is None:
            raise InputError("the codec's labels", got="none", expected="those of a classifier")
        return self.labels

    def numbers(self, logits: np.ndarray) -> np.ndarray:
        """Return the numbers of a regressor's ``logits [N, 1]``, float64 ``[N]``, in the targets' unit."""
        if self.target is None:
            raise InputError("the codec of a regressor", got="no scale of its targets")
        # huge weights may overflow; an answer must stay a finite number
        largest = np.finfo(np.float64).max
        with np.errstate(over="ignore"):
            numbers = logits[:, 0].astype(np.float64) * self.target.scale[0] + self.target.mean[0]
        return np.asarray(numbers.clip(-largest, largest))

    def check(self, config: SequenceConfig) -> None:
        """Raise InputError if the sizes of the network do not fit this codec."""
        tokens, alphabet, target = self.tokens, self.alphabet, self.target
        # a model file has these sizes twice, in its configuration and in its codec
        sizes = {
            "vocabulary_size": len(tokens) if tokens else 0,
            "alphabet_size": len(alphabet) if alphabet else 0,
            "channels": self.scaler.channels if self.scaler else 0,
            "outputs": len(self.labels) if self.labels else 1,
        }
        for name, size in sizes.items():
            if getattr(config, name) != size:
                raise InputError(f"the codec's {name}", got=size, expected=getattr(config, name))
        is_number = config.kind.is_number
        spells_words = tokens is not None and tokens.level == "word"
        fits = {
            "target": (target is not None) == is_number and (not target or target.channels == 1),
            "labels": (self.labels is None) == is_number,
            "tokens": (tokens is None) != (self.scaler is None),
            "alphabet": alphabet is None or (alphabet.level == "char" and spells_words),
        }
        for name, is_right in fits.items():
            if not is_right:
                raise InputError(f"the codec's {name}", expected=f"what {config.task} needs")
        if self.wide is not None and (problem := self.wide.problem(config)):
            raise InputError("the codec's wide part", got=problem, expected="what the network has")

    def settings(self) -> dict[str, str | bool]:
        """Return the options of training that this codec fixes, by their names."""
        if self.tokens is None:
            masks = self.scaler is not None and self.scaler.indicator
            return {"missing": "mask" if masks else "error"}
        level = "both" if self.alphabet is not None else self.tokens.level
        return {"level": level, "lowercase": self.lowercase}

    def extended(self, other: SequenceCodec, maximum: int | None) -> SequenceCodec:
        """Return the codec with the tokens, characters and labels of `other` that it does not have.

        The scaling of numbers stays as it is.

        Args:
            other: The codec that new sequences alone would have.
            maximum: The largest number of tokens, if that is limited.
        """
        tokens, alphabet, labels = self.tokens, self.alphabet, self.labels
        if tokens is not None and other.tokens is not None:
            tokens = tokens.with_tokens(other.tokens.tokens, maximum)
        if alphabet is not None and other.alphabet is not None:
            alphabet = alphabet.with_tokens(other.alphabet.tokens)
        if labels is not None and other.labels is not None:
            labels = labels.with_labels(other.labels)
        codec = replace(self, tokens=tokens, alphabet=alphabet, labels=labels)
        if self.wide is None:
            return codec
        growth = codec.growths(self).get("outputs", Growth(1, [0]))
        return replace(codec, wide=self.wide.extended(growth, len(alphabet) if alphabet else 0))

    def growths(self, old: SequenceCodec) -> dict[str, Growth]:
        """Return the growth of the network's sizes since the codec `old`."""
        growths = {}
        for name, entries, known in (
            ("vocabulary_size", self.tokens, old.tokens),
            ("alphabet_size", self.alphabet, old.alphabet),
        ):
            if entries is not None and known is not None:
                growths[name] = Growth(len(entries), range(len(known)))
        if self.labels is not None and old.labels is not None:
            growths["outputs"] = Growth(
                len(self.labels), self.labels.encode(old.labels.values).tolist()
            )
        return growths

    def to_parts(self) -> tuple[JsonObject, dict[str, np.ndarray]]:
        """Return the codec as a JSON object and arrays named ``codec.…``, for a model file."""
        form: JsonObject = {"lowercase": self.lowercase} | dict.fromkeys(_PARTS)
        arrays: dict[str, np.ndarray] = {}
        for name, codec in (("tokens", self.tokens), ("alphabet", self.alphabet)):
            if codec is not None:
                form[name], parts = codec.to_parts(f"codec.{name}")
                arrays |= parts
        for name, scaler in (("scaler", self.scaler), ("target", self.target)):
            if scaler is not None:
                form[name] = {"indicator": scaler.indicator}
                arrays |= scaler.to_arrays(name)
        if self.labels is not None:
            form["labels"] = {"kind": self.labels.kind}
            arrays |= self.labels.to_arrays()
        if self.wide is not None:
            form["wide"], parts = self.wide.to_parts()
            arrays |= parts
        return form, arrays

    @classmethod
    def from_parts(
        cls, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> SequenceCodec:
        """Return the codec stored by `to_parts`; raises ModelFileError for anything else."""
        # a damaged file may hold anything here, so every type is checked
        names = {"lowercase", *_PARTS}
        if config.keys() - {"wide"} != names or type(config["lowercase"]) is not bool:
            raise ModelFileError("its codec", got=sorted(config), expected=", ".join(sorted(names)))
        read: JsonObject = {"lowercase": config["lowercase"]}
        for name, form in config.items():
            if name == "lowercase" or form is None:
                continue
            if type(form) is not dict:
                raise ModelFileError(f"codec {name}", got=form, expected="an object")
            if name in ("tokens", "alphabet"):
                read[name] = TextCodec.from_parts(form, arrays, f"codec.{name}")
            elif name == "wide":
                read[name] = _wide_part(form, arrays)
            elif name == "labels":
                read[name] = Labels.from_parts(form, arrays)
            elif form.keys() != {"indicator"} or type(form["indicator"]) is not bool:
                raise ModelFileError(f"codec {name}", got=form, expected="an indicator")
            else:
                read[name] = Scaler.from_arrays(name, arrays, form["indicator"])
        return cls(**read)


def word_vectors(
    options: LabelledOptions, codec: SequenceCodec
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return numbers of words ``[W]`` and their vectors ``[W, E]`` from the file that the options name.

    Raises OptionError for a network that reads no words or has embeddings of another size, and DataError as
    `read_vectors`.
    """
    if options.vectors is None:
        return None
    tokens = codec.tokens
    if tokens is None or tokens.level != "word":
        got = "a network that reads " + ("numbers" if tokens is None else "characters")
        raise OptionError("vectors", got=got, expected="one that reads words")
    index = {token: number for number, token in enumerate(tokens.tokens) if number != UNKNOWN_ID}
    numbers, vectors = read_vectors(options.vectors, index)
    if options.embedding_size not in (None, vectors.shape[1]):
        expected = f"{vectors.shape[1]}, as {options.vectors} has"
        raise OptionError("embedding_size", got=options.embedding_size, expected=expected)
    return numbers, vectors


def _wide_part(form: JsonObject, arrays: Mapping[str, np.ndarray]) -> WidePart:
    kind = form.get("kind")
    if type(kind) is not str or kind not in WIDE_PARTS:
        raise ModelFileError("codec wide", got=form, expected="a kind: " + ", ".join(WIDE_PARTS))
    return WIDE_PARTS[kind].from_parts(form, arrays)


def fit_codec(sequences: Sequences, options: LabelledOptions) -> SequenceCodec:
    """Return the codec learned from the training sequences, without labels; raises OptionError, DataError."""
    if sequences.kind == "numbers":
        return SequenceCodec(scaler=Scaler.of(sequences.items, indicator=options.missing == "mask"))
    # with the level both, words are the tokens and characters only spell them
    unit = "char" if options.level == "char" else "word"
    tokens, _ = count_vocabulary(
        (text.lower() if options.lowercase else text for text in sequences.texts),
        level=unit,
        split="whitespace" if sequences.kind == "tokens" and unit == "word" else "words",
        max_vocabulary=options.max_vocabulary,
        min_count=options.min_count,
    )
    codec = SequenceCodec(tokens=tokens, lowercase=options.lowercase)
    if options.level != "both":
        return codec
    try:
        # rare characters are left out, so that the network learns an embedding for <unk>
        alphabet, _ = count_vocabulary(sequences.texts, level="char", min_count=2)
    except OptionError:
        alphabet, _ = count_vocabulary(sequences.texts, level="char", min_count=1)
    return replace(codec, alphabet=alphabet)
