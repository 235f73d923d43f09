"""``prosopon demo``: find personas in the embedded model, wear them, and measure them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from prosopon.cli.console import command_line, out, progress, say
from prosopon.cli.loading import load
from prosopon.cli.options import LIST, Device, Output, Seed, split_personas
from prosopon.files import write_json
from prosopon.progress import format_duration

if TYPE_CHECKING:
    from prosopon.evaluation import ArmResult, ArmRunner

SHOWN = "contrastive-taylor"


def demo(
    personas: Annotated[
        str,
        typer.Option("--personas", "--persona", "-p", help=f"Bundled ones. {LIST} Or all."),
    ] = "extravert,introvert",
    output: Output = Path("demo-artifacts"),
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the results to this file, - for stdout.")
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Extract personas from the embedded model and measure them against controls."""
    from prosopon.evaluation import ArmRunner
    from prosopon.extraction import Extractor

    began = time.perf_counter()
    names = split_personas(personas)
    loaded = load("embedded", device=device)
    with progress() as report:
        extractor = Extractor(
            loaded.model, loaded.tokenizer, name="embedded", seed=seed, report=report
        )
        runner = ArmRunner(extractor, seed=seed, report=report)
        results = list(runner.run(names))
    record = {
        "model": "embedded",
        "seed": seed,
        "sizes": vars(runner.sizes),
        "shared_seconds": round(runner.shared_seconds, 3),
        "arms": [result.to_json() for result in results],
    }
    folders = _save(runner, output)
    write_json(output / "results.json", record)
    if json_file is not None and str(json_file) == "-":
        from prosopon.cli.console import print_json

        print_json(record)
        return
    if json_file is not None:
        write_json(json_file, record)
    _answers(runner, results, names)
    _table(runner, results, names)
    folder = output / f"{names[0]}-{SHOWN}"
    say(
        f"{len(folders)} subnetworks and results.json are in {output}; talk to one:\n"
        f"  {command_line('chat', '--persona', str(folder))}\n"
        f"{format_duration(time.perf_counter() - began)} in all."
    )


def _save(runner: ArmRunner, output: Path) -> list[Path]:
    folders = []
    for (persona, arm), subnetwork in runner.subnetworks.items():
        folders.append(output / f"{persona}-{arm}")
        subnetwork.save_pretrained(folders[-1])
    return folders


def _answers(runner: ArmRunner, results: Sequence[ArmResult], names: Sequence[str]) -> None:
    """Print the same questions answered by the base model and by each persona."""
    found = {(result.persona, result.arm): result for result in results}
    axes = _by_axis(names)
    for poles in axes[:1] if len(axes) > 1 else axes:
        table = Table("question", "base model", *poles, title="The same model, three ways")
        prompts = runner.questions(poles[0])
        for index in range(4):
            cells = [found[poles[0], "base"].answers[index]]
            cells += [found[pole, SHOWN].answers[index] for pole in poles]
            table.add_row(prompts[index][-1].content, *cells)
            table.add_section()
        out.print(table)


def _by_axis(names: Sequence[str]) -> list[list[str]]:
    from prosopon.data.grammar import load_world

    world = load_world()
    axes: dict[str, list[str]] = {}
    for name in names:
        axes.setdefault(world.pole(name).axis, []).append(name)
    return list(axes.values())


def _table(runner: ArmRunner, results: Sequence[ArmResult], names: Sequence[str]) -> None:
    from prosopon.evaluation import DEMO_ARMS

    sizes = runner.sizes
    title = f"Mean over {len(names)} personas, held-out questions"
    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("arm", no_wrap=True)
    for heading in ("choice", "target", "opposite", "neither", "skills", "pruned", "seconds"):
        table.add_column(heading, justify="right", no_wrap=True)
    for arm in DEMO_ARMS:
        rows = [result.to_json() for result in results if result.arm == arm]
        table.add_row(*_cells(arm, rows))
    out.print(table)
    out.print(
        Panel.fit(
            f"choice: share of {sizes.choices} pairs whose persona answer is likelier per token\n"
            f"target, opposite, neither: share of {sizes.answers} sampled answers (temperature 1)\n"
            "  that the grammar writes for the persona, for its opposite, for neither\n"
            f"skills: share of {len(runner.neutral)} neutral questions answered right\n"
            "pruned: share of the weights masked; seconds: extraction of one persona,\n"
            f"  without {runner.shared_seconds:.1f} s, once, for general text and its damage",
            title="how to read it",
        )
    )


def _cells(arm: str, rows: Sequence[dict[str, Any]]) -> list[str | Text]:
    def mean(key: str) -> float:
        values = [row["free_text"][key] if key in row["free_text"] else row[key] for row in rows]
        return float(sum(values) / len(values))

    shares = [mean(key) for key in ("choice_rate", "target", "opposite", "neither")]
    return [
        Text(arm, "bold" if arm == SHOWN else ""),
        *(f"{share:.3f}" for share in (*shares, mean("neutral_accuracy"))),
        f"{mean('pruned_share'):.2%}",
        f"{mean('seconds'):.1f}",
    ]
