"""How an extraction reads a model and its texts."""

from collections.abc import Sequence
from dataclasses import dataclass

from prosopon.data import SCOPES, PersonaSource, Scope
from prosopon.errors import OptionError
from prosopon.progress import Report


@dataclass(frozen=True, kw_only=True)
class ExtractionSettings:
    """What is the same for all extractions from one model.

    Attributes:
        name: Model id or path, recorded in every subnetwork; default what the model says.
        revision: Hub revision, recorded.
        targets: Patterns of sites to use; default all Linear layers but embeddings and head.
        ignore: Patterns of sites to leave out.
        layers: Decoder layers to use, for instance ``"2-5,7"``; default all.
        only: ``"attention"`` or ``"mlp"``; default both. The sparsity is a share of the weights
            of the sites that are used.
        scope: ``"response"`` or ``"all"``; default ``"response"``, or ``"all"`` for
            ``variant="reference"``, which counts every token.
        general: Texts that a mask must not damage. Default: the model writes them itself, as
            suits it; ``answers`` and ``start`` say how (:mod:`prosopon.lm.general_text`).
        general_count: How many texts to sample; default 64 answers of a chat model, 128
            beginnings of any other.
        seed: Seeds whatever is drawn.
        max_length: Longest example in tokens; longer ones lose their beginning. Default the
            model's context.
        max_tokens: Most tokens, padding included, in one backward pass; fewer need less memory.
        report: Called with (stage, done, total) while work goes on.

    Raises:
        OptionError: No such scope.
    """

    name: str = ""
    revision: str | None = None
    targets: Sequence[str] | None = None
    ignore: Sequence[str] = ()
    layers: str | None = None
    only: str | None = None
    scope: Scope | None = None
    general: PersonaSource | None = None
    general_count: int | None = None
    seed: int = 0
    max_length: int | None = None
    max_tokens: int = 2048
    report: Report | None = None

    def __post_init__(self) -> None:
        if self.scope is not None and self.scope not in SCOPES:
            raise OptionError(f"unknown scope {self.scope!r}. Choices: {', '.join(SCOPES)}")

    def say(self, stage: str, done: int, total: int) -> None:
        """Report progress where anybody listens."""
        if self.report is not None:
            self.report(stage, done, total)
