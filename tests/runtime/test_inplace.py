from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prosopon.errors import PersonaError
from prosopon.runtime import PersonaModel
from tests.runtime import samples
from tests.runtime.breaking import failing_write

SHARES = {"light": 0.01, "other light": 0.02, "heavy": 0.3, "other heavy": 0.4, "none": 0.0}
GAMMAS = (0.0, 0.3, 0.5, 1.0)
ERRORS = (RuntimeError("out of memory"), KeyboardInterrupt(), SystemExit(1))

DTYPES = (torch.float32, torch.bfloat16, torch.float16)


class Case:
    """A model, its weights, and personas of every density, one of only some sites.

    A plain class, so that its repr is short: Hypothesis shows what a failing test was called
    with, and its warning about a long one would come instead of the failure.
    """

    def __init__(self, family, dtype):
        self.model = samples.one_layer(family, dtype)
        self.base = samples.weights(self.model)
        self.personas = {
            name: samples.subnetwork(self.model, name, seed=seed, share=share)
            for seed, (name, share) in enumerate(SHARES.items())
        }
        some = samples.subnetwork(self.model, "mlp only", seed=9, targets=["*.mlp.*"])
        self.personas["mlp only"] = some


@pytest.fixture(scope="module", params=[(f, d) for f in ("llama", "gpt2") for d in DTYPES], ids=str)
def case(request):
    return Case(*request.param)


names = st.sampled_from([*SHARES, "mlp only"])
gammas = st.sampled_from(GAMMAS)
failures = st.tuples(st.integers(0, 20), st.sampled_from(ERRORS))
operations = st.one_of(
    st.tuples(st.just("set"), names, gammas),
    st.tuples(st.just("set"), names, gammas),
    st.tuples(st.just("disable")),
    st.tuples(st.just("reload"), names),
    st.tuples(st.just("block"), names, gammas, names, gammas),
    st.tuples(st.just("broken block"), names, gammas, names, gammas),
    st.tuples(st.just("failing set"), names, gammas, failures),
    st.tuples(st.just("failing disable"), failures),
    st.tuples(st.just("failing unload"), names, failures),
)


class Machine:
    """Applies operations and checks the weights after each one against a simple model."""

    def __init__(self, model, base, personas):
        self.model, self.base, self.personas = model, base, personas
        self.where = samples.pointers(model)
        self.attached = PersonaModel(model)
        for persona in personas.values():
            self.attached.load_persona(persona)
        self.worn = (None, 1.0)

    def check(self):
        assert (self.attached.active, self.attached.gamma) == self.worn
        persona = self.personas.get(self.worn[0])
        samples.assert_bits(
            self.model, samples.masked(self.model, self.base, persona, self.worn[1])
        )
        assert samples.pointers(self.model) == self.where

    def apply(self, kind, *arguments):
        getattr(self, kind.replace(" ", "_"))(*arguments)
        self.check()

    def set(self, name, gamma):
        self.attached.set_persona(name, gamma=gamma)
        self.worn = (name, gamma)

    def disable(self):
        self.attached.disable()
        self.worn = (None, 1.0)

    def reload(self, name):
        self.attached.unload_persona(name)
        if self.worn[0] == name:
            self.worn = (None, 1.0)
        self.check()
        self.attached.load_persona(self.personas[name])

    def block(self, name, gamma, inner, inner_gamma):
        before = self.worn
        with self.attached.persona(name, gamma=gamma):
            self.worn = (name, gamma)
            self.check()
            with self.attached.persona(inner, gamma=inner_gamma):
                self.worn = (inner, inner_gamma)
                self.check()
            self.worn = (name, gamma)
            self.check()
        self.worn = before

    def broken_block(self, name, gamma, inner, inner_gamma):
        before = self.worn

        def work():
            with self.attached.persona(name, gamma=gamma):
                self.attached.set_persona(inner, gamma=inner_gamma)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            work()
        self.worn = before

    def _failing(self, failure, call, *, done):
        """Call with a write that fails; ``done`` is what is worn if it was never reached."""
        number, error = failure
        raised = False
        with failing_write(number, error) as calls:
            try:
                call()
            except type(error):
                raised = True
        assert raised == (len(calls) > number)
        self.worn = (None, 1.0) if raised else done

    def failing_set(self, name, gamma, failure):
        self._failing(
            failure, lambda: self.attached.set_persona(name, gamma=gamma), done=(name, gamma)
        )

    def failing_disable(self, failure):
        self._failing(failure, self.attached.disable, done=(None, 1.0))

    def failing_unload(self, name, failure):
        done = (None, 1.0) if self.worn[0] == name else self.worn
        self._failing(failure, lambda: self.attached.unload_persona(name), done=done)
        self.check()
        if name not in self.attached.personas:
            self.attached.load_persona(self.personas[name])


@settings(max_examples=8, deadline=None)
@given(steps=st.lists(operations, min_size=3, max_size=12))
def test_any_sequence_of_operations_and_failures(case, steps):
    machine = Machine(case.model, case.base, case.personas)
    with machine.attached:
        for step in steps:
            machine.apply(*step)
    samples.assert_bits(case.model, case.base)


def test_a_failing_case_is_shown_and_not_the_size_of_its_repr(case):
    assert len(repr(case)) < 100


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    ("before", "after"),
    [(None, "heavy"), ("heavy", "other heavy"), ("light", "heavy"), ("heavy", None)],
)
def test_a_failure_at_every_single_write_restores_the_base(before, after, error):
    model = samples.one_layer("llama")
    base = samples.weights(model)
    with PersonaModel(model) as attached:
        for seed, (name, share) in enumerate(SHARES.items()):
            attached.load_persona(samples.subnetwork(model, name, seed=seed, share=share))
        number = 0
        while True:
            attached.set_persona(before, gamma=0.5)
            with failing_write(number, error) as calls:
                try:
                    attached.set_persona(after)
                except type(error):
                    pass
                else:
                    break
            samples.assert_bits(model, base)
            assert attached.active is None
            number += 1
        assert number == len(calls) > 5


def test_a_restore_that_fails_too_can_be_repeated():
    model = samples.one_layer("llama")
    base = samples.weights(model)
    first, second = samples.subnetwork(model), samples.subnetwork(model, "second", seed=1)
    for repeat in ("disable", "other persona", "same persona", "close"):
        with PersonaModel(model) as attached:
            attached.load_persona(first)
            attached.load_persona(second)
            attached.set_persona("introvert")
            with (
                failing_write(4, RuntimeError("device lost"), times=10),
                pytest.raises(RuntimeError),
            ):
                attached.set_persona("second")
            if repeat == "disable":
                attached.disable()
                samples.assert_bits(model, base)
            elif repeat == "other persona":
                attached.set_persona("second", gamma=0.5)
                samples.assert_bits(model, samples.masked(model, base, second, 0.5))
            elif repeat == "same persona":
                attached.set_persona("introvert")
                samples.assert_bits(model, samples.masked(model, base, first, 0.0))
        samples.assert_bits(model, base)


def test_a_disable_that_fails_can_be_repeated():
    model = samples.one_layer("llama")
    base = samples.weights(model)
    persona = samples.subnetwork(model)
    with PersonaModel(model) as attached:
        attached.load_persona(persona)
        attached.set_persona("introvert")
        with failing_write(3, RuntimeError(), times=99), pytest.raises(RuntimeError):
            attached.disable()
        attached.set_persona("introvert")
        samples.assert_bits(model, samples.masked(model, base, persona, 0.0))
    samples.assert_bits(model, base)


def test_a_close_that_fails_can_be_repeated():
    model = samples.one_layer("llama")
    base = samples.weights(model)
    attached = PersonaModel(model)
    attached.load_persona(samples.subnetwork(model))
    attached.set_persona("introvert")
    with failing_write(3, RuntimeError(), times=99), pytest.raises(RuntimeError):
        attached.close()
    with pytest.raises(PersonaError, match="belongs to another"):
        PersonaModel(model)
    attached.close()
    samples.assert_bits(model, base)


def test_only_what_differs_is_written():
    model = samples.one_layer("llama")
    one, two = samples.subnetwork(model, "one"), samples.subnetwork(model, "two", seed=1)
    differs = sum(int((one.keep[name] ^ two.keep[name]).sum()) for name in one.sites)
    with PersonaModel(model) as attached:
        attached.load_persona(one)
        attached.load_persona(two)
        for name, gamma, expected in (
            ("one", 0.0, one.pruned),
            ("one", 0.0, 0),
            ("two", 0.0, differs),
            ("two", 0.5, two.pruned),
            ("one", 0.5, differs),
            ("one", 1.0, one.pruned),
            ("two", 1.0, 0),
            (None, 0.0, 0),
        ):
            with failing_write(10**6, RuntimeError()) as calls:
                attached.set_persona(name, gamma=gamma)
            assert sum(calls) == expected, (name, gamma)


def test_the_live_parameters_are_the_same_objects():
    model = samples.one_layer("gpt2")
    before = {name: id(parameter) for name, parameter in model.named_parameters()}
    with PersonaModel(model) as attached:
        attached.load_persona(samples.subnetwork(model))
        attached.set_persona("introvert")
        assert {name: id(parameter) for name, parameter in model.named_parameters()} == before
