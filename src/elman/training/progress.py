"""The display of a training run: the data report, one live line, the evaluations, and how the run ended."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from elman.training.facts import facts_table
from elman.training.formatting import duration, size, visible
from elman.training.task_display import Facts, TaskDisplay, count

PLAIN_LINE_EVERY_SECONDS = 15.0
"""Time between two progress lines where the output is not a terminal."""
MAX_SAMPLE_LINES = 8

_STAGES = {
    "fold": "training on the next part of cross-validation",
    "measured": "training on the whole training set",
}
_REASONS = {
    "budget": "",
    "early": ": the validation measure stopped improving",
    "interrupted": ": interrupted",
    "complete": ": this run had finished before, so there is nothing to resume",
}


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Continue without output, so that a closed pipe does not end the training."""
        self.quiet = True
        # Python would try to write the rest of the buffer at its end, and fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


class TrainingDisplay:
    """Shows the events of a training run: one live line on a terminal, plain lines elsewhere."""

    def __init__(
        self,
        task: TaskDisplay,
        *,
        to_stderr: bool,
        output: str | None,
        wording: Callable[[str], str] = str,
    ) -> None:
        """Show a run of `task`.

        Args:
            task: The task's words about its runs.
            to_stderr: Print to standard error, not to standard output.
            output: The model's file, None where the run writes no file.
            wording: Is applied to every line, to name options as the person types them.
        """
        stream: TextIO = sys.stderr if to_stderr else sys.stdout
        # Of the processes that torchrun starts, only the first one prints.
        alone = os.environ.get("WORLD_SIZE", "1") == "1"
        self.leads = alone or os.environ.get("RANK", "0") == "0"
        self.console = _Console(file=stream, highlight=False, soft_wrap=True, quiet=not self.leads)
        self.task, self.output, self.wording = task, output or "", wording
        self.live: Live | None = None
        self.validation_loss: float | None = None
        self.printed = time.monotonic()

    def __enter__(self) -> TrainingDisplay:
        self.say("reading the data …")
        return self

    def __exit__(self, *_: object) -> None:
        if self.live is not None:
            self.live.stop()

    def say(self, line: str, style: str = "") -> None:
        """Print a line, above the live line where there is one."""
        self.console.print(Text(visible(self.wording(line)), style=style))

    def watch(self, event: Facts) -> None:
        """Show one event of the trainer."""
        getattr(self, f"_show_{event['event']}")(event)

    def _show_start(self, event: Facts) -> None:
        self.task.start(event)
        training = {"training": _training_fact(event, self.task)}
        before = {"trained before": _history_fact(event["history"])} if event["history"] else {}
        self.console.print(facts_table(self.task.data_facts(event) | before | training))
        for note in self.task.notes(event):
            self.say(f"{self.task.note.text}: {note}", self.task.note.style)
        if self.console.is_terminal and self.leads:
            self.live = Live(Text("starting …"), console=self.console, transient=True)
            self.live.start()

    def _show_warning(self, event: Facts) -> None:
        self.say(f"warning: {event['text']}", "yellow")

    def _show_resume(self, event: Facts) -> None:
        self.say(f"resuming from step {event['step']:,}")

    def _show_stage(self, event: Facts) -> None:
        self.validation_loss = None
        stage = _STAGES.get(event["next"], "training again on all data, the held-out part included")
        steps = f", for {count(event['steps'], 'step')}" if event["steps"] else ""
        self.say(stage + steps)

    def _show_steps(self, event: Facts) -> None:
        left = event["seconds_left"]
        loss = "" if self.validation_loss is None else f" · validation {self.validation_loss:.3f}"
        # The unit is part of the name, such as tokens_per_second.
        speed = next(value for name, value in event.items() if name.endswith("s_per_second"))
        line = (
            f"{100 * event['share_done']:3.0f} % · step {event['step']:,}"
            f" · loss {event['loss']:.3f}{loss}"
            f" · {speed:,.0f} {self.task.unit}s/s"
            + (f" · {duration(left)} left" if left is not None else "")
        )
        if self.live is not None:
            self.live.update(Text(line, style="cyan"))
        elif time.monotonic() - self.printed > PLAIN_LINE_EVERY_SECONDS:
            self.printed = time.monotonic()
            self.say(line)

    def _show_evaluation(self, event: Facts) -> None:
        self.validation_loss = event["held_out_loss"]
        if self.validation_loss is None:  # this stage trains on all data
            return
        best = ", the best so far" if event["best"] and event["step"] else ""
        loss = f"validation loss {self.validation_loss:.4f}{self.task.per_unit}"
        when = f"step {event['step']:,}" if event["step"] else "before learning on"
        self.say(f"{when}: {loss}{self.task.metrics(event)}{best}", "bold")
        # A language model shows a text that it generates; other tasks have none.
        sample = visible(event.get("sample", "")).strip()
        for line in sample.splitlines()[:MAX_SAMPLE_LINES]:
            self.say(f"    {line}", "dim")

    def _show_recovery(self, event: Facts) -> None:
        self.say(
            f"warning: at step {event['step']:,} {event['culprit']}; training goes back to step "
            f"{event['back_to_step']:,} with {event['rate_scale']:g} of the learning rate",
            "yellow",
        )

    def _show_end(self, event: Facts) -> None:
        if self.live is not None:
            self.live.stop()
        if event["stopped"] == "diverged" and self.output:
            self.say(f"the best network before that is in {self.output}", "bold")

    def finish(self, stopped: str, card: Facts) -> None:
        """Say how the run ended, how good the model is, and what to do next.

        Args:
            stopped: Why the run ended, as in `Outcome`.
            card: The card of its model; empty in a process that does not lead, which prints nothing.
        """
        if not self.leads:
            return
        training = card["training"]
        steps = f"{count(training['steps'], 'step')}, {training['epochs']:.2f} epochs"
        self.say(f"{steps} in {duration(training['seconds'])}{_REASONS[stopped]}")
        for text, style in self.task.outcome(card):
            self.say(text, style)
        if card.get("history"):
            self.say(
                "how much it forgot of its earlier data is not known; `elman evaluate` measures it"
            )
        if not self.output:
            return
        # bytes; the file may have gone since, for instance to another folder
        length = os.path.getsize(self.output) if os.path.exists(self.output) else 0
        wrote = "the model is" if stopped == "complete" else "wrote"
        command = self.task.next_command(card, self.output)
        self.say(f"{wrote} {self.output} ({size(length)}); now: {command}")
        if stopped == "interrupted":
            self.say("to continue, give the same command with --resume", "bold")


def _history_fact(history: list[Facts]) -> str:
    """Return when the network was trained before, and for how long."""
    last = history[-1]
    steps = f", for {count(last['steps'], 'step')}" if last["steps"] else ""
    date = f" on {last['created'][:10]}" if last["created"] else ""
    return f"{count(len(history), 'time')}, the last time{date}{steps}"


def _training_fact(event: Facts, task: TaskDisplay) -> str:
    """Return budget, machine, batch and learning rate in words."""
    plan = event["plan"]
    if plan["limit"] is not None:
        budget = f"at most {duration(plan['limit'])}, until the validation measure stops improving,"
    elif plan["time"] is not None:
        budget = duration(plan["time"])
        if plan["epochs"] is not None:
            budget += f", or {plan['epochs']:.3g} epochs if these take less time,"
    elif plan["steps"]:
        budget = count(plan["steps"], "step")
    else:
        budget = f"{plan['epochs']:.3g} epoch{'' if plan['epochs'] == 1 else 's'}"
    processes, threads = event["processes"], event["threads"]
    workers = f"{processes} processes" if processes > 1 else count(threads, "thread")
    rate = f"rate {plan['learning_rate']:g}, dropout {plan['dropout']:g}"
    return f"{budget} on {event['device']}, {workers}; {task.batch(plan)} a step, {rate}"
