"""Evaluation of a language model on a text, and its comparison with an n-gram model from its training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from elman.tables.frames import frame_of


def _number(card: Mapping[str, Any], *names: str) -> float | None:
    """Return the number at a path of names in a card, which comes from a file and may be any JSON object."""
    # A wrong type at any name on the path gives None instead of an error.
    value: Any = card
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


def _perplexity(loss: float) -> float:
    return math.exp(min(loss, 700.0))  # exp of a larger number overflows


@dataclass(frozen=True, kw_only=True)
class NgramComparison:
    """The comparison of a network with an n-gram model on the test set of its training.

    >>> comparison = NgramComparison(
    ...     held_out_loss=1.5, ngram_loss=1.6, ngram_order=6, ngram_error=0.01, ngram_outcome="better"
    ... )
    >>> comparison.verdict[-71:]
    'on the test set: the network beats it by 0.1000 (standard error 0.0100)'
    """

    held_out_loss: float | None = None
    """Mean loss of the network on the test set of its training, from the model's card."""
    ngram_loss: float | None = None
    """Mean loss of the n-gram model on the same test set."""
    ngram_order: int | None = None
    ngram_tokens: int | None = None
    """Number of last tokens of the training text that the n-gram model counted; None for all tokens."""
    ngram_error: float | None = None
    """Standard error of the difference between the two losses."""
    ngram_outcome: str | None = None
    """"better", "worse" or "no difference": the significant outcome; None if it was not tested."""

    @staticmethod
    def fields_of(card: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields as a model's card has them."""
        order, counted = _number(card, "ngram", "order"), _number(card, "ngram", "tokens_counted")
        tokens = _number(card, "data", "tokens")
        ngram = card.get("ngram")
        tested = ngram.get("difference") if isinstance(ngram, Mapping) else None
        outcome = tested.get("verdict") if isinstance(tested, Mapping) else None
        if outcome not in ("better", "worse", "no difference"):
            outcome = None  # by an older version, or not a card of ours
        return {
            "held_out_loss": _number(card, "held_out", "loss"),
            "ngram_loss": _number(card, "ngram", "loss"),
            "ngram_order": None if order is None else int(order),
            "ngram_tokens": int(counted) if counted and tokens and counted < tokens else None,
            "ngram_error": outcome and _number(card, "ngram", "difference", "standard_error"),
            "ngram_outcome": outcome,
        }

    @property
    def beats_ngram(self) -> bool | None:
        """Whether the network beats the n-gram model on its test set; if tested, by more than chance."""
        if self.held_out_loss is None or self.ngram_loss is None:
            return None
        if self.ngram_outcome is not None:
            return self.ngram_outcome == "better"
        return self.held_out_loss < self.ngram_loss

    @property
    def verdict(self) -> str:
        """The comparison in plain words; empty without both losses."""
        loss, ngram_loss, error = self.held_out_loss, self.ngram_loss, self.ngram_error
        if loss is None or ngram_loss is None:
            return ""
        name = f"a {self.ngram_order}-gram" if self.ngram_order else "an n-gram"
        last = f"the last {self.ngram_tokens:,} tokens of " if self.ngram_tokens else ""
        words = f"{name} model of {last}the same training text has {ngram_loss:.4f}"
        words += " on the test set" if self.ngram_outcome else " held out"
        chance = "" if error is None else f" (standard error {error:.4f})"
        if self.ngram_outcome == "no difference":
            uncertainty = f"shows NO DIFFERENCE that this test set can tell from chance{chance}"
            if error is None:
                uncertainty = (
                    "and so short a test set cannot tell how much of the difference is chance"
                )
            return f"{words}: the network has {loss:.4f}, {uncertainty}"
        if loss < ngram_loss:
            return f"{words}: the network beats it by {ngram_loss - loss:.4f}{chance}"
        return f"{words}: the network, with {loss:.4f}, DOES NOT BEAT IT{chance}"


@dataclass(frozen=True)
class Evaluation(NgramComparison):
    """Loss of a model on a text, and the comparison with an n-gram model from its training.

    >>> print(Evaluation(tokens=100, characters=100, loss=1.5, unknown_share=0.0))
    tokens predicted        100
    loss                 1.5000  nats a token
    bits a token         2.1640
    bits a character     2.1640
    perplexity             4.48
    unknown tokens       0.00 %
    """

    tokens: int
    """Number of predicted tokens."""
    characters: int
    """Number of characters of the text."""
    loss: float
    """Mean loss in nats per token."""
    unknown_share: float
    """Share of the tokens that are outside the vocabulary; they are predicted as `<unk>`."""
    warnings: tuple[str, ...] = ()
    """Warnings about the text."""
    cache_loss: float | None = None
    """Loss with a continuous cache; None if it was not measured."""
    weights_loss: float | None = None
    """Loss with weights that learn from the text; None if it was not measured."""
    both_loss: float | None = None
    """Loss with both; None if it was not measured."""
    adaptation: Mapping[str, float] | None = None
    """Strengths of the adaptation."""

    @property
    def bits_per_token(self) -> float:
        """The loss in bits per token."""
        return self.loss / math.log(2)

    @property
    def bits_per_character(self) -> float:
        """Bits of the whole text per character, which is comparable between vocabularies."""
        return self.bits_per_token * self.tokens / max(1, self.characters)

    @property
    def perplexity(self) -> float:
        """``exp(loss)``: the number of equally likely tokens that would give the same loss."""
        return _perplexity(self.loss)

    def to_dict(self) -> dict[str, Any]:
        """Return all fields and properties, for JSON."""
        derived = ("bits_per_token", "bits_per_character", "perplexity", "beats_ngram")
        fields = asdict(self) | {name: getattr(self, name) for name in derived}
        return fields | {"warnings": list(self.warnings)}

    def to_frame(self) -> Any:
        """Return the figures in one row of a polars data frame, or as a dict of columns without polars."""
        figures = self.to_dict()
        del figures["warnings"], figures["adaptation"]
        return frame_of([figures])

    def __str__(self) -> str:
        lines = [
            f"tokens predicted {self.tokens:>10,}",
            f"loss             {self.loss:>10.4f}  nats a token",
            f"bits a token     {self.bits_per_token:>10.4f}",
            f"bits a character {self.bits_per_character:>10.4f}",
            f"perplexity       {self.perplexity:>10.{2 if self.perplexity < 1e4 else 0}f}",
            f"unknown tokens   {100 * self.unknown_share:>8.2f} %",
        ]
        adapted = {
            "with a cache": self.cache_loss,
            "learning on": self.weights_loss,
            "with both": self.both_loss,
        }
        lines += [
            f"{name:16} {loss:>10.4f}  nats a token, perplexity {_perplexity(loss):.2f}"
            for name, loss in adapted.items()
            if loss is not None
        ]
        if self.adaptation is not None:
            strengths = (f"{name} {value:g}" for name, value in self.adaptation.items())
            lines.append(f"adapted by {', '.join(strengths)}")
        if self.verdict:
            lines.append(f"in training {self.verdict}")
        return "\n".join([*lines, *(f"warning: {warning}" for warning in self.warnings)])
