from __future__ import annotations

import copy
import functools
import inspect
import io
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pack_sequence
from torch.utils._python_dispatch import TorchDispatchMode

from cases import CASES, CELLS, Case, cell_id, close_by_name, plain, results
from cell_checks import close
from elman import nn
from elman.cells import Cell
from elman.engine import kernel
from elman.errors import OptionError, ShapeError
from elman.nn import stack

PAIRS = [(nn.RNN, torch.nn.RNN), (nn.GRU, torch.nn.GRU), (nn.LSTM, torch.nn.LSTM)]
WAYS: list[dict[str, Any]] = [
    {},
    {"num_layers": 2, "bidirectional": True},
    {"bias": False, "batch_first": True},
    {"num_layers": 3, "dropout": 0.5, "dtype": torch.float64},
]


@pytest.mark.parametrize(("ours", "torchs"), PAIRS)
@pytest.mark.parametrize("options", WAYS)
def test_layers_replace_those_of_torch(ours: Any, torchs: Any, options: dict[str, Any]) -> None:
    """The same seed gives the same initial weights, and state_dicts load strictly in both directions."""
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
    dtype = options.get("dtype", torch.float32)
    shape = {name: value for name, value in options.items() if name not in ("dropout", "dtype")}
    case = Case(mine.cell, 5, 2, 3, 4, **shape)
    same_as_torchs(mine, theirs, case, dtype)
    for source, target in ((mine, theirs), (theirs, mine)):
        with torch.no_grad():
            for weight in source.parameters():
                weight += 0.25
        target.load_state_dict(source.state_dict())
        same_as_torchs(mine, theirs, case, dtype)


def same_as_torchs(
    mine: torch.nn.Module, theirs: torch.nn.Module, case: Case, dtype: torch.dtype
) -> None:
    """Compare values, last states and gradients; all bits are equal if torch computes both layers."""
    got = results(mine, mine, *case.batch(dtype))
    close_by_name(
        got,
        results(theirs, theirs, *case.batch(dtype)),
        case.scattered() if dtype == torch.float32 else 0,
    )


def test_positional_arguments_are_in_torchs_order() -> None:
    layer = nn.RNN(3, 4, 2, "relu", False, True, 0.5, True)
    oracle = torch.nn.RNN(3, 4, 2, "relu", False, True, 0.5, True)
    assert repr(layer) == repr(oracle)
    assert list(layer.state_dict()) == list(oracle.state_dict())
    given = (3, 4, 2, False, True, 0.5, True)
    assert repr(nn.MinGRU(*given)) == repr(torch.nn.GRU(*given)).replace("GRU", "MinGRU")
    # the signature of torch.nn.GRU is *args; the names come from its documentation
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
def test_lstm_with_projection(chosen: Any) -> None:
    """Torch computes projections; the kernel does not have them."""
    torch.manual_seed(0)
    layer = nn.LSTM(3, 4, proj_size=2)
    oracle = torch.nn.LSTM(3, 4, proj_size=2)
    oracle.load_state_dict(layer.state_dict())
    x = torch.randn(5, 2, 3)
    assert torch.equal(layer(x)[0], oracle(x)[0])
    assert layer(x)[0].shape == (5, 2, 2)
    assert not chosen.calls


@pytest.mark.parametrize("cell", CELLS, ids=cell_id)
def test_float32_runs_in_the_kernel(cell: Cell, chosen: Any) -> None:
    """Count the kernel's calls, because a silent fallback to torch would give the same results."""
    case = Case(cell, 5, 2, 3, 4, num_layers=2, bidirectional=True)
    layer = case.layer(torch.float32)
    assert layer.cell is cell
    got = results(layer, layer, *case.batch(torch.float32))
    assert chosen.calls == {"forward": case.rows, "backward": case.rows}
    double = case.layer(torch.float32).double()
    expected = results(functools.partial(plain, double), double, *case.batch())
    close_by_name(got, expected, case.scattered())


def in_autocast(layer: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return layer(x)[0].float()


class Intercepted(TorchDispatchMode):
    """Mode that intercepts operations of torch, as profilers do; it would not see calls of the kernel."""

    seen = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        self.seen += 1
        return func(*args, **(kwargs or {}))


def intercepted(layer: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    with Intercepted() as mode:  # type: ignore[no-untyped-call]
        y = layer(x)[0]
    assert mode.seen
    return y


def compiled(layer: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    torch.compiler.reset()
    return torch.compile(layer, backend="aot_eager")(x)[0]


AROUND: dict[str, Callable[[torch.nn.Module, torch.Tensor], torch.Tensor]] = {
    "double": lambda layer, x: layer.double()(x.double())[0],
    "autocast": in_autocast,
    "compile": compiled,
    "export": lambda layer, x: torch.export.export(layer, (x,)).module()(x)[0],
    "trace": lambda layer, x: torch.jit.trace(layer, (x,), check_trace=False)(x)[0],
    "vjp": lambda layer, x: torch.func.vjp(lambda x: layer(x)[0], x)[0],
    "intercept": intercepted,
}


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore:`torch.jit.trace:DeprecationWarning",
    "ignore::torch.jit.TracerWarning",
    "ignore:The tensor attributes self._flat_weights:UserWarning",  # export of torch's own layers
)
@pytest.mark.parametrize("way", AROUND)
@pytest.mark.parametrize("cell", CELLS, ids=cell_id)
def test_torch_runs_what_the_kernel_cannot(
    cell: Cell, way: str, chosen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RNN, GRU and LSTM then take torch's fast path; only the cells that torch lacks run unrolled."""
    runs: list[str] = []

    def spy(module: Any, *given: Any) -> Any:
        runs.append(module.cell.name)
        return stack.run(module, *given)

    monkeypatch.setattr("elman.nn.layers.run", spy)
    case = Case(cell, 5, 2, 3, 4)
    layer, x = case.layer(torch.float32), case.batch(torch.float32)[0].detach()
    expected, _ = plain(case.layer(torch.float32).double(), x.double())
    y = AROUND[way](layer, x)
    assert not chosen.calls
    ours = cell.name == "mingru" or cell.activation == "linear"
    if way != "compile":  # a compiled call does not run the Python code that records `runs`
        assert set(runs) == ({cell.name} if ours else set())
    # every term is rounded to the 8 bits of bfloat16, and the outputs have a size of about 1
    tolerance = 2**-8 * 2 * case.T if way == "autocast" else case.scattered()
    close(y.detach().numpy(), expected.detach().numpy(), tolerance)


@pytest.mark.parametrize("cell", CELLS, ids=cell_id)
def test_functional_gradient(cell: Cell, chosen: Any) -> None:
    case = Case(cell, 5, 2, 3, 4, num_layers=2)
    layer, x = case.layer(torch.float32), case.batch(torch.float32)[0].detach()

    def loss(parameters: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.func.functional_call(layer, parameters, (x,))[0].square().sum()

    parameters = {name: weight.detach() for name, weight in layer.named_parameters()}
    got = torch.func.grad(loss)(parameters)
    assert not chosen.calls
    double = case.layer(torch.float32).double()
    plain(double, x.double())[0].square().sum().backward()
    for name, weight in double.named_parameters():
        close(got[name].numpy(), weight.grad.numpy(), case.scattered())
    # a functional call without a transformation runs in the kernel
    assert loss(parameters) == layer(x)[0].square().sum()
    assert chosen.calls == {"forward": 4}


@pytest.mark.parametrize("cell", CELLS, ids=cell_id)
def test_vmap_where_torch_has_it(cell: Cell, chosen: Any) -> None:
    case = Case(cell, 5, 2, 3, 4)
    layer, x = case.layer(torch.float32), case.batch(torch.float32)[0].detach()

    def map_over(layer: torch.nn.Module) -> torch.Tensor:
        return torch.vmap(lambda x: layer(x)[0])(torch.stack([x, 2 * x]))

    if cell.name == "mingru" or cell.activation == "linear":
        got = map_over(layer)
        for y, given in zip(got, (x, 2 * x), strict=True):
            close(y.detach().numpy(), plain(layer, given)[0].detach().numpy(), case.scattered())
    else:
        with pytest.raises(RuntimeError, match="Batching rule not implemented for aten::"):
            map_over(layer)
    assert not chosen.calls


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell.name != "lstm"], ids=cell_id)
def test_forward_mode(cell: Cell, chosen: Any) -> None:
    """The derivative along x equals the gradient times x. Torch's LSTM has no forward mode."""
    case = Case(cell, 5, 2, 3, 4)
    layer, x = case.layer(torch.float32), case.batch(torch.float32)[0]
    derivative: Any = torch.func.jvp(
        lambda x: layer(x)[0].square().sum(), (x.detach(),), (x.detach(),)
    )
    y, along = derivative
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x.detach(), x.detach())
        other = torch.autograd.forward_ad.unpack_dual(layer(dual)[0].square().sum()).tangent
    assert not chosen.calls
    layer(x)[0].square().sum().backward()
    assert chosen.calls == {"forward": 1, "backward": 1}
    assert x.grad is not None
    product = (x.grad * x).sum().item()
    # both results add T·B·H more numbers, with their roundings
    tolerance = case.scattered() * (1 + (case.T * case.B * case.H) ** 0.5) * max(1, y.item())
    assert abs(along.item() - product) < tolerance
    assert abs(other.item() - product) < tolerance


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_torch_runs_everything_without_a_kernel(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "kernel", lambda: None)
    layer = kind(3, 4, num_layers=2, bidirectional=True)
    oracle = kind.__bases__[0](3, 4, num_layers=2, bidirectional=True)
    oracle.load_state_dict(layer.state_dict())
    x = torch.randn(5, 2, 3)
    assert torch.equal(layer(x)[0], oracle(x)[0])


@pytest.mark.parametrize(
    "given",
    [
        (torch.zeros(5, 2, 4),),
        (torch.zeros(3),),
        (torch.zeros(5, 2, 3, 1),),
        (torch.zeros(0, 2, 3),),
        (torch.zeros(5, 2, 3, dtype=torch.float64),),
        (torch.zeros(5, 2, 3, dtype=torch.int64),),
        (torch.zeros(5, 2, 3), torch.zeros(1, 3, 4)),
        (torch.zeros(5, 2, 3), torch.zeros(1, 4)),
        (torch.zeros(5, 3), torch.zeros(1, 1, 4)),
        (torch.zeros(5, 2, 3), torch.zeros(1, 2, 4, dtype=torch.float64)),
        (torch.zeros(5, 2, 3), torch.zeros(1, 2, 4, device="meta")),
        (torch.zeros(5, 2, 3, device="meta"),),
        ([0.0],),
    ],
)
@pytest.mark.parametrize(("ours", "torchs"), PAIRS)
def test_torch_reports_wrong_shapes(
    ours: Any, torchs: Any, given: tuple[Any, ...], chosen: Any
) -> None:
    if ours is nn.LSTM and len(given) > 1:
        given = (given[0], (given[1], given[1]))
    with pytest.raises((RuntimeError, ValueError, AttributeError)) as expected:
        torchs(3, 4)(*given)
    with pytest.raises(expected.type) as got:
        ours(3, 4)(*given)
    assert str(got.value) == str(expected.value)
    assert not chosen.calls


@pytest.mark.parametrize(
    "given",
    [
        (pack_sequence([torch.zeros(3, 4)]),),
        (pack_sequence([torch.zeros(3, 3)]), torch.zeros(1, 2, 4)),
    ],
)
def test_packed_input_of_a_wrong_size(given: tuple[Any, ...]) -> None:
    """Torch's LSTM does not check the sizes of packed input and computes wrong numbers."""
    for kind in (nn.RNN, nn.GRU):
        with pytest.raises(RuntimeError, match=r"must be equal to input_size|Expected hidden size"):
            kind(3, 4)(*given)
    with pytest.raises(ShapeError, match=r"packed rows \[N, I\] with I = 3|\(1, 1, 4\) for hidden"):
        nn.LSTM(3, 4)(given[0], *((part, part) for part in given[1:]))


def test_torch_reports_weights_on_another_device() -> None:
    for kind in (nn.RNN, nn.GRU, nn.LSTM):
        with pytest.raises(RuntimeError, match="are not at the same device"):
            kind(3, 4, device="meta")(torch.zeros(5, 2, 3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("cell", CELLS, ids=cell_id)
def test_unknown_precision(cell: Cell, dtype: torch.dtype) -> None:
    layer = Case(cell, 5, 2, 3, 4).layer(dtype)
    assert layer.precision == "float32"
    layer.precision = "float16"
    with pytest.raises(OptionError, match="precision: got float16; expected float32 or bf16"):
        layer(torch.zeros(5, 2, 3, dtype=dtype))


@pytest.mark.parametrize("cell", CELLS, ids=cell_id)
def test_bf16_without_a_kernel(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "kernel", lambda: None)
    monkeypatch.setattr(kernel, "kernels", dict)
    layer = Case(cell, 5, 2, 3, 4).layer(torch.float32)
    layer.precision = "bf16"
    with pytest.raises(OptionError, match="got bf16 on no kernel; expected a processor with"):
        layer(torch.zeros(5, 2, 3))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("cell", CELLS, ids=cell_id)
def test_cudnn_runs_on_cuda(cell: Cell) -> None:
    """cuDNN runs the layers that it has; the others give the values of the CPU."""
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
    expected: dict[str, tuple[int, ...]] = {}
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
def test_copies_give_the_same_results(cell: Cell) -> None:
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


def test_error_without_torch() -> None:
    code = """
        import sys
        sys.modules["torch"] = None
        try:
            import elman.nn
        except ImportError as error:
            print(type(error).__name__, error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    expected = "elman.nn needs torch: in the folder of Elman run pip install"
    assert done.stdout.startswith(f"MissingDependencyError {expected}")
