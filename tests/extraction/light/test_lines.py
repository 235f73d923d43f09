"""Light masks in few rows and columns: what is chosen, and that every way there keeps to it."""

import pytest
import torch

from prosopon.extraction.light.candidates import highest
from prosopon.extraction.light.lines import highest_in_lines
from prosopon.models import find_sites
from tests.extraction.light.conftest import COLD, WARM
from tests.extraction.light.test_path import path
from tests.selection.test_lines import fewest_lines
from tests.tiny import tiny_model


def fullest(masks):
    """Return the most rows and columns that a site's pruned weights need."""
    from prosopon.export.cover import minimum_cover

    return max(sum(map(len, minimum_cover(~keep))) for keep in masks.values())


def drawn(seed, shapes, share=0.5):
    generator = torch.Generator().manual_seed(seed)
    positions, scores = {}, {}
    for name, (rows, columns) in shapes.items():
        size = int(share * rows * columns)
        positions[name] = torch.randperm(rows * columns, generator=generator)[:size].sort().values
        scores[name] = torch.randn(size, generator=generator)
    return scores, positions


SHAPES = {"a": (5, 7), "b": (6, 4)}


@pytest.mark.parametrize("count", [0, 1, 5, 1000])
@pytest.mark.parametrize("lines", [1, 2, 50])
def test_the_highest_that_lie_in_few_lines(count, lines):
    scores, positions = drawn(count + lines, SHAPES)
    chosen = highest_in_lines(scores, positions, SHAPES, count, lines)
    free = highest(scores, count)
    assert list(chosen) == list(scores)
    for name, shape in SHAPES.items():
        assert (scores[name][chosen[name]] > 0).all()
        mask = torch.zeros(shape[0] * shape[1], dtype=torch.bool)
        mask[positions[name][chosen[name]]] = True
        assert fewest_lines(mask.view(shape).numpy()) <= lines
        if lines == 50:
            assert torch.equal(chosen[name], free[name])
    total, most = (sum(map(len, part.values())) for part in (chosen, free))
    assert total <= most
    if count in (0, 1):
        assert total == most


def test_fewer_than_the_lines_hold_are_those_worth_most():
    """With room for few weights the lines are those of the high ones, not of the many low."""
    positions = {"a": torch.arange(16)}
    scores = {"a": torch.full((16,), -1.0)}
    scores["a"][0:4] = 0.5  # a row of four
    scores["a"][9] = 1.0  # and one alone
    one = highest_in_lines(scores, positions, {"a": (4, 4)}, 1, 1)
    assert one["a"].tolist() == [9]
    many = highest_in_lines(scores, positions, {"a": (4, 4)}, 16, 1)
    assert many["a"].tolist() == [0, 1, 2, 3]


def test_every_mask_of_a_path_keeps_to_its_lines():
    model = tiny_model("llama")[0]
    free = path(model, largest=400)
    for lines in (2, 200):
        grown = path(model, largest=400, lines=lines)
        for _ in grown.grow(400, 3):
            for price in (0.0, grown.damage_weight):
                assert fullest(grown.ranking(400, price).keep(find_sites(model))) <= lines
        if lines == 200:  # as many as there are
            list(free.grow(400, 3))
            for name, flat in free.ranking(400).positions.items():
                assert torch.equal(flat, grown.ranking(400).positions[name])


@pytest.mark.parametrize(
    ("criterion", "options", "sparsity"),
    [
        ("contrastive-kl", {"rounds": 3, "max_loss": 0.01}, 0.05),
        ("contrastive-taylor", {"rounds": 3}, 0.02),
    ],
)
def test_light_criteria_keep_to_few_lines_at_every_strength(tiny, criterion, options, sparsity):
    made = tiny(criterion=criterion, pattern="lora:3", options=options, sparsity=sparsity)
    assert made.pruned > 0
    assert made.config.pattern == "lora:3"
    assert fullest(made.keep) <= 3
    assert fullest(made.at_strength(0.3).keep) <= 3
    if criterion == "contrastive-kl":
        free = tiny(criterion=criterion, options=options, sparsity=sparsity)
        assert fullest(free.keep) > 3
        assert made.config.options["auto"]["general_loss"] <= 0.01
        other = tiny(COLD, WARM, criterion=criterion, pattern="lora:3", options=options)
        both = sum(int((~made.keep[name] & ~other.keep[name]).sum()) for name in made.sites)
        assert both < 0.2 * made.pruned
