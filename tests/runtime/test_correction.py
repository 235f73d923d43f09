"""The backend that corrects outputs, against weights that are really masked."""

from types import SimpleNamespace

import pytest
import torch

from prosopon.errors import PersonaError, SubnetworkError
from prosopon.models import find_sites
from prosopon.runtime import PersonaModel
from prosopon.runtime.membership import QUANTISED_FROM, _check_base
from prosopon.subnetwork import Compensation, Subnetwork
from tests.runtime import samples
from tests.runtime.test_backends import masked_by_hand
from tests.runtime.test_mixed import GREEDY
from tests.tiny import tiny_model

CLOSE = {"atol": 2e-4, "rtol": 1e-4}
BOTH = ("correction", "inplace")


@pytest.mark.parametrize("gamma", [0.0, 0.3])
@pytest.mark.parametrize("family", ["llama", "gpt2", "opt", "mixtral"])
def test_it_computes_what_masked_weights_compute_and_writes_none(family, gamma):
    model, _ = tiny_model(family)
    base, before, persona = samples.weights(model), samples.logits(model), samples.subnetwork(model)
    expected = samples.logits(masked_by_hand(model, persona, gamma))
    with PersonaModel(model, backend="correction") as wearer:
        wearer.load_persona(persona)
        wearer.set_persona("introvert", gamma=gamma)
        samples.assert_bits(model, base)
        torch.testing.assert_close(samples.logits(model), expected, **CLOSE)
        assert not torch.allclose(before, expected, atol=1e-2)
        wearer.disable()
        assert torch.equal(samples.logits(model), before)
    assert not any(site.module._forward_hooks for site in find_sites(model))


def test_strengths_blends_batches_and_generation_are_those_of_the_inplace_backend():
    model, _ = tiny_model("llama")
    ids = samples.tokens(model, rows=2)
    one = samples.subnetwork(model, "one", share=0.1, ranked=True)
    two = samples.subnetwork(model, "two", seed=1, share=0.2)

    @torch.no_grad()
    def results(backend):
        with PersonaModel(model, backend=backend) as wearer:
            for persona in (one, two):
                wearer.load_persona(persona)
            wearer.set_persona("one", strength=0.4)
            yield model(ids).logits
            wearer.set_blend({"one": 0.5, "two": 0.3})
            yield model(ids[:1]).logits
            wearer.set_persona("two")
            yield wearer.generate(ids, **GREEDY)
            with wearer.mixed(["one", None]):
                yield model(ids).logits
            yield model(ids).logits  # what was worn before the mixed batch
            wearer.unload_persona("two")
            yield model(ids).logits

    for ours, expected in zip(*map(list, map(results, BOTH)), strict=True):
        torch.testing.assert_close(ours, expected, **CLOSE)


def test_a_switch_that_fails_leaves_the_base():
    model, _ = tiny_model("llama")
    before = samples.logits(model)
    with PersonaModel(model, backend="correction") as wearer:
        wearer.load_persona(samples.subnetwork(model))
        wearer.set_persona("introvert")
        with pytest.raises(ZeroDivisionError), wearer.persona("introvert", gamma=0.5):
            raise ZeroDivisionError
        assert wearer.gamma == 0.0
        patch = pytest.MonkeyPatch()
        blocks = wearer._dresser.backend._blocks
        patch.setattr(blocks, "get", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            wearer.set_persona("introvert", gamma=0.2)
        patch.undo()
        assert wearer.active is None
        assert torch.equal(samples.logits(model), before)


def test_new_values_of_kept_weights_are_refused():
    model, _ = tiny_model("llama")
    mask = samples.subnetwork(model)
    values = {site.name: site.matrix() for site in find_sites(model)}
    changed = Subnetwork(mask.keep, mask.config)
    changed.compensation = Compensation.of(mask.keep, values)
    with (
        PersonaModel(model, backend="correction") as wearer,
        pytest.raises(PersonaError, match="has new values for its kept weights"),
    ):
        wearer.load_persona(changed)


def test_a_quantised_copy_says_what_it_is_of():
    config = samples.subnetwork(tiny_model("llama")[0]).config
    where = SimpleNamespace(_name_or_path=config.base_model)
    _check_base(config, where, None)
    noted = SimpleNamespace(_name_or_path="elsewhere", **{QUANTISED_FROM: config.base_model})
    _check_base(config, noted, None)
    _check_base(config, SimpleNamespace(_name_or_path="elsewhere"), config.base_model)
    for model, said in ((where, "other/model"), (SimpleNamespace(), None)):
        with pytest.raises(SubnetworkError, match=r"of (None|'other/model'); .*quantised_from="):
            _check_base(config, model, said)
