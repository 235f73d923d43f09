"""A tiny model with questions and masks for the tests of this folder."""

from __future__ import annotations

from prosopon.analysis.probe import Probe, ProbeAxis
from prosopon.data import Message
from prosopon.data.questions import ChoiceItem
from prosopon.lm import sample_general
from tests.tiny import tiny_model


def axis(name="energy", target="extravert", opposite="introvert", count=6):
    items = tuple(
        ChoiceItem((Message("user", f"{name} {i}?"),), f"a party {i}", f"my book {i * i}")
        for i in range(count)
    )
    return ProbeAxis(name, target, opposite, items)


def probe(seed=0):
    model, tokenizer = tiny_model("llama", seed=seed, chat=True)
    return Probe(model, tokenizer, sample_general(model, tokenizer, count=4, length=24))
