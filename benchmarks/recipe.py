"""Measure rows of the table in `elman.language.plan`: held-out loss by sizes, for a text and a budget.

    python benchmarks/recipe.py TEXT --level char --time 3m --cell lstm --try 512,1,32,64,7e-3,0.1 --try ...

A row is hidden_size,num_layers,batch_size,sequence_length,learning_rate,dropout. Rows run one after the
other, each in a new process. Nothing else should run on the machine. The results are printed as a table and
written as JSON lines.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

NAMES = ("hidden-size", "num-layers", "batch-size", "sequence-length", "learning-rate", "dropout")


def measure(text: str, row: str, more: list[str]) -> dict[str, object]:
    """Train once and return the figures of the model's card."""
    sizes = [
        part
        for name, value in zip(NAMES, row.split(","), strict=True)
        for part in (f"--{name}", value)
    ]
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "m.safetensors"
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "elman",
                "train",
                text,
                "-o",
                str(output),
                "--json",
                *sizes,
                *more,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=True,
        )
    card = json.loads(done.stdout)["card"]
    if card["held_out"]["loss"] <= 0 or card["training"]["recoveries"]:
        raise SystemExit(f"{row}: not a sound run: {card['training']}")
    return {
        "row": row,
        "held_out_loss": card["held_out"]["loss"],
        "ngram_loss": card["ngram"]["loss"],
        "epochs": card["training"]["epochs"],
        "seconds": card["training"]["seconds"],
        "machine": platform.processor() or platform.machine(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text")
    parser.add_argument("--try", dest="rows", action="append", required=True, metavar="ROW")
    parser.add_argument("--output", default="recipe.jsonl")
    arguments, more = parser.parse_known_args()
    for row in arguments.rows:
        result = measure(arguments.text, row, more)
        print(f"{row:32} {result['held_out_loss']:.4f}  {result['epochs']:.2f} epochs", flush=True)
        with open(arguments.output, "a", encoding="utf-8") as file:
            file.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
