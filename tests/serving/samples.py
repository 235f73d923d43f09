"""A tiny model with personas, rows for it, and a server that runs in a thread."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx2

from prosopon.runtime import PersonaModel
from prosopon.serving.access import Keys
from prosopon.serving.batch import RowBatch
from prosopon.serving.row import AnswerRow, DrawSettings, Piece
from prosopon.serving.server import Address, Server
from prosopon.serving.service import Limits, Service
from prosopon.serving.voice import Voice
from tests.runtime import samples
from tests.tiny import tiny_model

HTTP = httpx2.Client(timeout=30)
"""One client for all: to make one costs more than a request."""

VOICES = [
    Voice(),
    Voice("bold"),
    Voice("calm"),
    Voice("calm", 0.5),
    Voice(blend=(("bold", 0.5), ("calm", 1.0))),
]
PROMPTS = [[1, 40, 50, 60], [1, 70], [1, 33, 35, 37, 39, 41, 43, 45, 47], [1, 99, 98, 97]]


def wearer(family="llama", personas=("bold", "calm"), **settings):
    """Return a tiny model with light personas, ``heavy`` excepted."""
    model, tokenizer = tiny_model(family, chat=True, **settings)
    attached = PersonaModel(model, tokenizer)
    for seed, name in enumerate(personas):
        attached.load_persona(mask(model, name, seed))
    return attached


def mask(model, name, seed=0, share=None):
    share = (0.3 if name == "heavy" else 0.04) if share is None else share
    return samples.subnetwork(model, name, seed=seed, share=share, ranked=True)


def row(voice=None, prompt=(1, 40, 50), **settings):
    """Return a row and the list that its pieces go to."""
    events = []
    settings = {"max_tokens": 10} | settings
    return AnswerRow(
        voice or Voice(), list(prompt), DrawSettings(**settings), events.append
    ), events


def crowd(count=10, **settings):
    """Return rows of all voices with several prompts, temperatures and lengths."""
    rows = []
    for number in range(count):
        own = {
            "seed": number,
            "temperature": (1.0, 0.7, 0.0)[number % 3],
            "top_p": (1.0, 0.8)[number % 2],
            "max_tokens": 3 + 3 * (number % 4),
        }
        prompt = PROMPTS[number % len(PROMPTS)]
        rows.append(row(VOICES[number % len(VOICES)], prompt, **own | settings)[0])
    return rows


def alone(attached, count=10, **settings):
    """Return what every row of a crowd writes when it is the only one: the slow way."""
    rows = crowd(count, **settings)
    for one in rows:
        RowBatch(attached, [one], crowded=False).run()
    return written(rows)


def written(rows):
    return [tuple(one.written) for one in rows]


def text(events):
    """Return the text of pieces, of which the last one ends."""
    assert all(isinstance(event, Piece) for event in events), events
    assert [event.finish is None for event in events] == [True] * (len(events) - 1) + [False]
    return "".join(event.text for event in events)


@dataclass
class Live:
    """A server that answers."""

    service: Service
    server: Server
    url: str = ""
    opened: threading.Event = field(default_factory=threading.Event)

    def listening(self, url):
        self.url = url
        self.opened.set()


@contextmanager
def running(attached, *, shelf=None, keys=None, limits=None, address=None, kind="static", **engine):
    """Serve a model in a thread, and stop; afterwards the model has no owner."""
    engine |= {"kind": kind}
    service = Service(attached, "tiny", shelf, limits or Limits(max_tokens=400), **engine)
    service.load_all()
    live = Live(service, None)
    address = address or Address(port=0, grace=5.0)
    live.server = Server(service, address, keys or Keys(), live.listening)
    thread = threading.Thread(target=live.server.run)
    thread.start()
    assert live.opened.wait(120)
    try:
        yield live
    finally:
        live.server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()
        assert not service.engine.is_alive
