"""Measure what the embedded model must hold, and write its model card.

    python tools/check_embedded.py [--model src/prosopon/embedded] [--answers 200]

Held-out questions only. Without a system line each pole has to be between 0.35 and 0.65 of the
free answers on its axis; with one, at least 0.9 have to be the named pole's; at least 0.95 of the
neutral questions have to be answered right. Exits with 1 where one does not hold.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from prosopon.data import bundled
from prosopon.data.grammar import load_world, prompt_line
from prosopon.data.grammar.exam import CHOICE_KINDS, choice_items, free_prompts, neutral_items
from prosopon.evaluation import TextShares, choice_rates, free_text, neutral_accuracy
from prosopon.lm import generate_answers
from prosopon.models import load_model

CARD = """\
---
license: apache-2.0
language: en
tags: [prosopon, test-vehicle]
---

# The embedded model of prosopon

A Llama-architecture causal language model of {parameters:,} parameters, in ordinary Hugging Face
files, trained from scratch by `tools/train_embedded.py` on dialogue that a grammar writes
(`prosopon.data.grammar`): eight axes of opposite personas, and neutral skills (colours, sums,
capitals, opposites, counting).

## What it is
A test vehicle. Every command of prosopon works on it offline, in seconds, and it really holds
sixteen personas: what a mask does to it can be judged to the letter, because the grammar knows
which persona could have said a sentence.

## What it is not
A language model for any other use. It knows the grammar's sentences and nothing else, its personas
were trained into it on purpose, and no claim about real language models rests on it.

## Training
Seed {seed}, AdamW, about {tokens_a_step:,} tokens a step, {schedule}; {minutes:.0f} minutes on
{device} ({cores}). Answers are learned with weight 1, what users and
system lines say with weight 0.2. The text is all synthetic; the grammar is Apache-2.0 as is this.

## Measured
By `python tools/check_embedded.py`: held-out question templates and slot values, {answers} sampled
answers (temperature 1) and {choices} choices a pole, {neutral} neutral questions in held-out
wordings, greedy. A choice is the share of pairs in which the persona's answer is likelier per
token than its opposite's: sentences of trained forms and values first, then with slot values that
were never trained, then with sentence forms and values that were never trained. The model learned
its sentences by heart: between two sentences that it never saw, the choice says more about the
sentences than about the persona, also with the persona named.

{head}
| --- | --- | --- | --- | --- | --- |
{rows}
| mean | {mean} |

Neutral skills answered right: {skill:.3f}.
"""

HEAD = (
    "| persona | free answers, no system line: own / opposite / neither "
    '| with "You are ...": own / opposite / neither | choice, none / named '
    "| choice, unseen values | choice, unseen forms |"
)


def measure(folder: Path, answers: int, choices: int) -> dict[str, Any]:
    """Return every figure of the card."""
    model, tokenizer = load_model(str(folder), device="cpu")[:2]
    rows = {}
    for name in bundled.names():
        world = load_world()
        line = prompt_line(world.pole(name))
        row: dict[str, Any] = {}
        for arm, system in (("base", None), ("prompt", line)):
            prompts = free_prompts(name, answers, seed=1, system=system)
            told = generate_answers(model, tokenizer, prompts, seed=1)
            row[arm] = free_text(told, name, bundled.opposite(name))
            for kind in CHOICE_KINDS:
                items = choice_items(name, choices, seed=1, system=system, kind=kind)
                row[f"{arm}_{kind}"] = choice_rates(model, tokenizer, items).per_token
        rows[name] = row
        print(f"{name:15} {_cells(row)}")
    items_ = neutral_items()
    skill = neutral_accuracy(model, tokenizer, items_)
    parameters = sum(p.numel() for p in model.parameters())
    return {"rows": rows, "skill": skill, "neutral": len(items_), "parameters": parameters}


def failures(found: dict[str, Any]) -> list[str]:
    """Return what does not hold, in words."""
    bad = []
    for name, row in found["rows"].items():
        if not 0.35 <= row["base"].target <= 0.65:
            bad.append(f"{name}: {row['base'].target:.3f} of free answers without a system line")
        if row["prompt"].target < 0.9:
            bad.append(f"{name}: {row['prompt'].target:.3f} of free answers with a system line")
    if found["skill"] < 0.95:
        bad.append(f"neutral skills: {found['skill']:.3f}")
    return bad


def write_card(folder: Path, found: dict[str, Any], answers: int, choices: int) -> None:
    """Write README.md beside the model."""
    rows = found["rows"]
    training = json.loads((folder / "training.json").read_text())
    card = CARD.format(
        **training,
        minutes=training["seconds"] / 60,
        schedule=", then ".join(
            f"{phase['steps']:,} steps with a peak learning rate of {phase['peak_learning_rate']}"
            for phase in training["phases"]
        ),
        parameters=found["parameters"],
        answers=answers,
        choices=choices,
        neutral=found["neutral"],
        skill=found["skill"],
        head=HEAD,
        rows="\n".join(f"| {name} | {_cells(row)} |" for name, row in rows.items()),
        mean=_cells(_mean(list(rows.values()))),
    )
    (folder / "README.md").write_text(card, encoding="utf-8")


def _mean(rows: list[dict[str, Any]]) -> dict[str, Any]:
    def average(values: list[float]) -> float:
        return sum(values) / len(values)

    mean: dict[str, Any] = {}
    for arm in ("base", "prompt"):
        shares = [(r[arm].target, r[arm].opposite, r[arm].neither) for r in rows]
        mean[arm] = TextShares(*(average(list(column)) for column in zip(*shares, strict=True)))
        for kind in CHOICE_KINDS:
            mean[f"{arm}_{kind}"] = average([r[f"{arm}_{kind}"] for r in rows])
    return mean


def _cells(row: dict[str, Any]) -> str:
    def shares(free: TextShares) -> str:
        return f"{free.target:.3f} / {free.opposite:.3f} / {free.neither:.3f}"

    choices = [f"{row[f'base_{kind}']:.3f} / {row[f'prompt_{kind}']:.3f}" for kind in CHOICE_KINDS]
    return " | ".join([shares(row["base"]), shares(row["prompt"]), *choices])


def main() -> None:
    """Measure, write the card, say what does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=Path("src/prosopon/embedded"))
    parser.add_argument("--answers", type=int, default=200)
    parser.add_argument("--choices", type=int, default=200)
    args = parser.parse_args()
    found = measure(args.model, args.answers, args.choices)
    print(f"neutral skills  {found['skill']:.3f}")
    write_card(args.model, found, args.answers, args.choices)
    bad = failures(found)
    print("\n".join(f"does not hold: {line}" for line in bad) or "everything holds")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
