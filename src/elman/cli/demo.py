"""Demonstration: networks that learn which word comes next, and a network that writes English."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from elman.errors import OutputError
from elman.language import synthetic_meals, synthetic_stories
from elman.language.display import LanguageDisplay
from elman.language.estimator import LanguageModel
from elman.language.options import LanguageOptions
from elman.training.formatting import duration, visible
from elman.training.journal import JsonObject
from elman.training.progress import TrainingDisplay

Fit: TypeAlias = Callable[[LanguageModel, str], LanguageModel]

CONTEXT = "I like to eat"
SENTENCES = 12_000
# Options of a small network for the 24 contexts of the grammar, the same for every cell.
MEALS: dict[str, Any] = {
    "level": "word",
    "documents": "line",
    "hidden_size": 64,
    "num_layers": 1,
    "dropout": 0.0,
    "learning_rate": 0.01,
    "batch_size": 64,
    "epochs": 15,
    "evaluations": 5,
    # The order of the sentences keeps every prefix of the corpus at the true probabilities; random held-out
    # sentences would disturb them.
    "held_out_from": "end",
}
STORIES = 3000
PROMPTS = 60
SHOWN_WORDS = 4
# The deciding word is up to 16 words back. A gated cell learns that in about 20 epochs.
MOVED: dict[str, Any] = MEALS | {"cell": "lstm", "epochs": 30, "held_out_from": "auto"}


def meals_model(
    cell: str, sentences: list[str], seed: int = 0, fit: Fit = LanguageModel.fit
) -> LanguageModel:
    """Return a word-level network of this cell that `fit` trained on sentences of the corpus `meals`."""
    # The gates of mingru read only the input of their layer; a second layer lets them depend on the past.
    layers = 2 if cell == "mingru" else 1
    model = LanguageModel(**MEALS | {"cell": cell, "seed": seed, "num_layers": layers})
    return fit(model, "\n".join(sentences) + "\n")


def worst_error(model: LanguageModel, grammar: synthetic_meals.Grammar) -> float:
    """Return the largest distance of a predicted from a true probability, over all contexts."""
    # A word that the list of predictions lacks has the probability 0.
    worst = 0.0
    for context, truth in grammar.contexts():
        predicted = dict(model.predict_next(context, k=len(model.model_.codec.tokens)))
        worst = max(worst, *(abs(predicted.get(food, 0.0) - p) for food, p in truth.items()))
    return worst


def _table(title: str, *columns: str) -> Table:
    numbers = (Column(name, justify="right") for name in columns)
    return Table(Column(Text(title, style="bold")), *numbers, box=None, pad_edge=False)


def _show_predictions(
    console: Console, model: LanguageModel, grammar: synthetic_meals.Grammar
) -> list[JsonObject]:
    """Print the most probable next words beside their true probabilities, and return these rows."""
    truth = grammar.true_probabilities(CONTEXT)
    rows: list[JsonObject] = [
        {"token": token, "probability": probability, "true": truth.get(token, 0.0)}
        for token, probability in model.predict_next(CONTEXT, k=5)
    ]
    table = _table(f"{CONTEXT} __", "predicted", "true")
    table.add_column("")
    for row in rows:
        bar = Text("█" * round(40 * row["probability"]), style="cyan")
        table.add_row(row["token"], f"{row['probability']:.3f}", f"{row['true']:.3f}", bar)
    console.print(table)
    return rows


def _show_why(
    console: Console, model: LanguageModel, grammar: synthetic_meals.Grammar, food: str
) -> None:
    """Print how much each word of the context contributed to a food, beside the true effects."""
    explanation, truth = model.explain(CONTEXT, food), grammar.true_effects(CONTEXT, food)
    table = _table(f"why {food}?", "measured", "true")
    for row in zip(explanation.inputs, explanation.contributions, truth, strict=True):
        table.add_row(row[0], *(f"{effect:+.3f}" for effect in row[1:]))
    console.print(table)
    console.print(
        "(The fall of the log probability when other words that are likely there replace the word.)"
    )


def _fit(path: Path, to_stderr: bool, model: LanguageModel, text: str) -> LanguageModel:
    """Train `model`, write it to the file `path` and show the run."""
    with TrainingDisplay(LanguageDisplay(), to_stderr=to_stderr, output=str(path)) as display:
        model.fit(text, output=path, watch=display.watch)
        if model.stopped_ == "interrupted":
            from elman.training.distributed import Group
            from elman.training.store import Store

            # Delete the checkpoint, so that the next demonstration starts from the beginning.
            Store(path, {}, Group()).clear()
            raise KeyboardInterrupt
        display.finish(model.stopped_, model.card_)
    return model


def _meals(console: Console, folder: Path, seed: int) -> JsonObject:
    """Train on the corpus `meals`, then on a copy with twice as much of one food, and show the new answer."""
    grammar, result = synthetic_meals.Grammar(), JsonObject()
    sentences = grammar.sentences(SENTENCES, seed)
    console.print(
        f"The corpus meals: {SENTENCES:,} sentences of a small grammar with known probabilities,\n"
        f"such as “{sentences[0]}” and “{sentences[1]}”."
    )
    doubled = synthetic_meals.Grammar(("burgers",)), synthetic_meals.double(sentences, "burgers")
    for name, (true, corpus) in {"meals": (grammar, sentences), "burgers": doubled}.items():
        if true is not grammar:
            console.print("\nNow every sentence about burgers occurs twice.")
        path = folder / f"{name}.safetensors"
        model = meals_model("gru", corpus, seed, partial(_fit, path, console.stderr))
        rows, worst = _show_predictions(console, model, true), worst_error(model, true)
        console.print(
            f"Over all {len(true.contexts())} contexts no probability differs by more than "
            f"{worst:.3f} from the true one.\n(In so small a grammar an n-gram model, which only "
            "counts, is as good as any.)"
        )
        if true is grammar:
            _show_why(console, model, true, rows[0]["token"])
        result[name] = {"model": str(path), "predictions": rows, "worst_error": worst}
    before, after = (result[name]["predictions"][0]["token"] for name in ("meals", "burgers"))
    turned = f"turned from {before} to {after}" if before != after else f"stayed {before}"
    console.print(Text(f"The answer {turned}.", style="bold"))
    return result


def _moved(console: Console, folder: Path, seed: int) -> JsonObject:
    """Train on stories and show that the network uses a word that is too far back for an n-gram model."""
    lines = [f"{text} {day}" for text, day in synthetic_stories.stories(STORIES, seed)]
    console.print(f"{STORIES:,} stories such as “{lines[0]}”.")
    path = folder / "moved.safetensors"
    model = LanguageModel(**MOVED | {"seed": seed})
    _fit(path, console.stderr, model, "\n".join(lines) + "\n")
    # Another seed draws stories that the network has not been trained on.
    prompts = synthetic_stories.stories(PROMPTS, seed + 1)
    right = sum(model.predict_next(text, 1)[0][0] == day for text, day in prompts)
    console.print(Text(f"Asked for the last word of {PROMPTS} stories, it knows {right}.", "bold"))
    # Explain the longest story, where the deciding word is furthest back.
    text, day = max(prompts, key=lambda prompt: len(prompt[0]))
    console.print(f"“{text} __” {model.predict_next(text, 1)[0][0]}")
    explanation = model.explain(text, day)
    words = enumerate(zip(explanation.inputs, explanation.contributions, strict=True), 1)
    table = _table(f"why {day}?", "contribution")
    for number, (word, effect) in sorted(words, key=lambda row: -row[1][1])[:SHOWN_WORDS]:
        table.add_row(f"{word} (word {number})", f"{effect:+.3f}")
    console.print(table)
    card = model.card_
    return {
        "model": str(path),
        "right": right,
        "prompts": PROMPTS,
        "loss": card["held_out"]["loss"],
        "ngram_loss": card["ngram"]["loss"],
        "verdict": card["ngram"]["difference"]["verdict"],
    }


def run(folder: Path, *, seconds: float, seed: int, to_stderr: bool) -> JsonObject:
    """Train four networks, write them to `folder`, print what they learned, and return their results."""
    import pydoc_data.topics

    started = time.monotonic()
    # A wrong time is an error before any of the networks is trained.
    english = LanguageOptions(
        level="char", time=seconds, seed=seed
    )  # checks the options before any training
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder}", got=error.strerror) from error
    console = Console(stderr=to_stderr, highlight=False, soft_wrap=True)
    console.rule("1. What comes after “I like to eat”?")
    result = _meals(console, folder, seed)
    console.rule("2. On which day is the test?")
    result["moved"] = _moved(console, folder, seed)
    console.rule("3. English, character by character")
    console.print(f"Python's own manual, {duration(seconds)} of training.")
    path = folder / "manual.safetensors"
    manual = "".join(text for _, text in sorted(pydoc_data.topics.topics.items()))
    model = _fit(path, to_stderr, LanguageModel(**asdict(english)), manual)
    text = model.generate("The ", n=400, temperature=0.7, seed=seed)
    console.print(Text("The " + visible(text), style="italic"))
    loss = model.card_["held_out"]["loss"]
    result["manual"] = {"model": str(path), "held_out_loss": loss, "text": "The " + text}
    result["seconds"] = round(time.monotonic() - started, 1)
    console.rule(f"done in {duration(result['seconds'])}")
    console.print(f'Now: elman predict {folder / "meals.safetensors"} "{CONTEXT}"')
    return result
