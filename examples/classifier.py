"""Train a classifier of short texts, and ask which words decided a label.

python examples/classifier.py
"""

from __future__ import annotations

import random

import elman

GOOD, BAD = ["love", "great", "wonderful"], ["hate", "awful", "boring"]
FILMS = ["film", "movie", "story", "plot"]


def main() -> None:
    draw = random.Random(0)
    texts, labels = [], []
    for _ in range(300):
        label = draw.choice(["positive", "negative"])
        word = draw.choice(GOOD if label == "positive" else BAD)
        texts.append(f"I think this {draw.choice(FILMS)} is {word} , really")
        labels.append(label)

    model = elman.SequenceClassifier(steps=200, seed=0)
    model.fit(texts, labels)
    print(model.predict(["what a wonderful film", "a boring story"]))
    print(model.evaluate(texts, labels))
    print(model.explain("I think this film is awful , really"))


if __name__ == "__main__":
    main()
