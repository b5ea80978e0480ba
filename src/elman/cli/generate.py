"""Command that writes new text with a language model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

from elman.cli.app import Json, ModelFile
from elman.cli.printing import print_json
from elman.cli.task_options import given, with_options
from elman.training.options import Options, answering


@dataclass(frozen=True, kw_only=True)
class GenerateOptions(Options):
    """Options of the command `generate`."""

    prompt: str = answering("", "text to go on from")
    n: int = answering(200, "number of new words or characters")
    temperature: float = answering(
        1.0, "below 1 favours probable words, above 1 rare ones; 0 takes the best"
    )
    top_k: int | None = answering(None, "draw from the k most probable (default: from all)")
    top_p: float | None = answering(
        None,
        "draw from the most probable whose probabilities add up to this (default: from all)",
    )
    beam: int | None = answering(
        None, "search for the most probable text with a beam of this width; draws nothing"
    )
    seed: int | None = answering(None, "the same seed gives the same text (default: random)")


@with_options(GenerateOptions)
def generate(model: ModelFile, json_: Json = False, **values: str | float | None) -> None:
    """Write new text, printed as it is generated."""
    import elman
    from elman.language.task import warn_of_unknown_tokens

    options = GenerateOptions.from_values(given(values))
    predictor = elman.load(model, kind=elman.LanguagePredictor)
    # The generator of warnings yields the prompt unchanged, and warns once it is exhausted.
    [prompt] = warn_of_unknown_tokens(predictor, [options.prompt])
    pieces: Iterable[str]
    facts: dict[str, str | float | None] = {"prompt": prompt}
    if options.beam is not None:
        # The beam is sorted by probability, the best text first.
        best = predictor.beam(prompt, n=options.n, width=options.beam)[0]
        pieces, facts["log_probability"] = [best[0]], best[1]
    else:
        facts["seed"] = options.seed
        pieces = predictor.generate_pieces(
            prompt,
            options.n,
            temperature=options.temperature,
            top_k=options.top_k,
            top_p=options.top_p,
            seed=options.seed,
        )
    if json_:
        print_json(facts | {"text": "".join(pieces)})
    else:
        from elman.training.formatting import write_text

        # Each piece is written and flushed at once, so that the text appears as the network draws it.
        write_text(chain([prompt], pieces, ["\n"]))
