"""Running a causal LM: forward passes, likelihoods, generation, general text; no persona."""

from prosopon.lm.context import context_length
from prosopon.lm.general_text import (
    GENERAL_KINDS,
    GeneralKind,
    counted_tokens,
    general_kind,
    sample_general,
)
from prosopon.lm.generation import (
    continue_texts,
    decode,
    fit_tokens,
    generate_answers,
    generate_tokens,
    opening_tokens,
)
from prosopon.lm.likelihood import (
    answer_log_likelihoods,
    mean_per_row,
    perplexity,
    row_log_likelihoods,
    text_losses,
    token_log_likelihoods,
)
from prosopon.lm.reading import response_mask

__all__ = [
    "GENERAL_KINDS",
    "GeneralKind",
    "answer_log_likelihoods",
    "context_length",
    "continue_texts",
    "counted_tokens",
    "decode",
    "fit_tokens",
    "general_kind",
    "generate_answers",
    "generate_tokens",
    "mean_per_row",
    "opening_tokens",
    "perplexity",
    "response_mask",
    "row_log_likelihoods",
    "sample_general",
    "text_losses",
    "token_log_likelihoods",
]
