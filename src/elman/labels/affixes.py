"""Affixes: the beginnings and ends of words, which tell a tagger much about a word that it has never seen.

A word has `PREFIXES` beginnings and `SUFFIXES` ends, of one character, of two, and so on. Each has a row in a
table of vectors, and the sum of these rows is added to the word's own embedding. A hash of the characters
finds the row, so that affixes which share a hash share a row. Rows begin at 0: an affix that did not occur in
training adds nothing.
"""

from __future__ import annotations

import numpy as np

from elman.labels.batches import PackedSteps

PREFIXES, SUFFIXES = 3, 4
"""Lengths of the longest beginning and of the longest end, in characters."""
AFFIX_ROWS = 4096
"""Rows of the table in a new network."""
HASH_BASE, HASH_PRIME = 31_337, 2**31 - 1
"""The hash is a polynomial with this base, modulo this prime."""


def affix_rows(letters: PackedSteps, count: int) -> np.ndarray:
    """Return the rows of the affixes of packed words in a table of `count` rows, int64 ``[W, 7]``.

    Words are in their packed order, the longest first. An affix that is longer than its word stands for the
    whole word.

    >>> words = PackedSteps.of([np.array([1, 2, 3, 4, 5]), np.array([9, 9, 3, 4, 5])])
    >>> found = affix_rows(words, 4096)
    >>> (found[0] == found[1]).tolist()  # only the ends of up to three characters are the same
    [False, False, False, True, True, True, False]
    """
    lengths = (letters.sizes[:, None] > np.arange(len(letters.order))).sum(axis=0)
    starts, words = np.cumsum(letters.sizes) - letters.sizes, np.arange(len(lengths))
    hashes = []
    for from_end, longest in enumerate((PREFIXES, SUFFIXES)):
        # the hash is a polynomial of the characters; its first coefficient tells beginnings from ends
        found = np.full(len(words), from_end)
        for n in range(longest):
            step = np.where(n < lengths, lengths - 1 - n if from_end else n, 0)
            # characters count from 1; 0 stands for those beyond the word
            code = np.where(n < lengths, letters.rows[starts[step] + words] + 1, 0)
            found = (found * HASH_BASE + code) % HASH_PRIME
            hashes.append(found % count)
    return np.stack(hashes, axis=1)
