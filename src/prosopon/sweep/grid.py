"""What a sweep runs: cells, and the grid that lists them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from prosopon.criteria import CRITERIA
from prosopon.errors import OptionError
from prosopon.experiments.cells import content_key

Sparsity = float | Literal["auto", "default"]
"""A share in (0, 1); ``auto``: the criterion searches; ``default``: the criterion's own."""

CONTROLS = ("base", "prompt")
"""Arms without a mask."""

CONTROL_MASKS = ("random", "magnitude")
"""Criteria that know nothing of the persona: in every sweep, at the same sparsities."""


@dataclass(frozen=True)
class Cell:
    """One extraction and its measures; without a mask for ``base`` and ``prompt``.

    Attributes:
        persona: The target.
        arm: A criterion, or one of ``base`` and ``prompt``.
        sparsity: What is asked; None without a mask.
        examples: Calibration examples of each side; 0 without a mask.
        seed: Seeds calibration draw, extraction, questions and answers.
        options: Options of the criterion, as JSON values.
    """

    persona: str
    arm: str
    sparsity: Sparsity | None
    examples: int
    seed: int
    options: Mapping[str, Any] = field(default_factory=dict)

    def key(self, context: Mapping[str, Any]) -> str:
        """Return the hexadecimal SHA-256 (first 20 digits) of the cell and what it depends on."""
        return content_key({"cell": dataclasses.asdict(self), "context": context})


@dataclass(frozen=True)
class Grid:
    """Every combination of these; the controls come of themselves.

    Attributes:
        personas: Targets.
        criteria: Criteria.
        sparsities: Shares, ``auto`` or ``default``.
        examples: Calibration sizes.
        seeds: Seeds.
        options: Options by criterion.
        controls: Whether the controls are run.

    Raises:
        OptionError: An empty list, a share outside (0, 1), a size below 1, or a bad option.
        UnknownNameError: No such criterion.
    """

    personas: tuple[str, ...]
    criteria: tuple[str, ...]
    sparsities: tuple[Sparsity, ...] = ("default",)
    examples: tuple[int, ...] = (64,)
    seeds: tuple[int, ...] = (0,)
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    controls: bool = True

    def __post_init__(self) -> None:
        for name in ("personas", "criteria", "sparsities", "examples", "seeds"):
            if not getattr(self, name):
                raise OptionError(f"the sweep has no {name}")
        for sparsity in self.sparsities:
            parse_sparsity(str(sparsity))
        if min(self.examples) < 1:
            raise OptionError(f"{min(self.examples)} calibration examples: must be at least 1")
        for criterion in self.criteria:
            CRITERIA.get(criterion)
        for criterion, given in self.options.items():
            if criterion not in self.arms():
                raise OptionError(
                    f"options are given for {criterion!r}, which the sweep does not run; it runs: "
                    f"{', '.join(self.arms())}"
                )
            CRITERIA.get(criterion).parse_options(given)

    def arms(self) -> tuple[str, ...]:
        """Return the criteria with the control masks."""
        masks = CONTROL_MASKS if self.controls else ()
        return tuple(dict.fromkeys((*masks, *self.criteria)))

    def cells(self) -> Iterator[Cell]:
        """Yield every cell, seed by seed and persona by persona; the controls first.

        Control masks are not searched for: in place of ``auto`` they run at their default.
        """
        for seed in dict.fromkeys(self.seeds):
            for persona in dict.fromkeys(self.personas):
                if self.controls:
                    yield from (Cell(persona, arm, None, 0, seed) for arm in CONTROLS)
                for examples in dict.fromkeys(self.examples):
                    yield from self._masks(persona, examples, seed)

    def _masks(self, persona: str, examples: int, seed: int) -> Iterator[Cell]:
        for arm in self.arms():
            sparsities: tuple[Sparsity, ...] = self.sparsities
            if arm in CONTROL_MASKS and arm not in self.criteria:
                sparsities = tuple("default" if s == "auto" else s for s in sparsities)
            options = self._options(arm)
            for sparsity in dict.fromkeys(sparsities):
                yield Cell(persona, arm, sparsity, examples, seed, options)

    def _options(self, arm: str) -> dict[str, Any]:
        """Return every option with its value, so that a new default is a new cell."""
        parsed = CRITERIA.get(arm).parse_options(self.options.get(arm, {}))
        return dataclasses.asdict(parsed)


def parse_sparsity(text: str) -> Sparsity:
    """Return a share, ``auto`` or ``default``.

    Raises:
        OptionError: It is none of these.
    """
    told = text.strip().lower()
    if told == "auto":
        return "auto"
    if told == "default":
        return "default"
    try:
        share = float(told)
    except ValueError:
        share = -1.0
    if not 0 < share < 1:
        raise OptionError(
            f"sparsity {text!r}: a share between 0 and 1, both excluded, or auto, or default"
        )
    return share
