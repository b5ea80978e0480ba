"""Measure Elman against its peers: layers, whole training steps, streams, memory.

    python benchmarks/speed.py [--only NAME] [--rounds 7] [--out results.json]

Every case first asserts that all sides give the same result, then times them in turn in one process.
A ratio is the median time of the fastest peer divided by ours. A share is relative to the rate of a loop that
only multiplies and adds, measured in the same rounds. Nothing else should run on the machine. The exit code
is 1 if results differ; a missed mark is printed and does not change the exit code.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
# take sizes and tolerances from the tests
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import torch
from benchmarks import layers, memory, startup, steps, streams
from benchmarks.measure import Case, Settings, figures, samples_of

from elman.bench import Peak
from elman.engine import kernel

WIDTH = 60


def all_cases() -> list[Case]:
    """Return all cases, streams first: after layers have run, the kernel keeps using torch's threads."""
    return [*streams.cases(), *layers.cases(), *steps.cases(), *memory.cases(), *startup.cases()]


def facts() -> dict[str, Any]:
    """Return the date, the machine, the numbers of threads, and the versions of the timed libraries."""
    processor = platform.processor() or platform.machine()
    described = Path("/proc/cpuinfo")
    if described.exists():
        lines = described.read_text().splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        processor = names[0] if names else processor
    versions = {"python": platform.python_version()}
    for name in ("elman", "numpy", "torch", "onnx", "onnxruntime", "jax"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "processor": processor,
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "instruction_set": kernel.isa(),
        "threads": kernel.threads(torch.get_num_threads()),
        "torch_threads": torch.get_num_threads(),
        "versions": versions,
    }


def run(case: Case, settings: Settings, threads: int) -> dict[str, Any]:
    """Prepare a case, take its samples, and return its results as JSON."""
    peak, begin = Peak(threads), time.monotonic()
    prepared = case.prepare(settings)
    try:
        samples = samples_of(prepared, settings.rounds, peak)
    finally:
        if prepared.after is not None:
            prepared.after()
    medians = {name: statistics.median(values) for name, values in samples.items()}
    return {
        "case": case.name,
        "unit": prepared.unit,
        "seconds": time.monotonic() - begin,
        "peak_gflops": peak.rate / 1e9,
        "agreement": prepared.agreement,
        "left_out": prepared.left_out,
        "rows": [figures(row, medians, peak.rate) for row in prepared.rows],
        "medians": medians,
        "samples": samples,
    }


def header() -> str:
    """Return the names of the columns of `line`."""
    return (
        f"{'case':{WIDTH}} {'ours':>10} {'best peer':>10} {'ratio':>6} {'mark':>5} {'hope':>5} "
        f"{'':8} {'GFLOP/s':>8} {'of peak':>8}  peers"
    )


def line(row: dict[str, Any], unit: str) -> str:
    """Return a row of the table: the times of the fastest sides, then those of every peer."""
    times = row["peers"]
    ours, best = min(row["ours"].values()), min(times.values(), default=None)

    def number(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    ratio = row["memory"] if row["by"] == "memory" else row["ratio"]
    verdict = "" if row["met"] is None else "met" if row["met"] else "NOT MET"
    verdict = "hoped" if row["hoped"] else verdict
    share = "" if row["share"] is None else f"{100 * row['share']:.0f} %"
    every = ", ".join(f"{name} {value:.4g}" for name, value in {**row["ours"], **times}.items())
    return (
        f"{row['name']:{WIDTH}} {ours:>10.4g} {number(best, '.4g'):>10} {number(ratio, '.2f'):>6} "
        f"{number(row['at_least'], 'g'):>5} {number(row['hope'], 'g'):>5} {verdict:8} "
        f"{number(row['gflops'], '.1f'):>8} {share:>8}  {every} {unit}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="measure cases with this in their names"
    )
    parser.add_argument("--rounds", type=int, default=Settings.rounds)
    parser.add_argument(
        "--compile-seconds",
        type=float,
        default=Settings.compile_seconds,
        help="seconds that torch.compile may take for one peer; 0 leaves torch.compile out",
    )
    parser.add_argument("--out", type=Path, help="write everything measured, as JSON")
    parser.add_argument("--list", action="store_true", help="print the names of the cases")
    arguments = parser.parse_args()
    chosen = [
        case
        for case in all_cases()
        if not arguments.only or any(part in case.name for part in arguments.only)
    ]
    if arguments.list:
        print("\n".join(case.name for case in chosen))
        return 0
    settings = Settings(arguments.rounds, arguments.compile_seconds)
    about, done, differ = facts(), [], []
    for name, value in about.items():
        print(f"{name:16} {value}")
    print(f"\n{header()}", flush=True)
    for case in chosen:
        try:
            result = run(case, settings, about["threads"])
        except AssertionError as error:
            differ.append(f"{case.name}: {error}")
            print(f"{case.name}: results differ: {error}", flush=True)
            continue
        done.append(result)
        for name, reason in result["left_out"].items():
            print(f"  {case.name}: without {name}: {reason}")
        for row in result["rows"]:
            print(line(row, result["unit"]), flush=True)
    rates = [result["peak_gflops"] for result in done if result["peak_gflops"]]
    about["peak_gflops"] = statistics.median(rates) if rates else None
    marked = [row for result in done for row in result["rows"] if row["met"] is not None]
    met = sum(row["met"] for row in marked)
    print(f"\npeak {about['peak_gflops'] or 0:.0f} GFLOP/s; {met} of {len(marked)} marks met")
    if arguments.out is not None:
        whole = {**about, "rounds": settings.rounds, "results_differ": differ, "cases": done}
        arguments.out.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
