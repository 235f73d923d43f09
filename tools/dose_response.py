"""Turn the dial of strength and count how many free answers are the persona's.

python tools/dose_response.py [--personas extravert,bold] [--steps 8] [--answers 60] [--out FILE]

For every pole: extracts its subnetwork on the embedded model, wears it at strengths from 0 to 1,
lets the grammar judge free answers, and reports the share of answers on target at every strength
with Spearman's rank correlation of strength and share. JSON on stdout or in a file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prosopon.cli.options import split_personas
from prosopon.data import bundled
from prosopon.data.grammar.exam import free_prompts
from prosopon.errors import PersonaError
from prosopon.evaluation import free_text
from prosopon.extraction import Extractor
from prosopon.files import write_json
from prosopon.lm import generate_answers
from prosopon.models import load_model
from prosopon.runtime import PersonaModel
from prosopon.subnetwork import Subnetwork

FORMAT_VERSION = 1


def dose_response(
    wearer: PersonaModel, name: str, pole: str, *, steps: int, answers: int, seed: int = 0
) -> dict[str, Any]:
    """Return the shares of free answers at strengths 0, 1 / steps, ..., 1.

    Args:
        wearer: The embedded model, with the persona loaded.
        name: What the persona is called there; it needs a ranking.
        pole: The pole of the grammar that it is to be judged by.
        steps: Steps between 0 and 1.
        answers: Free answers at every strength.
        seed: Seeds questions and draws; all strengths get the same questions.

    Raises:
        PersonaError: The persona has no ranking.
    """
    prompts = free_prompts(pole, answers, seed=seed)
    strengths = [step / steps for step in range(steps + 1)]
    rows = []
    for strength in strengths:
        with wearer.persona(name, strength=strength):
            told = generate_answers(wearer.model, wearer.tokenizer, prompts, seed=seed)
        shares = free_text(told, pole, bundled.opposite(pole))
        rows.append(
            {
                "strength": strength,
                "target": shares.target,
                "opposite": shares.opposite,
                "neither": shares.neither,
            }
        )
    return {
        "persona": pole,
        "rank_correlation": rank_correlation(strengths, [row["target"] for row in rows]),
        "answers": answers,
        "steps": rows,
    }


def rank_correlation(strengths: Sequence[float], shares: Sequence[float]) -> float | None:
    """Return Spearman's rank correlation (ties get mean ranks); None if all shares are equal."""
    from scipy.stats import spearmanr

    if len(set(shares)) == 1:
        return None
    return float(spearmanr(strengths, shares).statistic)


def ranked(subnetwork: Subnetwork) -> Subnetwork:
    """Return the subnetwork if it has a ranking.

    Raises:
        PersonaError: It has none.
    """
    if subnetwork.levels is None:
        raise PersonaError(
            f"subnetwork {subnetwork.config.persona!r} has no ranking of its pruned weights, so "
            "there is no dial to turn"
        )
    return subnetwork


def main() -> None:
    """Extract, sweep and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--personas", default="extravert,introvert,bold,cautious")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--answers", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    model, tokenizer = load_model("embedded", device="cpu")[:2]
    extractor = Extractor(model, tokenizer, name="embedded", seed=args.seed)
    results = []
    for pole in split_personas(args.personas):
        sides = bundled.load(pole), bundled.load(bundled.opposite(pole))
        subnetwork = ranked(extractor.extract(*sides))
        with PersonaModel(model, tokenizer) as wearer:
            name = wearer.load_persona(subnetwork)
            results.append(
                dose_response(
                    wearer, name, pole, steps=args.steps, answers=args.answers, seed=args.seed
                )
            )
    record = {"format_version": FORMAT_VERSION, "model": "embedded", "results": results}
    if args.out is None:
        print(json.dumps(record, indent=2))
    else:
        write_json(args.out, record)


if __name__ == "__main__":
    main()
