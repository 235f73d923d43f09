"""Masks of fused experts: worn, mixed within a batch, and taken off to the last bit."""

import gc

import pytest
import torch

from prosopon.errors import PersonaError
from prosopon.models import find_sites
from prosopon.runtime import PersonaModel, attach
from tests.experts import expert_sites, starve
from tests.runtime import samples
from tests.runtime.breaking import failing_write
from tests.runtime.test_backends import masked_by_hand
from tests.tiny import EXPERT_FAMILIES, tiny_model

CLOSE = {"atol": 2e-4, "rtol": 1e-4}


@pytest.mark.parametrize(
    ("family", "gamma"), list(zip(EXPERT_FAMILIES, [0.0, 0.0, 0.3, 0.3], strict=True))
)
def test_backends_compute_what_masked_weights_compute(family, gamma):
    model, _ = tiny_model(family)
    base, where, before = samples.weights(model), samples.pointers(model), samples.logits(model)
    persona = samples.subnetwork(model)
    expected = samples.logits(masked_by_hand(model, persona, gamma))
    assert not torch.allclose(before, expected, atol=1e-3)
    for backend in ["functional", "inplace"]:
        with PersonaModel(model, backend=backend) as attached:
            attached.load_persona(persona)
            attached.set_persona("introvert", gamma=gamma)
            torch.testing.assert_close(samples.logits(model), expected, **CLOSE)
            if backend == "inplace":
                samples.assert_bits(model, samples.masked(model, base, persona, gamma))
        samples.assert_bits(model, base)
        assert torch.equal(samples.logits(model), before), backend
    assert samples.pointers(model) == where
    assert model.model.layers[0].mlp.experts.config is model.config


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype):
    model, _ = tiny_model("gpt_oss", dtype=dtype)
    base, persona = samples.weights(model), samples.subnetwork(model)
    with PersonaModel(model) as attached:
        attached.load_persona(persona)
        attached.set_persona("introvert", gamma=0.77)
        samples.assert_bits(model, samples.masked(model, base, persona, 0.77))
    samples.assert_bits(model, base)


@pytest.mark.parametrize("number", [0, 5, 11])
def test_a_switch_that_fails_half_way_leaves_the_base(number):
    model, _ = tiny_model("mixtral")
    base = samples.weights(model)
    targets = ["*experts*"]
    with PersonaModel(model, targets=targets) as attached:
        attached.load_persona(samples.subnetwork(model, targets=targets))
        with failing_write(number, ValueError("no")), pytest.raises(ValueError, match="no"):
            attached.set_persona("introvert")
        samples.assert_bits(model, base)
        attached.set_persona("introvert")
        with pytest.raises(ZeroDivisionError), attached.persona("introvert", gamma=0.5):
            raise ZeroDivisionError
        assert not torch.equal(model.model.layers[0].mlp.experts.down_proj,
                               base["model.layers.0.mlp.experts.down_proj"])  # fmt: skip
    samples.assert_bits(model, base)


def test_a_model_cast_while_a_persona_is_worn_goes_on_and_comes_back():
    model, _ = tiny_model("mixtral")
    base, persona = samples.weights(model), samples.subnetwork(model)
    doubled = {name: tensor.double() for name, tensor in base.items()}
    with PersonaModel(model) as attached:
        attached.load_persona(persona)
        attached.set_persona("introvert")
        model.double()
        attached.set_persona("introvert", gamma=0.5)
        samples.assert_bits(model, samples.masked(model, doubled, persona, 0.5))
    samples.assert_bits(model, doubled)


def test_one_expert_alone_can_be_worn_and_has_one_owner():
    model, _ = tiny_model("mixtral")
    base = samples.weights(model)
    persona = samples.subnetwork(model, targets=["down_proj.1"])
    assert all(name.endswith("experts.down_proj.1") for name in persona.keep)
    with attach(model, None, persona) as attached:
        assert [site.name for site in attached.sites] == list(persona.keep)
        attached.set_persona(attached.load_persona(persona))
        samples.assert_bits(model, samples.masked(model, base, persona, 0.0))
        with pytest.raises(PersonaError, match=r"down_proj\.1' .*another PersonaModel"):
            PersonaModel(model)
        with PersonaModel(model, targets=["down_proj.0"]):
            pass
    samples.assert_bits(model, base)


def test_mixed_rows_of_masks_of_experts_alone():
    model, _ = tiny_model("mixtral")
    starve(model, 2)
    ids = samples.tokens(model, rows=4, length=5)
    persona = samples.subnetwork(model, targets=["*experts*"])
    with attach(model, None, persona) as attached, torch.no_grad():
        attached.load_persona(persona)
        base = model(ids).logits
        with attached.persona("introvert"):
            worn = model(ids).logits
        refusal = pytest.raises(PersonaError, match="personas were given for 2")
        with attached.mixed(["introvert", None]), refusal:
            model(ids[:3, :4])
        with attached.mixed(["introvert", None], copies=2):
            together = model(ids).logits
        torch.testing.assert_close(together[:2], worn[:2], **CLOSE)
        torch.testing.assert_close(together[2:], base[2:], **CLOSE)
    gc.collect()
    assert not any(site.module._forward_hooks for site in expert_sites(model))


def test_a_model_with_experts_that_is_dropped_leaves_no_trace():
    model, _ = tiny_model("mixtral")
    base = samples.weights(model)
    attached = PersonaModel(model, backend="functional")
    attached.load_persona(samples.subnetwork(model))
    attached.set_persona("introvert")
    del attached
    gc.collect()
    samples.assert_bits(model, base)
    assert model.model.layers[0].mlp.experts.config is model.config
    assert not any(site.module._forward_hooks for site in find_sites(model))
