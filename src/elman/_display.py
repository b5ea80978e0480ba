"""What the command shows a person: the data report, the progress line, tables, text as it comes."""

from __future__ import annotations

import os
import sys
import time
import unicodedata
from collections.abc import Iterable
from typing import Any, TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

__all__ = [
    "TrainingDisplay",
    "describe_installation",
    "describe_model",
    "duration",
    "print_facts",
    "print_predictions",
    "visible",
    "write_text",
]

PLAIN_SECONDS = 15.0
"""Time between two progress lines where the output is no terminal."""

_UNIT = {"char": "character", "word": "word"}


def visible(text: str) -> str:
    r"""Return `text` with control characters but line breaks and tabs shown as U+FFFD.

    A text may hold escape sequences that would steer a terminal.

    >>> visible("a\x1b[2Jb")
    'a\ufffd[2Jb'
    """
    return "".join(
        "\ufffd"
        if unicodedata.category(character) in ("Cc", "Cs") and character not in "\n\t"
        else character
        for character in text
    )


def duration(seconds: float) -> str:
    """Return a span of time as a person reads it.

    >>> duration(5.04), duration(125), duration(7384)
    ('5.0 s', '2:05 min', '2:03:04 h')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02} h" if hours else f"{minutes}:{rest:02} min"


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def write_text(pieces: Iterable[str]) -> None:
    """Write pieces of text to standard output as they come; control characters only to a file."""
    terminal = sys.stdout.isatty()
    for piece in pieces:
        safe = piece.encode("utf-8", "replace").decode() if not terminal else visible(piece)
        sys.stdout.write(safe)
        sys.stdout.flush()


def print_predictions(text: str, predictions: list[tuple[str, float]]) -> None:
    """Print the predicted tokens as a table with bars."""
    table = Table(show_header=False, box=None, pad_edge=False)
    for column in ({}, {"justify": "right"}, {}):
        table.add_column(**column)  # type: ignore[arg-type]
    for token, probability in predictions:
        name = "line end" if token == "\n" else "space" if token == " " else visible(token)
        table.add_row(
            Text(name), f"{probability:.3f}", Text("█" * round(40 * probability), style="cyan")
        )
    console = Console(highlight=False)
    console.print(Text(f"{visible(text)} …", style="bold"))
    console.print(table)


def _facts_table(facts: dict[str, Any]) -> Table:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in facts.items():
        if isinstance(value, dict):
            value = ", ".join(
                f"{key} {_number(part)}" for key, part in value.items() if part is not None
            )
        elif isinstance(value, list | tuple):
            value = ", ".join(map(str, value))
        table.add_row(name.replace("_", " "), Text(visible(str(_number(value)))))
    return table


def _number(value: Any) -> Any:
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e6 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else value


def print_facts(facts: dict[str, Any]) -> None:
    """Print facts by name."""
    Console(highlight=False).print(_facts_table(facts))


def describe_model(path: str) -> dict[str, Any]:
    """Return what the file at `path` holds: its size, configuration and card."""
    from dataclasses import asdict

    from elman.model import Model

    model = Model.load(path)
    card = {name: value for name, value in model.card.items() if name != "identity"}
    return {
        "file": path,
        "bytes": os.path.getsize(path),
        "parameters": model.parameter_count,
        "level": model.codec.level,
        "documents": model.codec.documents,
        "network": asdict(model.config),
        **card,
    }


def describe_installation() -> dict[str, Any]:
    """Return versions and machine, which kernel runs or why none, and which optional parts are there."""
    import platform
    from importlib import metadata

    from elman import _native
    from elman._version import __version__

    def installed(name: str) -> str:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            return 'not installed: pip install "elman[train]"'

    return {
        "elman": __version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "kernel": _native.isa() or f"none: {_native.why_not()}",
        "instruction_sets": list(_native.kernels()),
        "threads": _native.threads(),
        "runtime": f"numpy {metadata.version('numpy')}",
        "torch": installed("torch"),
        "scikit_learn": installed("scikit-learn"),
    }


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Go on in silence: a reader that has gone does not end the training."""
        self.quiet = True
        # or Python would try to write what is left when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


class TrainingDisplay:
    """Shows the events of a training run: one live line on a terminal, plain lines elsewhere."""

    def __init__(self, *, to_stderr: bool, output: str) -> None:
        stream: TextIO = sys.stderr if to_stderr else sys.stdout
        alone = os.environ.get("WORLD_SIZE", "1") == "1"
        self.leads = alone or os.environ.get("RANK", "0") == "0"
        self.console = _Console(file=stream, highlight=False, soft_wrap=True, quiet=not self.leads)
        self.output = output
        self.live: Live | None = None
        self.unit = "token"
        self.held_out: float | None = None
        self.printed = time.monotonic()

    def __enter__(self) -> TrainingDisplay:
        self.say("reading the text …")
        return self

    def __exit__(self, *_: object) -> None:
        if self.live is not None:
            self.live.stop()

    def say(self, line: str, style: str = "") -> None:
        """Print a line above the live one."""
        self.console.print(Text(visible(line), style=style))

    def watch(self, event: dict[str, Any]) -> None:
        """Show one event."""
        getattr(self, f"_{event['event']}")(event)

    def _start(self, event: dict[str, Any]) -> None:
        self.unit = _UNIT[event["level"]]
        data, held_out, network, plan = (
            event[name] for name in ("data", "held_out", "network", "plan")
        )
        cell = network["cell"] + (f"/{network['activation']}" if network["cell"] == "rnn" else "")
        tokens = f", {data['tokens']:,} words" if event["level"] == "word" else ""
        budget = (
            f"{duration(plan['time'])}"
            if plan["time"] is not None
            else f"{plan['steps']:,} steps"
            if plan["steps"]
            else f"{plan['epochs']:g} epochs"
        )
        machine = event["device"] + (
            f", {event['processes']} processes"
            if event["processes"] > 1
            else f", {_count(event['threads'], 'thread')}"
        )
        facts = {
            "text": ", ".join(
                [
                    *([_count(data["files"], "file")] if data["encodings"] else []),
                    _size(data["bytes"]),
                    *data["encodings"],
                    f"{data['characters']:,} characters{tokens}",
                ]
            ),
            "vocabulary": f"{event['vocabulary']:,} {self.unit}s; "
            f"<unk> {_share(data)} in training, "
            f"{_share(held_out)} held out" + _examples(held_out),
            "split": f"{data['tokens']:,} {self.unit}s to train on, "
            f"{held_out['tokens']:,} held out: "
            f"{held_out['split']}",
            "network": f"{cell}, {network['num_layers']} × {network['hidden_size']} units, "
            f"{event['parameters']:,} parameters{', tied' if network['tied'] else ''}, "
            f"about {_size(event['memory_bytes'])} of memory in training",
            "training": f"{budget} on {machine}; {plan['batch_size']} × {plan['sequence_length']} "
            f"{self.unit}s a step, rate {plan['learning_rate']:g}, dropout {plan['dropout']:g}",
        }
        self.console.print(_facts_table(facts))
        for warning in (*data["warnings"], *held_out["warnings"]):
            self.say(f"warning: {warning}", "yellow")
        if self.console.is_terminal and self.leads:
            self.live = Live(Text("starting …"), console=self.console, transient=True)
            self.live.start()

    def _warning(self, event: dict[str, Any]) -> None:
        self.say(f"warning: {event['text']}", "yellow")

    def _resume(self, event: dict[str, Any]) -> None:
        self.say(f"going on from step {event['step']:,}")

    def _steps(self, event: dict[str, Any]) -> None:
        left = event["seconds_left"]
        held_out = f" · held out {self.held_out:.3f}" if self.held_out is not None else ""
        line = (
            f"{100 * event['share_done']:3.0f} % · step {event['step']:,}"
            f" · loss {event['loss']:.3f}{held_out}"
            f" · {event['tokens_per_second']:,.0f} {self.unit}s/s"
            + (f" · {duration(left)} left" if left is not None else "")
        )
        if self.live is not None:
            self.live.update(Text(line, style="cyan"))
        elif time.monotonic() - self.printed > PLAIN_SECONDS:
            self.printed = time.monotonic()
            self.say(line)

    def _evaluation(self, event: dict[str, Any]) -> None:
        self.held_out = event["held_out_loss"]
        best = ", the best so far" if event["best"] else ""
        self.say(
            f"step {event['step']:,}: held-out loss {self.held_out:.4f} nats a {self.unit}{best}",
            "bold",
        )
        for line in visible(event["sample"]).strip().splitlines()[:8]:
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
        if event["stopped"] == "diverged":
            self.say(f"the best network before that is in {self.output}", "bold")

    def finish(self, stopped: str, card: dict[str, Any]) -> None:
        """Say how the run ended, how good the model is, and what to do next; the lead alone does."""
        if not self.leads:
            return
        from elman.runtime import ngram_part, ngram_verdict

        held_out, ngram, training = card["held_out"], card["ngram"], card["training"]
        reason = {
            "budget": "",
            "early": ": no better measurement came any more",
            "interrupted": ": interrupted",
            "complete": ": it had been finished before, there is nothing to resume",
        }[stopped]
        self.say(
            f"{training['steps']:,} steps, {training['epochs']:.2f} epochs in "
            f"{duration(training['seconds'])}{reason}"
        )
        self.say(
            f"held-out loss {held_out['loss']:.4f} nats = {held_out['bits_per_token']:.4f} bits a "
            f"{self.unit}, perplexity {held_out['perplexity']:.4g}",
            "bold",
        )
        beaten = held_out["loss"] < ngram["loss"]
        verdict = ngram_verdict(held_out["loss"], ngram["loss"], ngram["order"], ngram_part(card))
        self.say(verdict, "" if beaten else "yellow")
        size = os.path.getsize(self.output) if os.path.exists(self.output) else 0
        wrote = "there is" if stopped == "complete" else "wrote"
        self.say(f"{wrote} {self.output} ({_size(size)}); now: elman generate {self.output}")
        if stopped == "interrupted":
            self.say("to go on, give the same command with --resume", "bold")


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _share(facts: dict[str, Any]) -> str:
    return f"{100 * facts['unknown'] / max(1, facts['tokens']):.2f} %"


def _examples(facts: dict[str, Any]) -> str:
    examples = facts["unknown_examples"][:4]
    return f" ({', '.join(repr(example) for example in examples)} …)" if examples else ""
