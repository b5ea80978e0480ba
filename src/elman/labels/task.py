"""Classifying, measuring and tagging sequences as tasks of the registry."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from elman.errors import OptionError, needs_torch, warn
from elman.labels.command_options import (
    CategoricalEvaluateOptions,
    LabelEvaluateOptions,
    LabelExplainOptions,
    LabelPredictOptions,
    TrainingFileOptions,
)
from elman.task_types import Answers, LazyClass, Ranking, Reading, Result, Task
from elman.training.options import Options, Values

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from elman.labels.dataset import Sequences
    from elman.labels.examples import LabelledSequences
    from elman.labels.options import LabelledOptions
    from elman.labels.predictor import (
        ClassifierPredictor,
        LabelPredictor,
        RegressorPredictor,
        TaggerPredictor,
    )
    from elman.tables.column_kinds import ColumnKinds
    from elman.task_types import Table
    from elman.training.journal import Run
    from elman.training.trainer import Outcome

    Names: TypeAlias = dict[str, list[str | float]]
    """The column that identifies each sequence of a file, under its name; empty for a tag file."""


_MAX_STEP_DIGITS = 8


def _classes(name: str) -> dict[str, str]:
    return {
        "options": f"elman.labels.options:{name}Options",
        "config": "elman.labels.config:SequenceConfig",
        "codec": "elman.labels.codec:SequenceCodec",
        "display": "elman.labels.display:LabelsDisplay",
        "predictor": f"elman.labels.predictor:{name}Predictor",
        "replies": f"elman.labels.replies:{name}Replies",
    }


class _LabelledTask(Task):
    """Members that the three tasks share."""

    panel = "Labels (classify, regress, tag)"
    options: ClassVar[LazyClass[LabelledOptions]] = LazyClass()
    command_options: ClassVar[dict[str, type[Options]]] = {
        "train": TrainingFileOptions,
        "predict": LabelPredictOptions,
        "evaluate": LabelEvaluateOptions,
        "explain": LabelExplainOptions,
    }
    predictor: LabelPredictor

    @classmethod
    def train(cls, files: Sequence[str], values: Values, run: Run) -> Outcome:
        """Train on labelled files; raises the same errors as the `fit` of the task's estimator."""
        with needs_torch():
            from elman.labels.train import train_labelled

        from elman.labels.command_files import columns_of, read_examples
        from elman.labels.examples import RunInputs

        reading = TrainingFileOptions.from_values(values)
        columns = reading.named
        if run.before is not None:
            columns = columns_of(run.before, columns)
        read = partial(read_examples, task=cls.name, columns=columns, reading=reading.how)
        inputs = RunInputs(
            None if reading.valid is None else read(reading.valid),
            None if reading.test is None else read(reading.test),
        )
        return train_labelled(cls.name, read(files), cls.options.from_values(values), run, inputs)

    def read_input(self, file: str, how: Reading) -> Sequences:
        """Return the sequences of a file, read as those of training."""
        from elman.labels.command_files import read_inputs

        return read_inputs(self.predictor, file, {}, how)[0]

    @property
    def _reads_numbers(self) -> bool:
        return self.predictor.model.codec.scaler is not None

    def _text(self, source: str) -> Sequences:
        """Return a text of the command line as the only sequence; a model of numbers needs a table."""
        from elman.labels.dataset import Sequences
        from elman.labels.read import TABLES

        if self._reads_numbers:
            expected = "a table of sequences, whose name ends in " + " ".join(TABLES)
            raise OptionError("what a model of numbers reads", got=source, expected=expected)
        return Sequences.of([source])

    def predict(self, source: str | None, values: Values, *, as_table: bool) -> Answers:
        """Return the answers for a text, or for the sequences of a file."""
        from elman.labels.command_files import read_inputs
        from elman.labels.read import is_table
        from elman.text.input_files import STDIN
        from elman.text.sources import is_file

        options, source = LabelPredictOptions.from_values(values), source or ""
        # a text on the command line may be the name of a file
        # Numbers on standard input are a table; a text on the command line cannot hold any.
        table = source == STDIN or is_table(source) or bool(options.named)
        names = None
        if is_file(source) and (table or not self._reads_numbers):
            sequences, names = read_inputs(self.predictor, source, options.named, options.how)
        else:
            sequences = self._text(source)
        self._warn_of_unknown_tokens(sequences)
        # lines of text have no column that identifies them
        if names is None:
            # A program that reads the answer gets a table, even for a single text.
            return self._answer_texts(sequences, 0 if as_table else options.k)
        answers = self._columns(sequences)
        renamed = {("id" if name in answers else name): ids for name, ids in names.items()}
        return Answers({**renamed, **answers})

    def _answer_texts(self, texts: Sequences, count: int) -> Answers:
        """Return the answers for texts as a table with the texts, or the `count` best for a single text."""
        del count
        return Answers({"text": texts.items, **self._columns(texts)})

    def _columns(self, sequences: Sequences) -> Table:
        """Return the answers as columns: a row for each sequence, or for each step where steps are tagged."""
        raise NotImplementedError

    def _warn_of_unknown_tokens(self, sequences: Sequences) -> None:
        """Warn where most tokens of the sequences are outside the vocabulary of the model."""
        from elman.text.vocabulary import unknown_warning

        warn(unknown_warning(*self.predictor.count_unknown(sequences)))

    def evaluate(self, files: Sequence[str], values: Values) -> Result:
        """Return how good the answers are, beside plain models fitted on the files of ``--train``."""
        from elman.labels.command_files import columns_of, read_examples

        options = LabelEvaluateOptions.from_values(values)
        columns = columns_of(self.predictor.model, options.named)
        read = partial(read_examples, task=self.name, columns=columns, reading=options.how)
        data = read(files)
        self._warn_of_unknown_tokens(data.sequences)
        return self._report(data, read(options.train) if options.train else None, values)

    def _report(
        self, data: LabelledSequences, training: LabelledSequences | None, values: Values
    ) -> Result:
        """Return how good the answers for `data` are, beside plain models fitted on `training`."""
        raise NotImplementedError

    def explain(self, source: str | None, values: Values) -> Result:
        """Return the explanation of the answer for a text, or for one sequence of a file."""
        from elman.engine.shapes import whole_number
        from elman.text.sources import is_file

        options, source = LabelExplainOptions.from_values(values), source or ""
        if is_file(source):
            sequences = self.read_input(source, options.how)
        elif options.row is not None:
            raise OptionError("--row", got="no file", expected="a file of several sequences")
        else:
            sequences = self._text(source)
        if options.row is None and len(sequences) > 1:
            warn([f"row 0 of {len(sequences):,} is explained; --row explains another one"])
        row = whole_number("--row", options.row or 0, 0, len(sequences) - 1)
        of: str | int | None = options.of
        # a tagger takes the number of a step; longer numbers are no steps of a sequence
        if options.of and options.of.isdecimal() and len(options.of) <= _MAX_STEP_DIGITS:
            of = int(options.of)
        how = {"method": options.method, "of": of, "quick": options.quick}
        return Result.of(self.predictor.explain(sequences.items[row], options.target, **how))


class _CategoricalTask(_LabelledTask):
    """A task whose answers are labels, so that confusion and calibration can be drawn."""

    command_options = _LabelledTask.command_options | {"evaluate": CategoricalEvaluateOptions}
    predictor: ClassifierPredictor | TaggerPredictor

    def _report(
        self, data: LabelledSequences, training: LabelledSequences | None, values: Values
    ) -> Result:
        from elman.labels.comparison import measure_label_baselines
        from elman.labels.linear_models import FitSettings

        metric = CategoricalEvaluateOptions.from_values(values).metric
        plain, labels = [], self.predictor.labels
        if training is not None:
            plain = measure_label_baselines(
                training, data, labels, FitSettings(metric=metric or "accuracy")
            )
        report = self.predictor.evaluate(data.sequences, data.targets, beside=plain, metric=metric)
        calibration = partial(report.plot, calibration=True)
        return Result(report, {"plot": report.plot, "plot_calibration": calibration})


class ClassifyTask(_CategoricalTask):
    """A classifier: sequences in, a label for each out."""

    name = "classify"
    classes = _classes("Classifier")

    predictor: ClassifierPredictor

    @classmethod
    def guess(cls, files: Sequence[str], values: Values) -> str:
        """Return the option or the kind of file that suggests labels."""
        for name in ("label", "text"):
            if name in values:
                return f"--{name}"
        return "the file's name" if all(file.lower().endswith(".ts") for file in files) else ""

    @classmethod
    def suggest(cls, kinds: ColumnKinds) -> str:
        """Return options for a table with a column of texts and a column whose values repeat."""
        if kinds.are_series or not kinds.texts:
            return ""
        text = kinds.texts[0]
        labels = [name for name in kinds.distinct if name != text]
        if not labels:
            return ""
        return shlex.join(["--text", text, "--label", min(labels, key=kinds.distinct.__getitem__)])

    def _answer_texts(self, texts: Sequences, count: int) -> Answers:
        if not count or len(texts) != 1:
            return super()._answer_texts(texts, count)
        # [K]
        (shares,) = self.predictor.predict_proba(texts)  # [K]
        names = self.predictor.labels.names
        ranked = sorted(zip(names, shares, strict=True), key=lambda pair: -pair[1])
        return Answers(rankings=[Ranking(texts.items[0], ranked[:count])])

    def _columns(self, sequences: Sequences) -> Table:
        labels, shares = self.predictor.labels, self.predictor.predict_proba(sequences)
        # The shares are [N, K], a row for each sequence and a column for each label.
        best = labels.decode(shares.argmax(axis=1)).tolist()
        columns = {f"p({name})": shares[:, number] for number, name in enumerate(labels.names)}
        return {"label": best, "probability": shares.max(axis=1), **columns}


class RegressTask(_LabelledTask):
    """A regressor: sequences in, a number for each out."""

    name = "regress"
    classes = _classes("Regressor")

    predictor: RegressorPredictor

    def _columns(self, sequences: Sequences) -> Table:
        return {"prediction": self.predictor.predict(sequences)}

    def _report(
        self, data: LabelledSequences, training: LabelledSequences | None, values: Values
    ) -> Result:
        from elman.labels.comparison import measure_number_baselines

        del values
        plain = () if training is None else measure_number_baselines(training, data)
        report = self.predictor.evaluate(data.sequences, data.targets, beside=plain)

        # Draw the predictions over the true numbers only if a picture is asked for.
        def scatter() -> Figure:
            from elman.draw import plots

            return plots.scatter(data.targets, self.predictor.predict(data.sequences))

        return Result(report, {"plot": scatter})


class TagTask(_CategoricalTask):
    """A tagger: sequences in, a tag for every time step out."""

    name = "tag"
    classes = _classes("Tagger")

    predictor: TaggerPredictor

    def _answer_texts(self, texts: Sequences, count: int) -> Answers:
        del count
        return Answers(self._columns(texts))

    def _columns(self, sequences: Sequences) -> Table:
        tags = self.predictor.predict(sequences)
        items = sequences.stepwise().items
        # A row for each time step of each sequence. Sequences of numbers have no tokens to show.
        rows: dict[str, list[str | float]] = {
            "sequence": [number for number, steps in enumerate(tags) for _ in steps],
            "step": [step for steps in tags for step in range(len(steps))],
        }
        if all(isinstance(item, tuple) for item in items):
            rows["token"] = [token for item in items for token in item]
        return rows | {"tag": [tag for steps in tags for tag in steps]}
