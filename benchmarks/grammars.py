"""Measure how far the probabilities of default networks are from those of grammars that are known exactly.

    python benchmarks/grammars.py [--grammar chain ...] [--cell gru ...] [--seeds 5] [--output FILE] \
        [OPTION=VALUE ...]

Each network has one layer of 32 units and reads 24,000 sentences of words in 4 epochs, which are about 2,700
steps; all other settings are the defaults, unless OPTION=VALUE replaces one, such as dropout=0.2. The largest
error of a probability is printed for each grammar and cell, with its median and its worst case over the
seeds. Results are appended to a file as JSON lines, and a measurement that is there already is not repeated.

The exit code is 1 if an error is above .03.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import elman
from elman.cells import CELLS

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
import grammars

SENTENCES, EPOCHS, HIDDEN_SIZE = 24_000, 4, 32
LIMIT = 0.03


def measure(name: str, cell: str, seed: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Train one network and return its largest error."""
    begun = time.process_time()
    grammar = grammars.GRAMMARS[name]
    text = "\n".join(grammars.sentences(grammar, SENTENCES, seed)) + "\n"
    options: dict[str, Any] = {
        "level": "word",
        "documents": "line",
        "split": "whitespace",
        "hidden_size": HIDDEN_SIZE,
        "num_layers": 1,
        "epochs": EPOCHS,
    }
    model = elman.LanguageModel(cell=cell, seed=seed, **(options | settings)).fit(text)
    return {
        "grammar": name,
        "cell": cell,
        "seed": seed,
        "settings": settings,
        "error": grammars.largest_error(model, grammar),
        "cpu_seconds": time.process_time() - begun,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--grammar", nargs="+", default=[*grammars.GRAMMARS])
    parser.add_argument("--cell", nargs="+", default=[*CELLS])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--output", type=Path, default=Path(tempfile.gettempdir(), "grammars.jsonl")
    )
    parser.add_argument("settings", nargs="*", metavar="OPTION=VALUE")
    given = parser.parse_args()
    settings = {
        name: json.loads(value) for name, value in (s.split("=", 1) for s in given.settings)
    }
    known = []
    if given.output.exists():
        known = [json.loads(line) for line in given.output.read_text().splitlines()]
    high = False
    for name in given.grammar:
        for cell in given.cell:
            errors = []
            for seed in range(given.seeds):
                wanted = {"grammar": name, "cell": cell, "seed": seed, "settings": settings}
                row = next((row for row in known if wanted.items() <= row.items()), None)
                if row is None:
                    row = measure(name, cell, seed, settings)
                    with given.output.open("a") as file:
                        file.write(json.dumps(row) + "\n")
                errors.append(row["error"])
            print(
                f"{name:12} {cell:7} median {statistics.median(errors):.4f}  worst {max(errors):.4f}",
                flush=True,
            )
            high |= max(errors) > LIMIT
    return int(high)


if __name__ == "__main__":
    sys.exit(main())
