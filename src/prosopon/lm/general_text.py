"""General text: what a mask must not damage. The model writes it itself where none is given.

A chat model answers neutral questions of a bundled bank. Any other model, and one to which the
bank is a foreign language, writes on from its own start of text.
"""

import math
import random
from collections.abc import Callable, Sequence
from statistics import fmean, median
from typing import Any, Literal, get_args
from weakref import WeakKeyDictionary

import torch

from prosopon.data import Encoded, Message, load_bank
from prosopon.errors import ModelError
from prosopon.lm.answers import nats_per_token
from prosopon.lm.context import context_length
from prosopon.lm.generation import generate_exactly, generate_tokens, opening_tokens
from prosopon.lm.likelihood import row_log_likelihoods
from prosopon.lm.text_cache import read_texts, text_file, write_texts

GeneralKind = Literal["answers", "start"]
"""Answers to neutral questions, or text from the model's own start."""

GENERAL_KINDS: tuple[GeneralKind, ...] = get_args(GeneralKind)
TEMPERATURE = 1.0
"""Of either kind. Colder text lets a mask gain likelihood by being surer and nothing else."""

Part = Literal["masks", "choices", "tests"]
"""What texts serve: masks are made on them, settings chosen, results measured."""

_REMAINDERS = {"masks": (0, 1), "choices": (2,), "tests": (3,)}  # of a question's place by 4
WORST_NATS = 6.0
"""Text whose median is more nats a token than this (a perplexity of 403) is no language."""
MOST_REPETITION = 0.5
"""Nor is text whose median share of repeated runs of three tokens is higher than this."""

SHORTEST = 8  # tokens
CHECKED = 16  # texts, evenly spread, that are read again to see whether they are language
BATCH = 64  # texts sampled at once
ANSWERS = 32  # answers written at once: more are faster, and say less often how far they are

_kinds: WeakKeyDictionary[Any, GeneralKind] = WeakKeyDictionary()


def sample_general(
    model: Any,
    tokenizer: Any,
    *,
    count: int = 128,
    length: int = 96,
    seed: int = 0,
    kind: GeneralKind | None = None,
    part: Part = "masks",
    progress: Callable[[int], None] | None = None,
) -> list[Encoded]:
    """Let the model write ``count`` general texts at temperature 1.

    Of answers only the answer counts, not the question nor what the chat template puts before
    it; they are asked without a system line. From its start a model with a chat template goes on
    after the end of a turn, so that its texts are dialogues; any other model's text ends at its
    end-of-text token. Of a large model on a CPU they are kept, see :mod:`prosopon.lm.text_cache`.

    Args:
        model: A causal LM with ``generate``.
        tokenizer: Its tokenizer.
        count: Number of texts.
        length: Most tokens of a text, fewer where the model's context is shorter.
        seed: Seeds the draws; the global generators are left as they were.
        kind: What is written; default what :func:`general_kind` says.
        part: The part of the questions that is asked; texts from the start differ by seed alone.
        progress: Called with the number of texts written since the last call.

    Raises:
        ModelError: The model writes next to nothing, or no language; says what to do.
    """
    kind = kind or general_kind(model, tokenizer)
    bank = load_bank("neutral").questions if kind == "answers" else ()
    request = {"kind": kind, "part": part, "count": count, "length": length, "seed": seed,
             "questions": bank}  # fmt: skip
    file = text_file(model, tokenizer, request)
    if file is not None and (earlier := read_texts(file)):
        if progress is not None:
            progress(count)
        return earlier
    if kind == "answers":
        texts = _answers(model, tokenizer, count, length, seed, part, progress)
    else:
        texts = _from_start(model, tokenizer, count, length, seed)
        if progress is not None:
            progress(count)
    if reason := fault_of_language(model, texts):
        raise ModelError(f"{reason}; give other general text with --general FILE")
    if file is not None:
        write_texts(file, texts)
    return texts


def general_kind(model: Any, tokenizer: Any) -> GeneralKind:
    """Return what general text the model writes: answers, if it has a template and reads English.

    A model does not read the bank where its questions cost it more nats a token than guessing
    among all tokens would.
    """
    if not getattr(tokenizer, "chat_template", None):
        return "start"
    if model not in _kinds:
        understood = reads(model, tokenizer, load_bank("neutral").questions[::14])
        _kinds[model] = "answers" if understood else "start"
    return _kinds[model]


def reads(model: Any, tokenizer: Any, texts: Sequence[str]) -> bool:
    """Tell whether plain texts cost a model fewer nats a token than guessing among all would."""
    guess = math.log(model.get_input_embeddings().weight.shape[0])
    return fmean(nats_per_token(model, tokenizer, texts)) < guess


def fault_of_language(model: Any, texts: Sequence[Encoded]) -> str | None:
    """Say why texts are no language, or None.

    By the model's own perplexity on at most thirty-one of them, evenly spread, and by the
    repetition in all.
    """
    spread = texts[:: max(1, len(texts) // CHECKED)]
    rows = row_log_likelihoods(model, spread, every=True)
    nats = median(-total / max(1, tokens) for total, tokens in rows)
    if nats > WORST_NATS:
        return (
            f"the model's general text is no language: {nats:.2f} nats a token under the model "
            f"itself, more than {WORST_NATS:g}"
        )
    repetition = median(_repetition(counted_tokens(text)) for text in texts)
    if repetition > MOST_REPETITION:
        return (
            f"the model's general text repeats itself: {repetition:.0%} of the runs of three "
            f"tokens stood in the text before, more than {MOST_REPETITION:.0%}"
        )
    return None


def counted_tokens(text: Encoded) -> list[int]:
    """Return the tokens of a text that count."""
    return [token for token, counts in zip(text.input_ids, text.scope, strict=True) if counts]


def show_general(texts: Sequence[Encoded], tokenizer: Any, count: int = 3) -> list[str]:
    """Return the beginnings of the first texts, a line each, to be looked at."""
    written = tokenizer.batch_decode(
        [counted_tokens(text) for text in texts[:count]], skip_special_tokens=True
    )
    return [" ".join(text.split())[:160] for text in written]


def _repetition(tokens: Sequence[int]) -> float:
    runs = [tuple(tokens[i : i + 3]) for i in range(len(tokens) - 2)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def _answers(
    model: Any,
    tokenizer: Any,
    count: int,
    length: int,
    seed: int,
    part: Part,
    progress: Callable[[int], None] | None,
) -> list[Encoded]:
    """Return questions with the model's answers; questions come again where there are too few."""
    questions = load_bank("neutral").questions
    own = [text for place, text in enumerate(questions) if place % 4 in _REMAINDERS[part]]
    drawn = [text for _ in range(-(-count // len(own))) for text in own][:count]
    if count < len(own):
        drawn = random.Random(seed).sample(own, count)
    prompts = [opening_tokens([Message("user", text)], tokenizer) for text in drawn]
    written = generate_tokens(
        model, tokenizer, prompts, temperature=TEMPERATURE, max_new_tokens=length, seed=seed,
        batch_size=ANSWERS, progress=progress,
    )  # fmt: skip
    texts = []
    for prompt, answer in zip(prompts, written, strict=True):
        counts = [False] * len(prompt) + [True] * len(answer)
        if len(answer) > 1:
            texts.append(Encoded(prompt + answer, counts, counts))
    if len(texts) < count / 2:
        raise ModelError(
            "the model leaves most neutral questions without an answer, so they are no general "
            "text; give some with --general FILE"
        )
    return texts


def _from_start(model: Any, tokenizer: Any, count: int, length: int, seed: int) -> list[Encoded]:
    start = _start_token(model, tokenizer)
    stop = None if getattr(tokenizer, "chat_template", None) else tokenizer.eos_token_id
    longest = min(length, context_length(model) or length)
    texts: list[Encoded] = []
    with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
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
        temperature=TEMPERATURE,
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
