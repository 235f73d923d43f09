"""What masks of few rows and columns keep of the persona: lora:R against free masks, equal loss.

python -m tools.lora_ranks build/ranks --personas introvert,extravert,bold,cautious
python -m tools.lora_ranks build/ranks-cold --model smollm2 --target library:cold --ranks 32
python -m tools.lora_ranks docs/lab/real/lora-ranks.zip --read

Runs contrasts x patterns x levels of loss; what has been run is not run again. Prints the table
of every mask at every level, and what each pattern keeps of the free mask's persona.
"""

from __future__ import annotations

import argparse
import math
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.report_real import read

from prosopon.cli.console import progress
from prosopon.cli.loading import load
from prosopon.cli.options import ModelPlace
from prosopon.experiments import Plan, Sizes
from prosopon.experiments.assembly import Source, grammar_judge
from prosopon.experiments.columns import COLUMNS, clusters
from prosopon.experiments.experiment import Experiment
from prosopon.experiments.frontier import FrontierPoint, frontier_points
from prosopon.experiments.markdown import frontier_table
from prosopon.experiments.plan import level_words
from prosopon.experiments.records import Record
from prosopon.intervals import paired_difference

TEXT = next(column for column in COLUMNS if column.name == "text: target")
TASKS = ("choice", "free-text", "perplexity")


def plan_of(options: argparse.Namespace, contrasts: Sequence[str]) -> Plan:
    """Return the plan: the base, the free mask, and one mask a rank."""
    shared = dict(entry.split("=", 1) for entry in options.option)
    patterns = ["default", *(f"lora:{rank}" for rank in options.ranks.split(","))]
    return Plan(
        contrasts=tuple(contrasts),
        arms=("base", options.criterion),
        tasks=TASKS,
        examples=(options.examples,),
        seeds=tuple(map(int, options.seeds.split(","))),
        sizes=Sizes(options.questions, options.tokens, general=options.general, speed=0),
        options={options.criterion: tuple({**shared, "pattern": name} for name in patterns)},
        controls=False,
        at_loss=tuple(map(float, options.levels.split(","))),
    )


def kept(points: Sequence[FrontierPoint], records: Sequence[Record]) -> list[str]:
    """Return the lines of the table of what is kept of the free masks, over all contrasts.

    *Text* is the share of free answers on target over the free mask's; *gained* the same of what
    both have above the base; *margin* the gain in nats over the free mask's gain. The last column
    is the difference of the shares of free answers with its 95% interval over questions.
    """
    whole = [point for point in points if not point.contrast]
    base = next(point for point in whole if point.kind == "base")
    lines = [
        "| pattern | level | loss | margin kept | text kept | gained kept | text less the free's |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for point in whole:
        if point.level and pattern_of(point.arm) != "free":
            free = next(p for p in whole if (p.level, pattern_of(p.arm)) == (point.level, "free"))
            cells = [f"{share:.3f}" for share in shares_kept(point, free, base)]
            gap = paired_difference(*on_target(records, point, free)).difference
            cells.append(f"{gap.mean:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]")
            lines.append(f"| {' | '.join([pattern_of(point.arm), f'{point.level:g}', *cells])} |")
    return lines


def shares_kept(point: FrontierPoint, free: FrontierPoint, base: FrontierPoint) -> list[float]:
    """Return the measured loss, and the shares of the free mask's persona."""
    loss, text, before, most = (
        side.mean if side else math.nan
        for side in (point.loss, point.target, base.target, free.target)
    )
    gains = [side.margin.mean if side.margin else math.nan for side in (point, free)]
    return [loss, gains[0] / gains[1], text / most, (text - before) / (most - before)]


def on_target(
    records: Sequence[Record], point: FrontierPoint, free: FrontierPoint
) -> list[list[float]]:
    """Return the shares of free answers on target of two masks, question by question."""
    sums = [
        clusters([r for r in records if (name_of(r), r.cell.at_loss) == (p.arm, p.level)], TEXT)
        for p in (point, free)
    ]
    return [[total / count for total, count in (side[key] for key in sums[0])] for side in sums]


def name_of(record: Record) -> str:
    """Return an arm's name without its level."""
    return record.name.removesuffix(level_words(record.cell.at_loss))


def pattern_of(arm: str) -> str:
    """Return the pattern that an arm's name says, ``free`` for the criterion's own."""
    return next((word[8:] for word in arm.split() if word.startswith("pattern=")), "free")


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="records and verdicts, or some zipped")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--personas", default="", help="bundled ones, for the embedded model")
    parser.add_argument("--target", help="one contrast, for any model")
    parser.add_argument("--criterion", default="contrastive-kl")
    parser.add_argument("--option", action="append", default=[], help="of the criterion, key=value")
    parser.add_argument("--ranks", default="8,16,32,64")
    parser.add_argument("--levels", default="0.05", help="nats a token of general text")
    parser.add_argument("--examples", type=int, default=64)
    parser.add_argument("--questions", type=int, default=60)
    parser.add_argument("--general", type=int, default=64, help="general texts of the measure")
    parser.add_argument("--tokens", type=int, default=32, help="longest free answer")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--read", action="store_true", help="run nothing: print zipped records")
    return parser.parse_args(words)


def run(options: argparse.Namespace) -> list[Record]:
    """Return the records of all cells, after running those that are missing."""
    names = tuple(filter(None, options.personas.split(",")))
    source = Source(personas=names, target=options.target)
    contrasts = source.contrasts(options.model, options.questions)
    plan = plan_of(options, list(contrasts))
    command = shlex.join(["python", *sys.argv])
    experiment = Experiment(
        plan, contrasts, options.folder, command, judges=grammar_judge, tables=False, plots=False
    )
    experiment.check()
    loaded = load(options.model, ModelPlace())
    with progress() as report:
        return list(experiment.run(loaded, report).records)


def main() -> None:
    """Run what has not been run, and print."""
    options = parse()
    records = read(options.folder)[0] if options.read else run(options)
    points = frontier_points(records)
    print("\n".join([*frontier_table(points), "", *kept(points, records)]))


if __name__ == "__main__":
    main()
