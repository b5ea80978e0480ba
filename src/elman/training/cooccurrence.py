"""Initial embeddings of words from the words that occur near them in the training text.

Words that have the same neighbours get similar embeddings before the first step, which random embeddings
would only reach after a part of the training.

Source: O. Levy and Y. Goldberg, "Neural Word Embedding as Implicit Matrix Factorization" (2014), section 4:
a low-rank factor of the matrix of positive pointwise mutual information. The factor is computed from products
with random vectors (N. Halko, P. Martinsson and J. Tropp, arXiv:0909.4061, algorithms 4.4 and 5.1).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from elman.engine.pauses import one_thread

WINDOW = 4
"""Largest distance between two words that counts as near."""
COUNTED_TOKENS = 2_000_000
"""Largest number of tokens at the beginning of a text that are counted."""
SPARE_DIRECTIONS, PRODUCTS = 10, 2
"""Random vectors beyond those that are needed, and products of matrix and transpose with all of them."""


@one_thread()  # for the same numbers whatever the number of threads
def cooccurrence_embeddings(
    ids: np.ndarray, vocabulary_size: int, embedding_size: int, seed: int
) -> npt.NDArray[np.float32]:
    """Return embeddings ``[V, E]``, similar for words with similar neighbours; mean square ``1 / E``.

    Args:
        ids: The tokens of a text.
        vocabulary_size: The number of different tokens, V; more than `embedding_size` and `SPARE_DIRECTIONS`.
        embedding_size: The size E of an embedding.
        seed: The seed of the random vectors.

    >>> text = np.random.default_rng(0).integers(100, size=5000)
    >>> cooccurrence_embeddings(text, vocabulary_size=100, embedding_size=8, seed=0).shape
    (100, 8)
    """
    from scipy import sparse  # a part of scikit-learn, which training needs anyway

    V, ids = vocabulary_size, np.asarray(ids[:COUNTED_TOKENS], np.int64)
    following = sparse.csr_array((V, V), dtype=np.float32)
    for distance in range(1, WINDOW + 1):
        pairs = ids[:-distance], ids[distance:]
        # Nearer words count more, as in GloVe.
        weights = np.full(len(ids) - distance, 1 / distance, np.float32)
        following += sparse.coo_array((weights, pairs), shape=(V, V)).tocsr()
    near = (following + following.T).tocoo()
    total = np.maximum(near.sum(axis=1), 1e-9)
    # A power of less than one keeps rare neighbours from having the largest information: O. Levy, Y. Goldberg
    # and I. Dagan (2015), section 3.2.
    share = total**0.75 / (total**0.75).sum()
    row, column = near.coords
    information = np.log(near.data) - np.log(total)[row] - np.log(share)[column]
    positive = information > 0
    pairs = row[positive], column[positive]
    matrix = sparse.coo_array((information[positive], pairs), shape=(V, V)).tocsr()
    matrix = matrix.astype(np.float32)
    random = np.random.default_rng(seed)
    basis = random.standard_normal((V, embedding_size + SPARE_DIRECTIONS), np.float32)
    for _ in range(PRODUCTS):
        basis = np.linalg.qr(matrix.T @ (matrix @ basis))[0]
    left, triangle = np.linalg.qr(matrix @ basis)
    rotation, singular, _ = np.linalg.svd(triangle)
    embeddings = left @ (rotation * np.sqrt(singular))[:, :embedding_size]
    scale = np.sqrt(np.square(embeddings).mean() * embedding_size)
    return np.asarray(embeddings / max(1e-9, scale), np.float32)
