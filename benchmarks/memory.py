"""Compare the peak memory of a word model's first training step with torch's, each in a new process.

    python benchmarks/memory.py elman|torch [V T B H]

prints the loss and the growth of the process's memory as JSON. The growth is the peak during embedding,
layers, head, loss and backward minus the memory before the step. The optimiser is not measured.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from benchmarks.measure import Case, Prepared, Row, Settings

__all__ = ["SIZES", "ask", "cases", "memory"]

SIZES = (33_278, 35, 32, 200)
"""Sizes V, T, B, H: words, steps, sequences, units."""


def _status(name: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/status says nothing of {name}")


def _measured(side: str, V: int, T: int, B: int, H: int) -> dict[str, float]:
    import torch
    from benchmarks import steps

    from elman import nn

    torch.manual_seed(0)
    layer, way = (nn.LSTM, "loss") if side == "elman" else (torch.nn.LSTM, "plain_loss")
    model = steps.LanguageModel(layer, V, H)
    batch = steps._batch(V, T, B)
    # reset the peak, so that the peak of the imports does not count
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmHWM")
    loss = getattr(model, way)(*batch)
    loss.backward()
    return {"loss": loss.item(), "mebibytes": _status("VmHWM") - before}


def ask(side: str, sizes: tuple[int, int, int, int] = SIZES) -> dict[str, float]:
    """Return the loss, and the MiB by which one step of `side` raised the peak memory of its process.

    Each step runs in a new process, because a used one may already hold free memory.
    """
    command = [sys.executable, __file__, side, *map(str, sizes)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


def memory(settings: Settings) -> Prepared:
    """Measure both sides in turn, three times each: one sample for each process, and samples hardly vary."""
    del settings
    from benchmarks.steps import _allowed

    V, T, B, H = SIZES
    first = {side: ask(side) for side in ("elman", "torch")}
    losses = [answer["loss"] for answer in first.values()]
    share = abs(losses[0] - losses[1]) / losses[1] / _allowed("lstm", V, T, B, H)
    assert share <= 1, f"losses {losses}"

    def measure(rounds: int) -> dict[str, list[float]]:
        found: dict[str, list[float]] = {
            side: [answer["mebibytes"]] for side, answer in first.items()
        }
        for _ in range(min(rounds, 3) - 1):
            for side, samples in found.items():
                samples.append(ask(side)["mebibytes"])
        return found

    row = Row(
        f"memory of a word step, V {V:,}, T·B {T * B:,}, H {H}",
        ("elman",),
        ("torch",),
        0.6,
        0.3,
        by="memory",
    )
    return Prepared([row], agreement={"loss": share}, measure=measure, unit="MiB")


def cases() -> list[Case]:
    """Return the case that measures memory."""
    return [Case("memory", memory)]


if __name__ == "__main__":
    print(json.dumps(_measured(sys.argv[1], *map(int, sys.argv[2:] or SIZES))))
