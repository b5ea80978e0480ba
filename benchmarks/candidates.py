"""Train candidates for the cell and the layers around it, in plain torch and with equal steps.

    python benchmarks/candidates.py FOLDER [--data tinyshakespeare botchan] [--candidate NAME ...] \\
        [--steps 1500] [--size 128] [--rate 0.012] [--seeds 1] [--output FILE]

FOLDER holds the texts. Each candidate is a character model with one recurrent layer unless its name says
more. The benchmark prints the validation loss (nats per character) and the multiplications of a token as a
multiple of those of the plain LSTM. A candidate that is no better with equal steps cannot be better with
equal time, so it needs no fast kernel to be judged. Compare at several rates: at a rate that is too low for
the plain LSTM, every change that enlarges the gradients looks like a gain. Results are appended to a file as
JSON lines; a measurement that is there already is not repeated.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, dropout, gelu, layer_norm, logsigmoid

LENGTH, BATCH, DROPOUT, DECAY = 64, 32, 0.2, 0.05
TEXTS = {
    # file, characters for training; the next part validates
    "tinyshakespeare": ("tinyshakespeare/input.txt", 250_000),
    "botchan": ("text/botchan.txt", 200_000),
    "wikitext2": ("wikitext2/train.txt", 250_000),
}
VALIDATION = 40_000

State = tuple[Tensor, ...]


class LSTM(nn.Module):
    """A long short-term memory; its options are the candidates that change the cell."""

    def __init__(
        self,
        size: int,
        rounds: int = 0,
        normalised: bool = False,
        zoneout: float = 0.0,
        integrated: bool = False,
    ) -> None:
        super().__init__()
        self.size, self.normalised, self.zoneout = size, normalised, zoneout
        self.input, self.recurrent = nn.Linear(size, 4 * size), nn.Linear(size, 4 * size, False)
        # Y. Wu et al., arXiv:1606.06630: the two products multiply each other
        self.integrated = integrated
        if integrated:
            self.factors = nn.Parameter(torch.ones(3, 4 * size))
        self.rounds = nn.ModuleList(nn.Linear(size, size) for _ in range(rounds))
        with torch.no_grad():
            self.input.bias[size : 2 * size] += 1.0

    @property
    def products(self) -> int:
        return (8 + len(self.rounds)) * self.size**2

    def start(self, batch: int) -> State:
        return (torch.zeros(batch, self.size), torch.zeros(batch, self.size))

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        hidden, cell = state
        outputs = []
        projected = None if self.rounds else self.input(x)
        for step in range(len(x)):
            above, below = hidden, x[step]
            # G. Melis et al., arXiv:1909.01792: input and state modulate each other in turn
            for number, linear in enumerate(self.rounds):
                if number % 2 == 0:
                    below = 2 * torch.sigmoid(linear(above)) * below
                else:
                    above = 2 * torch.sigmoid(linear(below)) * above
            gates = self.input(below) if projected is None else projected[step]
            other = self.recurrent(above)
            if self.integrated:
                both, first, second = self.factors
                plain = gates - self.input.bias
                gates = both * plain * other + first * plain + second * other + self.input.bias
            else:
                gates = gates + other
            if self.normalised:
                gates = layer_norm(gates.unflatten(-1, (4, self.size)), (self.size,)).flatten(-2)
            i, f, g, o = gates.chunk(4, -1)
            new_cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
            seen = layer_norm(new_cell, (self.size,)) if self.normalised else new_cell
            new_hidden = torch.sigmoid(o) * torch.tanh(seen)
            # D. Krueger et al., arXiv:1606.01305: some units keep their old value
            cell = kept(cell, new_cell, self.zoneout, self.training)
            hidden = kept(hidden, new_hidden, self.zoneout / 5, self.training)
            outputs.append(hidden)
        return torch.stack(outputs), (hidden, cell)


def kept(old: Tensor, new: Tensor, share: float, training: bool) -> Tensor:
    """Return the new values, but for a share of units the old ones; outside training their mean."""
    if not share:
        return new
    mask = torch.bernoulli(torch.full_like(new, share)) if training else share
    return new + mask * (old - new)


class GatedLinear(nn.Module):
    """Blocks of a short convolution, a gated linear recurrence and an MLP (De et al., arXiv:2402.19427)."""

    def __init__(self, size: int, blocks: int = 2) -> None:
        super().__init__()
        self.size, self.blocks = size, blocks

        def each(make: Callable[[], nn.Module]) -> nn.ModuleList:
            return nn.ModuleList(make() for _ in range(blocks))

        self.norms = each(lambda: nn.LayerNorm(size))
        self.middle_norms = each(lambda: nn.LayerNorm(size))
        self.branches = each(lambda: nn.Linear(size, 2 * size))
        self.convolutions = each(lambda: nn.Conv1d(size, size, 4, groups=size))
        self.gates = each(lambda: nn.Linear(size, 2 * size))
        self.outputs = each(lambda: nn.Linear(size, size))
        self.wide, self.narrow = (
            each(lambda: nn.Linear(size, 4 * size)),
            each(lambda: nn.Linear(2 * size, size)),
        )
        self.decay = nn.Parameter(torch.linspace(2.0, 7.0, size).repeat(blocks, 1))

    @property
    def products(self) -> int:
        return self.blocks * (5 + 6) * self.size**2

    def start(self, batch: int) -> State:
        zeros = torch.zeros(batch, self.size)
        return (zeros,) * self.blocks + (zeros.expand(3, batch, self.size),) * self.blocks

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        hidden, past = list(state[: self.blocks]), list(state[self.blocks :])
        for b in range(self.blocks):
            branch, gate = self.branches[b](self.norms[b](x)).chunk(2, -1)
            padded = torch.cat([past[b], branch])
            past[b] = padded[-3:]
            convolved = self.convolutions[b](padded.permute(1, 2, 0)).permute(2, 0, 1)
            forget, enter = self.gates[b](convolved).sigmoid().chunk(2, -1)
            log_keep = 8 * forget * logsigmoid(self.decay[b])
            keep = log_keep.exp()
            entering = (1 - (2 * log_keep).exp() + 1e-6).sqrt() * enter * convolved
            outputs = []
            for step in range(len(x)):
                hidden[b] = keep[step] * hidden[b] + entering[step]
                outputs.append(hidden[b])
            x = x + self.outputs[b](torch.stack(outputs) * gelu(gate))
            value, gate = self.wide[b](self.middle_norms[b](x)).chunk(2, -1)
            x = x + self.narrow[b](value * gelu(gate))
        return x, (*hidden, *past)


class Model(nn.Module):
    """A character model: embeddings, a recurrent part, and a head that shares the embeddings' weights."""

    def __init__(self, recurrent: Any, vocabulary: int, **extra: Any) -> None:
        super().__init__()
        size = recurrent.size
        self.recurrent, self.extra, self.vocabulary = recurrent, extra, vocabulary
        self.embedding = nn.Embedding(vocabulary, size)
        nn.init.uniform_(self.embedding.weight, -(size**-0.5), size**-0.5)
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        if extra.get("components", 1) > 1:
            # Z. Yang et al., arXiv:1711.03953: a weighted sum of several softmax distributions
            count = extra["components"]
            self.latent, self.weights = nn.Linear(size, count * size), nn.Linear(size, count)
        if extra.get("ngrams"):
            self.ngrams = nn.ModuleList(nn.Embedding(1 << 15, size) for _ in range(2))
            for table in self.ngrams:
                nn.init.zeros_(table.weight)
        if extra.get("direct"):
            # T. Mikolov et al. 2011: the last characters vote for the next one without the network
            self.direct = nn.ModuleList(nn.Embedding(1 << 15, vocabulary) for _ in range(2))
            for table in self.direct:
                nn.init.zeros_(table.weight)

    def start(self, batch: int) -> State:
        return (*self.recurrent.start(batch), torch.zeros(3, batch, dtype=torch.long))

    def forward(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Return log probabilities ``[T, B, V]`` and the new state."""
        seen = torch.cat([state[-1], tokens])
        length = len(tokens)
        keys = [tokens]
        for back in (1, 2):
            keys.append((keys[-1] * 1_000_003 + seen[3 - back : 3 - back + length] + 1) % (1 << 31))
        x = self.embedding(tokens)
        if self.extra.get("ngrams"):
            for table, key in zip(self.ngrams, keys[1:], strict=True):
                x = x + table(key % (1 << 15))
        hidden, new = self.recurrent(x, state[:-1])
        if self.extra.get("skip"):
            hidden = hidden + x
        hidden = dropout(hidden, DROPOUT, self.training)
        if (count := self.extra.get("components", 1)) > 1:
            latent = torch.tanh(self.latent(hidden)).unflatten(-1, (count, -1))
            shares = (latent @ self.embedding.weight.T + self.bias).log_softmax(-1)
            weights = self.weights(hidden).log_softmax(-1)
            return (shares + weights[..., None]).logsumexp(-2), (*new, seen[-3:])
        logits = hidden @ self.embedding.weight.T + self.bias
        if self.extra.get("direct"):
            for table, key in zip(self.direct, keys[1:], strict=True):
                logits = logits + table(key % (1 << 15))
        return logits.log_softmax(-1), (*new, seen[-3:])


CANDIDATES: dict[str, Callable[[int, int], Model]] = {
    "lstm": lambda size, v: Model(LSTM(size), v),
    "layer norm": lambda size, v: Model(LSTM(size, normalised=True), v),
    "zoneout .1": lambda size, v: Model(LSTM(size, zoneout=0.1), v),
    "mogrifier, 2 rounds": lambda size, v: Model(LSTM(size, rounds=2), v),
    "mogrifier, 5 rounds": lambda size, v: Model(LSTM(size, rounds=5), v),
    "multiplicative integration": lambda size, v: Model(LSTM(size, integrated=True), v),
    "skip connection": lambda size, v: Model(LSTM(size), v, skip=True),
    "two softmax components": lambda size, v: Model(LSTM(size), v, components=2),
    "gated linear recurrence, 2 blocks": lambda size, v: Model(GatedLinear(size), v),
    "n-gram embeddings": lambda size, v: Model(LSTM(size), v, ngrams=True),
    "direct n-gram connections": lambda size, v: Model(LSTM(size), v, direct=True),
}


def lanes(ids: Tensor, batch: int) -> Tensor:
    """Return a text as ``[T, B]``: parallel parts of equal length."""
    return ids[: len(ids) // batch * batch].view(batch, -1).T.contiguous()


def loss(model: Model, text: Tensor) -> float:
    """Return the mean loss (nats) over a text ``[T, B]``."""
    model.eval()
    state, total = model.start(text.shape[1]), 0.0
    with torch.no_grad():
        for begin in range(0, len(text) - 1, LENGTH):
            targets = text[begin + 1 : begin + 1 + LENGTH]
            found, state = model(text[begin : begin + len(targets)], state)
            total += float(cross_entropy(found.flatten(0, 1), targets.flatten(), reduction="sum"))
    model.train()
    return total / text[1:].numel()


def measure(
    name: str, data: str, root: Path, seed: int, *, size: int, steps: int, rate: float
) -> dict[str, Any]:
    """Train one candidate and return its best validation loss."""
    file, length = TEXTS[data]
    text = (root / file).read_text(encoding="utf-8")[: length + VALIDATION]
    characters = sorted({*text[:length]})
    ids = torch.tensor([characters.index(c) for c in text if c in characters])
    train, valid = lanes(ids[:length], BATCH), lanes(ids[length:], BATCH)
    torch.manual_seed(seed)
    model = CANDIDATES[name](size, len(characters))
    with torch.no_grad():
        model.bias.copy_((torch.bincount(train.flatten(), minlength=len(characters)) + 0.5).log())
    matrices = [p for p in model.parameters() if p.ndim > 1]
    groups = [
        {"params": matrices, "weight_decay": DECAY},
        {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, rate, (0.9, 0.98))
    state, at, best = model.start(BATCH), 0, math.inf
    begun = time.process_time()
    for step in range(steps):
        if at + LENGTH + 1 > len(train):
            at, state = 0, model.start(BATCH)
        share = min(1.0, (step + 1) / (0.03 * steps)) * 0.5 * (1 + math.cos(math.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = rate * share
        found, state = model(train[at : at + LENGTH], tuple(part.detach() for part in state))
        cost = cross_entropy(found.flatten(0, 1), train[at + 1 : at + 1 + LENGTH].flatten())
        optimizer.zero_grad()
        cost.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        at += LENGTH
        if (step + 1) % (steps // 5) == 0:
            best = min(best, loss(model, valid))
    plain = CANDIDATES["lstm"](size, len(characters)).recurrent.products
    return {
        "loss": best,
        "products": model.recurrent.products / plain,
        "cpu_seconds": time.process_time() - begun,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("root", metavar="FOLDER", type=Path)
    parser.add_argument("--data", nargs="+", default=["tinyshakespeare", "botchan"], choices=TEXTS)
    parser.add_argument("--candidate", nargs="+", default=[*CANDIDATES], choices=CANDIDATES)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--rate", type=float, default=0.012)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument(
        "--output", type=Path, default=Path(tempfile.gettempdir(), "candidates.jsonl")
    )
    given = parser.parse_args()
    known = []
    if given.output.exists():
        known = [json.loads(line) for line in given.output.read_text().splitlines()]
    settings = {"size": given.size, "steps": given.steps, "rate": given.rate}
    cases = itertools.product(given.candidate, given.data, range(given.seeds))
    for name, data, seed in cases:
        wanted = settings | {"candidate": name, "data": data, "seed": seed}
        row = next((row for row in known if wanted.items() <= row.items()), None)
        if row is None:
            row = wanted | measure(name, data, given.root, seed, **settings)
            with given.output.open("a") as file:
                file.write(json.dumps(row) + "\n")
        figures = f"{row['loss']:.4f}  products x {row['products']:.2f}"
        print(f"{name:34} {data:16} seed {seed}  {figures}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
