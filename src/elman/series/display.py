"""The words of a forecaster's training run for a person."""

from __future__ import annotations

from collections.abc import Iterable

from elman.training.task_display import Facts, Line, TaskDisplay, network_fact, span

_DOUBTS = ("NOT BETTER", "NO DIFFERENCE", "REPEATED")
_SHOWN_INTERVALS = (0.8, 0.95)


class SeriesDisplay(TaskDisplay):
    """Words about a run on series."""

    unit = "window"
    # Most notes tell how the series were read, which is no reason to worry.
    note = Line("note", "dim")

    def data_facts(self, event: Facts) -> dict[str, str]:
        """Return the series, their windows, their split and the network in words."""
        data, rule, held_out = event["data"], event["windows"], event["held_out"]
        missing = f", {data['missing']:,} missing" if data["missing"] else ""
        logarithms = ", logarithms" if rule["log"] else ""
        split = "nothing held out"
        if held_out["series"]:
            validated = held_out["steps"] - held_out["tested"]
            split = (
                f"the last {held_out['steps']:,} values of {held_out['series']:,} series held out: "
                f"{validated:,} to validate, then {held_out['tested']:,} to test"
            )
        return {
            "series": f"{data['series']:,} of {span(data, 'value')}{missing}, {data['frequency']}",
            "windows": f"{rule['window']:,} values to forecast {rule['horizon']:,}, {_season(rule)}, "
            f"{rule['segment']} values a step{logarithms}",
            "split": split,
            "network": network_fact(event),
        }

    def notes(self, event: Facts) -> list[str]:
        """Return notes about how the series were read."""
        return [*event["data"]["warnings"]]

    def outcome(self, card: Facts) -> Iterable[Line]:
        """Return the errors and the coverage on the test set, beside naive forecasts."""
        held_out = card["held_out"]
        if held_out is None:
            short = "the series are too short to hold out values: intervals are not calibrated"
            yield Line(short, "yellow")
            return
        network = held_out["methods"][0]  # the naive forecasts follow it
        coverage = ", ".join(
            f"{100 * interval['level']:g} % interval holds {100 * interval['coverage']:.0f} %"
            for interval in network["intervals"]
            if interval["level"] in _SHOWN_INTERVALS
        )
        errors = (
            f"MAE {network['mae']:.4g}, sMAPE {network['smape']:.3g} %, CRPS {network['crps']:.4g}"
        )
        yield Line(f"test set: {errors}; {coverage}", "bold")
        for sentence in held_out["sentences"]:
            doubted = any(doubt in sentence for doubt in _DOUBTS)
            yield Line(sentence, "yellow" if doubted else "")

    def next_command(self, card: Facts, model: str) -> str:  # noqa: ARG002 - one for all cards
        """Return the command that forecasts the series of the file."""
        return f"elman predict {model}"


def _season(rule: Facts) -> str:
    if rule["season"] <= 1:
        return (
            f"no season repeated, {rule['long_season']} read too"
            if rule["long_season"]
            else "no season"
        )
    also = f" and {rule['long_season']}" if rule["long_season"] else ""
    return f"season {rule['season']}{also}"
