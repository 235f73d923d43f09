"""The divergence from the base model on general text."""

import copy

import pytest
import torch

from prosopon.data import Encoded
from prosopon.gradients import Anchor, anchor, stream_gradients
from prosopon.models import find_sites
from tests.statistics.conftest import random_examples
from tests.tiny import tiny_model


def moved(model, size=0.2):
    other = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for site in find_sites(other):
            site.weight.add_(torch.randn(site.weight.shape, generator=generator), alpha=size)
    return other


def slow_divergence(base, model, texts):
    """Token by token, one text at a time, in float64."""
    total, tokens = 0.0, 0
    for text in texts:
        ids = torch.tensor([text.input_ids])
        with torch.no_grad():
            p, q = (m(ids).logits[0, :-1].double().log_softmax(-1) for m in (base, model))
        for t in range(len(text.input_ids) - 1):
            total += float((p[t].exp() * (p[t] - q[t])).sum())
            tokens += 1
    return total / tokens


@pytest.fixture(scope="module")
def model():
    return tiny_model("llama")[0]


@pytest.fixture(scope="module")
def texts():
    rows = [text.input_ids for text in random_examples(7, seed=2)]
    return [Encoded(row, [True] * len(row), [True] * len(row)) for row in rows]


def test_it_is_what_a_slow_loop_says_whatever_the_batches(model, texts):
    other = moved(model)
    expected = slow_divergence(model, other, texts)
    for most in (16, 64, 4096):
        held = Anchor(model, texts, max_tokens=most)
        total = sum(float(term.detach()) for term in held.terms(other, 2.0))
        assert total == pytest.approx(2 * expected, rel=1e-4)


def test_the_base_model_is_where_it_is_least(model, texts):
    held = Anchor(model, texts)
    assert sum(float(term.detach()) for term in held.terms(model)) == pytest.approx(0, abs=1e-6)
    sizes = []
    stream_gradients(
        find_sites(model), held.terms(model), lambda site, g: sizes.append(float(g.abs().max()))
    )
    assert len(sizes) == len(find_sites(model))
    assert max(sizes) < 1e-5


def test_its_gradient_is_autograds(model, texts):
    other = moved(model)
    held = Anchor(model, texts)
    sites = find_sites(other)
    streamed = {site.name: torch.zeros(site.shape) for site in sites}
    stream_gradients(sites, held.terms(other), lambda site, g: streamed[site.name].add_(g))
    weights = [site.weight.requires_grad_(True) for site in sites]
    whole = torch.autograd.grad(sum(held.terms(other)), weights)
    for site, gradient in zip(sites, whole, strict=True):
        torch.testing.assert_close(streamed[site.name], gradient, rtol=1e-3, atol=1e-6)


def test_many_predictions_are_held_in_half_precision(model, texts, monkeypatch):
    other = moved(model)
    exact = sum(float(term.detach()) for term in Anchor(model, texts).terms(other))
    monkeypatch.setattr(anchor, "EXACT", 0)
    half = Anchor(model, texts)
    assert {rows.dtype for rows in half._base} == {torch.float16}
    total = sum(float(term.detach()) for term in half.terms(other))
    assert total == pytest.approx(exact, rel=0.02)
