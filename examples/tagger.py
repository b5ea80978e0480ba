"""Train a tagger that gives each word of a sentence a tag.

python examples/tagger.py
"""

from __future__ import annotations

import random

import elman

CITIES, DAYS = ["boston", "denver", "dallas"], ["monday", "friday", "sunday"]


def main() -> None:
    draw = random.Random(0)
    sentences, tags = [], []
    for _ in range(300):
        start, end = draw.sample(CITIES, 2)
        sentences.append(["fly", "from", start, "to", end, "on", draw.choice(DAYS)])
        tags.append(["O", "O", "B-from", "O", "B-to", "O", "B-day"])

    model = elman.SequenceTagger(steps=200, seed=0)
    model.fit(sentences, tags)
    print(model.predict([["fly", "to", "denver", "from", "boston"]])[0])
    print(model.explain(["fly", "to", "denver", "from", "boston"], of=2))


if __name__ == "__main__":
    main()
