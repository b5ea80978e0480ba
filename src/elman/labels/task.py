"""Classifying, measuring and tagging sequences as tasks of the registry."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from elman.errors import DataError, OptionError, warn
from elman.labels.options import (
    ClassifierOptions,
    LabelledOptions,
    RegressorOptions,
    TaggerOptions,
)
from elman.task_types import (
    Answers,
    Columns,
    Evaluated,
    EvaluateRequest,
    ExplainRequest,
    PredictRequest,
    Ranking,
    Reading,
    TrainingFiles,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from elman.explain.explanation import Explanation
    from elman.files.model import Model
    from elman.files.model_types import ModelTypes
    from elman.inspect.replies import Replies
    from elman.labels.examples import LabelledSequences
    from elman.labels.predictor import ClassifierPredictor, RegressorPredictor, TaggerPredictor
    from elman.tables.column_kinds import ColumnKinds
    from elman.training.journal import Run
    from elman.training.task_display import TaskDisplay
    from elman.training.trainer import Outcome


P = TypeVar("P", "ClassifierPredictor", "RegressorPredictor", "TaggerPredictor")
C = TypeVar("C", "ClassifierPredictor", "TaggerPredictor")

_NEEDS_TABLE = "a table, whose name ends in "


class _LabelledTask(Generic[P]):
    """Members that the three tasks share; `P` is the class of the predictor."""

    name: str
    panel = "Labels (classify, regress, tag)"
    column_options: tuple[str, ...] = ("text", "label", "columns", "id_column", "time_column")
    trains_on_held_out_files = True
    predict_options = frozenset[str]()
    explain_options = frozenset({"row"})

    def model_types(self) -> ModelTypes:
        """Return the classes of the configuration and the codec in a model file."""
        from elman.labels.codec import SequenceCodec
        from elman.labels.config import SequenceConfig

        return SequenceConfig, SequenceCodec

    def predictor_type(self) -> type[P]:
        """Return the class that answers with a model."""
        raise NotImplementedError

    def replies_type(self) -> type[Replies]:
        """Return the class that answers the server's requests with a predictor."""
        raise NotImplementedError

    def display(self) -> TaskDisplay:
        """Return the words of the task about its training runs."""
        from elman.labels.display import LabelsDisplay

        return LabelsDisplay()

    def open(self, model: Model, storage: str) -> P:
        """Return a predictor; raises OptionError where `storage` is not "float32"."""
        return self.predictor_type()(model, storage)

    def guess(self, files: Sequence[str], options: Mapping[str, Any]) -> str:
        """Return ""; a command suggests labels only as the task "classify"."""
        del files, options
        return ""

    def suggest(self, kinds: ColumnKinds) -> str:
        """Return ""; a table suggests labels only as the task "classify"."""
        del kinds
        return ""

    def train(
        self,
        data: TrainingFiles,
        options: LabelledOptions,
        run: Run,
    ) -> Outcome:
        """Train on labelled files; raises as the `fit` of the task's estimator."""
        from elman.training.estimator import needs_torch

        with needs_torch():
            from elman.labels.train import train_labelled

        from elman.labels.command_files import read_examples
        from elman.labels.examples import RunInputs

        read = partial(read_examples, task=self.name, columns=data.columns, reading=data.reading)
        inputs = RunInputs(
            None if data.valid is None else read(data.valid),
            None if data.test is None else read(data.test),
        )
        return train_labelled(self.name, read(data.files), options, run, inputs)

    def read_input(self, predictor: P, file: str, reading: Reading) -> Any:
        """Return the sequences of a file, read as those of training."""
        from elman.text.input_files import rereadable_file

        with rereadable_file(file) as (path, name):
            return self._read_file(predictor, path, name, {}, reading)[0]

    def _read_file(
        self, predictor: P, path: str, name: str, columns: Columns, reading: Reading
    ) -> tuple[Any, dict[str, list[Any]] | None]:
        """Return the sequences of a file, and a column that identifies them; None for lines of text.

        The column is as in `read_named_sequences`, and empty for a tag file. A file counts as a table by its
        name, by an option that names a column, or by its first line.
        """
        from elman.labels.command_files import begins_table, columns_of, read_named_sequences
        from elman.labels.read import is_table
        from elman.text.labelled_lines import read_lines

        places = columns_of(predictor, columns)
        names_a_table = is_table(name) or bool(columns)
        known = [value for value in places.values() if isinstance(value, str)]
        numeric = predictor.model.codec.scaler is not None
        if not (names_a_table or numeric or begins_table(path, known, reading["encoding"])):
            return self._read_lines(predictor, read_lines(path, reading["encoding"], name=name))
        return read_named_sequences(self.name, path, name, places, reading)

    def _read_lines(
        self, predictor: P, lines: list[str]
    ) -> tuple[Any, dict[str, list[Any]] | None]:
        """Return the sequences of a plain text file, and None: it has no column that identifies them."""
        del predictor
        return lines, None

    def predict(self, predictor: P, request: PredictRequest) -> Answers:
        """Return the answers for a text, or for the sequences of a file."""
        from elman.labels.read import TABLES, is_table
        from elman.text.arguments import is_file
        from elman.text.input_files import STDIN, rereadable_file

        source = request.source or ""
        from_file = is_file(source)
        table = source == STDIN or is_table(source) or (from_file and bool(request.columns))
        if predictor.model.codec.scaler is not None and not table:
            expected = _NEEDS_TABLE + " ".join(TABLES)
            raise OptionError("what a model of numbers reads", got=source, expected=expected)
        sequences: Any = [source]
        names: dict[str, list[Any]] | None = None
        if from_file:
            with rereadable_file(source) as (path, name):
                read = self._read_file(predictor, path, name, request.columns, request.reading)
                sequences, names = read
        _warn_of_unknown_tokens(predictor, sequences)
        if names is None:
            return self._answer_texts(predictor, [*sequences], request)
        return Answers(self._named_columns(names, self._columns(predictor, sequences)))

    def _answer_texts(self, predictor: P, texts: list[str], request: PredictRequest) -> Answers:
        """Return the answers for texts, as a table with the texts."""
        del request
        return Answers({"text": texts} | self._columns(predictor, texts))

    def _columns(self, predictor: P, sequences: Any) -> dict[str, Any]:
        """Return the answers as columns: a row for each sequence, or for each step where steps are tagged."""
        raise NotImplementedError

    def _named_columns(
        self, names: dict[str, list[Any]], answers: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the columns of answers after the column that identifies their sequences."""
        return {"id" if name in answers else name: ids for name, ids in names.items()} | answers

    def explain(self, predictor: P, request: ExplainRequest) -> Explanation:
        """Return the explanation of the answer for a text, or for one sequence of a file."""
        from elman.labels.read import TABLES
        from elman.text.arguments import is_file

        source = request.source or ""
        what: Any = source
        if is_file(source):
            what = _one_sequence(self.read_input(predictor, source, request.reading), request)
        elif request.row is not None:
            raise OptionError("--row", got="no file", expected="a file of several sequences")
        elif predictor.model.codec.scaler is not None:
            expected = "a table of sequences, whose name ends in " + " ".join(TABLES)
            raise OptionError("what a model of numbers reads", got=source, expected=expected)
        return predictor.explain(what, request.target, **request.options)

    def _read(
        self, predictor: P, files: Sequence[str], request: EvaluateRequest
    ) -> LabelledSequences:
        """Return the examples in files of ``evaluate``."""
        from elman.labels.command_files import columns_of, read_examples

        columns = columns_of(predictor, request.columns)
        examples = read_examples(files, self.name, columns, request.reading)
        _warn_of_unknown_tokens(predictor, examples.sequences)
        return examples


class _CategoricalTask(_LabelledTask[C], Generic[C]):
    """A task whose answers are labels, so that confusion and calibration can be drawn."""

    evaluate_options = frozenset({"train", "metric", "plot", "plot_calibration"})

    def evaluate(self, predictor: C, request: EvaluateRequest) -> Evaluated:
        """Return how good the labels are, beside plain models fitted on the files of ``--train``."""
        from elman.labels.baselines import measure_label_baselines

        data, plain = self._read(predictor, request.files, request), []
        if request.train is not None:
            metric = request.metric or "accuracy"
            plain = measure_label_baselines(
                self._read(predictor, request.train, request),
                data,
                predictor.labels,
                "balanced" if metric == "macro_recall" else None,
                metric=metric,
            )
        report = predictor.evaluate(
            data.sequences, data.targets, beside=plain, metric=request.metric
        )
        pictures = {
            "plot": report.plot,
            "plot_calibration": lambda: report.plot(calibration=True),
        }
        return Evaluated(report, pictures)


class ClassifyTask(_CategoricalTask["ClassifierPredictor"]):
    """A classifier: sequences in, a label for each out."""

    name = "classify"
    options = ClassifierOptions

    def predictor_type(self) -> type[ClassifierPredictor]:
        """Return `ClassifierPredictor`."""
        from elman.labels.predictor import ClassifierPredictor

        return ClassifierPredictor

    def replies_type(self) -> type[Replies]:
        """Return `ClassifierReplies`."""
        from elman.labels.replies import ClassifierReplies

        return ClassifierReplies

    def guess(self, files: Sequence[str], options: Mapping[str, Any]) -> str:
        """Return the option or the kind of file that suggests labels."""
        for name in ("label", "text"):
            if name in options:
                return f"--{name}"
        return "the file's name" if all(file.lower().endswith(".ts") for file in files) else ""

    def suggest(self, kinds: ColumnKinds) -> str:
        """Return options for a table with a column of texts and a column whose values repeat."""
        if kinds.are_series or not kinds.texts:
            return ""
        text = kinds.texts[0]
        labels = [name for name in kinds.distinct if name != text]
        if not labels:
            return ""
        return shlex.join(["--text", text, "--label", min(labels, key=kinds.distinct.__getitem__)])

    def _answer_texts(
        self, predictor: ClassifierPredictor, texts: list[str], request: PredictRequest
    ) -> Answers:
        if request.as_table or len(texts) != 1:
            return super()._answer_texts(predictor, texts, request)
        (shares,) = predictor.predict_proba(texts)
        ranked = sorted(zip(predictor.labels.names, shares, strict=True), key=lambda pair: -pair[1])
        return Answers(rankings=[Ranking(texts[0], ranked[: request.count])])

    def _columns(self, predictor: ClassifierPredictor, sequences: Any) -> dict[str, Any]:
        shares = predictor.predict_proba(sequences)
        best = shares.argmax(axis=1)
        labels = {
            "label": predictor.labels.decode(best).tolist(),
            "probability": shares.max(axis=1),
        }
        names = enumerate(predictor.labels.names)
        return labels | {f"p({name})": shares[:, number] for number, name in names}


class RegressTask(_LabelledTask["RegressorPredictor"]):
    """A regressor: sequences in, a number for each out."""

    name = "regress"
    options = RegressorOptions
    evaluate_options = frozenset({"train", "plot"})

    def predictor_type(self) -> type[RegressorPredictor]:
        """Return `RegressorPredictor`."""
        from elman.labels.predictor import RegressorPredictor

        return RegressorPredictor

    def replies_type(self) -> type[Replies]:
        """Return `RegressorReplies`."""
        from elman.labels.replies import RegressorReplies

        return RegressorReplies

    def _columns(self, predictor: RegressorPredictor, sequences: Any) -> dict[str, Any]:
        return {"prediction": predictor.predict(sequences)}

    def evaluate(self, predictor: RegressorPredictor, request: EvaluateRequest) -> Evaluated:
        """Return how good the numbers are, beside plain models fitted on the files of ``--train``."""
        from elman.labels.baselines import measure_number_baselines

        data, plain = self._read(predictor, request.files, request), []
        if request.train is not None:
            training = self._read(predictor, request.train, request)
            plain = measure_number_baselines(training, data)
        report = predictor.evaluate(data.sequences, data.targets, beside=plain)

        def scatter() -> Figure:
            from elman.draw import plots

            return plots.scatter(data.targets, predictor.predict(data.sequences))

        return Evaluated(report, {"plot": scatter})


class TagTask(_CategoricalTask["TaggerPredictor"]):
    """A tagger: sequences in, a tag for every time step out."""

    name = "tag"
    options = TaggerOptions

    def predictor_type(self) -> type[TaggerPredictor]:
        """Return `TaggerPredictor`."""
        from elman.labels.predictor import TaggerPredictor

        return TaggerPredictor

    def replies_type(self) -> type[Replies]:
        """Return `TaggerReplies`."""
        from elman.labels.replies import TaggerReplies

        return TaggerReplies

    def _read_lines(
        self, predictor: TaggerPredictor, lines: list[str]
    ) -> tuple[Any, dict[str, list[Any]] | None]:
        """Return the sequences of a tag file, or of a text file with one sentence in each line."""
        from elman.labels.command_files import columns_of
        from elman.labels.conll import is_tag_file, read_tags

        if not is_tag_file(lines, predictor.labels.names):
            return lines, None
        columns = columns_of(predictor, {})
        return read_tags(lines, text=columns.get("text"), label=columns.get("label"))[0], {}

    def _answer_texts(
        self, predictor: TaggerPredictor, texts: list[str], request: PredictRequest
    ) -> Answers:
        del request
        return Answers(self._columns(predictor, texts))

    def _columns(self, predictor: TaggerPredictor, sequences: Any) -> dict[str, Any]:
        from elman.labels.dataset import Sequences

        tags = predictor.predict(sequences)
        items = Sequences.of(sequences).stepwise().items
        rows: dict[str, Any] = {
            "sequence": [number for number, steps in enumerate(tags) for _ in steps],
            "step": [step for steps in tags for step in range(len(steps))],
        }
        if all(isinstance(item, tuple) for item in items):
            rows["token"] = [token for item in items for token in item]
        return rows | {"tag": [tag for steps in tags for tag in steps]}

    def _named_columns(
        self, names: dict[str, list[Any]], answers: dict[str, Any]
    ) -> dict[str, Any]:
        del names  # a row is a step, and the column "sequence" already names its sequence
        return answers


def _warn_of_unknown_tokens(predictor: Any, sequences: Any) -> None:
    """Warn where most tokens of the sequences are outside the vocabulary of the model."""
    from elman.text.vocabulary import unknown_warning

    warn(unknown_warning(*predictor.count_unknown(sequences)))


def _one_sequence(sequences: Any, request: ExplainRequest) -> Any:
    """Return the sequence that ``--row`` chooses, the first one by default."""
    from elman.engine.shapes import whole_number

    if not len(sequences):
        raise DataError(f"the sequences of {request.source}", got="none", expected="at least one")
    if request.row is None and len(sequences) > 1:
        warn([f"row 0 of {len(sequences):,} is explained; --row explains another one"])
    return sequences[whole_number("--row", request.row or 0, 0, len(sequences) - 1)]
