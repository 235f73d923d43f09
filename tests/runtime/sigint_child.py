"""Run by test_sigint.py: switches personas for ever and checks the weights after every Ctrl-C.

Reads a line before every round and answers "switching", and after the interrupt "base" or
"worn" for the state that it found, with the weights proved right bit for bit. Before the answer
nothing can interrupt it, since the parent sends one signal a round.
"""

from __future__ import annotations

import sys

from prosopon.runtime import PersonaModel
from tests.runtime import samples
from tests.tiny import tiny_model


def say(word):
    sys.stdout.write(word + "\n")
    sys.stdout.flush()


def switch_for_ever(attached, turn=0):
    say("switching")
    while True:
        turn += 1
        if turn % 5:
            attached.set_persona("abc"[turn % 3], gamma=turn % 4 / 4)
        else:
            attached.disable()


def main(family):
    model, _ = tiny_model(family)
    base, where = samples.weights(model), samples.pointers(model)
    shares = {"a": 0.3, "b": 0.01, "c": 0.5}
    personas = {
        name: samples.subnetwork(model, name, seed=ord(name), share=share)
        for name, share in shares.items()
    }
    attached = PersonaModel(model)
    for persona in personas.values():
        attached.load_persona(persona)
    say("ready")
    for _ in sys.stdin:
        try:
            switch_for_ever(attached)
        except KeyboardInterrupt:
            persona = personas.get(attached.active)
            samples.assert_bits(model, samples.masked(model, base, persona, attached.gamma))
            say("base" if persona is None else "worn")
            attached.disable()
            samples.assert_bits(model, base)
    attached.close()
    samples.assert_bits(model, base)
    assert samples.pointers(model) == where
    say("done")


if __name__ == "__main__":
    main(sys.argv[1])
