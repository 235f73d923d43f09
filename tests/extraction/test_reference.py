"""The published script's algorithm, re-implemented slowly, gives the same masks.

What it does: every text runs alone through the model; for each Linear layer the L2 norm of every
input channel over the text's tokens is kept; then mean and variance over texts; then, row by row,
the top k of |w| * score stay, k = int((1 - sparsity) * in).
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


def script_norms(model, tokenizer, examples):
    """Return {layer name: [texts, channels]} of L2 norms, one text at a time."""
    layers = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and "lm_head" not in name
    }
    norms = {name: [] for name in layers}
    for example in examples:
        ids = torch.tensor([encode(example, tokenizer, scope="all").input_ids])
        seen = {}
        handles = [
            module.register_forward_hook(
                lambda _m, args, _out, name=name, seen=seen: seen.__setitem__(name, args[0])
            )
            for name, module in layers.items()
        ]
        with torch.no_grad():
            model(input_ids=ids)
        for handle in handles:
            handle.remove()
        for name in layers:
            norms[name].append(seen[name][0].double().pow(2).sum(dim=0).sqrt())
    return layers, {name: torch.stack(rows) for name, rows in norms.items()}


def script_mask(weight, channel_score, sparsity):
    scores = weight.abs() * channel_score.float()
    k = int((1 - sparsity) * weight.shape[1])
    mask = torch.zeros_like(weight, dtype=torch.bool)
    for row in range(weight.shape[0]):
        mask[row, torch.topk(scores[row], k).indices] = True
    return mask, scores


@pytest.mark.parametrize("chat", [True, False])
@pytest.mark.parametrize("criterion", ["wanda", "contrastive-wanda"])
def test_reference_variant_equals_the_published_algorithm(criterion, chat):
    model, tokenizer = tiny_model("llama", chat=chat)
    ours, theirs = persona("ours"), persona("theirs")
    got = Extractor(model, tokenizer).extract(
        ours, theirs, criterion=criterion, sparsity=0.3, options={"variant": "reference"}
    )
    layers, plus = script_norms(model, tokenizer, ours.examples)
    _, minus = script_norms(model, tokenizer, theirs.examples)
    compared = 0
    for name, module in layers.items():
        if criterion == "wanda":
            channel = plus[name].mean(0)
        else:
            spread = (plus[name].var(0, unbiased=False) + minus[name].var(0, unbiased=False)).sqrt()
            channel = torch.relu((plus[name].mean(0) - minus[name].mean(0)) / (spread + 1e-8))
        expected, scores = script_mask(module.weight, channel, 0.3)
        keep = got.keep[name]
        assert torch.equal(keep.sum(1), expected.sum(1))
        untied = torch.stack([_untied(row) for row in scores])
        assert torch.equal(keep[untied], expected[untied]), name
        compared += int(untied.sum())
    assert compared > 1000


def _untied(row):
    """Scores that no other score of the row comes close to: float order cannot matter."""
    distance = (row.unsqueeze(0) - row.unsqueeze(1)).abs()
    distance.fill_diagonal_(float("inf"))
    return distance.min(1).values > 1e-6 * row.abs().max()
