"""Tiny random models of every family, and a tokenizer built in memory: nothing is downloaded.

Every model has hidden size 32, two layers, four heads and seeded weights that are large enough
(standard deviation 0.2) for a mask to change the output visibly. Families with grouped-query
attention use two key-value heads. A call builds a fresh model, so tests may write into it.
"""

from __future__ import annotations

from typing import Any

import torch

FAMILIES: tuple[str, ...] = (
    "llama",
    "mistral",
    "qwen2",
    "qwen3",
    "gemma",
    "phi",
    "gpt_neox",
    "gpt_neo",
    "opt",
    "gpt2",
)
"""Families whose sites are all supported."""

EXPERT_FAMILIES: tuple[str, ...] = ("mixtral", "qwen2_moe", "qwen3_moe", "gpt_oss")
"""Families whose experts lie in 3-D parameters; those of gpt_oss are [in, out], with biases."""

RECURRENT = "mamba"
"""A family of recurrent states, which keeps no keys and values."""

UNKNOWN_EXPERTS = "llama4_text"
"""A family whose fused experts are laid out in a way of its own."""

HIDDEN, LAYERS, HEADS, KV_HEADS, INTERMEDIATE, CONTEXT = 32, 2, 4, 2, 48, 512

PAD, BOS, EOS = "<pad>", "<s>", "</s>"
ROLE_TOKENS = ("<|system|>", "<|user|>", "<|assistant|>")
MERGED_WORDS = (" the", " and", " is", "Yes", "No", " people", "ing")

CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "<|{{ message['role'] }}|>\n{{ message['content'] }}{{ eos_token }}\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
"""Turn by turn; an answer is followed by the end-of-turn marker ``</s>`` and a newline."""


def tiny_tokenizer(chat: bool = False, *, pad: bool = True, merges: bool = True) -> Any:
    """Build a fast byte-level BPE tokenizer that reads any text without unknown tokens.

    ``chat`` gives it `CHAT_TEMPLATE`; ``pad`` a padding token; ``merges`` some tokens of more
    than one byte (" the", "Yes"), so that tokens and characters differ. With
    ``add_special_tokens=True`` a text starts with ``<s>``, whose offsets are (0, 0).
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    specials = [PAD, BOS, EOS, *ROLE_TOKENS]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: index for index, token in enumerate([*specials, *alphabet])}
    pairs = _merges(vocab) if merges else []
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, vocab[BOS])]
    )
    names: dict[str, Any] = {"bos_token": BOS, "eos_token": EOS}
    if pad:
        names["pad_token"] = PAD
    built = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
        **names,
    )
    built.add_special_tokens({"additional_special_tokens": list(ROLE_TOKENS)})
    if chat:
        built.chat_template = CHAT_TEMPLATE
    return built


def _merges(vocab: dict[str, int]) -> list[tuple[str, str]]:
    """Add the tokens of `MERGED_WORDS`, built letter by letter, to ``vocab``."""
    pairs: dict[tuple[str, str], None] = {}
    for word in MERGED_WORDS:
        letters = word.replace(" ", "Ġ")  # the byte-level form of a space
        left = letters[0]
        for letter in letters[1:]:
            pairs.setdefault((left, letter))
            left += letter
            vocab.setdefault(left, len(vocab))
    return list(pairs)


def tiny_config(family: str, vocab_size: int) -> Any:
    """Return the configuration of a two-layer model of ``family``."""
    from transformers import AutoConfig

    common = {
        "vocab_size": vocab_size,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "initializer_range": 0.2,
    }
    return AutoConfig.for_model(family, **common, **_shape(family))


def _shape(family: str) -> dict[str, Any]:
    """Return the size arguments in the names that each family gives them."""
    if family == "gpt2":
        return {"n_embd": HIDDEN, "n_layer": LAYERS, "n_head": HEADS, "n_positions": CONTEXT}
    if family == RECURRENT:
        return {"hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "state_size": 8}
    shape: dict[str, Any] = {"hidden_size": HIDDEN, "max_position_embeddings": CONTEXT}
    if family == "gpt_neo":
        types = [[["global", "local"], 1]]
        return shape | {"num_layers": LAYERS, "num_heads": HEADS, "attention_types": types}
    shape |= {"num_hidden_layers": LAYERS, "num_attention_heads": HEADS}
    if family == "opt":
        return shape | {"ffn_dim": INTERMEDIATE, "word_embed_proj_dim": HIDDEN}
    shape["intermediate_size"] = INTERMEDIATE
    if family == "gpt_neox":
        return shape
    shape["num_key_value_heads"] = KV_HEADS
    if family in ("gemma", "qwen3", "qwen3_moe", "gpt_oss", UNKNOWN_EXPERTS):
        shape["head_dim"] = HIDDEN // HEADS
    if family in ("mixtral", "gpt_oss", UNKNOWN_EXPERTS):
        shape |= {"num_local_experts": 3, "num_experts_per_tok": 2}
    elif family in EXPERT_FAMILIES:
        shape |= {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
        shape |= {"shared_expert_intermediate_size": 24} if family == "qwen2_moe" else {}
    return shape


def tiny_model(
    family: str = "llama",
    *,
    seed: int = 0,
    chat: bool = False,
    dtype: torch.dtype = torch.float32,
) -> tuple[Any, Any]:
    """Build (model, tokenizer) of ``family``: random seeded weights, eval mode, no gradients.

    The global random state is left as it was.
    """
    from transformers import AutoModelForCausalLM

    tokenizer = tiny_tokenizer(chat)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(tiny_config(family, len(tokenizer)))
    return model.to(dtype).eval().requires_grad_(False), tokenizer
