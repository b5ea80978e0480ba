"""Train a language model on a few sentences, continue a prompt, and ask which words decided.

python examples/language_model.py
"""

from __future__ import annotations

import elman

SENTENCES = [
    "I like to eat pizza",
    "I like to eat burgers",
    "I like to drink tea",
    "we like to eat soup",
    "we like to drink coffee",
]


def main() -> None:
    text = "\n".join(SENTENCES * 40)
    model = elman.LanguageModel(level="word", documents="line", hidden_size=32, steps=300)
    model.fit(text)
    for token, probability in model.predict_next("I like to eat", k=3):
        print(f"{token:10} {probability:.3f}")
    print(model.explain("I like to eat"))
    model.save("meals.safetensors")

    # The file answers without PyTorch. The kind tells editors which methods the model has.
    predictor = elman.load("meals.safetensors", kind=elman.LanguagePredictor)
    stream = predictor.stream()
    for word in ("we", "like", "to", "drink"):
        stream.feed(word + " ")
        print(word, "->", stream.predict(1)[0][0])


if __name__ == "__main__":
    main()
