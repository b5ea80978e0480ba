"""Benchmarks time both sides in turn, compare their results, and compute their figures correctly."""

from __future__ import annotations

import functools
import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cases import Case as Sizes
from elman import bench
from elman.cells import find
from elman.cli import main
from elman.engine import kernel
from elman.language.stream import Stream

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
QUICK = 0.02


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Modules of the folder `benchmarks`, by name."""
    monkeypatch.syspath_prepend(str(ROOT))
    return lambda name: importlib.import_module(f"benchmarks.{name}")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock for `interleave` that the test moves."""
    now = [0.0]
    watch = SimpleNamespace(monotonic=lambda: now[0], perf_counter=lambda: now[0])
    monkeypatch.setattr(bench, "time", watch)
    monkeypatch.setattr(bench, "settle", lambda: None)
    return now


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the measurement use tiny sizes."""
    for name, value in {"T": 5, "B": 3, "STREAM_STEPS": 20, "GENERATED_TOKENS": 50}.items():
        monkeypatch.setattr(bench, name, value)


def test_sides_take_turns_and_are_made_ready_outside_the_time(clock: list[float]) -> None:
    calls: list[str] = []

    def takes(seconds: float, name: str) -> None:
        calls.append(name)
        clock[0] += seconds

    sides = {
        "a": bench.Side(lambda: takes(1, "a"), steps=10, ready=lambda: takes(50, "ready")),
        "b": bench.Side(lambda: takes(3, "b")),
    }
    samples = bench.interleave(sides, rounds=3, sample=1)
    # an untimed and a timed call, in the trial, in the warm-up round and in three rounds
    assert calls == ["ready", "a", "a", "b", "b"] * 5
    assert samples == {"a": [0.1] * 3, "b": [3.0] * 3}


def test_a_sample_lasts_as_long_as_asked(clock: list[float]) -> None:
    calls = [0]

    def takes_one() -> None:
        calls[0] += 1
        clock[0] += 1

    assert bench.interleave({"a": bench.Side(takes_one)}, rounds=2, sample=4.5) == {"a": [1.0] * 2}
    assert calls[0] == 2 + 3 * (1 + 5)


def test_rounds_go_on_until_the_time_is_used(clock: list[float]) -> None:
    def takes_one() -> None:
        clock[0] += 1

    (times,) = bench.interleave({"a": bench.Side(takes_one)}, 1, seconds=20, sample=1).values()
    # of 20 seconds the trial and each round take two, and the first round is the warm-up
    assert times == [1.0] * 8


def test_it_waits_for_threads_that_still_look_out_for_work(monkeypatch: pytest.MonkeyPatch) -> None:
    busy = [True] * 5 + [False, True, False, False]
    passed = {"wall": 0.0, "processor": 0.0}
    naps: list[bool] = []

    def sleep(seconds: float) -> None:
        naps.append(busy[len(naps)] if len(naps) < len(busy) else False)
        passed["wall"] += seconds
        passed["processor"] += seconds if naps[-1] else 0.0

    watch = SimpleNamespace(
        sleep=sleep,
        monotonic=lambda: passed["wall"],
        process_time=lambda: passed["processor"],
    )
    monkeypatch.setattr(bench, "time", watch)
    bench.settle()
    assert naps == busy
    # a load that never ends is not waited for without end
    naps.clear()
    busy[:] = [True] * 10_000
    passed["wall"] = 0.0
    bench.settle()
    assert passed["wall"] == pytest.approx(bench.MAX_SETTLE_SECONDS, rel=0.01)


def test_the_model_of_the_measurement_writes() -> None:
    model = bench.random_model("lstm", 8)
    assert len(model.codec) == 65
    text = Stream(model).generate(200, seed=0)
    assert len(text) == 200
    assert set(text) <= set(bench.CHARACTERS)
    assert len(set(text)) > 20  # an untrained network: all probabilities are nearly equal


@pytest.mark.usefixtures("small")
def test_what_runs_and_how_fast() -> None:
    result = bench.run(QUICK, sizes=(8,))
    assert result["instruction_set"] == kernel.isa()
    assert result["peak_gflops"] > 0.1
    names = [row["case"].split()[0] for row in result["cases"]]
    assert names == ["RNN", "GRU", "LSTM", "LSTM", "LSTM"]
    for row, name in zip(result["cases"][:3], ("rnn", "gru", "lstm"), strict=True):
        sizes = Sizes(find(name), bench.T, bench.B, 8, 8, num_layers=bench.LAYERS)
        assert row["difference"] < 2 * sizes.scattered()
        assert row["ratio"] == pytest.approx(row["torch_milliseconds"] / row["milliseconds"])
        count = 3 * bench.operations(name, bench.T, bench.B, 8, 8, bench.LAYERS)
        assert row["gflops"] == pytest.approx(count / row["milliseconds"] / 1e6)
        assert row["share_of_peak"] == pytest.approx(row["gflops"] / result["peak_gflops"])
    assert all(row["milliseconds"] > 0 for row in result["cases"])


@pytest.mark.usefixtures("small")
def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(bench, "run", functools.partial(bench.run, sizes=(8,)))
    for arguments in (["bench", "--seconds", str(QUICK)], ["bench", "--seconds", "0.02", "--json"]):
        with pytest.raises(SystemExit) as left:
            main(arguments)
        assert not left.value.code
        printed = capsys.readouterr()
        assert printed.err == ""
        if "--json" in arguments:
            assert len(json.loads(printed.out)["cases"]) == 5
        else:
            assert str(kernel.isa()) in printed.out
            assert "GRU 8 ×2, forward + backward" in printed.out


@pytest.mark.parametrize("seconds", ["0", "-1", "inf", "nan"])
def test_a_time_that_is_none_is_refused(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["bench", f"--seconds={seconds}"])
    assert left.value.code == 2
    assert "seconds: got" in capsys.readouterr().err


def test_without_torch_the_streams_are_measured() -> None:
    code = (
        "import sys\nsys.modules['torch'] = None\n"
        "from elman import bench\n"
        f"result = bench.run({QUICK}, sizes=(8,))\nbench.show(result)\n"
        "assert len(result['cases']) == 2, result\n"
        "assert result['torch'].startswith('not installed'), result\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.usefixtures("small")
def test_without_a_kernel_all_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(kernel, "kernel", lambda: None)
    monkeypatch.setattr(kernel, "kernels", dict)
    result = bench.run(QUICK, sizes=(8,))
    assert result["peak_gflops"] == 0
    assert len(result["cases"]) == 5
    assert not any("share_of_peak" in row for row in result["cases"])
    bench.show(result)
    assert "none, plain numpy and torch" in capsys.readouterr().out


SMALL = {
    "stack": lambda module, settings: module.stack("lstm", 8, settings, T=5, B=3),
    "packed": lambda module, settings: module.packed("gru", settings, B=4, H=8, longest=9),
    "scan": lambda module, settings: module.scan(8, settings, T=5, B=3),
    "step": lambda module, settings: module.step(
        "s", (30, 6, 4, 8), ((1.0, 2.0), (None, None)), settings
    ),
    "small": lambda module, settings: module.small(settings, V=20, T=5, B=3, H=8),
    "mingru": lambda module, settings: module.mingru(8, settings, V=20, T=5, B=3),
    "optimizer": lambda module, settings: module.optimizer(settings, V=50, H=8),
    "streams": lambda module, settings: module.step(8, settings),
    "generation": lambda module, settings: module.generation(8, settings, n=50),
    "pool": lambda module, settings: module.pool(settings, n=20, H=8),
}
MODULE = dict.fromkeys(("stack", "packed", "scan"), "layers")
MODULE |= dict.fromkeys(("step", "small", "mingru", "optimizer"), "steps")
MODULE |= dict.fromkeys(("streams", "generation", "pool"), "streams")


@pytest.mark.parametrize("name", SMALL)
def test_the_sides_of_a_benchmark_agree_and_every_row_has_its_sides(
    name: str, benchmark: Any
) -> None:
    settings = benchmark("measure").Settings(rounds=1, compile_seconds=0)
    prepared = SMALL[name](benchmark(MODULE[name]), settings)
    assert prepared.agreement or prepared.left_out
    assert all(share <= 1 for share in prepared.agreement.values())
    medians = dict.fromkeys(prepared.sides, 1.0)
    for side in prepared.sides.values():
        if side.ready is not None:
            side.ready()
        side.call()
    if prepared.after is not None:
        prepared.after()
    for row in prepared.rows:
        found = benchmark("measure").figures(row, medians, 1e9)
        assert found["ratio"] in (None, 1.0)
        assert found["gflops"] is None or found["gflops"] > 0


def test_memory_is_of_the_first_step(benchmark: Any) -> None:
    ask, sizes = benchmark("memory").ask, (20_000, 20, 50, 8)
    ours, theirs = ask("elman", sizes), ask("torch", sizes)
    assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-6)
    logits = 4 * 20_000 * 1_000 / 2**20
    assert theirs["mebibytes"] > logits > ours["mebibytes"]


def test_results_that_differ_are_an_error(benchmark: Any) -> None:
    measure = benchmark("measure")
    right = {"y": np.array([1.0, -2.0])}
    assert measure.agree(right, right, 1e-9) == 0
    assert measure.agree({"y": np.array([1.0, -2.001])}, right, 1e-3) == pytest.approx(0.5)
    with pytest.raises(AssertionError, match="y: "):
        measure.agree({"y": np.array([1.003, -2.0])}, right, 1e-3)
    with pytest.raises(AssertionError):
        measure.agree({"z": right["y"]}, right, 1.0)
    with pytest.raises(AssertionError):
        measure.agree({"y": np.array([np.nan, -2.0])}, right, 1.0)
    with pytest.raises(AssertionError, match="rounded"):
        measure.agree_in_norm({"y": np.array([1.0, -2.1])}, right, 1)


def test_the_fastest_of_each_are_compared(benchmark: Any) -> None:
    measure = benchmark("measure")
    medians = {"elman x1": 2.0, "elman x2": 4.0, "torch": 9.0, "ort": 6.0}
    row = measure.Row("r", ("elman x1", "elman x2"), ("torch", "ort"), 2.5, 4.0, operations=1e6)
    found = measure.figures(row, medians, 1e9)
    assert (found["ratio"], found["gflops"], found["share"]) == (3.0, 0.5, 0.5)
    assert (found["met"], found["hoped"]) == (True, False)
    row = measure.Row("r", ("elman x1",), (), 0.6, 0.75, 1e6, "share")
    assert measure.figures(row, medians, 1e9)["met"] is False
    row = measure.Row("r", ("elman x1",), ("ort",), 0.6, 0.3, by="memory")
    found = measure.figures(row, medians, 0.0)
    assert (found["memory"], found["met"], found["hoped"]) == (2 / 6, True, False)
    row = measure.Row("r", ("elman x1",), ("ort",), 2.5, 1.5, by="time")
    assert (measure.figures(row, medians, 0.0)["met"], medians["elman x1"]) == (True, 2.0)


def test_the_speed_benchmark_names_its_cases_and_writes_what_it_measured(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "speed.py")]
    done = subprocess.run([*command, "--list"], capture_output=True, text=True, check=True)
    names = done.stdout.split("\n")
    assert {"stream 64", "layers lstm 512", "step word", "packed lstm", "memory", "startup"} <= set(
        names
    )
    out = tmp_path / "results.json"
    chosen = [*command, "--only", "mingru 128", "--rounds", "1", "--out", str(out)]
    done = subprocess.run(chosen, capture_output=True, text=True, check=True)
    assert "MinGRU 128 over LSTM 128" in done.stdout
    written = json.loads(out.read_text())
    assert written["instruction_set"] == kernel.isa()
    assert written["results_differ"] == []
    for case in written["cases"]:
        assert all(len(samples) == 1 for samples in case["samples"].values())
