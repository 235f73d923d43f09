"""The vocabulary of a GGUF file: byte-level BPE tokenizers, as llama.cpp reads them.

llama.cpp splits text with one of its own named splitters, so a tokenizer can be expressed only
if it splits in a way that has a name there. Any other would silently tokenize differently, and
is refused.
"""

import json
from typing import Any, NamedTuple

from prosopon.errors import ExportError
from prosopon.models.gguf import SPLITTERS

_PATTERNS = {pattern: name for name, pattern in SPLITTERS.items()}
"""Regular expressions of tokenizers with a splitter of their own, and its name."""

_NORMAL, _CONTROL, _USER_DEFINED, _UNUSED = 1, 3, 4, 5  # token types of the format


class Vocabulary(NamedTuple):
    """What a GGUF file says about a tokenizer."""

    splitter: str  # name of llama.cpp's pre-tokenizer
    tokens: list[str]  # every token, in the byte-level alphabet; as many as the embedding has rows
    types: list[int]  # type of every token
    merges: list[str]  # merge rules, two tokens with a space between, in order
    # ids of ``bos``, ``eos``, ``unk``, ``pad``; ``adds_bos``: a text begins with bos
    special: dict[str, int]
    adds_bos: bool
    template: str | None  # the chat template, if there is one


def vocabulary(tokenizer: Any, rows: int) -> Vocabulary:
    """Describe a fast byte-level BPE tokenizer; one of another kind is refused.

    ``rows`` are those of the embedding; ids beyond the tokenizer's become unused tokens.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise _unsupported("it is not a fast tokenizer")
    described = json.loads(backend.to_str())
    model = described["model"]
    if model["type"] != "BPE" or model.get("byte_fallback"):
        fallback = " with byte fallback" if model.get("byte_fallback") else ""
        raise _unsupported(f"its model is {model['type']}{fallback}")
    splitter = _splitter(described)
    if bool(model.get("ignore_merges")) != (splitter == "llama-bpe"):
        raise _unsupported(f"splitter {splitter!r} goes with another use of whole words")
    tokens, types = _tokens(tokenizer, backend, rows)
    first = tokenizer("a").input_ids[:1]
    template = getattr(tokenizer, "chat_template", None)
    return Vocabulary(
        splitter,
        tokens,
        types,
        [rule if isinstance(rule, str) else " ".join(rule) for rule in model["merges"]],
        _special(tokenizer, rows),
        tokenizer.bos_token_id is not None and first == [tokenizer.bos_token_id],
        template if isinstance(template, str) else None,
    )


def _unsupported(reason: str) -> ExportError:
    return ExportError(
        f"format 'gguf': the tokenizer cannot be expressed: {reason}; supported are fast "
        "byte-level BPE tokenizers that split as GPT-2, SmolLM, Llama 3 or Qwen2 do. Choose "
        "--format checkpoint and convert that with llama.cpp's own script"
    )


def _splitter(described: dict[str, Any]) -> str:
    """Return llama.cpp's name of a tokenizer's way to split text."""
    normalizer, before = described.get("normalizer"), described.get("pre_tokenizer") or {}
    *before, last = before["pretokenizers"] if before.get("type") == "Sequence" else [before]
    if last.get("type") != "ByteLevel" or last.get("add_prefix_space"):
        raise _unsupported("it does not work on bytes, or puts a space before the text")
    name, splits = None, last.get("use_regex", True)
    if not before and splits:
        name = "gpt-2"
    elif len(before) == 1 and before[0]["type"] == "Digits" and splits:
        name = "smollm" if before[0].get("individual_digits") else None
    elif len(before) == 1 and before[0]["type"] == "Split" and not splits:
        isolated = before[0].get("behavior") == "Isolated" and not before[0].get("invert")
        name = _PATTERNS.get(before[0]["pattern"].get("Regex", "")) if isolated else None
    if name is None:
        raise _unsupported("it splits text in a way that llama.cpp has no name for")
    # Qwen2 normalises to NFC, which llama.cpp leaves out: texts in that form are equal.
    if normalizer is not None and (name, normalizer.get("type")) != ("qwen2", "NFC"):
        raise _unsupported(f"it normalises text ({normalizer.get('type')})")
    return name


def _tokens(tokenizer: Any, backend: Any, rows: int) -> tuple[list[str], list[int]]:
    """Return every row's token and type."""
    by_id = {index: token for token, index in backend.get_vocab(with_added_tokens=True).items()}
    if by_id and max(by_id) >= rows:
        raise _unsupported(f"token {max(by_id)} is beyond the {rows} rows of the embedding")
    types = dict.fromkeys(by_id, _NORMAL) | {
        index: _CONTROL if token.special else _USER_DEFINED
        for index, token in tokenizer.added_tokens_decoder.items()
        if index in by_id
    }
    tokens = [by_id.get(index, f"[PAD{index}]") for index in range(rows)]
    return tokens, [types.get(index, _UNUSED) for index in range(rows)]


def _special(tokenizer: Any, rows: int) -> dict[str, int]:
    """Return the ids of the special tokens that there are."""
    indices = {
        name: getattr(tokenizer, f"{name}_token_id", None) for name in ("bos", "eos", "unk", "pad")
    }
    return {name: index for name, index in indices.items() if index is not None and index < rows}
