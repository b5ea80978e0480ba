"""How a training run is shown: the data report, one live line, the measurements, and how it ended."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from elman.training.display import duration, facts_table, size, visible

__all__ = ["TrainingDisplay"]

PLAIN_SECONDS = 15.0
"""Time between two progress lines where the output is no terminal."""

_UNIT = {"char": "character", "word": "word"}
_NOW = {
    "language": "elman generate {model}",
    "text": 'elman predict {model} "a text" or a table',
    "tokens": 'elman predict {model} "a text" or a file',
    "numbers": "elman predict {model} a table",
    "forecast": "elman predict {model}",
}


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Go on in silence: a reader that has gone does not end the training."""
        self.quiet = True
        # or Python would try to write what is left when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


class TrainingDisplay:
    """Shows the events of a training run: one live line on a terminal, plain lines elsewhere."""

    def __init__(
        self, *, to_stderr: bool, output: str | None, wording: Callable[[str], str] = str
    ) -> None:
        """Show a run that writes `output`, None where it writes no file.

        Args:
            to_stderr: show it on standard error, not on standard output.
            output: the model's file.
            wording: what names options as the person types them, in every line that is shown.
        """
        stream: TextIO = sys.stderr if to_stderr else sys.stdout
        alone = os.environ.get("WORLD_SIZE", "1") == "1"
        self.leads = alone or os.environ.get("RANK", "0") == "0"
        self.console = _Console(file=stream, highlight=False, soft_wrap=True, quiet=not self.leads)
        self.output, self.wording = output or "", wording
        self.live: Live | None = None
        self.task = "language"
        self.unit = "token"
        self.held_out: float | None = None
        self.printed = time.monotonic()

    def __enter__(self) -> TrainingDisplay:
        self.say("reading the data …")
        return self

    def __exit__(self, *_: object) -> None:
        if self.live is not None:
            self.live.stop()

    def say(self, line: str, style: str = "") -> None:
        """Print a line above the live one."""
        self.console.print(Text(visible(self.wording(line)), style=style))

    def watch(self, event: dict[str, Any]) -> None:
        """Show one event."""
        getattr(self, f"_{event['event']}")(event)

    def _start(self, event: dict[str, Any]) -> None:
        self.task = event["task"]
        describe = {"language": _text_facts, "forecast": _series_facts}
        facts, warnings = describe.get(self.task, _sequence_facts)(event)
        self.unit = {"language": _UNIT.get(event.get("level", ""), "token")}.get(
            self.task, "window" if self.task == "forecast" else "sequence"
        )
        self.console.print(facts_table(facts | {"training": _training_fact(event)}))
        # how series were read is mostly no cause for worry
        kind = "note" if self.task == "forecast" else "warning"
        for warning in warnings:
            self.say(f"{kind}: {warning}", "yellow" if kind == "warning" else "dim")
        if self.console.is_terminal and self.leads:
            self.live = Live(Text("starting …"), console=self.console, transient=True)
            self.live.start()

    def _warning(self, event: dict[str, Any]) -> None:
        self.say(f"warning: {event['text']}", "yellow")

    def _resume(self, event: dict[str, Any]) -> None:
        self.say(f"going on from step {event['step']:,}")

    def _stage(self, event: dict[str, Any]) -> None:
        self.held_out = None
        what = {
            "fold": "now the next part of cross-validation",
            "measured": "now on the whole training set",
        }.get(event["next"], "now anew on all of it, the held-out part too")
        steps = f", for {_count(event['steps'], 'step')}" if event["steps"] else ""
        self.say(what + steps)

    def _steps(self, event: dict[str, Any]) -> None:
        left = event["seconds_left"]
        held_out = f" · validation {self.held_out:.3f}" if self.held_out is not None else ""
        speed = next(value for name, value in event.items() if name.endswith("s_per_second"))
        line = (
            f"{100 * event['share_done']:3.0f} % · step {event['step']:,}"
            f" · loss {event['loss']:.3f}{held_out}"
            f" · {speed:,.0f} {self.unit}s/s"
            + (f" · {duration(left)} left" if left is not None else "")
        )
        if self.live is not None:
            self.live.update(Text(line, style="cyan"))
        elif time.monotonic() - self.printed > PLAIN_SECONDS:
            self.printed = time.monotonic()
            self.say(line)

    def _evaluation(self, event: dict[str, Any]) -> None:
        self.held_out = event["held_out_loss"]
        if self.held_out is None:  # all was trained on
            return
        best = ", the best so far" if event["best"] else ""
        loss = f"validation loss {self.held_out:.4f}"
        if self.task == "language":
            loss += f" nats a {self.unit}"
        for name in ("accuracy", "macro_f1", "macro_recall", "entity_f1", "rmse"):
            if name in event:
                loss += f", {_words(name)} {event[name]:.4g}"
        self.say(f"step {event['step']:,}: {loss}{best}", "bold")
        for line in visible(event.get("sample", "")).strip().splitlines()[:8]:
            self.say(f"    {line}", "dim")

    def _recovery(self, event: dict[str, Any]) -> None:
        self.say(
            f"warning: numbers not finite at step {event['step']:,} ({event['culprit']}); "
            f"back to step {event['back_to_step']:,} at {event['rate_scale']:g} of the rate",
            "yellow",
        )

    def _end(self, event: dict[str, Any]) -> None:
        if self.live is not None:
            self.live.stop()
        if event["stopped"] == "diverged" and self.output:
            self.say(f"the best network before that is in {self.output}", "bold")

    def finish(self, task: str, stopped: str, card: dict[str, Any]) -> None:
        """Say how the run ended, how good the model is, and what to do next; the lead alone does."""
        if not self.leads:
            return
        training = card["training"]
        reason = {
            "budget": "",
            "early": ": no better measurement came any more",
            "interrupted": ": interrupted",
            "complete": ": it had been finished before, there is nothing to resume",
        }[stopped]
        done = f"{_count(training['steps'], 'step')}, {training['epochs']:.2f} epochs"
        self.say(f"{done} in {duration(training['seconds'])}{reason}")
        tell = {"language": self._text_outcome, "forecast": self._series_outcome}
        tell.get(task, self._sequence_outcome)(card)
        if not self.output:
            return
        length = os.path.getsize(self.output) if os.path.exists(self.output) else 0
        wrote = "there is" if stopped == "complete" else "wrote"
        now = _NOW[task if task in _NOW else card["data"]["kind"]].format(model=self.output)
        self.say(f"{wrote} {self.output} ({size(length)}); now: {now}")
        if stopped == "interrupted":
            self.say("to go on, give the same command with --resume", "bold")

    def _text_outcome(self, card: dict[str, Any]) -> None:
        from elman.language.predictor import ngram_outcome, ngram_part, ngram_verdict

        test = card["held_out"]
        if test is None:
            nothing = "nothing was held out to measure on: how good the network is, is not known"
            self.say(nothing, "yellow")
            return
        loss = f"loss {test['loss']:.4f} nats = {test['bits_per_token']:.4f} bits a {self.unit}"
        self.say(f"test set: {loss}, perplexity {test['perplexity']:.4g}", "bold")
        ngram, tested = card["ngram"], ngram_outcome(card)
        beaten = (tested["outcome"] or "better") == "better" and test["loss"] < ngram["loss"]
        verdict = ngram_verdict(
            test["loss"], ngram["loss"], ngram["order"], ngram_part(card), **tested
        )
        self.say(verdict, "" if beaten else "yellow")

    def _sequence_outcome(self, card: dict[str, Any]) -> None:
        if card["training"]["improving"]:
            longer = _longer(card["settings"])
            self.say(f"still improving when the budget ended; {longer} would go on", "yellow")
        measured = card["held_out"]
        if measured is None:
            self.say(f"no test set: {card['split']}", "yellow")
            return
        shown = [f"{_words(name)} {measured[name]:.4g}" for name in _MEASURES if name in measured]
        self.say(f"test set, {measured['sequences']:,} sequences: {', '.join(shown)}", "bold")
        if card["refit"]:
            self.say("the stored network was then trained anew on all sequences, these too")
        for plain in card["baselines"]:
            if "majority" in plain["name"] and plain.get("macro_recall") == 1:
                self.say("the test set has one class alone: it tells little", "yellow")
            self.say(plain["sentence"], "" if plain["verdict"] == "better" else "yellow")

    def _series_outcome(self, card: dict[str, Any]) -> None:
        held_out = card["held_out"]
        if held_out is None:
            self.say("too short to hold out a part: intervals are not calibrated", "yellow")
            return
        network = held_out["methods"][0]
        shown = ", ".join(
            f"{100 * interval['level']:g} % interval holds {100 * interval['coverage']:.0f} %"
            for interval in network["intervals"]
            if interval["level"] in (0.8, 0.95)
        )
        figures = f"MAE {network['mae']:.4g}, sMAPE {network['smape']:.3g} %, "
        figures += f"CRPS {network['crps']:.4g}; {shown}"
        self.say(f"test set: {figures}", "bold")
        for sentence in held_out["sentences"]:
            self.say(sentence, "yellow" if any(map(sentence.__contains__, _DOUBTS)) else "")


_DOUBTS = ("NOT BETTER", "NO DIFFERENCE", "REPEATED")
_MEASURES = ("accuracy", "macro_f1", "macro_recall", "entity_f1", "mae", "rmse", "held_out_loss")


def _longer(settings: Mapping[str, Any]) -> str:
    """Return the option that gives a run twice its budget, or after a run without one five minutes."""
    if settings["time"] is not None:
        return f"--time {2 * settings['time']:.0f}s"
    for name in ("steps", "epochs"):
        if settings[name] is not None:
            return f"--{name} {2 * settings[name]:g}"
    return "--time 5m"


def _words(name: str) -> str:
    known = {"mae": "MAE", "rmse": "RMSE", "held_out_loss": "loss"}
    return known.get(name, name.replace("_", " ").replace(" f1", " F1"))


def _text_facts(event: Mapping[str, Any]) -> tuple[dict[str, str], list[str]]:
    data, unit = event["data"], _UNIT[event["level"]]
    sets = {"validation": event["validation"], "test": event["held_out"]}
    held = {name: facts for name, facts in sets.items() if facts is not None}
    tokens = f", {data['tokens']:,} words" if event["level"] == "word" else ""
    files = [_count(data["files"], "file")] if data["encodings"] else []
    characters = f"{data['characters']:,} characters{tokens}"
    facts = {
        "text": ", ".join([*files, size(data["bytes"]), *data["encodings"], characters]),
        "vocabulary": f"{event['vocabulary']:,} {unit}s; <unk> {_share(data)} in training"
        + "".join(f", {_share(facts)} in the {name} set" for name, facts in held.items())
        + (_examples([*held.values()][-1]) if held else ""),
        "split": f"{data['tokens']:,} {unit}s to train on"
        + "".join(f", {facts['tokens']:,} for {name}" for name, facts in held.items())
        + f": {event['split']}",
        "network": _network_fact(event)
        + f"{', tied' if event['network']['tied'] else ''}, "
        + f"about {size(event['memory_bytes'])} of memory in training",
    }
    warnings = [*data["warnings"], *event["warnings"]]
    return facts, warnings + [note for facts in held.values() for note in facts["warnings"]]


def _sequence_facts(event: Mapping[str, Any]) -> tuple[dict[str, str], list[str]]:
    data, labels = event["data"], event["labels"]
    kinds = {"text": "texts", "tokens": "sequences of tokens", "numbers": "sequences of numbers"}
    facts = {
        "data": f"{data['sequences']:,} {kinds[data['kind']]} of "
        + _range(data, "character" if data["kind"] == "text" else "step"),
        "split": f"{data['sequences']:,} sequences to train on; {event['split']}",
    }
    if event["vocabulary"]:
        facts["vocabulary"] = f"{event['vocabulary']:,} tokens"
    if labels:
        shown = ", ".join(labels[:6]) + (" …" if len(labels) > 6 else "")
        facts["labels"] = f"{len(labels):,}: {shown}"
        if event["scheme"]:
            facts["labels"] += f"; they mark entities in {event['scheme']}"
    facts["network"] = _network_fact(event)
    return facts, event["warnings"]


def _series_facts(event: Mapping[str, Any]) -> tuple[dict[str, str], list[str]]:
    data, rule, held_out = event["data"], event["windows"], event["held_out"]
    season = f"season {rule['season']}" if rule["season"] > 1 else "no season"
    if rule["long_season"] and rule["season"] > 1:
        season += f" and {rule['long_season']}"
    elif rule["long_season"]:
        season += f" repeated, {rule['long_season']} read too"
    missing = f", {data['missing']:,} missing" if data["missing"] else ""
    facts = {
        "series": f"{data['series']:,} of {_range(data, 'value')}{missing}, {data['frequency']}",
        "windows": f"{rule['window']:,} values to forecast {rule['horizon']:,}, {season}, "
        f"{rule['segment']} values a step{', logarithms' if rule['log'] else ''}",
        "split": f"the last {held_out['steps']:,} values of {held_out['series']:,} series held out: "
        f"{held_out['steps'] - held_out['tested']:,} to validate, then {held_out['tested']:,} to test"
        if held_out["series"]
        else "nothing held out",
        "network": _network_fact(event),
    }
    return facts, data["warnings"]


def _network_fact(event: Mapping[str, Any]) -> str:
    network = event["network"]
    cell = network["cell"] + (f"/{network['activation']}" if network["cell"] == "rnn" else "")
    both = ", both ways" if network.get("bidirectional") else ""
    members = f", {network['members']} members" if network.get("members", 1) > 1 else ""
    units = f"{network['num_layers']} × {network['hidden_size']} units"
    return f"{cell}, {units}{both}{members}, {event['parameters']:,} parameters"


def _training_fact(event: Mapping[str, Any]) -> str:
    plan = event["plan"]
    budget = (
        f"at most {duration(plan['limit'])}, until the validation measure stops improving,"
        if plan["limit"] is not None
        else f"{duration(plan['time'])}"
        if plan["time"] is not None
        else _count(plan["steps"], "step")
        if plan["steps"]
        else f"{plan['epochs']:.3g} epoch{'' if plan['epochs'] == 1 else 's'}"
    )
    machine = event["device"] + (
        f", {event['processes']} processes"
        if event["processes"] > 1
        else f", {_count(event['threads'], 'thread')}"
    )
    size_of = f"{plan['batch_size']} sequences"
    if "sequence_length" in plan:
        size_of = f"{plan['batch_size']} × {plan['sequence_length']} {_UNIT[event['level']]}s"
    elif event["task"] == "forecast":
        size_of = f"{plan['batch_size']} windows"
    how = f"rate {plan['learning_rate']:g}, dropout {plan['dropout']:g}"
    return f"{budget} on {machine}; {size_of} a step, {how}"


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _range(data: Mapping[str, Any], noun: str) -> str:
    """Return the shortest and the longest in words, once where they are the same."""
    shortest, longest = data["shortest"], data["longest"]
    return ("" if shortest == longest else f"{shortest:,} to ") + _count(longest, noun)


def _share(facts: Mapping[str, Any]) -> str:
    return f"{100 * facts['unknown'] / max(1, facts['tokens']):.2f} %"


def _examples(facts: Mapping[str, Any]) -> str:
    examples = facts["unknown_examples"][:4]
    return f" ({', '.join(repr(example) for example in examples)} …)" if examples else ""
