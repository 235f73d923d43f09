"""Strength, blends and types: against gates multiplied by hand."""

from __future__ import annotations

import pytest
import torch

from prosopon.errors import OptionError, PersonaError, UnknownNameError
from prosopon.models import find_sites
from prosopon.runtime import POLES, TYPES, PersonaModel, compose
from prosopon.runtime.looks import steps
from tests.runtime import samples
from tests.runtime.breaking import failing_write
from tests.tiny import tiny_model

SHARES = {"a": 0.3, "b": 0.01, "c": 0.4, "unranked": 0.2}


def by_hand(model, base, personas, parts):
    """Multiply the gates of (name, strength, gate) parts, weight by weight."""
    expected = dict(base)
    for site in find_sites(model):
        gates = torch.ones(site.shape, dtype=torch.float64)
        for name, strength, gate in parts:
            pruned = ~personas[name].keep[site.name]
            level = torch.zeros(site.shape)
            if personas[name].levels is not None:
                level[pruned] = personas[name].levels[site.name].float()
            gates[pruned & (level / 256 < strength)] *= gate
        weight = base[f"{site.name}.weight"]
        gates = site.oriented(gates)
        product = (weight.float() * gates.float()).to(weight.dtype)
        expected[f"{site.name}.weight"] = torch.where(gates == 1, weight, product)
    return expected


@pytest.fixture(
    scope="module",
    params=[("llama", torch.float32), ("gpt2", torch.float32), ("llama", torch.bfloat16)],
    ids=lambda param: f"{param[0]}-{param[1]}",
)
def prepared(request):
    family, dtype = request.param
    model, _ = tiny_model(family, dtype=dtype)
    personas = {
        name: samples.subnetwork(model, name, seed=seed, share=share, ranked=name != "unranked")
        for seed, (name, share) in enumerate(SHARES.items())
    }
    return model, samples.weights(model), personas


@pytest.fixture(params=["functional", "inplace"])
def worn(request, prepared):
    """Return (PersonaModel, check): check(parts) proves that the model computes with them."""
    model, base, personas = prepared
    copy, _ = tiny_model("gpt2" if "GPT2" in type(model).__name__ else "llama")
    copy = copy.to(next(model.parameters()).dtype)

    def check(*parts):
        expected = by_hand(model, base, personas, parts)
        if request.param == "inplace":
            samples.assert_bits(model, expected)
        copy.load_state_dict(expected)
        assert torch.equal(samples.logits(model), samples.logits(copy))

    with PersonaModel(model, backend=request.param) as attached:
        for persona in personas.values():
            attached.load_persona(persona)
        yield attached, check
    samples.assert_bits(model, base)


def test_the_dial(worn):
    attached, check = worn
    for name, strength, gamma in (
        ("a", 0.3, 0.0), ("a", 0.31, 0.0), ("b", 0.5, 0.25), ("a", 1.0, 0.0), ("a", 0.001, 0.0),
        ("c", 0.9, 0.3), ("c", 0.0, 0.0), ("a", 0.5, 0.0), ("unranked", 1.0, 0.5),
    ):  # fmt: skip
        attached.set_persona(name, strength=strength, gamma=gamma)
        assert (attached.active, attached.strength, attached.gamma) == (name, strength, gamma)
        check((name, strength, gamma))


def test_the_ends_of_the_dial(worn):
    attached, check = worn
    attached.set_persona("a", strength=0.0)
    check()
    attached.set_persona("a", strength=1.0)
    check(("a", 1.0, 0.0))
    assert attached.strength == 1.0
    with attached.persona("a", strength=0.5):
        check(("a", 0.5, 0.0))
    check(("a", 1.0, 0.0))


def test_blends_by_strength_and_by_gate(worn):
    attached, check = worn
    attached.set_blend({"a": 0.7, "c": 0.3})
    assert attached.active == "a 0.7 + c 0.3"
    assert attached.blend == {"a": 0.7, "c": 0.3}
    check(("a", 0.7, 0.0), ("c", 0.3, 0.0))
    attached.set_blend({"a": 0.7, "c": 0.3}, mode="gate")
    check(("a", 1.0, 1 - 0.7), ("c", 1.0, 1 - 0.3))
    attached.set_blend({"c": 0.3, "a": 0.7}, mode="gate")
    check(("a", 1.0, 1 - 0.7), ("c", 1.0, 1 - 0.3))
    attached.set_blend({"unranked": 0.6, "a": 0.5})
    check(("a", 0.5, 0.0), ("unranked", 1.0, 1 - 0.6))
    attached.set_persona("b")
    check(("b", 1.0, 0.0))
    assert attached.blend is None


def test_identities_of_blends(worn):
    attached, check = worn
    for mode in ("auto", "strength", "gate"):
        attached.set_blend({"a": 1.0}, mode=mode)
        check(("a", 1.0, 0.0))
        attached.set_blend({"a": 1, "unranked": 1}, mode=mode)
        check(("a", 1.0, 0.0), ("unranked", 1.0, 0.0))
        attached.set_blend({"a": 0.0, "b": 1.0}, mode=mode)
        check(("b", 1.0, 0.0))
        attached.set_blend({"a": 0, "unranked": 0}, mode=mode)
        check()


def test_blends_and_blocks_and_unloading(worn):
    attached, check = worn
    attached.set_blend({"a": 0.5, "b": 1.0})
    with attached.persona("c"):
        check(("c", 1.0, 0.0))
    assert attached.blend == {"a": 0.5, "b": 1.0}
    check(("a", 0.5, 0.0), ("b", 1.0, 0.0))
    attached.unload_persona("c")
    check(("a", 0.5, 0.0), ("b", 1.0, 0.0))
    attached.unload_persona("b")
    assert attached.active is None
    check()


def test_a_strength_is_the_subnetwork_of_that_strength(prepared):
    model, _, personas = prepared
    with PersonaModel(model) as attached:
        attached.load_persona(personas["c"])
        for strength in (0.0, 0.1, 0.5, 0.51, 1.0):
            attached.load_persona(personas["c"].at_strength(strength), "cut")
            attached.set_persona("c", strength=strength)
            dialled = samples.weights(model)
            attached.set_persona("cut")
            samples.assert_bits(model, dialled)
            attached.unload_persona("cut")


def test_the_dial_writes_only_the_levels_between(prepared):
    model, _, personas = prepared
    levels = torch.cat(list(personas["a"].levels.values()))
    with PersonaModel(model) as attached:
        attached.load_persona(personas["a"])
        attached.set_persona("a", strength=0.25)
        with failing_write(10**6, RuntimeError()) as calls:
            attached.set_persona("a", strength=0.5)
        assert sum(calls) == int(((levels >= 64) & (levels < 128)).sum())


def test_what_is_refused_changes_nothing(worn):
    attached, check = worn
    attached.set_persona("a", strength=0.5)
    ranking = r"'unranked' has no ranking .* strength 0.4 .*gamma=0.6.*mode='gate'"
    for error, match, call in (
        (PersonaError, ranking, lambda: attached.set_persona("unranked", strength=0.4)),
        (
            PersonaError,
            ranking,
            lambda: attached.set_blend({"a": 1, "unranked": 0.4}, mode="strength"),
        ),
        (OptionError, "strength 1.5: must lie", lambda: attached.set_persona("a", strength=1.5)),
        (OptionError, "weight of 'a': -1", lambda: attached.set_blend({"a": -1})),
        (OptionError, "weight of 'a': nan", lambda: attached.set_blend({"a": float("nan")})),
        (OptionError, "at least one", lambda: attached.set_blend({})),
        (OptionError, "auto, strength, gate", lambda: attached.set_blend({"a": 1}, mode="mean")),
        (UnknownNameError, "'d'", lambda: attached.set_blend({"a": 1, "d": 1})),
    ):
        with pytest.raises(error, match=match):
            call()
    assert (attached.active, attached.strength) == ("a", 0.5)
    check(("a", 0.5, 0.0))


def test_steps_of_the_dial():
    assert [steps(s) for s in (0.0, 1e-9, 1 / 256, 0.5, 0.5 + 1e-9, 1.0)] == [
        0,
        1,
        1,
        128,
        129,
        256,
    ]


def test_sixteen_types():
    assert len(set(TYPES)) == 16
    assert compose("INTJ") == dict.fromkeys(["introvert", "intuitive", "thinking", "judging"], 1.0)
    assert compose("esfp", weight=0.5, names={"E": "my-extravert"}) == dict.fromkeys(
        ["my-extravert", "sensing", "feeling", "perceiving"], 0.5
    )
    for kind in TYPES:
        assert list(compose(kind)) == [POLES[letter] for letter in kind]
    with pytest.raises(UnknownNameError, match="unknown type 'IXTJ'"):
        compose("IXTJ")
    with pytest.raises(OptionError, match="'X' is no letter"):
        compose("INTJ", names={"X": "x"})


def test_the_poles_of_the_types_are_bundled_opposites():
    from prosopon.data import bundled

    for one, other in zip(compose("ESTJ"), compose("INFP"), strict=True):
        assert bundled.opposite(one) == other
