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
        places = [(["from", start], ["O", "B-from"]), (["to", end], ["O", "B-to"])]
        draw.shuffle(places)
        (first, first_tags), (second, second_tags) = places
        sentences.append(["fly", *first, *second, "on", draw.choice(DAYS)])
        tags.append(["O", *first_tags, *second_tags, "O", "B-day"])

    model = elman.SequenceTagger(steps=200, seed=0)
    model.fit(sentences, tags)
    print(model.predict([["fly", "to", "denver", "from", "boston"]])[0])
    print(model.explain(["fly", "to", "denver", "from", "boston"], of=2))


if __name__ == "__main__":
    main()
