"""Explanations of a language model's prediction: an attribution for each token of the text before it.

There are four methods:

- *Replacement* measures how far the prediction falls if a token is replaced by others that the model expects
  in its place. It is the default, because it finds the deciding word in texts where that word is known.
- *Decomposition* goes backwards through the network with its gates frozen at their values. It is exact for
  the linear rnn, and for mingru given its gates.
- *Integrated gradients* follow the gradient from a text of zeros to the text (Sundararajan et al., "Axiomatic
  Attribution for Deep Networks", 2017).
- *Leave-one-out* reads the text again without each token, from the state before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from elman.engine.shapes import whole_number
from elman.errors import InputError, OptionError, printable
from elman.explain.explanation import (
    ADDITIVE,
    DECOMPOSITION,
    LEFT_OUT,
    REPLACEMENT,
    Explanation,
)
from elman.explain.gradients import ScoreFunction, held_note, slopes_between
from elman.explain.input_names import unknown_words_note
from elman.explain.question import Question, Shares
from elman.language.context import Context
from elman.language.readable import Readable
from elman.language.replacement import Replacements
from elman.language.sampling import Predictions, ranked
from elman.text.vocabulary import END, TextCodec
from elman.text.words import UNKNOWN, UNKNOWN_ID, word_groups

if TYPE_CHECKING:
    from elman.language.predictor import LanguagePredictor


def explain_language(
    predictor: LanguagePredictor,
    text: Readable,
    target: str | None = None,
    *,
    method: str | None = None,
    unknown: bool = False,
    quick: bool = False,
) -> Explanation:
    """Explain the probability of `target` after `text`.

    Args:
        predictor: A language model, as `elman.load` returns it.
        text: The text, or the numbers of its tokens.
        target: A token of the vocabulary (default: the most probable next token).
        method: One of `METHODS`. "replacement", the default, and "leave-one-out" explain the log probability
            of the target; "decomposition" and "integrated gradients" explain its logit.
        unknown: The older spelling of ``method="replacement"``.
        quick: Whether to return a first answer from fewer replacements, without its self-test.

    Returns:
        The explanation, with an attribution for each of the last 256 tokens.

    Raises:
        InputError: The text cannot be read, or the states overflow.
        OptionError: The vocabulary lacks the target, or there is no such method.
    """
    if unknown and method not in (None, REPLACEMENT):
        raise OptionError("method", got=method, expected=REPLACEMENT)
    context = Context.of(predictor.network, text)
    return _TokenQuestion(context, _target_number(context, target)).answer(method, quick=quick)


class _TokenQuestion(Question):
    """The question why a token has its log probability, or its logit, after a text."""

    task = "language"
    min_change = 0.01  # nats, about one per cent of the probability

    def __init__(self, context: Context, number: int) -> None:
        self.context, self.network, self.number = context, context.network, number
        codec: TextCodec = self.network.model.codec
        self.target, self.inputs = codec.tokens[number], context.tokens
        if codec.level == "char":
            self.groups = word_groups(context.tokens)
        self.exact = self.network.cell.exact
        self._draws = 0

    def scored(self, method: str) -> tuple[str, float]:
        """Return the target's logit for an additive method, else its log probability."""
        output = self.context.output()
        if method in ADDITIVE:
            logit = output.astype(np.float64) @ self.network.head_weight[self.number]
            return "logit", float(logit + self.network.head_bias[self.number])
        return "log probability", float(self._log_probabilities(output[None])[0])

    def _log_probabilities(self, outputs: np.ndarray) -> np.ndarray:
        return self.network.target_log_probabilities(outputs, np.full(len(outputs), self.number))

    def replaced(self, sample: int, *, quick: bool) -> np.ndarray:
        """Return how far the log probability falls if each token is replaced."""
        replacements = Replacements(self.context, self.groups, sample=sample, quick=quick)
        effects = replacements.effects(self.number)
        self.steps += replacements.steps
        self._draws = replacements.draws
        return effects

    def left_out(self) -> np.ndarray:
        """Return how far the log probability falls without each token.

        The N texts without a token, and the text itself, are read side by side, each from the state before
        its missing token.
        """
        N, network = len(self.inputs), self.network
        states = np.repeat(self.context.start[None], N + 1, axis=0)
        for i, token in enumerate(self.context.numbers.tolist()):
            states[i] = states[N]
            lanes = [*range(i), N]  # lane i leaves out this token
            _, states[lanes] = network.forward(np.full((1, i + 1), token), states[lanes])
            self.steps += i
        scores = self._log_probabilities(network.output(states)).astype(np.float64)
        return np.asarray(scores[N] - scores[:N])

    def shares(self, method: str) -> Shares:
        """Return the terms of the logit."""
        network, context, N = self.network, self.context, len(self.inputs)
        if not N:
            of_start = network.head_weight[self.number].astype(np.float64)
            of_start = of_start @ network.output(context.start)
            return np.empty(0), float(of_start), float(network.head_bias[self.number])
        frozen = method == DECOMPOSITION
        # Terms of a frozen network may cancel each other, so they are computed in double precision.
        run = _logit(context, self.number, np.float64 if frozen else network.dtype)
        # everything that the layers read, [N·E + S, 1]: the embeddings, then the start state
        embeddings = network.embedding[context.numbers].ravel()
        row = np.append(embeddings, context.start).astype(network.dtype)[:, None]
        config = network.model.config
        size = N * config.num_layers * network.cell.G * config.hidden_size
        slopes, bias = slopes_between(run, np.zeros_like(row), row, frozen=frozen, size=size)
        # The products sum to the logit without its bias: N·E of them belong to tokens, S to the start
        # state.
        of_tokens, of_state = np.split((slopes * row).ravel(), [embeddings.size])
        return of_tokens.reshape(N, -1).sum(axis=1), float(of_state.sum()), bias

    def note(self, method: str) -> str:
        """Return notes on unknown tokens, on earlier tokens, and on the assumptions of the method."""
        context = self.context
        pairs = zip(context.tokens, context.numbers.tolist(), strict=True)
        notes = [unknown_words_note(token for token, number in pairs if number == UNKNOWN_ID)]
        if context.ignored:
            notes.append("Each line is read by itself: the lines before the last one do not count.")
        if context.before:
            notes.append(f"The {context.before:,} tokens before these are in the start state.")
        if method == DECOMPOSITION and self.inputs:
            notes.append(held_note(self.network.cell))
        if method == LEFT_OUT and len(self.inputs) > 1:
            notes.append(
                "A text without one of its words may be unlike all texts in training; "
                "replacement avoids this."
            )
        if method == REPLACEMENT and self._draws:
            unit = "character, with the rest of its word," if self.groups else "word"
            notes.append(
                f"Each {unit} was replaced by up to {self._draws} others that the model expected there; "
                "where it expected no other, the number is 0."
            )
        return " ".join(filter(None, notes))


def _logit(context: Context, number: int, dtype: npt.DTypeLike) -> ScoreFunction:
    """Return a function from rows, as `_TokenQuestion.shares` makes them, to a token's logit and back."""
    network, N = context.network, len(context.numbers)
    layers, bias = network.recording_layers(dtype), float(network.head_bias[number])

    def run(rows: np.ndarray, frozen: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        B = len(rows)
        # A row holds what `shares` puts into it: the embeddings, then the start state.
        x, states = np.split(rows[..., 0], [-network.state_size], axis=1)
        x = x.reshape(B, N, -1).swapaxes(0, 1)  # [N, B, E]
        passage = layers.read(x, network.layer_states(states))
        dy = np.zeros(passage.y.shape, passage.y.dtype)
        dy[-1] = network.head_weight[number]
        back = passage.back(dy, frozen=frozen)
        scores = np.einsum("bh,bh->b", passage.y[-1], dy[-1], dtype=np.float64) + bias
        gradients = (
            back.dx.swapaxes(0, 1).reshape(B, -1),
            # [layers, 1, states, B, H] in the order of a row's state
            np.stack(back.dstart).transpose(3, 0, 1, 2, 4).reshape(B, -1),
            np.zeros((B, network.hidden_size)),  # no layer reads the last output
        )
        return scores, np.concatenate(gradients, axis=1)[..., None], bias + back.bias

    return run


def replace(
    predictor: LanguagePredictor, text: Readable, position: int, word: str, k: int = 5
) -> Predictions:
    """Return the `k` most probable tokens after `text` with another word at one position.

    Args:
        predictor: A language model, as `elman.load` returns it.
        text: The text, or the numbers of its tokens.
        position: The index of the replaced token among the explanation's inputs, from 0.
        word: The new token.
        k: The number of predictions.

    Raises:
        InputError: The text has no token.
        OptionError: `position` is out of range, or the vocabulary lacks `word`.
    """
    context = Context.of(predictor.network, text)
    if not len(context.numbers):
        raise InputError("text", got="no word", expected="a text with a word to replace")
    position = whole_number("position", position, 0, len(context.numbers) - 1)
    k = whole_number("k", k, 1)
    numbers = context.numbers.copy()
    # An error about `word` names the tokens that are probable at its position, so it needs the context
    # before it.
    before = context._replace(tokens=context.tokens[:position], numbers=numbers[:position])
    numbers[position] = _target_number(before, word, "word")
    if numbers[position] == context.network.model.codec.end_id:
        raise OptionError("word", got="a line end", expected="a token within the line")
    return _predictions(context._replace(numbers=numbers), k)


def _predictions(context: Context, k: int) -> Predictions:
    log_probabilities = context.network.log_probabilities(context.output())
    return ranked(context.network.model.codec, log_probabilities, k)


def _target_number(context: Context, token: str | None, name: str = "target") -> int:
    """Return the number of `token`, or of the most probable token for None; raises OptionError."""
    codec: TextCodec = context.network.model.codec
    if token is None:
        token = _predictions(context, 1)[0][0]
    if token == END and codec.end_id is not None:
        return codec.end_id
    number = int(codec.numbers([token])[0])
    # A token outside the vocabulary has the number of <unk>, which only <unk> itself may stand for.
    if number != UNKNOWN_ID or token == UNKNOWN:
        return number
    names = ", ".join(printable(likely_token, 24) for likely_token, _ in _predictions(context, 5))
    raise OptionError(
        name,
        got=token,
        expected="one token of the vocabulary",
        remedy=f"the most probable ones here: {names}",
    )
