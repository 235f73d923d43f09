from __future__ import annotations

import math
import signal
import threading

import pytest

from prosopon.errors import OptionError, PersonaError, UnknownNameError
from prosopon.runtime import PersonaModel, inplace
from tests.runtime import samples
from tests.runtime.breaking import failing_write
from tests.tiny import tiny_model


@pytest.fixture
def model():
    return tiny_model("llama")[0]


@pytest.fixture
def personas(model):
    return {name: samples.subnetwork(model, name, seed=ord(name)) for name in "abc"}


@pytest.fixture(params=["inplace", "functional"])
def attached(request, model, personas):
    base = samples.weights(model)
    with PersonaModel(model, "the tokenizer", backend=request.param) as attached:
        for persona in personas.values():
            attached.load_persona(persona)
        yield attached
    samples.assert_bits(model, base)


def test_says_what_it_wears(attached):
    assert attached.personas == ["a", "b", "c"]
    assert (attached.active, attached.gamma) == (None, 1.0)
    assert repr(attached) == "PersonaModel(LlamaForCausalLM, base, 3 loaded)"
    attached.set_persona("b", gamma=0.25)
    assert (attached.active, attached.gamma) == ("b", 0.25)
    assert repr(attached) == "PersonaModel(LlamaForCausalLM, 'b', gamma=0.25, 3 loaded)"
    attached.set_persona(None)
    assert attached.active is None
    assert attached.tokenizer == "the tokenizer"


def test_unknown_personas_change_nothing(attached):
    attached.set_persona("a", gamma=0.5)
    for call in (
        lambda: attached.set_persona("d"),
        lambda: attached.unload_persona("d"),
        lambda: attached.config("d"),
        lambda: attached.persona("d").__enter__(),
    ):
        with pytest.raises(UnknownNameError, match=r"unknown persona 'd'.* Choices: a, b, c"):
            call()
    assert (attached.active, attached.gamma) == ("a", 0.5)


@pytest.mark.parametrize("gamma", [-0.1, 1.1, math.nan, math.inf])
def test_gamma_out_of_range_changes_nothing(attached, gamma):
    attached.set_persona("a", gamma=0.5)
    with pytest.raises(OptionError, match=r"gamma .* between 0 and 1"):
        attached.set_persona("b", gamma=gamma)
    assert (attached.active, attached.gamma) == ("a", 0.5)


def test_switching_is_the_same_by_any_way(attached):
    direct = {}
    for name in "abc":
        attached.set_persona(name)
        direct[name] = samples.logits(attached.model)
        attached.disable()
    for name in "acbcab":
        attached.set_persona(name)
        assert samples.logits(attached.model).equal(direct[name])


def test_unloading_what_is_worn_returns_to_the_base(attached):
    before = samples.logits(attached.model)
    attached.set_persona("a")
    attached.unload_persona("b")
    assert attached.active == "a"
    attached.unload_persona("a")
    assert attached.active is None
    assert attached.personas == ["c"]
    assert samples.logits(attached.model).equal(before)


def test_a_block_returns_to_what_was_worn(attached):
    attached.set_persona("a", gamma=0.5)
    before = samples.logits(attached.model)
    with attached.persona("b") as same:
        assert same is attached
        assert attached.active == "b"
        with attached.persona(None):
            assert attached.active is None
        assert attached.active == "b"
    assert (attached.active, attached.gamma) == ("a", 0.5)
    assert samples.logits(attached.model).equal(before)


def fail(attached, error):
    if error is UnknownNameError:
        attached.set_persona("d")
    raise error


def test_a_block_returns_after_an_exception(attached):
    attached.set_persona("a")
    for error in (ZeroDivisionError, KeyboardInterrupt, UnknownNameError):
        with pytest.raises(error), attached.persona("b", gamma=0.5):
            fail(attached, error)
        assert (attached.active, attached.gamma) == ("a", 0.0)


def test_a_block_returns_to_the_base_where_the_outer_persona_is_gone(attached):
    attached.set_persona("a")
    with attached.persona("b"):
        attached.unload_persona("a")
        assert attached.active == "b"
    assert attached.active is None


def test_a_block_that_is_broken_off_on_entry_returns_to_what_was_worn(model, personas):
    base = samples.weights(model)
    with PersonaModel(model) as attached:
        for persona in personas.values():
            attached.load_persona(persona)
        attached.set_persona("a", gamma=0.5)
        with failing_write(9, KeyboardInterrupt()), pytest.raises(KeyboardInterrupt):
            attached.persona("b").__enter__()
        assert (attached.active, attached.gamma) == ("a", 0.5)
        samples.assert_bits(model, samples.masked(model, base, personas["a"], 0.5))


def test_a_block_that_is_refused_leaves_the_work_of_another_thread(attached, monkeypatch):
    def another_thread_was_faster(choose):
        monkeypatch.undo()
        attached.set_persona("c")
        raise PersonaError("a switch is under way")

    monkeypatch.setattr(attached._dresser, "wear", another_thread_was_faster)
    with pytest.raises(PersonaError, match="under way"):
        attached.persona("b").__enter__()
    assert attached.active == "c"


class SlowWrite:
    """Calls ``meanwhile`` in the middle of the first switch that writes."""

    def __init__(self, monkeypatch, meanwhile, at=5):
        self.real, self.calls, self.at, self.meanwhile = inplace.write, 0, at, meanwhile
        monkeypatch.setattr(inplace, "write", self)

    def __call__(self, *arguments):
        self.calls += 1
        if self.calls == self.at:
            self.meanwhile()
        self.real(*arguments)


@pytest.fixture
def written(model, personas):
    """Return a PersonaModel whose weights must be the base's in the end."""
    base = samples.weights(model)
    with PersonaModel(model) as attached:
        for persona in personas.values():
            attached.load_persona(persona)
        yield attached
    samples.assert_bits(model, base)


def test_a_second_thread_is_refused_and_the_first_goes_on(model, personas, written, monkeypatch):
    base = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    inside, go_on = threading.Event(), threading.Event()

    def wait():
        inside.set()
        assert go_on.wait(30)

    SlowWrite(monkeypatch, wait)
    thread = threading.Thread(target=written.set_persona, args=("a",))
    thread.start()
    assert inside.wait(30)
    for call in (
        lambda: written.set_persona("b"),
        written.disable,
        written.close,
        lambda: written.unload_persona("a"),
        lambda: written.load_persona(personas["a"], "again"),
        lambda: written.persona("b").__enter__(),
    ):
        with pytest.raises(PersonaError, match="switch of personas is under way"):
            call()
    go_on.set()
    thread.join()
    assert written.active == "a"
    samples.assert_bits(model, samples.masked(model, base, personas["a"], 0.0))


def test_two_threads_that_switch_all_the_time(model, personas, written):
    base = samples.weights(model)
    outcomes = []

    def switch(names):
        done = 0
        for turn in range(60):
            try:
                written.set_persona(names[turn % len(names)], gamma=turn % 3 / 3)
                done += 1
            except PersonaError:
                pass
        outcomes.append(done)

    threads = [threading.Thread(target=switch, args=(names,)) for names in ("ab", "bca")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 2
    assert sum(outcomes) >= 60
    persona = personas[written.active]
    samples.assert_bits(model, samples.masked(model, base, persona, written.gamma))


def test_threads_of_switches_blends_and_mixed_batches_never_mix(model, personas, written):
    """Real threads: every call succeeds or is refused, and after each the weights are whole."""
    base = samples.weights(model)
    outcomes, failures = [], []

    def work(number):
        done = refused = 0
        for turn in range(40):
            name = "abc"[(number + turn) % 3]
            try:
                if turn % 4 == 0:
                    written.set_blend({name: 0.5, "a": 1.0}, mode="gate")
                elif turn % 4 == 1:
                    with written.mixed([name, None]):
                        samples.assert_bits(model, base)  # nobody switches inside of it
                else:
                    written.set_persona(name, gamma=0.5)
                done += 1
            except PersonaError:
                refused += 1
            except BaseException as error:
                failures.append(error)
                raise
        outcomes.append((done, refused))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert sum(done for done, _ in outcomes) > 20
    for name in "abc":
        written.set_persona(name)
        samples.assert_bits(model, samples.masked(model, base, personas[name], 0.0))


def interrupt():
    signal.raise_signal(signal.SIGINT)


def test_ctrl_c_in_the_middle_of_a_switch_restores_the_base(model, written, monkeypatch):
    base = samples.weights(model)
    slow = SlowWrite(monkeypatch, interrupt)
    with pytest.raises(KeyboardInterrupt):
        written.set_persona("a")
    assert written.active is None
    assert slow.calls < 2 * slow.at + 1  # broken off at the next site, not carried through
    samples.assert_bits(model, base)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_while_restoring_waits_until_it_is_done(model, written, monkeypatch):
    base = samples.weights(model)
    written.set_persona("a")

    def fail_then_interrupt():
        monkeypatch.setattr(inplace, "write", slow.real)
        SlowWrite(monkeypatch, interrupt, at=3)
        raise RuntimeError("out of memory")

    slow = SlowWrite(monkeypatch, fail_then_interrupt)
    with pytest.raises(KeyboardInterrupt) as caught:
        written.set_persona("b")
    assert isinstance(caught.value.__context__, RuntimeError)
    assert written.active is None
    samples.assert_bits(model, base)


def test_a_handler_that_only_takes_note_does_not_break_a_switch(
    model, personas, written, monkeypatch
):
    base = samples.weights(model)
    noted = []
    before = signal.signal(signal.SIGINT, lambda *_: noted.append(written.active))
    SlowWrite(monkeypatch, interrupt)
    try:
        written.set_persona("a")
    finally:
        signal.signal(signal.SIGINT, before)
    assert noted == [None]  # called between two sites, before the switch was complete
    assert written.active == "a"
    samples.assert_bits(model, samples.masked(model, base, personas["a"], 0.0))


def test_a_handler_that_switches_itself_is_refused(model, written, monkeypatch):
    base = samples.weights(model)
    before = signal.signal(signal.SIGINT, lambda *_: written.disable())
    SlowWrite(monkeypatch, interrupt)
    try:
        with pytest.raises(PersonaError, match="under way"):
            written.set_persona("a")
    finally:
        signal.signal(signal.SIGINT, before)
    samples.assert_bits(model, base)


def test_the_lock_is_free_after_every_failure(written):
    for error in (RuntimeError(), KeyboardInterrupt()):
        with failing_write(3, error), pytest.raises(type(error)):
            written.set_persona("a")
        written.set_persona("b")
        written.disable()
