"""From personas to subnetworks: check what is asked, make the mask, say where it came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from inspect import signature
from typing import TYPE_CHECKING, Any, Self

from prosopon import ranks
from prosopon.criteria import Criterion, LightCriterion, ScoredCriterion, SolvedCriterion
from prosopon.data import Persona, PersonaPair, PersonaSource, rendering_date
from prosopon.errors import OptionError, UnknownNameError
from prosopon.extraction.collector import Collector
from prosopon.extraction.light import light_mask
from prosopon.extraction.mask import ExtractedMask
from prosopon.extraction.provenance import provenance
from prosopon.extraction.request import Request, Sparsity, resolve_contrast, resolve_request
from prosopon.extraction.scored import scored_mask
from prosopon.extraction.settings import ExtractionSettings
from prosopon.extraction.solved import solved_mask
from prosopon.subnetwork import Compensation, Subnetwork

if TYPE_CHECKING:
    from torch import nn

MAKERS: Mapping[type[Criterion], Callable[[Collector, Request], ExtractedMask]] = {
    ScoredCriterion: scored_mask,
    SolvedCriterion: solved_mask,
    LightCriterion: light_mask,
}
"""Who makes the mask of each kind of criterion."""


class Extractor:
    """Extracts subnetworks from one model.

    Statistics, general text and the Fisher diagonal are shared between extractions. The model's
    weights and modes are as before after every call.

    Args:
        model: A Hugging Face causal LM.
        tokenizer: Its (fast) tokenizer.
        settings: How it is read; default :class:`ExtractionSettings`.
        changes: Single fields of the settings.

    Attributes:
        collector: What reads the texts. ``prepare``, ``statistics``, ``general``, ``fisher`` and
            ``encode`` are its methods.

    Raises:
        SiteError: No sites, or unsupported ones.
        ModelError: NaN or infinite weights.
        OptionError: No such scope, layers or kind of sites.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        settings: ExtractionSettings | None = None,
        **changes: Any,
    ) -> None:
        settings = replace(settings or ExtractionSettings(), **changes)
        self._use(Collector(model, tokenizer, settings))

    def _use(self, collector: Collector) -> None:
        settings = collector.settings
        self.collector, self.settings = collector, settings
        self.model, self.tokenizer = collector.model, collector.tokenizer
        self.sites, self.fingerprint = collector.sites, collector.fingerprint
        self.name, self.revision, self.seed = settings.name, settings.revision, settings.seed
        self.max_length, self.max_tokens = collector.max_length, settings.max_tokens
        self.report = settings.report
        self.prepare, self.statistics = collector.prepare, collector.statistics
        self.general, self.fisher = collector.general, collector.fisher
        self.held_out, self.encode = collector.held_out, collector.encode

    def extract(
        self,
        target: Persona,
        opposite: Persona | None = None,
        *,
        criterion: str = "contrastive-taylor",
        sparsity: Sparsity | None = None,
        pattern: str | None = None,
        options: Mapping[str, Any] | None = None,
        protect: Sequence[PersonaPair] = (),
    ) -> Subnetwork:
        """Extract the target's subnetwork.

        Args:
            target: The persona to find.
            opposite: What it is told apart from; contrastive criteria need one.
            criterion: A name from ``prosopon criteria``.
            sparsity: Share of weights (for ``channels`` and ``heads``: of those) to prune, in
                (0, 1); default the criterion's own, or what the pattern fixes. For light
                criteria the most that may be pruned, or ``"auto"``: budget, rounds and lambda
                are chosen on a part of the examples that is held out.
            pattern: Selection pattern: ``row``, ``site``, ``global``, n:m such as ``2:4``,
                lora:R such as ``lora:32``, ``channels`` or ``heads``; default the criterion's own.
            options: Options of the criterion.
            protect: Contrasts that the mask should leave as they are; for light criteria.

        Raises:
            UnknownNameError: No such criterion or pattern.
            OptionError: A bad option or sparsity, a pattern that does not suit the criterion or
                the model's shapes, or an opposite is missing.
            DataError: A contrastive criterion and one text of a side.
            SiteError: ``channels`` or ``heads`` in a model where they cannot be found.
            PersonaError: The model wears a persona.
        """
        request = resolve_request(
            target, opposite, criterion=criterion, sparsity=sparsity, pattern=pattern,
            options=options, protect=protect, scope=self.settings.scope,
        )  # fmt: skip
        make = next(maker for kind, maker in MAKERS.items() if isinstance(request.criterion, kind))
        ranks.check_same("model", lambda: self.fingerprint.weights)
        ranks.check_same("persona", lambda: _digest(request))
        with self.collector.reading():
            mask = make(self.collector, request)
        general_count = len(self.general()) if request.reads_general else 0
        return assemble(self.collector, request, mask, general_count)

    def without_statistics(self, seed: int | None = None) -> Self:
        """Return an extractor that shares all but the personas' statistics with this one.

        Args:
            seed: Its seed; default the same.
        """
        other = object.__new__(type(self))
        other._use(self.collector.without_statistics(seed))
        return other


EMPTY = (
    "the mask prunes nothing, so worn it is the base model: what argues against the persona is not "
    "there, or costs more than may be lost; look at a few examples of both sides, then try a "
    "larger max_loss or sparsity"
)


def assemble(
    collector: Collector, request: Request, mask: ExtractedMask, general_count: int
) -> Subnetwork:
    """Return the subnetwork of a mask, with its provenance."""
    if request.sparsity == "auto":
        request = replace(request, sparsity=mask.pruned_share)
    notes: dict[str, Any] = {"auto": mask.notes} if mask.notes else {}
    if not mask.pruned_share:
        notes["warning"] = EMPTY
    if mask.unread:
        notes["unread_experts"] = list(mask.unread)
    if request.protect:
        notes["protected"] = [ours.name for ours, _ in request.protect]
    config = provenance(
        mask.keep, request, collector.settings, collector.fingerprint,
        general_count=general_count,
        general=collector.describe_general() if general_count else None,
        rendering_date=rendering_date(collector.tokenizer),
        notes=notes,
    )  # fmt: skip
    subnetwork = Subnetwork(mask.keep, config, mask.levels)
    if mask.values:
        subnetwork.compensation = Compensation.of(mask.keep, mask.values)
    return subnetwork


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
    protect: Sequence[PersonaPair] = (),
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
        settings: Fields of :class:`ExtractionSettings`.

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
        ours, theirs, criterion=criterion, sparsity=sparsity, pattern=pattern, options=options,
        protect=protect,
    )  # fmt: skip


def _digest(request: Request) -> str:
    """Return what tells whether two processes are asked for the same."""
    pairs = [(request.target, request.opposite), *request.protect]
    hashes = [one and one.content_hash() for pair in pairs for one in pair]
    return f"{hashes} {request.criterion.name} {request.options} {request.sparsity}"


def _check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse what no extractor knows, in the caller's words."""
    if "examples" in settings:
        raise OptionError("extract has no setting 'examples': the most of each side are 'limit'")
    own = set(signature(extract).parameters) - {"settings", "model", "tokenizer"}
    choices = sorted(own | {field.name for field in fields(ExtractionSettings)})
    for name in settings:
        if name not in choices:
            raise UnknownNameError("setting of extract", name, choices)
