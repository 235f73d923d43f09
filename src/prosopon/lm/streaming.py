"""One answer in pieces, as it is written: a step of the model a token, no thread, no draw twice."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from prosopon.lm.forward import past_of
from prosopon.lm.generation import decode

_UNFINISHED = "\ufffd"  # what a tokenizer makes of the first bytes of a character


def stream_text(
    model: Any,
    tokenizer: Any,
    row: Sequence[int],
    *,
    temperature: float = 1.0,
    max_new_tokens: int = 48,
    seed: int = 0,
) -> Iterator[str]:
    """Yield what the model writes after a row of tokens, piece by piece.

    Joined, the pieces are the text that :func:`~prosopon.lm.generate_answers` returns for the
    same prompt alone. The global generators are not used.

    Args:
        model: A causal LM.
        tokenizer: Its tokenizer.
        row: The tokens of the prompt.
        temperature: Sampling temperature over the whole distribution; 0 is greedy.
        max_new_tokens: Most tokens.
        seed: Seeds the draws.
    """
    shown, tokens = "", list[int]()
    for token in _stream_tokens(model, tokenizer, row, temperature, max_new_tokens, seed):
        tokens.append(token)
        text = decode([tokens], tokenizer)[0]
        if not text.endswith(_UNFINISHED) and text.startswith(shown) and text != shown:
            yield text[len(shown) :]
            shown = text
    rest = decode([tokens], tokenizer)[0].removeprefix(shown)
    if rest:
        yield rest


def end_tokens(model: Any, tokenizer: Any) -> set[int]:
    """Return the tokens that end an answer: the model's own, or else the tokenizer's."""
    ends = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    ends = tokenizer.eos_token_id if ends is None else ends
    return set(ends if isinstance(ends, list) else [] if ends is None else [ends])


def _stream_tokens(
    model: Any, tokenizer: Any, row: Sequence[int], temperature: float, most: int, seed: int
) -> Iterator[int]:
    """Yield token after token; one that ends the answer is the last."""
    ends, device = end_tokens(model, tokenizer), next(model.parameters()).device
    draws = torch.Generator(device).manual_seed(seed)
    tokens, unread, past = list(row), list(row), dict[str, Any]()
    for _ in range(most):
        with torch.no_grad():
            output = model(torch.tensor([unread], device=device), use_cache=True, **past)
            scores = output.logits[:, -1].float()
            if temperature > 0:
                shares = (scores / temperature).softmax(-1)
                token = int(torch.multinomial(shares, 1, generator=draws))
            else:
                token = int(scores.argmax())
        yield token
        if token in ends:
            return
        past = past_of(output)
        tokens.append(token)
        unread = [token] if past else tokens  # some families keep no such cache
