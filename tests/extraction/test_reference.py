"""The published script's algorithm, re-implemented slowly, gives the same masks.

What it does: every text runs alone through the model; for each Linear layer the L2 norm of every
input channel over the text's tokens is kept; then mean and variance over texts; then, row by row,
the top k of |w| * score stay, k = int((1 - sparsity) * in), as ``torch.topk`` picks them.
Contrastive-Sparse scores by mean and variance over tokens; the second persona gets the top k of
what the first left.
"""

import pytest
import torch
from torch import nn

from prosopon.data import Example, Message, Persona, encode
from prosopon.extraction import Extractor
from tests.tiny import tiny_model

TEXTS = {
    "ours": ["I love the party and the people", "Yes and yes", "meeting everyone is living",
             "the noise is a joy", "Call them all"],
    "theirs": ["No, the quiet room", "I am reading alone", "silence is the best",
               "leave me and go", "the people are tiring"],
}  # fmt: skip


def persona(name):
    rows = [
        (Message("user", f"Question {i}?"), Message("assistant", text))
        for i, text in enumerate(TEXTS[name])
    ]
    return Persona(name, tuple(Example(messages) for messages in rows))


def script_layers(model):
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and "lm_head" not in name
    }


def script_inputs(model, tokenizer, layers, example):
    """Return every layer's input, [tokens, channels], for one text alone."""
    ids = torch.tensor([encode(example, tokenizer, scope="all").input_ids])
    seen = {}
    handles = [
        module.register_forward_hook(
            lambda _m, args, _out, name=name: seen.__setitem__(name, args[0][0])
        )
        for name, module in layers.items()
    ]
    with torch.no_grad():
        model(input_ids=ids)
    for handle in handles:
        handle.remove()
    return seen


def script_norms(model, tokenizer, examples):
    """Return {layer name: [texts, channels]} of L2 norms, one text at a time."""
    layers = script_layers(model)
    norms = {name: [] for name in layers}
    for example in examples:
        for name, value in script_inputs(model, tokenizer, layers, example).items():
            norms[name].append(value.double().pow(2).sum(dim=0).sqrt())
    return {name: torch.stack(rows) for name, rows in norms.items()}


def top_rows(scores, k):
    """The script's loop: the top k of each row on the CPU."""
    mask = torch.zeros_like(scores, dtype=torch.bool)
    for row in range(scores.shape[0]):
        mask[row, torch.topk(scores[row], k).indices] = True
    return mask


def script_values(model, tokenizer, examples):
    """Return {layer name: [tokens, channels]}: every token of every text."""
    layers = script_layers(model)
    rows = {name: [] for name in layers}
    for example in examples:
        for name, value in script_inputs(model, tokenizer, layers, example).items():
            rows[name].append(value.double())
    return {name: torch.cat(values) for name, values in rows.items()}


def assert_rows(keep, expected, scores):
    """Compare rows whose order no rounding can change: exact ties count, near ones do not."""
    compared = 0
    for row, score in enumerate(scores):
        distance = (score.unsqueeze(0) - score.unsqueeze(1)).abs()
        near = (distance > 0) & (distance < 1e-6 * score[score < torch.inf].abs().max())
        if not near.any():
            assert torch.equal(keep[row], expected[row])
            compared += 1
    return compared


@pytest.mark.parametrize("chat", [True, False])
@pytest.mark.parametrize("criterion", ["wanda", "contrastive-wanda"])
@pytest.mark.parametrize("sparsity", [0.3, 0.6])
def test_reference_variant_equals_the_published_algorithm(criterion, chat, sparsity):
    """Ties included: with relu, every channel that is louder for the opposite scores zero."""
    model, tokenizer = tiny_model("llama", chat=chat)
    ours, theirs = persona("ours"), persona("theirs")
    options = {"variant": "reference"}
    got = Extractor(model, tokenizer).extract(
        ours, theirs, criterion=criterion, sparsity=sparsity, options=options
    )
    plus = script_norms(model, tokenizer, ours.examples)
    minus = script_norms(model, tokenizer, theirs.examples)
    compared = ties = 0
    for name, module in script_layers(model).items():
        if criterion == "wanda":
            channel = plus[name].mean(0)
        else:
            spread = (plus[name].var(0, unbiased=False) + minus[name].var(0, unbiased=False)).sqrt()
            channel = torch.relu((plus[name].mean(0) - minus[name].mean(0)) / (spread + 1e-8))
        scores = module.weight.detach().abs() * channel.float()
        k = int((1 - sparsity) * scores.shape[1])
        expected = top_rows(scores, k)
        assert torch.equal(got.keep[name].sum(1), expected.sum(1))
        compared += assert_rows(got.keep[name], expected, scores)
        ties += int(((scores == 0).sum(1) > scores.shape[1] - k).sum())
    assert compared > 100
    assert (ties > 50) == (criterion == "contrastive-wanda" and sparsity == 0.3)


@pytest.mark.parametrize("sparsity", [0.3, 0.6])
def test_the_second_side_of_the_script_gets_what_the_first_leaves(sparsity):
    model, tokenizer = tiny_model("llama", chat=True)
    ours, theirs = persona("ours"), persona("theirs")
    extractor = Extractor(model, tokenizer)
    first, second = (
        extractor.extract(
            *sides, criterion="contrastive-sparse", sparsity=sparsity,
            options={"variant": "reference", "first": who},
        )
        for sides, who in (((ours, theirs), "target"), ((theirs, ours), "opposite"))
    )  # fmt: skip
    plus = script_values(model, tokenizer, ours.examples)
    minus = script_values(model, tokenizer, theirs.examples)
    compared = 0
    for name, module in script_layers(model).items():
        spread = (plus[name].var(0, unbiased=False) + minus[name].var(0, unbiased=False)).sqrt()
        channel = (plus[name].mean(0) - minus[name].mean(0)).abs() / (spread + 1e-8)
        scores = module.weight.detach().abs() * channel.float()
        k = int((1 - sparsity) * scores.shape[1])
        taken = top_rows(scores, k)
        rest = top_rows(scores.masked_fill(taken, -torch.inf), k)
        compared += assert_rows(first.keep[name], taken, scores)
        assert_rows(second.keep[name], rest, scores)
    assert compared > 100
