"""The words of a training run on labelled sequences for a person."""

from __future__ import annotations

from collections.abc import Iterable

from elman.training.task_display import Facts, Line, TaskDisplay, count, network_fact, span

_KINDS = {"text": "texts", "tokens": "sequences of tokens", "numbers": "sequences of numbers"}
_COMMANDS = {
    "text": 'elman predict {model} "a text" or a table',
    "tokens": 'elman predict {model} "a text" or a file',
    "numbers": "elman predict {model} a table",
}
_MAX_LABELS = 6
_EVALUATED = ("accuracy", "macro_f1", "macro_recall", "entity_f1", "rmse")
_MEASURES = ("accuracy", "macro_f1", "macro_recall", "entity_f1", "mae", "rmse", "held_out_loss")
_PARTS = {"network": "the recurrent network", "wide": "the linear model beside it"}
_WORDS = {"mae": "MAE", "rmse": "RMSE", "held_out_loss": "loss"}


class LabelsDisplay(TaskDisplay):
    """Words about a run that classifies, tags or regresses sequences."""

    def data_facts(self, event: Facts) -> dict[str, str]:
        """Return the sequences, their split, vocabulary, labels and network in words."""
        data, labels = event["data"], event["labels"]
        lengths = span(data, "character" if data["kind"] == "text" else "step")
        facts = {
            "data": f"{data['sequences']:,} {_KINDS[data['kind']]} of {lengths}",
            "split": f"{data['sequences']:,} sequences to train on; {event['split']}",
        }
        if event["vocabulary"]:
            facts["vocabulary"] = f"{event['vocabulary']:,} tokens"
        if labels:
            listed = ", ".join(labels[:_MAX_LABELS]) + (" …" if len(labels) > _MAX_LABELS else "")
            scheme = f"; they mark entities in {event['scheme']}" if event["scheme"] else ""
            facts["labels"] = f"{len(labels):,}: {listed}{scheme}"
        if event["unlabelled"]:
            texts = f"{event['unlabelled']:,} unlabelled texts"
            facts["pre-training"] = f"{texts}, whose words the network first learns to predict"
        return facts | {"network": network_fact(event)}

    def notes(self, event: Facts) -> list[str]:
        """Return warnings about the sequences and their split."""
        return [*event["warnings"]]

    def metrics(self, event: Facts) -> str:
        """Return the metrics that the task has beside its loss."""
        names = [name for name in _EVALUATED if name in event]
        return "".join(f", {_word(name)} {event[name]:.4g}" for name in names)

    def outcome(self, card: Facts) -> Iterable[Line]:
        """Return the metrics on the test set, beside those of plain models."""
        if card["training"]["improving"]:
            longer = f"try {_longer_budget(card['settings'])}"
            yield Line(f"the network was still improving when the budget ended; {longer}", "yellow")
        # Small data may leave no sequence for a test.
        test = card["held_out"]
        if test is None:
            yield Line(f"no test set: {card['split']}", "yellow")
            return
        listed = ", ".join(f"{_word(name)} {test[name]:.4g}" for name in _MEASURES if name in test)
        yield Line(f"test set, {count(test['sequences'], 'sequence')}: {listed}", "bold")
        if test["parts"]:
            alone = "; ".join(
                f"{_PARTS[name]} {value:.4g}" for name, value in test["parts"].items()
            )
            yield Line(f"{_word(card['metric'])} of each part alone: {alone}")
        if card["refit"]:
            again = (
                "the stored network was then trained again on all sequences, the test set included"
            )
            yield Line(again)
        for plain in card["baselines"]:
            # A model that always answers the majority finds every class where there is only one.
            if "majority" in plain["name"] and plain.get("macro_recall") == 1:
                yield Line("the test set has one class only, so its figures say little", "yellow")
            yield Line(plain["sentence"], "" if plain["verdict"] == "better" else "yellow")

    def next_command(self, card: Facts, model: str) -> str:
        """Return the command that answers for new sequences of the same kind."""
        return _COMMANDS[card["data"]["kind"]].format(model=model)


def _longer_budget(settings: Facts) -> str:
    """Return the option for twice the budget of a run, or for five minutes after a run without one."""
    # A run has at most one of the three budgets.
    if settings["time"] is not None:
        return f"--time {2 * settings['time']:.0f}s"
    # at most one of the budgets is set
    for name in ("steps", "epochs"):
        if settings[name] is not None:
            return f"--{name} {2 * settings[name]:g}"
    return "--time 5m"


def _word(name: str) -> str:
    return _WORDS.get(name, name.replace("_", " ").replace(" f1", " F1"))
