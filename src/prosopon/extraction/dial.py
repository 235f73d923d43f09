"""Masks of one extraction at every dose: the texts are read once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from prosopon.criteria import CRITERIA, LightCriterion
from prosopon.data import Persona
from prosopon.errors import OptionError
from prosopon.extraction.extractor import Extractor, assemble
from prosopon.extraction.light.mask import light_masks
from prosopon.extraction.request import resolve_request

if TYPE_CHECKING:
    from prosopon.subnetwork import Subnetwork


@dataclass(frozen=True)
class MaskDial:
    """Masks of one extraction, from hardly any to one that breaks the model.

    Attributes:
        find: Returns the mask at a dose, see :func:`mask_dial`.
        start: A dose to begin a search at.
        least: The least dose.
        most: The largest.
        factor: A step between doses that are far apart.
    """

    find: Callable[[float], Subnetwork]
    start: float = 0.02
    least: float = 1e-4
    most: float = 0.9
    factor: float = 4.0


def mask_dial(
    extractor: Extractor,
    target: Persona,
    opposite: Persona | None = None,
    *,
    criterion: str,
    sparsity: float | None = None,
    pattern: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> MaskDial:
    """Read the texts once and return the masks of every dose.

    The dose of a light criterion is one over lambda: its path is grown once, as its options say,
    and ranked anew for every lambda. The dose of any other is the sparsity.

    Args:
        extractor: Keeps the personas' statistics.
        target: This and the rest as :meth:`prosopon.extraction.Extractor.extract` has it.
        opposite: See there.
        criterion: See there.
        sparsity: Most weights of a light mask; others have none here.
        pattern: See there.
        options: See there.

    Raises:
        ProsoponError: See :meth:`prosopon.extraction.Extractor.extract`.
        OptionError: A sparsity where the dose is one.
    """
    kind = {"criterion": criterion, "pattern": pattern, "options": options}
    if not isinstance(CRITERIA.get(criterion), LightCriterion):
        if sparsity is not None:
            raise OptionError(f"sparsity {sparsity:g} is the dose of {criterion!r}: leave one out")

        @lru_cache(1)  # a search ends at the mask that it looked at last
        def find(dose: float) -> Subnetwork:
            return extractor.extract(target, opposite, sparsity=dose, **kind)  # type: ignore[arg-type]

        find(MaskDial.start)
        return MaskDial(find)
    collector = extractor.collector
    request = resolve_request(
        target, opposite, sparsity=sparsity, scope=extractor.settings.scope,
        **kind,  # type: ignore[arg-type]
    )  # fmt: skip
    with collector.reading():
        price, mask_at = light_masks(collector, request)

    def rank(dose: float) -> Subnetwork:
        return assemble(collector, request, mask_at(1 / dose), len(collector.general()))

    start = 1 / price if price else 1.0
    return MaskDial(rank, start, start * 1e-8, start * 1e4, 16.0)
