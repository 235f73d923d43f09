"""What an extraction reads: statistics, general text, curvature; each collected once."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

from torch import Tensor, nn

from prosopon.criteria import CRITERIA
from prosopon.data import SCOPES, Encoded, Persona, PersonaSource, Scope, encode_all, load_persona
from prosopon.errors import OptionError
from prosopon.extraction.light import gather
from prosopon.gradients import fisher_diagonal
from prosopon.lm.context import context_length
from prosopon.lm.general_text import sample_general
from prosopon.models import check_finite, find_sites, fingerprint, restrict_sites
from prosopon.progress import Report
from prosopon.statistics import Statistics, collect_statistics

SMALL = 256 * 2**20  # bytes of a Fisher diagonal that is kept for all personas


class Collector:
    """Reads texts with one model and keeps what several extractions share.

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
        layers: str | None = None,
        only: str | None = None,
        scope: Scope | None = None,
        general: PersonaSource | None = None,
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
        found = find_sites(model, targets=targets, ignore=ignore)
        self.sites = restrict_sites(found, layers=layers, only=only)
        check_finite(self.sites)
        self.fingerprint = fingerprint(self.sites)
        self.max_length = max_length or context_length(model)
        self.general_source, self.general_count = general, general_count
        self.max_tokens, self.report = max_tokens, report
        self._statistics: dict[tuple[str, str], Statistics] = {}
        self._general: list[Encoded] | None = None
        self._held_out: list[Encoded] | None = None
        self._general_statistics: Statistics | None = None
        self._fisher: dict[str, Tensor] | None = None

    def prepare(self, criteria: Iterable[str]) -> None:
        """Compute now what extractions with these criteria share, whatever the persona.

        General text, its statistics, and its damage where that is little enough to be kept.

        Raises:
            UnknownNameError: No such criterion.
            ModelError: General text cannot be sampled.
        """
        needs = {need for name in criteria for need in CRITERIA.get(name).needs}
        if "general" in needs:
            self.general_statistics()
        if "gradient" in needs:
            self.general()
            self.held_out()
        if "fisher" in needs and self._small():
            self.fisher()

    def without_statistics(self) -> Self:
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
                self.encode(persona, scope),
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
                persona = load_persona(source)
                texts = self.encode(persona, "all")
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
            self._fisher = fisher_diagonal(
                self.model, self.sites, texts, seed=self.seed, max_tokens=self.max_tokens,
                progress=self._counter("measuring damage", len(texts)),
            )  # fmt: skip
        return self._fisher

    def fisher_at(self, positions: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the Fisher diagonal at flat positions, ``[n]`` of every site.

        The whole diagonal is kept for other personas where it is small (256 MiB).
        """
        if self._fisher is not None or self._small():
            return gather(self.fisher(), positions)
        texts = self.general()
        return fisher_diagonal(
            self.model, self.sites, texts, seed=self.seed, at=positions,
            max_tokens=self.max_tokens, progress=self._counter("measuring damage", len(texts)),
        )  # fmt: skip

    def encode(self, persona: Persona, scope: Scope) -> list[Encoded]:
        """Return a persona's examples as tokens, with the tokens in scope marked."""
        return encode_all(persona.examples, self.tokenizer, scope=scope, max_length=self.max_length)

    def _small(self) -> bool:
        return 4 * sum(site.weight.numel() for site in self.sites) <= SMALL

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
