"""A conversation with several voices at once, each with answers of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from prosopon.errors import ProsoponError
from prosopon.serving.refusal import as_refusal
from prosopon.serving.schemas import ChatBody
from prosopon.serving.voice import Voice
from prosopon.serving.work import Work

if TYPE_CHECKING:
    from prosopon.serving.service import Service

EVERY = 0.08
"""Least seconds between two states of a conversation that are shown."""

BLEND = "the blend"
"""What a seat is given instead of a persona's name, so that the blend speaks."""


class Draws(NamedTuple):
    """How answers are drawn."""

    temperature: float = 0.7
    max_tokens: int = 128
    seed: int | None = None


@dataclass
class Answer:
    """What one voice says to one question."""

    voice: Voice
    text: str = ""
    problem: str = ""  # why there is no answer, or not all of it
    is_done: bool = False
    tokens: int = 0
    seconds: float = 0.0


@dataclass
class Exchange:
    """A question and the answers to it, by seat; the base has seat 0."""

    question: str
    answers: dict[int, Answer] = field(default_factory=dict)


def seat(choice: str | None, strength: float, blend: Mapping[str, float]) -> Voice | None:
    """Return who sits where a persona or `BLEND` was chosen; None for an empty seat."""
    if choice == BLEND:
        return Voice(blend=tuple(blend.items())) if blend else None
    return Voice(choice, round(strength, 2)) if choice else None


def title(voice: Voice) -> str:
    """Return a voice in words: ``base``, ``bold``, ``bold at 0.5``, ``0.7 bold + 0.3 formal``."""
    if voice.blend:
        return " + ".join(f"{weight:g} {name}" for name, weight in voice.blend)
    if voice.name is None:
        return "base"
    return voice.name if voice.strength == 1.0 else f"{voice.name} at {voice.strength:g}"


def persona_field(voice: Voice) -> dict[str, Any] | None:
    """Return a voice as the field ``persona`` of a request; None for the base."""
    if voice.blend:
        return {"blend": dict(voice.blend)}
    if voice.name is None:
        return None
    return {"name": voice.name} | ({} if voice.strength == 1.0 else {"strength": voice.strength})


def messages(turns: Sequence[Exchange], number: int) -> list[dict[str, str]]:
    """Return what a seat reads before it answers the last turn.

    Its own earlier answers; where it has none, since it came later or failed, the base's.
    """
    read: list[dict[str, str]] = []
    for turn in turns[:-1]:
        own = [turn.answers[s].text for s in (number, 0) if s in turn.answers]
        if text := next(filter(None, own), ""):
            read += [
                {"role": "user", "content": turn.question},
                {"role": "assistant", "content": text},
            ]
    return [*read, {"role": "user", "content": turns[-1].question}]


async def ask(
    service: Service, turns: Sequence[Exchange], seats: Sequence[int], draws: Draws
) -> AsyncGenerator[None, None]:
    """Let seats answer the last turn, all at once; yields whenever there is more to show.

    Closing it cancels what is not written yet. A refusal is told in the answer it belongs to.
    """
    changed, turn = asyncio.Event(), turns[-1]
    writers = [
        asyncio.create_task(
            _write(service, turn.answers[number], messages(turns, number), draws, changed)
        )
        for number in seats
    ]
    try:
        yield
        while not all(writer.done() for writer in writers):
            await changed.wait()
            changed.clear()
            yield
            await asyncio.sleep(EVERY)
    finally:
        for writer in writers:
            writer.cancel()
        await asyncio.gather(*writers, return_exceptions=True)
        stop(turn)
    yield


def stop(turn: Exchange) -> None:
    """Note of the answers that are not done that they were stopped."""
    for answer in turn.answers.values():
        if not answer.is_done:
            answer.is_done, answer.problem = True, "Stopped."


async def _write(
    service: Service, answer: Answer, read: list[dict[str, str]], draws: Draws,
    changed: asyncio.Event,
) -> None:  # fmt: skip
    began, work, is_first = time.monotonic(), Work(), True
    try:
        body = ChatBody.model_validate(
            {"model": service.name, "messages": read, "persona": persona_field(answer.voice)}
            | draws._asdict()
        )
        await run_in_threadpool(service.chat, body, work)
        try:
            async for _, piece in work.pieces():
                if is_first:
                    service.metrics.observe_first(work)
                    is_first = False
                answer.text += piece.text
                changed.set()
        finally:
            service.metrics.observe_work(work, sum(len(row.prompt) for row in work.rows))
        answer.is_done = True
    except Exception as problem:
        answer.problem, answer.is_done = explain(problem), True
    finally:
        work.cancel()
        answer.tokens = sum(choice.tokens for choice in work.choices)
        answer.seconds = time.monotonic() - began
        changed.set()


def explain(problem: Exception) -> str:
    """Return why there is no answer, as a sentence for the page."""
    if isinstance(problem, ValidationError):
        first = problem.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}."
    refusal = as_refusal(problem)
    if refusal.status == 429:
        wait = refusal.headers.get("Retry-After", "a few")
        return f"The server is busy: {refusal.message}. Ask again in {wait} s."
    text = str(problem) if isinstance(problem, ProsoponError) else refusal.message
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"
