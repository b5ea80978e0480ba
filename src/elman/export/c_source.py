"""A model as one file of C99 and its header, without any dependency.

The code is the template in the folder ``c``; this module fills in sizes, weights and names. Of the model the
files hold its network, vocabulary and labels, and nothing of its training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from elman._version import __version__
from elman.cells import Cell, find
from elman.engine.layers import member_arrays
from elman.errors import OptionError
from elman.export.c_weights import PADDED_COLUMNS, Constants, block_size
from elman.export.refusal import refusal
from elman.files.atomic import atomic_write
from elman.files.model import Model
from elman.labels.codec import SequenceCodec
from elman.labels.config import SequenceConfig
from elman.labels.stream import needs_whole_sequences
from elman.language.config import NetworkConfig
from elman.series.config import ForecastConfig
from elman.text.vocabulary import TextCodec

TEMPLATE = Path(__file__).parent / "c"
ACTIVATIONS = {"tanh": "elman_tanh", "linear": "elman_bounded", "relu": "elman_relu"}
Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Source:
    """The two files of an exported model."""

    code: str
    """Text of the file ``.c``; its `#include` names the header `NAME.h`."""
    header: str
    weight_bytes: int
    """Bytes of all numbers that the program holds as constants."""
    state_bytes: int
    """Bytes of an elman_state."""


def write_c(model: Model, path: str | Path, *, int8: bool = False) -> list[Path]:
    """Write a model as C: the files ``path``.c and ``path``.h.

    Args:
        model: The trained model.
        path: The files without suffix; a suffix .c is left out.
        int8: Whether to store weights as integers of 8 bits, with one scale for each row. A model in
            int8 is always written so.

    Returns:
        The paths of both files.

    Raises:
        InputError: A step of the model cannot be computed from its state and the input alone.
        OptionError: The name of the file cannot stand in C.
        OutputError: A file cannot be written.
    """
    path = Path(path)
    stem = path.with_suffix("") if path.suffix == ".c" else path
    if stem.name in ("", ".c") or not set(stem.name).isdisjoint('"\\\n\r'):
        expected = "a name of a file without quotes, backslashes and line ends"
        raise OptionError("the C file", got=repr(path.name), expected=expected)
    source = c_source(model, stem.name, int8=int8)
    code, header = (stem.parent / f"{stem.name}{suffix}" for suffix in (".c", ".h"))
    atomic_write(header, source.header.encode())
    atomic_write(code, source.code.encode())
    return [code, header]


def c_source(model: Model, name: str, *, int8: bool = False) -> Source:
    """Return a model as C, in files called `name`; the arguments and errors are those of `write_c`."""
    if problem := _problem(model):
        raise refusal("c", problem)
    int8 = int8 or model.storage == "int8"
    config = model.config
    cell = find(config.cell, config.activation)
    rows = [cell.G * config.hidden_size] * config.num_layers + [_answers(model)]
    constants = Constants(int8, block_size(rows))
    sizes = _sizes(model, cell) | _weights(model, cell, constants)
    if int8:
        inputs = (sizes["ELMAN_INPUTS"], sizes.get("ELMAN_POOLS", 1) * config.hidden_size)
        columns = max(inputs) + PADDED_COLUMNS - 1
        sizes |= {"ELMAN_INT8": 1, "ELMAN_PADDED": PADDED_COLUMNS, "ELMAN_MAX_COLUMNS": columns}
    sizes["ELMAN_BLOCK"] = 1 if int8 else block_size(rows)
    lines = "\n".join(f"#define {key} {value}" for key, value in sizes.items())
    code, header = ((TEMPLATE / f"elman{suffix}").read_text("utf-8") for suffix in (".c", ".h"))
    summary = model.summary.replace("×", "x")
    about = f"/* {config.task}: {summary}; elman {__version__}. See the header. */\n"
    code = code.replace('#include "elman_weights.inc"\n', constants.text)
    code = about + code.replace('#include "elman.h"', f'#include "{name}.h"', 1)
    state_bytes = _state_bytes(sizes)
    room = f"/* Constants: {constants.weight_bytes} bytes. A state: {state_bytes} bytes, with a long of 8. */"
    header = header.replace('#include "elman_sizes.inc"', f"{room}\n{lines}")
    return Source(code, header, constants.weight_bytes, state_bytes)


def _problem(model: Model) -> str:
    """Return why a model cannot be expressed, or ""."""
    config = model.config
    if isinstance(config, ForecastConfig):
        return "a forecaster, which reads whole windows of a series"
    if isinstance(config, SequenceConfig):
        if problem := needs_whole_sequences(model):
            return problem
        if config.alphabet_size:
            return "a network that reads the spelling of words; train it with --level word"
    tokens = _tokens(model)
    return "a vocabulary with the character NUL" if tokens and "\0" in tokens.tokens else ""


def _tokens(model: Model) -> TextCodec | None:
    codec: TextCodec | SequenceCodec = model.codec
    return codec if isinstance(codec, TextCodec) else codec.tokens


def _answers(model: Model) -> int:
    config: NetworkConfig | SequenceConfig = model.config
    return config.vocabulary_size if isinstance(config, NetworkConfig) else config.outputs


def _sizes(model: Model, cell: Cell) -> dict[str, int | str]:
    """Return the constants of the preprocessor that describe the network."""
    config, tokens = model.config, _tokens(model)
    cell_value = ACTIVATIONS[cell.activation] if cell.name == "rnn" else 1
    sizes: dict[str, int | str] = {
        f"ELMAN_{cell.name.upper()}": cell_value,
        "ELMAN_LAYERS": config.num_layers,
        "ELMAN_HIDDEN": config.hidden_size,
        "ELMAN_GATES": cell.G,
        "ELMAN_STATES": len(cell.states),
        "ELMAN_ANSWERS": _answers(model),
    }
    if tokens is not None:
        sizes["ELMAN_TOKENS"] = len(tokens)
        if tokens.level == "char":
            sizes["ELMAN_CHARACTERS"] = 1
    if isinstance(config, NetworkConfig):
        sizes |= {"ELMAN_MEMBERS": 1, "ELMAN_INPUTS": config.embedding_size}
        sizes |= {"ELMAN_RESIDUAL": int(config.residual), "ELMAN_START": model.codec.start_id}
        if model.codec.end_id is not None:
            sizes["ELMAN_END"] = model.codec.end_id
        return sizes
    sizes |= {"ELMAN_MEMBERS": config.members, "ELMAN_INPUTS": config.input_size}
    sizes["ELMAN_RESIDUAL"] = 0
    if config.kind.is_number:
        sizes["ELMAN_REGRESSOR"] = 1
    else:
        sizes["ELMAN_LABELS"] = 1
    if model.codec.scaler is not None:
        sizes["ELMAN_CHANNELS"] = len(model.codec.scaler.mean)
    if config.pools:
        sizes["ELMAN_POOLS"] = len(config.pools)
        # the place of each pool in what the head reads
        sizes |= {f"ELMAN_{pool.upper()}": place for place, pool in enumerate(config.pools)}
    return sizes


def _weights(model: Model, cell: Cell, constants: Constants) -> dict[str, int | str]:
    """Add weights and names; return further constants of the preprocessor."""
    members = [model.arrays]
    if isinstance(model.config, SequenceConfig):
        members = [member_arrays(model.arrays, m) for m in range(model.config.members)]
    is_tabled = not constants.int8 and "embedding.weight" in members[0] and _fits_table(members[0])
    tables = [
        _member(arrays, m, cell, constants, tabled=is_tabled) for m, arrays in enumerate(members)
    ]
    K, M = model.config.num_layers, len(members)
    layers = ",\n".join("{" + ", ".join(table["layers"]) + "}" for table in tables)
    constants.define(f"static const elman_layer elman_layers[{M}][{K}]", f"{{\n{layers}}}")
    for name, declaration in (
        ("head", "static const elman_matrix elman_heads"),
        ("embedding", "static const elman_matrix elman_embeddings"),
        ("table", "static const float *const elman_table"),
        ("attention", "static const float *const elman_attention"),
    ):
        if name in tables[0]:
            values = ", ".join(value for table in tables for value in table[name])
            constants.define(f"{declaration}[{M}]", f"{{{values}}}")
    _names_and_scales(model, constants)
    return {"ELMAN_TABLE": 1} if is_tabled else {}


def _fits_table(arrays: Arrays) -> bool:
    """Return whether the first layer's sums of every token take no more room than what they replace."""
    embedding, weight = arrays["embedding.weight"], arrays["layers.0.weight_ih"]
    # where the head is tied, the embedding is the head and is stored anyway
    replaced = weight.size + (embedding.size if "head.weight" in arrays else 0)
    return len(embedding) * len(weight) <= replaced


def _member(
    arrays: Arrays, m: int, cell: Cell, constants: Constants, *, tabled: bool
) -> dict[str, list[str]]:
    """Add the weights of one network; return the initial values that refer to them, by table."""

    def array(name: str) -> np.ndarray | None:
        return arrays.get(name)

    values: dict[str, list[str]] = {"layers": []}
    for k in range(sum(name.endswith("weight_ih") for name in arrays)):
        weight, bias = arrays[f"layers.{k}.weight_ih"], array(f"layers.{k}.bias_ih")
        hidden, hidden_bias = array(f"layers.{k}.weight_hh"), array(f"layers.{k}.bias_hh")
        if cell.name != "gru" and bias is not None and hidden_bias is not None:
            # only the GRU needs the sums of input and hidden state apart
            bias, hidden_bias = bias + hidden_bias, None
        if k == 0 and tabled:
            table = arrays["embedding.weight"].astype(np.float64) @ weight.T
            table = (table if bias is None else table + bias).astype(np.float32)
            values["table"] = [constants.array(f"elman_table_{m}", table)]
            first = "{0, 0, NULL, NULL, NULL}"
        else:
            first = constants.matrix(f"input_{m}_{k}", weight, bias)
        second = "{0, 0, NULL, NULL, NULL}"
        if hidden is not None:
            second = constants.matrix(f"hidden_{m}_{k}", hidden, hidden_bias)
        values["layers"].append(f"{{{first}, {second}}}")
    head = arrays["head.weight" if "head.weight" in arrays else "embedding.weight"]
    values["head"] = [constants.matrix(f"head_{m}", head, arrays["head.bias"])]
    if "embedding.weight" in arrays and not tabled:
        values["embedding"] = values["head"]
        if "head.weight" in arrays:
            embedding = constants.matrix(f"embedding_{m}", arrays["embedding.weight"], None)
            values["embedding"] = [embedding]
    if "attention.weight" in arrays:
        values["attention"] = [constants.array(f"elman_attention_{m}", arrays["attention.weight"])]
    return values


def _names_and_scales(model: Model, constants: Constants) -> None:
    """Add the tokens, the labels, and the scales of numbers."""
    codec, tokens = model.codec, _tokens(model)
    if tokens is not None:
        # <end> stands for the end of a line, and its characters in a text do not end one
        names = tuple(
            "\n" if number == tokens.end_id else token for number, token in enumerate(tokens.tokens)
        )
        keys = [name.encode("utf-8", "surrogatepass") for name in names]
        order = np.array(sorted(range(len(keys)), key=keys.__getitem__))
        constants.texts("elman_tokens", "ELMAN_TOKENS", names)
        kind = "uint16_t" if len(names) <= 1 << 16 else "uint32_t"
        constants.array("elman_order", order, kind)
    if not isinstance(codec, SequenceCodec):
        return
    if codec.labels is not None:
        constants.texts("elman_labels", "ELMAN_ANSWERS", codec.labels.names)
    largest = np.finfo(np.float32).max
    if codec.scaler is not None:
        factors = np.clip(1 / codec.scaler.scale, 0, largest).astype(np.float32)
        constants.array("elman_means", codec.scaler.mean.clip(-largest, largest).astype(np.float32))
        constants.array("elman_factors", factors)
    if codec.target is not None:
        for name, values in (("scale", codec.target.scale), ("mean", codec.target.mean)):
            number = float(np.float32(values.clip(-largest, largest)[0]))
            constants.define(f"static const float elman_target_{name}", f"{number!r}f")


def _state_bytes(sizes: Mapping[str, int | str]) -> int:
    """Return the size of an elman_state, with an unsigned long of 8 bytes."""
    members, hidden, layers, states, pools = (
        int(sizes.get(f"ELMAN_{name}", 0))
        for name in ("MEMBERS", "HIDDEN", "LAYERS", "STATES", "POOLS")
    )
    floats = members * hidden * (layers * states + 1 + pools) + (2 * members if pools else 0)
    return -(-4 * floats // 8) * 8 + 8
