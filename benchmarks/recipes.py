"""Measure default language models on a grid of texts, budgets and seeds, beside a plain torch script.

    python benchmarks/recipes.py FOLDER [--data names botchan ...] [--time 30s 3m 10m] [--seeds 3] \\
        [--no-plain] [--output FILE] [--set OPTION=VALUE ...]

FOLDER holds the data sets; a set that is not there is left out. For each text and budget the benchmark prints
the held-out loss (nats per token) of Elman with its default settings, of a plain script with the same time
and threads (one LSTM layer of torch, Adam, a cosine schedule, the best network by the validation loss), and
of the n-gram model. `--set` replaces a default, such as dropout=0.2.

At the end it says whether a longer budget gave a worse network than a shorter one, by more than the standard
error over the seeds; the exit code is then 1. So this prints the curve of loss over budget of one text:

    python benchmarks/recipes.py FOLDER --data tinyshakespeare --time 10s 30s 3m 15m 60m 120m --no-plain

Nothing else should run on the machine. Results are appended to a file as JSON lines; a measurement that is
there already is not repeated, so a grid can be interrupted and resumed.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

import elman
from elman.language.dataset import Dataset, load_dataset
from elman.language.options import LanguageOptions
from elman.training.options import seconds

NAMES_HELD_OUT = 1000

Text = dict[str, Any]
"""The arguments `X`, `valid` and `test` of `LanguageModel.fit`, and options of the model."""


def _long_text(text: str, folder: Path, **options: Any) -> Text:
    """Return the last tenth of a text as its test set; Elman takes stretches of the rest for validation."""
    end = int(len(text) * 0.9)
    parts = {"X": text[:end], "test": text[end:]}
    for name, part in parts.items():
        (folder / name).write_text(part, encoding="utf-8", newline="")
    return {name: folder / name for name in parts} | {"valid": None} | options


def _names(path: Path, folder: Path) -> Text:
    """Return names in random order: 1,000 for the test, 500 for validation, the others for training."""
    names = path.read_text().split()
    random.Random(0).shuffle(names)
    ends = [len(names) - NAMES_HELD_OUT - 500, len(names) - NAMES_HELD_OUT, len(names)]
    files = []
    for begin, end in zip([0, *ends], ends, strict=False):
        files.append(folder / f"names-{begin}.txt")
        files[-1].write_text("\n".join(names[begin:end]) + "\n")
    training, validation, test = files
    return {"X": training, "valid": validation, "test": test, "level": "char", "documents": "line"}


def load(name: str, root: Path, folder: Path) -> Text | None:
    """Return a data set by its name, None where it is not in `root`."""
    folder.mkdir(parents=True, exist_ok=True)
    if name == "manual":  # the language reference that comes with Python
        from pydoc_data.topics import topics

        text = "\n\n".join(topics[topic] for topic in sorted(topics))
        return _long_text(text, folder, level="char")
    path = root / PATHS[name]
    if not path.exists():
        return None
    if name == "names":
        return _names(path, folder)
    if name == "wikitext2":
        texts = {"X": "train.txt", "valid": "valid.txt", "test": "test.txt"}
        return {key: path / file for key, file in texts.items()} | {"level": "word"}
    text = path.read_text(encoding="utf-8-sig").replace("\r\n", "\n")
    if name == "botchan 80 KB":
        text = text[:80_000]
    level = "word" if name == "hdfs log" else "char"
    options = {"level": level, "split": "log"} if name == "hdfs log" else {"level": level}
    return _long_text(text, folder, **options)


PATHS = {
    "tinyshakespeare": "tinyshakespeare/input.txt",
    "wikitext2": "wikitext2",
    "names": "names/names.txt",
    "botchan": "text/botchan.txt",
    "botchan 80 KB": "text/botchan.txt",
    "hdfs log": "logs/HDFS_2k.log",
    "manual": "",
}


def elman_losses(text: Text, budget: str, seed: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Train Elman's defaults and return the held-out losses of the network and of the n-gram model."""
    fitted = {key: text[key] for key in ("X", "valid", "test")}
    options = {key: value for key, value in text.items() if key not in fitted} | settings
    model = elman.LanguageModel(time=budget, seed=seed, **options).fit(**fitted)
    card = model.card_
    return {
        "loss": card["held_out"]["loss"],
        "ngram": card["ngram"]["loss"],
        "epochs": card["training"]["epochs"],
        "seconds": card["training"]["seconds"],
    }


class _Plain(torch.nn.Module):
    """A language model as a tutorial writes it: embedding, one LSTM layer, dropout and a linear layer."""

    def __init__(self, words: int, size: int) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(words, size)
        self.lstm = torch.nn.LSTM(size, size)
        self.dropout = torch.nn.Dropout(0.2)
        self.output = torch.nn.Linear(size, words)

    def forward(self, ids: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        hidden, state = self.lstm(self.dropout(self.embedding(ids)), state)
        return self.output(self.dropout(hidden)), state


def _pieces(ids: np.ndarray, lanes: int, steps: int) -> Iterator[torch.Tensor]:
    """Yield pieces ``[T + 1, B]`` of a text that is cut into lanes; each begins with the last one's end."""
    length = len(ids) // lanes
    columns = torch.from_numpy(ids[: lanes * length].astype(np.int64).reshape(lanes, length).T)
    for begin in range(0, length - 1, steps):
        yield columns[begin : begin + steps + 1]


def _loss(network: _Plain, piece: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
    logits, state = network(piece[:-1], state)
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), piece[1:].flatten())
    return loss, state


def _measured(network: _Plain, ids: np.ndarray) -> float:
    """Return the mean loss over a text that is read in one lane."""
    network.eval()
    state, total, count = None, 0.0, 0
    with torch.no_grad():
        for piece in _pieces(ids, 1, 1000):
            loss, state = _loss(network, piece, state)
            total += float(loss) * (len(piece) - 1)
            count += len(piece) - 1
    network.train()
    return total / count


def plain_loss(dataset: Dataset, budget: float, seed: int, size: int = 256) -> float:
    """Train the plain network for `budget` seconds and return its loss on the test set."""
    assert dataset.test is not None
    torch.manual_seed(seed)
    network = _Plain(len(dataset.training.codec), size)
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    begun, state, best = time.monotonic(), None, (math.inf, network.state_dict())
    pieces, evaluations = iter(()), 0
    while (done := (time.monotonic() - begun) / budget) < 1:
        if (piece := next(pieces, None)) is None:
            state, pieces = None, _pieces(np.asarray(dataset.training.ids), 32, 64)
            continue
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * 0.5 * (1 + math.cos(math.pi * done))
        loss, state = _loss(network, piece, state)
        state = tuple(part.detach() for part in state)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        if done * 5 >= evaluations + 1:
            evaluations += 1
            best = _better(network, dataset, best)
    network.load_state_dict(_better(network, dataset, best)[1])
    return _measured(network, np.asarray(dataset.test.ids))


def _better(network: _Plain, dataset: Dataset, best: Any) -> Any:
    """Return the better of `best` and the network as it is now, by the validation loss."""
    assert dataset.validation is not None
    loss = _measured(network, np.asarray(dataset.validation.ids))
    if loss >= best[0]:
        return best
    return loss, {name: value.clone() for name, value in network.state_dict().items()}


def measure(text: Text, key: dict[str, Any], plain: bool) -> dict[str, Any]:
    """Return the figures of one cell of the grid for one seed."""
    settings = key["settings"]
    result = elman_losses(text, key["time"], key["seed"], settings)
    if plain:
        sources = {"valid": text["valid"], "test": text["test"]}
        options = {k: v for k, v in text.items() if k not in ("X", "valid", "test")}
        dataset = load_dataset(text["X"], LanguageOptions(**options), **sources)
        result["plain"] = plain_loss(dataset, seconds(key["time"]), key["seed"])
    machine = {"machine": platform.processor() or platform.machine(), "elman": elman.__version__}
    return key | result | machine | {"threads": torch.get_num_threads()}


def _line(rows: list[dict[str, Any]]) -> str:
    losses = [row["loss"] for row in rows]
    spread = f" ± {statistics.stdev(losses):.4f}" if len(losses) > 1 else ""
    shown = f"{statistics.mean(losses):.4f}{spread:9}  {rows[0]['epochs']:6.1f} epochs"
    if "plain" in rows[0]:
        shown += f"  plain {statistics.mean(row['plain'] for row in rows):.4f}"
    return f"{shown}  n-gram {rows[0]['ngram']:.4f}"


def worse_with_time(rows: list[list[dict[str, Any]]]) -> list[str]:
    """Return a sentence for each budget that is worse than a shorter one; `rows` are sorted by budget."""
    found = []
    for index, longer in enumerate(rows):
        for shorter in rows[:index]:
            mean, least = (
                statistics.mean(row["loss"] for row in part) for part in (longer, shorter)
            )
            variances = [
                statistics.variance([row["loss"] for row in part]) / len(part)
                for part in (longer, shorter)
                if len(part) > 1
            ]
            if mean - least > math.sqrt(sum(variances)):
                data, long, short = longer[0]["data"], longer[0]["time"], shorter[0]["time"]
                found.append(f"{data}: {long} is worse than {short} by {mean - least:.4f}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", nargs="+", default=[*PATHS], choices=[*PATHS])
    parser.add_argument("--time", nargs="+", default=["30s", "3m", "10m"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--no-plain", action="store_true")
    parser.add_argument("--output", type=Path, default=Path(tempfile.gettempdir(), "recipes.jsonl"))
    parser.add_argument("--set", nargs="*", default=[], metavar="OPTION=VALUE")
    given = parser.parse_args()
    settings = {name: json.loads(value) for name, value in (s.split("=", 1) for s in given.set)}
    known = []
    if given.output.exists():
        known = [json.loads(line) for line in given.output.read_text().splitlines()]
    worse: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in given.data:
            if (text := load(name, given.folder, Path(folder, name.replace(" ", "-")))) is None:
                print(f"{name}: not in {given.folder}")
                continue
            grid = []
            for budget in sorted(given.time, key=seconds):
                rows = []
                for seed in range(given.seeds):
                    key = {"data": name, "time": budget, "seed": seed, "settings": settings}
                    row = next((row for row in known if key.items() <= row.items()), None)
                    if row is None:
                        row = measure(text, key, not given.no_plain)
                        with given.output.open("a") as file:
                            file.write(json.dumps(row) + "\n")
                    rows.append(row)
                grid.append(rows)
                print(f"{name:16} {budget:>5}  {_line(rows)}", flush=True)
            worse += worse_with_time(grid)
    for sentence in worse:
        print(sentence)
    return int(bool(worse))


if __name__ == "__main__":
    sys.exit(main())
