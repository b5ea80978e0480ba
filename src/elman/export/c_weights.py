"""The weights of a model as constants of C."""

from __future__ import annotations

import numpy as np

from elman.engine.quantisation import quantised

PADDED_COLUMNS = 16
"""Rows of int8 are filled up with zeros to a multiple of this, so that loops over them vectorise."""
LARGE_BLOCK, SMALL_BLOCK = 32, 8
MAX_PADDING = 1.25
"""Largest size of the weights with large blocks, as a multiple of their size without blocks."""
NUMBERS_PER_LINE = 8


class Constants:
    """Definitions of constants, written one after the other.

    Args:
        int8: Whether matrices are stored as integers of 8 bits.
        block: Rows of a block of a matrix of float32, as in the template.
    """

    def __init__(self, int8: bool, block: int) -> None:
        self.int8, self._block = int8, 1 if int8 else block
        self._lines: list[str] = []
        self.weight_bytes = 0

    @property
    def text(self) -> str:
        """All definitions."""
        return "\n".join([*self._lines, ""])

    def define(self, declaration: str, values: str) -> None:
        """Add the constant of a declaration such as "static const float x" with its initial value."""
        self._lines.append(f"{declaration} = {values};")

    def array(self, name: str, values: np.ndarray, kind: str = "float") -> str:
        """Add an array of numbers of one type of C; return its name."""
        count = values.size
        ending = "f" if kind == "float" else ""
        texts = [_number(value) + ending for value in values.ravel().tolist()]
        rows = (texts[i : i + NUMBERS_PER_LINE] for i in range(0, count, NUMBERS_PER_LINE))
        body = ",\n".join(", ".join(row) for row in rows)
        self.define(f"static const {kind} {name}[{count}]", f"{{\n{body}}}")
        sizes = {"float": 4, "int8_t": 1, "uint16_t": 2, "uint32_t": 4}
        self.weight_bytes += count * sizes[kind]
        return name

    def matrix(self, name: str, weight: np.ndarray, bias: np.ndarray | None) -> str:
        """Add a matrix ``[rows, columns]`` and its bias; return the initial value of an elman_matrix."""
        rows, columns = weight.shape
        scales = "NULL"
        if self.int8:
            integers, row_scales = quantised(weight)
            padded = np.pad(integers, ((0, 0), (0, -columns % PADDED_COLUMNS)))
            weights = self.array(f"elman_{name}", padded, "int8_t")
            scales = self.array(f"elman_{name}_scales", row_scales)
        else:
            # [blocks, columns, rows of a block]: neighbouring numbers belong to neighbouring rows
            padded = np.pad(weight, ((0, -rows % self._block), (0, 0)))
            blocks = padded.reshape(-1, self._block, columns).transpose(0, 2, 1)
            weights = self.array(f"elman_{name}", blocks)
        biases = "NULL"
        if bias is not None:
            biases = self.array(f"elman_{name}_bias", np.pad(bias, (0, -rows % self._block)))
        return f"{{{rows}, {columns}, {weights}, {scales}, {biases}}}"

    def texts(self, name: str, size: str, texts: tuple[str, ...]) -> None:
        """Add a table of texts that other files of a program may use."""
        self.define(
            f"const char *const {name}[{size}]", "{\n" + ",\n".join(map(_quoted, texts)) + "}"
        )


def block_size(row_counts: list[int]) -> int:
    """Return the rows of a block: 32, or 8 where many rows of larger blocks would be filled up.

    >>> block_size([256, 65]), block_size([12])
    (32, 8)
    """
    filled = sum(count + -count % LARGE_BLOCK for count in row_counts)
    return LARGE_BLOCK if filled <= MAX_PADDING * sum(row_counts) else SMALL_BLOCK


def _number(value: float) -> str:
    """Return the shortest text of a float32 or an integer that a compiler reads as a number of its type."""
    if isinstance(value, int):
        return str(value)
    text = f"{value:.9g}"
    return text if "." in text or "e" in text else f"{text}.0"


def _quoted(text: str) -> str:
    """Return a string of C. All but plain ASCII is escaped, so that no encoding of the file matters."""
    plain = set(range(0x20, 0x7F)) - set(b'"\\?')
    return (
        '"'
        + "".join(
            chr(byte) if byte in plain else f"\\{byte:03o}"
            for byte in text.encode("utf-8", "surrogatepass")
        )
        + '"'
    )
