"""Plans of criteria over sparsity, calibration size and seed, beside masks that know nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

from prosopon.criteria import CRITERIA
from prosopon.errors import OptionError
from prosopon.experiments.plan import OptionSets, Plan, Sizes, Sparsity, parse_sparsity

CONTROLS = ("base", "prompt")
"""Arms without a mask."""

CONTROL_MASKS = ("random", "magnitude")
"""Criteria that know nothing of the persona: in every grid, at the same sparsities."""

TASKS_OF_GRID = ("choice", "free-text", "neutral", "perplexity", "cross-talk")
NEUTRAL, ACROSS = 100, 280  # questions of neutral ability, and of the seven other axes together


def grid_sizes(choices: int = 100, answers: int = 60, max_new_tokens: int = 48) -> Sizes:
    """Return how much a grid asks: paired choices, free answers, and what masks may harm."""
    by_task = {"choice": choices, "free-text": answers, "neutral": NEUTRAL, "cross-talk": ACROSS}
    return Sizes(max(choices, answers), max_new_tokens, speed=0, by_task=by_task)


def grid_plan(
    contrasts: Sequence[str],
    criteria: Sequence[str],
    *,
    sparsities: Sequence[Sparsity] = ("default",),
    examples: Sequence[int] = (64,),
    seeds: Sequence[int] = (0,),
    options: Mapping[str, Mapping[str, Any]] | None = None,
    controls: bool = True,
    sizes: Sizes | None = None,
    tasks: Sequence[str] = TASKS_OF_GRID,
) -> Plan:
    """Return the plan of every criterion at every sparsity, size and seed.

    Control masks are not searched for: in place of ``auto`` they run at their default.

    Raises:
        OptionError: An empty list, a share outside (0, 1), a size below 1, or a bad option.
        UnknownNameError: No such criterion.
    """
    names = [CRITERIA.get(name).name for name in criteria]
    for what, values in (("criteria", names), ("sparsities", sparsities)):
        if not values:
            raise OptionError(f"there are no {what}")
    shares = [parse_sparsity(str(share)) for share in sparsities]
    arms = list(dict.fromkeys([*(CONTROL_MASKS if controls else ()), *names]))
    variants: dict[str, OptionSets] = {}
    for arm in arms:
        searched = arm in names
        own = [share if searched or share != "auto" else "default" for share in shares]
        variants[arm] = tuple(
            {**(options or {}).get(arm, {}), "sparsity": str(share)} for share in dict.fromkeys(own)
        )
    for arm in options or {}:
        if arm not in arms:
            raise OptionError(
                f"options are given for {arm!r}, which does not run; these run: {', '.join(arms)}"
            )
    return Plan(
        tuple(contrasts), (*(CONTROLS if controls else ()), *arms), tuple(tasks), tuple(examples),
        tuple(seeds), sizes or grid_sizes(), variants, controls=False,
    )  # fmt: skip
