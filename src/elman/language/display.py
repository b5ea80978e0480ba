"""The words of a language model's training run for a person."""

from __future__ import annotations

from collections.abc import Iterable

from elman.language.evaluation import NgramComparison
from elman.training.formatting import size
from elman.training.task_display import Facts, Line, TaskDisplay, count, network_fact

_UNITS = {"char": "character", "word": "word"}


class LanguageDisplay(TaskDisplay):
    """Words about a run on text; the unit is a character or a word, by the level of the model."""

    unit = "token"
    per_unit = " nats per token"

    def start(self, event: Facts) -> None:
        """Remember the level of the model."""
        self.unit = _UNITS[event["level"]]
        self.per_unit = f" nats per {self.unit}"

    def data_facts(self, event: Facts) -> dict[str, str]:
        """Return the text, the vocabulary, the split and the network in words."""
        data, held = event["data"], _held_out(event)
        tokens = f", {data['tokens']:,} words" if event["level"] == "word" else ""
        files = [count(data["files"], "file")] if data["encodings"] else []
        characters = f"{data['characters']:,} characters{tokens}"
        unknown = "".join(f", {_unknown(facts)} in the {name} set" for name, facts in held.items())
        examples = _examples([*held.values()][-1]) if held else ""
        sizes = "".join(f", {facts['tokens']:,} for {name}" for name, facts in held.items())
        tied = ", tied" if event["network"]["tied"] else ""
        memory = f", about {size(event['memory_bytes'])} of memory in training"
        return {
            "text": ", ".join([*files, size(data["bytes"]), *data["encodings"], characters]),
            "vocabulary": f"{event['vocabulary']:,} {self.unit}s; <unk> {_unknown(data)} in training"
            + unknown
            + examples,
            "split": f"{data['tokens']:,} {self.unit}s to train on{sizes}: {event['split']}",
            "network": network_fact(event) + tied + memory,
        }

    def notes(self, event: Facts) -> list[str]:
        """Return warnings about the texts and their split."""
        # Each set may be of another encoding or mostly unknown, so each has warnings of its own.
        held = [note for facts in _held_out(event).values() for note in facts["warnings"]]
        return [*event["data"]["warnings"], *event["warnings"], *held]

    def batch(self, plan: Facts) -> str:
        """Return the size of a batch in words."""
        return f"{plan['batch_size']} × {plan['sequence_length']} {self.unit}s"

    def outcome(self, card: Facts) -> Iterable[Line]:
        """Return the loss on the test set, beside that of an n-gram model."""
        test = card["held_out"]
        if test is None:
            yield Line("no text was held out, so the quality of the network is unknown", "yellow")
            return
        loss = f"loss {test['loss']:.4f} nats = {test['bits_per_token']:.4f} bits per {self.unit}"
        yield Line(f"test set: {loss}, perplexity {test['perplexity']:.4g}", "bold")
        comparison = NgramComparison(**NgramComparison.fields_of(card))
        yield Line(comparison.verdict, "" if comparison.beats_ngram else "yellow")

    def next_command(self, card: Facts, model: str) -> str:  # noqa: ARG002 - one for all cards
        """Return the command that writes text with the model."""
        return f"elman generate {model}"


def _held_out(event: Facts) -> dict[str, Facts]:
    """Return the facts of the validation and test sets that there are, by name."""
    sets = {"validation": event["validation"], "test": event["held_out"]}
    return {name: facts for name, facts in sets.items() if facts is not None}


def _unknown(facts: Facts) -> str:
    # An empty set has no unknown tokens.
    return f"{100 * facts['unknown'] / max(1, facts['tokens']):.2f} %"


def _examples(facts: Facts) -> str:
    examples = facts["unknown_examples"][:4]
    return f" ({', '.join(repr(example) for example in examples)} …)" if examples else ""
