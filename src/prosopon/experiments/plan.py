"""What an experiment runs: contrasts, arms with their options, calibration sizes, seeds."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from prosopon.arms import ARMS, Arm
from prosopon.arms.dose import Dialable
from prosopon.errors import OptionError
from prosopon.evaluation.tasks import TASKS
from prosopon.registry import normalise

REQUIRED = ("base", "random", "shortest")
"""Arms that stand in every comparison: without them a table proves nothing."""

DEFAULT_TASKS = ("choice", "a-b", "free-text", "neutral", "perplexity", "cross-talk")
KINDS = ("base", "prompting", "training", "mask", "control")
SHORT = 24  # characters of an option's value in a label

Sparsity = float | Literal["auto", "default"]
"""A share in (0, 1); ``auto``: the criterion searches; ``default``: the criterion's own."""

OptionSets = tuple[Mapping[str, Any], ...]
"""Options of one arm, as text or of their type; every set of them is a variant of its own."""


@dataclass(frozen=True)
class Sizes:
    """How much every arm is asked.

    Attributes:
        questions: Questions of a task.
        max_new_tokens: Longest free answer.
        general: Held-out general texts for the perplexity; 0 leaves every perplexity out.
        speed: Requests whose latency is taken, one at a time; 0 leaves it out.
        by_task: Questions of single tasks, instead of ``questions``.
        temperature: Of the answers to open questions; 0 is greedy.

    Raises:
        OptionError: A size below 1, or a temperature below 0.
    """

    questions: int = 60
    max_new_tokens: int = 32
    general: int = 64
    speed: int = 4
    by_task: Mapping[str, int] = field(default_factory=dict)
    temperature: float = 1.0

    def __post_init__(self) -> None:
        sizes = {name: value for name, value in vars(self).items() if name != "by_task"}
        for name, value in {**sizes, **self.by_task}.items():
            least = 0 if name in ("speed", "general", "temperature") else 1
            if value < least:
                raise OptionError(f"{name}={value}: at least {least}")

    def of_task(self, task: str) -> int:
        """Return how many questions a task asks."""
        return self.by_task.get(task, self.questions)


@dataclass(frozen=True)
class Cell:
    """One variant of an arm on one contrast with one seed.

    Attributes:
        contrast: Name of the target.
        arm: The arm.
        seed: Seeds draws, extraction, training and answers.
        options: The arm's options with their values.
        examples: Calibration examples of each side; 0 where the arm learns from none.
        at_loss: Rise of general loss, nats a token, within which the arm is as strong as it can
            be; 0 for the dose that its options say.
    """

    contrast: str
    arm: str
    seed: int
    options: Mapping[str, Any] = field(default_factory=dict)
    examples: int = 0
    at_loss: float = 0.0


@dataclass(frozen=True)
class Plan:
    """Every combination of these.

    Attributes:
        contrasts: Names of the targets.
        arms: Names of the arms.
        tasks: Names of the tasks.
        examples: Calibration sizes.
        seeds: Seeds.
        sizes: How much is asked.
        options: Sets of options by arm; an arm that is not named runs once, with its defaults.
        controls: Whether the required arms are added where they are not named.
        own: Arms beside the registered ones.
        at_loss: Levels of loss at each of which every arm with a dial runs; others run once.

    Raises:
        OptionError: An empty list, a size below 1, a bad option, or options of an arm that does
            not run.
        UnknownNameError: No such arm or task; the message lists them.
    """

    contrasts: tuple[str, ...]
    arms: tuple[str, ...]
    tasks: tuple[str, ...] = DEFAULT_TASKS
    examples: tuple[int, ...] = (64,)
    seeds: tuple[int, ...] = (0,)
    sizes: Sizes = field(default_factory=Sizes)
    options: Mapping[str, OptionSets] = field(default_factory=dict)
    controls: bool = True
    own: Mapping[str, Arm] = field(default_factory=dict)
    at_loss: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name in ("contrasts", "arms", "tasks", "examples", "seeds"):
            if not getattr(self, name):
                raise OptionError(f"there are no {name}")
        if min(self.examples) < 1:
            raise OptionError(f"{min(self.examples)} calibration examples: must be at least 1")
        for level in self.at_loss:
            if not 0 < level < math.inf:
                raise OptionError(f"loss {level:g}: must be above 0, in nats a token")
        registered = [name for name in self.arms if name not in self.own]
        names = (*self.own, *arm_names(registered, self.controls))
        object.__setattr__(self, "arms", names)
        object.__setattr__(self, "tasks", tuple(TASKS.get(name).name for name in self.tasks))
        for arm, sets in self.options.items():
            if arm not in self.arms:
                raise OptionError(
                    f"options are given for {arm!r}, which does not run; these run: "
                    f"{', '.join(self.arms)}"
                )
            for options in sets:
                if "sparsity" in options:
                    parse_sparsity(str(options["sparsity"]))
                self.arm(arm).parse(options)

    def on(self, contrast: str) -> "Plan":
        """Return the same plan on one contrast."""
        return dataclasses.replace(self, contrasts=(contrast,))

    def arm(self, name: str) -> Arm:
        """Return an arm of this plan.

        Raises:
            UnknownNameError: No such arm.
        """
        return self.own[name] if name in self.own else ARMS.get(name)

    def cells(self, rooms: Mapping[str, int] | None = None) -> Iterator[Cell]:
        """Yield every cell once, seed by seed and contrast by contrast.

        Args:
            rooms: Calibration examples that there are, by contrast: no cell has more.
        """
        for seed in dict.fromkeys(self.seeds):
            for contrast in dict.fromkeys(self.contrasts):
                room = (rooms or {}).get(contrast, max(self.examples))
                for arm in self.arms:
                    yield from self._variants(contrast, arm, seed, room)

    def _variants(self, contrast: str, name: str, seed: int, room: int) -> Iterator[Cell]:
        arm = self.arm(name)
        counts = [min(count, room) for count in self.examples] if learns(arm) else [0]
        options = [
            dataclasses.asdict(arm.parse(values)) for values in self.options.get(name, ({},))
        ]
        levels = self.at_loss if self.at_loss and isinstance(arm, Dialable) else (0.0,)
        for count in dict.fromkeys(counts):
            for number, values in enumerate(options):
                if values not in options[:number]:
                    for level in dict.fromkeys(levels):
                        yield Cell(contrast, name, seed, values, count, level)

    def label(self, cell: Cell) -> str:
        """Return the arm with its sparsity, the options that are not the default, its level."""
        default = dataclasses.asdict(self.arm(cell.arm).parse({}))
        share, parts = list[str](), list[str]()
        for name, value in cell.options.items():
            if default.get(name) != value:
                text = str(value) if len(str(value)) <= SHORT else f"{str(value)[:SHORT]}..."
                (share if name == "sparsity" else parts).append(
                    text if name == "sparsity" else f"{name}={text}"
                )
        return " ".join([cell.arm, *share, *parts]) + level_words(cell.at_loss)

    def to_json(self) -> dict[str, Any]:
        """Return the settings that the report shows."""
        values = {name: value for name, value in vars(self).items() if name != "own"}
        return {**values, "sizes": dataclasses.asdict(self.sizes)}


def level_words(level: float) -> str:
    """Return what a label ends with for a level of loss; nothing without one."""
    return f" at {level:g}" if level else ""


def learns(arm: Arm) -> bool:
    """Tell whether an arm learns from calibration examples; arms that do not say so do."""
    return bool(getattr(arm, "learns", True))


def arm_names(names: Sequence[str], controls: bool = True) -> list[str]:
    """Return arms in the order of their kinds; ``all`` are all; the required ones are added.

    Raises:
        UnknownNameError: No such arm; the message lists them.
    """
    everything = "all" in map(normalise, names)
    arms = ARMS.names() if everything else [ARMS.get(name).name for name in names]
    wanted = list(dict.fromkeys([*(REQUIRED if controls else ()), *arms]))
    return sorted(wanted, key=lambda name: KINDS.index(ARMS.get(name).kind))


def parse_sparsity(text: str) -> Sparsity:
    """Return a share, ``auto`` or ``default``.

    Raises:
        OptionError: It is none of these.
    """
    word = text.strip().lower()
    if word == "auto":
        return "auto"
    if word == "default":
        return "default"
    try:
        share = float(word)
    except ValueError:
        share = -1.0
    if not 0 < share < 1:
        raise OptionError(
            f"sparsity {text!r}: a share between 0 and 1, both excluded, or auto, or default"
        )
    return share
