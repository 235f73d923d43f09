"""What an extraction reads: statistics, general text, curvature; each collected once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, TypeVar

from prosopon import ranks
from prosopon.criteria import CRITERIA, LightCriterion, ScoredCriterion
from prosopon.data import Encoded, Persona, Scope, encode_all, load_persona
from prosopon.extraction.settings import ExtractionSettings
from prosopon.gradients import fisher_diagonal
from prosopon.lm.context import context_length
from prosopon.lm.general_text import (
    GENERAL_KINDS,
    TEMPERATURE,
    GeneralKind,
    Part,
    general_kind,
    sample_general,
    show_general,
)
from prosopon.models import Site, check_finite, find_sites, fingerprint, restrict_sites, unwrap
from prosopon.models.attachment import base_evaluation
from prosopon.progress import step_counter
from prosopon.statistics import Grams, Statistics, collect_grams, collect_statistics

if TYPE_CHECKING:
    from torch import Tensor, nn

T = TypeVar("T")

COUNTS = {"answers": 64, "start": 128}  # general texts that are sampled
SMALL = 256 * 2**20  # bytes of a Fisher diagonal that is kept for all personas


class Collector:
    """Reads texts with one model and keeps what several extractions share.

    Statistics of a persona, sampled general text and the Fisher diagonal are computed once. The
    model is read in evaluation mode, and only while it wears no persona.

    Args:
        model: A Hugging Face causal LM. Its weights and modes are as before after every call.
        tokenizer: Its (fast) tokenizer.
        settings: How it is read.

    Attributes:
        model: As given, without wrappers of torch.compile or parallel training.
        tokenizer: As given.
        settings: With the model's own name where none was given.
        sites: The sites in use.
        fingerprint: Of their weights.
        max_length: Longest example in tokens, None for no limit.

    Raises:
        SiteError: No sites, or unsupported ones.
        ModelError: NaN or infinite weights.
    """

    def __init__(self, model: nn.Module, tokenizer: Any, settings: ExtractionSettings) -> None:
        self.model, self.tokenizer = unwrap(model), tokenizer
        config = getattr(self.model, "config", None)
        name = settings.name or getattr(config, "name_or_path", "") or type(self.model).__name__
        self.settings = replace(settings, name=name)
        sites = find_sites(self.model, targets=settings.targets, ignore=settings.ignore)
        self.sites = restrict_sites(sites, layers=settings.layers, only=settings.only)
        check_finite(self.sites)
        self.fingerprint = fingerprint(self.sites)
        self.max_length = settings.max_length or context_length(self.model)
        self._statistics: dict[tuple[str, str], Statistics] = {}
        self._general: list[Encoded] | None = None
        self._held_out: list[Encoded] | None = None
        self._general_statistics: Statistics | None = None
        self._fisher: dict[str, Tensor] | None = None

    def reading(self) -> AbstractContextManager[None]:
        """Return a context in which the model can be read: without dropout, nothing worn.

        Raises:
            PersonaError: A persona is worn.
        """
        return base_evaluation(self.model, self.sites)

    def prepare(self, criteria: Iterable[str], *, search: bool = True) -> None:
        """Compute now what extractions with these criteria share, whatever the persona.

        General text, its statistics, and its damage where that is little enough to be kept.

        Args:
            criteria: Their names.
            search: Whether a sparsity is searched for, which needs general text to judge by.

        Raises:
            UnknownNameError: No such criterion.
            ModelError: General text cannot be sampled.
        """
        for criterion in map(CRITERIA.get, criteria):
            if isinstance(criterion, ScoredCriterion) and "general" in criterion.needs:
                self.general_statistics()
            elif isinstance(criterion, LightCriterion):
                self.general()
                if search:
                    self.held_out()
                if self._small():
                    self.fisher()

    def without_statistics(self, seed: int | None = None) -> Self:
        """Return a collector that shares all but the personas' statistics with this one.

        For timing extractions one by one, and for letting statistics go.

        Args:
            seed: Seeds what is drawn for a persona; default as here.
        """
        other = copy.copy(self)
        other._statistics = {}
        if seed is not None:
            other.settings = replace(self.settings, seed=seed)
        return other

    def statistics(self, persona: Persona, scope: Scope = "response") -> Statistics:
        """Return a persona's statistics, collected once per content and scope."""
        key = (persona.content_hash(), scope)
        if key not in self._statistics:
            self._statistics[key] = self._read(collect_statistics, self.sites, persona, scope)
        return self._statistics[key]

    def grams(self, persona: Persona, scope: Scope, sites: Sequence[Site]) -> Grams:
        """Return the Gram matrices of some sites over a persona's examples; not kept."""
        return self._read(collect_grams, sites, persona, scope)

    def _read(
        self, collect: Callable[..., T], sites: Sequence[Site], persona: Persona, scope: Scope
    ) -> T:
        with self.reading():
            return collect(
                self.model, sites, self.encode(persona, scope),
                scope=scope, source=persona.content_hash(),
                progress=self._counter(f"reading {persona.name}", len(persona)),
            )  # fmt: skip

    def general(self) -> list[Encoded]:
        """Return general text: the given one, or text that the model writes (once)."""
        if self._general is None:
            if self._samples():
                self._general = self._sample(self._count(), self.settings.seed, "masks")
            else:
                assert self.settings.general is not None
                persona = load_persona(self.settings.general)
                ranks.check_same("general text", persona.content_hash)
                texts = self.encode(persona, "all")
                split = len(texts) - len(texts) // 4
                self._general, self._held_out = texts[:split], texts[split:]
        return self._general

    def held_out(self) -> list[Encoded]:
        """Return general text that no mask is made from, to judge by (once).

        Sampled, or the last quarter of what was given.
        """
        if self._held_out is None:
            if self._samples():
                count = max(self._count() // 2, 8)
                self._held_out = self._sample(count, self.settings.seed + 1, "choices")
            else:
                self.general()
        assert self._held_out is not None
        return self._held_out

    def general_statistics(self) -> Statistics:
        """Return the channel statistics of general text, every token of it (once)."""
        if self._general_statistics is None:
            texts = self.general()
            with self.reading():
                self._general_statistics = collect_statistics(
                    self.model, self.sites, texts, scope="all",
                    progress=self._counter("reading general text", len(texts)),
                )  # fmt: skip
        return self._general_statistics

    def fisher(self) -> dict[str, Tensor]:
        """Return the Fisher diagonal on general text (once)."""
        if self._fisher is None:
            self._fisher = self._measure_fisher(None)
        return self._fisher

    def fisher_at(
        self, positions: Mapping[str, Tensor], count: int | None = None
    ) -> Mapping[str, Tensor]:
        """Return the Fisher diagonal at flat positions, ``[n]`` of every site.

        The whole diagonal is kept for other personas where it is small (256 MiB).

        Args:
            positions: The positions.
            count: Most general texts to read where it is not kept; default all.
        """
        if self._fisher is not None or self._small():
            whole = self.fisher()
            return {name: whole[name].reshape(-1)[flat] for name, flat in positions.items()}
        return self._measure_fisher(positions, count)

    def encode(self, persona: Persona, scope: Scope) -> list[Encoded]:
        """Return a persona's examples as tokens, with the tokens in scope marked."""
        return encode_all(persona.examples, self.tokenizer, scope=scope, max_length=self.max_length)

    def describe_general(self) -> dict[str, Any]:
        """Return what general text was: its kind, how it was written, three of its texts."""
        if not self._samples():
            lines = show_general(self.general(), self.tokenizer)
            return {"kind": "given", "lines": lines}
        kind = self._kind() or general_kind(self.model, self.tokenizer)
        lines = show_general(self.general(), self.tokenizer)
        return {"kind": kind, "temperature": TEMPERATURE, "lines": lines}

    def _count(self) -> int:
        """Return how many texts are sampled; an answer is as long as several beginnings."""
        if self.settings.general_count is not None:
            return self.settings.general_count
        return COUNTS[self._kind() or general_kind(self.model, self.tokenizer)]

    def _samples(self) -> bool:
        return self.settings.general is None or self._kind() is not None

    def _kind(self) -> GeneralKind | None:
        """Return the kind of general text that the model was told to write."""
        return next((kind for kind in GENERAL_KINDS if kind == self.settings.general), None)

    def _sample(self, count: int, seed: int, part: Part) -> list[Encoded]:
        stage = "sampling general text"
        self.settings.say(stage, 0, count)
        with self.reading():
            texts = ranks.agree(
                lambda: sample_general(
                    self.model, self.tokenizer, count=count, seed=seed, kind=self._kind(),
                    part=part, progress=step_counter(self.settings.say, stage, count),
                )
            )  # fmt: skip
        self.settings.say(stage, count, count)
        return texts

    def _measure_fisher(
        self, positions: Mapping[str, Tensor] | None, count: int | None = None
    ) -> dict[str, Tensor]:
        texts = self.general()[:count]
        with self.reading():
            return fisher_diagonal(
                self.model, self.sites, texts, seed=self.settings.seed, at=positions,
                max_tokens=self.settings.max_tokens,
                progress=self._counter("measuring damage", len(texts)),
            )  # fmt: skip

    def _small(self) -> bool:
        return 4 * sum(site.weight.numel() for site in self.sites) <= SMALL

    def _counter(self, stage: str, total: int) -> Callable[[int], None]:
        """Return what counts the steps of this rank."""
        return step_counter(self.settings.say, stage, len(ranks.share(range(total))))
