"""Numpy's products in explanations take one thread, and the process's setting is restored afterwards."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import elman
from elman.engine import passage
from elman.engine.pauses import one_thread, paced, pause

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


def threads() -> list[int]:
    return [row["num_threads"] for row in threadpool_info() if "numpy" in row["filepath"]]


@pytest.fixture
def two() -> Iterator[None]:
    with threadpool_limits(2, user_api="blas"):
        if threads() != [2]:
            pytest.skip("numpy's products are not those of a library with threads")
        yield


def test_an_explanation_takes_one_thread_of_numpy(
    two: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    read = passage.Layers.read

    def counting(*arguments: Any) -> object:
        seen.extend(threads())
        return read(*arguments)

    monkeypatch.setattr(passage.Layers, "read", counting)
    elman.load(GOLDEN / "classify-1.safetensors").explain("I like tea", method="decomposition")
    assert set(seen) == {1}
    assert threads() == [2]


def test_the_last_user_restores_the_number_of_threads(two: None) -> None:
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with one_thread():
            inside.set()
            leave.wait(30)

    thread = threading.Thread(target=other)
    with one_thread():
        thread.start()
        assert inside.wait(30)
    assert threads() == [1]
    leave.set()
    thread.join()
    assert threads() == [2]


def test_a_pause_calls_the_function_of_its_own_thread_only() -> None:
    calls = []
    pause()
    with paced(lambda: calls.append(1)):
        pause()
        thread = threading.Thread(target=pause)
        thread.start()
        thread.join()
    pause()
    assert calls == [1]
