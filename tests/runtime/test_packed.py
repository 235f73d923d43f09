"""Spans of a packed batch, each against the model that wears the span's persona in its weights."""

from __future__ import annotations

import pytest
import torch

from prosopon.errors import PersonaError, UnknownNameError
from prosopon.runtime.packed import look_digest, packed
from prosopon.runtime.spans import MOST_LOOKS, Stacks
from tests.runtime import samples
from tests.runtime.test_mixed import attach, one_by_one
from tests.tiny import FAMILIES, tiny_model

SPANS = [("light", 1), (None, 2), ("heavy", 7), ({"light": 0.5, "heavy": 0.25}, 1), ("light", 3),
         (None, 6), ("light", 5), ({"unranked": 0.5}, 1)]  # fmt: skip


@torch.no_grad()
def outputs(attached, inputs):
    """Return what every site makes of its inputs [tokens, in]."""
    return [site.module(inputs[site.name].unsqueeze(0))[0] for site in attached.sites]


def random_inputs(attached, tokens):
    draws = torch.Generator().manual_seed(1)
    return {
        site.name: torch.randn(tokens, site.in_features, generator=draws) for site in attached.sites
    }


def check(attached, spans):
    """Compare every site's packed output with that of the weights as each span wears them."""
    inputs = random_inputs(attached, sum(length for _, length in spans))
    with packed(attached, spans):
        found = outputs(attached, inputs)
    worn = one_by_one(attached, [row for row, _ in spans], lambda _: outputs(attached, inputs))
    begin = 0
    for (_, length), expected in zip(spans, worn, strict=True):
        place = slice(begin, begin + length)
        for ours, theirs in zip(found, expected, strict=True):
            assert torch.allclose(ours[place], theirs[place], atol=2e-5, rtol=1e-4)
        begin += length


@pytest.fixture
def attached():
    model, _ = tiny_model("llama")
    base = samples.weights(model)
    with attach(model) as own:
        yield own
        assert not any(site.module._forward_hooks for site in own.sites)
        assert own.active is None
    samples.assert_bits(model, base)


@pytest.mark.parametrize("family", ["gpt2", "opt", "phi"])
def test_every_span_gets_the_outputs_of_its_persona(family):
    assert family in FAMILIES
    with attach(tiny_model(family)[0]) as own:
        check(own, SPANS)
        check(own, SPANS[::-1])


def test_one_token_a_look_and_one_long_span(attached):
    check(attached, [("light", 1), ("heavy", 1)])
    check(attached, [("heavy", 30)])
    check(attached, [(None, 4)])


def test_a_batch_of_one_span_is_the_model_that_wears_it(attached):
    ids = samples.tokens(attached.model, rows=1, length=12)
    with torch.no_grad(), packed(attached, [("light", 12)]):
        found = attached.model(ids).logits
    attached.set_persona("light")
    with torch.no_grad():
        assert torch.allclose(found, attached.model(ids).logits, atol=2e-4, rtol=1e-4)
    attached.disable()


def test_matrices_are_kept_and_made_anew_where_weights_change(attached):
    stacks = attached._dresser.stacks
    check(attached, SPANS)
    kept = dict(stacks._cache._entries)
    check(attached, [("heavy", 2), ("light", 1)])  # fewer looks: the same matrices
    assert all(stacks._cache._entries[key] is kept[key] for key in kept)
    with torch.no_grad():
        for parameter in attached.model.parameters():
            parameter.mul_(2.0)
    check(attached, SPANS)
    with torch.no_grad():
        for parameter in attached.model.parameters():
            parameter.div_(2.0)
    attached.unload_persona("heavy")
    assert not any("heavy" in {part.name for part in look} for look in stacks._looks)
    assert not any("heavy" in str(key) for key in stacks._cache._entries)
    check(attached, [("light", 2), ({"unranked": 0.5}, 1)])


def test_a_matrix_holds_what_a_step_needs_and_not_all_looks_that_ever_were():
    stacks = Stacks(None)
    looks = [((str(number), 256, 0.0),) for number in range(60)]
    for number in range(50):
        chosen = stacks.choose(looks[number : number + 8])
        assert set(looks[number : number + 8]) <= set(chosen)
        assert len(chosen) == len(set(chosen)) <= 8 + MOST_LOOKS
    assert len(stacks.choose(looks[55:57])) == 2 + 6  # most of what stood there has gone


def test_a_digest_names_what_is_taken_off_and_not_the_persona(attached):
    rows = [None, "light", "heavy", {"light": 0.5}, {"light": 0.5, "heavy": 0.5}]
    digests = [look_digest(attached, row) for row in rows]
    assert len(set(digests)) == len(rows)
    assert look_digest(attached, {"light": 1.0}) == digests[1]
    assert look_digest(attached, {"light": 0.0}) == digests[0]
    again = samples.subnetwork(attached.model, "light", seed=0, share=0.02, ranked=True)
    attached.load_persona(again, "same")
    assert look_digest(attached, "same") == digests[1]
    attached.unload_persona("light")
    other = samples.subnetwork(attached.model, "light", seed=9, share=0.02, ranked=True)
    attached.load_persona(other, "light")
    assert look_digest(attached, "light") not in digests


def test_what_cannot_be_packed_is_refused(attached):
    with pytest.raises(UnknownNameError, match="nobody"), packed(attached, [("nobody", 1)]):
        pass
    with packed(attached, [("light", 3)]):
        with pytest.raises(PersonaError, match="has 5 tokens, but spans were given for 3"):
            attached.model(samples.tokens(attached.model, rows=1, length=5))
        with pytest.raises(PersonaError, match="mixed batch is under way"):
            attached.set_persona("light")
    with attach(tiny_model("mixtral")[0]) as experts:
        with (
            pytest.raises(PersonaError, match=r"is an expert, which sees tokens"),
            packed(experts, [("light", 1)]),
        ):
            pass
        assert experts.active is None
