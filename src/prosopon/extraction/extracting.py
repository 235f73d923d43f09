"""Extraction in one call, and what two sources mean as a contrast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from prosopon.criteria import CRITERIA
from prosopon.data import Persona, load_contrast, load_persona
from prosopon.extraction.collector import Source
from prosopon.extraction.extractor import Contrast, Extractor, Sparsity
from prosopon.subnetwork import Subnetwork


def extract(
    model: nn.Module,
    tokenizer: Any,
    *,
    target: Source,
    opposite: Source | None = None,
    criterion: str = "contrastive-taylor",
    sparsity: Sparsity | None = None,
    pattern: str | None = None,
    options: Mapping[str, Any] | None = None,
    protect: Sequence[Contrast] = (),
    limit: int | None = 128,
    **settings: Any,
) -> Subnetwork:
    """Extract one persona's subnetwork from a model.

    Args:
        model: A Hugging Face causal LM; its weights are as before afterwards.
        tokenizer: Its tokenizer.
        target: A bundled persona's name, a file, ``hf:org/name``, or a ``Persona``.
        opposite: The same for the opposite; where it is missing, the target's examples must
            say which answer does not match, and those answers are the opposite.
        criterion: A name from ``prosopon criteria``.
        sparsity: Share of weights to prune; default the criterion's own.
        pattern: Selection pattern; see :meth:`Extractor.extract`.
        options: Options of the criterion.
        protect: Contrasts to leave as they are; see :meth:`Extractor.extract`.
        limit: Most examples of each side, drawn with the seed.
        settings: Further settings of :class:`Extractor`.

    Raises:
        ProsoponError: See :class:`Extractor` and :meth:`Extractor.extract`.
    """
    extractor = Extractor(model, tokenizer, **settings)
    ours, theirs = resolve_contrast(
        target, opposite, criterion=criterion, limit=limit, seed=extractor.seed
    )
    return extractor.extract(
        ours,
        theirs,
        criterion=criterion,
        sparsity=sparsity,
        pattern=pattern,
        options=options,
        protect=protect,
    )


def resolve_contrast(
    target: Source,
    opposite: Source | None,
    *,
    criterion: str,
    limit: int | None = None,
    seed: int = 0,
) -> tuple[Persona, Persona | None]:
    """Return target and opposite as personas; the opposite only where the criterion needs one.

    Raises:
        DataError: A source cannot be read, or an opposite is needed and cannot be made.
    """
    if isinstance(target, Persona):
        if opposite is None and CRITERIA.get(criterion).contrastive:
            return target, target.opposite()
        return target, _load(opposite, limit, seed)
    if isinstance(opposite, Persona):
        return load_persona(str(target), limit=limit, seed=seed), opposite
    if opposite is None and not CRITERIA.get(criterion).contrastive:
        return load_persona(str(target), limit=limit, seed=seed), None
    other = None if opposite is None else str(opposite)
    return load_contrast(str(target), other, limit=limit, seed=seed)


def _load(source: Source | None, limit: int | None, seed: int) -> Persona | None:
    if source is None or isinstance(source, Persona):
        return source
    return load_persona(str(source), limit=limit, seed=seed)
