"""``/v1/completions`` as OpenAI's clients ask it: text goes on, with stops, log probabilities and events."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from typing import Any, Literal

from fastapi import FastAPI
from typing_extensions import TypedDict

from elman.errors import InputError, OptionError
from elman.serve.completion import Choice, Part, most_tokens
from elman.serve.routes_models import EVENTS, Events
from elman.serve.schema import CompletionBody
from elman.serve.service import Desk

__all__ = ["Completed", "CompletionChoice", "Logprobs", "add_routes"]

MOST_TOKENS = 65_536
"""Of all choices of one request, new and echoed."""
UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "suffix": ("",),
    "logit_bias": ({},),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "repetition_penalty": (1,),
    "best_of": (1,),
    "max_completion_tokens": (),
    "messages": (),
    "tools": ([],),
    "response_format": (),
    "top_k": (),
    "min_p": (0,),
}
"""Fields that would change the text and that this server does not do, with the values that change nothing."""
MOST_READ = 100_000
"""Tokens of all prompts of one request."""


class Logprobs(TypedDict):
    """Of each token, its log probability and those of the most probable ones."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class CompletionChoice(TypedDict):
    """One text of a completion, or a part of it."""

    index: int
    text: str
    logprobs: Logprobs | None
    finish_reason: str | None


class Completed(TypedDict):
    """A completion; with ``stream`` as server-sent events of its parts."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: dict[str, int]


def _check(body: CompletionBody) -> None:
    """Raise InputError for a field that would change the text, if only this server knew it."""
    for name, value in (body.model_extra or {}).items():
        same = (None, *UNSUPPORTED.get(name, (value,)), *([body.n] if name == "best_of" else []))
        if value not in same:
            instead = {"max_completion_tokens": "pass max_tokens", "messages": "pass a prompt"}
            remedy = f"this server does not do that: {instead.get(name, 'leave it out')}"
            raise InputError(name, got=value, remedy=remedy)


def _parts(predictor: Any, body: CompletionBody) -> Iterator[Part]:
    """Yield the parts of one choice after another, each prompt read once for all of its own.

    While a prompt is read the parts are empty.
    """
    prompt: Any = body.prompt or ""
    one = isinstance(prompt, str) or isinstance(prompt[0], int)
    firsts = []
    for each in [prompt] if one else prompt:
        firsts.append(Choice(predictor, body, each))
        yield Part(0)
    count = body.n or 1
    read = sum(len(first.numbers) for first in firsts)
    if read > MOST_READ:
        raise OptionError("tokens of all prompts", got=read, expected=f"at most {MOST_READ}")
    total = count * (len(firsts) * most_tokens(body) + (read if body.echo else 0))
    if total > MOST_TOKENS:
        raise OptionError("tokens of all choices", got=total, expected=f"at most {MOST_TOKENS}")
    for first in firsts:
        for _ in first.read():
            yield Part(0)
    every = [first for first in firsts for _ in range(count)]
    for index, first in enumerate(every):
        yield from first.another(index).parts()


def _as_json(part: Part, body: CompletionBody) -> CompletionChoice:
    """Return a part as a choice of the answer."""
    logprobs: Logprobs = {
        "tokens": [piece.text for piece in part.pieces],
        "token_logprobs": [piece.log_probability for piece in part.pieces],
        "top_logprobs": [piece.best for piece in part.pieces],
        "text_offset": [piece.at for piece in part.pieces],
    }
    return {
        "index": part.index,
        "text": part.text,
        "logprobs": None if body.logprobs is None else logprobs,
        "finish_reason": part.reason,
    }


def _made(predictor: Any, body: CompletionBody) -> Iterator[dict[str, Any] | None]:
    """Yield the events of an answer, or at the end the whole of it; None where there is nothing to tell."""
    read = written = 0
    wholes: dict[int, Part] = {}
    for part in _parts(predictor, body):
        # a prompt is counted once for all its choices
        read += part.read if part.index % (body.n or 1) == 0 else 0
        written += part.written
        told = body.stream and (part.text or part.reason is not None)
        yield {"choices": [_as_json(part, body)]} if told else None
        if not body.stream:
            wholes.setdefault(part.index, Part(part.index)).add(part)
    if not body.stream or (body.stream_options and body.stream_options.include_usage):
        usage = {"prompt_tokens": read, "completion_tokens": written}
        usage["total_tokens"] = read + written
        choices = [_as_json(whole, body) for whole in wholes.values()]
        yield {"choices": choices, "usage": usage}


def add_routes(app: FastAPI, desk: Desk) -> None:
    """Add the route."""

    @app.post(
        "/v1/completions",
        tags=["openai"],
        summary="As OpenAI's",
        response_model=Completed,
        responses=EVENTS,
    )
    async def complete(body: CompletionBody) -> Any:
        _check(body)
        predictor, _ = desk.language(body.model)
        head: dict[str, Any] = {
            "id": f"cmpl-{secrets.token_hex(12)}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": body.model,
        }
        made = _made(predictor, body)
        if not body.stream:
            *_, answer = filter(None, await desk.work.whole(made))
            return head | answer

        return Events(made, desk.work, lambda made: [head | part for part in made if part])
