"""The trainer: budgets, seeds, recoveries, early stopping, the journal, and resuming."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from elman import DivergedError, LanguageModel, OptionError, OutputError, load
from elman.language import train
from elman.language.network_torch import Network
from elman.training.checkpoint import TrainingState
from elman.training.optimizer import AdamW
from elman.training.pace import cosine
from elman.training.store import Store

pytestmark = pytest.mark.slow

SMALL: dict[str, Any] = {
    "level": "char",
    "hidden_size": 16,
    "num_layers": 1,
    "batch_size": 8,
    "sequence_length": 20,
    "dropout": 0.1,
}


def weights(model: LanguageModel) -> dict[str, np.ndarray]:
    return dict(model.model_.arrays)


def same(one: LanguageModel, other: LanguageModel) -> bool:
    return all(np.array_equal(array, weights(other)[name]) for name, array in weights(one).items())


def test_steps_are_reproducible_with_the_seed(manual: str) -> None:
    first, again, other = (
        LanguageModel(steps=30, seed=seed, **SMALL).fit(manual) for seed in (1, 1, 2)
    )
    assert same(first, again)
    assert not same(first, other)


def test_training_does_not_change_the_callers_random_numbers_and_threads(manual: str) -> None:
    torch.manual_seed(5)
    threads = torch.get_num_threads()
    expected = torch.rand(1)
    torch.manual_seed(5)
    LanguageModel(steps=2, threads=1, **SMALL).fit(manual)
    assert torch.rand(1) == expected
    assert torch.get_num_threads() == threads


def test_it_learns(manual: str) -> None:
    model = LanguageModel(epochs=3, **SMALL | {"hidden_size": 64, "learning_rate": 0.01}).fit(
        manual
    )
    uniform = np.log(len(model.model_.codec.tokens))
    assert model.card_["held_out"]["loss"] < 0.65 * uniform
    assert model.card_["training"]["epochs"] == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm", "mingru"])
def test_card_and_evaluate_agree(manual: str, cell: Any) -> None:
    training, validation, test = (
        manual[int(first * len(manual)) : int(last * len(manual))]
        for first, last in ((0.0, 0.9), (0.9, 0.95), (0.95, 1.0))
    )
    model = LanguageModel(steps=40, cell=cell, **SMALL).fit(training, valid=validation, test=test)
    for key, text in (("validation", validation), ("held_out", test)):
        evaluation = model.evaluate(text)
        assert evaluation.loss == pytest.approx(model.card_[key]["loss"], abs=1e-4)
        assert evaluation.tokens == model.card_[key]["tokens"] == len(text) - 1
        assert model.score(text) == -evaluation.loss


def test_a_budget_of_time_ends_with_the_decay(manual: str) -> None:
    events: list[dict[str, Any]] = []
    model = LanguageModel(time=2.5, **SMALL).fit(manual, watch=events.append)
    steps = [event for event in events if event["event"] == "steps"]
    assert model.stopped_ == "budget"
    settings = model.card_["settings"]
    for step in steps:
        expected = cosine(step["share_done"], settings["warm_up"])
        # the rate was set before the step, the share is that after it
        assert step["learning_rate"] / settings["learning_rate"] == pytest.approx(expected, abs=0.2)
    assert steps[-1]["share_done"] > steps[0]["share_done"]
    assert model.card_["training"]["seconds"] >= 1.5


def test_the_journal_holds_every_measurement(manual_file: Path) -> None:
    output = manual_file.with_name("m.safetensors")
    events: list[dict[str, Any]] = []
    LanguageModel(steps=40, evaluations=4, **SMALL).fit(
        manual_file, output=output, watch=events.append
    )
    lines = [json.loads(line) for line in output.with_suffix(".run.jsonl").read_text().splitlines()]
    kinds = [line["event"] for line in lines]
    assert kinds.count("evaluation") == 4
    assert kinds[-1] == "end"
    losses = [line["held_out_loss"] for line in lines if line["event"] == "evaluation"]
    assert load(output).card["validation"]["loss"] == min(losses)
    assert [event["held_out_loss"] for event in events if event["event"] == "evaluation"] == losses
    assert not output.with_suffix(".checkpoint").exists()


def test_it_stops_early_and_keeps_the_best(manual: str) -> None:
    events: list[dict[str, Any]] = []
    model = LanguageModel(
        steps=4000, evaluations=200, patience=3, **SMALL | {"learning_rate": 0.05, "dropout": 0.0}
    ).fit(manual[:1500], watch=events.append)
    losses = [event["held_out_loss"] for event in events if event["event"] == "evaluation"]
    assert model.stopped_ == "early"
    assert len(losses) - 1 - int(np.argmin(losses)) == 3
    assert model.card_["validation"]["loss"] == min(losses)


def broken_loss(monkeypatch: pytest.MonkeyPatch, *, at: set[int] | None, value: float) -> None:
    """Multiply the training loss by `value` in the calls number `at`, or in every call where `at` is None."""
    right, calls = Network.loss, 0

    def loss(self: Network, *arguments: Any) -> torch.Tensor:
        nonlocal calls
        calls += self.training
        wrong = self.training and (at is None or calls in at)
        return right(self, *arguments) * (value if wrong else 1.0)

    monkeypatch.setattr(Network, "loss", loss)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_it_recovers_at_half_the_rate(
    manual: str, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    broken_loss(monkeypatch, at={30, 41}, value=value)
    events: list[dict[str, Any]] = []
    model = LanguageModel(steps=60, **SMALL).fit(manual, watch=events.append)
    recoveries = [event for event in events if event["event"] == "recovery"]
    assert [event["rate_scale"] for event in recoveries] == [0.5, 0.25]
    # The first recovery goes back to step 20; the next 11 calls of the loss reach step 30.
    assert [(event["step"], event["back_to_step"]) for event in recoveries] == [(29, 20), (30, 20)]
    assert "the loss is" in recoveries[0]["culprit"]
    assert model.card_["training"]["recoveries"] == 2
    assert all(np.isfinite(array).all() for array in weights(model).values())


def test_it_gives_up_after_three_recoveries(
    manual_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken_loss(monkeypatch, at=None, value=float("nan"))
    output = manual_file.with_name("m.safetensors")
    output.write_bytes(b"the earlier model")
    with pytest.raises(DivergedError, match="after 3 recoveries") as caught:
        LanguageModel(steps=60, **SMALL).fit(manual_file, output=output)
    assert caught.value.exit_code == 3
    assert output.read_bytes() == b"the earlier model"


def test_a_gradient_that_is_not_finite_is_named(
    manual: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right, calls = torch.autograd.backward, 0

    def backward(loss: torch.Tensor) -> None:
        nonlocal calls
        right(loss)
        calls += 1
        if calls == 5:
            for weight in networks[-1].layers.parameters():
                assert weight.grad is not None
                weight.grad[0] = float("inf")

    networks: list[Network] = []
    made = Network.__init__

    def make(self: Network, *args: Any, **options: Any) -> None:
        made(self, *args, **options)
        networks.append(self)

    monkeypatch.setattr(Network, "__init__", make)
    monkeypatch.setattr(torch.autograd, "backward", backward)
    events: list[dict[str, Any]] = []
    LanguageModel(steps=10, **SMALL).fit(manual, watch=events.append)
    (recovery,) = [event for event in events if event["event"] == "recovery"]
    assert recovery["culprit"] == "the gradient of layers.0.weight_ih_l0 is not finite"


def test_weights_broken_at_a_snapshot_recover_too(
    manual: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A snapshot is used only when the step after it was finite."""
    right, calls = AdamW.clipped_step, 0

    def step(self: AdamW, *arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        result = right(self, *arguments)
        if calls == 40:
            with torch.no_grad():
                self.param_groups[0]["params"][0].fill_(float("nan"))
        return result

    monkeypatch.setattr(AdamW, "clipped_step", step)
    events: list[dict[str, Any]] = []
    model = LanguageModel(steps=60, evaluations=1, **SMALL).fit(manual, watch=events.append)
    (recovery,) = [event for event in events if event["event"] == "recovery"]
    assert (recovery["step"], recovery["back_to_step"]) == (40, 20)
    assert model.card_["training"]["steps"] == 60


def test_a_measurement_that_is_not_finite_goes_back(
    manual: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right, calls = train.held_out_loss, 0

    def held_out_loss(*arguments: Any) -> float:
        nonlocal calls
        calls += 1
        return float("nan") if calls == 2 else right(*arguments)

    monkeypatch.setattr(train, "held_out_loss", held_out_loss)
    events: list[dict[str, Any]] = []
    model = LanguageModel(steps=60, evaluations=4, **SMALL).fit(manual, watch=events.append)
    (recovery,) = [event for event in events if event["event"] == "recovery"]
    assert recovery["culprit"] == "the held-out loss is nan"
    assert np.isfinite(model.card_["held_out"]["loss"])


def test_the_best_network_before_a_divergence_is_kept(
    manual_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken_loss(monkeypatch, at=set(range(45, 1000)), value=float("nan"))
    output = manual_file.with_name("m.safetensors")
    events: list[dict[str, Any]] = []
    with pytest.raises(DivergedError):
        LanguageModel(steps=60, evaluations=6, **SMALL).fit(
            manual_file, output=output, watch=events.append
        )
    losses = [event["held_out_loss"] for event in events if event["event"] == "evaluation"]
    card = load(output).card
    assert card["training"]["stopped"] == "diverged"
    assert card["validation"]["loss"] == min(losses)


def test_even_one_step_trains(manual: str) -> None:
    one, other = (
        LanguageModel(steps=1, **SMALL | {"learning_rate": rate}).fit(manual) for rate in (0.0, 0.1)
    )
    assert not same(one, other)


def test_numpy_numbers_train(manual: str) -> None:
    options = SMALL | {"hidden_size": np.int64(8), "learning_rate": np.float32(0.01)}
    options |= {"steps": np.int64(2), "bias": np.bool_(False)}
    model = LanguageModel(**options).fit(manual)
    assert model.model_.config.hidden_size == 8
    assert not model.model_.config.bias


def test_the_users_files_in_the_checkpoint_folder_stay(manual_file: Path) -> None:
    output = manual_file.with_name("m.safetensors")
    precious = output.with_suffix(".checkpoint") / "precious.txt"
    other = precious.parent / "text.backup" / "mine.txt"
    other.parent.mkdir(parents=True)
    for file in (precious, other):
        file.write_text("mine")
    LanguageModel(steps=2, checkpoint_every=0.001, **SMALL).fit(manual_file, output=output)
    assert precious.read_text() == other.read_text() == "mine"
    assert sorted(precious.parent.iterdir()) == [precious, other.parent]


def test_a_folder_can_hold_its_own_model(manual_file: Path) -> None:
    folder, output = manual_file.parent, manual_file.with_name("m.safetensors")
    options = SMALL | {"steps": 40, "evaluations": 4}

    def interrupt(event: dict[str, Any]) -> None:
        if event["event"] == "evaluation":
            signal.raise_signal(signal.SIGINT)

    whole = LanguageModel(**options).fit(folder)
    LanguageModel(**options).fit(folder, output=output, watch=interrupt)
    assert same(LanguageModel(**options).fit(folder, output=output, resume=True), whole)


def test_ctrl_c_before_the_first_step_leaves_the_earlier_model(
    manual_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = manual_file.with_name("m.safetensors")
    LanguageModel(steps=5, **SMALL).fit(manual_file, output=output)
    before = output.read_bytes()

    capture = TrainingState.capture

    def capture_after_signal(*arguments: Any) -> Any:
        # The trainer takes the first snapshot when its handler of the signal is in place.
        signal.raise_signal(signal.SIGINT)
        monkeypatch.setattr(TrainingState, "capture", capture)
        return capture(*arguments)

    monkeypatch.setattr(TrainingState, "capture", capture_after_signal)
    with pytest.raises(KeyboardInterrupt):
        LanguageModel(steps=6, **SMALL).fit(manual_file, output=output)
    assert output.read_bytes() == before


def test_a_deep_network_can_be_checkpointed(manual_file: Path) -> None:
    output = manual_file.with_name("m.safetensors")

    def interrupt(event: dict[str, Any]) -> None:
        if event["event"] == "evaluation":
            signal.raise_signal(signal.SIGINT)

    options = SMALL | {"num_layers": 32, "hidden_size": 4, "steps": 4, "residual": True}
    LanguageModel(**options).fit(manual_file, output=output, watch=interrupt)
    model = LanguageModel(**options).fit(manual_file, output=output, resume=True)
    assert model.stopped_ == "budget"


def test_lone_surrogates_train(manual: str, tmp_path: Path) -> None:
    path = tmp_path / "s.txt"
    path.write_bytes((manual[:3000] + "\ud800 ").encode("utf-8", "surrogatepass") * 3)
    LanguageModel(steps=10, **SMALL).fit(path, output=tmp_path / "m.safetensors")
    journal = (tmp_path / "m.run.jsonl").read_text().splitlines()
    assert json.loads(journal[0])["event"] == "start"
    assert all(json.loads(line) for line in journal)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_keeps_the_best_network_and_the_run_resumes(
    manual_file: Path, number: int
) -> None:
    options = SMALL | {"steps": 60, "evaluations": 6}
    whole = LanguageModel(**options).fit(manual_file)
    output = manual_file.with_name("m.safetensors")

    def interrupt(event: dict[str, Any]) -> None:
        if event["event"] == "evaluation" and event["step"] == 30:
            signal.raise_signal(number)

    part = LanguageModel(**options).fit(manual_file, output=output, watch=interrupt)
    assert part.stopped_ == "interrupted"
    assert load(output).card["training"]["steps"] == 30
    rest = LanguageModel(**options).fit(manual_file, output=output, resume=True)
    assert rest.stopped_ == "budget"
    assert same(rest, whole)
    assert same(LanguageModel(**options).fit(manual_file, output=output, resume=True), whole)


def test_resume_with_other_settings_or_text_is_refused(manual_file: Path) -> None:
    output = manual_file.with_name("m.safetensors")
    options = SMALL | {"steps": 60, "evaluations": 6}

    def interrupt(event: dict[str, Any]) -> None:
        if event["event"] == "evaluation":
            signal.raise_signal(signal.SIGINT)

    LanguageModel(**options).fit(manual_file, output=output, watch=interrupt)
    before = output.read_bytes()
    journal = output.with_suffix(".run.jsonl").read_bytes()
    with pytest.raises(
        ValueError, match="another steps than the interrupted run: got 61; expected 60"
    ):
        LanguageModel(**options | {"steps": 61}).fit(manual_file, output=output, resume=True)
    manual_file.write_text(manual_file.read_text() + "more")
    with pytest.raises(ValueError, match="with another text"):
        LanguageModel(**options).fit(manual_file, output=output, resume=True)
    assert output.read_bytes() == before
    assert output.with_suffix(".run.jsonl").read_bytes() == journal


def test_resume_without_a_checkpoint_is_refused(manual_file: Path) -> None:
    output = manual_file.with_name("m.safetensors")
    for place in (output, None):
        with pytest.raises(OptionError, match="resume: got no checkpoint") as caught:
            LanguageModel(steps=3, **SMALL).fit(manual_file, output=place, resume=True)
        assert str(caught.value).endswith("train without it, from the beginning")
    assert not output.exists()
    assert not output.with_suffix(".run.jsonl").exists()
    first = LanguageModel(steps=3, **SMALL).fit(manual_file, output=output)
    # resuming a finished run returns its model
    assert same(LanguageModel(steps=3, **SMALL).fit(manual_file, output=output, resume=True), first)


def test_resume_does_not_replace_the_finished_model_of_another_run(manual_file: Path) -> None:
    output = manual_file.with_name("m.safetensors")
    LanguageModel(steps=3, **SMALL).fit(manual_file, output=output)
    before = output.read_bytes()
    with pytest.raises(OSError, match="nothing to resume"):
        LanguageModel(steps=4, **SMALL).fit(manual_file, output=output, resume=True)
    assert output.read_bytes() == before


def test_a_new_run_replaces_the_unfinished_one(manual_file: Path) -> None:
    output = manual_file.with_name("m.safetensors")
    checkpoint = output.with_suffix(".checkpoint") / "state.safetensors"

    def interrupt(event: dict[str, Any]) -> None:
        if event["event"] == "evaluation":
            signal.raise_signal(signal.SIGINT)

    def look(event: dict[str, Any]) -> None:
        if event["event"] == "steps":
            seen.append(checkpoint.exists())
        elif event["event"] == "warning":
            said.append(event["text"])

    seen: list[bool] = []
    said: list[str] = []
    LanguageModel(steps=60, **SMALL).fit(manual_file, output=output, watch=interrupt)
    assert checkpoint.exists()
    LanguageModel(time=1, **SMALL).fit(manual_file, output=output, watch=look)
    assert seen
    assert not any(seen)
    assert "the unfinished run is replaced" in said[0]


def test_the_model_is_saved_although_the_checkpoint_cannot_be(
    manual_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = manual_file.with_name("m.safetensors")

    said: list[str] = []

    def interrupt(event: dict[str, Any]) -> None:
        said.append(event.get("text", ""))
        if event["event"] == "evaluation":
            signal.raise_signal(signal.SIGINT)

    def save(*_: Any) -> None:
        raise OutputError("the disk is full")

    monkeypatch.setattr(Store, "save", save)
    LanguageModel(steps=60, **SMALL).fit(manual_file, output=output, watch=interrupt)
    assert "the disk is full; training goes on without a new checkpoint" in said
    assert load(output).card["training"]["stopped"] == "interrupted"


def test_the_rate_rises_and_falls() -> None:
    shares = [cosine(progress, 0.1) for progress in np.linspace(0, 1, 101)]
    assert max(shares) == shares[10] == 1.0
    assert shares[:11] == sorted(shares[:11])
    assert shares[10:] == sorted(shares[10:], reverse=True)
