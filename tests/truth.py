"""Generated texts in which it is known which words decide the next word, and which only distract.

Used by the tests of explanations and by `benchmarks/truth.py`. Every story ends in a word that is to be
predicted, and holds distractors of the same kind as the deciding words in the same positions. Models of
characters read the same stories in fewer words (`brief`).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from elman.language.synthetic_stories import DAYS, MAX_MOVES, story

__all__ = ["BRIEF", "CORPORA", "Prompt", "asked", "brief", "drawn", "lines", "right", "why"]

NAMES = ["anna", "bob", "carl", "dora", "emil"]
FOODS = ["soup", "tea", "cake", "fish", "rice"]
PAIRS = {"(": ")", "[": "]", "{": "}"}


class Prompt(NamedTuple):
    """A text, the word that comes next, and the positions of the words that decide it."""

    text: str
    answer: str
    deciding: frozenset[int]


def moved(rng: random.Random) -> Prompt:
    """Draw a story in which a test is moved from day to day; the last day decides."""
    text, day = story(np.random.default_rng(rng.getrandbits(32)), rng.randrange(MAX_MOVES + 1))
    words = text.split()
    place = len(words) - 1 - words[::-1].index(day)
    return Prompt(text, day, frozenset({place}))


def bracket(rng: random.Random) -> Prompt:
    """Draw brackets that open and close; the one that is still open decides."""

    def pair() -> list[str]:
        one = rng.choice([*PAIRS])
        return [one, rng.choice("xyz"), PAIRS[one], ","]

    words = [word for _ in range(rng.randrange(3)) for word in pair()]
    one, place = rng.choice([*PAIRS]), len(words) + 1
    words += ["open", one, ","]
    words += [word for _ in range(rng.randrange(3)) for word in pair()]
    return Prompt(" ".join([*words, *["so", "now", "close"]]), PAIRS[one], frozenset({place}))


def copied(rng: random.Random) -> Prompt:
    """Draw a story that gives a name among other names and asks for it; the answer copies it."""
    names = rng.sample(NAMES, 3)
    parts = ["my name is {} .", "you are {} .", "we met {} ."]
    order = rng.sample(range(3), 3)
    words = " ".join(parts[i].format(names[i]) for i in order).split()
    place = next(i for i, word in enumerate(words) if word == names[0])
    return Prompt(" ".join([*words, *["so", "they", "call", "me"]]), names[0], frozenset({place}))


def interaction(rng: random.Random) -> Prompt:
    """Draw a story in which two words decide together; two words of the same kinds distract."""
    one, two, other, more = (rng.randrange(3) for _ in range(4))
    lights, roads, hats = ["red", "amber", "green"], ["wet", "dry", "icy"], ["big", "old", "new"]
    shown = [
        f"the light is {lights[one]} .",
        f"the road is {roads[two]} .",
        f"my hat is {hats[other]} .",
        f"his hat is {hats[more]} .",
    ]
    rng.shuffle(shown)
    words = " ".join(shown).split()
    places = [place for place, word in enumerate(words) if word in lights + roads]
    answer = ["act", "brake", "cross", "drive", "enter", "flee", "go", "halt", "idle"][
        3 * one + two
    ]
    return Prompt(" ".join([*words, *["so", "now", "we"]]), answer, frozenset(places))


def negation(rng: random.Random) -> Prompt:
    """Draw a story about several persons and ask about one; only the negation for that one decides."""
    who = ["i", "you", "they"]
    order = rng.sample(who, 3)
    often = {one: rng.random() < 0.5 for one in who}
    words = " ".join(
        f"{one} {'often' if often[one] else 'never'} eat {rng.choice(FOODS)} ." for one in order
    ).split()
    place = words.index("i") + 1
    answer = "yes" if often["i"] else "no"
    return Prompt(" ".join([*words, *["do", "i", "eat", "it", "?"]]), answer, frozenset({place}))


CORPORA: dict[str, Callable[[random.Random], Prompt]] = {
    one.__name__: one for one in (moved, bracket, copied, interaction, negation)
}


BRIEF = {
    "moved": {
        "the maths test is on": "test",
        "no , the professor says it moves to": "no",
        "we ate pizza": "ok",
        "so the test is on": "so",
        **{day: day[:3] for day in DAYS},
    },
    "bracket": {"so now close": "so"},
    "copied": {"my name is": "me", "you are": "you", "we met": "we", "so they call me": "so"},
    "interaction": {
        "the light is": "a",
        "the road is": "b",
        "my hat is": "c",
        "his hat is": "d",
        "so now we": "so",
        " . ": " ",
    },
    "negation": {
        "do i eat it ?": "i ?",
        **{f" eat {food}": "" for food in FOODS},
        "they": "he",
        "never": "no",
        "often": "do",
    },
}
"""Phrases of each corpus, and shorter ones that replace them for models of characters."""


def brief(corpus: str, prompt: Prompt) -> Prompt:
    """Return a story in fewer and shorter words, with its deciding words and distractors.

    A small GRU hardly learns to use characters more than 25 steps back.
    """
    # mark deciding words, to find them again in the shortened text
    marked = [
        f"{word}*" * (place in prompt.deciding) or word
        for place, word in enumerate(prompt.text.split())
    ]
    text = " ".join(marked)
    for long, short in BRIEF[corpus].items():
        text = text.replace(long, short)
    deciding = frozenset(place for place, word in enumerate(text.split()) if word.endswith("*"))
    return Prompt(text.replace("*", ""), prompt.answer, deciding)


def drawn(corpus: str, level: str, rng: random.Random) -> Prompt:
    """Return a new story of a corpus, a shortened one for models of characters."""
    prompt = CORPORA[corpus](rng)
    return brief(corpus, prompt) if level == "char" else prompt


def lines(corpus: str, level: str = "word", count: int = 3000, seed: int = 0) -> str:
    """Return a training corpus with one story in each line."""
    rng = random.Random(seed)
    prompts = (drawn(corpus, level, rng) for _ in range(count))
    return "".join(f"{one.text} {one.answer}\n" for one in prompts)


def asked(prompt: Prompt, level: str) -> tuple[str, str]:
    """Return the text that a model of words or characters reads, and its next token."""
    return (
        (f"{prompt.text} ", prompt.answer[0]) if level == "char" else (prompt.text, prompt.answer)
    )


def right(names: tuple[str, ...], numbers: np.ndarray, prompt: Prompt) -> bool:
    """Return whether the deciding words, and no others, have the largest numbers.

    `names` and `numbers` are those of words, as `Explanation.by_word` returns them; of a model of characters
    the spaces are among them.
    """
    words = [place for place, name in enumerate(names) if name != " "]
    top = np.argsort(-numbers, kind="stable")[: len(prompt.deciding)].tolist()
    return {*top} == {words[place] for place in prompt.deciding}


def why(told: Any, prompt: Prompt) -> bool:
    """Return whether the deciding words have the largest contributions."""
    names, numbers = told.by_word
    return right(names, numbers, prompt)
