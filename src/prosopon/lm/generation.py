"""Answers written by a model: batched, seeded, and without touching its weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from prosopon.data import Message, render_prompt
from prosopon.data.openings import is_plain, plain_text
from prosopon.errors import OptionError, UnknownNameError
from prosopon.lm.context import context_length
from prosopon.progress import count_things, inner_steps

if TYPE_CHECKING:
    from torch import Tensor

Progress = Callable[[int], None]

_ONE_ROW = "every prompt has one answer, a row of tokens"
_REFUSED = {
    "max_new_tokens": "give max_new_tokens itself",
    "temperature": "give temperature itself",
    "do_sample": "a temperature of 0 is greedy, any other samples",
    "num_return_sequences": _ONE_ROW,
    "return_dict_in_generate": _ONE_ROW,
}


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
    settings: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> list[str]:
    """Return the model's answer to each prompt, in order, white space trimmed.

    Args:
        model: A causal LM with ``generate``.
        tokenizer: Its tokenizer.
        prompts: Messages without the assistant's answer. One assistant's message alone is plain
            text that is gone on from.
        temperature: Sampling temperature over the whole distribution; 0 is greedy.
        max_new_tokens: Longest answer.
        seed: Seeds the draws; the global generators are left as they were.
        batch_size: Prompts at once. With a temperature above 0 the draws depend on it.
        max_length: Most tokens of a prompt and its answer together; a longer prompt loses its
            beginning, but for a token that begins the text. Default the model's context.
        settings: More settings of ``transformers.GenerationConfig``, such as
            ``{"repetition_penalty": 1.2}``. Nothing of the model's own settings but its end
            tokens is used: what is asked here is the whole of what is done.
        progress: Called with the number of answers written since the last call.

    Raises:
        OptionError: ``max_length`` leaves no room for a prompt, or a setting is refused.
        UnknownNameError: There is no such setting.
    """
    room = max_length or context_length(model)
    rows = [opening_tokens(prompt, tokenizer) for prompt in prompts]
    written = generate_tokens(
        model, tokenizer, fit_tokens(rows, tokenizer, room, max_new_tokens),
        temperature=temperature, max_new_tokens=max_new_tokens, seed=seed,
        batch_size=batch_size, settings=settings, progress=progress,
    )  # fmt: skip
    return decode(written, tokenizer)


def continue_texts(
    model: Any, tokenizer: Any, texts: Sequence[str], *, max_new_tokens: int = 60, **options: Any
) -> list[str]:
    """Return how the model goes on after each plain text, in order, without the text itself.

    Nothing of a dialogue stands around the texts. For the arguments see
    :func:`generate_answers`.
    """
    prompts = [[Message("assistant", text)] for text in texts]
    return generate_answers(model, tokenizer, prompts, max_new_tokens=max_new_tokens, **options)


def generate_tokens(
    model: Any,
    tokenizer: Any,
    rows: Sequence[list[int]],
    *,
    temperature: float = 1.0,
    max_new_tokens: int = 48,
    seed: int = 0,
    batch_size: int = 64,
    settings: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> list[list[int]]:
    """Return the tokens that the model writes after each row of tokens, in order.

    An end token that was drawn is the last of them. For the arguments see
    :func:`generate_answers`.
    """
    config = _config(model, tokenizer, temperature, max_new_tokens, settings or {})
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    written: list[list[int]] = [[]] * len(rows)
    device = next(model.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        for start in range(0, len(order), batch_size):
            indices = order[start : start + batch_size]
            batch = _generate(model, [rows[i] for i in indices], config, device)
            for index, tokens in zip(indices, batch, strict=True):
                written[index] = tokens
            if progress is not None:
                progress(len(indices))
    return written


def generate_exactly(model: Any, ids: Tensor, mask: Tensor, config: Any) -> Tensor:
    """Return what ``model.generate`` writes under ``config`` and nothing else.

    ``generate`` fills whatever a configuration leaves open in from the model's own, which can
    hold penalties, stop strings or beams: a shallow copy of the model carries ``config`` as its
    own instead, so that the model itself stays as it is, for other threads too.

    Args:
        model: A causal LM with ``generate``.
        ids: int64 [rows, length], padded at the left.
        mask: int64 [rows, length]; 0 for padding.
        config: A ``transformers.GenerationConfig``.

    Returns:
        int64 [rows, length + written tokens].
    """
    alike = copy.copy(getattr(model, "_orig_mod", model))  # generate runs uncompiled anyway
    alike.generation_config = config
    stage = f"tokens of {count_things(len(ids), 'text')}"
    with torch.no_grad(), inner_steps(stage, config.max_new_tokens) as advance:
        # The class's own: what stands in front of the model's would run the model itself.
        output: Tensor = type(alike).generate(
            alike, ids, attention_mask=mask, generation_config=config,
            stopping_criteria=None if advance is None else [_counting(advance)],
        )  # fmt: skip
    return output


def _counting(advance: Callable[[int], None]) -> Callable[..., Tensor]:
    """Return a criterion that never stops a text, and counts the steps."""

    def count(ids: Tensor, _scores: Any) -> Tensor:
        advance(1)
        return torch.zeros(len(ids), dtype=torch.bool, device=ids.device)

    return count


def prompt_tokens(prompt: Sequence[Message], tokenizer: Any) -> list[int]:
    """Return the tokens of a prompt up to where the assistant's answer begins."""
    rendered = render_prompt(prompt, tokenizer)
    return _open_tokens(rendered.text, tokenizer, rendered.add_special_tokens)


def text_tokens(text: str, tokenizer: Any) -> list[int]:
    """Return the tokens of a plain text that can be gone on from."""
    return _open_tokens(text, tokenizer, special=True)


def decode(written: Sequence[Sequence[int]], tokenizer: Any) -> list[str]:
    """Return tokens as texts: special tokens left out, white space trimmed."""
    if not written:  # the library would decode one empty text
        return []
    texts: list[str] = tokenizer.batch_decode(written, skip_special_tokens=True)
    return [text.strip() for text in texts]


def opening_tokens(prompt: Sequence[Message], tokenizer: Any) -> list[int]:
    """Return the tokens of a prompt, or of the plain text that it is, to go on from."""
    if is_plain(prompt):
        return text_tokens(plain_text(prompt), tokenizer)
    return prompt_tokens(prompt, tokenizer)


def fit_tokens(
    rows: list[list[int]], tokenizer: Any, max_length: int | None, max_new_tokens: int
) -> list[list[int]]:
    """Return rows that leave room for an answer: a longer one loses its beginning.

    A token that begins the text stays.

    Raises:
        OptionError: ``max_length`` leaves no room for a prompt.
    """
    if max_length is None:
        return rows
    room = max_length - max_new_tokens
    if room < 2:
        raise OptionError(
            f"{max_new_tokens} new tokens leave no room for a prompt within {max_length}"
        )
    return [_shorten(row, room, tokenizer.bos_token_id) for row in rows]


def _open_tokens(text: str, tokenizer: Any, special: bool) -> list[int]:
    """Return a text's tokens without the end token that some tokenizers put after every text."""
    # No note about the tokenizer's own limit: the caller cuts the row to what fits.
    row: list[int] = tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"]
    ended = special and len(row) > 1 and row[-1] == tokenizer.eos_token_id
    return row[:-1] if ended else row


def _shorten(row: list[int], room: int, begins: int | None) -> list[int]:
    if len(row) <= room:
        return row
    return [row[0], *row[1 - room :]] if row[0] == begins else row[-room:]


def _config(
    model: Any, tokenizer: Any, temperature: float, max_new_tokens: int, settings: Mapping[str, Any]
) -> Any:
    from transformers import GenerationConfig

    stop = getattr(model.generation_config, "eos_token_id", None)
    stop = tokenizer.eos_token_id if stop is None else stop
    first = stop[0] if isinstance(stop, list) else stop
    pad = tokenizer.pad_token_id
    ours: dict[str, Any] = {
        "do_sample": temperature > 0,
        "max_new_tokens": max_new_tokens,
        "eos_token_id": stop,
        "pad_token_id": pad if pad is not None else (first or 0),
    }
    if temperature > 0:
        ours |= {"temperature": temperature, "top_k": 0, "top_p": 1.0}
    names = set(GenerationConfig().to_dict())
    for name in settings:
        if name not in names:
            raise UnknownNameError("setting of generation", name, names)
        if name in _REFUSED:
            raise OptionError(f"generation is not set by {name!r}: {_REFUSED[name]}")
    return GenerationConfig(**ours | dict(settings))


def _generate(
    model: Any, rows: list[list[int]], config: Any, device: torch.device
) -> list[list[int]]:
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), config.pad_token_id, dtype=torch.long)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    for i, row in enumerate(rows):  # generation continues at the right, so padding is left
        ids[i, width - len(row) :] = torch.tensor(row, dtype=torch.long)
        mask[i, width - len(row) :] = 1
    output = generate_exactly(model, ids.to(device), mask.to(device), config)
    stop = config.eos_token_id
    ends = set(stop if isinstance(stop, list) else [stop])
    return [_cut_at_end(row, ends) for row in output[:, width:].tolist()]


def _cut_at_end(row: list[int], ends: set[int | None]) -> list[int]:
    """Return a row up to its first end token; what follows is padding."""
    last = next((i for i, token in enumerate(row) if token in ends), len(row))
    return row[: last + 1]
