"""What is asked of an extraction, checked before anything is read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from prosopon.criteria import CRITERIA, Criterion, LightCriterion, ScoredCriterion
from prosopon.data import Persona, PersonaPair, PersonaSource, Scope, load_contrast, load_persona
from prosopon.errors import DataError, OptionError
from prosopon.selection import find_pattern

Sparsity = float | Literal["auto"]


@dataclass(frozen=True)
class Request:
    """One extraction.

    Attributes:
        target: The persona to find.
        opposite: What it is told apart from; None where the criterion needs none.
        criterion: The criterion.
        options: Its options.
        sparsity: Share to prune, or ``"auto"``.
        pattern: Name of the selection pattern.
        scope: Which tokens count.
        protect: Contrasts to leave as they are.
    """

    target: Persona
    opposite: Persona | None
    criterion: Criterion
    options: Any
    sparsity: Sparsity
    pattern: str
    scope: Scope
    protect: Sequence[PersonaPair] = ()

    @property
    def share(self) -> float:
        """The sparsity where it is a number, as for every criterion that is not light."""
        assert self.sparsity != "auto"
        return self.sparsity

    @property
    def reads_general(self) -> bool:
        """Whether general text is read."""
        if isinstance(self.criterion, ScoredCriterion):
            return "general" in self.criterion.needs_with(self.options)
        return isinstance(self.criterion, LightCriterion)


def resolve_request(
    target: Persona,
    opposite: Persona | None = None,
    *,
    criterion: str,
    sparsity: Sparsity | None = None,
    pattern: str | None = None,
    options: Mapping[str, Any] | None = None,
    protect: Sequence[PersonaPair] = (),
    scope: Scope | None = None,
) -> Request:
    """Return the request with every default filled in.

    Args:
        target: This and all but the last as :meth:`prosopon.extraction.Extractor.extract` has it.
        opposite: See there.
        criterion: See there.
        sparsity: See there.
        pattern: See there.
        options: See there.
        protect: See there.
        scope: Which tokens count; default what suits criterion and options.

    Raises:
        UnknownNameError: No such criterion or pattern.
        OptionError: A bad option or sparsity, a pattern or scope that does not suit the
            criterion, or an opposite is missing.
        DataError: A contrastive criterion and one text of a side: nothing varies.
    """
    chosen = CRITERIA.get(criterion)
    parsed = chosen.parse_options(options or {})
    kind, light = pattern or chosen.pattern, isinstance(chosen, LightCriterion)
    choices = ", ".join(name for name, item in CRITERIA.items() if isinstance(item, LightCriterion))
    if sparsity == "auto" and not light:
        raise OptionError(
            f"criterion {criterion!r} has no sparsity 'auto': give a number; only {choices} can "
            "choose"
        )
    share, rule = sparsity, find_pattern(kind)
    if share != "auto":
        share = rule.share(share, chosen.sparsity)
        if chosen.check is not None:
            chosen.check(kind, share, parsed)
    if protect and not light:
        raise OptionError(
            f"criterion {criterion!r} cannot protect other personas; only {choices} can"
        )
    if chosen.contrastive:
        _check_sides(criterion, target, opposite)
    if light and kind != "global" and rule.lines is None:
        raise OptionError(
            f"criterion {criterion!r} ranks all weights together: pattern 'global' or lora:R "
            f"only, not {kind!r}"
        )
    if light and scope == "all":
        raise OptionError(
            f"criterion {criterion!r} reads answers only: scope 'response', not 'all'"
        )
    reference = getattr(parsed, "variant", "") == "reference"
    return Request(
        target,
        opposite if chosen.contrastive else None,
        chosen,
        parsed,
        share,
        kind,
        scope or ("all" if reference else "response"),
        tuple(protect),
    )


def _check_sides(criterion: str, target: Persona, opposite: Persona | None) -> None:
    if opposite is None:
        raise OptionError(f"criterion {criterion!r} needs an opposite: give --opposite")
    for side in (target, opposite):
        if len(side) < 2:
            raise DataError(
                f"criterion {criterion!r} compares what varies from text to text, and "
                f"{side.name!r} has {len(side)}: give at least 2 texts of each side (a text file "
                "holds one a line, or paragraphs between blank lines)"
            )


def resolve_contrast(
    target: PersonaSource,
    opposite: PersonaSource | None,
    *,
    criterion: str,
    limit: int | None = None,
    seed: int = 0,
) -> tuple[Persona, Persona | None]:
    """Return target and opposite as personas; the opposite only where the criterion needs one.

    Raises:
        DataError: A source cannot be read, or an opposite is needed and cannot be made.
    """
    if opposite is None and not CRITERIA.get(criterion).contrastive:
        return load_persona(target, limit=limit, seed=seed), None
    return load_contrast(target, opposite, limit=limit, seed=seed)
