"""``prosopon reproduce``: a published protocol, with the controls that it lacks."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from prosopon.cli.console import out, print_json, progress, say
from prosopon.cli.experiments import plain_table, show_gaps, this_command
from prosopon.cli.loading import load
from prosopon.cli.options import (
    LIST,
    ArmOption,
    General,
    Json,
    ModelPlace,
    Output,
    Retry,
    Seeds,
    split_list,
    whole_numbers,
)
from prosopon.errors import OptionError, UnknownNameError

if TYPE_CHECKING:
    from prosopon.experiments.experiment import ExperimentResult
    from prosopon.experiments.paper_plan import PaperPart, PartName

PAPERS = ("paper",)


def reproduce(
    what: Annotated[str, Argument(help="paper: Ye et al. 2026.")],
    run: Annotated[bool, Option("--run", help="Run it; needs the model and --data.")] = False,
    data: Annotated[
        Path | None,
        Option(
            help="Folder of data sets: NAME or NAME_train, and NAME_test, two answers a question; "
            "files of the ends of MBTI axes; RoleAgentBench's files."
        ),
    ] = None,
    pair: Annotated[
        list[str] | None,
        Option(
            help="TARGET=OPPOSITE: two files, or file#role, that are one set's sides. "
            "May be repeated."
        ),
    ] = None,
    folder: Output = Path("reproduction"),
    model: Annotated[
        str | None, Option("--model", "-m", help="Instead of the paper's first model.")
    ] = None,
    sparsity: Annotated[float | None, Option(help="Instead of the paper's.")] = None,
    arms: Annotated[str | None, Option(help=f"Instead of all of them. {LIST}")] = None,
    tasks: Annotated[str | None, Option(help=f"Instead of ours. {LIST}")] = None,
    option: ArmOption = None,
    prompt: Annotated[str | None, Option(help="System line of the prompt arm.")] = None,
    examples: Annotated[
        int | None, Option("--examples", "-n", min=1, help="Instead of the paper's.")
    ] = None,
    questions: Annotated[int | None, Option(min=1, help="Instead of the paper's.")] = None,
    general: General = None,
    seeds: Seeds = "0",
    quick: Annotated[
        bool, Option("--quick", help="Everything small, for a small model on a CPU.")
    ] = False,
    only: Annotated[
        str | None,
        Option(help="Of ai-persona, mbti, mbti-types, role-play, sparsity, calibration. " + LIST),
    ] = None,
    types: Annotated[
        str | None,
        Option(help=f"MBTI types, or all; default all, INFJ and INFP with --quick. {LIST}"),
    ] = None,
    retry: Retry = False,
    as_json: Json = False,
    *,
    place: ModelPlace,
) -> None:
    """Print the protocol of a paper with our controls added; --run runs it."""
    from prosopon.arms.options import parse_arm_options
    from prosopon.experiments.experiment import Experiment
    from prosopon.experiments.paper import PAPER, describe, find_sets
    from prosopon.experiments.paper_plan import (
        QUICK,
        Settings,
        check_types,
        paper_parts,
        read_sets,
    )
    from prosopon.experiments.paper_tables import paper_tables, write_paper_tables

    if what not in PAPERS:
        raise UnknownNameError("protocol", what, PAPERS)
    if not run:
        if as_json:
            print_json(describe(PAPER))
        else:
            _describe()
        return
    if data is None:
        raise OptionError(
            "--run needs --data: a folder with one file for each set; the paper's own files come "
            "with its authors' repository"
        )
    settings = QUICK if quick else Settings()
    changes: dict[str, Any] = {
        "arms": tuple(split_list(arms, str)) if arms else None,
        "tasks": tuple(split_list(tasks, str)) if tasks else None,
        "examples": examples,
        "sparsity": sparsity,
        "sizes": replace(settings.sizes, questions=questions) if questions else None,
        "seeds": whole_numbers("--seeds", seeds),
        "own": parse_arm_options(option or ()),
        "types": check_types(split_list(types, str.upper)) if types else None,
    }
    settings = replace(settings, **{name: one for name, one in changes.items() if one is not None})
    sets, notes = find_sets(data, pair or ())
    entries, more = read_sets(sets, settings.sizes.questions, prompt)
    notes += more
    chosen = paper_parts(entries, settings, tuple(split_list(only, str)) if only else ())
    experiments = [
        Experiment(
            one.plan, one.contrasts, folder / one.name, this_command(), general, retry=retry,
            plots=one.name == "ai-persona", open_questions="none",
        )
        for one in chosen
    ]  # fmt: skip
    for experiment in experiments:
        experiment.check()
    loaded = load(model or PAPER.models[0], place)
    for note in notes:
        say(note, "yellow")
    results_of: dict[PartName, tuple[PaperPart, ExperimentResult]] = {}
    results = []
    for part, experiment in zip(chosen, experiments, strict=True):
        with progress() as report:
            findings = experiment.run(loaded, report)
        results_of[part.name] = part, findings
        path = write_paper_tables(paper_tables(results_of), notes, folder)
        place_of = {"set": part.name, "folder": str(experiment.folder)}
        results.append({**place_of, **findings.to_json()})
        if not as_json:
            say(part.name, "bold")
            show_gaps(findings)
    tables = paper_tables(results_of)
    if as_json:
        print_json({"notes": notes, "sets": results, "tables": [asdict(one) for one in tables]})
        return
    for table in tables:
        shown = plain_table(table.title, *table.head)
        for row in table.rows:
            shown.add_row(*row)
        out.print(shown)
    say(f"written: {path}")


def _describe() -> None:
    from prosopon.experiments.paper import ADDED, PAPER

    lines = [
        PAPER.source,
        f"models: {', '.join(PAPER.models)}",
        *(f"data: {name}: {text}" for name, text in PAPER.sets.items()),
        f"calibration: {PAPER.calibration} examples of a set, or as many as there are beside the "
        "test and what teaches the judge",
        f"test: {PAPER.test} questions of a set",
        f"sparsity: {PAPER.sparsity:g} of every output row",
        f"arms: {', '.join(PAPER.arms)}",
        f"added controls and arms: {', '.join(PAPER.controls)}",
        *(f"added: {text}" for text in ADDED),
        "run it: prosopon reproduce paper --run --data FOLDER [--model ID_OR_FOLDER]",
    ]
    for line in lines:
        say(line)
