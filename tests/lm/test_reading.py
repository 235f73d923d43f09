"""Texts read in one pass: the same as each alone, with fewer tokens read."""

import random

import pytest
import torch

from prosopon.data import Encoded, collate
from prosopon.errors import OptionError
from prosopon.lm.likelihood import token_log_likelihoods
from prosopon.lm.reading import (
    WORTH,
    common_length,
    counted_logits,
    logits_after,
    read_batches,
    response_mask,
)
from prosopon.models import find_sites
from tests.tiny import FAMILIES, tiny_model


def texts_of(count=5, *, beginning=WORTH // 3, seed=0):
    """Return texts that begin alike: a beginning, a prompt of their own, an answer in two parts."""
    rng = random.Random(seed)

    def tokens(least, most):
        return [rng.randint(6, 250) for _ in range(rng.randint(least, most))]

    first, made = tokens(beginning, beginning), []
    for _ in range(count):
        prompt, thought, answer = [*first, *tokens(1, 5)], tokens(1, 3), tokens(2, 6)
        ids = prompt + thought + answer
        scope = [False] * len(prompt) + [True] * (len(thought) + len(answer))
        response = [False] * (len(prompt) + len(thought)) + [True] * len(answer)
        made.append(Encoded(ids, scope, response))
    return made


def alone(model, text, *, every):
    """The oracle: a row read from its start, with every logit."""
    batch = collate([text])
    return token_log_likelihoods(model, batch)[response_mask(batch, every=every)]


def same(model, texts, logits, *, every=False):
    for row, chosen, text in zip(logits.log_likelihoods(), logits.mask, texts, strict=True):
        torch.testing.assert_close(
            row[chosen], alone(model, text, every=every), rtol=1e-4, atol=1e-4
        )
        assert not row[~chosen].any()


def tokens_read(model, read):
    """Return how many tokens a function reads."""
    counts = []
    layer = find_sites(model)[0].module
    handle = layer.register_forward_hook(lambda _, args, __: counts.append(args[0][..., 0].numel()))
    try:
        read()
    finally:
        handle.remove()
    return sum(counts)


SHAPE = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
OTHERS = {
    "window": ("mistral", SHAPE | {"sliding_window": 8}),
    "some windows": (
        "gemma3_text",
        SHAPE | {
            "sliding_window": 8, "head_dim": 8, "query_pre_attn_scalar": 8,
            "layer_types": ["sliding_attention", "full_attention"],
        },
    ),
    "local attention": (
        "gpt_neo",
        {
            "num_layers": 2, "num_heads": 4, "window_size": 8,
            "attention_types": [[["global", "local"], 1]],
        },
    ),
    "ALiBi by columns": ("mpt", {"d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": 512}),
    "keys and states": (
        "falcon_h1",
        SHAPE | {
            "head_dim": 8, "mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8,
            "mamba_n_groups": 1, "mamba_d_state": 8, "mamba_chunk_size": 16,
        },
    ),
    "a cache of its own": (
        "minimax",
        SHAPE | {
            "head_dim": 8, "num_local_experts": 2, "num_experts_per_tok": 1,
            "layer_types": ["linear_attention", "full_attention"],
        },
    ),
}  # fmt: skip
"""Kinds of attention that tests/tiny.py has no family of: how it is built."""


def other_model(kind):
    from transformers import AutoConfig, AutoModelForCausalLM

    family, options = OTHERS[kind]
    sizes = {"hidden_size": 32, "intermediate_size": 48, "max_position_embeddings": 512}
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        family, vocab_size=300, pad_token_id=0, initializer_range=0.2, **sizes | options
    )
    return AutoModelForCausalLM.from_config(config).eval()


@pytest.mark.parametrize("kind", OTHERS)
def test_windows_and_states_are_read_as_they_are_row_by_row(kind):
    model, texts = other_model(kind), texts_of(beginning=30)
    beginnings = [text.input_ids[: 30 + i % 2] for i, text in enumerate(texts)]
    with torch.no_grad():
        for side in ("right", "left"):
            same(model, texts, counted_logits(model, texts, padding_side=side))
        same(model, texts, logits_after(model, texts, beginnings))


@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_what_reading_one_by_one_says(family):
    model, texts = tiny_model(family)[0], texts_of()
    for every, side in ((False, "right"), (True, "left")):
        with torch.no_grad():
            logits = counted_logits(model, texts, every=every, padding_side=side)
            same(model, texts, logits, every=every)


def test_the_gradient_is_that_of_reading_one_by_one():
    model, texts = tiny_model("llama")[0], texts_of()
    weights = [site.weight.requires_grad_(True) for site in find_sites(model)]
    values = counted_logits(model, texts).log_likelihoods()
    ours = torch.autograd.grad(values.square().sum(), weights)
    slow = sum(alone(model, text, every=False).square().sum() for text in texts)
    for one, other in zip(ours, torch.autograd.grad(slow, weights), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("beginning", "count", "once"),
    [(WORTH, 2, True), (WORTH // 2, 3, True), (WORTH // 4, 3, False), (3, 5, False)],
)
def test_a_beginning_is_read_once_where_that_spares_enough(beginning, count, once):
    model, texts = tiny_model("llama")[0], texts_of(count, beginning=beginning)
    length = max(map(len, texts))
    with torch.no_grad():
        read = tokens_read(model, lambda: counted_logits(model, texts))
    begin = common_length([text.input_ids for text in texts])
    assert begin >= beginning
    assert read == (begin + count * (length - begin) if once else count * length)


def test_a_text_twice_is_read_up_to_its_answer_once():
    model, text = tiny_model("llama")[0], texts_of(1, beginning=WORTH)[0]
    with torch.no_grad():
        logits = counted_logits(model, [text, text])
    torch.testing.assert_close(
        logits.log_likelihoods()[1][logits.mask[1]], alone(model, text, every=False)
    )


def test_where_every_token_counts_nothing_is_left_out():
    """A first token that counts has no predecessor; the second's is the first."""
    model = tiny_model("llama")[0]
    texts = [
        Encoded(t.input_ids, [True] * len(t), [True] * len(t)) for t in texts_of(3, beginning=WORTH)
    ]
    with torch.no_grad():
        logits = counted_logits(model, texts, every=True)
    assert logits.mask.sum(1).tolist() == [len(text) - 1 for text in texts]


def test_texts_of_which_nothing_counts_have_no_logits():
    model, texts = tiny_model("llama")[0], texts_of(3, beginning=WORTH)
    with torch.no_grad():
        logits = counted_logits(
            model, [Encoded(t.input_ids, [False] * len(t), [False] * len(t)) for t in texts]
        )
    assert logits.values.shape[0] == 0
    assert not logits.log_likelihoods().any()


def test_all_texts_of_a_part_come_once_with_their_numbers():
    model, texts = tiny_model("llama")[0], texts_of(9)
    seen = {}
    with torch.no_grad():
        for numbers, logits in read_batches(model, texts, part=[7, 2, 5, 3], max_tokens=60):
            assert len(numbers) * max(len(texts[i]) for i in numbers) <= 60
            for number, row, chosen in zip(
                numbers, logits.log_likelihoods(), logits.mask, strict=True
            ):
                assert number not in seen
                seen[number] = row[chosen]
    assert sorted(seen) == [2, 3, 5, 7]
    for number, row in seen.items():
        torch.testing.assert_close(row, alone(model, texts[number], every=False))


def test_a_size_below_one_is_refused():
    model, texts = tiny_model("llama")[0], texts_of(2)
    with pytest.raises(OptionError, match="max_tokens is 0"):
        next(read_batches(model, texts, max_tokens=0))


def test_what_rows_have_in_common():
    assert common_length([[1, 2, 3], [1, 2], [1, 2, 4, 5]]) == 2
    assert common_length([[1, 2], [1, 2]]) == 2
    assert common_length([[1], [2]]) == 0
    assert common_length([[1, 2], []]) == 0
    assert common_length([[4, 5, 6]]) == 3
