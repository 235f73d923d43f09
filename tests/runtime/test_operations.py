"""A thousand random operations, some of which fail half-way: the base always comes back."""

from __future__ import annotations

import random

import pytest
import torch

from prosopon.errors import PersonaError
from prosopon.runtime import PersonaModel
from tests.runtime import samples
from tests.runtime.breaking import failing_write
from tests.runtime.test_dial import by_hand
from tests.tiny import tiny_model

SHARES = {"a": 0.3, "b": 0.01, "c": 0.4, "d": 0.005, "unranked": 0.02}
OPERATIONS = 300
ERRORS = (RuntimeError, KeyboardInterrupt, MemoryError)


MODELS = {
    "llama-float32": lambda: samples.one_layer("llama", torch.float32),
    "tied-bfloat16": lambda: samples.one_layer("llama", torch.bfloat16, tied=True),
    "llama-float16": lambda: samples.one_layer("llama", torch.float16),
    "gpt2-float32": lambda: samples.one_layer("gpt2", torch.float32),
    "gpt2-bfloat16": lambda: samples.one_layer("gpt2", torch.bfloat16),
}


class Walk:
    """Random operations on a PersonaModel, and what must be worn after each."""

    def __init__(self, model, seed):
        self.model, self.random = model, random.Random(seed)
        self.base, self.where = samples.weights(model), samples.pointers(model)
        self.personas = {
            name: samples.subnetwork(
                model, name, seed=number, share=share, ranked=name != "unranked"
            )
            for number, (name, share) in enumerate(SHARES.items())
        }
        # Room for a few patches only, so that many are worked out again and some never kept.
        self.attached = PersonaModel(model)
        self.attached._dresser.backend._cache.limit = 30_000
        self.parts, self.names, self.failed = (), (), 0

    def step(self):
        kind = self.random.choice(["load", "unload", "set", "set", "dial", "blend", "mixed", "off"])
        getattr(self, kind)()

    def broken(self, call, parts=(), names=()):
        """Carry a switch out, sometimes with a write that fails half-way; tell whether one did."""
        number, error = self.random.randrange(8), self.random.choice(ERRORS)
        if self.random.random() < 0.5:
            number = 10**6
        try:
            with failing_write(number, error("injected")):
                call()
        except ERRORS:
            self.failed += 1
            self.parts, self.names = (), ()
            return True
        self.parts, self.names = parts, names
        return False

    def pick(self):
        loaded = self.attached.personas
        return self.random.choice(loaded) if loaded else None

    def load(self):
        name = self.random.choice(list(SHARES))
        if name not in self.attached.personas:
            self.attached.load_persona(self.personas[name])

    def unload(self):
        name = self.pick()
        if name is None or self.random.random() < 0.5:
            return
        worn = name in self.names
        kept = (self.parts, self.names)
        call = lambda: self.attached.unload_persona(name)  # noqa: E731
        self.broken(call) if worn else call()
        self.parts, self.names = ((), ()) if worn else kept

    def set(self):
        name, gamma = self.pick(), self.random.choice([0.0, 0.0, 0.3, 1.0])
        if name is not None:
            call = lambda: self.attached.set_persona(name, gamma=gamma)  # noqa: E731
            self.broken(call, ((name, 1.0, gamma),), (name,))

    def dial(self):
        name, strength = self.pick(), self.random.choice([0.0, 0.2, 0.7, 1.0])
        if name not in (None, "unranked"):
            call = lambda: self.attached.set_persona(name, strength=strength)  # noqa: E731
            self.broken(call, ((name, strength, 0.0),), (name,))

    def blend(self):
        names = [name for name in self.attached.personas if self.random.random() < 0.5]
        if not names:
            return
        weights = {name: self.random.choice([0.25, 0.7, 1.0]) for name in names}
        parts = [
            (name, 1.0, 1.0 - weight) if name == "unranked" else (name, weight, 0.0)
            for name, weight in weights.items()
        ]
        self.broken(lambda: self.attached.set_blend(weights), sorted(parts), names)

    def mixed(self):
        """Enter a mixed batch; the base is there meanwhile, and what was worn afterwards."""
        rows, before, entered = [None, self.pick()], (self.parts, self.names), []

        def enter():
            with self.attached.mixed(rows):
                samples.assert_bits(self.model, self.base)
                entered.append(True)

        if self.broken(enter, *before) and not entered:
            self.parts, self.names = before  # a block that is not entered changes nothing

    def off(self):
        self.broken(self.attached.disable)

    def check(self):
        if self.attached.active is None:
            samples.assert_bits(self.model, self.base)
        assert (self.attached.active is None) == (not self.names)
        samples.assert_bits(self.model, by_hand(self.model, self.base, self.personas, self.parts))
        assert samples.pointers(self.model) == self.where


@pytest.mark.parametrize("kind", MODELS)
def test_a_thousand_random_operations(kind):
    walk = Walk(MODELS[kind](), seed=list(MODELS).index(kind))
    for number in range(OPERATIONS):
        walk.step()
        if number % 8 == 0:
            walk.check()
    assert walk.failed > 30
    walk.attached.disable()
    samples.assert_bits(walk.model, walk.base)
    walk.attached.close()
    samples.assert_bits(walk.model, walk.base)


def test_the_base_may_change_while_nothing_is_worn():
    """Weights merged or trained since loading are not overwritten by what was there before."""
    model, _ = tiny_model("llama")
    personas = {
        name: samples.subnetwork(model, name, seed=seed, share=share)
        for seed, (name, share) in enumerate({"light": 0.01, "heavy": 0.3}.items())
    }
    with PersonaModel(model) as attached:
        for persona in personas.values():
            attached.load_persona(persona)
        for name in ("light", "heavy", "light"):
            attached.set_persona(name)
            attached.disable()
            for parameter in model.parameters():
                parameter.data.mul_(1.5)  # as PEFT merges: unseen by autograd's counters
            base = samples.weights(model)
            attached.set_persona(name)
            samples.assert_bits(model, samples.masked(model, base, personas[name], 0.0))
            other = "heavy" if name == "light" else "light"
            attached.set_persona(other)
            samples.assert_bits(model, samples.masked(model, base, personas[other], 0.0))
            attached.disable()
            samples.assert_bits(model, base)


def test_a_failure_after_the_base_changed_does_not_bring_old_weights_back():
    model, _ = tiny_model("llama")
    heavy, light = (
        samples.subnetwork(model, "heavy"),
        samples.subnetwork(model, "light", share=0.01),
    )
    with PersonaModel(model) as attached:
        attached.load_persona(heavy)
        attached.load_persona(light)
        for parameter in model.parameters():
            parameter.data.mul_(0.7)
        base = samples.weights(model)
        for number in range(0, 14, 3):
            with failing_write(number, RuntimeError()), pytest.raises(RuntimeError):
                attached.set_persona("light")
            samples.assert_bits(model, base)


def test_autograd_hears_of_a_switch():
    model, _ = tiny_model("llama")
    model.requires_grad_(True)
    with PersonaModel(model) as attached:
        attached.load_persona(samples.subnetwork(model))
        loss = model(samples.tokens(model)).logits.sum()
        attached.set_persona("introvert")
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()


def test_light_personas_need_one_patch_each():
    model, _ = tiny_model("llama")
    names = [f"light {number}" for number in range(6)]
    with PersonaModel(model) as attached:
        for seed, name in enumerate(names):
            attached.load_persona(samples.subnetwork(model, name, seed=seed, share=0.01))
        for one in names:
            for other in names:
                attached.set_persona(one)
                attached.set_persona(other)
        assert len(attached._dresser.backend._cache) == len(names)  # there and back


def test_originals_are_shared_and_forgotten():
    model, _ = tiny_model("llama")
    heavy = samples.subnetwork(model, "one", share=0.5)
    with PersonaModel(model) as attached:
        attached.load_persona(heavy)
        kept = sum(len(each) for each in attached._dresser.backend._originals)
        assert kept == heavy.pruned
        attached.load_persona(heavy, "again")
        attached.load_persona(samples.subnetwork(model, "light", seed=1, share=0.01))
        attached.set_persona("light")
        attached.unload_persona("one")
        attached.unload_persona("again")
        light = attached._dresser.backend._personas["light"]
        kept = sum(len(each) for each in attached._dresser.backend._originals)
        assert kept == sum(len(mask.positions) for mask in light.values())
        with pytest.raises(PersonaError, match="loaded already"):
            attached.load_persona(heavy, "light")
