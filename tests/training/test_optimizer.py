"""Muon takes orthogonal steps for recurrent matrices, and leaves all other weights to AdamW."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from elman.language.config import NetworkConfig
from elman.language.network_torch import Network
from elman.language.options import LanguageOptions
from elman.language.plan import resolve
from elman.training.optimizer import MUON_RATE, AdamW, Muon, optimizer_of, orthogonalised

H = 24


def network_and_optimizer(cell: Any, **options: Any) -> tuple[Network, AdamW]:
    torch.manual_seed(0)
    network = Network(NetworkConfig("language", cell, "tanh", 30, H, H, 2))
    plan = resolve(LanguageOptions(level="char", cell=cell, steps=9, **options), 10_000, 30)
    return network, optimizer_of(network, plan)


def take_step(network: Network, optimizer: AdamW) -> None:
    tokens = torch.randint(29, (9, 16), generator=torch.Generator().manual_seed(0))
    hidden, _ = network(tokens)
    optimizer.zero_grad()
    network.loss(hidden, tokens + 1, -100).backward()
    optimizer.clipped_step(optimizer.norm(), 1.0)


@pytest.mark.parametrize("rows", [H, 3 * H, 4 * H])
def test_singular_values_become_about_one(rows: int) -> None:
    torch.manual_seed(0)
    singular = torch.linalg.svdvals(orthogonalised(torch.randn(rows, H)))
    # the smallest singular value of a square random matrix can be far below the others
    assert singular.median() > 0.6
    assert singular.max() < 1.3


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_only_recurrent_matrices_take_orthogonal_steps(cell: str) -> None:
    (one, adamw), (other, muon) = (
        network_and_optimizer(cell, optimizer=name) for name in ("adamw", "muon")
    )
    assert type(adamw) is AdamW
    assert type(muon) is Muon
    before = {name: weight.detach().clone() for name, weight in other.named_parameters()}
    take_step(one, adamw)
    take_step(other, muon)
    expected = dict(one.named_parameters())
    for name, weight in other.named_parameters():
        if "weight_hh" not in name:
            assert torch.equal(weight, expected[name])
            continue
        group = muon.param_groups[-1]
        rate = MUON_RATE * group["lr"]
        step = weight - before[name] * (1 - rate * group["weight_decay"])
        singular = torch.linalg.svdvals(step.detach()) / rate / (len(weight) / H) ** 0.5
        assert 0.6 < singular.median() < singular.max() < 1.3


def test_a_cell_without_recurrent_matrices_uses_adamw() -> None:
    _, optimizer = network_and_optimizer("mingru", optimizer="muon")
    assert type(optimizer) is AdamW
