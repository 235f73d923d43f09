"""Servers with the faults that are known from engines: real ones, each by one cut in ours."""

from __future__ import annotations

import copy
from contextlib import contextmanager

import torch

from prosopon.errors import UnknownNameError
from prosopon.serving import engine
from prosopon.serving.access import Keys
from prosopon.serving.batch import RowBatch
from prosopon.serving.service import Service
from prosopon.serving.shelf import Shelf
from prosopon.serving.voice import Voice
from tests.serving import samples

PERSONAS = ("bold", "calm")


class BaseAsTheLast(RowBatch):
    """Rows without a persona take the last slot of adapters, where others have one."""

    def __init__(self, wearer, rows, crowded=True):
        personas = sorted({row.voice.name for row in rows if row.voice.name})
        for row in rows:
            if personas and row.voice.name is None:
                row.voice = Voice(personas[-1])
        super().__init__(wearer, rows, crowded)


class PrefixByText(RowBatch):
    """Keys and values are kept by the tokens alone, whoever wrote them."""

    kept = {}  # noqa: RUF012 - emptied with every server

    def _forward(self):
        first = not self._past and len(self.rows) == 1 and not self.rows[0].written
        if not first:
            return super()._forward()
        prefix = tuple(self.rows[0].prompt[:-1])
        if prefix not in self.kept:
            ids = torch.tensor([prefix])
            self.kept[prefix] = self._call(ids, torch.ones_like(ids), {})[1]
        self._mask = torch.ones(1, len(prefix) + 1, dtype=torch.long)
        last = torch.tensor([self.rows[0].prompt[-1:]])
        scores, self._past = self._call(last, self._mask, copy.deepcopy(self.kept[prefix]))
        return scores


def answer_unknown_as_base(self, model, persona):
    try:
        return VOICE(self, model, persona)
    except UnknownNameError:
        return Voice()


def keep_unloaded(self, name):
    """Say that it is done."""


def keep_first_mask(self, source, name=None):
    """A name keeps the mask that it had first."""
    return LOAD(self, name or source, name)


VOICE, LOAD = Service.voice, Service.load

FAULTS = {
    "none": [],
    "base-as-the-last": [(engine, "RowBatch", BaseAsTheLast)],
    "prefix-by-text": [(engine, "RowBatch", PrefixByText)],
    "unknown-as-base": [(Service, "voice", answer_unknown_as_base)],
    "keeps-unloaded": [(Service, "unload", keep_unloaded)],
    "keeps-first-mask": [(Service, "load", keep_first_mask)],
}


@contextmanager
def serving(fault, folder, monkeypatch, **settings):
    """Serve a tiny model with the personas of a folder, and a fault."""
    PrefixByText.kept.clear()
    for place, name, value in FAULTS[fault]:
        monkeypatch.setattr(place, name, value)
    attached = samples.wearer(personas=())
    keys = Keys(admins=["root"])
    with samples.running(attached, shelf=Shelf(folder), keys=keys, **settings) as live:
        yield live


def write_personas(folder):
    """Write the personas that are served."""
    model = samples.tiny_model(chat=True)[0]
    for seed, name in enumerate(PERSONAS):
        samples.mask(model, name, seed).save_pretrained(folder / name)
    return folder
