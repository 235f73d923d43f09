"""``prosopon sweep``: criteria over sparsity, calibration size and seed, in one table."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from typer import Option

from prosopon.cli.console import out
from prosopon.cli.experiments import GRID, plain_table, run_experiment, show_gaps, this_command
from prosopon.cli.options import (
    LIST,
    Ignore,
    Json,
    MaxNewTokens,
    Model,
    ModelPlace,
    Output,
    People,
    Retry,
    Seeds,
    Targets,
    split_list,
    whole_numbers,
)
from prosopon.errors import OptionError

if TYPE_CHECKING:
    from prosopon.experiments.experiment import ExperimentResult


def sweep(
    folder: Output,
    people: People,
    criteria: Annotated[
        str, Option("--criteria", "-c", help=f"See prosopon criteria. {LIST} Or all.")
    ] = "contrastive-taylor",
    model: Model = "embedded",
    sparsity: Annotated[
        str, Option("--sparsity", "-s", help=f"Shares, auto, default (each its own). {LIST}")
    ] = "default",
    examples: Annotated[
        str, Option("--examples", "-n", help=f"Calibration examples of each side. {LIST}")
    ] = "64",
    seeds: Seeds = "0",
    option: Annotated[
        list[str] | None, Option(help="criterion.key=value. May be repeated.")
    ] = None,
    answers: Annotated[int, Option(min=1, help="Free answers a cell.")] = 60,
    choices: Annotated[int, Option(min=1, help="Pairs a cell.")] = 100,
    max_new_tokens: MaxNewTokens = 48,
    free_text: Annotated[
        bool, Option("--free-text/--no-free-text", help="Sample and judge free answers.")
    ] = True,
    controls: Annotated[
        bool, Option("--controls/--no-controls", help="base, prompt, random, magnitude.")
    ] = True,
    tables: Annotated[bool, Option("--tables/--no-tables", help="Write Parquet and CSV.")] = True,
    plots: Annotated[
        bool, Option("--plots/--no-plots", help="Write figures and the report.")
    ] = True,
    retry: Retry = False,
    targets: Targets = None,
    ignore: Ignore = None,
    as_json: Json = False,
    *,
    place: ModelPlace,
) -> None:
    """Run criteria over sparsity, calibration size and seed; a stopped sweep goes on."""
    from prosopon.criteria import CRITERIA
    from prosopon.experiments import Sites, grammar_judge, grid_plan, grid_sizes, parse_sparsity
    from prosopon.experiments.experiment import Experiment
    from prosopon.experiments.grid import TASKS_OF_GRID

    everything = criteria.strip().lower() == "all"
    sizes = grid_sizes(choices, answers, max_new_tokens)
    contrasts = people.source(model).contrasts(model, sizes.questions)
    plan = grid_plan(
        tuple(contrasts), CRITERIA.names() if everything else split_list(criteria, str),
        sparsities=split_list(sparsity, parse_sparsity), controls=controls, sizes=sizes,
        examples=whole_numbers("--examples", examples), seeds=whole_numbers("--seeds", seeds),
        options=criterion_options(option),
        tasks=[task for task in TASKS_OF_GRID if free_text or task != "free-text"],
    )  # fmt: skip
    experiment = Experiment(
        plan, contrasts, folder, this_command(), people.general, grammar_judge,
        Sites(tuple(targets or ()), tuple(ignore or ())), retry, tables=tables, plots=plots,
        open_questions=people.open_questions,
    )  # fmt: skip
    run_experiment(experiment, model, place, _show, as_json)


def criterion_options(pairs: Sequence[str] | None) -> dict[str, dict[str, str]]:
    """Parse ``--option criterion.key=value``."""
    options: dict[str, dict[str, str]] = {}
    for item in pairs or ():
        name, sign, value = item.partition("=")
        criterion, dot, key = name.partition(".")
        if not (sign and dot and criterion and key):
            raise OptionError(f"--option {item!r}: write it as criterion.key=value")
        if key in options.setdefault(criterion, {}):
            raise OptionError(f"--option {name!r} is given twice")
        options[criterion][key] = value
    return options


def _show(findings: "ExperimentResult") -> None:
    from prosopon.experiments.markdown import spread

    rows = findings.summary.rows
    people, seeds = max(row.contrasts for row in rows), max(row.seeds for row in rows)
    table = plain_table(
        f"Mean over {people} persona{'s' * (people != 1)} and {seeds} seed{'s' * (seeds != 1)}"
        + (", ± 95% over seeds" if seeds > 1 else "")
    )
    table.add_column("arm", overflow="fold", min_width=10)
    table.add_column("n", justify="right")
    names = [name for name in GRID if any(row.figures.get(name) for row in rows)]
    for heading in (*(GRID[name] for name in names), "pruned", "seconds"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        if row.over_seeds:
            cells = [spread(row.over_seeds.get(name)).replace(" ", "") for name in names]
        else:
            means = [row.figures.get(name) for name in names]
            cells = ["-" if mean is None else f"{mean.mean:.3f}" for mean in means]
        cells += [f"{row.costs['pruned_share'] or 0:.2%}", f"{row.costs['seconds'] or 0:.1f}"]
        table.add_row(row.arm, str(row.examples or ""), *cells)
    out.print(table)
    show_gaps(findings)
