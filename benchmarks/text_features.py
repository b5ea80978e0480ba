"""Linear models on n-grams of texts: which features and which scale are best, without any test set.

``python benchmarks/text_features.py DATA`` prints a row for each data set and kind of features, with the
score on held-out training texts for each strength of a logistic regression and of a linear support vector
machine. DATA has ``sentences/mr.txt``, ``sentences/subj.txt`` (a label and a text a line), ``atis/`` and
``tweets/`` in the forms of their publishers.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize
from sklearn.svm import LinearSVC

from elman.text.words import tokenise

LOGISTIC_C, SUPPORT_VECTOR_C = (1.0, 3.0, 10.0, 30.0), (0.1, 0.3, 1.0, 3.0)
MAX_FEATURES = 100_000
Texts = list[str]
Sets = tuple[Texts, np.ndarray, Texts, np.ndarray]


@cache
def tokens(text: str) -> tuple[str, ...]:
    """Return the words of a text in lower case."""
    return tuple(tokenise(text.lower()))


def words(text: str) -> list[str]:
    """Return words and pairs of words."""
    found = tokens(text)
    return [" ".join(found[i : i + n]) for n in (1, 2) for i in range(len(found) - n + 1)]


def letters(text: str) -> list[str]:
    """Return n-grams of two to five letters inside words, whose ends count as letters."""
    ends = [f"\1{word}\2" for word in tokens(text)]
    return [w[i : i + n] for w in ends for n in range(2, 6) for i in range(len(w) - n + 1)]


def crossing(text: str) -> list[str]:
    """Return n-grams of two to five characters, across words too."""
    whole = "\1" + "\1".join(tokens(text)) + "\1"
    return [whole[i : i + n] for n in range(2, 6) for i in range(len(whole) - n + 1)]


FEATURES: dict[str, tuple[tuple[Callable[[str], list[str]], ...], str]] = {
    "words, tf-idf": ((words,), "tfidf"),
    "words and letters, tf-idf": ((words, letters), "tfidf"),
    "words and characters across words, tf-idf": ((words, crossing), "tfidf"),
    "words and letters, log-count ratios": ((words, letters), "ratio"),
    "words and letters, log-count ratios of norm 1": ((words, letters), "ratio norm"),
}


def of_lines(path: Path, part: int) -> Sets:
    """Split nine tenths of a file's lines, drawn with the seed `part`: two ninths of them are held out."""
    rows = [line.split(" ", 1) for line in path.read_text("latin-1").split("\n") if line]
    texts, labels = [text for _, text in rows], np.array([int(label) for label, _ in rows])
    order = np.random.default_rng(part).permutation(len(rows))[len(rows) // 10 :]
    held, train = np.split(order, [2 * (len(order) // 10)])
    return [texts[i] for i in train], labels[train], [texts[i] for i in held], labels[held]


def of_files(folder: Path, names: tuple[str, str, str, str]) -> Sets:
    """Return the training and validation parts of a publisher, from four files of lines."""
    a, b, c, d = ([*map(str.strip, (folder / name).open(encoding="utf-8"))] for name in names)
    return a, np.array(b), c, np.array(d)


def matrices(given: Sets, analyzer: Callable[[str], list[str]], scale: str) -> list[sp.csr_matrix]:
    """Return the features of the texts to train on and of those held out."""
    train, labels, held, _ = given
    count = CountVectorizer(
        analyzer=analyzer, min_df=2 if len(train) >= 1000 else 1, max_features=MAX_FEATURES
    )
    pair = [count.fit_transform(train), count.transform(held)]
    if scale == "tfidf":
        weigh = TfidfTransformer(sublinear_tf=True).fit(pair[0])
        return [weigh.transform(matrix) for matrix in pair]
    pair = [(matrix > 0).astype(float) for matrix in pair]
    largest = np.zeros(pair[0].shape[1])
    for label in np.unique(labels):
        inside, outside = (
            1 + np.asarray(pair[0][mask].sum(axis=0))[0]
            for mask in (labels == label, labels != label)
        )
        ratio = np.log(inside / inside.sum()) - np.log(outside / outside.sum())
        largest = np.maximum(largest, abs(ratio))
    pair = [matrix @ sp.diags(largest) for matrix in pair]
    return [normalize(matrix) for matrix in pair] if "norm" in scale else pair


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    data = parser.parse_args().data
    warnings.simplefilter("ignore", ConvergenceWarning)
    atis = ("train.seq.in", "train.label", "valid.seq.in", "valid.label")
    tweets = ("train_text.txt", "train_labels.txt", "val_text.txt", "val_labels.txt")
    sets = {
        "mr": lambda: of_lines(data / "sentences/mr.txt", 0),
        "subj": lambda: of_lines(data / "sentences/subj.txt", 0),
        "atis": lambda: of_files(data / "atis", atis),
        "tweets": lambda: of_files(data / "tweets", tweets),
    }
    for name, load in sets.items():
        given = load()
        for kind, (analyzers, scale) in FEATURES.items():
            parts = [matrices(given, analyzer, scale) for analyzer in analyzers]
            train, held = (sp.hstack(blocks).tocsr() for blocks in zip(*parts, strict=True))
            models = [LogisticRegression(C=C, max_iter=200) for C in LOGISTIC_C]
            models += [LinearSVC(C=C, random_state=0) for C in SUPPORT_VECTOR_C]
            scores = [model.fit(train, given[1]).score(held, given[3]) for model in models]
            print(f"{name:7} {kind:46}", *(f"{score:.4f}" for score in scores), flush=True)


if __name__ == "__main__":
    main()
