"""The unusual lines that the network reports, beside a plain detector: counts, precision, recall, F1."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from elman.errors import DataError
from elman.text.input_files import read_lines

NORMAL_QUANTILE = 0.98
"""Share of the normal lines whose score is at most the threshold for an unusual line."""
DETECTOR = "three-line detector"


class NormalCounts:
    """The three-line detector: it reports each line with a token, a length or counts that are not normal.

    Source: M. Landauer, F. Skopik, M. Wurzenberger 2023, "A critical review of common log data sets". Equal
    counts of all tokens imply known tokens and a known length, so that one test stands for all three.

    >>> detector = NormalCounts([["a", "b", "b"], ["b", "a", "b"]])
    >>> [detector.reports(line.split()) for line in ("b b a", "a b", "a a b")]
    [False, True, True]
    """

    def __init__(self, normal: Iterable[Sequence[str]]) -> None:
        self._known = {_counts(tokens) for tokens in normal}

    def reports(self, tokens: Sequence[str]) -> bool:
        """Return whether no normal line has the same tokens equally often."""
        return _counts(tokens) not in self._known


def _counts(tokens: Sequence[str]) -> frozenset[tuple[str, int]]:
    return frozenset(Counter(tokens).items())


def detection_figures(reported: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Return precision, recall and F1 of boolean answers ``[N]``; 0 where there is nothing to divide by.

    >>> detection_figures(np.array([True, True, False]), np.array([True, False, False]))
    {'precision': 0.5, 'recall': 1.0, 'f1': 0.6666666666666666}
    """
    right, answered, true = (int(part.sum()) for part in (reported & truth, reported, truth))
    return {
        "precision": right / max(1, answered),
        "recall": right / max(1, true),
        "f1": 2 * right / max(1, answered + true),
    }


@dataclass(frozen=True, eq=False)
class Detection:
    """The lines that the network and the three-line detector report, judged by what normal lines show."""

    threshold: float
    """Bits: the network reports the lines with a higher score."""
    reported: Mapping[str, np.ndarray]
    """``[lines]`` bool, by detector: whether it reports the line; empty lines are never reported."""
    truth: np.ndarray | None = None
    """``[lines]`` bool: whether the line is unusual; None without labels."""

    def to_dict(self) -> dict[str, float | dict[str, float]]:
        """Return the threshold, and for each detector its number of reports, precision, recall and F1."""
        figures: dict[str, float | dict[str, float]] = {"threshold": self.threshold}
        for name, reported in self.reported.items():
            judged = {} if self.truth is None else detection_figures(reported, self.truth)
            figures[name] = {"reported": int(reported.sum())} | judged
        return figures

    def __str__(self) -> str:
        judged = "" if self.truth is None else "  precision  recall      F1"
        rows = [f"{'':<{len(DETECTOR)}}  reported{judged}"]
        for name, reported in self.reported.items():
            row = f"{name:<{len(DETECTOR)}}  {reported.sum():>8,}"
            if self.truth is not None:
                row += "  {precision:9.3f}  {recall:6.3f}  {f1:6.3f}".format_map(
                    detection_figures(reported, self.truth)
                )
            rows.append(row)
        share = f"{NORMAL_QUANTILE:.0%} of the normal lines do not exceed"
        return "\n".join(
            [*rows, f"threshold of the network: {self.threshold:.2f} bits, which {share}"]
        )


def read_labels(path: str, encoding: str | None = None) -> np.ndarray:
    """Return which lines are unusual, ``[lines]`` bool, from a file with 0 or 1 on each line.

    Raises DataError for anything else.
    """
    labels = [line.strip() for line in read_lines(path, encoding)]
    for number, label in enumerate(labels, 1):
        if label not in ("0", "1"):
            expected = "0 for a normal line or 1 for an unusual one"
            raise DataError(f"{path}, line {number}", got=label, expected=expected)
    return np.array([label == "1" for label in labels])
