"""Training of a forecaster: split in time, choice of windows, stages, calibration, test and model card."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from time import monotonic

import numpy as np

from elman.errors import OptionError
from elman.files.model import Model
from elman.series.autoregression_fit import fit_ridge, refit_ridge
from elman.series.calibration import (
    conformal_corrections,
    mean_factor,
    network_share,
    quantile_levels,
    with_share,
)
from elman.series.codec import ForecastCodec
from elman.series.config import ForecastConfig
from elman.series.network_torch import Forecaster
from elman.series.objective import ForecastObjective
from elman.series.options import ForecasterOptions
from elman.series.plan import (
    UNMEASURED_STEPS,
    ForecastPlan,
    first_stage_share,
    forecast_plan,
    members_in_time,
)
from elman.series.report import forecast_report, report_windows
from elman.series.series import SeriesSet
from elman.series.time_split import (
    Origins,
    held_out_steps,
    origins_for_test,
    origins_for_training,
    origins_for_validation,
)
from elman.series.window_choice import choose_rule, usual_change
from elman.tables.scaler import Scaler
from elman.training.checkpoint import Best, StageResult
from elman.training.continuation import few_epochs, small_steps
from elman.training.distributed import Group
from elman.training.journal import JsonObject, Run
from elman.training.plan import Schedule
from elman.training.random import Randomness
from elman.training.recipe import Recipe
from elman.training.trainer import WORST_MEASURE, Outcome, train

MIN_NARROWING_WINDOWS = 50
"""Validation windows without overlap that are needed to make intervals narrower."""
UNTESTED_NOTE = (
    "no values can be held out of series so short: intervals are not calibrated, and the accuracy of the"
    " forecasts is not known"
)


def train_forecaster(
    series: SeriesSet,
    options: ForecasterOptions,
    run: Run,
) -> Outcome:
    """Train a forecaster, calibrated and tested on the held-out end of the series.

    Args:
        series: The series to train on.
        options: The options; None values are chosen from the series.
        run: The files of the run, and the function that watches it.

    Raises:
        DataError: the series are too short to train on.
        OptionError: an option does not fit the series.
        OutputError, ModelFileError: a file cannot be written or resumed.
        DivergedError: the loss became infinite.
    """
    if run.before is not None:
        options = few_epochs(options)
    prepare = partial(_ForecastRecipe.load, series, options, run.before)
    return train(prepare, options, run)


@dataclass
class _ForecastRecipe(Recipe[ForecastObjective]):
    """A run of training, with its data and everything that was chosen from them."""

    options: ForecasterOptions
    plan: ForecastPlan
    config: ForecastConfig
    codec: ForecastCodec
    series: SeriesSet
    held_out: tuple[int, ...]
    """Steps at the end of each series that are held out; 0 if it is too short."""
    begun: float = 0.0
    """The time at which the first stage began, by the clock `monotonic`."""

    @classmethod
    def load(
        cls,
        series: SeriesSet,
        options: ForecasterOptions,
        before: Model[ForecastConfig, ForecastCodec] | None,
        group: Group,
        random: Randomness,
    ) -> _ForecastRecipe:
        lengths = [len(values) for values in series.values]
        if 1 < max(lengths) <= options.horizon:
            expected = f"at most {max(lengths) - 1}: the longest series has {max(lengths)} values"
            raise OptionError("horizon", got=options.horizon, expected=expected)
        if before is not None:
            plan, codec, held_out = _choose_again(series, options, before.codec)
            plan = replace(plan, members=before.config.members)
            config = before.config
            return cls(options, plan, config, codec, group, random, series, held_out, before=before)
        plan, codec, held_out = _choose(series, options)
        config = ForecastConfig(
            task="forecast",
            cell=options.cell,
            activation=options.activation,
            input_size=codec.rule.input_size,
            hidden_size=plan.hidden_size,
            num_layers=plan.num_layers,
            bias=options.bias,
            segment=codec.rule.segment,
            quantiles=len(codec.levels),
            members=plan.members,
        )
        return cls(options, plan, config, codec, group, random, series, held_out)

    def data_identity(self) -> dict[str, str]:
        # Resuming with other series must fail, so the checkpoint keeps a digest of every number.
        digest = hashlib.sha256()
        for name in self.series.ids:
            # A byte that UTF-8 never contains separates the names.
            digest.update(name.encode("utf-8", "surrogatepass") + b"\xff")
        for columns in (self.series.values, self.series.past, self.series.future):
            for array in columns:
                digest.update(np.ascontiguousarray(array).data)
        digest.update(np.ascontiguousarray(self.series.starts).view(np.int64).data)
        digest.update(np.ascontiguousarray(self.series.static).data)
        return {"series": digest.hexdigest()}

    @cached_property
    def validation(self) -> Origins | None:
        """The validation windows; None if no series is long enough."""
        return origins_for_validation(self.series, self.codec, self.held_out)

    @cached_property
    def final_codec(self) -> ForecastCodec:
        """The codec of the last stage, whose linear autoregression is fitted to all values."""
        if self.before is not None:  # the trained network corrects this one
            return self.codec
        return refit_ridge(self.series, self.codec, self.plan)

    def _objective(
        self,
        config: ForecastConfig,
        codec: ForecastCodec,
        held_out: Sequence[int],
        validation: Origins | None,
    ) -> ForecastObjective:
        # Every process starts the same, whatever random numbers an earlier stage drew in it.
        self.random.seed(self.plan.seed)
        plan = self.plan
        # The seed comes before the network, whose weights are drawn from it.
        network = Forecaster(config, codec.rule.horizon, plan.dropout, plan.precision)
        training = origins_for_training(self.series, codec, plan, held_out)
        return ForecastObjective(network, codec.levels, plan, self.group, training, validation)

    def stage(self, earlier: Sequence[StageResult]) -> tuple[ForecastObjective, Schedule]:
        if earlier:  # the last stage trains all members on all values
            last = earlier[0]
            budget = {"steps": last["of"], "stop": last["steps"]}
            time, limit = (None, last["limit"]) if self.plan.is_open else (last["limit"], None)
            plan = replace(self.plan, time=time, limit=limit, epochs=None, evaluations=1, **budget)
            config = replace(self.config, members=last["members"])
            return self._objective(config, self.final_codec, [0] * len(self.held_out), None), plan
        plan, config = self.plan, self.config
        if self.validation is None:  # nothing can choose the best step: it is the last
            plan = replace(plan, evaluations=1)
            if plan.limit is not None:
                plan = replace(plan, steps=UNMEASURED_STEPS)
        elif plan.time is not None and plan.is_open:
            # End when the validation measure stops improving, so that more time is never worse.
            plan = replace(plan, time=None, limit=plan.time)
        if self._has_two_stages():
            # A single network finds out how long to train and how wide the intervals are. Trained members
            # stay together, because the run may end by keeping them.
            config = replace(config, members=1 if self.before is None else plan.members)
            share = first_stage_share(self.options.members or plan.members / config.members)
            if plan.limit is not None and self.options.members is not None:
                plan = replace(plan, limit=plan.limit * share)
            if plan.time is not None:
                plan = replace(plan, time=plan.time * share)
        self.begun = monotonic()
        return self._objective(config, self.codec, self.held_out, self.validation), plan

    def _has_two_stages(self) -> bool:
        return self.validation is not None and self.plan.refit

    def next_stage(
        self, earlier: Sequence[StageResult], best: Best, steps: int
    ) -> StageResult | None:
        if earlier or not self._has_two_stages():
            return None
        members, limit = self.plan.members, self.plan.limit or self.plan.time
        if limit is not None:
            spent = monotonic() - self.begun
            # Clocks of processes differ, so all follow the first one.
            (limit,) = self.group.broadcast([max(1.0, limit - spent)])
            if self.options.members is None:
                (spent,) = self.group.broadcast([spent])
                # Trained members, which the first stage trained together, stay together.
                together = 1 if self.before is None else members
                members = members_in_time(members // together, spent * best.step / steps, limit)
                members *= together
                if not members:
                    return None
        return {"steps": best.step, "of": steps, "members": members, "limit": limit}

    def evaluate(
        self, earlier: Sequence[StageResult], objective: ForecastObjective, best: Best
    ) -> StageResult:
        """Calibrate the `best` network on the validation windows, and measure it on the test windows."""
        if earlier:
            return dict(earlier[0])
        levels = self.codec.levels
        validation = objective.validation
        if validation is None:
            # A new codec corrects nothing; one that learns on keeps its corrections.
            kept = {"corrections": self.codec.corrections.tolist()}
            kept["mean_factor"] = self.codec.mean_factor
            return kept | {"share": 1.0, "held_out": None, "validation": None}
        objective.network.load(best.arrays)
        quantiles, truth, _ = objective.answers(validation)
        share = network_share(quantiles, truth, levels)
        objective.network.load(with_share(best.arrays, share, levels))
        # Windows that overlap in time are not independent evidence.
        only_widen = validation.separate(self.codec.rule.horizon) < MIN_NARROWING_WINDOWS
        quantiles, truth, windows = objective.answers(validation)
        varied = self._has_varied_past(validation)
        corrections = conformal_corrections(quantiles[varied], truth[varied], levels, only_widen)
        tested = origins_for_test(self.series, self.codec, self.held_out)
        held_out = None if tested is None else self._tested(objective, tested, corrections)
        return {
            "corrections": corrections.tolist(),
            "mean_factor": mean_factor(self.codec.rule, windows, quantiles, truth, levels),
            "share": share,
            "held_out": held_out,
            "validation": {"windows": len(validation), "held_out_loss": best.value},
        }

    def _has_varied_past(self, origins: Origins) -> np.ndarray:
        """Return which windows follow a past that varies; a constant past gives no unit to calibrate in."""
        pairs = zip(origins.series.tolist(), origins.origins.tolist(), strict=True)
        pasts = (self.series.values[number][:at] for number, at in pairs)
        return np.array([np.unique(past[np.isfinite(past)]).size > 1 for past in pasts], bool)

    def _tested(
        self, objective: ForecastObjective, tested: Origins, corrections: np.ndarray
    ) -> JsonObject:
        """Return the report of the calibrated forecasts of the test windows."""
        quantiles, _, prepared = objective.answers(tested)
        forecast = self.codec.rule.forecast(prepared, np.sort(quantiles + corrections, axis=2))
        windows = report_windows(self.codec, self.series, tested.series, tested.origins, forecast)
        return forecast_report(windows, self.codec.levels).to_dict()

    def start_facts(self) -> JsonObject:
        lengths = [len(values) for values in self.series.values]
        missing = sum(int(np.isnan(values).sum()) for values in self.series.values)
        return {
            "data": {
                "series": len(lengths),
                "values": sum(lengths),
                "missing": missing,
                "shortest": min(lengths),
                "longest": max(lengths),
                "frequency": self.series.frequency.words,
                "warnings": [*self.series.warnings, *([] if self.validation else [UNTESTED_NOTE])],
            },
            "windows": asdict(self.codec.rule),
            "held_out": {
                "series": sum(map(bool, self.held_out)),
                "steps": max(self.held_out),
                "tested": max(self.held_out) // 2,
            },
        }

    def card_facts(self, best: Best, result: StageResult, refit: bool) -> JsonObject:
        del best  # `result` holds the facts about it
        facts = self.start_facts()
        del facts["data"]["warnings"]
        measured = {name: result[name] for name in ("held_out", "validation")}
        return facts | measured | {"refit": refit}

    def finish(
        self, best: Best, result: StageResult
    ) -> tuple[ForecastConfig, Mapping[str, np.ndarray], ForecastCodec]:
        # The last stage can have fewer members than the plan, as many as the time allowed.
        members = {name.split(".")[1] for name in best.arrays}
        corrections, factor = np.array(result["corrections"]), result["mean_factor"]
        # A last stage that is interrupted before its end keeps the network of the first one.
        is_refit = "members" in result and best.value < WORST_MEASURE
        codec = self.final_codec if is_refit else self.codec
        codec = replace(codec, corrections=corrections, mean_factor=factor)
        arrays = with_share(best.arrays, result["share"], codec.levels)
        return replace(self.config, members=len(members)), arrays, codec


def _choose(
    series: SeriesSet, options: ForecasterOptions
) -> tuple[ForecastPlan, ForecastCodec, tuple[int, ...]]:
    """Return the plan, the codec before calibration, and the steps to hold out of each series.

    The held-out values must not influence the rule, but the number of steps to hold out depends on the rule.
    So the rule is first chosen from all values, to know how many steps to hold out, and then twice without
    them.
    """
    lengths = [len(values) for values in series.values]
    rule, calendar = choose_rule(series, options)
    for _ in range(2):
        plan = forecast_plan(options, rule, lengths)
        held_out = held_out_steps(series, rule.horizon, plan.min_past)
        known = series.before(held_out)
        rule, calendar = choose_rule(known, options)
    # Past covariates of the held-out steps are not known at the origin, so they do not scale the inputs.
    columns = {"past": known.past, "future": series.future, "static": (series.static,)}
    scalers = {
        role: Scaler.of(arrays) if series.names[role] else None for role, arrays in columns.items()
    }
    rule = replace(
        rule,
        # Later values that have no logarithm, or are below 0, still rule out what forecasts could not reach.
        log=rule.log and series.lowest > 0,
        nonnegative=rule.nonnegative and series.lowest >= 0,
        usual=usual_change(known.values, rule),
        past=len(series.names["past"]),
        static=len(series.names["static"]),
        covariates=len(series.names["past"]) + len(series.names["future"]),
    )
    levels = quantile_levels(options.levels)
    codec = ForecastCodec(
        rule,
        levels,
        np.zeros(len(levels)),
        calendar,
        scalers["past"],
        scalers["future"],
        scalers["static"],
        series,
    )
    codec = replace(codec, rule=replace(rule, covariates=codec.covariates))
    codec = fit_ridge(series, codec, plan, held_out)
    return plan, replace(codec, history=codec.trimmed(series)), held_out


def _choose_again(
    series: SeriesSet, options: ForecasterOptions, known: ForecastCodec
) -> tuple[ForecastPlan, ForecastCodec, tuple[int, ...]]:
    """Return plan, codec and held-out steps of a run that trains a network with the codec `known` further.

    Only new values are held out, because the network was trained on the others.
    """
    chosen = options.levels != ForecasterOptions.defaults()["levels"]
    if chosen and (missing := set(quantile_levels(options.levels)) - set(known.levels)):
        expected = "intervals of the model to train further"
        raise OptionError("levels", got=f"new levels such as {min(missing):g}", expected=expected)
    lengths = [len(values) for values in series.values]
    plan = small_steps(forecast_plan(options, known.rule, lengths), options)
    history = dict(zip(known.history.ids, map(len, known.history.values), strict=True))
    added = [n - history.get(name, 0) for name, n in zip(series.ids, lengths, strict=True)]
    # One half of the new values at least is trained on; a single held-out step says nothing.
    wanted = held_out_steps(series, known.rule.horizon, plan.min_past)
    steps = [min(count, new // 2) for count, new in zip(wanted, added, strict=True)]
    return plan, known.after(series), tuple(count if count >= 2 else 0 for count in steps)
