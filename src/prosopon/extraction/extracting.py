"""Extraction in one call, and what two sources mean as a contrast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any

from torch import nn

from prosopon.criteria import CRITERIA
from prosopon.data import Persona, PersonaSource, load_contrast, load_persona
from prosopon.errors import OptionError, UnknownNameError
from prosopon.extraction.extractor import Contrast, Extractor, Sparsity
from prosopon.subnetwork import Subnetwork


def extract(
    model: nn.Module,
    tokenizer: Any,
    *,
    target: PersonaSource,
    opposite: PersonaSource | None = None,
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
        target: A bundled persona's name, a file, ``hf:org/name``, a ``Persona``,
            or a list of texts, examples or rows; see :func:`prosopon.data.load_persona`.
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
        UnknownNameError: There is no such setting.
        ProsoponError: See :class:`Extractor` and :meth:`Extractor.extract`.
    """
    _check_settings(settings)
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


def _check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse what no extractor knows, in the caller's words."""
    names = [*signature(extract).parameters, *signature(Extractor).parameters]
    choices = sorted(set(names) - {"settings", "model", "tokenizer"})
    for name in settings:
        if name == "examples":
            raise OptionError(
                "extract has no setting 'examples': the most of each side are 'limit'"
            )
        if name not in choices:
            raise UnknownNameError("setting of extract", name, choices)
