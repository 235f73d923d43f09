"""``prosopon compare``: every arm on the same questions, from data to a report."""

from typing import Annotated

from typer import Option

from prosopon.cli.experiments import judges_with, run_experiment, show_findings, this_command
from prosopon.cli.judging import JudgeOptions
from prosopon.cli.options import (
    LIST,
    ArmOption,
    Json,
    MaxNewTokens,
    Model,
    ModelPlace,
    Output,
    People,
    Retry,
    Seeds,
    Temperature,
    numbers,
    split_list,
    whole_numbers,
)


def compare(
    folder: Output,
    people: People,
    description: Annotated[
        str, Option(help="One line on the target, for prompts and judges.")
    ] = "",
    model: Model = "embedded",
    arms: Annotated[str, Option("--arms", "-a", help=f"{LIST} Or all.")] = "all",
    tasks: Annotated[
        str | None, Option("--tasks", "--task", help=f"See evaluate --task list. {LIST}")
    ] = None,
    seeds: Seeds = "0",
    examples: Annotated[
        str, Option("--examples", "-n", help=f"Calibration examples of each side. {LIST}")
    ] = "64",
    questions: Annotated[int, Option(min=1, help="Of every task.")] = 60,
    max_new_tokens: MaxNewTokens = 32,
    temperature: Temperature = 1.0,
    at_loss: Annotated[
        str | None,
        Option(
            help="Nats a token that general text may lose: each arm that has a dial runs at its "
            f"strongest within each. {LIST}"
        ),
    ] = None,
    option: ArmOption = None,
    explain: Annotated[
        str, Option(help="Mask arm that the report explains; none leaves it out.")
    ] = "contrastive-taylor",
    retry: Retry = False,
    as_json: Json = False,
    *,
    judge: JudgeOptions,
    place: ModelPlace,
) -> None:
    """Compare arms with controls on one model; writes a table, figures and a report."""
    from prosopon.arms import ARMS
    from prosopon.arms.options import parse_arm_options
    from prosopon.experiments import DEFAULT_TASKS, Plan, Sizes
    from prosopon.experiments.experiment import Experiment

    judges = judges_with(judge.maker(folder / "verdicts.jsonl"))
    contrasts = people.source(model, description).contrasts(model, questions)
    plan = Plan(
        contrasts=tuple(contrasts),
        arms=tuple(split_list(arms, str)),
        tasks=tuple(split_list(tasks, str)) if tasks else DEFAULT_TASKS,
        examples=whole_numbers("--examples", examples),
        seeds=whole_numbers("--seeds", seeds),
        sizes=Sizes(questions, max_new_tokens, temperature=temperature),
        options={arm: (own,) for arm, own in parse_arm_options(option or ()).items()},
        at_loss=tuple(split_list(at_loss, numbers("--at-loss"))) if at_loss else (),
    )
    experiment = Experiment(
        plan, contrasts, folder, this_command(), people.general, judges, retry=retry,
        open_questions=people.open_questions,
        explain=None if explain.strip().lower() == "none" else ARMS.get(explain).name,
    )  # fmt: skip
    run_experiment(experiment, model, place, show_findings, as_json)
