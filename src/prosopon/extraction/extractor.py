"""From personas to subnetworks: what to collect, which criterion, which selection."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from prosopon.criteria import CRITERIA, Criterion, SiteInputs
from prosopon.data import (
    SCOPES,
    Encoded,
    Persona,
    Scope,
    encode_all,
    load_contrast,
    load_persona,
)
from prosopon.errors import OptionError
from prosopon.extraction.general import sample_general
from prosopon.extraction.grouping import groups_for
from prosopon.extraction.light import LightMaker, LightMask, gather
from prosopon.extraction.light.mask import Report
from prosopon.extraction.provenance import Calibration, describe
from prosopon.extraction.seeding import site_generator
from prosopon.models import Site, check_finite, find_sites, fingerprint
from prosopon.selection import Scored, find_pattern, select_each
from prosopon.statistics import Statistics, collect_statistics, fisher_diagonal
from prosopon.subnetwork import Subnetwork

Source = str | Path | Persona
Sparsity = float | Literal["auto"]
Contrast = tuple[Persona, Persona]
SMALL = 256 * 2**20  # bytes of a Fisher diagonal that is kept for all personas


class Extractor:
    """Extracts subnetworks from one model and keeps what several extractions share.

    Statistics of a persona, sampled general text and the Fisher diagonal are computed once.

    Args:
        model: A Hugging Face causal LM. Its weights are as before after every call.
        tokenizer: Its (fast) tokenizer.
        name: Model id or path, recorded in every subnetwork.
        revision: Hub revision, recorded.
        targets: Patterns of sites to use; default all Linear layers but embeddings and head.
        ignore: Patterns of sites to leave out.
        scope: ``"response"`` or ``"all"``; default ``"response"``, or ``"all"`` for
            ``variant="reference"``, which counts every token.
        general: Texts that a mask must not damage; default: sampled from the model itself.
        general_count: How many texts to sample.
        seed: Seeds whatever is drawn.
        max_length: Longest example in tokens; longer ones lose their beginning.
        max_tokens: Most tokens, padding included, in one backward pass; fewer need less memory.
        report: Called with (stage, done, total) while work goes on.

    Raises:
        SiteError: No sites, or unsupported ones.
        ModelError: NaN or infinite weights.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        *,
        name: str = "",
        revision: str | None = None,
        targets: Sequence[str] | None = None,
        ignore: Sequence[str] = (),
        scope: Scope | None = None,
        general: Source | None = None,
        general_count: int = 128,
        seed: int = 0,
        max_length: int | None = None,
        max_tokens: int = 2048,
        report: Report | None = None,
    ) -> None:
        self.model, self.tokenizer = model, tokenizer
        config = getattr(model, "config", None)
        self.name = name or getattr(config, "name_or_path", "") or type(model).__name__
        if scope is not None and scope not in SCOPES:
            raise OptionError(f"unknown scope {scope!r}. Choices: {', '.join(SCOPES)}")
        self.revision, self.seed = revision, seed
        self.scope = scope
        self.sites = find_sites(model, targets=targets, ignore=ignore)
        check_finite(self.sites)
        self.fingerprint = fingerprint(self.sites)
        self.max_length = max_length or getattr(config, "max_position_embeddings", None)
        self.general_source, self.general_count = general, general_count
        self.max_tokens, self.report = max_tokens, report
        self._statistics: dict[tuple[str, str], Statistics] = {}
        self._general: list[Encoded] | None = None
        self._held_out: list[Encoded] | None = None
        self._fisher: dict[str, Tensor] | None = None

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
        levels, told = None, dict[str, Any]()
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
            assert opposite is not None
            made = self._light_mask(parsed, target, opposite, share, protect)
            keep, levels, told = made.keep, made.levels, made.report
            if share == "auto":
                share = sum(map(len, levels.values())) / sum(m.numel() for m in keep.values())
        else:
            assert share != "auto"
            keep = self._scored_mask(chosen, parsed, target, opposite, share, kind, scope)
        calibration = Calibration(
            target=target,
            opposite=opposite if chosen.contrastive else None,
            general_count=len(self.general()) if light else 0,
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
        return Subnetwork(keep, config, levels)

    def prepare(self, criteria: Iterable[str]) -> None:
        """Compute now what extractions with these criteria share, whatever the persona.

        General text, and its damage where that is little enough to be kept.

        Raises:
            ProsoponError: See :func:`sample_general`.
        """
        needs = {need for name in criteria for need in CRITERIA.get(name).needs}
        if needs - {"target", "opposite", "generator"}:
            self.general()
        if "gradient" in needs:
            self.held_out()
        if "fisher" in needs and self._small():
            self.fisher()

    def without_statistics(self) -> Extractor:
        """Return an extractor that shares all but the personas' statistics with this one.

        For timing extractions one by one, and for letting statistics go.
        """
        other = copy.copy(self)
        other._statistics = {}
        return other

    def statistics(self, persona: Persona, scope: Scope = "response") -> Statistics:
        """Return a persona's statistics, collected once per content and scope."""
        key = (persona.content_hash(), scope)
        if key not in self._statistics:
            self._statistics[key] = collect_statistics(
                self.model,
                self.sites,
                self._encode(persona, scope),
                scope=scope,
                source=key[0],
                progress=self._counter(f"reading {persona.name}", len(persona)),
            )
        return self._statistics[key]

    def general(self) -> list[Encoded]:
        """Return general text: the given one, or text sampled from the model (once)."""
        if self._general is None:
            if self.general_source is None:
                self._say("sampling general text", 0, 1)
                self._general = sample_general(
                    self.model, self.tokenizer, count=self.general_count, seed=self.seed
                )
                self._say("sampling general text", 1, 1)
            else:
                source = self.general_source
                persona = source if isinstance(source, Persona) else load_persona(str(source))
                texts = self._encode(persona, "all")
                split = len(texts) - len(texts) // 4
                self._general, self._held_out = texts[:split], texts[split:]
        return self._general

    def held_out(self) -> list[Encoded]:
        """Return general text that no mask is made from, to judge by (once).

        Sampled, or the last quarter of what was given.
        """
        if self._held_out is None:
            if self.general_source is None:
                count = max(self.general_count // 2, 8)
                self._held_out = sample_general(
                    self.model, self.tokenizer, count=count, seed=self.seed + 1
                )
            else:
                self.general()
        assert self._held_out is not None
        return self._held_out

    def fisher(self) -> dict[str, Tensor]:
        """Return the Fisher diagonal on general text (once)."""
        if self._fisher is None:
            texts = self.general()
            self._fisher = fisher_diagonal(
                self.model, self.sites, texts, seed=self.seed, max_tokens=self.max_tokens,
                progress=self._counter("measuring damage", len(texts)),
            )  # fmt: skip
        return self._fisher

    def _scored_mask(
        self,
        criterion: Criterion,
        options: Any,
        target: Persona,
        opposite: Persona | None,
        sparsity: float,
        pattern: str,
        scope: Scope,
    ) -> dict[str, Tensor]:
        groups = groups_for(pattern, sparsity, self.model, self.sites)
        ours = self.statistics(target, scope) if "target" in criterion.needs else None
        theirs = None
        if "opposite" in criterion.needs and opposite is not None:
            theirs = self.statistics(opposite, scope)

        def score(site: Site) -> Scored:
            inputs = SiteInputs(
                weight=site.matrix().float(),
                target=ours[site.name] if ours else None,
                opposite=theirs[site.name] if theirs else None,
                generator=site_generator(self.seed, site.name),
            )
            ties = criterion.ties(inputs, options) if criterion.ties is not None else None
            return Scored(site.name, criterion.score(inputs, options), ties)

        # One site's scores at a time: they are as large as the model.
        kept = select_each(map(score, self.sites), sparsity, pattern=pattern, groups=groups)
        return {name: mask.cpu() for name, mask in kept.items()}

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
            fisher=self._fisher_at,
            max_length=self.max_length,
            max_tokens=self.max_tokens,
            seed=self.seed,
            report=self.report,
        )
        protected = [(ours.examples, theirs.examples) for ours, theirs in protect]
        return maker.make(target.examples, opposite.examples, options, sparsity, protected)

    def _fisher_at(self, positions: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the Fisher diagonal at flat positions; whole only where that is little."""
        if self._fisher is not None or self._small():
            return gather(self.fisher(), positions)
        texts = self.general()
        return fisher_diagonal(
            self.model, self.sites, texts, seed=self.seed, at=positions,
            max_tokens=self.max_tokens, progress=self._counter("measuring damage", len(texts)),
        )  # fmt: skip

    def _small(self) -> bool:
        return 4 * sum(site.weight.numel() for site in self.sites) <= SMALL

    def _encode(self, persona: Persona, scope: Scope) -> list[Encoded]:
        return encode_all(persona.examples, self.tokenizer, scope=scope, max_length=self.max_length)

    def _counter(self, stage: str, total: int) -> Any:
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            self._say(stage, done, total)

        return advance

    def _say(self, stage: str, done: int, total: int) -> None:
        if self.report is not None:
            self.report(stage, done, total)


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


def _gradient_criteria() -> list[str]:
    return [name for name, criterion in CRITERIA.items() if "gradient" in criterion.needs]
