"""General text: what a mask must not damage. Sampled from the model itself where none is given."""

from __future__ import annotations

from typing import Any

import torch

from prosopon.data import Encoded
from prosopon.errors import ModelError
from prosopon.lm.context import context_length
from prosopon.lm.generation import generate_exactly

SHORTEST = 8  # tokens
BATCH = 64  # texts sampled at once


def sample_general(
    model: Any, tokenizer: Any, *, count: int = 128, length: int = 96, seed: int = 0
) -> list[Encoded]:
    """Sample ``count`` texts at temperature 1 from the model's own start of text.

    A model with a chat template goes on after the end of a turn, so that its texts are
    dialogues; any other model's text ends at its end-of-text token.

    Args:
        model: A causal LM with ``generate``.
        tokenizer: Its tokenizer.
        count: Number of texts.
        length: Most tokens of a text, fewer where the model's context is shorter.
        seed: Seeds the draws; the global generators are left as they were.

    Raises:
        ModelError: The model writes next to nothing on its own.
    """
    start = _start_token(model, tokenizer)
    stop = None if getattr(tokenizer, "chat_template", None) else tokenizer.eos_token_id
    longest = min(length, context_length(model) or length)
    texts: list[Encoded] = []
    with torch.random.fork_rng(devices=_cuda_devices(model)):
        torch.manual_seed(seed)
        for _ in range(2 * count // BATCH + 8):  # texts that end at once are drawn again
            rows = _sample(model, start, stop, longest - 1)
            drawn = [_encode_row(row, stop) for row in rows]
            texts += [text for text in drawn if len(text.input_ids) >= SHORTEST]
            if len(texts) >= count:
                break
    if not texts:
        raise ModelError(
            f"the model writes fewer than {SHORTEST} tokens on its own, so general text cannot be "
            "sampled from it; give some with --general FILE"
        )
    return texts[:count]


def _sample(model: Any, start: int, stop: int | None, tokens: int) -> list[list[int]]:
    from transformers import GenerationConfig

    config = GenerationConfig(
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        max_new_tokens=tokens,
        eos_token_id=stop,
        pad_token_id=start if stop is None else stop,
    )
    ids = torch.full((BATCH, 1), start, device=model.device)
    return generate_exactly(model, ids, torch.ones_like(ids), config).tolist()


def _encode_row(row: list[int], stop: int | None) -> Encoded:
    if stop is not None and stop in row[1:]:
        row = row[: row.index(stop, 1) + 1]
    return Encoded(row, [True] * len(row), [True] * len(row))


def _start_token(model: Any, tokenizer: Any) -> int:
    for token in (tokenizer.bos_token_id, model.config.bos_token_id, tokenizer.eos_token_id):
        if token is not None:
            return int(token)
    raise ModelError(
        "the model has neither a start nor an end token, so general text cannot be sampled from "
        "it; give some with --general FILE"
    )


def _cuda_devices(model: Any) -> list[int]:
    return [model.device.index or 0] if model.device.type == "cuda" else []
