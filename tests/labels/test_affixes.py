"""Beginnings and ends of words in a tagger: their rows, what training gives them, and what they are for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import elman
from elman.files.model import Model
from elman.labels.affixes import AFFIX_ROWS, PREFIXES, SUFFIXES, affix_rows
from elman.labels.batches import EncodedSequences, PackedSteps
from elman.labels.dataset import Sequences
from readers import reader_of

GOLDEN = Path(__file__).parents[1] / "golden"
ENDS = {"ung": "noun", "lich": "adjective", "te": "verb"}


def words(count: int, seed: int) -> tuple[list[list[str]], list[list[str]]]:
    """Return sentences of random stems with one of `ENDS`, and the tags that belong to the ends."""
    draw = np.random.default_rng(seed)
    X, y = [], []
    for _ in range(count):
        ends = draw.choice([*ENDS], 6).tolist()
        stems = ["".join(draw.choice([*"abdgmorsw"], 4).tolist()) for _ in ends]
        X.append([stem + end for stem, end in zip(stems, ends, strict=True)])
        y.append([ENDS[end] for end in ends])
    return X, y


@pytest.fixture(scope="module")
def tagger() -> elman.SequenceTagger:
    model = elman.SequenceTagger(
        hidden_size=4, embedding_size=8, spelling_size=2, steps=60, refit=False, threads=1
    )
    return model.fit(*words(60, 0), test=words(10, 1))


def rows_of(*spelled: str) -> np.ndarray:
    packed = PackedSteps.of([np.array([ord(letter) for letter in word]) for word in spelled])
    rows = np.empty((len(spelled), PREFIXES + SUFFIXES), np.int64)
    rows[packed.order] = affix_rows(packed, 1 << 30)
    return rows


def test_words_share_the_rows_of_the_affixes_that_they_share() -> None:
    walked, talked, walks, ed = rows_of("walked", "talked", "walks", "ed")
    assert (walked == talked).tolist() == [False] * 3 + [True] * 4
    assert (walked == walks).tolist() == [True] * 3 + [False] * 4
    # the end "ed" of both, but not the word "ed", which is all that its longer ends see
    assert (walked[PREFIXES:] == ed[PREFIXES:]).tolist() == [True, True, False, False]
    assert len({*walked.tolist(), *walks.tolist(), *ed.tolist()}) == 7 + 4 + 5
    np.testing.assert_array_equal(rows_of("walked")[0], walked)
    assert rows_of("e").shape == (1, 7)


def test_an_unknown_word_gets_the_tag_of_its_end(tagger: elman.SequenceTagger) -> None:
    X, y = words(20, 2)
    known = {word for sentence in words(60, 0)[0] for word in sentence}
    unknown = np.array([word not in known for sentence in X for word in sentence])
    assert unknown.mean() > 0.9
    right = np.concatenate(tagger.predict(X)) == np.concatenate(y)
    assert right[unknown].mean() > 0.95


def test_affixes_that_training_has_not_seen_add_nothing(tagger: elman.SequenceTagger) -> None:
    model = tagger.model_
    assert model.config.affixes == AFFIX_ROWS
    weights = model.arrays["members.0.affixes.weight"]
    encoded = EncodedSequences.of(model.codec, Sequences.of(words(60, 0)[0]))
    seen = affix_rows(PackedSteps.of(encoded.letters or []), AFFIX_ROWS)
    assert set(np.flatnonzero(weights.any(axis=1))) <= set(seen.ravel().tolist())
    (end,) = {
        int(row) for row in affix_rows(_spelled(model, "xxxung"), AFFIX_ROWS)[:, PREFIXES + 2]
    }
    assert weights[end].any()


def _spelled(model: Model, word: str) -> PackedSteps:
    return PackedSteps.of(EncodedSequences.of(model.codec, Sequences.of([[word]])).letters or [])


def test_a_file_keeps_them_and_explanations_include_them(
    tagger: elman.SequenceTagger, tmp_path: Path
) -> None:
    tagger.save(tmp_path / "tags.safetensors")
    loaded = elman.load(tmp_path / "tags.safetensors", kind=elman.TaggerPredictor)
    sentence = ["gommung", "wasslich", "robte"]
    np.testing.assert_array_equal(
        loaded.predict_proba([sentence])[0], tagger.predict_proba([sentence])[0]
    )
    explained = loaded.explain(sentence, of=1, method="integrated gradients", quick=True)
    assert explained.target == "adjective"
    assert int(np.argmax(explained.contributions)) == 1
    total = explained.bias + explained.contributions.sum()
    assert explained.score == pytest.approx(total, rel=1e-3, abs=1e-3)
    # without the vectors of its affixes the unknown word moves the tag less
    arrays = dict(loaded.model.arrays)
    arrays["members.0.affixes.weight"] = np.zeros_like(arrays["members.0.affixes.weight"])
    bare = elman.TaggerPredictor(replace(loaded.model, arrays=arrays))
    less = bare.explain(sentence, "adjective", of=1, method="integrated gradients", quick=True)
    assert less.contributions[1] < explained.contributions[1]


def test_only_a_tagger_that_reads_spellings_has_them() -> None:
    config = reader_of("both", "tag", affixes=8).config
    with pytest.raises(elman.OptionError, match="affixes: got 8 for classify"):
        replace(config, task="classify", pooling="max")
    with pytest.raises(elman.OptionError, match="0 without tags and an alphabet"):
        replace(config, alphabet_size=0, spelling_size=0)
    X, y = words(30, 3)
    plain = elman.SequenceTagger(level="word", hidden_size=4, steps=2, refit=False, threads=1)
    assert plain.fit(X, y).model_.config.affixes == 0


def test_a_tagger_with_affixes_learns_new_characters() -> None:
    model = elman.SequenceTagger.from_file(GOLDEN / "affixes-1.safetensors", steps=2, threads=1)
    model.partial_fit([["I", "xyz"]] * 8, [[7, 3]] * 8)
    assert model.model_.config.alphabet_size > 4
    assert model.model_.arrays["members.0.affixes.weight"].shape == (8, 2)


def test_older_files_have_none() -> None:
    for name in ("tag", "chain"):
        old = elman.load(GOLDEN / f"{name}-1.safetensors", kind=elman.TaggerPredictor)
        assert old.model.config.affixes == 0
        assert "affixes" not in old.model.config.to_dict()
