"""Try criteria and their options on the embedded model and print what each does.

    python tools/try_criteria.py --personas extravert,thinking,bold,casual \
        'wanda' 'contrastive-effect sparsity=0.01 protect=3' 'sparsegpt sparsity=0.3 pattern=row'

Prints, averaged over the personas: choice rate, free answers on target / opposite / neither,
free answers on target to questions of the kind that the model was trained on, neutral skills,
perplexity of general text that the base model wrote, share pruned, seconds of extraction
(without what all share).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any

from prosopon.cli.options import key_values, split_personas
from prosopon.data import Encoded, bundled, load_persona
from prosopon.data.grammar.exam import choice_items, free_prompts, neutral_items
from prosopon.evaluation import choice_rates, free_text, neutral_accuracy, perplexity
from prosopon.extraction import Extractor
from prosopon.lm import generate_answers, sample_general
from prosopon.models import load_model
from prosopon.runtime import PersonaModel


def measure(
    model: Any, tokenizer: Any, name: str, answers: int, general: Sequence[Encoded]
) -> list[float]:
    """Return choice rate, four shares of free answers, neutral accuracy, perplexity."""
    told = generate_answers(model, tokenizer, free_prompts(name, answers))
    shares = free_text(told, name, bundled.opposite(name))
    known = generate_answers(model, tokenizer, free_prompts(name, answers, split="train"))
    trained = free_text(known, name, bundled.opposite(name)).target
    choices = choice_rates(model, tokenizer, choice_items(name, answers))
    neutral = neutral_accuracy(model, tokenizer, neutral_items(60))
    found = [choices.per_token, shares.target, shares.opposite, shares.neither, trained, neutral]
    return [*found, perplexity(model, general)]


def main() -> None:
    """Extract with every setting and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("settings", nargs="*", help="a criterion and options as key=value")
    parser.add_argument("--personas", default="extravert,casual")
    parser.add_argument("--examples", type=int, default=64)
    parser.add_argument("--general", type=int, default=64, help="general texts to sample")
    parser.add_argument("--answers", type=int, default=60)
    parser.add_argument("--layers")
    parser.add_argument("--only")
    parser.add_argument("--targets", action="append")
    args = parser.parse_args()
    model, tokenizer = load_model("embedded", device="cpu")[:2]
    extractor = Extractor(
        model,
        tokenizer,
        general_count=args.general,
        layers=args.layers,
        only=args.only,
        targets=args.targets,
    )
    held_out = sample_general(model, tokenizer, count=args.general, seed=1)
    for setting in args.settings or ["base"]:
        criterion, *rest = setting.split()
        options = key_values(rest)
        share, pattern = options.pop("sparsity", None), options.pop("pattern", None)
        rows = []
        for name in split_personas(args.personas):
            if criterion == "base":
                rows.append([*measure(model, tokenizer, name, args.answers, held_out), 0.0, 0.0])
                continue
            sides = [load_persona(p, limit=args.examples) for p in (name, bundled.opposite(name))]
            began = time.perf_counter()
            mask = extractor.extract(
                *sides,
                criterion=criterion,
                sparsity=None if share is None else "auto" if share == "auto" else float(share),
                pattern=pattern,
                options=options,
            )
            seconds = time.perf_counter() - began
            with PersonaModel(model, tokenizer) as wearer:
                wearer.set_persona(wearer.load_persona(mask))
                found = measure(model, tokenizer, name, args.answers, held_out)
            rows.append([*found, mask.pruned_share, seconds])
        means = [sum(column) / len(column) for column in zip(*rows, strict=True)]
        shown = " ".join(f"{value:.3f}" for value in means[:7])
        print(f"{setting:64} {shown} {means[7]:8.4%} {means[8]:5.1f} s", flush=True)


if __name__ == "__main__":
    main()
