"""Answers written by a model: batched, seeded, and without touching its weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from prosopon.data import Message, render_prompt
from prosopon.errors import OptionError

Progress = Callable[[int], None]


def generate_answers(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[Message]],
    *,
    temperature: float = 1.0,
    max_new_tokens: int = 48,
    seed: int = 0,
    batch_size: int = 64,
    max_length: int | None = None,
    progress: Progress | None = None,
) -> list[str]:
    """Return the model's answer to each prompt, in order, white space trimmed.

    Args:
        model: A causal LM with ``generate``.
        tokenizer: Its tokenizer.
        prompts: Messages without the assistant's answer.
        temperature: Sampling temperature over the whole distribution; 0 is greedy.
        max_new_tokens: Longest answer.
        seed: Seeds the draws; the global generators are left as they were.
        batch_size: Prompts at once. With a temperature above 0 the draws depend on it.
        max_length: Most tokens of a prompt and its answer together; a longer prompt loses its
            beginning, but for a token that begins the text. Default all.
        progress: Called with the number of answers written since the last call.

    Raises:
        OptionError: ``max_length`` leaves no room for a prompt.
    """
    rendered = [render_prompt(prompt, tokenizer) for prompt in prompts]
    rows = [
        tokenizer(item.text, add_special_tokens=item.add_special_tokens)["input_ids"]
        for item in rendered
    ]
    rows = _fitting(rows, tokenizer, max_length, max_new_tokens)
    config = _config(model, tokenizer, temperature, max_new_tokens)
    return _write(model, tokenizer, rows, config, seed, batch_size, progress)


def continue_texts(
    model: Any,
    tokenizer: Any,
    texts: Sequence[str],
    *,
    temperature: float = 1.0,
    max_new_tokens: int = 60,
    seed: int = 0,
    batch_size: int = 64,
    max_length: int | None = None,
    progress: Progress | None = None,
) -> list[str]:
    """Return how the model goes on after each plain text, in order, without the text itself.

    Nothing of a dialogue stands around the texts. For the arguments see
    :func:`generate_answers`.
    """
    rows = [tokenizer(text)["input_ids"] for text in texts]
    rows = [_open_ended(row, tokenizer) for row in rows]
    rows = _fitting(rows, tokenizer, max_length, max_new_tokens)
    config = _config(model, tokenizer, temperature, max_new_tokens)
    return _write(model, tokenizer, rows, config, seed, batch_size, progress)


def _open_ended(row: list[int], tokenizer: Any) -> list[int]:
    """Return a row without the end-of-text token that some tokenizers put after every text."""
    ended = len(row) > 1 and row[-1] == tokenizer.eos_token_id
    return row[:-1] if ended else row


def _fitting(
    rows: list[list[int]], tokenizer: Any, max_length: int | None, max_new_tokens: int
) -> list[list[int]]:
    """Return rows that leave room for an answer."""
    if max_length is None:
        return rows
    room = max_length - max_new_tokens
    if room < 2:
        raise OptionError(
            f"{max_new_tokens} new tokens leave no room for a prompt within {max_length}"
        )
    return [_shortened(row, room, tokenizer.bos_token_id) for row in rows]


def _shortened(row: list[int], room: int, begins: int | None) -> list[int]:
    if len(row) <= room:
        return row
    return [row[0], *row[1 - room :]] if row[0] == begins else row[-room:]


def _write(
    model: Any,
    tokenizer: Any,
    rows: list[list[int]],
    config: Any,
    seed: int,
    batch_size: int,
    progress: Progress | None,
) -> list[str]:
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    answers = [""] * len(rows)
    device = next(model.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        for start in range(0, len(order), batch_size):
            indices = order[start : start + batch_size]
            texts = _generate(model, tokenizer, [rows[i] for i in indices], config, device)
            for index, text in zip(indices, texts, strict=True):
                answers[index] = text
            if progress is not None:
                progress(len(indices))
    return answers


def _config(model: Any, tokenizer: Any, temperature: float, max_new_tokens: int) -> Any:
    from transformers import GenerationConfig

    stop = getattr(model.generation_config, "eos_token_id", None)
    stop = tokenizer.eos_token_id if stop is None else stop
    first = stop[0] if isinstance(stop, list) else stop
    pad = tokenizer.pad_token_id
    settings: dict[str, Any] = {"do_sample": temperature > 0}
    if temperature > 0:
        settings |= {"temperature": temperature, "top_k": 0, "top_p": 1.0}
    return GenerationConfig(
        max_new_tokens=max_new_tokens,
        eos_token_id=stop,
        pad_token_id=pad if pad is not None else (first or 0),
        **settings,
    )


def _generate(
    model: Any, tokenizer: Any, rows: list[list[int]], config: Any, device: torch.device
) -> list[str]:
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), config.pad_token_id, dtype=torch.long)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    for i, row in enumerate(rows):  # generation continues at the right, so padding is left
        ids[i, width - len(row) :] = torch.tensor(row, dtype=torch.long)
        mask[i, width - len(row) :] = 1
    with torch.no_grad():
        output = model.generate(
            ids.to(device), attention_mask=mask.to(device), generation_config=config
        )
    texts: list[str] = tokenizer.batch_decode(output[:, width:], skip_special_tokens=True)
    return [text.strip() for text in texts]
