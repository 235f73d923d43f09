"""Ask a running server for many personas at once, and compare every reply with the lonely one.

python tools/load_server.py http://127.0.0.1:8000/v1 [--clients 32] [--seconds 60] [--key KEY]

First every persona and the base answer some questions, one at a time. Then clients ask the same
in any order, at the same time: a reply that is not the lonely one is a mismatch. Last, as many
clients ask for one persona alone, which the speed is compared with.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from openai import APIStatusError, AsyncOpenAI

QUESTIONS = (
    "What would you like to do on Friday afternoon?",
    "How do you decide what to buy?",
    "Tell me about your work.",
    "What do you think of meetings?",
)


@dataclass
class Load:
    """What a number of clients saw."""

    seconds: list[float] = field(default_factory=list)  # of every reply
    first: list[float] = field(default_factory=list)  # to its first piece of text
    tokens: int = 0  # that were written
    mismatches: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    duration: float = 0.0

    @property
    def speed(self) -> float:
        """Tokens a second."""
        return self.tokens / self.duration if self.duration else 0.0

    def line(self, what: str) -> str:
        """Return a row of the table."""
        if not self.seconds:
            return f"| {what} | 0 | | | | | {len(self.failures)} | |"
        cuts = [
            f"{quantile(values, share):.2f}"
            for values in (self.first, self.seconds)
            for share in (0.5, 0.99)
        ]
        counts = f"{len(self.failures)} | {len(self.mismatches)}"
        return (
            f"| {what} | {len(self.seconds)} | {self.speed:.0f} | {' | '.join(cuts)} | {counts} |"
        )


HEAD = """\
| load | replies | tokens/s | first p50 | first p99 | reply p50 | reply p99 | failed | other |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |"""

Question = tuple[str, str, int]
"""A model's id, what it is asked, and the seed."""


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which a share of the values lies; NaN of none."""
    ordered = sorted(values) or [float("nan")]
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def ask(client: AsyncOpenAI, question: Question, tokens: int, load: Load) -> str:
    """Ask one question as a stream and note the times; return the text."""
    model, text, seed = question
    begin, pieces = time.monotonic(), list[str]()
    stream = await client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": text}], seed=seed, max_tokens=tokens,
        stream=True, stream_options={"include_usage": True},
    )  # fmt: skip
    async for chunk in stream:
        if chunk.usage is not None:
            load.tokens += chunk.usage.completion_tokens
        for choice in chunk.choices:
            if choice.delta.content and not any(pieces):
                load.first.append(time.monotonic() - begin)
            pieces.append(choice.delta.content or "")
    load.seconds.append(time.monotonic() - begin)
    return "".join(pieces)


async def press(
    client: AsyncOpenAI, expected: dict[Question, str], clients: int, seconds: float, tokens: int
) -> Load:
    """Let clients ask for some seconds, each the next question when it has its reply."""
    load, begin = Load(), time.monotonic()

    async def keep_asking(number: int) -> None:
        draws, questions = random.Random(number), list(expected)
        while time.monotonic() < begin + seconds:
            question = draws.choice(questions)
            try:
                text = await ask(client, question, tokens, load)
            except APIStatusError as problem:
                load.failures.append(f"{question[0]}: {problem}")
                await asyncio.sleep(0.2)
                continue
            if text != expected[question]:
                load.mismatches.append(f"{question}: {text!r}, alone {expected[question]!r}")

    await asyncio.gather(*(keep_asking(number) for number in range(clients)))
    load.duration = time.monotonic() - begin
    return load


async def run(url: str, key: str, clients: int, seconds: float, tokens: int, seeds: int) -> int:
    """Print the table; return 1 if a reply was another or failed."""
    async with AsyncOpenAI(base_url=url, api_key=key, max_retries=0, timeout=300) as client:
        models = [model.id async for model in client.models.list()]
        questions = [(m, q, seed) for m in models for q in QUESTIONS for seed in range(seeds)]
        lonely, begin, expected = Load(), time.monotonic(), dict[Question, str]()
        for question in questions:
            expected[question] = await ask(client, question, tokens, lonely)
        lonely.duration = time.monotonic() - begin
        everybody = await press(client, expected, clients, seconds, tokens)
        single = {
            question: text for question, text in expected.items() if question[0] == models[-1]
        }
        one = await press(client, single, clients, seconds, tokens)
    print(HEAD)
    print(lonely.line("one client"))
    print(everybody.line(f"{clients} clients, {len(models)} voices"))
    print(one.line(f"{clients} clients, {models[-1]} alone"))
    print(f"\n{len(models)} voices have {everybody.speed / one.speed:.2f} of one voice's speed")
    print(f"mean reply: {statistics.fmean(map(len, expected.values())):.0f} characters")
    for wrong in [*everybody.mismatches, *one.mismatches][:5]:
        print("other:", wrong, file=sys.stderr)
    for failure in [*everybody.failures, *one.failures][:5]:
        print("failed:", failure, file=sys.stderr)
    return int(any(load.mismatches or load.failures for load in (everybody, one)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; the exit code is 1 if a reply was another or failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--key", default="none")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--tokens", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=2)
    own = parser.parse_args(arguments)
    return asyncio.run(run(own.url, own.key, own.clients, own.seconds, own.tokens, own.seeds))


if __name__ == "__main__":
    sys.exit(main())
