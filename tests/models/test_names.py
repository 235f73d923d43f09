"""Name matching: strings only, no model is built here."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prosopon.errors import SiteError
from prosopon.models.names import is_head_or_embedding, layer_index, projection, role, select

NAMES = [
    "model.layers.0.self_attn.q_proj",
    "model.layers.0.self_attn.o_proj",
    "model.layers.0.mlp.up_proj",
    "model.layers.1.self_attn.q_proj",
    "model.layers.1.mlp.my_q_proj",
    "model.layers.10.mlp.up_proj",
]

# (name, layer, role) as the families call their matrices.
FAMILY_NAMES = [
    ("model.layers.3.self_attn.q_proj", 3, "attention"),  # Llama, Mistral, Qwen, Gemma
    ("model.layers.11.mlp.gate_proj", 11, "mlp"),
    ("model.layers.0.self_attn.dense", 0, "attention"),  # Phi
    ("model.layers.0.mlp.fc1", 0, "mlp"),
    ("model.layers.2.self_attn.qkv_proj", 2, "attention"),  # Phi-3
    ("model.layers.2.mlp.gate_up_proj", 2, "mlp"),
    ("gpt_neox.layers.5.attention.query_key_value", 5, "attention"),  # GPT-NeoX
    ("gpt_neox.layers.5.attention.dense", 5, "attention"),
    ("gpt_neox.layers.5.mlp.dense_4h_to_h", 5, "mlp"),
    ("transformer.h.1.attn.attention.k_proj", 1, "attention"),  # GPT-Neo
    ("transformer.h.1.mlp.c_fc", 1, "mlp"),
    ("model.decoder.layers.4.self_attn.out_proj", 4, "attention"),  # OPT
    ("model.decoder.layers.4.fc2", 4, "mlp"),
    ("transformer.h.7.attn.c_attn", 7, "attention"),  # GPT-2
    ("transformer.h.7.attn.c_proj", 7, "attention"),
    ("transformer.h.7.mlp.c_proj", 7, "mlp"),
    ("transformer.h.0.self_attention.dense", 0, "attention"),  # Falcon, Bloom
    ("transformer.blocks.0.attn.Wqkv", 0, "attention"),  # MPT
    ("transformer.blocks.0.ffn.up_proj", 0, "mlp"),
    ("model.layers.3.mlp.experts.7.w1", 3, "mlp"),  # experts of their own
    ("model.layers.3.block_sparse_moe.gate", 3, "mlp"),
    ("model.layers.3.feed_forward.w2", 3, "mlp"),
    ("backbone.layers.6.mixer.in_proj", 6, "other"),  # Mamba
    ("model.layers.0.q_proj", 0, "attention"),
    ("model.attention_net.layers.0.adapter", 0, "other"),  # only what is inside the layer counts
    ("project_in", None, "other"),
    ("q_proj", None, "attention"),
    ("0", 0, "other"),
]


@pytest.mark.parametrize(("name", "layer", "expected"), FAMILY_NAMES)
def test_layer_and_role_of_every_family(name: str, layer: int | None, expected: str) -> None:
    assert layer_index(name) == layer
    assert role(name) == expected
    assert not is_head_or_embedding(name)


@pytest.mark.parametrize(
    "name",
    [
        "lm_head",
        "embed_out",
        "output_layer",
        "transformer.wte",
        "transformer.wpe",
        "model.embed_tokens",
        "model.decoder.embed_positions",
        "transformer.word_embeddings",
        "lm_head.dense",
        "score",
    ],
)
def test_heads_and_embeddings(name: str) -> None:
    assert is_head_or_embedding(name)


def test_a_layer_has_no_head() -> None:
    assert not is_head_or_embedding("model.layers.0.head")
    assert not is_head_or_embedding("model.layers.0.mlp.embed_proj")


def test_no_target_selects_all() -> None:
    assert select(NAMES) == NAMES
    assert select(NAMES, targets=[]) == NAMES
    assert select([]) == []


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("q_proj", [0, 3]),  # whole parts only: my_q_proj is another name
        ("self_attn.q_proj", [0, 3]),
        ("*.mlp.*", [2, 4, 5]),
        ("layers.1.*", [3, 4]),  # and not layer 10
        ("*q_proj", [0, 3, 4]),
        ("model.layers.0.self_attn.q_proj", [0]),
        ("layers.[01].mlp.*", [2, 4]),
        ("re:.*q_proj", [0, 3, 4]),
        (r"re:model\.layers\.\d\..*up_proj", [2]),
    ],
)
def test_patterns(pattern: str, expected: list[int]) -> None:
    wanted = [NAMES[i] for i in expected]
    assert select(NAMES, targets=[pattern]) == wanted
    assert select(NAMES, targets=pattern) == wanted  # a lone string is one pattern
    assert select(NAMES, ignore=[pattern]) == [name for name in NAMES if name not in wanted]


def test_ignore_is_stronger_and_order_is_kept() -> None:
    assert select(NAMES, targets=["up_proj", "q_proj"], ignore=["layers.0.*"]) == [
        NAMES[3],
        NAMES[5],
    ]
    assert select(NAMES, targets=["q_proj"], ignore=["q_proj"]) == []


@pytest.mark.parametrize("pattern", ["k_proj", "mlp", "Q_PROJ", "re:q_proj", "re:layers"])
@pytest.mark.parametrize("option", ["targets", "ignore"])
def test_a_pattern_without_a_match_is_an_error(option: str, pattern: str) -> None:
    with pytest.raises(SiteError, match="matches no site") as caught:
        select(NAMES, **{option: ["up_proj", pattern]})
    assert repr(pattern) in str(caught.value)
    assert NAMES[0] in str(caught.value)


def test_the_error_lists_at_most_twenty_names() -> None:
    names = [f"layer.{i}.fc" for i in range(23)]
    with pytest.raises(SiteError, match="and 3 more") as caught:
        select(names, targets=["nope"])
    assert names[19] in str(caught.value)
    assert names[20] not in str(caught.value)
    with pytest.raises(SiteError, match=r"There are: \(none\)"):
        select([], targets=["nope"])


def test_a_broken_regular_expression_is_an_error() -> None:
    with pytest.raises(SiteError, match="not a valid regular expression"):
        select(NAMES, targets=["re:("])


@given(st.sets(st.sampled_from(NAMES), min_size=1))
def test_full_names_select_exactly_themselves(chosen: set[str]) -> None:
    assert set(select(NAMES, targets=sorted(chosen))) == chosen
    assert set(select(NAMES, ignore=sorted(chosen))) == set(NAMES) - chosen


def test_the_projection_is_the_last_part_that_is_no_number() -> None:
    names = {
        "model.layers.3.self_attn.q_proj": "q_proj",
        "model.layers.3.mlp.experts.gate_up_proj.17": "gate_up_proj",
        "model.layers.3.mlp.experts.7.w1": "w1",
        "0": "0",
    }
    assert {name: projection(name) for name in names} == names
