"""General text for masks to spare, and general text that nothing has seen, to judge by."""

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from prosopon.data import Encoded, Persona, encode_all, load_persona
from prosopon.errors import DataError
from prosopon.lm import GENERAL_KINDS, context_length, sample_general
from prosopon.progress import Report, step_counter

if TYPE_CHECKING:
    from prosopon.models import LoadedModel

STAGE = "sampling general text"
HELD_OUT_SEED = 1_000_003
"""Seed of the general text that measures perplexity; extractors use small ones."""

_written: WeakKeyDictionary[Any, dict[tuple[int, str | None], list[Encoded]]] = WeakKeyDictionary()


def general_text(
    loaded: "LoadedModel", general: str | None, count: int, report: Report | None = None
) -> tuple[Persona | str | None, list[Encoded], str]:
    """Return general text for arms, held-out text, and the given text's hash.

    Args:
        loaded: The model.
        general: A source of texts, whose last quarter is held out; a kind that the model writes
            itself; None for the kind that suits it.
        count: Most held-out texts.
        report: Called with (stage, done, total) while the model writes.

    Raises:
        DataError: The given text cannot be split.
    """
    model, tokenizer = loaded.model, loaded.tokenizer
    kind = next((kind for kind in GENERAL_KINDS if kind == general), None)
    if general is None or kind:
        texts = []
        if count:
            written = _written.setdefault(model, {})
            if (count, kind) not in written:  # several experiments on one model share them
                if report is not None:
                    report(STAGE, 0, count)
                written[count, kind] = sample_general(
                    model, tokenizer, count=count, seed=HELD_OUT_SEED, kind=kind, part="tests",
                    progress=None if report is None else step_counter(report, STAGE, count),
                )  # fmt: skip
            texts = written[count, kind]
        return kind, texts, f"sampled: {kind}" if kind else "sampled"
    source = load_persona(general)
    cut = len(source) - max(1, len(source) // 4)
    if not cut:
        raise DataError(f"{general}: one text cannot be split into known and held out")
    for_arms = Persona(source.name, source.examples[:cut])
    texts = encode_all(
        source.examples[cut:][:count], tokenizer, scope="all", max_length=context_length(model)
    )
    return for_arms, texts, source.content_hash()
