"""Real signals to a real process that does nothing but switch personas."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from prosopon.runtime import PersonaModel
from tests.processes import forked, listen
from tests.runtime import samples
from tests.tiny import tiny_model

ROUNDS = 40


def switch_for_ever(attached, channel, turn=0):
    channel.send("switching")
    while True:
        turn += 1
        if turn % 5:
            attached.set_persona("abc"[turn % 3], gamma=turn % 4 / 4)
        else:
            attached.disable()


def switch_and_check(channel, model):
    """Answer every round with "base" or "worn", the weights proved right bit for bit.

    Before the answer nothing can interrupt it, since the other side sends one signal a round.
    """
    base, where = samples.weights(model), samples.pointers(model)
    personas = {
        name: samples.subnetwork(model, name, seed=ord(name), share=share)
        for name, share in {"a": 0.3, "b": 0.01, "c": 0.5}.items()
    }
    attached = PersonaModel(model)
    for persona in personas.values():
        attached.load_persona(persona)
    channel.send("ready")
    while channel.recv() == "go":
        try:
            switch_for_ever(attached, channel)
        except KeyboardInterrupt:
            persona = personas.get(attached.active)
            samples.assert_bits(model, samples.masked(model, base, persona, attached.gamma))
            channel.send("base" if persona is None else "worn")
            attached.disable()
            samples.assert_bits(model, base)
    attached.close()
    samples.assert_bits(model, base)
    assert samples.pointers(model) == where
    channel.send("done")


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_ctrl_c_never_leaves_half_a_persona(family):
    drawn, states = random.Random(0), []
    with forked(switch_and_check, tiny_model(family)[0]) as (process, channel):
        assert listen(channel) == "ready"
        for _ in range(ROUNDS):
            channel.send("go")
            assert listen(channel) == "switching"
            time.sleep(drawn.uniform(0, 0.03))
            os.kill(process.pid, signal.SIGINT)
            states.append(listen(channel))
        channel.send("enough")
        assert listen(channel) == "done"
        process.join(60)
    assert process.exitcode == 0
    # Most of the time is spent inside of switches, so some were broken off.
    assert set(states) <= {"base", "worn"}
    assert "base" in states
