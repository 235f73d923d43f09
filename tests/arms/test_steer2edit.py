"""Steer2Edit: rank-one edits as the paper's formulas say, component by component."""

from dataclasses import replace

import pytest
import torch

from prosopon.arms import ARMS
from prosopon.arms.steer2edit import components, edited, edits_of, magnitudes
from prosopon.errors import OptionError
from prosopon.lm import text_losses
from tests.arms.samples import exchange, same_weights, tiny_contrast, tiny_lab, weights_of
from tests.tiny import HEADS, HIDDEN, INTERMEDIATE, LAYERS

FAMILIES = ("llama", "gpt2", "opt", "gpt_neox")


def statistics(lab):
    return [lab.extractor.statistics(side) for side in lab.contrast.drawn(8, 0)]


def slow_edit(site, width, ours, theirs, alpha, rho):
    """Return the paper's edit of a site, one component and one number at a time."""
    weight = site.matrix().float()
    v = weight @ (ours - theirs)
    v = v / v.norm()
    mean, delta = (ours + theirs) / 2, torch.zeros(site.shape)
    for start in range(0, site.in_features, width):
        block = weight[:, start : start + width]
        key, output = block.T @ v, block @ mean[start : start + width]
        g = float(v @ output / output.norm())
        size = max(abs(g) - rho * alpha, 0) / (rho * (1 - alpha))
        sign = 1 if g > 0 else -1
        delta[:, start : start + width] = sign * size * torch.outer(v, key / key.norm())
    return delta


@pytest.mark.parametrize("family", FAMILIES)
def test_components_are_heads_and_neurons(family):
    found = components(tiny_lab(family))
    assert len(found) == 2 * LAYERS
    for place in found:
        assert place.site.out_features == HIDDEN
        count = place.site.in_features // place.width
        assert count == (HEADS if place.part == "attention" else place.site.in_features)
        assert place.part in ("attention", "mlp")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("alpha", "rho"), [(0.3, 0.5), (0.7, 0.2), (0.0, 0.4)])
def test_the_edit_is_the_formula_computed_slowly(family, alpha, rho):
    lab = tiny_lab(family)
    sides, places = statistics(lab), components(lab)
    before = [place.site.matrix().clone() for place in places]
    expected = [
        slow_edit(p.site, p.width, *(s[p.site.name].mean.float() for s in sides), alpha, rho)
        for p in places
    ]
    edits = edits_of(places, *sides)
    with edited(edits, alpha, rho, 1.0):
        for place, weight, delta in zip(places, before, expected, strict=True):
            change = place.site.matrix() - weight
            assert torch.allclose(change, delta, atol=1e-5)
    assert any(delta.any() for delta in expected)
    with edited(edits, alpha, rho, 0.5):
        doubled = [place.site.matrix() - w for place, w in zip(places, before, strict=True)]
    for place, change in zip(places, doubled, strict=True):
        means = [side[place.site.name].mean.float() for side in sides]
        assert torch.allclose(change, slow_edit(place.site, place.width, *means, alpha, 2 * rho),
                              atol=1e-5)  # fmt: skip


def test_the_direction_is_the_difference_of_the_blocks_outputs():
    lab = tiny_lab()
    place = components(lab)[0]
    texts = [lab.extractor.encode(side, "response") for side in lab.contrast.drawn(8, 0)]
    means = []
    for side in texts:
        rows = []
        for text in side:
            seen = []
            hook = place.site.module.register_forward_hook(
                lambda module, given, output, seen=seen: seen.append(output[0])
            )
            with torch.no_grad():
                lab.model(input_ids=torch.tensor([text.input_ids]))
            hook.remove()
            rows.append(seen[0][torch.tensor(text.response)])
        means.append(torch.cat(rows).mean(0))
    v = means[0] - means[1]
    found = edits_of([place], *statistics(lab))[0].direction
    assert torch.allclose(found, v / v.norm(), atol=1e-3)


def test_the_threshold_is_soft():
    importance = torch.tensor([0.5, -0.5, 0.1, -0.1, 0.0])
    found = magnitudes(importance, alpha=0.5, rho=0.4)
    assert torch.allclose(found, torch.tensor([1.5, -1.5, 0, 0, 0]))
    # It is the best of all magnitudes under the elastic net.
    grid = torch.linspace(-3, 3, 6001)
    for g, best in zip(importance, found, strict=True):
        value = g * grid - 0.4 * (0.5 * grid.abs() + 0.25 * grid.square())
        assert grid[value.argmax()] == pytest.approx(float(best), abs=1e-3)
    assert not magnitudes(importance, alpha=0.5, rho=1.0).any()


def test_exchanged_sides_turn_the_edits_round():
    lab = tiny_lab()
    places, (ours, theirs) = components(lab), statistics(lab)
    for one, other in zip(
        edits_of(places, ours, theirs), edits_of(places, theirs, ours), strict=True
    ):
        assert torch.allclose(one.direction, -other.direction, atol=1e-5)
        assert torch.allclose(one.keys, -other.keys, atol=1e-5)
        assert torch.allclose(one.importance, -other.importance, atol=1e-5)
    # v', k' and g change sign, so the edit does: what reinforced the target now weakens it.
    deltas = []
    for contrast in (tiny_contrast(), exchange(tiny_contrast())):
        lab = tiny_lab(contrast=contrast, options={"max_loss": 0})
        before = components(lab)[0].site.matrix().clone()
        with ARMS.get("steer2edit").prepare(lab).speaking():
            deltas.append(components(lab)[0].site.matrix() - before)
    assert torch.allclose(deltas[0], -deltas[1], atol=1e-5)
    assert deltas[0].any()


def test_attention_or_mlp_alone_leaves_the_other_as_it_is():
    for part in ("attention", "mlp"):
        lab = tiny_lab(options={"parts": part, "max_loss": 0, "rho": 0.1})
        before = [(p, p.site.matrix().clone()) for p in components(lab)]
        with ARMS.get("steer2edit").prepare(lab).speaking():
            for place, weight in before:
                same = torch.equal(place.site.matrix(), weight)
                assert same == (place.part != part)


def test_parts_and_alpha_are_chosen_within_the_limit():
    lab = tiny_lab(options={"max_loss": 0.02})
    weights = weights_of(lab.model)
    ready = ARMS.get("steer2edit").prepare(lab)
    details = ready.cost.details
    assert len(details["trials"]) == 6
    harmless = [trial for trial in details["trials"] if trial["general_loss"] <= 0.02]
    best = max(harmless, key=lambda trial: trial["margin"])
    assert (details["parts"], details["alpha"]) == (best["parts"], best["alpha"])
    assert details["general_loss"] <= 0.02
    texts = lab.extractor.held_out()
    base, tokens = text_losses(lab.model, texts, every=True)
    with ready.speaking():
        worse, _ = text_losses(lab.model, texts, every=True)
    assert (worse - base) / tokens == pytest.approx(details["general_loss"], abs=1e-4)
    assert same_weights(lab.model, weights)
    # a direction a site, a key for attention's inputs, an importance a component
    assert ready.cost.bytes == 4 * LAYERS * (2 * HIDDEN + HIDDEN + HEADS + INTERMEDIATE)


def test_an_interruption_leaves_no_trace():
    lab = tiny_lab(dtype=torch.bfloat16)
    before, edits = weights_of(lab.model), edits_of(components(lab), *statistics(lab))
    with edited(edits, 0.3, 0.1, 1.0):
        assert not all(torch.equal(p, before[n]) for n, p in lab.model.named_parameters())
    with pytest.raises(KeyboardInterrupt), edited(edits, 0.3, 0.1, 1.0):
        raise KeyboardInterrupt
    assert all(torch.equal(p, before[n]) for n, p in lab.model.named_parameters())


def test_what_cannot_be_edited_is_said():
    arm = ARMS.get("steer2edit")
    for options, text in (
        ({"alpha": 1}, r"alpha=1\.0: must be 0 or more, < 1"),
        ({"rho": 0}, r"rho=0\.0: must be above 0"),
        ({"max_loss": -1}, r"max_loss=-1\.0: must not be negative"),
        ({"parts": "head"}, "parts"),
    ):
        with pytest.raises(OptionError, match=text):
            arm.prepare(tiny_lab(options=options))
    with pytest.raises(OptionError, match=r"steer2edit holds pairs out .* there are 3"):
        arm.prepare(tiny_lab(examples=3))
    lab = tiny_lab()
    lab = replace(lab, extractor=type(lab.extractor)(lab.model, lab.tokenizer, only="mlp"))
    assert "there are no heads to choose from" in arm.refuses(lab)
