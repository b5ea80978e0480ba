"""The report on a network's memory: horizon, rate, verdict, table, pictures and JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest

from elman.inspect.memory import UNCHANGED, Cuts, Memory, summarised


def told(change: list[float], gradient: list[float]) -> Memory:
    lags = tuple(range(1, len(change) + 1))
    both = np.array(change)
    return Memory(lags, both, both, np.array(gradient), 9, "a text")


def test_horizon_and_its_sentence() -> None:
    assert told([0.5, 2 * UNCHANGED, UNCHANGED], [1, 1, 1]).horizon == 3
    assert told([0.5, 2 * UNCHANGED], [1, 1]).horizon is None
    assert told([0.5, 0, 2 * UNCHANGED, 0], [1, 1, 1, 1]).horizon == 4  # what it forgot comes back
    assert told([0, 0, 0.5], [1, 1, 1]).horizon is None
    assert (
        "Most predictions still change when all but the last 2 tokens are cut off"
        in told([1, 1], [1, 1]).verdict
    )
    assert "95 in 100 predictions need at most the last 2 tokens. " in (
        told([1, 0], [1, 1]).verdict
    )


def test_one_unusual_window_changes_neither_median_nor_horizon() -> None:
    """Of 64 windows one still moves wholly at the longest lag: 95 in 100 do not."""
    moved = np.zeros(64)
    moved[5] = 1.0
    cuts = Cuts("token", "prediction", "a text", [300] * 64, lambda lag, _: moved + 0.5 * (lag < 3))
    found = summarised(cuts, [1, 2, 3, 4])
    assert (found.typical, found.horizon) == (3, 3)
    assert found.verdict == "95 in 100 predictions need at most the last 3 tokens."
    moved[:4] = 1.0  # five of 64 are more than 5 in 100
    found = summarised(cuts, [1, 2, 3, 4])
    assert (found.typical, found.horizon) == (3, None)
    assert found.verdict.startswith("More than 5 in 100 predictions still change when all but the")
    assert found.verdict.endswith("are cut off; half of them need at most the last 3 tokens.")


def test_horizon_is_at_least_the_typical_lag_with_two_windows() -> None:
    """Ninety-five in 100 windows reach no less far than half of them do, however few windows there are."""
    moved = np.array([0.0, 0.8])
    found = summarised(
        Cuts("token", "prediction", "a text", [9, 9], lambda lag, _: moved * (lag < 3)),
        [1, 2, 3, 4],
    )
    assert found.most.tolist() == found.change.tolist()
    assert found.verdict == "95 in 100 predictions need at most the last 3 tokens."


@pytest.mark.parametrize(
    ("gradient", "said"),
    [
        (
            [1, 0.901],
            "neither vanishes nor explodes: at lag 2 it is 0.901 times that at lag 1, a fact",
        ),
        ([1, 0.9], "vanishes: at lag 2 it is 0.9 times that at lag 1, a factor of 0.9 a token."),
        ([1, 1.1], "explodes: at lag 2 it is 1.1 times that at lag 1, a factor of 1.1 a token."),
        (
            [1, 1.099],
            "neither vanishes nor explodes: at lag 2 it is 1.099 times that at lag 1, a fact",
        ),
        # each by the rate alone: a power of a root that is not exact
        (
            [1, 1, 1, 0.9**3],
            "vanishes: at lag 4 it is 0.729 times that at lag 1, a factor of 0.9 a",
        ),
        (
            [1, 1, 1, 1.1**3],
            "explodes: at lag 4 it is 1.331 times that at lag 1, a factor of 1.1 a",
        ),
        # what a user met
        (
            [1, 1, 1, 1, 1, 0.207**5],
            "vanishes: at lag 6 it is less than 0.001 times that at lag 1, a factor of 0.207 a",
        ),
        (
            [1, 1e-6],
            "vanishes: at lag 2 it is less than 0.001 times that at lag 1, a factor of less",
        ),
        (
            [1, 1e6],
            "explodes: at lag 2 it is more than 1,000 times that at lag 1, a factor of more",
        ),
        # what rises first and then vanishes is held against its largest
        ([1e-3, 1, 0.1, 1e-4], "vanishes: at lag 4 it is less than 0.001 times that at lag 2, a f"),
        (
            [1, 4, 1],
            "vanishes: at lag 3 it is 0.25 times that at lag 2, a factor of 0.25 a token.",
        ),
        (
            [0.5, 1, 2],
            "explodes: at lag 3 it is 4 times that at lag 1, a factor of 2 a token.",
        ),
        (
            [1, 1e4, 9e3],
            "explodes: at lag 2 it is more than 1,000 times that at lag 1, a factor of",
        ),
        (
            [0, 1, 2],
            "explodes: at lag 3 it is 2 times that at lag 2, a factor of 2 a token.",
        ),
    ],
)
def test_verdict_on_the_gradient_starts_from_the_largest(gradient: list[float], said: str) -> None:
    assert f". The gradient {said}" in told([1.0] * len(gradient), gradient).verdict


def test_verdict_uses_the_share_at_long_lags() -> None:
    # so near 1 a token that the rate alone would call it even
    lags, rates = (1, 200), {0.96: "vanishes", 1.04: "explodes", 0.97: "neither", 1.03: "neither"}
    for rate, does in rates.items():
        found = Memory(lags, np.ones(2), np.ones(2), np.array([1.0, rate**199]), 9, "a text")
        assert f"The gradient {does}" in found.verdict


def test_rate_is_between_the_lags_that_the_verdict_names() -> None:
    assert told([1] * 4, [0.5, 1, 0.5, 0.25]).rate == 0.5
    assert told([1] * 3, [0.5, 1, 2]).rate == 2
    assert told([1] * 3, [1, 1, 0]).rate == 0
    assert told([1], [1]).rate == told([1], [0]).rate == told([1, 1], [0, 0]).rate == 0
    verdict = told([1] * 4, [0.5, 1, 0.93, 0.93**2]).verdict
    assert verdict.endswith("that at lag 2, a factor of 0.93 a token.")
    assert told([1, 1], [0, 1]).verdict.endswith("There is a gradient at lag 2 alone.")
    assert told([1, 1], [0, 0]).verdict.endswith("There is no gradient, even at lag 1.")


def test_table_pictures_and_json_show_the_same_numbers() -> None:
    found = told([0.5, 0.25, 0.0], [1.0, 0.01, 0.0])
    head, first, second, third, source, verdict = str(found).splitlines()
    assert head.split() == ["known", "change", "95", "in", "100", "gradient"]
    assert first.split() == ["1", "0.5000", "0.5000", "1", "█" * 30]
    assert second.split() == ["2", "0.2500", "0.2500", "0.01", "█" * 15]
    assert third.split() == ["3", "0.0000", "0.0000", "0"]
    assert (source, verdict) == ("9 predictions in a text", found.verdict)
    assert json.loads(found.to_json()) == found.to_dict()
    assert json.loads(found.to_json())["horizon"] == 3
    assert found.to_svg().startswith("<svg")
    assert "<style" not in found.to_svg(standalone=False)
    assert found.verdict in found._repr_html_()
    assert len(found.plot().axes) == 2
