from __future__ import annotations

import signal
import threading

import pytest

from prosopon.runtime.interrupts import DeferredInterrupts


@pytest.fixture(autouse=True)
def handler_is_put_back():
    """Every test must leave the handler it found."""
    before = signal.getsignal(signal.SIGINT)
    yield
    after = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, before)
    assert after == before


def interrupt():
    signal.raise_signal(signal.SIGINT)


def assert_interrupted(call):
    with pytest.raises(KeyboardInterrupt) as caught:
        call()
    return caught.value


def test_waits_for_the_end():
    steps = []

    def work():
        with DeferredInterrupts():
            interrupt()
            interrupt()
            steps.append("all done")

    assert_interrupted(work)
    assert steps == ["all done"]


def test_can_be_delivered_once_before_the_end():
    with DeferredInterrupts() as interrupts:
        interrupts.deliver()
        interrupt()
        with pytest.raises(KeyboardInterrupt):
            interrupts.deliver()
        interrupts.deliver()


def test_is_still_deferred_after_a_delivery():
    steps = []

    def work():
        with DeferredInterrupts() as interrupts:
            interrupt()
            assert_interrupted(interrupts.deliver)
            interrupt()
            steps.append("all done")

    assert_interrupted(work)
    assert steps == ["all done"]


def test_keeps_the_first_error_as_context():
    def work():
        with DeferredInterrupts():
            interrupt()
            raise ValueError("first")

    assert isinstance(assert_interrupted(work).__context__, ValueError)


def test_nested_contexts_deliver_outward():
    steps = []

    def work():
        with DeferredInterrupts():
            with DeferredInterrupts():
                interrupt()
            steps.append("inner is over")

    assert_interrupted(work)
    assert steps == ["inner is over"]


@pytest.fixture
def calls():
    """Install a handler that notes calls and raises nothing."""
    noted = []
    before = signal.signal(signal.SIGINT, lambda number, frame: noted.append((number, frame)))
    yield noted
    signal.signal(signal.SIGINT, before)


def test_hands_the_signal_to_whatever_handler_there_was(calls):
    with DeferredInterrupts():
        interrupt()
        assert not calls
    ((number, frame),) = calls
    assert number == signal.SIGINT
    assert frame is not None


def test_a_handler_installed_meanwhile_stays():
    def other(number, frame):
        pass

    before = signal.getsignal(signal.SIGINT)
    with DeferredInterrupts():
        signal.signal(signal.SIGINT, other)
    assert signal.getsignal(signal.SIGINT) is other
    signal.signal(signal.SIGINT, before)


def test_leaves_an_ignored_signal_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    with DeferredInterrupts():
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        interrupt()
    signal.signal(signal.SIGINT, before)


def test_does_nothing_outside_the_main_thread():
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def run():
        with DeferredInterrupts() as interrupts:
            seen.append(signal.getsignal(signal.SIGINT))
            interrupts.deliver()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [before]
