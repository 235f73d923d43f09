from __future__ import annotations

import copy
import gc
import pickle

import pytest

from prosopon.errors import ModelError, PersonaError, SiteError, UnknownNameError
from prosopon.runtime import PersonaModel
from tests.runtime import samples
from tests.tiny import tiny_model


@pytest.fixture
def model():
    return tiny_model("llama")[0]


def test_a_model_is_attached_once(model):
    with PersonaModel(model):
        with pytest.raises(PersonaError, match=r"belongs to another PersonaModel; .* close\(\) it"):
            PersonaModel(model)
        with pytest.raises(PersonaError, match="belongs to another"):
            PersonaModel(model.model)  # a part of it has the same weights
    PersonaModel(model).close()


def test_separate_sites_may_have_separate_owners(model):
    with PersonaModel(model, targets=["*.mlp.*"]), PersonaModel(model, ignore=["*.mlp.*"]):
        pass


def test_a_copy_is_another_model(model):
    with PersonaModel(model), PersonaModel(copy.deepcopy(model)):
        pickle.dumps(model)  # the attachment leaves nothing on the model


def test_a_dropped_persona_model_gives_the_weights_back(model):
    base = samples.weights(model)
    attached = PersonaModel(model)
    attached.load_persona(samples.subnetwork(model))
    attached.set_persona("introvert")
    del attached
    gc.collect()
    samples.assert_bits(model, base)
    PersonaModel(model).close()


@pytest.mark.parametrize("backend", ["inplace", "functional"])
def test_close_restores_and_forbids_everything_else(model, backend):
    base, before = samples.weights(model), samples.logits(model)
    attached = PersonaModel(model, backend=backend)
    attached.load_persona(samples.subnetwork(model))
    attached.set_persona("introvert")
    attached.close()
    attached.close()
    samples.assert_bits(model, base)
    assert samples.logits(model).equal(before)
    assert not any(module._forward_hooks for module in model.modules())
    assert attached.active is None
    for call in (
        attached.disable,
        lambda: attached.set_persona("introvert"),
        lambda: attached.load_persona(samples.subnetwork(model)),
        lambda: attached.unload_persona("introvert"),
        lambda: attached.persona("introvert").__enter__(),
    ):
        with pytest.raises(PersonaError, match="closed; attach a new one"):
            call()


def test_closing_inside_a_persona_block_is_allowed(model):
    base = samples.weights(model)
    attached = PersonaModel(model)
    attached.load_persona(samples.subnetwork(model))
    with attached.persona("introvert"):
        attached.close()
    samples.assert_bits(model, base)


def test_a_refused_model_is_not_left_attached(model):
    weight = model.model.layers[1].mlp.up_proj.weight
    kept = weight.detach().clone()
    weight.data[0, 0] = float("nan")
    with pytest.raises(ModelError, match=r"layers\.1\.mlp\.up_proj"):
        PersonaModel(model)
    weight.data.copy_(kept)
    with pytest.raises(UnknownNameError, match="Choices: correction, functional, inplace"):
        PersonaModel(model, backend="magic")
    with pytest.raises(SiteError):
        PersonaModel(model, targets=["nothing"])
    PersonaModel(model).close()
