"""GGUF files, read back with two readers: the gguf package's and transformers'."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from prosopon.errors import ExportError
from prosopon.export import export_persona
from prosopon.export.gguf_tensors import interleave, rope_factors
from prosopon.export.gguf_vocabulary import vocabulary
from prosopon.models import find_sites
from tests.export.samples import half_model, loaded_logits, worn_logits
from tests.runtime.samples import assert_bits, logits, subnetwork, weights
from tests.tiny import FAMILIES, tiny_model, tiny_tokenizer

SUPPORTED = ("llama", "mistral", "qwen2")


def gguf(model, tokenizer, persona, folder):
    return export_persona(model, tokenizer, persona, format="gguf", output=folder)


def read(folder):
    from gguf import GGUFReader

    reader = GGUFReader(folder / "model.gguf")
    tensors = {
        tensor.name: np.array(tensor.data).reshape(tuple(reversed(tensor.shape.tolist())))
        if tensor.data.dtype != np.uint8
        else np.array(tensor.data)
        for tensor in reader.tensors
    }
    return {name: field.contents() for name, field in reader.fields.items()}, tensors


@pytest.mark.parametrize("family", SUPPORTED)
def test_transformers_reads_it_and_computes_the_same(family, tmp_path):
    model, tokenizer = tiny_model(family, chat=True)
    persona, base = subnetwork(model), weights(model)
    gguf(model, tokenizer, persona, tmp_path / "out")
    assert_bits(model, base)
    expected = worn_logits(model, persona)
    assert torch.equal(loaded_logits(tmp_path / "out", gguf_file="model.gguf"), expected)
    assert not torch.equal(logits(model), expected)


def test_the_embedded_model(tmp_path):
    from transformers import AutoTokenizer

    from prosopon.models import load_model

    model, tokenizer, _ = load_model("embedded", device="cpu")
    persona = subnetwork(model, share=0.01)
    gguf(model, tokenizer, persona, tmp_path / "out")
    assert torch.equal(
        loaded_logits(tmp_path / "out", gguf_file="model.gguf"), worn_logits(model, persona)
    )
    read_back = AutoTokenizer.from_pretrained(tmp_path / "out", gguf_file="model.gguf")
    for text in ("What do you like to do?", "I'd say: 2 or 3 größe — 🎭!"):
        assert (
            read_back(text, add_special_tokens=False).input_ids
            == tokenizer(text, add_special_tokens=False).input_ids
        )


def test_tensors_and_numbers_are_what_llama_cpp_wants(tmp_path):
    model, tokenizer = tiny_model(chat=True)
    persona = subnetwork(model)
    gguf(model, tokenizer, persona, tmp_path / "out")
    fields, tensors = read(tmp_path / "out")
    config = model.config
    expected = {
        "general.architecture": "llama",
        "llama.context_length": config.max_position_embeddings,
        "llama.embedding_length": 32,
        "llama.block_count": 2,
        "llama.feed_forward_length": 48,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2,
        "llama.rope.dimension_count": 8,
        "llama.vocab_size": len(tokenizer),
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.bos_token_id": tokenizer.bos_token_id,
        "tokenizer.ggml.eos_token_id": tokenizer.eos_token_id,
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.chat_template": tokenizer.chat_template,
    }
    assert {name: fields[name] for name in expected} == expected
    masked = {
        site.name: torch.where(persona.keep[site.name], site.matrix(), 0.0).numpy()
        for site in find_sites(model)
    }
    np.testing.assert_array_equal(
        tensors["blk.1.ffn_down.weight"], masked["model.layers.1.mlp.down_proj"]
    )
    for there, here, heads in (("attn_q", "q_proj", 4), ("attn_k", "k_proj", 2)):
        matrix = masked[f"model.layers.0.self_attn.{here}"]
        size = matrix.shape[0] // heads
        slow = np.empty_like(matrix)
        for head in range(heads):
            for row in range(size // 2):
                slow[head * size + 2 * row] = matrix[head * size + row]
                slow[head * size + 2 * row + 1] = matrix[head * size + size // 2 + row]
        np.testing.assert_array_equal(tensors[f"blk.0.{there}.weight"], slow)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_stored_as_it_is(dtype, tmp_path):
    model, tokenizer = half_model(dtype, tmp_path / "base")
    persona = subnetwork(model)
    gguf(model, tokenizer, persona, tmp_path / "out")
    found = loaded_logits(tmp_path / "out", gguf_file="model.gguf", dtype=dtype)
    assert torch.equal(found, worn_logits(model, persona))
    size = (tmp_path / "out/model.gguf").stat().st_size
    whole = sum(parameter.numel() for parameter in model.parameters())
    assert size < 2 * whole + 40_000


def test_scaled_positions_of_llama_3(tmp_path):
    model, tokenizer = scaled(
        {
            "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 64,
        }
    )  # fmt: skip
    factors = rope_factors(model)
    assert factors[0] == pytest.approx(1.0)  # the highest frequency stays
    assert factors[-1] == pytest.approx(8.0)  # the lowest is divided by the factor
    gguf(model, tokenizer, subnetwork(model), tmp_path / "out")
    _, tensors = read(tmp_path / "out")
    np.testing.assert_array_equal(tensors["rope_freqs.weight"], factors.numpy())


def test_linearly_scaled_positions(tmp_path):
    model, tokenizer = scaled({"rope_type": "linear", "rope_theta": 5000.0, "factor": 4.0})
    gguf(model, tokenizer, subnetwork(model), tmp_path / "out")
    fields, tensors = read(tmp_path / "out")
    assert fields["llama.rope.scaling.type"] == "linear"
    assert fields["llama.rope.scaling.factor"] == 4.0
    assert fields["llama.rope.freq_base"] == 5000.0
    assert "rope_freqs.weight" not in tensors


def scaled(rope):
    from transformers import AutoModelForCausalLM

    from tests.tiny import tiny_config

    tokenizer = tiny_tokenizer()
    config = tiny_config("llama", len(tokenizer))
    config.rope_parameters = rope
    return AutoModelForCausalLM.from_config(config).eval().requires_grad_(False), tokenizer


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - set(SUPPORTED)))
def test_other_architectures_are_refused_with_a_list(family, tmp_path):
    model, tokenizer = tiny_model(family)
    with pytest.raises(ExportError, match=f"{family} is not supported.*llama, mistral, qwen2"):
        gguf(model, tokenizer, subnetwork(model), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 2.0}}, "scaled by 'yarn'"),
        ({"sliding_window": 64}, "sliding window of 64"),
    ],
)
def test_settings_that_cannot_be_said_are_refused(change, reason, tmp_path):
    model, tokenizer = tiny_model("mistral")
    persona = subnetwork(model)
    for name, value in change.items():
        setattr(model.config, name, value)
    with pytest.raises(ExportError, match=reason):
        gguf(model, tokenizer, persona, tmp_path / "out")


def test_interleaving_a_bias_is_interleaving_a_column():
    matrix = torch.arange(16.0).unsqueeze(1)
    assert torch.equal(interleave(matrix, 2).squeeze(1), interleave(matrix.squeeze(1), 2))
    assert interleave(torch.arange(8), 1).tolist() == [0, 4, 1, 5, 2, 6, 3, 7]


def test_tokens_beyond_the_tokenizer_are_unused():
    tokenizer = tiny_tokenizer()
    words = vocabulary(tokenizer, len(tokenizer) + 2)
    assert words.tokens[-1] == f"[PAD{len(tokenizer) + 1}]"
    assert words.types[-2:] == [5, 5]
    assert words.types[tokenizer.bos_token_id] == 3
    assert words.types[tokenizer.convert_tokens_to_ids("A")] == 1
    with pytest.raises(ExportError, match="beyond the 20 rows"):
        vocabulary(tokenizer, 20)


LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def split_by(pattern, **options):
    from tokenizers import Regex, pre_tokenizers

    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated", **options),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


@pytest.mark.parametrize(
    ("pattern", "whole_words", "name"),
    [(LLAMA_3, True, "llama-bpe"), (LLAMA_3.replace("{1,3}", ""), False, "qwen2")],
)
def test_splitters_are_told_by_their_pattern(pattern, whole_words, name):
    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.pre_tokenizer = split_by(pattern)
    tokenizer.backend_tokenizer.model.ignore_merges = whole_words
    assert vocabulary(tokenizer, len(tokenizer)).splitter == name
    tokenizer.backend_tokenizer.model.ignore_merges = not whole_words
    with pytest.raises(ExportError, match="whole words"):
        vocabulary(tokenizer, len(tokenizer))


def test_digits_one_by_one():
    from tokenizers import pre_tokenizers

    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    assert vocabulary(tokenizer, len(tokenizer)).splitter == "smollm"


def test_tokenizers_without_a_name_are_refused():
    from tokenizers import normalizers, pre_tokenizers

    tokenizer = tiny_tokenizer()
    backend = tokenizer.backend_tokenizer
    backend.pre_tokenizer = split_by(r"\w+")
    with pytest.raises(ExportError, match="no name for"):
        vocabulary(tokenizer, len(tokenizer))
    backend.pre_tokenizer = split_by(LLAMA_3, invert=True)
    with pytest.raises(ExportError, match="no name for"):
        vocabulary(tokenizer, len(tokenizer))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    with pytest.raises(ExportError, match="a space before"):
        vocabulary(tokenizer, len(tokenizer))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.normalizer = normalizers.Lowercase()
    with pytest.raises(ExportError, match="normalises text"):
        vocabulary(tokenizer, len(tokenizer))


def test_a_sentencepiece_model_is_refused(shared):
    from prosopon.models import load_model

    model, tokenizer, _ = load_model(str(shared / "models/stories260K"), device="cpu")
    with pytest.raises(ExportError, match="tokenizer cannot be expressed"):
        vocabulary(tokenizer, model.get_input_embeddings().weight.shape[0])
