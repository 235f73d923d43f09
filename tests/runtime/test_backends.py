"""Every family, precision and backend against weights masked by hand."""

from __future__ import annotations

import copy

import pytest
import torch

from prosopon.models import find_sites
from prosopon.runtime import BACKENDS, PersonaModel
from prosopon.subnetwork import Subnetwork
from tests.runtime import samples
from tests.tiny import FAMILIES, tiny_model

DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def test_registry():
    assert BACKENDS.names() == ["correction", "functional", "inplace"]


def masked_by_hand(model, persona, gamma):
    other = copy.deepcopy(model)
    other.load_state_dict(samples.masked(model, samples.weights(model), persona, gamma))
    return other


@pytest.mark.parametrize("gamma", [0.0, 0.3])
@pytest.mark.parametrize("family", FAMILIES)
def test_backends_compute_what_masked_weights_compute(family, gamma):
    model, _ = tiny_model(family)
    persona = samples.subnetwork(model)
    base, expected = samples.logits(model), samples.logits(masked_by_hand(model, persona, gamma))
    assert not torch.allclose(base, expected, atol=1e-3)
    for backend in ("functional", "inplace"):
        with PersonaModel(model, backend=backend) as attached:
            attached.load_persona(persona)
            attached.set_persona("introvert", gamma=gamma)
            assert torch.equal(samples.logits(attached.model), expected), backend
            attached.disable()
            assert torch.equal(samples.logits(attached.model), base), backend


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_every_precision(family, dtype):
    model, _ = tiny_model(family, dtype=dtype)
    base, where = samples.weights(model), samples.pointers(model)
    persona = samples.subnetwork(model)
    for gamma in (0.0, 0.3, 0.77):
        results = []
        for backend in ("functional", "inplace"):
            with PersonaModel(model, backend=backend) as attached:
                attached.load_persona(persona)
                attached.set_persona("introvert", gamma=gamma)
                results.append(samples.logits(model))
                if backend == "inplace":
                    samples.assert_bits(model, samples.masked(model, base, persona, gamma))
            samples.assert_bits(model, base)
        assert torch.equal(*results)
    assert samples.pointers(model) == where


@pytest.mark.parametrize("backend", ["inplace", "functional"])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_an_empty_mask_and_an_open_gate_are_the_base(family, backend):
    model, _ = tiny_model(family)
    base, before = samples.weights(model), samples.logits(model)
    with PersonaModel(model, backend=backend) as attached:
        attached.load_persona(samples.subnetwork(model, "nothing", share=0.0))
        attached.load_persona(samples.subnetwork(model, "much", share=0.9))
        for name, gamma in (("nothing", 0.0), ("nothing", 0.5), ("much", 1.0)):
            attached.set_persona(name, gamma=gamma)
            assert (attached.active, attached.gamma) == (name, gamma)
            samples.assert_bits(model, base)
            assert torch.equal(samples.logits(model), before)


@pytest.mark.parametrize("backend", ["inplace", "functional"])
def test_everything_pruned_is_finite(backend):
    model, _ = tiny_model("llama")
    base = samples.weights(model)
    with PersonaModel(model, backend=backend) as attached:
        attached.load_persona(samples.subnetwork(model, share=1.1))
        attached.set_persona("introvert")
        assert samples.logits(model).isfinite().all()
    samples.assert_bits(model, base)


@pytest.mark.parametrize("tied", [True, False])
def test_tied_embeddings_are_untouched_and_stay_tied(tied):
    from transformers import AutoModelForCausalLM

    config = copy.deepcopy(tiny_model("llama")[0].config)
    config.tie_word_embeddings = tied
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    base = samples.weights(model)
    with PersonaModel(model) as attached:
        attached.load_persona(samples.subnetwork(model))
        attached.set_persona("introvert")
        assert (model.lm_head.weight is model.model.embed_tokens.weight) is tied
        assert torch.equal(model.lm_head.weight, base["lm_head.weight"])
    samples.assert_bits(model, base)


@pytest.mark.parametrize("backend", ["inplace", "functional"])
def test_special_values_survive(backend):
    """Zeros of both signs, and numbers too small to be normal."""
    model, _ = tiny_model("llama")
    for site in find_sites(model):
        flat = site.matrix().view(-1)
        flat[::4], flat[1::4], flat[2::8], flat[6::8] = 0.0, -0.0, 1e-40, -1e-45
    base = samples.weights(model)
    with PersonaModel(model, backend=backend) as attached:
        attached.load_persona(samples.subnetwork(model, share=0.6))
        attached.load_persona(samples.subnetwork(model, "second", seed=1, share=0.01))
        for name, gamma in (("introvert", 0.0), ("second", 0.5), ("introvert", 0.5), (None, 0.0)):
            attached.set_persona(name, gamma=gamma)
            assert samples.logits(model).isfinite().all()
    samples.assert_bits(model, base)


@pytest.mark.parametrize("backend", ["inplace", "functional"])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_generate(family, backend):
    model, tokenizer = tiny_model(family)
    persona = samples.subnetwork(model)
    inputs = tokenizer("Who are you?", return_tensors="pt")
    inputs.pop("token_type_ids", None)
    options = {"max_new_tokens": 12, "do_sample": False, "pad_token_id": 0}
    expected = masked_by_hand(model, persona, 0.0).generate(**inputs, **options)
    base = model.generate(**inputs, **options)
    with PersonaModel(model, tokenizer, backend=backend) as attached:
        attached.load_persona(persona)
        assert torch.equal(attached.generate(**inputs, **options), base)
        with attached.persona("introvert"):
            assert torch.equal(attached.generate(**inputs, **options), expected)
            assert torch.equal(attached(**inputs).logits, model(**inputs).logits)
        assert torch.equal(attached.generate(**inputs, **options), base)
    assert not torch.equal(base, expected)


def test_hooks_of_others_see_the_masked_output():
    model, _ = tiny_model("llama")
    persona = samples.subnetwork(model)
    site = find_sites(model)[0]
    seen = []
    site.module.register_forward_hook(lambda module, inputs, output: seen.append(output.clone()))
    for backend in ("functional", "inplace"):
        with PersonaModel(model, backend=backend) as attached:
            attached.load_persona(persona)
            attached.set_persona("introvert")
            samples.logits(model)
    assert torch.equal(*seen)


def test_gradients_flow_through_the_functional_backend():
    model, _ = tiny_model("llama")
    persona = samples.subnetwork(model)
    site = find_sites(model)[0]
    site.weight.requires_grad_(True)
    with PersonaModel(model, backend="functional") as attached:
        attached.load_persona(persona)
        attached.set_persona("introvert")
        attached(samples.tokens(model)).logits.sum().backward()
    pruned = ~persona.keep[site.name]
    assert not site.weight.grad[pruned].any()
    assert site.weight.grad[~pruned].any()


def test_inplace_works_on_weights_that_require_gradients():
    model, _ = tiny_model("llama")
    model.requires_grad_(True)
    base = samples.weights(model)
    with PersonaModel(model) as attached:
        attached.load_persona(samples.subnetwork(model))
        attached.set_persona("introvert")
    samples.assert_bits(model, base)


@pytest.mark.parametrize("made", [False, True])
@pytest.mark.parametrize("switched", [False, True])
def test_inference_mode(made, switched):
    """Models made, and switches made, inside and outside of inference_mode."""
    with torch.inference_mode(made):
        model, _ = tiny_model("llama")
    base = samples.weights(model)
    first, second = samples.subnetwork(model), samples.subnetwork(model, "second", seed=1)
    with PersonaModel(model) as attached:
        attached.load_persona(first)
        attached.load_persona(second)
        with torch.inference_mode(switched):
            attached.set_persona("introvert")
        attached.set_persona("second", gamma=0.5)
        samples.assert_bits(model, samples.masked(model, base, second, 0.5))
        with torch.inference_mode(switched):
            attached.set_persona("introvert", gamma=0.5)
        attached.set_persona("introvert", gamma=0.25)
        samples.assert_bits(model, samples.masked(model, base, first, 0.25))
    samples.assert_bits(model, base)


def test_a_model_cast_while_a_persona_is_worn_goes_on_and_comes_back():
    model, _ = tiny_model("llama")
    first, second = samples.subnetwork(model), samples.subnetwork(model, "second", seed=1)
    expected = samples.weights(copy.deepcopy(model).to(torch.bfloat16))
    with PersonaModel(model) as attached:
        attached.load_persona(first)
        attached.load_persona(second)
        attached.set_persona("introvert")
        model.to(torch.bfloat16)
        attached.set_persona("introvert", gamma=0.5)
        samples.assert_bits(model, samples.masked(model, expected, first, 0.5))
        attached.set_persona("second", gamma=0.3)
        samples.assert_bits(model, samples.masked(model, expected, second, 0.3))
    samples.assert_bits(model, expected)


def test_a_persona_of_some_sites_leaves_the_others_dense():
    model, _ = tiny_model("llama")
    base = samples.weights(model)
    part = samples.subnetwork(model, "part", targets=["*.mlp.*"])
    whole = samples.subnetwork(model, "whole", seed=1)
    assert isinstance(part, Subnetwork)
    for backend in ("functional", "inplace"):
        with PersonaModel(model, backend=backend) as attached:
            attached.load_persona(part)
            attached.load_persona(whole)
            for name, persona in (("part", part), ("whole", whole), ("part", part)):
                attached.set_persona(name)
                result = samples.logits(model)
                by_hand = masked_by_hand_from(model, base, persona)
                assert torch.equal(result, by_hand)
                if backend == "inplace":
                    samples.assert_bits(model, samples.masked(model, base, persona, 0.0))


def masked_by_hand_from(model, base, persona):
    other, _ = tiny_model("llama")
    other.load_state_dict(samples.masked(model, base, persona, 0.0))
    return samples.logits(other)
