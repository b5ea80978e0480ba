from __future__ import annotations

import copy
import inspect
import io
import pickle
from typing import Any

import numpy as np
import pytest
import torch

from cases import CASES, CELLS, Case, cell_id, plain
from cell_checks import close
from elman import nn
from elman._errors import OptionError
from elman.cells import Cell

PAIRS = [(nn.RNN, torch.nn.RNN), (nn.GRU, torch.nn.GRU), (nn.LSTM, torch.nn.LSTM)]
WAYS: list[dict[str, Any]] = [
    {},
    {"num_layers": 2, "bidirectional": True},
    {"bias": False, "batch_first": True},
    {"num_layers": 3, "dropout": 0.5, "dtype": torch.float64},
]


@pytest.mark.parametrize(("ours", "torchs"), PAIRS)
@pytest.mark.parametrize("options", WAYS)
def test_drop_in_for_torchs(ours: Any, torchs: Any, options: dict[str, Any]) -> None:
    """One seed gives one initialisation, and state_dicts load strictly both ways."""
    layers = []
    for kind in (ours, torchs):
        torch.manual_seed(5)
        layers.append(kind(3, 4, **options).eval())
    mine, theirs = layers
    assert isinstance(mine, torchs)
    assert repr(mine) == repr(theirs)
    assert list(mine.state_dict()) == list(theirs.state_dict())
    for name, weight in mine.state_dict().items():
        assert torch.equal(weight, theirs.state_dict()[name])
    x = torch.randn(5, 2, 3, dtype=options.get("dtype"))
    assert torch.equal(mine(x)[0], theirs(x)[0])
    for source, target in ((mine, theirs), (theirs, mine)):
        with torch.no_grad():
            for weight in source.parameters():
                weight += 0.25
        target.load_state_dict(source.state_dict())
        assert torch.equal(mine(x)[0], theirs(x)[0])


def test_positional_arguments_are_in_torchs_order() -> None:
    layer = nn.RNN(3, 4, 2, "relu", False, True, 0.5, True)
    oracle = torch.nn.RNN(3, 4, 2, "relu", False, True, 0.5, True)
    assert repr(layer) == repr(oracle)
    assert list(layer.state_dict()) == list(oracle.state_dict())
    given = (3, 4, 2, False, True, 0.5, True)
    assert repr(nn.MinGRU(*given)) == repr(torch.nn.GRU(*given)).replace("GRU", "MinGRU")
    # torch.nn.GRU's own signature is *args: its documentation gives the names and defaults
    assert list(inspect.signature(nn.MinGRU).parameters) == [
        "input_size",
        "hidden_size",
        "num_layers",
        "bias",
        "batch_first",
        "dropout",
        "bidirectional",
        "device",
        "dtype",
    ]


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_lstm_with_projection() -> None:
    torch.manual_seed(0)
    layer = nn.LSTM(3, 4, proj_size=2)
    oracle = torch.nn.LSTM(3, 4, proj_size=2)
    oracle.load_state_dict(layer.state_dict())
    x = torch.randn(5, 2, 3)
    assert torch.equal(layer(x)[0], oracle(x)[0])
    assert layer(x)[0].shape == (5, 2, 2)


@pytest.mark.parametrize("cell", CELLS, ids=cell_id)
def test_only_what_torch_lacks_is_unrolled(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    """RNN, GRU and LSTM take torch's own fast path; a silent fallback would hide it."""
    runs: list[str] = []

    def spy(module: Any, *given: Any) -> Any:
        runs.append(module.cell.name)
        return plain(module, *given)

    monkeypatch.setattr("elman.nn.layers.run", spy)
    layer = Case(cell, 5, 2, 3, 4).layer(torch.float32)
    assert layer.cell is cell
    layer(torch.zeros(5, 2, 3))
    ours = cell.name == "mingru" or cell.activation == "linear"
    assert runs == ([cell.name] if ours else [])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("cell", CELLS, ids=cell_id)
def test_on_cuda_torchs_layers_are_cudnns(cell: Cell) -> None:
    """Proof that cuDNN runs where it can, and that what it cannot run gives the CPU's values."""
    case = Case(cell, 6, 3, 5, 7, num_layers=2)
    layer = case.layer(torch.float32)
    x, hx = case.batch(torch.float32)
    expected, _ = layer(x, hx)
    states = tuple(part.cuda() for part in hx) if isinstance(hx, tuple) else hx.cuda()
    layer.cuda()
    with torch.profiler.profile() as profile:
        y, _ = layer(x.cuda(), states)
    ours = cell.name == "mingru" or cell.activation == "linear"
    assert any("cudnn_rnn" in event.name for event in profile.events()) != ours
    close(y.detach().cpu().numpy(), expected.detach().numpy(), case.rounding(np.float32))


@pytest.mark.parametrize("case", [c for c in CASES if c.T == 6], ids=lambda case: case.id)
def test_parameters_are_the_cells(case: Case) -> None:
    layer = case.layer()
    got = {name: tuple(weight.shape) for name, weight in layer.named_parameters()}
    expected = {}
    directions = ("", "_reverse") if case.bidirectional else ("",)
    for k in range(case.num_layers):
        inputs = case.I if k == 0 else case.H * len(directions)
        for direction in directions:
            shapes = case.cell.parameters(inputs, case.H, case.bias)
            expected |= {f"{name}_l{k}{direction}": shape for name, shape in shapes.items()}
    assert got == expected
    assert list(got) == list(expected)
    assert [len(weights) for weights in layer.all_weights] == [len(shapes)] * case.rows
    bound = case.H**-0.5
    for weight in layer.parameters():
        assert weight.abs().max() <= bound
        assert weight.std() > bound / 4


@pytest.mark.parametrize("cell", CELLS, ids=cell_id)
def test_copies_say_the_same(cell: Cell) -> None:
    layer = Case(cell, 5, 2, 3, 4, num_layers=2).layer(torch.float32)
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    loaded = Case(cell, 5, 2, 3, 4, num_layers=2).layer(torch.float32, seed=9)
    loaded.load_state_dict(torch.load(file, weights_only=True))
    x = torch.randn(5, 2, 3)
    y, _ = layer(x)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), loaded):
        assert torch.equal(other(x)[0], y)
        assert repr(other) == repr(layer)
    double = copy.deepcopy(layer).to(torch.float64)
    double.flatten_parameters()
    assert double(x.double())[0].dtype == torch.float64


@pytest.mark.parametrize("activation", ["linear", "tanh", "relu"])
def test_rnn_shows_its_nonlinearity(activation: str) -> None:
    layer = nn.RNN(3, 4, nonlinearity=activation)
    assert layer.nonlinearity == activation
    assert layer.mode == f"RNN_{activation.upper()}"
    assert layer.cell.activation == activation
    shown = "RNN(3, 4, nonlinearity=linear)" if activation == "linear" else "RNN(3, 4)"
    assert repr(layer) == shown


def test_unknown_nonlinearity_is_torchs_error() -> None:
    with pytest.raises(ValueError, match="Unknown nonlinearity 'gelu'"):
        nn.RNN(3, 4, nonlinearity="gelu")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"input_size": 0}, "input_size: got 0; expected a whole number from 1"),
        ({"hidden_size": 2.5}, "hidden_size: got 2.5; expected a whole number from 1"),
        ({"hidden_size": "a"}, "hidden_size: got a; expected a whole number from 1"),
        ({"num_layers": True}, "num_layers: got True; expected a whole number from 1"),
        ({"dropout": 1.5}, "dropout: got 1.5; expected a number from 0 to 1"),
        ({"dropout": float("nan")}, "dropout: got nan; expected a number from 0 to 1"),
    ],
)
def test_mingru_options(options: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        nn.MinGRU(**{"input_size": 3, "hidden_size": 4, **options})


def test_dropout_of_one_layer_warns_as_torch() -> None:
    for kind in (nn.GRU, nn.MinGRU):
        with pytest.warns(UserWarning, match="dropout"):
            kind(3, 4, dropout=0.5)


def test_mingru_on_another_device() -> None:
    layer = nn.MinGRU(3, 4, device="meta", dtype=torch.bfloat16)
    assert {(weight.device.type, weight.dtype) for weight in layer.parameters()} == {
        ("meta", torch.bfloat16)
    }
