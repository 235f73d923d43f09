"""``prosopon reproduce``: a published protocol, with the controls that it lacks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from prosopon.cli.console import print_json, progress, say
from prosopon.cli.experiments import show_findings, this_command
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

PAPERS = ("paper",)


def reproduce(
    what: Annotated[str, Argument(help="paper: Ye et al. 2026.")],
    run: Annotated[bool, Option("--run", help="Run it; needs the model and --data.")] = False,
    data: Annotated[
        Path | None,
        Option(
            help="Folder of data sets: NAME or NAME_train, and NAME_test, two answers a question."
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
    retry: Retry = False,
    as_json: Json = False,
    *,
    place: ModelPlace,
) -> None:
    """Print the protocol of a paper with our controls added; --run runs it."""
    from prosopon.arms.options import parse_arm_options
    from prosopon.experiments import Plan, Sizes
    from prosopon.experiments.experiment import Experiment
    from prosopon.experiments.paper import PAPER, describe, find_sets, options, set_contrast

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
    sets, notes = find_sets(data, pair or ())
    chosen = tuple(split_list(arms, str)) if arms else (*PAPER.controls, *PAPER.arms)
    share = PAPER.sparsity if sparsity is None else sparsity
    sizes = Sizes(questions or PAPER.test)
    experiments = []
    for one in sets:
        entry = set_contrast(one, questions=sizes.questions, line=prompt)
        notes += [f"{one.name}: {note}" for note in entry.notes]
        plan = Plan(
            (one.name,), chosen, tuple(split_list(tasks, str)) if tasks else PAPER.tasks,
            (examples or PAPER.calibration,), whole_numbers("--seeds", seeds),
            sizes, options(chosen, share, parse_arm_options(option or ())),
        )  # fmt: skip
        experiment = Experiment(
            plan, {one.name: entry.contrast}, folder / one.name, this_command(), general,
            retry=retry,
        )  # fmt: skip
        experiment.check()
        experiments.append(experiment)
    loaded = load(model or PAPER.models[0], place)
    for note in notes:
        say(note, "yellow")
    results = []
    for experiment in experiments:
        with progress() as report:
            findings = experiment.run(loaded, report)
        (name,) = experiment.contrasts
        results.append({"set": name, "folder": str(experiment.folder), **findings.to_json()})
        if not as_json:
            say(name, "bold")
            show_findings(findings)
    if as_json:
        print_json({"notes": notes, "sets": results})


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
