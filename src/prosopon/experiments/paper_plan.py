"""The paper's tables as experiments: what is run on which part of the data."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import Literal, get_args

from prosopon.arms import Arm, Lab
from prosopon.arms.masks import MaskArm, MaskReady
from prosopon.arms.prompt import plain_line
from prosopon.arms.ready import speaker_of
from prosopon.arms.turns import put_before
from prosopon.data.contrast import Contrast
from prosopon.data.examples import Persona
from prosopon.data.mbti import TYPES
from prosopon.errors import DataError, OptionError, UnknownNameError
from prosopon.evaluation.speaking import Speaker
from prosopon.experiments.paper import LETTERS, PAPER, DataSet, options, set_contrast
from prosopon.experiments.plan import OptionSets, Plan, Sizes

PartName = Literal["ai-persona", "mbti", "mbti-types", "role-play", "sparsity", "calibration"]
CONTRASTIVE = ("contrastive-wanda", "contrastive-sparse")
ELSEWHERE = ("a-b", "yes-no", "neutral", "facts")  # asked of AI Persona alone


@dataclass(frozen=True)
class Settings:
    """How much of the protocol is run.

    Attributes:
        arms: Arms.
        tasks: Tasks; those that are not about the persona are asked with AI Persona alone, and
            free text with the axes alone, whose examples are answers in words.
        examples: Calibration examples of a side.
        sparsity: Share that masks prune.
        sizes: How much every arm is asked.
        seeds: Seeds.
        own: The user's options by arm.
        wide: Those of the arms that are asked for every pole, type and role, beside the base.
        types: MBTI types.
        sparsities: Of the reviewers' first question.
        calibration: Sizes of their second one.
    """

    arms: tuple[str, ...] = (*PAPER.controls, *PAPER.arms)
    tasks: tuple[str, ...] = PAPER.tasks
    examples: int = PAPER.calibration
    sparsity: float = PAPER.sparsity
    sizes: Sizes = field(default_factory=lambda: Sizes(PAPER.test))
    seeds: tuple[int, ...] = (0,)
    own: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    wide: tuple[str, ...] = ("prompt-paper", "random", "wanda", *CONTRASTIVE)
    types: tuple[str, ...] = TYPES
    sparsities: tuple[float, ...] = (0.05, 0.1, 0.2, 0.3, 0.5)
    calibration: tuple[int, ...] = (16, 64, 256)


QUICK = Settings(
    arms=(
        "base", "prompt-paper", "wanda", *CONTRASTIVE, "random", "opposite", "shortest",
        "always-yes", "always-a",
    ),
    tasks=("choice", "facts", "perplexity"),
    examples=16,
    sizes=Sizes(16, 24, general=8, speed=0, by_task={"facts": 16, "free-text": 6}),
    wide=("prompt-paper", "wanda", *CONTRASTIVE),
    types=("INFJ", "INFP"),
    sparsities=(0.02, 0.1),
    calibration=(4, 64),
)  # fmt: skip
"""Everything once and small, for a model of some hundred million parameters on two cores."""


@dataclass(frozen=True)
class PaperPart:
    """What one or more of the paper's tables rest on.

    Attributes:
        name: Of the section and of its folder.
        plan: What is run.
        contrasts: On what.
        groups: The script of each role's contrast.
        letters: Questions of the poles by their letter.
    """

    name: PartName
    plan: Plan
    contrasts: Mapping[str, Contrast]
    groups: Mapping[str, str]
    letters: Mapping[str, frozenset[str]]


class PromptedMask(MaskArm):
    """A mask under a line that names the persona, as the released script wears every mask."""

    def __init__(self, criterion: str) -> None:
        super().__init__(criterion, f"{criterion} under the prompt")

    def prepare(self, lab: Lab) -> MaskReady:
        """See :class:`~prosopon.arms.masks.MaskArm`."""
        ready, line = super().prepare(lab), plain_line(lab.contrast.target)

        @contextmanager
        def enter() -> Iterator[Speaker]:
            with ready.speaking():
                yield speaker_of(lab, lambda prompt: put_before(prompt, line))

        return dataclasses.replace(ready, enter=enter)


def check_types(names: Sequence[str]) -> tuple[str, ...]:
    """Return MBTI types by their names; ``ALL`` is all sixteen.

    Raises:
        OptionError: No name.
        UnknownNameError: A name that is none.
    """
    if not names:
        raise OptionError(f"no MBTI type is named; choices: {', '.join(TYPES)}, all")
    for name in names:
        if name not in (*TYPES, "ALL"):
            raise UnknownNameError("MBTI type", name, (*TYPES, "all"))
    return TYPES if "ALL" in names else tuple(names)


def read_sets(
    sets: Sequence[DataSet], questions: int, line: str | None
) -> tuple[list[tuple[DataSet, Contrast]], list[str]]:
    """Return data sets with their contrasts, and notes; roles with too few rows are left out.

    Raises:
        DataError: A file cannot be used.
    """
    entries, notes = [], []
    for data in sets:
        try:
            entry = set_contrast(data, questions=questions, line=line)
        except DataError as error:
            if data.part != "role-play":
                raise
            notes.append(f"{data.name}: left out: {error}")
            continue
        entries.append((data, entry.contrast))
        notes += [f"{data.name}: {note}" for note in entry.notes]
    return entries, notes


def paper_parts(
    entries: Sequence[tuple[DataSet, Contrast]], settings: Settings, only: Sequence[str] = ()
) -> list[PaperPart]:
    """Return what can be run on some data, in the order of the paper's tables.

    Args:
        entries: Data sets with their contrasts.
        settings: How much of it.
        only: Names of paper_parts; none for all.

    Raises:
        OptionError: A name that is none, or nothing to run.
    """
    names = get_args(PartName)
    if odd := [name for name in only if name not in names]:
        raise OptionError(f"--only {odd[0]}: no part of the paper. Choices: {', '.join(names)}")
    parts: dict[str, dict[str, Contrast]] = {"ai-persona": {}, "mbti": {}, "role-play": {}}
    groups = {data.name: data.group for data, _ in entries}
    for data, contrast in sorted(entries, key=lambda one: "".join(LETTERS).find(one[0].group)):
        parts[data.part][data.name] = contrast
    poles = {groups[name]: contrast for name, contrast in parts["mbti"].items()}
    types = {kind: type_contrast(kind, poles) for kind in settings.types if set(kind) <= set(poles)}
    letters = {one: frozenset(i.question for i in poles[one].items()) for one in poles}
    first = dict(list((parts["ai-persona"] or parts["mbti"] or parts["role-play"]).items())[:1])
    few = tuple(task for task in settings.tasks if task not in ELSEWHERE)
    plain = tuple(task for task in few if task != "free-text")
    with_personas = tuple(task for task in settings.tasks if task != "free-text")
    arms = settings.arms
    wide = ("base", *([arm for arm in arms if arm in settings.wide] or arms))
    persona_plan = _persona_plan(parts["ai-persona"], with_personas, settings)
    masks = ("base", *(arm for arm in arms if arm in CONTRASTIVE))
    shares = {
        arm: tuple({"sparsity": str(share)} for share in settings.sparsities) for arm in masks[1:]
    }
    wanted: list[tuple[PartName, Mapping[str, Contrast], Plan | None]] = [
        ("ai-persona", parts["ai-persona"], persona_plan),
        ("mbti", parts["mbti"], _plan(parts["mbti"], few, wide, settings)),
        ("mbti-types", types, _plan(types, plain, wide, settings)),
        ("role-play", parts["role-play"], _plan(parts["role-play"], plain, wide, settings)),
        ("sparsity", first, _plan(first, plain, masks, settings, variants=shares)),
        (
            "calibration", first,
            _plan(first, plain, masks, settings, examples=settings.calibration),
        ),
    ]  # fmt: skip
    chosen = [
        PaperPart(name, plan, contrasts, groups, letters)
        for name, contrasts, plan in wanted
        if plan is not None and (not only or name in only)
    ]
    if not chosen:
        raise OptionError("the folder holds nothing for what is asked of it")
    return chosen


def type_contrast(kind: str, poles: Mapping[str, Contrast]) -> Contrast:
    """Return the contrast of an MBTI type: as many examples of each of its four poles, in turn.

    The opposite is the type of the four other letters.
    """
    names = kind, "".join(LETTERS[letter] for letter in kind)

    def joined(part: str, side: int) -> Persona:
        rows = (getattr(poles[letter], part)[side].examples for letter in kind)
        return Persona(names[side], tuple(chain.from_iterable(zip(*rows, strict=False))))

    def both(part: str) -> tuple[Persona, Persona]:
        return joined(part, 0), joined(part, 1)

    return Contrast(both("calibration"), both("judge"), both("test"))


def _persona_plan(
    contrasts: Mapping[str, Contrast], tasks: tuple[str, ...], settings: Settings
) -> Plan | None:
    """Return AI Persona's plan: also the script's variants, and its line over its masks."""
    masks = [arm for arm in settings.arms if arm in CONTRASTIVE]
    share = {"sparsity": str(settings.sparsity)}
    variants: dict[str, OptionSets] = {
        arm: (share, {**share, "variant": "reference"}) for arm in masks if arm not in settings.own
    }
    line = "prompt-paper" in settings.arms
    own: dict[str, Arm] = {arm.name: arm for arm in map(PromptedMask, masks) if line}
    variants |= dict.fromkeys(own, (share,))
    arms = (*settings.arms, *own)
    plan = _plan(contrasts, tasks, settings.arms, settings)
    if plan is None:
        return None
    return dataclasses.replace(plan, arms=arms, own=own, options={**plan.options, **variants})


def _plan(
    contrasts: Mapping[str, Contrast],
    tasks: tuple[str, ...],
    arms: tuple[str, ...],
    settings: Settings,
    *,
    examples: tuple[int, ...] = (),
    variants: Mapping[str, OptionSets] | None = None,
) -> Plan | None:
    """Return the plan for some contrasts; None where there are none, or nothing to ask them."""
    if not contrasts or not tasks:
        return None
    options_of = {arm: values for arm, values in settings.own.items() if arm in arms}
    return Plan(
        tuple(contrasts), arms, tasks, examples or (settings.examples,), settings.seeds,
        settings.sizes, {**options(arms, settings.sparsity, options_of), **(variants or {})},
        controls=arms == settings.arms,
    )  # fmt: skip
