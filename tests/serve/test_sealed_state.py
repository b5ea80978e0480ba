"""States that clients keep: the server accepts only those that it has signed itself."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

import elman
from elman.errors import InputError
from elman.files.model import Model
from elman.language.network import Network
from elman.language.stream import Stream
from elman.serve.sealed_state import open_state, seal_state


def test_a_changed_byte_is_refused(make: Callable[..., Model]) -> None:
    state = Stream(make("gru")).feed("abc").state
    sealed = seal_state(b"k" * 32, state)
    assert open_state(b"k" * 32, sealed) == state
    whole = bytearray(base64.urlsafe_b64decode(sealed))
    for place in range(len(whole)):
        for bit in (1, 0x80):
            whole[place] ^= bit
            with pytest.raises(InputError, match="state: got something else"):
                open_state(b"k" * 32, base64.urlsafe_b64encode(whole).decode())
            whole[place] ^= bit


def test_only_the_canonical_text_of_a_state_is_accepted() -> None:
    key, state = b"k" * 32, b"abcd"
    sealed = seal_state(key, state)
    others = [
        *(sealed[:place] for place in range(len(sealed))),
        *(sealed[:place] + "A" + sealed[place:] for place in range(len(sealed) + 1)),
        *(
            sealed[:place] + chr(code) + sealed[place + 1 :]
            for place in (0, 5, -2)
            for code in (10, 32, 233, 0xD800)
        ),
        sealed + "=",
        sealed.replace("-", "+").replace("_", "/") + "\n",
        seal_state(b"other key of bytes", state),
        base64.urlsafe_b64encode(state).decode(),
        "",
    ]
    for other in others:
        if other != sealed:
            with pytest.raises(InputError):
                open_state(key, other)
    # base64 ignores some bits of the last character
    last = sealed.rstrip("=")[-1]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for other in set(alphabet) - {last}:
        with pytest.raises(InputError):
            open_state(key, sealed.rstrip("=")[:-1] + other + "=" * sealed.count("="))


def test_the_state_of_another_model_is_refused(make: Callable[..., Model], ask: Any) -> None:
    models = {
        name: elman.tasks.open_model(make("gru", seed=seed)) for seed, name in enumerate("ab")
    }

    async def go() -> None:
        async with ask(models) as client:
            body = {"model": "a", "input": "abc"}
            state = (await client.post("/v1/step", json=body)).json()["state"]
            for changed, words in (
                ({"model": "b", "state": state}, "state of another model"),
                ({"model": "a", "state": state[:-4]}, "state: got something else"),
                ({"model": "a", "state": "no"}, "state: got something else"),
            ):
                answer = await client.post("/v1/step", json=changed)
                assert answer.status_code == 400
                assert words in answer.json()["error"]["message"]

    asyncio.run(go())


@pytest.mark.slow
def test_servers_with_the_same_key_accept_each_others_states(start: Any, model_file: Path) -> None:
    """Two servers continue one stream in turns; a third one with another key refuses its state."""
    key = b"one key for both of them"
    network = Network(elman.load(model_file).model)
    alone, state = Stream(network), None
    with (
        start(model_file, state_key=key) as one,
        start(model_file, state_key=key) as two,
        start(model_file) as stranger,
        httpx.Client(timeout=30) as client,
    ):
        for turn, part in enumerate(["abc", " d", "", "e\nf", "gh", "a"]):
            server = (one, two)[turn % 2]
            body = {"model": "letters", "state": state, "input": part, "k": 4}
            reply = client.post(f"{server.url}/v1/step", json=body).json()
            state = reply["state"]
            rows = [(row["token"], row["probability"]) for row in reply["predictions"]]
            assert rows == alone.feed(part).predict(4)
        answer = client.post(f"{stranger.url}/v1/step", json={"model": "letters", "state": state})
        assert answer.status_code == 400
