"""Route ``/v1/completions`` as OpenAI's clients use it, with stop texts, log probabilities and events."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from fastapi import APIRouter, Response
from typing_extensions import TypedDict

from elman.errors import InputError, OptionError
from elman.language.predictor import LanguagePredictor
from elman.serve.completion import Chunk, Completion, Prompt
from elman.serve.json_route import JsonRoute
from elman.serve.routes_models import EVENT_RESPONSES, event_stream
from elman.serve.schema import CompletionRequest
from elman.serve.served_models import Served

router = APIRouter(tags=["openai"], route_class=JsonRoute)
MAX_NEW_TOKENS = 65_536
"""New and echoed tokens of all completions of one request."""
MAX_PROMPT_TOKENS = 100_000
"""Tokens of all prompts of one request."""
NEUTRAL_VALUES: dict[str, tuple[object, ...]] = {
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
"""Fields that change the text and are not supported, with the values that leave the text unchanged."""


class Logprobs(TypedDict):
    """For each token its log probability, and those of the most probable tokens."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class CompletionChoice(TypedDict):
    """The text of one completion, or a piece of it."""

    index: int
    text: str
    logprobs: Logprobs | None
    finish_reason: str | None


class CompletionReply(TypedDict):
    """A completion; with ``stream`` its pieces come as server-sent events."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: dict[str, int]


def _check_fields(body: CompletionRequest) -> None:
    """Raise InputError for an unsupported field whose value would change the text."""
    for name, value in (body.model_extra or {}).items():
        # A field that is not listed does not change the text, so any value is neutral.
        neutral = (None, *NEUTRAL_VALUES.get(name, (value,)))
        if value not in neutral and not (name == "best_of" and value == body.n):
            instead = {"max_completion_tokens": "pass max_tokens", "messages": "pass a prompt"}
            remedy = f"this server does not support it: {instead.get(name, 'leave it out')}"
            raise InputError(name, got=value, remedy=remedy)


def _prompts(body: CompletionRequest) -> Sequence[Prompt]:
    """Return the prompts of a request, which may be one prompt or a list of them."""
    prompt = body.prompt or ""
    if isinstance(prompt, str):
        return [prompt]
    return [[*prompt]] if isinstance(prompt[0], int) else prompt


def _read_prompts(predictor: LanguagePredictor, body: CompletionRequest) -> list[Completion]:
    """Read each prompt and return its completion; raise OptionError for too many tokens."""
    completions = [Completion(predictor, body, prompt) for prompt in _prompts(body)]
    prompt_tokens = sum(len(completion.tokens) for completion in completions)
    new_tokens = sum(completion.max_new_tokens for completion in completions)
    total = (body.n or 1) * (new_tokens + (prompt_tokens if body.echo else 0))
    for name, count, limit in (
        ("prompts", prompt_tokens, MAX_PROMPT_TOKENS),
        ("completions", total, MAX_NEW_TOKENS),
    ):
        if count > limit:
            raise OptionError(f"tokens of all {name}", got=count, expected=f"at most {limit}")
    # The limits are checked first, because reading takes time.
    for completion in completions:
        completion.read()
    return completions


def _choice(index: int, chunk: Chunk, body: CompletionRequest) -> CompletionChoice:
    logprobs: Logprobs = {
        "tokens": [piece.text for piece in chunk.pieces],
        "token_logprobs": [piece.log_probability for piece in chunk.pieces],
        "top_logprobs": [piece.best for piece in chunk.pieces],
        "text_offset": [piece.offset for piece in chunk.pieces],
    }
    return {
        "index": index,
        "text": chunk.text,
        "logprobs": None if body.logprobs is None else logprobs,
        "finish_reason": chunk.finish_reason,
    }


def _joined(chunks: Iterable[Chunk]) -> Chunk:
    chunks = list(chunks)
    pieces = [piece for chunk in chunks for piece in chunk.pieces]
    return Chunk(pieces, "".join(chunk.text for chunk in chunks), chunks[-1].finish_reason)


def _events(
    predictor: LanguagePredictor, body: CompletionRequest
) -> Iterator[dict[str, list[CompletionChoice] | dict[str, int]]]:
    """Yield the events of an answer; for a request without events only the complete answer.

    A prompt is read, and counted, once for all of its completions.
    """
    prompts, count = _read_prompts(predictor, body), body.n or 1
    choices, new_tokens = [], 0
    for index in range(len(prompts) * count):
        # Completions are numbered prompt by prompt.
        completion = prompts[index // count].fork(index)
        if body.stream:
            for chunk in completion.chunks():
                if chunk.text or chunk.finish_reason is not None:
                    yield {"choices": [_choice(index, chunk, body)]}
        else:
            choices.append(_choice(index, _joined(completion.chunks()), body))
        new_tokens += completion.new_tokens
    if not body.stream or (body.stream_options and body.stream_options.include_usage):
        usage = {"prompt_tokens": sum(len(prompt.tokens) for prompt in prompts)}
        usage |= {"completion_tokens": new_tokens}
        yield {"choices": choices, "usage": usage | {"total_tokens": sum(usage.values())}}


@router.post("/v1/completions", response_model=CompletionReply, responses=EVENT_RESPONSES)
async def create_completion(
    body: CompletionRequest, served: Served
) -> Response | Mapping[str, object]:
    """Complete one or several prompts, as OpenAI's ``/v1/completions`` does."""
    _check_fields(body)
    predictor, _ = served.language_model(body.model)
    head: dict[str, object] = {
        "id": f"cmpl-{secrets.token_hex(12)}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": body.model,
    }
    events = (head | event for event in _events(predictor, body))
    if body.stream:
        return await event_stream(events, served.workers)
    return await served.workers.run(lambda: next(events))
