"""Trials of contrastive-kl and its rivals on a real model, at equal loss of general text.

python tools/real_trials.py run --model smollm2 --target introvert.jsonl \
    --opposite extravert.jsonl --arm contrastive-kl --out trials.jsonl
python tools/real_trials.py table docs/lab/real/trials.jsonl
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any

from prosopon import load_model
from prosopon.arms import ARMS, Lab
from prosopon.data import Persona, encode_all, load_persona
from prosopon.data.contrast import Contrast
from prosopon.data.pairs import ExamplePair, pair_examples
from prosopon.extraction import Extractor
from prosopon.lm import row_log_likelihoods, sample_general, text_losses

Row = dict[str, Any]


def run(options: argparse.Namespace) -> None:
    """Prepare one arm at one level of loss, measure it on held-out pairs, append a line."""
    model, tokenizer, *_ = load_model(options.model, device=options.device)
    pairs = _pairs(options.target, options.opposite, options.seed)
    known, asked = pairs[: options.pairs], pairs[options.pairs :][: options.questions]
    extractor = Extractor(
        model, tokenizer, seed=options.seed, general_count=options.general, name=options.model
    )
    sides = tuple(
        Persona(name, tuple(pair[side] for pair in known))
        for side, name in enumerate(("target", "opposite"))
    )
    contrast = Contrast((sides[0], sides[1]), (sides[0], sides[1]), (sides[0], sides[1]), None, "")
    settings = dict(entry.split("=", 1) for entry in options.option)
    if options.arm != "base":
        settings["max_loss"] = str(options.level)
    lab = Lab(extractor, contrast, options.pairs, options.seed, settings)
    held_out = sample_general(
        model, tokenizer, count=options.general, seed=options.seed + 7, part="tests"
    )
    encoded = [encode_all([pair[side] for pair in asked], tokenizer) for side in (0, 1)]

    def measure() -> Row:
        ours, theirs = (
            [total / count for total, count in row_log_likelihoods(model, side, every=False)]
            for side in encoded
        )
        margins = [our - their for our, their in zip(ours, theirs, strict=True)]
        total, tokens = text_losses(model, held_out, every=True)
        return {
            "choice": sum((m > 0) + (m == 0) / 2 for m in margins) / len(margins),
            "margin": sum(margins) / len(margins),
            "target": sum(ours) / len(ours),
            "general": total / tokens,
        }

    before = measure()
    row: Row = {"contrast": Path(options.target).stem, "seed": options.seed, "arm": options.arm}
    row |= {"options": settings, "level": options.level}
    if options.arm == "base":
        row |= before | {"general": 0.0}
    else:
        prepared = ARMS.get(options.arm).prepare(lab)
        with prepared.speaking():
            after = measure()
        row |= after | {"general": after["general"] - before["general"]}
        row |= {"base_margin": before["margin"], "seconds": prepared.cost.seconds}
    with Path(options.out).open("a") as file:
        file.write(json.dumps(row) + "\n")
    print(json.dumps(row))


def table(options: argparse.Namespace) -> None:
    """Print what every arm gains over the base model, one line a level and contrast."""
    rows = [json.loads(line) for line in Path(options.file).read_text().splitlines()]
    bases = {_key(row): row for row in rows if row["arm"] == "base"}
    print(
        "| run | contrast | arm | level | margin gained | target gained | choice | general loss |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        base = bases.get(_key(row))
        if base is None or row is base or options.level not in (None, row["level"]):
            continue
        size = f", at most {row['largest']:.2%}" if "largest" in row else ""
        print(
            f"| {row.get('run', '')} | {row['contrast']} | {row['arm']}{size} | {row['level']:g} "
            f"| {row['margin'] - base['margin']:+.3f} | {row['target'] - base['target']:+.3f} "
            f"| {row['choice']:.3f} | {row['general']:+.3f} | {_facts(base, row)} |"
        )


def _facts(base: Row, row: Row) -> str:
    return f"{base['facts']:.2f} to {row['facts']:.2f}" if "facts" in row else ""


def _key(row: Row) -> tuple[Any, ...]:
    return row.get("run"), row["contrast"], row["seed"]


def _pairs(target: str, opposite: str, seed: int) -> list[ExamplePair]:
    ours, theirs = load_persona(target), load_persona(opposite)
    pairs = pair_examples(ours.examples, theirs.examples)
    random.Random(seed).shuffle(pairs)
    return pairs


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("run", help="prepare and measure one arm")
    one.set_defaults(do=run)
    for name in ("model", "target", "opposite", "arm", "out"):
        one.add_argument(f"--{name}", required=True)
    one.add_argument("--device", default="auto")
    one.add_argument("--option", action="append", default=[], metavar="NAME=VALUE")
    one.add_argument("--level", type=float, default=0.05, help="nats a token of general text")
    for name, size in (("pairs", 64), ("questions", 96), ("general", 96), ("seed", 0)):
        one.add_argument(f"--{name}", type=int, default=size)
    show = commands.add_parser("table", help="print records as a table")
    show.set_defaults(do=table)
    show.add_argument("file")
    show.add_argument("--level", type=float, default=None)
    options = parser.parse_args()
    options.do(options)


if __name__ == "__main__":
    main()
