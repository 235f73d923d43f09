"""From personas to subnetworks: what to collect, which criterion, which selection."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from prosopon.criteria import CRITERIA, Criterion
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
from prosopon.extraction.pairs import pair_examples
from prosopon.extraction.provenance import Calibration, describe
from prosopon.extraction.rounds import Report, prune_in_rounds
from prosopon.extraction.scored import Evidence, Scored, scored_mask, solved_mask
from prosopon.models import Site, check_finite, find_sites, fingerprint, restrict_sites
from prosopon.statistics import (
    Grams,
    Statistics,
    collect_grams,
    collect_statistics,
    fisher_diagonal,
)
from prosopon.subnetwork import Compensation, Subnetwork

Source = str | Path | Persona


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
        layers: Decoder layers to use, for instance ``"2-5,7"``; default all.
        only: ``"attention"`` or ``"mlp"``; default both. The sparsity is a share of the weights
            of the sites that are used.
        scope: ``"response"`` or ``"all"``; default ``"response"``, or ``"all"`` for
            ``variant="reference"``, which counts every token.
        general: Texts that a mask must not damage; default: sampled from the model itself.
        general_count: How many texts to sample.
        seed: Seeds whatever is drawn.
        max_length: Longest example in tokens; longer ones lose their beginning.
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
        layers: str | None = None,
        only: str | None = None,
        scope: Scope | None = None,
        general: Source | None = None,
        general_count: int = 128,
        seed: int = 0,
        max_length: int | None = None,
        report: Report | None = None,
    ) -> None:
        self.model, self.tokenizer = model, tokenizer
        config = getattr(model, "config", None)
        self.name = name or getattr(config, "name_or_path", "") or type(model).__name__
        if scope is not None and scope not in SCOPES:
            raise OptionError(f"unknown scope {scope!r}. Choices: {', '.join(SCOPES)}")
        self.revision, self.seed = revision, seed
        self.scope = scope
        found = find_sites(model, targets=targets, ignore=ignore)
        self.sites = restrict_sites(found, layers=layers, only=only)
        check_finite(self.sites)
        self.fingerprint = fingerprint(self.sites)
        self.max_length = max_length or getattr(config, "max_position_embeddings", None)
        self.general_source, self.general_count = general, general_count
        self.report = report
        self._statistics: dict[tuple[str, str], Statistics] = {}
        self._general: list[Encoded] | None = None
        self._general_statistics: Statistics | None = None
        self._fisher: dict[str, Tensor] | None = None

    def extract(
        self,
        target: Persona,
        opposite: Persona | None = None,
        *,
        criterion: str = "contrastive-taylor",
        sparsity: float | None = None,
        pattern: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Subnetwork:
        """Extract the target's subnetwork.

        Args:
            target: The persona to find.
            opposite: What it is told apart from; contrastive criteria need one.
            criterion: A name from ``prosopon criteria``.
            sparsity: Share of weights to prune, in (0, 1); default the criterion's own. For
                ``contrastive-taylor`` the most that may be pruned.
            pattern: Selection pattern; default the criterion's own.
            options: Options of the criterion.

        Raises:
            UnknownNameError: No such criterion or pattern.
            OptionError: A bad option or sparsity, or an opposite is missing.
        """
        chosen = CRITERIA.get(criterion)
        parsed = chosen.parse_options(options or {})
        share = chosen.sparsity if sparsity is None else sparsity
        if not 0 < share < 1:
            raise OptionError(f"sparsity {share}: must lie between 0 and 1, both excluded")
        if chosen.contrastive and opposite is None:
            raise OptionError(f"criterion {criterion!r} needs an opposite: give --opposite")
        reference = getattr(parsed, "variant", "") == "reference"
        scope: Scope = self.scope or ("all" if reference else "response")
        kind = pattern or chosen.pattern
        if chosen.check is not None:
            chosen.check(kind, share, parsed)
        if "gradient" in chosen.needs:
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
            found = Scored(self._light_mask(chosen, parsed, target, opposite, share))
        elif chosen.solve is not None:
            found = self._solved_mask(chosen, parsed, target, share, kind, scope)
        else:
            found = self._scored_mask(chosen, parsed, target, opposite, share, kind, scope)
        keep = found.keep
        needs_general = bool({"gradient", "general"} & chosen.needs_with(parsed))
        calibration = Calibration(
            target=target,
            opposite=opposite if chosen.contrastive else None,
            general_count=len(self.general()) if needs_general else 0,
            scope="response" if "gradient" in chosen.needs else scope,
        )
        config = describe(
            keep, calibration, chosen, dataclasses.asdict(parsed), kind, share, self.seed,
            model=self.name, revision=self.revision, fingerprint=self.fingerprint,
        )  # fmt: skip
        subnetwork = Subnetwork(keep, config)
        if found.values:
            subnetwork.compensation = Compensation.of(keep, found.values)
        return subnetwork

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
                self._general = self._encode(persona, "all")
        return self._general

    def general_statistics(self) -> Statistics:
        """Return the channel statistics of general text, every token of it (once)."""
        if self._general_statistics is None:
            texts = self.general()
            self._general_statistics = collect_statistics(
                self.model,
                self.sites,
                texts,
                scope="all",
                progress=self._counter("reading general text", len(texts)),
            )
        return self._general_statistics

    def fisher(self) -> dict[str, Tensor]:
        """Return the Fisher diagonal on general text (once)."""
        if self._fisher is None:
            texts = self.general()
            progress = self._counter("measuring damage", len(texts))
            self._fisher = fisher_diagonal(
                self.model, self.sites, texts, seed=self.seed, progress=progress
            )
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
    ) -> Scored:
        evidence = Evidence(
            target=self.statistics(target, scope) if "target" in criterion.needs else None,
            opposite=self.statistics(opposite, scope)
            if "opposite" in criterion.needs and opposite is not None
            else None,
            general=self.general_statistics()
            if "general" in criterion.needs_with(options)
            else None,
        )
        return scored_mask(self.sites, criterion, options, evidence, sparsity, pattern, self.seed)

    def _solved_mask(
        self,
        criterion: Criterion,
        options: Any,
        target: Persona,
        sparsity: float,
        pattern: str,
        scope: Scope,
    ) -> Scored:
        encoded = self._encode(target, scope)

        def grams(sites: Sequence[Site]) -> Grams:
            return collect_grams(
                self.model, sites, encoded, scope=scope, source=target.content_hash(),
                progress=self._counter(f"reading {target.name}", len(encoded)),
            )  # fmt: skip

        return solved_mask(self.sites, criterion, options, grams, sparsity, pattern, self.report)

    def _light_mask(
        self, criterion: Criterion, options: Any, target: Persona, opposite: Persona, share: float
    ) -> dict[str, Tensor]:
        examples = pair_examples(target.examples, opposite.examples)
        ours = encode_all(
            [pair[0] for pair in examples], self.tokenizer, max_length=self.max_length
        )
        theirs = encode_all(
            [pair[1] for pair in examples], self.tokenizer, max_length=self.max_length
        )
        total = sum(site.out_features * site.in_features for site in self.sites)
        rounds = prune_in_rounds(
            self.model,
            self.sites,
            criterion,
            options,
            list(zip(ours, theirs, strict=True)),
            self.general() if options.general else [],
            self.fisher() if options.damage else {},
            int(share * total),
            self.report,
        )
        return rounds.keep

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
    sparsity: float | None = None,
    pattern: str | None = None,
    options: Mapping[str, Any] | None = None,
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
        pattern: Selection pattern; default the criterion's own.
        options: Options of the criterion.
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
        ours, theirs, criterion=criterion, sparsity=sparsity, pattern=pattern, options=options
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
