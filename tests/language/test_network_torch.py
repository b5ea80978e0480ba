"""The network in training agrees with the network that predicts from the file."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from elman.files.model import Model
from elman.language.batches import evaluation_chunks
from elman.language.config import NetworkConfig
from elman.language.network_torch import Network
from elman.language.tokens import IGNORE, Tokens
from elman.language.train import held_out_loss
from elman.text.vocabulary import TextCodec
from factories import CELLS, open_language

# rounding error of two float32 implementations: sums of about 50 terms, in 3 layers and a few hundred steps
TOLERANCE = 2e-5


def build(
    cell: str, activation: str, *, tied: bool, residual: bool, bias: bool = True
) -> tuple[Network, Model]:
    torch.manual_seed(1)
    tokens = ("<unk>", *"abcdefgh \n")
    config = NetworkConfig(
        "language",
        cell,
        activation,
        len(tokens),
        12,
        12,
        3,
        residual=residual,
        tied=tied,
        bias=bias,
    )
    network = Network(config).eval()
    codec = TextCodec(level="char", split="words", documents="file", tokens=tokens)
    return network, Model(config, network.arrays(), codec, {})


@pytest.mark.parametrize(("cell", "activation"), CELLS)
@pytest.mark.parametrize(("tied", "residual"), [*itertools.product([False, True], repeat=2)])
def test_training_and_prediction_networks_agree(
    cell: str, activation: str, tied: bool, residual: bool
) -> None:
    network, model = build(cell, activation, tied=tied, residual=residual)
    text = "".join(np.random.default_rng(0).choice(list("abcdefgh \n"), 300))
    ids = model.codec.encode(text)
    chunks = evaluation_chunks(Tokens(ids, np.array([0])), lanes=1, sequence_length=33)
    expected = held_out_loss(network, chunks)
    found = open_language(model).evaluate(text, lanes=1).loss
    assert found == pytest.approx(expected, abs=TOLERANCE)


def test_layers_without_bias_agree() -> None:
    network, model = build("gru", "tanh", tied=True, residual=False, bias=False)
    with torch.no_grad():
        hidden, _ = network(torch.tensor([[1], [2], [3]]))
        logits = network.head(hidden)[-1, 0].numpy()
    probabilities = open_language(model).stream().feed("abc").probabilities
    assert "layers.0.bias_ih" not in model.arrays
    np.testing.assert_allclose(
        np.log(probabilities), logits - np.logaddexp.reduce(logits), atol=TOLERANCE
    )


def test_arrays_round_trip() -> None:
    network, model = build("lstm", "tanh", tied=True, residual=True)
    other = Network(model.config)
    other.load(model.arrays)
    for name, array in other.arrays().items():
        np.testing.assert_array_equal(array, model.arrays[name])
    assert network.head.weight is network.embedding.weight


def test_padding_does_not_change_the_loss() -> None:
    network, _ = build("gru", "tanh", tied=False, residual=False)
    tokens = torch.tensor([[1, 2], [3, 0], [4, 0]])
    targets = torch.tensor([[3, 5], [4, IGNORE], [5, IGNORE]])
    hidden, _ = network(tokens)
    both = network.loss(hidden, targets, IGNORE).item()
    alone = sum(
        network.loss(
            network(tokens[:length, lane : lane + 1])[0], targets[:length, lane : lane + 1], IGNORE
        ).item()
        for lane, length in ((0, 3), (1, 1))
    )
    assert both == pytest.approx(alone, abs=TOLERANCE)


def test_training_begins_at_the_frequencies_of_the_tokens() -> None:
    network, _ = build("gru", "tanh", tied=False, residual=False)
    counts = np.arange(11)
    network.start_from(np.repeat(np.arange(11), counts), seed=0)
    probabilities = torch.softmax(network.head(torch.zeros(12)), 0).detach().numpy()
    np.testing.assert_allclose(probabilities, (counts + 0.5) / (counts + 0.5).sum(), rtol=1e-5)
