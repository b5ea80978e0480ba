from __future__ import annotations

import io
import itertools
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import elman
from elman import LanguageModel
from elman.errors import DataError, InputError, OptionError
from elman.files.model import Model
from elman.language import network, surprise
from elman.language.detection import read_labels
from elman.language.ranking import rank_lines
from elman.language.stream import Stream
from elman.language.surprise import MEASURES, score_lines
from elman.text.vocabulary import TextCodec
from factories import open_language

# Largest difference of float32 log probabilities, in nats: products of many rows add terms in another order.
FLOAT32 = 2e-5
BITS = FLOAT32 / math.log(2)

LINES = ["abba cafe", "head", "", "face é decade bad cab", "a", "abba cafe", "b" * 70, "h"]


def alone(model: Model, line: str) -> np.ndarray:
    """Return the bits of each token of a line that a single stream reads."""
    return -Stream(model).score(line + "\n").log_probabilities / math.log(2)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm", "mingru"])
@pytest.mark.parametrize("narrow", [False, True])
def test_lines_as_documents_are_scored_as_single_streams(
    make: Callable[..., Model], monkeypatch: pytest.MonkeyPatch, cell: str, narrow: bool
) -> None:
    if narrow:  # a few lines at once, in pieces of a few steps
        for name, value in (
            ("_MAX_WAITING_LINES", 3),
            ("_MAX_OUTPUT_NUMBERS", 100),
            ("STEPS_PER_CALL", 7),
            ("_MAX_KNOWN_LINES", 2),
        ):
            monkeypatch.setattr(surprise, name, value)
    model = make(cell, documents="line")
    found = list(score_lines(open_language(model), LINES * 3))
    assert [one.line for one in found] == list(range(1, 25))
    for one, line in zip(found, LINES * 3, strict=True):
        assert one.text == line
        if line:
            assert one.tokens == (*line, "<end>")
            np.testing.assert_allclose(one.bits, alone(model, line), atol=BITS)
        else:
            assert (one.tokens, len(one.bits), one.score()) == ((), 0, 0.0)
        assert one.unknown == line.count("é")


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("cell", ["gru", "mingru"])
def test_lines_of_a_file_are_scored_in_sequence(
    make: Callable[..., Model], monkeypatch: pytest.MonkeyPatch, cell: str
) -> None:
    monkeypatch.setattr(network, "STEPS_PER_CALL", 7)
    model = make(cell)
    found = list(score_lines(open_language(model), LINES))
    together = Stream(model).score("".join(line + "\n" for line in LINES))
    bits = np.concatenate([one.bits for one in found])
    np.testing.assert_allclose(bits, -together.log_probabilities / math.log(2), atol=BITS)
    assert found[0].tokens == (*"abba cafe", "\n")
    # an empty line has one token, its line end, and the network can predict that
    assert found[2].tokens == ("\n",)


def test_a_text_is_scored_as_its_lines(make: Callable[..., Model]) -> None:
    predictor = open_language(make(documents="line"))
    for text in (
        "abba\r\n\r\ncab",
        "abba\n\ncab\n",
        ["abba\n", "\r\n", "cab"],
        io.StringIO("abba\n\ncab"),
    ):
        assert [one.text for one in score_lines(predictor, text)] == ["abba", "", "cab"]
    assert list(score_lines(predictor, "")) == []
    assert list(score_lines(predictor, [])) == []
    wrong: Any
    for wrong, got in ((["a\nb"], r"a\\nb"), (["a\rb"], r"a\\rb"), ([b"a"], "bytes")):
        with pytest.raises(InputError, match=f"line 1: got {got}"):
            list(score_lines(predictor, wrong))


def test_a_line_of_any_length(make: Callable[..., Model]) -> None:
    model = make("gru", documents="line")
    line = "".join(random.Random(0).choices("abcdefgh", k=100_000))
    long, short = score_lines(open_language(model), [line, "abba"])
    np.testing.assert_allclose(long.bits, alone(model, line), atol=BITS)
    np.testing.assert_allclose(short.bits, alone(model, "abba"), atol=BITS)


def test_identical_lines_are_read_once(
    make: Callable[..., Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = open_language(make(documents="line"))
    read = []
    monkeypatch.setattr(surprise, "_MAX_WAITING_LINES", 4)
    forward = predictor.network.forward

    def counted(tokens: np.ndarray, *given: Any) -> Any:
        read.append(tokens.shape[1])
        return forward(tokens, *given)

    monkeypatch.setattr(predictor.network, "forward", counted)
    found = list(score_lines(predictor, ["abba", "cab"] * 50))
    assert sum(read) == 2
    assert len({one.score() for one in found}) == 2


def test_measures() -> None:
    codec = TextCodec("word", ("<unk>", "<end>", "a"), documents="line")
    bits = np.array([1, 8, 2, 4, 0], np.float32)
    line = surprise.Surprise(1, "a b c d", bits, 3, codec)
    assert {measure: line.score(measure) for measure in MEASURES} == {
        "peaks": pytest.approx((1 + 512 + 8 + 64) ** (1 / 3)),
        "max": 8,
        "top": pytest.approx(14 / 3),
        "mean": 3,
        "total": 15,
    }
    assert line.score() == line.score("peaks")
    assert line.most == 1
    short = surprise.Surprise(1, "a", bits[:2], 0, codec)
    assert short.score("top") == short.score("mean") == 4.5
    assert "b     8.00" in str(line)
    with pytest.raises(OptionError, match="measure: got median; expected one of peaks, max, top"):
        line.score("median")


def test_the_ranking(make: Callable[..., Model], tmp_path: Path) -> None:
    model = make(documents="line")
    predictor = open_language(model)
    text = "abba cafe\nhead\n\nabba cafe\n\x1b[2J é\n"
    ranking = rank_lines(predictor, text, measure="mean", top=None)
    scores = [alone(model, line).mean() if line else 0 for line in text.splitlines()]
    np.testing.assert_allclose(ranking.scores, scores, atol=BITS)
    assert (ranking.empty, ranking.unknown, ranking.tokens) == (1, 5, 10 + 5 + 10 + 7)
    assert ranking.median == pytest.approx(np.median(scores), abs=BITS)
    order = sorted((0, 1, 3, 4), key=lambda place: -ranking.scores[place])
    assert [row["line"] for row in ranking.to_rows()] == [place + 1 for place in order]
    assert order.index(0) + 1 == order.index(3)  # identical lines stay in their order
    first = ranking.to_rows(steps=True)[0]
    assert first["rank"] == 1
    assert first["text"] == text.splitlines()[order[0]]
    assert max(first["bits"]) == first["token_bits"]
    assert first["tokens"][first["bits"].index(first["token_bits"])] == first["token"]
    assert "\x1b" not in str(ranking)
    assert "5 lines, 1 of them empty" in str(ranking)
    assert ranking.to_dict()["rows"] == ranking.to_rows()
    best = rank_lines(predictor, text, measure="mean", top=2)
    assert best.to_rows() == ranking.to_rows()[:2]
    np.testing.assert_array_equal(best.scores, ranking.scores)


def test_a_ranking_of_files(make: Callable[..., Model], tmp_path: Path) -> None:
    predictor = open_language(make(documents="line"))
    (tmp_path / "one.log").write_bytes(b"abba\r\n\r\ncab")
    (tmp_path / "two.log").write_bytes("caf\xe9 bad\n".encode("latin-1"))
    both = rank_lines(predictor, [tmp_path / "one.log", tmp_path / "two.log"])
    places = {(row["file"], row["line"]) for row in both.to_rows()}
    assert places == {(str(tmp_path / "one.log"), n) for n in (1, 3)} | {
        (str(tmp_path / "two.log"), 1)
    }
    assert f"{tmp_path}"[:30] in str(both)
    assert any("two.log" in warning for warning in both.warnings)
    assert "warning: " in str(both)
    one = rank_lines(predictor, tmp_path / "one.log")
    stream = rank_lines(predictor, io.StringIO("abba\n\ncab"))
    assert [row["score"] for row in one.to_rows()] == [row["score"] for row in stream.to_rows()]
    assert {row["file"] for row in stream.to_rows()} == {"-"}
    read = rank_lines(predictor, tmp_path / "two.log", encoding="latin-1", top=1)
    assert (read.warnings, read.unknown) == ((), 1)
    with pytest.raises(DataError, match="no such file"):
        rank_lines(predictor, tmp_path / "three.log")


@pytest.mark.parametrize("documents", ["file", "line"])
def test_blank_lines_are_counted_and_not_ranked(make: Callable[..., Model], documents: str) -> None:
    predictor = open_language(make(documents=documents))
    ranking = rank_lines(predictor, "abba\n\n  \ncab\n", measure="mean", top=None)
    assert {row["line"] for row in ranking.to_rows()} == {1, 4}
    assert ranking.empty == 2
    assert ranking.scores[[1, 2]].tolist() == [0, 0]
    assert ranking.scores[[0, 3]].all()


def test_a_text_of_mostly_unknown_tokens_gives_a_warning(make: Callable[..., Model]) -> None:
    predictor = open_language(make())
    assert "tokens are not in the model's vocabulary" in rank_lines(predictor, "xyz\n").warnings[0]
    assert "tokens are not in the model's vocabulary" in predictor.evaluate("xyzxyz a").warnings[0]
    assert rank_lines(predictor, "abba\n").warnings == ()


def test_nothing_to_rank(make: Callable[..., Model]) -> None:
    ranking = rank_lines(open_language(make(documents="line")), io.StringIO(""))
    assert (ranking.rows, len(ranking.scores), ranking.median) == ((), 0, 0.0)
    assert "0 lines" in str(ranking)


def test_bad_arguments_are_refused(make: Callable[..., Model]) -> None:
    predictor = open_language(make(documents="line"))
    with pytest.raises(OptionError, match="measure: got least"):
        rank_lines(predictor, "a\n", measure="least")
    top: Any
    for top in (0, -1, 1.5):
        with pytest.raises(OptionError, match="top"):
            rank_lines(predictor, "a\n", top=top)


@pytest.mark.parametrize("documents", ["file", "line"])
def test_normal_lines_give_a_threshold_and_a_plain_detector(
    make: Callable[..., Model], documents: str
) -> None:
    predictor = open_language(make(documents=documents))
    normal, text = "abba\n\ncab\ndeaf\n" * 20, "baba\ncabs\n\nabb\nbac\n"
    ranking = rank_lines(predictor, text, normal=normal, labels=[0, 1, 0, 1, 1])
    found = ranking.detection
    assert found is not None
    # baba and bac are normal lines in another order; cabs has a new character, abb a new length
    assert found.reported["three-line detector"].tolist() == [False, True, False, True, False]
    usual = [line.score() for line in score_lines(predictor, normal) if line.text]
    assert found.threshold == pytest.approx(np.quantile(usual, 0.98))
    network = ranking.scores > found.threshold
    np.testing.assert_array_equal(found.reported["network"], network)
    right = int((network & [False, True, False, True, True]).sum())
    assert ranking.to_dict()["detection"] == {
        "threshold": found.threshold,
        "network": {
            "reported": int(network.sum()),
            "precision": pytest.approx(right / max(1, network.sum())),
            "recall": pytest.approx(right / 3),
            "f1": pytest.approx(2 * right / (network.sum() + 3)),
        },
        "three-line detector": {
            "reported": 2,
            "precision": 1.0,
            "recall": pytest.approx(2 / 3),
            "f1": pytest.approx(0.8),
        },
    }
    assert "three-line detector         2      1.000   0.667   0.800" in str(ranking)
    unjudged = rank_lines(predictor, text, normal=normal)
    assert "three-line detector         2\n" in str(unjudged)
    assert "detection" not in rank_lines(predictor, text).to_dict()


def test_labels_and_normal_lines_that_do_not_fit_are_refused(
    make: Callable[..., Model], tmp_path: Path
) -> None:
    predictor = open_language(make(documents="line"))
    with pytest.raises(OptionError, match="labels: got no normal lines"):
        rank_lines(predictor, "a\n", labels=[1])
    with pytest.raises(DataError, match="labels: got 1; expected one for each of 2 lines"):
        rank_lines(predictor, "a\nb\n", normal="a\n", labels=[1])
    with pytest.raises(DataError, match="the normal lines are all empty"):
        rank_lines(predictor, "a\n", normal="\n \n")
    (tmp_path / "labels").write_text("0\n1\nno\n")
    with pytest.raises(DataError, match=r"line 3: got no; expected 0 .* or 1"):
        read_labels(str(tmp_path / "labels"))


def sequence(rng: random.Random) -> list[str]:
    """Return the events of a session of a file system: made, written by three nodes, read, deleted."""
    written = [["11", "9"]] * 3 + [["26"]] * 3
    rng.shuffle(written)
    return [
        *rng.choice([["22", "5", "5", "5"], ["5", "22", "5", "5"], ["5", "5", "22", "5"]]),
        *itertools.chain.from_iterable(written),
        *rng.choices(["3", "4"], k=rng.randrange(4)),
        *["23"] * 3,
        *["21"] * 3,
    ]


@pytest.fixture(scope="module")
def events() -> LanguageModel:
    """A model of 1,500 usual sequences of events."""
    rng = random.Random(1)
    text = "".join(" ".join(sequence(rng)) + "\n" for _ in range(1500))
    return LanguageModel(
        split="whitespace",
        documents="line",
        hidden_size=24,
        num_layers=1,
        learning_rate=0.02,
        steps=300,
        threads=1,
    ).fit(text)


@pytest.mark.slow
@pytest.mark.parametrize("measure", ["peaks", "max", "top"])
def test_an_unusual_sequence_ranks_first(events: LanguageModel, measure: str) -> None:
    rng = random.Random(2)
    lines = [sequence(rng) for _ in range(200)]
    permuted = sequence(rng)
    usual = list(permuted)
    while permuted[:4] == usual[:4] or permuted[-6:] == usual[-6:]:
        rng.shuffle(permuted)
    for place, odd in (
        (17, permuted),
        (60, ["22", "5"]),  # a session that ends too early
        (90, [*lines[0][:8], "99", *lines[0][8:]]),  # an event that training never saw
    ):
        texts = [" ".join(events_) for events_ in lines]
        texts[place] = " ".join(odd)
        best = rank_lines(events.predictor_, "\n".join(texts), measure=measure, top=1)
        assert best.rows[0].surprise.line == place + 1, best
        assert best.unknown == odd.count("99")
    assert best.to_rows()[0]["token"] == "99"


def test_a_log_is_masked_as_in_training(tmp_path: Path) -> None:
    rng = random.Random(0)
    lines = [
        f"0811{rng.randrange(10)} INFO block blk_{rng.randrange(10**9)} sent to 10.0.0.{rng.randrange(99)}"
        for _ in range(300)
    ]
    path = tmp_path / "log.safetensors"
    settings: dict[str, Any] = {
        "hidden_size": 16,
        "num_layers": 1,
        "learning_rate": 0.03,
        "steps": 100,
        "threads": 1,
    }
    LanguageModel(split="log", documents="line", **settings).fit("\n".join(lines), output=path)
    new = [line.replace("blk_", "blk_-99") for line in lines[:50]]
    new[30] = new[30].replace("sent to", "lost on")
    ranking = rank_lines(elman.load(path, kind=elman.LanguagePredictor), "\n".join(new), top=2)
    first, second = ranking.to_rows()
    assert first["line"] == 31
    assert first["text"] == new[30]
    assert (first["unknown"], ranking.unknown) == (2, 2)
    assert second["line"] == 1
    assert len(set(ranking.scores.tolist())) == 2
