"""A compiled model goes on while personas change, and is compiled once."""

from __future__ import annotations

import pytest
import torch

from prosopon.runtime import PersonaModel
from tests.runtime import making
from tests.tiny import tiny_model


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_switching_recompiles_nothing(backend):
    from torch._dynamo.utils import counters

    model, _ = tiny_model("llama")
    ids = making.tokens(model)
    personas = {
        name: making.subnetwork(model, name, seed=seed, share=share, ranked=True)
        for seed, (name, share) in enumerate({"a": 0.3, "b": 0.01}.items())
    }
    torch._dynamo.reset()
    counters.clear()
    with PersonaModel(model) as attached, torch.no_grad():
        for persona in personas.values():
            attached.load_persona(persona)
        compiled = torch.compile(model.model, backend=backend)
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
