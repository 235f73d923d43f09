"""From personas to subnetworks: what to collect, which criterion, which selection."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from torch import Tensor

from prosopon.criteria import CRITERIA, ContrastiveTaylorOptions, Criterion
from prosopon.data import Persona, Scope
from prosopon.errors import OptionError
from prosopon.extraction.collector import Collector
from prosopon.extraction.grouping import groups_for
from prosopon.extraction.light import LightMaker, LightMask
from prosopon.extraction.provenance import Calibration, describe
from prosopon.extraction.scored import Evidence, Masked, scored_mask, solved_mask
from prosopon.models import Site
from prosopon.selection import find_pattern
from prosopon.statistics import Grams, collect_grams
from prosopon.subnetwork import Compensation, Subnetwork

Sparsity = float | Literal["auto"]
Contrast = tuple[Persona, Persona]


class Extractor(Collector):
    """Extracts subnetworks from one model.

    Made like :class:`Collector`, whose statistics, general text and Fisher diagonal it shares
    between extractions. The model's weights are as before after every call.
    """

    def extract(
        self,
        target: Persona,
        opposite: Persona | None = None,
        *,
        criterion: str = "contrastive-taylor",
        sparsity: Sparsity | None = None,
        pattern: str | None = None,
        options: Mapping[str, Any] | None = None,
        protect: Sequence[Contrast] = (),
    ) -> Subnetwork:
        """Extract the target's subnetwork.

        Args:
            target: The persona to find.
            opposite: What it is told apart from; contrastive criteria need one.
            criterion: A name from ``prosopon criteria``.
            sparsity: Share of weights (for ``channels`` and ``heads``: of those) to prune, in
                (0, 1); default the criterion's own, or what the pattern fixes. For
                ``contrastive-taylor`` the most that may be pruned, or ``"auto"``: budget, rounds
                and lambda are chosen on a part of the examples that is held out.
            pattern: Selection pattern: ``row``, ``site``, ``global``, n:m such as ``2:4``,
                ``channels`` or ``heads``; default the criterion's own.
            options: Options of the criterion.
            protect: Contrasts that the mask should leave as they are; for criteria that read
                gradients.

        Raises:
            UnknownNameError: No such criterion or pattern.
            OptionError: A bad option or sparsity, a pattern that does not suit the criterion or
                the model's shapes, or an opposite is missing.
            SiteError: ``channels`` or ``heads`` in a model where they cannot be found.
        """
        chosen = CRITERIA.get(criterion)
        parsed = chosen.parse_options(options or {})
        kind, light = pattern or chosen.pattern, "gradient" in chosen.needs
        if sparsity == "auto" and not light:
            raise OptionError(
                f"criterion {criterion!r} has no sparsity 'auto': give a number; only "
                f"{', '.join(_gradient_criteria())} can choose"
            )
        share: Sparsity = "auto"
        if sparsity != "auto":
            share = find_pattern(kind).share(sparsity, chosen.sparsity)
        if protect and not light:
            raise OptionError(
                f"criterion {criterion!r} cannot protect other personas; only "
                f"{', '.join(_gradient_criteria())} can"
            )
        if chosen.contrastive and opposite is None:
            raise OptionError(f"criterion {criterion!r} needs an opposite: give --opposite")
        reference = getattr(parsed, "variant", "") == "reference"
        scope: Scope = self.scope or ("all" if reference else "response")
        if share != "auto" and chosen.check is not None:
            chosen.check(kind, share, parsed)
        levels, told, values = None, dict[str, Any](), dict[str, Tensor]()
        if light:
            if kind != "global":
                raise OptionError(
                    f"criterion {criterion!r} ranks all weights together: pattern 'global' only, "
                    f"not {kind!r}"
                )
            if self.scope == "all":
                raise OptionError(
                    f"criterion {criterion!r} reads answers only: scope 'response', not 'all'"
                )
            if not isinstance(parsed, ContrastiveTaylorOptions):
                raise OptionError(
                    f"criterion {criterion!r} reads gradients, and the path of light masks knows "
                    "the gain and damage of 'contrastive-taylor' only"
                )
            assert opposite is not None
            made = self._light_mask(parsed, target, opposite, share, protect)
            keep, levels, told = made.keep, made.levels, made.report
            if share == "auto":
                share = sum(map(len, levels.values())) / sum(m.numel() for m in keep.values())
        else:
            assert share != "auto"
            find = self._scored_mask if chosen.solve is None else self._solved_mask
            found = find(chosen, parsed, target, opposite, share, kind, scope)
            keep, values = found.keep, found.values
        needs_general = bool({"gradient", "general"} & chosen.needs_with(parsed))
        calibration = Calibration(
            target=target,
            opposite=opposite if chosen.contrastive else None,
            general_count=len(self.general()) if needs_general else 0,
            scope="response" if light else scope,
        )
        recorded = dataclasses.asdict(parsed)
        if told:
            recorded["auto"] = told
        if protect:
            recorded["protected"] = [ours.name for ours, _ in protect]
        config = describe(
            keep, calibration, chosen, recorded, kind, share, self.seed,
            model=self.name, revision=self.revision, fingerprint=self.fingerprint,
        )  # fmt: skip
        subnetwork = Subnetwork(keep, config, levels)
        if values:
            subnetwork.compensation = Compensation.of(keep, values)
        return subnetwork

    def _scored_mask(
        self,
        criterion: Criterion,
        options: Any,
        target: Persona,
        opposite: Persona | None,
        sparsity: float,
        pattern: str,
        scope: Scope,
    ) -> Masked:
        groups = groups_for(pattern, sparsity, self.model, self.sites)  # refuses before reading
        evidence = Evidence(
            target=self.statistics(target, scope) if "target" in criterion.needs else None,
            opposite=self.statistics(opposite, scope)
            if "opposite" in criterion.needs and opposite is not None
            else None,
            general=self.general_statistics()
            if "general" in criterion.needs_with(options)
            else None,
        )
        return scored_mask(
            self.sites, criterion, options, evidence, sparsity, pattern, self.seed, groups
        )

    def _solved_mask(
        self,
        criterion: Criterion,
        options: Any,
        target: Persona,
        _opposite: Persona | None,
        sparsity: float,
        pattern: str,
        scope: Scope,
    ) -> Masked:
        encoded = self.encode(target, scope)

        def grams(sites: Sequence[Site]) -> Grams:
            return collect_grams(
                self.model, sites, encoded, scope=scope, source=target.content_hash(),
                progress=self._counter(f"reading {target.name}", len(encoded)),
            )  # fmt: skip

        return solved_mask(self.sites, criterion, options, grams, sparsity, pattern, self.report)

    def _light_mask(
        self,
        options: Any,
        target: Persona,
        opposite: Persona,
        sparsity: Sparsity,
        protect: Sequence[Contrast],
    ) -> LightMask:
        maker = LightMaker(
            self.model,
            self.tokenizer,
            self.sites,
            general=self.general(),
            held_out=self.held_out,
            fisher=self.fisher_at,
            max_length=self.max_length,
            max_tokens=self.max_tokens,
            seed=self.seed,
            report=self.report,
        )
        protected = [(ours.examples, theirs.examples) for ours, theirs in protect]
        return maker.make(target.examples, opposite.examples, options, sparsity, protected)


def _gradient_criteria() -> list[str]:
    return [name for name, criterion in CRITERIA.items() if "gradient" in criterion.needs]
