"""A compiled model goes on while personas change, and is compiled once."""

from __future__ import annotations

import pytest
import torch

from prosopon.runtime import PersonaModel
from tests.runtime import samples
from tests.tiny import tiny_model


def test_switching_recompiles_nothing():
    from torch._dynamo.utils import counters

    model = samples.one_layer("llama")
    ids = samples.tokens(model)
    personas = {
        name: samples.subnetwork(model, name, seed=seed, share=share, ranked=True)
        for seed, (name, share) in enumerate({"a": 0.3, "b": 0.01}.items())
    }
    torch._dynamo.reset()
    counters.clear()
    with PersonaModel(model) as attached, torch.no_grad():
        for persona in personas.values():
            attached.load_persona(persona)
        compiled = torch.compile(model.model, backend="aot_eager")
        before = compiled(ids).last_hidden_state
        made = counters["stats"]["unique_graphs"]
        assert made > 0
        for change in (
            lambda: attached.set_persona("a"),
            lambda: attached.set_persona("b"),
            lambda: attached.set_persona("a", strength=0.5),
            lambda: attached.set_persona("a", gamma=0.5),
            lambda: attached.set_blend({"a": 0.5, "b": 1}),
        ):
            change()
            seen = compiled(ids).last_hidden_state
            assert torch.allclose(seen, model.model(ids).last_hidden_state, atol=1e-5)
            assert not torch.allclose(seen, before, atol=1e-3)
        attached.disable()
        assert torch.equal(compiled(ids).last_hidden_state, before)
        assert counters["stats"]["unique_graphs"] == made
        assert not counters["recompiles"] if "recompiles" in counters else True
    torch._dynamo.reset()


@pytest.fixture
def fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("backend", ["inplace", "functional"])
def test_a_compiled_model_wears_mixed_batches_too(backend, fresh_compiler):
    """Its hooks would be left out: it gave the base for every row, and said nothing."""
    model = samples.one_layer("llama")
    ids, rows = samples.tokens(model, rows=3), ["a", None, "b"]
    compiled = torch.compile(model, backend="eager")
    with torch.no_grad():
        base = compiled(ids).logits  # compiled before anything is attached
        with PersonaModel(model, backend=backend) as attached:
            for seed, name in enumerate("ab"):
                attached.load_persona(samples.subnetwork(model, name, seed=seed, share=0.05))
            alone = {None: base}
            for name in "ab":
                with attached.persona(name):
                    alone[name] = compiled(ids).logits
                    torch.testing.assert_close(alone[name], model(ids).logits)
            with attached.mixed(rows):
                together = compiled(ids).logits
            for number, row in enumerate(rows):
                torch.testing.assert_close(together[number], alone[row][number])
            assert not torch.allclose(together[0], base[0], atol=1e-3)
            assert torch.equal(compiled(ids).logits, base)


def test_compiled_decoding_with_a_static_cache_wears_mixed_batches_too(fresh_compiler):
    from transformers import CompileConfig, GenerationConfig

    model, _ = tiny_model("llama")
    compiling = CompileConfig(backend="eager", fullgraph=False)
    compiling._compile_all_devices = True
    settings = {"max_new_tokens": 5, "do_sample": False, "pad_token_id": 0}
    compiled = GenerationConfig(**settings, cache_implementation="static", compile_config=compiling)
    ids = samples.tokens(model, rows=2)
    with PersonaModel(model) as attached:
        attached.load_persona(samples.subnetwork(model, "a", share=0.3))
        base = model.generate(ids, generation_config=compiled)
        expected = attached.generate(ids, personas=["a", None], **settings)
        found = attached.generate(ids, personas=["a", None], generation_config=compiled)
        assert torch.equal(found, expected)
        assert not torch.equal(found[0], base[0])
        assert torch.equal(found[1], base[1])
