"""What a plan is for: the job as the command line would give it, and what it comes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prosopon.criteria import CRITERIA, Criterion, LightCriterion
from prosopon.doctor.blueprint import BYTES, Blueprint
from prosopon.errors import OptionError
from prosopon.layerwise.extraction import check_sequential
from prosopon.models.loading import EMBEDDED
from prosopon.selection import find_pattern

PROMPT, ANSWER = 40, 25
"""Tokens of an example's question, template included, and of its answer where nothing is said;
the library's examples have 44 and 26 on SmolLM2, 17 and 21 on the embedded model."""


@dataclass(frozen=True)
class PlannedRun:
    """What is planned.

    Attributes:
        criterion: Of the extraction.
        options: The criterion's options, parsed.
        pattern: Selection pattern.
        share: Share of weights that goes, at most.
        dtype: Type of the weights in memory.
        examples: Of each side.
        tokens: Of an example: (question, answer).
        rows: Answers that a server writes at once.
        length: Tokens of a served request and its answer.
        sequential: Whether the model is read layer by layer.
        chat: Whether the model answers the questions of general text, or writes from its start.
        texts: General texts that it writes; default what suits it.
    """

    criterion: Criterion
    options: Any
    pattern: str
    share: float
    dtype: str
    examples: int = 128
    tokens: tuple[int, int] = (PROMPT, ANSWER)
    rows: int = 8
    length: int = 2048
    sequential: bool = False
    chat: bool = True
    texts: int | None = None

    @property
    def width(self) -> int:
        """Bytes of a weight in memory."""
        return BYTES[self.dtype]


@dataclass(frozen=True)
class MemoryPart:
    """A part of what is needed, in bytes; on the device (a GPU) where the model lies there."""

    what: str
    nbytes: int
    on_device: bool = False


@dataclass(frozen=True)
class Operations:
    """What there is to compute.

    Attributes:
        wide: Floating point operations on many tokens at once.
        steps: (tokens, times) of the passes that write token by token.
        read: Bytes that are read from disk.
        exact: Operations in float64.
        elements: Numbers that are scored, ranked and packed.
    """

    wide: float = 0.0
    steps: Sequence[tuple[int, int]] = ()
    read: int = 0
    exact: float = 0.0
    elements: float = 0.0


@dataclass(frozen=True)
class Forecast:
    """What a command needs.

    Attributes:
        command: Its name.
        title: What of it is planned.
        memory: What adds up to the peak.
        files: What is written or kept on disk.
        work: What there is to compute; None where no time can be told.
        notes: Lines to read with it.
    """

    command: str
    title: str
    memory: tuple[MemoryPart, ...]
    files: tuple[MemoryPart, ...] = ()
    work: Operations | None = None
    notes: tuple[str, ...] = field(default=())

    def peak(self, on_device: bool | None = None) -> int:
        """Return the bytes at the peak: all, or those on the device, or those beside it."""
        return sum(p.nbytes for p in self.memory if on_device in (None, p.on_device))


def resolve_job(
    blueprint: Blueprint,
    *,
    criterion: str | None = None,
    options: Mapping[str, Any] | None = None,
    sparsity: float | None = None,
    pattern: str | None = None,
    dtype: str = "auto",
    examples: int = 128,
    rows: int = 8,
    length: int | None = None,
    sequential: bool = False,
    texts: int | None = None,
    default: str = "contrastive-kl",
) -> PlannedRun:
    """Return the job with every default filled in, as the commands fill them in.

    Args:
        blueprint: The model.
        criterion: See :class:`PlannedRun`; default ``default``, layer by layer contrastive-wanda.
        options: The criterion's options.
        sparsity: Default the criterion's own.
        pattern: Default the criterion's own.
        dtype: ``auto`` or a name.
        examples: See :class:`PlannedRun`.
        rows: See :class:`PlannedRun`.
        length: Tokens of a request; default 2,048, or what the model reads if that is less.
        sequential: See :class:`PlannedRun`.
        texts: See :class:`PlannedRun`.
        default: The criterion where none is named.

    Raises:
        UnknownNameError: No such criterion or pattern.
        OptionError: An option, a pattern or a sparsity that does not suit the criterion.
    """
    name = criterion or ("contrastive-wanda" if sequential else default)
    chosen = CRITERIA.get(name)
    kind = pattern or chosen.pattern
    share = find_pattern(kind).share(sparsity, chosen.sparsity)
    parsed = chosen.parse_options(options or {})
    if isinstance(chosen, LightCriterion) and kind != "global":
        raise OptionError(f"criterion {name!r} ranks all weights together: pattern 'global' only")
    if chosen.check is not None:
        chosen.check(kind, share, parsed)
    if sequential:
        check_sequential(name, kind)
    loaded = blueprint.dtype if dtype == "auto" else dtype
    most = blueprint.context or 2048
    return PlannedRun(
        chosen, parsed, kind, share, loaded, examples, rows=rows,
        length=min(length or 2048, most), sequential=sequential,
        chat=blueprint.name != EMBEDDED, texts=texts,
    )  # fmt: skip
