"""What a comparison runs: contrasts, arms, tasks, seeds, and how much is asked."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prosopon.arms import ARMS
from prosopon.errors import OptionError
from prosopon.evaluation.tasks import TASKS
from prosopon.registry import normalise

REQUIRED = ("base", "random", "shortest")
"""Arms that stand in every comparison: without them a table proves nothing."""

DEFAULT_TASKS = ("choice", "a-b", "free-text", "neutral", "perplexity", "cross-talk")


@dataclass(frozen=True)
class Sizes:
    """How much every arm learns from and is asked.

    Attributes:
        examples: Calibration examples of each side.
        questions: Questions of a task.
        max_new_tokens: Longest free answer.
        general: Held-out general texts for the perplexity.
        speed: Requests whose latency is taken, one at a time; 0 leaves it out.
    """

    examples: int = 64
    questions: int = 60
    max_new_tokens: int = 32
    general: int = 64
    speed: int = 4

    def __post_init__(self) -> None:
        for each in dataclasses.fields(self):
            least = 0 if each.name == "speed" else 1
            if getattr(self, each.name) < least:
                raise OptionError(f"{each.name}={getattr(self, each.name)}: at least {least}")


@dataclass(frozen=True)
class Cell:
    """One arm on one contrast with one seed.

    Attributes:
        contrast: Name of the target.
        arm: The arm.
        seed: Seeds draws, extraction, training, questions and answers.
        options: The arm's options with their values.
    """

    contrast: str
    arm: str
    seed: int
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """Every combination of these.

    Attributes:
        contrasts: Names of the targets.
        arms: Names of the arms.
        tasks: Names of the tasks.
        seeds: Seeds.
        sizes: How much is asked.
        options: Options by arm, as text.
        controls: Whether the required arms are added where they are not named.

    Raises:
        OptionError: An empty list.
        UnknownNameError: No such arm or task; the message lists them.
    """

    contrasts: tuple[str, ...]
    arms: tuple[str, ...]
    tasks: tuple[str, ...] = DEFAULT_TASKS
    seeds: tuple[int, ...] = (0,)
    sizes: Sizes = field(default_factory=Sizes)
    options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    controls: bool = True

    def __post_init__(self) -> None:
        for name in ("contrasts", "arms", "tasks", "seeds"):
            if not getattr(self, name):
                raise OptionError(f"the comparison has no {name}")
        object.__setattr__(self, "arms", tuple(arm_names(self.arms, controls=self.controls)))
        object.__setattr__(self, "tasks", tuple(TASKS.get(name).name for name in self.tasks))
        for arm in self.options:
            if arm not in self.arms:
                raise OptionError(
                    f"options are given for {arm!r}, which is not compared; compared are: "
                    f"{', '.join(self.arms)}"
                )

    def cells(self) -> Iterator[Cell]:
        """Yield every cell, seed by seed and contrast by contrast."""
        for seed in dict.fromkeys(self.seeds):
            for contrast in dict.fromkeys(self.contrasts):
                for arm in self.arms:
                    parsed = ARMS.get(arm).parse(self.options.get(arm, {}))
                    yield Cell(contrast, arm, seed, dataclasses.asdict(parsed))

    def to_json(self) -> dict[str, Any]:
        """Return the settings that the report shows."""
        return dataclasses.asdict(self)


KINDS = ("base", "prompting", "training", "mask", "control")


def arm_names(given: Sequence[str], *, controls: bool = True) -> list[str]:
    """Return arms in the order of their kinds; ``all`` are all; the required ones are added.

    Raises:
        UnknownNameError: No such arm; the message lists them.
    """
    names = ARMS.names() if "all" in map(normalise, given) else [ARMS.get(n).name for n in given]
    wanted = list(dict.fromkeys([*(REQUIRED if controls else ()), *names]))
    return sorted(wanted, key=lambda name: KINDS.index(ARMS.get(name).kind))
