"""``prosopon demo``: find personas in the embedded model, or one in a model of the user's own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from typer import Option

from prosopon.cli.console import command_line, out, print_json, progress, say
from prosopon.cli.experiments import plain_table
from prosopon.cli.loading import load
from prosopon.cli.options import (
    LIST,
    Device,
    Model,
    ModelPlace,
    Output,
    Seed,
    split_list,
    split_personas,
)
from prosopon.errors import OptionError
from prosopon.files import write_json
from prosopon.progress import format_duration

if TYPE_CHECKING:
    from prosopon.experiments.demonstration import DemoRow
    from prosopon.experiments.real_demo import RealDemo


ANSWERS = 4
"""Questions whose answers are shown."""


def demo(
    personas: Annotated[
        str | None,
        Option(
            "--personas",
            "--persona",
            "-p",
            help=f"Bundled ones. {LIST} Or all. Default extravert and introvert. A model of your "
            "own takes one of the library; default cold.",
        ),
    ] = None,
    model: Model = "embedded",
    output: Output = Path("demo-artifacts"),
    json_file: Annotated[
        Path | None, Option("--json", help="Write the results to this file, - for stdout.")
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Extract personas from the embedded model and measure them against controls.

    With --model, extract one persona from a chat model and show what it does.
    """
    if model != "embedded":
        _demo_model(model, personas or "cold", output, json_file, seed, device)
        return
    from prosopon.experiments import Source, grammar_judge
    from prosopon.experiments.demonstration import DEMO_ARMS, SHOWN, SIZES, DemoRow, demo_plan
    from prosopon.experiments.experiment import Experiment

    began = time.perf_counter()
    names = split_personas(personas or "extravert,introvert")
    plan = demo_plan(names, seed)
    contrasts = Source(tuple(names)).contrasts("embedded", plan.sizes.questions)
    loaded = load("embedded", ModelPlace(device=device))
    with progress() as report:
        findings = Experiment(plan, contrasts, judges=grammar_judge).run(loaded, report)
    rows = [DemoRow.of_record(record) for record in findings.records if record.status == "done"]
    record = {
        "model": "embedded",
        "seed": seed,
        "sizes": SIZES,
        "shared_seconds": round(sum(row.shared_seconds for row in rows), 3),
        "arms": [row.to_json() for row in rows],
    }
    masks = {
        (arm, who): mask for arm in DEMO_ARMS for who, mask in findings.runner.masks(arm).items()
    }
    for (arm, persona), mask in masks.items():
        mask.save_pretrained(output / f"{persona}-{arm}")
    if _write(record, output, json_file):
        _show_answers(rows, names)
        _show_table(rows, names)
        text = f"{len(masks)} subnetworks and results.json are in {output}; talk to one"
        _take_leave(text, output / f"{names[0]}-{SHOWN}", began)


def _write(record: dict[str, Any], output: Path, json_file: Path | None) -> bool:
    """Write the results; return whether stdout is still free for people to read."""
    write_json(output / "results.json", record)
    if str(json_file) == "-":
        print_json(record)
        return False
    if json_file is not None:
        write_json(json_file, record)
    return True


def _take_leave(text: str, folder: Path, began: float) -> None:
    call = command_line("chat", "--persona", str(folder))
    say(f"{text}:\n  {call}\n{format_duration(time.perf_counter() - began)} in all.")


def _demo_model(
    model: str, personas: str, output: Path, json_file: Path | None, seed: int, device: str
) -> None:
    """Extract one persona from a chat model and show what it does."""
    from prosopon.experiments import Source
    from prosopon.experiments.real_demo import CRITERION, SIZES, demonstrate

    persona = _one_persona(personas)
    began = time.perf_counter()
    (contrast,) = Source(target=persona).contrasts(model, SIZES["questions"]).values()
    loaded = load(model, ModelPlace(device=device))
    if not loaded.tokenizer.chat_template:
        raise OptionError(f"the demo talks, and {model!r} has no chat template")
    with progress() as report:
        result = demonstrate(loaded, contrast, seed=seed, report=report)
    folder = output / f"{contrast.target}-{CRITERION}"
    result.mask.save_pretrained(folder)
    if _write({"model": model, "seed": seed, **result.to_json()}, output, json_file):
        _show_result(result)
        _take_leave(f"the subnetwork is in {folder}; talk to it", folder, began)


def _one_persona(text: str) -> str:
    """Return the source of one persona of the library."""
    from prosopon.data import library

    names = split_list(text, str)
    if len(names) != 1:
        raise OptionError(f"on a model of your own the demo takes one persona, not {len(names)}")
    return library.PREFIX + library.pole(names[0].removeprefix(library.PREFIX)).name


def _show_result(result: RealDemo) -> None:
    from prosopon.experiments.real_demo import TEMPERATURE

    config = result.mask.config
    name, count = config.persona, len(result.answers)
    answers = Table("question", "base model", name, title="The same model, two ways")
    for row in result.answers[:ANSWERS]:
        answers.add_row(*row)
        answers.add_section()
    out.print(answers)
    table = plain_table()
    table.add_column("", no_wrap=True)
    for heading in (name, config.opposite or "", "neither", "recital", "facts", "nats"):
        table.add_column(heading, justify="right", no_wrap=True)
    for who, figures in zip(("base model", name), result.figures.values(), strict=True):
        table.add_row(who, *(f"{value:.3f}" for value in figures.values()))
    out.print(table)
    say(
        f"{name}, {config.opposite}, neither: shares of {count} sampled answers (temperature "
        f"{TEMPERATURE}) by the judge\nrecital: answers with four words in a row of a "
        "calibration example; facts: neutral questions answered right\nnats: a token of general "
        "text"
    )
    for line in result.judge:
        say(line)
    say(
        f"pruned: {result.mask.pruned:,} weights; extraction "
        f"{format_duration(result.seconds['extraction'])}, asking "
        f"{format_duration(result.seconds['asking'])}"
    )


def _show_answers(rows: Sequence[DemoRow], names: Sequence[str]) -> None:
    """Print the same questions answered by the base model and by each persona of the first axis."""
    from prosopon.data.grammar import load_world
    from prosopon.experiments.demonstration import SHOWN

    by_arm = {(row.persona, row.arm): row for row in rows}
    axis = load_world().pole(names[0]).axis
    poles = [name for name in names if load_world().pole(name).axis == axis]
    table = Table("question", "base model", *poles, title="The same model, three ways")
    base = by_arm[poles[0], "base"].answers
    for index in range(ANSWERS):
        table.add_row(*base[index], *(by_arm[pole, SHOWN].answers[index][1] for pole in poles))
        table.add_section()
    out.print(table)


def _show_table(rows: Sequence[DemoRow], names: Sequence[str]) -> None:
    from prosopon.experiments.demonstration import DEMO_ARMS, SHOWN, SIZES

    table = plain_table(f"Mean over {len(names)} personas, held-out questions")
    table.add_column("arm", no_wrap=True)
    for heading in ("choice", "target", "opposite", "neither", "skills", "pruned", "seconds"):
        table.add_column(heading, justify="right", no_wrap=True)
    for arm in DEMO_ARMS:
        own = [row for row in rows if row.arm == arm]
        if own:
            table.add_row(Text(arm, "bold" if arm == SHOWN else ""), *_cells(own))
    out.print(table)
    shared = sum(row.shared_seconds for row in rows)
    out.print(
        Panel.fit(
            f"choice: share of {SIZES['choices']} pairs whose persona answer is likelier per "
            f"token\ntarget, opposite, neither: share of {SIZES['answers']} sampled answers "
            "(temperature 1)\n"
            "  that the grammar writes for the persona, for its opposite, for neither\n"
            f"skills: share of {rows[0].neutral} neutral questions answered right\n"
            "pruned: share of the weights masked; seconds: extraction of one persona,\n"
            f"  without {shared:.1f} s, once, for general text and its damage",
            title="how to read it",
        )
    )


def _cells(rows: Sequence[DemoRow]) -> list[str]:
    names = ("choice/per-token", "free-text/target", "free-text/opposite", "free-text/neither",
             "neutral/right")  # fmt: skip
    means = [sum(row.figures[name] for row in rows) / len(rows) for name in names]
    pruned = sum(row.pruned_share for row in rows) / len(rows)
    seconds = sum(row.seconds for row in rows) / len(rows)
    return [*(f"{mean:.3f}" for mean in means), f"{pruned:.2%}", f"{seconds:.1f}"]
