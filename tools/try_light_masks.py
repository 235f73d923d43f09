"""Try options of contrastive-taylor on the embedded model and print what each does.

    python tools/try_light_masks.py --personas extravert,casual \
        'sparsity=0.005 rounds=10 beta=3 general=3 damage=30' 'sparsity=0.0025 rounds=20'

Prints, averaged over the personas: choice rate, free answers on target / opposite / neither,
neutral skills, seconds of extraction.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from prosopon.cli.demo import persona_names
from prosopon.cli.options import key_values
from prosopon.data import bundled, load_persona
from prosopon.evaluation import (
    choice_items,
    choice_rates,
    free_prompts,
    free_text,
    generate_answers,
    neutral_accuracy,
    neutral_items,
)
from prosopon.extraction import Extractor
from prosopon.models import load_model
from prosopon.runtime import PersonaModel


def measure(model: Any, tokenizer: Any, name: str, answers: int) -> list[float]:
    """Return choice rate, the three shares of free answers, and neutral accuracy."""
    told = generate_answers(model, tokenizer, free_prompts(name, answers))
    shares = free_text(told, name, bundled.opposite(name))
    choices = choice_rates(model, tokenizer, choice_items(name, answers))
    neutral = neutral_accuracy(model, tokenizer, neutral_items(60))
    return [choices.per_token, shares.target, shares.opposite, shares.neither, neutral]


def main() -> None:
    """Extract with every setting and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("settings", nargs="*", help="options as key=value, separated by spaces")
    parser.add_argument("--personas", default="extravert,casual")
    parser.add_argument("--examples", type=int, default=64)
    parser.add_argument("--general", type=int, default=128, help="general texts to sample")
    parser.add_argument("--answers", type=int, default=60)
    args = parser.parse_args()
    model, tokenizer = load_model("embedded", device="cpu")[:2]
    extractor = Extractor(model, tokenizer, general_count=args.general)
    extractor.fisher()
    for setting in args.settings or [""]:
        options = key_values(setting.split())
        share = options.pop("sparsity", None)
        rows, seconds = [], 0.0
        for name in persona_names(args.personas):
            sides = [load_persona(p, limit=args.examples) for p in (name, bundled.opposite(name))]
            began = time.perf_counter()
            mask = extractor.extract(
                *sides, sparsity=None if share is None else float(share), options=options
            )
            seconds += time.perf_counter() - began
            with PersonaModel(model, tokenizer) as wearer:
                wearer.set_persona(wearer.load_persona(mask))
                rows.append(measure(model, tokenizer, name, args.answers))
        means = " ".join(f"{sum(column) / len(column):.3f}" for column in zip(*rows, strict=True))
        print(f"{setting or 'defaults':60} {means} {seconds / len(rows):5.1f} s", flush=True)


if __name__ == "__main__":
    main()
