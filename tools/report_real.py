"""Every arm at equal loss on a real model: the runs, and the page docs/real/index.md.

python -m tools.report_real --out build/real --page docs/real
python -m tools.report_real --contrasts energy --arms base,prompt,lora --pairs 24 --questions 24
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import BadZipFile, ZipFile

from tools.real_contrasts import CONTRASTS, contrasts
from tools.real_levels import by_level, figure_line, level_section

from prosopon.arms.options import parse_arm_options
from prosopon.cli.console import progress
from prosopon.cli.loading import load
from prosopon.cli.options import ModelPlace
from prosopon.drawing import COLOURS, GREY, figure, svg
from prosopon.errors import DataError
from prosopon.experiments import Plan, Sizes
from prosopon.experiments.columns import EITHER, Column, estimate, measures_of
from prosopon.experiments.experiment import Experiment
from prosopon.experiments.frontier import (
    FrontierPoint,
    draw_frontier,
    frontier_points,
    gain_over,
)
from prosopon.experiments.judge_lines import describe_judges, describe_questions
from prosopon.experiments.markdown import frontier_table, grid, show
from prosopon.experiments.plan import level_words
from prosopon.experiments.records import Record, unfinished
from prosopon.experiments.store import Results
from prosopon.experiments.unlikely import unlikely_shares
from prosopon.files import write_text
from prosopon.models import LoadedModel

ARMS = (
    "base", "prompt", "few-shot", "random", "shortest", "lora", "contrastive-lora",
    "weight-steering", "steering", "steer2edit", "contrastive-kl", "contrastive-wanda",
    "contrastive-sparse",
)  # fmt: skip
COOL = "free-text-cool"
TASKS = ("choice", "free-text", COOL, "facts", "perplexity")
MIDDLE = 0.05
LEVELS = (0.02, MIDDLE, 0.1)
MAIN = ("energy", "style", "risk")
"""Contrasts that run with three seeds."""

DRIFT = "drift"  # name of the dialogues' folder
DRIFT_ARMS = ("base", "prompt", "lora", "contrastive-kl")
TURNS = ("early", "late", "drop", "early-neither", "late-neither")
"""Columns of the table of ten turns: measures of the task ``drift``."""

WAYS = {
    "base": "the model as it is", "prompt": "a system prompt", "few-shot": "examples in the prompt",
    "lora": "LoRA", "steering": "a steering vector", "weight-steering": "weight steering",
    "contrastive-kl": "a mask", "contrastive-lora": "the mask's objective,\nwith weights added",
}  # fmt: skip
"""The arms of the figure at a glance, in its order, and what it calls them."""

GLANCE = {
    "target": "free answers that a judge gives to the persona",
    "margin": "nats a token towards the persona's answer",
}
"""Its panels: measures of a point, and their titles."""

OURS = "contrastive-kl"
AGAINST = (
    Column("margin", "choice", "margin", ""), Column("target", "free-text", "target", ""),
    Column("either judge", "free-text", EITHER, ""), Column("target at 0.7", COOL, "target", ""),
)  # fmt: skip
"""What the mask is compared by, question by question."""

LONGEST = 64  # tokens of a free answer


def command_line() -> str:
    """Return the command that runs."""
    return shlex.join(["python", "-m", "tools.report_real", *sys.argv[1:]])


def variants(texts: Sequence[str]) -> dict[str, tuple[dict[str, str], ...]]:
    """Return the sets of options of every arm that has some.

    Raises:
        OptionError: An option that the arm does not have, or a bad value.
        UnknownNameError: No such arm.
    """
    sets: dict[str, tuple[dict[str, str], ...]] = {}
    for text in texts:
        arm, _, rest = text.partition(":")
        parsed = parse_arm_options([f"{arm}.{part}" for part in rest.split(",") if part])
        sets[arm] = (*sets.get(arm, ()), parsed.get(arm, {}))
    return sets


def run(options: argparse.Namespace, loaded: LoadedModel) -> None:
    """Run what has not been run; every contrast has a folder of its own."""
    names, data = options.contrasts.split(","), Path(options.data)
    levels = tuple(float(level) for level in options.levels.split(","))
    shared: dict[str, Any] = {
        "arms": tuple(options.arms.split(",")), "tasks": tuple(options.tasks.split(",")),
        "examples": (options.pairs,),
        "sizes": Sizes(options.questions, LONGEST, general=options.general, speed=0),
        "at_loss": levels, "controls": False, "options": variants(options.option),
    }  # fmt: skip
    command = command_line()
    with progress() as report:
        for seed in range(options.first_seed, options.seeds):
            for name in names:
                if seed and name not in MAIN:
                    continue
                chosen = contrasts([name], data, options.questions)
                plan = Plan(contrasts=tuple(chosen), seeds=(seed,), **shared)
                Experiment(
                    plan, chosen, Path(options.out) / name, command, options.text,
                    retry=options.retry,
                ).run(loaded, report)  # fmt: skip


def read(place: Path) -> tuple[list[Record], list[Record]]:
    """Return the records of all contrasts and of the dialogues, of a folder or of it zipped.

    Folders of several machines may be put into one.

    Raises:
        DataError: There are none, or the file is no zip.
    """
    with TemporaryDirectory() as scratch:
        folder = place
        if place.is_file():
            folder = Path(scratch)
            try:
                with ZipFile(place) as archive:
                    archive.extractall(folder)
            except BadZipFile as error:
                raise DataError(f"{place}: {error}") from None
        records: dict[bool, list[Record]] = {False: [], True: []}
        for header in sorted(folder.glob("*/experiment.json")):
            records[header.parent.name == DRIFT] += Results.open(header.parent).records()
    if not any(records.values()):
        raise DataError(f"{place}: no records; they lie in CONTRAST/experiment.json and beside it")
    return records[False], records[True]


def drift(options: argparse.Namespace, loaded: LoadedModel) -> None:
    """Have some arms, at the middle level, talk for ten turns; their cells lie beside the others.

    They learn anew what they learned for the page: a cell of other tasks is another cell.
    """
    levels = sorted(float(level) for level in options.levels.split(","))
    chosen = contrasts([options.drift], Path(options.data), options.questions)
    plan = Plan(
        tuple(chosen), DRIFT_ARMS, ("drift",), (options.pairs,),
        sizes=Sizes(options.questions, LONGEST, general=options.general, speed=0),
        at_loss=(levels[len(levels) // 2],), controls=False,
    )  # fmt: skip
    folder, command = Path(options.out) / DRIFT, command_line()
    experiment = Experiment(plan, chosen, folder, command, options.text, retry=options.retry)
    with progress() as report:
        experiment.run(loaded, report)


def ten_turns(records: Sequence[Record]) -> list[str]:
    """Return the section on dialogues: is the persona still there at their end?"""
    rows, dialogues = list[list[str]](), 0
    for record in records:
        if "drift" in record.results:
            result = record.results["drift"]
            values, dialogues = measures_of(result), len(result.outcomes)
            rows.append([record.name, *(show(values[name]) for name in TURNS)])
    if not rows:
        return []
    return [
        "## Ten turns", "",
        f"Masks and adapters were found on single answers. Here they talk: {dialogues} dialogues "
        f"on {records[0].cell.contrast}, three of its questions, four neutral ones, and three of "
        "its questions again, after the arm's own answers. *early* and *late* are the shares on "
        "target in the first and the last three turns, *neither* those that are nobody's. "
        "Intervals are 95%, over the questions of a pair of dialogues.", "",
        *grid(["arm", *TURNS], rows), "",
    ]  # fmt: skip


def cool_text(records: Sequence[Record]) -> list[str]:
    """Return the section on free text at temperature 0.7, arm by arm, over all contrasts."""
    asked = [record for record in records if COOL in record.results]
    base, rows = [record for record in asked if record.cell.arm == "base"], list[list[str]]()
    for name in dict.fromkeys(record.name for record in asked):
        own = [record for record in asked if record.name == name]
        shares = [estimate(own, Column(m, COOL, m, "")) for m in ("target", "neither")]
        rows.append([name, *map(show, (*shares, *unlikely_shares(own, base, COOL)))])
    if not rows:
        return []
    return [
        "## Cooler", "",
        "The same questions at temperature 0.7, at which chat models are mostly used. *unlikely* "
        "is still counted against the base's own answers at temperature 1.", "",
        *grid(["arm", "target", "neither", "unlikely", "target, likely"], rows), "",
    ]  # fmt: skip


def page(
    records: Sequence[Record], command: str, dialogues: Sequence[Record] = (), note: str = ""
) -> str:
    """Return ``index.md``: figure, tables, what a prompt does, the judges, how it was made.

    Args:
        records: Of the contrasts.
        command: What wrote the page.
        dialogues: Records of ten turns.
        note: What the page says first of itself.
    """
    cells = [record.cell for record in records if record.status == "done"]
    names = list(dict.fromkeys(cell.contrast for cell in cells))
    seeds = {name: len({c.seed for c in cells if c.contrast == name}) for name in names}
    whole, partly = on_all(records)
    model = "SmolLM2-135M-Instruct" if "smollm2" in command or "--model" not in command else ""
    lines = [
        "# Personas at equal loss" + (f" on {model}" if model else ""), "",
        *([note, ""] if note else []),
        "![Choice margin and free text over measured loss](frontier.svg)", "",
        *figure_line(records),
        "Every arm with a dial is as strong as it can be while general text loses at most so "
        "many nats a token (dotted); one whose least dose costs more has that dose. The loss "
        "shown is that of other general text. A figure over several contrasts is the mean over "
        "all their questions, and rests on the seeds that the arm ran with at the level. "
        "Intervals are 95%, over questions.", "",
        f"{max(cell.examples for cell in cells)} calibration pairs. Number of seeds: "
        + ", ".join(f"{name} {count}" for name, count in seeds.items()) + ".", "",
        *frontier_table([p for p in frontier_points(whole) if not p.contrast]), "",
    ]  # fmt: skip
    if partly:
        lines += [f"Not run on every contrast, and therefore only below: {', '.join(partly)}.", ""]
    points = frontier_points(records)
    lines += [*level_section(records, MIDDLE)]
    lines += ["## What a prompt does", "", *prompt_table(points, names), ""]
    if len(names) > 1:
        lines += ["## Every contrast", ""]
        lines += frontier_table([point for point in points if point.contrast], help=False)
    lines += [
        "",
        *against(whole, MIDDLE),
        *cool_text(whole),
        *ten_turns(dialogues),
        *judges(records, names),
    ]
    everything = [*records, *dialogues]
    left = [f"- {arm} ({who}): {why}" for arm, who, why in unfinished(everything)]
    lines += ["## Not measured", "", *left, ""] if left else []
    return "\n".join([*lines, "## Made by", "", f"    {command}", ""])


def against(records: Sequence[Record], level: float) -> list[str]:
    """Return the section on how far the mask is ahead of every other arm, question by question."""
    own = [r for r in records if r.name == OURS + level_words(level)]
    names = dict.fromkeys(r.name for r in records if r.cell.at_loss in (0.0, level))
    rows = list[list[str]]()
    for name in names:
        theirs = [record for record in records if record.name == name]
        gaps = [gain_over(own, theirs, column) for column in AGAINST]
        if name != OURS + level_words(level) and any(gaps):
            rows.append([name, *map(show, gaps)])
    if not own or not rows:
        return []
    return [
        "## The mask beside each", "",
        f"What {OURS} at {level:g} has more than each other arm, on the same questions. *margin* "
        "is of the choices; *target* and *either judge* of free answers at temperature 1, and the "
        "first judge's at 0.7.", "",
        *grid(["arm", *(column.name for column in AGAINST)], rows), "",
    ]  # fmt: skip


def draw(records: Sequence[Record]) -> str:
    """Return the figure: of the levels where there are several, else of arms on all contrasts."""
    return draw_frontier(frontier_points(by_level(records) or on_all(records)[0])) or ""


def draw_glance(records: Sequence[Record], level: float) -> str | None:
    """Return how far every way goes from the base at one level of loss; our own in a colour.

    Of an arm that has not run with its default options, the only variant is shown. None where
    there is no base to start from.
    """
    points = frontier_points(on_all(records)[0])
    own = {p.arm: p for p in points if not p.contrast and p.level in (0.0, level)}
    if "base" not in own:
        return None
    rows, labels = list[FrontierPoint](), list[str]()
    for arm in reversed(WAYS):
        of_arm = [point for name, point in own.items() if name.split()[0] == arm]
        if arm in own or len(of_arm) == 1:
            rows.append(own.get(arm, of_arm[0]))
            labels.append(WAYS[arm])
    drawn, axes = figure(8.6, 0.9 + 0.33 * len(rows), ncols=2, sharey=True)
    for place, (name, title) in zip(axes, GLANCE.items(), strict=True):
        start = getattr(own["base"], name)
        for row, point in enumerate(rows):
            gain = getattr(point, name)
            if gain is None or start is None:
                continue
            colour = COLOURS[1] if point.arm.startswith("contrastive") else COLOURS[0]
            ends = [[max(gain.mean - gain.low, 0)], [max(gain.high - gain.mean, 0)]]
            place.plot([start.mean, gain.mean], [row] * 2, color=colour, lw=5, alpha=0.25,
                       solid_capstyle="butt")  # fmt: skip
            place.errorbar(gain.mean, row, xerr=ends, color=colour, marker="o", capsize=2.5)
        place.set_title(title, fontsize=10)
        place.tick_params(axis="y", length=0)
        place.spines["left"].set_visible(False)
        if start is not None:
            place.axvline(start.mean, color=GREY, lw=0.8, ls=":")
    axes[0].xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes[0].set_yticks(range(len(rows)), labels, fontsize=10)
    return svg(drawn, "what each way to a persona does, at equal loss")


def on_all(records: Sequence[Record]) -> tuple[list[Record], list[str]]:
    """Return the records of arms that ran on every contrast, and the names of the others.

    A mean over easy contrasts alone would say nothing beside one over all.
    """
    done = [record for record in records if record.status == "done"]
    seen = {r.name: {o.cell.contrast for o in done if o.name == r.name} for r in done}
    everywhere = {record.cell.contrast for record in done}
    whole = [name for name, contrasts in seen.items() if contrasts == everywhere]
    return [r for r in done if r.name in whole], [name for name in seen if name not in whole]


def judges(records: Sequence[Record], names: Sequence[str]) -> list[str]:
    """Return the section on who judged free text, and how far they can be trusted."""
    lines = []
    for name in names:
        own = [record for record in records if record.cell.contrast == name]
        if said := describe_judges(own):
            lines += [f"{describe_questions(own)[0]}.", "", *(f"- {line}" for line in said), ""]
    return ["## Who judged", "", *lines] if lines else []


def prompt_table(points: Sequence[FrontierPoint], names: Sequence[str]) -> list[str]:
    """Return for every persona what the prompt changes, beside the base."""
    rows = []
    for name in names:
        own = {p.arm: p for p in points if p.contrast == (name if len(names) > 1 else "")}
        base, prompt = own.get("base"), own.get("prompt")
        if base and prompt:
            gain = prompt.margin
            word = "-" if gain is None else "moves" if gain.low > 0 else (
                "moves away" if gain.high < 0 else "does nothing that shows"
            )  # fmt: skip
            rows.append([name, show(gain), show(base.target), show(prompt.target), word])
    head = ["persona", "margin gained", "target: base", "target: prompt", "the margin"]
    return grid(head, rows)


def main() -> None:
    """Read the command line, run, and write the page where one is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--data", default="../shared/data", help="folder of the shared data")
    parser.add_argument("--out", default="build/real", help="cells, or zipped ones with --read")
    parser.add_argument("--text", help="general text, a quarter held out; default sampled")
    parser.add_argument("--page", help="folder for index.md and its figure")
    parser.add_argument("--note", default="", help="what the page says first of itself")
    parser.add_argument("--contrasts", default=",".join(CONTRASTS))
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument(
        "--option", action="append", default=[], metavar="ARM:NAME=VALUE,NAME=VALUE",
        help="a variant of an arm; ARM: alone is its default",
    )  # fmt: skip
    parser.add_argument("--levels", default=",".join(map(str, LEVELS)))
    parser.add_argument("--drift", choices=CONTRASTS, help="a contrast that talks for ten turns")
    parser.add_argument("--retry", action="store_true", help="run failed cells again")
    parser.add_argument("--first-seed", type=int, default=0, help="leave the seeds before it out")
    for name, size in (("pairs", 64), ("questions", 48), ("general", 64), ("seeds", 3)):
        parser.add_argument(f"--{name}", type=int, default=size)
    parser.add_argument("--read", action="store_true", help="run nothing: write the page")
    options = parser.parse_args()
    if not options.read:
        loaded = load(options.model, ModelPlace(device=options.device))
        run(options, loaded)
        if options.drift:
            drift(options, loaded)
    try:
        records, dialogues = read(Path(options.out))
    except DataError as error:
        parser.error(str(error))
    folder = Path(options.page or options.out)
    text = page(records, command_line(), dialogues, options.note)
    write_text(folder / "index.md", text)
    write_text(folder / "frontier.svg", draw(records))
    if glance := draw_glance(records, MIDDLE):
        write_text(folder / "glance.svg", glance)
    print(folder / "index.md")


if __name__ == "__main__":
    main()
