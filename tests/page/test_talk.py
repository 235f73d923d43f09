"""Several voices in one conversation: what each reads, what is shown, and what a refusal says."""

import asyncio
import itertools
import time
from contextlib import aclosing

import pytest

from prosopon.errors import OptionError, UnknownNameError
from prosopon.page.talk import (
    BLEND,
    Answer,
    Draws,
    Exchange,
    ask,
    explain,
    messages,
    persona_field,
    seat,
    title,
)
from prosopon.serving.refusal import Refusal
from prosopon.serving.schemas import PersonaBody
from prosopon.serving.voice import Voice
from tests.serving.samples import HTTP

BASE, BOLD = Voice(), Voice("bold", 0.5)
BOTH = Voice(blend=(("bold", 0.7), ("calm", 0.3)))
DRAWS = Draws(temperature=1.0, max_tokens=12, seed=3)


def turn(question="Hi", **voices):
    return Exchange(question, {int(key[1:]): Answer(voice) for key, voice in voices.items()})


def run(service, turns, draws=DRAWS, seats=None):
    """Ask, and return what was shown on the way."""

    async def all_of_it():
        states = []
        async for _ in ask(service, turns, seats or list(turns[-1].answers), draws):
            states.append([answer.text for answer in turns[-1].answers.values()])
        return states

    return asyncio.run(all_of_it())


@pytest.mark.parametrize(
    ("voice", "words", "field"),
    [
        (BASE, "base", None),
        (Voice("bold"), "bold", {"name": "bold"}),
        (BOLD, "bold at 0.5", {"name": "bold", "strength": 0.5}),
        (BOTH, "0.7 bold + 0.3 calm", {"blend": {"bold": 0.7, "calm": 0.3}}),
    ],
)
def test_a_voice_in_words_and_in_a_request(voice, words, field):
    assert title(voice) == words
    assert persona_field(voice) == field
    if field is not None:
        assert PersonaBody(**field).voice() == voice


def test_who_sits_where():
    assert seat(None, 1.0, {}) is None
    assert seat("bold", 0.5000001, {}) == BOLD
    assert seat(BLEND, 1.0, {}) is None
    assert seat(BLEND, 0.2, {"bold": 0.7, "calm": 0.3}) == BOTH


def test_a_seat_reads_its_own_answers_else_those_of_the_base():
    first, second = turn("One", s0=BASE, s1=BOLD), turn("Two", s0=BASE, s1=BOLD, s2=BOTH)
    first.answers[0].text, first.answers[1].text = "base says", "bold says"
    read = messages([first, second], 1)
    assert [one["content"] for one in read] == ["One", "bold says", "Two"]
    assert [one["role"] for one in read] == ["user", "assistant", "user"]
    for late in (0, 2):
        assert messages([first, second], late)[1]["content"] == "base says"
    first.answers[1].text = ""  # it failed
    assert messages([first, second], 1)[1]["content"] == "base says"
    first.answers[0].text = ""
    assert messages([first, second], 1) == [{"role": "user", "content": "Two"}]


def test_all_answer_at_once_as_over_http(live, service):
    turns = [turn(s0=BASE, s1=BOLD, s2=BOTH)]
    states = run(service, turns)
    answers = turns[-1].answers
    assert states[0] == ["", "", ""]
    assert states[-1] == [answer.text for answer in answers.values()]
    for state, later in itertools.pairwise(states):
        assert all(b.startswith(a) for a, b in zip(state, later, strict=True))
    for answer in answers.values():
        assert (answer.is_done, answer.problem) == (True, "")
        body = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}
        body |= DRAWS._asdict() | {"persona": persona_field(answer.voice)}
        reply = HTTP.post(f"{live.url}/v1/chat/completions", json=body).json()
        assert reply["choices"][0]["message"]["content"] == answer.text
        assert reply["usage"]["completion_tokens"] == answer.tokens
        assert answer.seconds > 0


def test_one_seat_alone_answers_again(service):
    turns = [turn(s0=BASE, s1=BOLD)]
    run(service, turns)
    before = turns[-1].answers[0]
    text = before.text
    turns[-1].answers[1] = Answer(Voice("bold", 1.0))
    run(service, turns, seats=[1])
    assert turns[-1].answers[0] is before
    assert before.text == text
    assert turns[-1].answers[1].is_done


def test_a_refusal_is_told_in_the_answer_it_belongs_to(service):
    turns = [turn(s0=BASE, s1=Voice("gone"))]
    run(service, turns)
    base, gone = turns[-1].answers.values()
    assert base.problem == ""
    assert base.tokens
    assert gone.problem == "Unknown persona 'gone'. Choices: bold, calm, late."
    assert (gone.text, gone.is_done, gone.tokens) == ("", True, 0)


def test_a_full_queue_is_a_busy_server(service):
    turns = [turn(s0=BASE)]
    full = Refusal(429, "8 answers wait already; try again later", "full", {"Retry-After": "4"})
    service.engine.submit, submit = lambda rows: (_ for _ in ()).throw(full), service.engine.submit
    try:
        run(service, turns)
    finally:
        service.engine.submit = submit
    problem = turns[-1].answers[0].problem
    assert problem.startswith("The server is busy: 8 answers wait already")
    assert problem.endswith("Ask again in 4 s.")


def test_closing_cancels_what_is_not_written(service):
    turns = [turn(s0=BASE, s1=BOLD)]

    async def leave():
        async with aclosing(ask(service, turns, [0, 1], Draws(2.0, 400, 1))) as states:
            await anext(states)

    asyncio.run(leave())
    assert [a.problem for a in turns[-1].answers.values()] == ["Stopped.", "Stopped."]
    assert all(answer.is_done for answer in turns[-1].answers.values())
    deadline = time.monotonic() + 20
    while service.engine.running or service.engine.waiting:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_what_is_no_request_is_said_by_its_field(service):
    turns = [turn(s0=BASE)]
    run(service, turns, Draws(3.0, 12, 2**70))
    assert turns[-1].answers[0].problem.startswith("seed: ") or turns[-1].answers[
        0
    ].problem.startswith("temperature: ")


def test_a_reason_is_a_sentence():
    assert explain(OptionError("no such thing")) == "No such thing."
    assert explain(UnknownNameError("persona", "x", ["a"])) == "Unknown persona 'x'. Choices: a."
    assert explain(Refusal(504, "took too long.", "late")) == "Took too long."
    bug = explain(KeyError("a secret of a prompt"))
    assert "secret" not in bug
    assert "KeyError" in bug
