"""A pair's answers under one reading of their prompt: the same as two whole readings."""

import random

import pytest
import torch

from prosopon.data import Encoded, collate
from prosopon.lm.forward import inputs
from prosopon.lm.likelihood import token_log_likelihoods
from prosopon.lm.pairs import pair_log_likelihoods, pair_width, shared_length
from prosopon.lm.reading import logits_at, response_mask
from prosopon.models import find_sites
from tests.tiny import FAMILIES, tiny_model


def encoded(prompt, answer):
    ids = [*prompt, *answer]
    mask = [False] * len(prompt) + [True] * len(answer)
    return Encoded(ids, mask, mask)


def pairs_of(count=4, *, shared=True, seed=0, beginning=()):
    rng = random.Random(seed)

    def text(longest):
        return [rng.randint(6, 250) for _ in range(rng.randint(2, longest))]

    made = []
    for _ in range(count):
        prompt = [*beginning, *text(9)]
        made.append((encoded(prompt, text(6)), encoded(prompt if shared else text(9), text(6))))
    return made


def whole(model, pairs):
    """The oracle: every row read from its start."""
    rows = []
    for side in (0, 1):
        for pair in pairs:
            batch = collate([pair[side]])
            rows.append(token_log_likelihoods(model, batch)[response_mask(batch)])
    return rows


def close(model, pairs):
    values, mask = pair_log_likelihoods(model, pairs)
    for ours, chosen, theirs in zip(values, mask, whole(model, pairs), strict=True):
        torch.testing.assert_close(ours[chosen], theirs, rtol=1e-4, atol=1e-4)
        assert not ours[~chosen].any()


@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_what_two_whole_readings_say(family):
    model = tiny_model(family)[0]
    with torch.no_grad():
        close(model, pairs_of())


@pytest.mark.parametrize("family", FAMILIES)
def test_what_all_prompts_begin_with_is_read_once(family):
    model = tiny_model(family)[0]
    with torch.no_grad():
        close(model, pairs_of(beginning=range(6, 36)))


def test_tokens_that_all_prompts_begin_with_come_to_the_model_once():
    model, pairs = tiny_model("llama")[0], pairs_of(beginning=range(6, 36))
    tokens = []
    layer = find_sites(model)[0].module
    handle = layer.register_forward_hook(lambda _, args, __: tokens.append(args[0][..., 0].numel()))
    with torch.no_grad():
        pair_log_likelihoods(model, pairs)
    handle.remove()
    prompts = [shared_length(pair) for pair in pairs]
    rests = [
        len(side) - length for pair, length in zip(pairs, prompts, strict=True) for side in pair
    ]
    assert tokens == [30, 4 * (max(prompts) - 30), 8 * max(rests)]


@pytest.mark.parametrize("beginning", [(), range(6, 36)])
@pytest.mark.parametrize("shared", [True, False])
def test_the_gradient_is_that_of_two_whole_readings(shared, beginning):
    model = tiny_model("llama")[0]
    weights = [site.weight.requires_grad_(True) for site in find_sites(model)]
    pairs = pairs_of(shared=shared, beginning=beginning)
    values, mask = pair_log_likelihoods(model, pairs)
    ours = torch.autograd.grad((values * mask).square().sum(), weights)
    theirs = torch.autograd.grad(sum(row.square().sum() for row in whole(model, pairs)), weights)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_a_shared_prompt_is_read_once(monkeypatch):
    model = tiny_model("llama")[0]
    tokens = []
    layer = find_sites(model)[0].module
    handle = layer.register_forward_hook(lambda _, args, __: tokens.append(args[0][..., 0].numel()))
    prompt = list(range(6, 26))
    pair = (encoded(prompt, [30, 31]), encoded(prompt, [40, 41, 42]))
    with torch.no_grad():
        pair_log_likelihoods(model, [pair])
    handle.remove()
    assert tokens == [19, 2 * 4]  # the last token of the prompt stands before each answer
    assert sum(tokens) == pair_width(pair) < 2 * 23


def test_what_a_pair_shares_ends_before_either_answer():
    one, other = encoded([6, 7, 8], [9, 10]), encoded([6, 7, 8], [9, 11])
    assert shared_length((one, other)) == 2
    assert shared_length((one, encoded([6, 9, 8], [1, 2]))) == 1
    assert shared_length((one, encoded([9], [7, 8]))) == 0
    assert shared_length((encoded([], [6, 7]), encoded([], [6, 8]))) == 0
    assert pair_width((one, other)) == 2 + 2 * 3


def test_logits_are_computed_at_the_mask_only():
    model = tiny_model("llama")[0]
    batch = collate([first for first, _ in pairs_of(3)])
    mask = torch.zeros(batch.input_ids.shape, dtype=torch.bool)
    mask[0, 1] = mask[2, 0] = True
    sizes = []
    head = model.get_output_embeddings()
    handle = head.register_forward_hook(lambda _, __, out: sizes.append(tuple(out.shape)))
    with torch.no_grad():
        some = logits_at(model, inputs(model, batch), mask)
        handle.remove()
        everything = model(**inputs(model, batch)).logits
    assert sizes == [(2, everything.shape[-1])]
    torch.testing.assert_close(some, everything[mask])
    assert not head._forward_pre_hooks  # nothing stays on the model


def test_a_model_without_a_head_module_gives_the_same(monkeypatch):
    model = tiny_model("llama")[0]
    batch = collate([first for first, _ in pairs_of(3)])
    mask = torch.zeros(batch.input_ids.shape, dtype=torch.bool)
    mask[1, :2] = True
    with torch.no_grad():
        hooked = logits_at(model, inputs(model, batch), mask)
        monkeypatch.setattr(model, "get_output_embeddings", lambda: None)
        torch.testing.assert_close(logits_at(model, inputs(model, batch), mask), hooked)
