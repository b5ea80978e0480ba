"""``/v1/completions``, tested with OpenAI's own client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import openai
import pytest

import elman
from elman.files.model import Model
from elman.language.predictor import LanguagePredictor
from elman.language.stream import Stream
from elman.serve import routes_openai
from elman.serve.schema import CompletionRequest


@pytest.fixture(scope="module")
def client(
    start: Any, make: Callable[..., Model], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("models")
    paths = []
    for name, model in {
        "letters": make(),
        "words": make("gru", level="word", seed=1),
        "lines": make("gru", documents="line", seed=0),
    }.items():
        paths.append(folder / f"{name}.safetensors")
        type(model)(model.config, model.arrays, model.codec, {}).save(paths[-1])
    with start(*paths) as server:
        client: Any = openai.OpenAI(
            base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=30
        )
        client.loaded = {path.stem: elman.load(path) for path in paths}
        yield client
        client.close()


def greedy(predictor: LanguagePredictor, prompt: str, n: int) -> str:
    return predictor.generate(prompt, n, temperature=0)


def test_the_models(client: Any) -> None:
    assert [model.id for model in client.models.list()] == ["letters", "words", "lines"]
    assert client.models.retrieve("words").owned_by == "elman"
    with pytest.raises(openai.NotFoundError, match="no such model: got none"):
        client.models.retrieve("none")


@pytest.mark.parametrize(("name", "prompt"), [("letters", "abc"), ("words", "I like")])
def test_a_completion_as_one_answer_and_as_events(client: Any, name: str, prompt: str) -> None:
    predictor = client.loaded[name]
    how = {"model": name, "prompt": prompt, "max_tokens": 30}
    completion = client.completions.create(**how, temperature=0)
    assert completion.object == "text_completion"
    assert completion.choices[0].text == greedy(predictor, prompt, 30)
    assert completion.choices[0].finish_reason == "length"
    read = len(predictor.score(prompt).tokens)
    usage = completion.usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (read, 30)
    assert usage.total_tokens == read + 30
    whole = client.completions.create(**how, seed=5).choices[0].text
    parts = list(client.completions.create(**how, seed=5, stream=True))
    assert "".join(part.choices[0].text for part in parts) == whole
    assert parts[-1].choices[0].finish_reason == "length"
    assert {part.id for part in parts} == {parts[0].id}
    other = client.completions.create(**how, seed=6).choices[0].text
    assert other != whole
    options = {"include_usage": True}
    parts = list(client.completions.create(**how, stream=True, stream_options=options))
    assert parts[-1].choices == []
    assert parts[-1].usage.completion_tokens == 30


def test_several_prompts_and_completions(client: Any) -> None:
    numbers = client.loaded["letters"].model.codec.encode("abc").tolist()
    how = {"model": "letters", "max_tokens": 12, "seed": 1}
    completion = client.completions.create(prompt=["abc", "h"], n=2, **how)
    assert [choice.index for choice in completion.choices] == [0, 1, 2, 3]
    assert len({choice.text for choice in completion.choices}) == 4
    assert completion.usage.prompt_tokens == 4
    for prompt in (numbers, [numbers]):
        alone = client.completions.create(prompt=prompt, **how)
        assert alone.choices[0].text == completion.choices[0].text
    parts = client.completions.create(prompt=["abc", "h"], n=2, stream=True, **how)
    texts = ["", "", "", ""]
    for part in parts:
        texts[part.choices[0].index] += part.choices[0].text
    assert texts == [choice.text for choice in completion.choices]


@pytest.mark.parametrize("stream", [False, True])
def test_stop_texts(client: Any, stream: bool) -> None:
    """No character of a stop text is ever sent, wherever the events are cut."""
    whole = (
        client.completions.create(model="letters", prompt="a", max_tokens=200, seed=2)
        .choices[0]
        .text
    )
    for size in (1, 2, 3, 5):
        for at in (0, 1, 20, 77):
            stop = [whole[at : at + size], "zz"]
            expected = whole[: whole.index(stop[0])]
            how = {"model": "letters", "prompt": "a", "max_tokens": 200, "seed": 2, "stop": stop}
            if stream:
                parts = list(client.completions.create(**how, stream=True))
                text = "".join(part.choices[0].text for part in parts)
                reason = parts[-1].choices[0].finish_reason
            else:
                choice = client.completions.create(**how).choices[0]
                text, reason = choice.text, choice.finish_reason
            assert (text, reason) == (expected, "stop")


def test_the_end_of_a_document_ends_the_text(client: Any) -> None:
    """If documents are lines, the end of a line ends the text."""
    how = {"model": "lines", "prompt": "ab", "max_tokens": 400, "seed": 0}
    choice = client.completions.create(**how).choices[0]
    assert choice.finish_reason == "stop"
    assert "\n" not in choice.text
    usage = client.completions.create(**how).usage
    assert usage.completion_tokens == len(choice.text) + 1


def test_log_probabilities(client: Any) -> None:
    predictor = client.loaded["words"]
    prompt = "I like tea"
    how = {"model": "words", "prompt": prompt, "logprobs": 2, "temperature": 0}
    completion = client.completions.create(**how, max_tokens=5, echo=True).choices[0]
    logprobs = completion.logprobs
    codec = predictor.model.codec
    score = predictor.score([codec.tokens.index(token.strip(" ")) for token in logprobs.tokens])
    assert "".join(logprobs.tokens) == completion.text
    assert completion.text.startswith(prompt)
    # computed from the rounded probability, unlike the score
    np.testing.assert_allclose(logprobs.token_logprobs, score.log_probabilities, atol=1e-6)
    assert [
        completion.text[at:].startswith(token)
        for at, token in zip(logprobs.text_offset, logprobs.tokens, strict=True)
    ]
    # the two best tokens, and the token itself if it is another one
    for token, value, top in zip(
        logprobs.tokens, logprobs.token_logprobs, logprobs.top_logprobs, strict=True
    ):
        assert top[token] == value
        assert len(top) == 2 + (value < sorted(top.values())[-2])
    assert {len(top) for top in logprobs.top_logprobs} == {2, 3}
    first = predictor.predict_next("", 1)[0][1]
    assert max(logprobs.top_logprobs[0].values()) >= np.log(first) - 1e-6
    plain = client.completions.create(**how, max_tokens=5).choices[0]
    assert prompt + plain.text == completion.text
    assert plain.logprobs.token_logprobs == logprobs.token_logprobs[3:]
    alone = client.completions.create(**how | {"logprobs": 0}, max_tokens=5).choices[0].logprobs
    pairs = zip(alone.tokens, alone.token_logprobs, strict=True)
    assert alone.top_logprobs == [{token: value} for token, value in pairs]
    scored = client.completions.create(**how, max_tokens=0, echo=True)
    assert scored.choices[0].text == prompt
    assert scored.usage.completion_tokens == 0


SENT = [
    (
        "words",
        "  I   LIKE zebra !  tea",
        [(2, "I"), (5, " <unk>"), (10, " <unk>"), (17, "!"), (19, " tea")],
    ),
    ("words", "I like ", [(0, "I"), (1, " like")]),
    ("words", "tea\r\n\tI(like", [(0, "tea"), (3, "\n"), (6, "I"), (7, " ("), (8, "like")]),
    ("letters", "a\r\nzb", [(0, "a"), (1, "\n"), (3, "\ufffd"), (4, "b")]),
    ("lines", "ab\n\rc", [(0, "a"), (1, "b"), (2, "\n"), (3, "\n"), (4, "c")]),
]


@pytest.mark.parametrize(("name", "prompt", "tokens"), SENT)
def test_a_prompt_is_echoed_as_it_was_sent(
    client: Any, name: str, prompt: str, tokens: list[tuple[int, str]]
) -> None:
    """Clients cut off the prompt by its length and find tokens by their offsets."""
    how = {"model": name, "prompt": prompt, "max_tokens": 6, "seed": 3, "logprobs": 1}
    plain = client.completions.create(**how).choices[0]
    whole = client.completions.create(**how, echo=True).choices[0]
    parts = [part.choices[0] for part in client.completions.create(**how, echo=True, stream=True)]
    assert whole.text == prompt + plain.text == "".join(part.text for part in parts)
    logprobs, new = whole.logprobs, plain.logprobs
    assert list(zip(logprobs.text_offset, logprobs.tokens, strict=True))[: len(tokens)] == tokens
    assert logprobs.tokens[len(tokens) :] == new.tokens
    assert logprobs.text_offset[len(tokens) :] == [len(prompt) + at for at in new.text_offset]
    assert [at for part in parts for at in part.logprobs.text_offset] == logprobs.text_offset


def test_token_numbers_are_echoed_as_text(client: Any) -> None:
    codec = client.loaded["words"].model.codec
    numbers = codec.encode("I like zebra!").tolist()
    how = {"model": "words", "prompt": numbers, "max_tokens": 3, "echo": True, "logprobs": 0}
    completion = client.completions.create(**how).choices[0]
    assert completion.text.startswith("I like <unk>!")
    assert "".join(completion.logprobs.tokens) == completion.text
    assert completion.logprobs.text_offset[:5] == [0, 1, 6, 12, 13]


def test_fields_that_do_not_change_the_text_are_ignored(client: Any) -> None:
    completion = client.completions.create(
        model="letters",
        prompt="a",
        max_tokens=3,
        user="someone",
        presence_penalty=0,
        frequency_penalty=0.0,
        best_of=1,
        suffix="",
        logit_bias={},
        extra_body={"something_new": {"a": 1}, "top_k": None},
    )
    assert len(completion.choices[0].text) == 3
    completion = client.completions.create(
        model="letters", prompt="a", max_tokens=3, n=2, best_of=2
    )
    assert len(completion.choices) == 2


@pytest.mark.parametrize(
    ("field", "value", "remedy"),
    [
        ("suffix", "the end", "leave it out"),
        ("logit_bias", {"3": -100}, "leave it out"),
        ("presence_penalty", 0.5, "leave it out"),
        ("frequency_penalty", -1, "leave it out"),
        ("best_of", 3, "leave it out"),
        ("max_completion_tokens", 5, "pass max_tokens"),
        ("messages", [{"role": "user", "content": "a"}], "pass a prompt"),
        ("top_k", 40, "leave it out"),
    ],
)
def test_unsupported_fields_that_change_the_text_are_refused(
    client: Any, field: str, value: Any, remedy: str
) -> None:
    how = {"model": "letters", "prompt": "a", "extra_body": {field: value}}
    words = rf"{field}: got .*; this server does not support it: {remedy}"
    with pytest.raises(openai.BadRequestError, match=words):
        client.completions.create(**how)


def test_invalid_completions_are_refused(client: Any) -> None:
    create = client.completions.create
    for how, words in (
        ({"max_tokens": 5000}, "max_tokens: got 5000"),
        ({"temperature": -1}, "temperature: got -1"),
        ({"prompt": [99]}, "tokens: got 99"),
        (
            {"prompt": ["a"] * 16, "n": 16, "max_tokens": 4096},
            "tokens of all completions: got 1048576",
        ),
        ({"prompt": "a" * 5000, "n": 16, "echo": True}, "tokens of all completions: got 80256"),
        ({"prompt": [[1] * 50_001] * 2}, "tokens of all prompts: got 100002"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"stream": True, "prompt": [99]}, "tokens: got 99"),
    ):
        with pytest.raises(openai.BadRequestError, match=words):
            create(**{"model": "letters", "prompt": "a"} | how)
    with pytest.raises(openai.NotFoundError, match="no such model"):
        create(model="none", prompt="a")


@pytest.mark.parametrize("echo", [False, True])
def test_a_prompt_is_read_once_for_all_its_completions(
    models: dict[str, Any], monkeypatch: pytest.MonkeyPatch, echo: bool
) -> None:
    """Each completion equals the one after a prompt of its own."""
    feed, step = Stream.feed, Stream.step
    read: list[int] = []

    def feed_noted(stream: Stream, tokens: Any) -> Any:
        read.extend(tokens)
        return feed(stream, tokens)

    def step_noted(stream: Stream, token: int) -> Any:
        read.append(token)
        return step(stream, token)

    monkeypatch.setattr(Stream, "feed", feed_noted)
    monkeypatch.setattr(Stream, "step", step_noted)

    def made(**more: Any) -> list[dict[str, Any]]:
        body = {"model": "letters", "max_tokens": 8, "logprobs": 2, "echo": echo, **more}
        answers: Any = routes_openai._events(models["letters"], CompletionRequest(**body))
        (answer,) = answers
        return [choice | {"index": 0} for choice in answer["choices"]]

    several = made(prompt=["abc", "dad"], n=3, seed=5)
    assert read[:6] == models["letters"].model.codec.encode("abcdad").tolist()
    assert len(read) == 6 + len(several) * 8
    for index, completion in enumerate(several):
        assert [completion] == made(prompt="abc" if index < 3 else "dad", seed=5 + index)


def test_a_seed_may_be_any_number(client: Any) -> None:
    for seed in (-5, 0, 2**62):
        completion = client.completions.create(model="letters", prompt="a", max_tokens=3, seed=seed)
        assert len(completion.choices[0].text) == 3


@pytest.mark.slow
def test_a_completion_uses_a_stream_of_its_own(client: Any) -> None:
    """The last word of the prompt decides whether a space precedes the next one."""
    predictor = client.loaded["words"]
    alone = Stream(predictor.network).feed("I like")
    text = client.completions.create(model="words", prompt="I like", max_tokens=4, temperature=0)
    assert text.choices[0].text == alone.generate(4, temperature=0)
