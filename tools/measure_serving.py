"""What the engines of prosopon serve do under load, and whether any reply is another's.

python -m tools.measure_serving PERSONAS load [--engines continuous,static] [--out FILE]
python -m tools.measure_serving PERSONAS churn [--requests 20000] [--out FILE]

PERSONAS is a folder with masks of the embedded model. What every persona says to every question is
worked out first, with the persona alone in the weights and one row at a time. Then servers are
started, each as a process of its own.

``load``: one client, then many ask all personas and the base, then one persona alone. ``churn``:
short requests at random times for personas, strengths, blends and answers alone, while personas are
unloaded and loaded, and one name changes between two masks. Results so far are in FILE, and the
same command goes on from there.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import torch
from openai import AsyncOpenAI
from tools.load_server import HEAD, Load, Question, press, quantile
from tools.load_server import QUESTIONS as ENDS

from prosopon.data import Message
from prosopon.files import write_json
from prosopon.lm.generation import opening_tokens
from prosopon.models import load_model
from prosopon.runtime import PersonaModel
from prosopon.serving.schemas import ChatBody
from prosopon.serving.service import Service
from prosopon.serving.shelf import Shelf
from prosopon.serving.work import Work

FORMAT_VERSION = 1
BEGINNING = (
    "We have not met before, and I would like to know you a little. Please answer as you would "
    "answer a friend, in a sentence or two, and say what you really think. "
)
QUESTIONS = tuple(BEGINNING + end for end in ENDS)
"""What is asked; long enough that a cache of prefixes has something to share."""

KEY = "measure"
GUEST = "guest"
"""A name that changes between two masks."""


class Case(NamedTuple):
    """Something that is asked again and again."""

    voice: str  # a persona's name; empty for the base
    question: str
    seed: int
    extra: str = "{}"  # fields of prosopon's own, as JSON

    def body(self, tokens: int) -> dict[str, Any]:
        """Return the body of the request."""
        model = f"embedded:{self.voice}" if self.voice else "embedded"
        turns = [{"role": "user", "content": self.question}]
        own: dict[str, Any] = json.loads(self.extra)
        return {"model": model, "messages": turns, "seed": self.seed, "max_tokens": tokens} | own

    @property
    def names(self) -> set[str]:
        """The personas that must be loaded."""
        blend = json.loads(self.extra).get("persona", {}).get("blend", {})
        return {*blend, self.voice} - {""}


@contextmanager
def alone(personas: Path) -> Iterator[Service]:
    """Yield a service that writes one row at a time, what it wears in the weights."""
    model, tokenizer = load_model("embedded", device="cpu")[:2]
    wearer = PersonaModel(model, tokenizer)
    service = Service(wearer, "embedded", Shelf(personas), rows=1, kind="static")
    service.load_all()
    service.engine.start()
    try:
        yield service
    finally:
        service.engine.close()


async def reply(service: Service, case: Case, tokens: int) -> str:
    """Return what a service answers."""
    work = Work()
    service.chat(ChatBody(**case.body(tokens)), work)
    await work.finish(work.pieces())
    return work.choices[0].text


@asynccontextmanager
async def serving(
    personas: Path, engine: str, rows: int
) -> AsyncIterator[tuple[httpx2.AsyncClient, int]]:
    """Start a server; yield a client of it that may do everything, and its process."""
    environment = os.environ | {"PROSOPON_ADMIN_KEY": KEY, "PROSOPON_API_KEY": KEY}
    command = [
        sys.executable, "-m", "prosopon", "serve", "--model", "embedded", "--personas",
        str(personas), "--port", "0", "--engine", engine, "--rows", str(rows),
    ]  # fmt: skip
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        line = await asyncio.to_thread(process.stdout.readline)
        found = re.search(r"(http://\S+)/v1", line)
        if found is None:
            raise SystemExit(f"the server did not start: {line}")
        headers = {"Authorization": f"Bearer {KEY}"}
        async with httpx2.AsyncClient(base_url=found[1], headers=headers, timeout=300) as client:
            yield client, process.pid
    finally:
        process.terminate()
        process.wait(60)


def generate_speed(personas: Path, name: str, rows: int, tokens: int) -> float:
    """Return tokens a processor second of ``model.generate``, one persona in the weights."""
    model, tokenizer = load_model("embedded", device="cpu")[:2]
    with PersonaModel(model, tokenizer) as wearer:
        wearer.load_persona(personas / name, name)
        wearer.set_persona(name)
        prompts = [opening_tokens([Message("user", question)], tokenizer) for question in QUESTIONS]
        batch = [prompts[row % len(prompts)] for row in range(rows)]
        width = max(map(len, batch))
        ids = torch.tensor([[0] * (width - len(row)) + row for row in batch])
        wearer.generate(ids, max_new_tokens=2, attention_mask=(ids != 0).long())
        written, begin, used = 0, time.monotonic(), time.process_time()
        while time.monotonic() < begin + 10:
            output = wearer.generate(
                ids, attention_mask=(ids != 0).long(), do_sample=True, max_new_tokens=tokens
            )
            written += int((output[:, width:] != 0).sum())
        return written / (time.process_time() - used)


def processor_seconds(process: int) -> float:
    """Return what a process has used of processors; of Linux."""
    fields = Path(f"/proc/{process}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def press_measured(process: int, *args: Any) -> tuple[Load, dict[str, Any]]:
    """Press, and return the figures too: others may use the processors as well."""
    begin = processor_seconds(process)
    load = await press(*args)
    used = processor_seconds(process) - begin
    return load, {
        "replies": len(load.seconds), "tokens_per_second": load.speed,
        "tokens_per_processor_second": load.tokens / used, "processor_seconds": used,
        "first_p50": quantile(load.first, 0.5), "first_p99": quantile(load.first, 0.99),
        "reply_p50": quantile(load.seconds, 0.5), "reply_p99": quantile(load.seconds, 0.99),
        "failed": len(load.failures), "mismatches": len(load.mismatches),
        "examples": [*load.failures, *load.mismatches][:5],
    }  # fmt: skip


async def measure_load(
    personas: Path, engines: Sequence[str], clients: int, seconds: float, rows: int, tokens: int
) -> dict[str, Any]:
    """Return the figures of every engine under the same load."""
    expected: dict[Question, str] = {}
    with alone(personas) as service:
        names = ["", *service.personas]
        for name in names:
            for question in QUESTIONS:
                for seed in range(2):
                    case = Case(name, question, seed)
                    model = case.body(tokens)["model"]
                    expected[model, question, seed] = await reply(service, case, tokens)
    last = f"embedded:{names[-1]}"
    single = {question: text for question, text in expected.items() if question[0] == last}
    record: dict[str, Any] = {
        "clients": clients, "seconds": seconds, "rows": rows, "tokens": tokens, "voices": names,
        "generate_tokens_per_processor_second": generate_speed(personas, names[-1], rows, tokens),
        "engines": {},
    }  # fmt: skip
    speed = record["generate_tokens_per_processor_second"]
    print(f"generate, {names[-1]}: {speed:.0f} tokens a processor second\n\n{HEAD} per CPU s |")
    for engine in engines:
        async with (
            serving(personas, engine, rows) as (own, process),
            AsyncOpenAI(
                base_url=f"{own.base_url}/v1", api_key=KEY, max_retries=0, timeout=300
            ) as client,
        ):
            parts = {
                f"{engine}: one client": (expected, 1, seconds / 4),
                f"{engine}: {len(names)} voices": (expected, clients, seconds),
                f"{engine}: {names[-1]} alone": (single, clients, seconds),
            }
            results = []
            for title, (questions, count, time_limit) in parts.items():
                load, own_figures = await press_measured(
                    process, client, questions, count, time_limit, tokens
                )
                results.append(own_figures)
                print(load.line(title), f"{own_figures['tokens_per_processor_second']:.0f}")
            health = (await own.get("/health")).json()
        everybody, one = results[1:]
        record["engines"][engine] = {
            "health": health, "one_client": results[0], "all_voices": everybody,
            "one_voice": one, "share_of_one_voice": everybody["tokens_per_processor_second"]
            / one["tokens_per_processor_second"],
        }  # fmt: skip
    return record


class Loaded:
    """What is loaded, as the one who loads and unloads knows it."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        self.sources = dict(sources)  # mask by name
        self.epochs = dict.fromkeys(sources, 0)  # odd while a name is away or changes

    def moment(self, names: set[str]) -> tuple[int, ...]:
        """Return what is the same at two moments between which nothing of names changed."""
        return tuple(self.epochs.get(name, 0) for name in sorted(names))


class Churn:
    """Short requests at random times while personas come and go."""

    def __init__(self, client: httpx2.AsyncClient, loaded: Loaded, guests: Sequence[str]) -> None:
        self.client, self.loaded, self.guests = client, loaded, guests
        self.expected: dict[tuple[Case, str], str] = {}  # by case and the guest's mask
        self.counts = {"replies": 0, "away": 0, "mismatches": 0, "lost": 0, "changes": 0}
        self.examples: list[str] = []

    async def ask(self, case: Case, tokens: int) -> None:
        """Ask once, and judge what comes."""
        before, source = self.loaded.moment(case.names), self.loaded.sources[GUEST]
        try:
            response = await self.client.post("/v1/chat/completions", json=case.body(tokens))
            text, status = response.text, response.status_code
            if status == 200:
                text = response.json()["choices"][0]["message"]["content"]
        except httpx2.HTTPError as problem:
            text, status = repr(problem), 0
        still = before == self.loaded.moment(case.names) and not any(e % 2 for e in before)
        if status == 200:
            masks = [source] if still or GUEST not in case.names else self.guests
            kind = "replies"
            if text not in {self.expected[case, mask] for mask in masks}:
                kind = "mismatches"
        else:  # a persona may be away only while somebody takes it away
            kind = "away" if status in {404, 409} and not still else "lost"
        self.counts[kind] += 1
        if kind in {"mismatches", "lost"}:
            self.examples.append(f"{case}: {status} {text!r}")

    async def change(self, draws: random.Random) -> None:
        """Unload a persona and load it again; the guest as its other mask."""
        name = draws.choice(sorted(self.loaded.sources))
        self.loaded.epochs[name] += 1
        if name == GUEST:
            other = [mask for mask in self.guests if mask != self.loaded.sources[name]]
            self.loaded.sources[name] = draws.choice(other)
        (await self.client.delete(f"/admin/personas/{name}")).raise_for_status()
        await asyncio.sleep(draws.random() * 0.2)
        await self.load(name)
        self.loaded.epochs[name] += 1
        self.counts["changes"] += 1

    async def load(self, name: str) -> None:
        """Load a persona's mask."""
        body = {"source": self.loaded.sources[name], "name": name}
        (await self.client.post("/admin/personas", json=body)).raise_for_status()

    async def run(
        self, cases: Sequence[Case], count: int, clients: int, gap: float, tokens: int, seed: int
    ) -> None:
        """Ask ``count`` times from several clients, with random times between two requests."""
        draws, left = random.Random(seed), count

        async def keep_asking() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                await asyncio.sleep(draws.expovariate(1 / gap))
                await self.ask(draws.choice(cases), tokens)

        async def keep_changing() -> None:
            while left > 0:
                await asyncio.sleep(draws.expovariate(0.5))
                await self.change(draws)

        await asyncio.gather(keep_changing(), *(keep_asking() for _ in range(clients)))


def make_cases(names: Sequence[str]) -> list[Case]:
    """Return what is asked: the base, every persona, a strength, a blend, an answer alone."""
    kinds: list[tuple[str, dict[str, Any]]] = [(name, {}) for name in ["", *names, GUEST]]
    kinds.append((names[0], {"persona": {"name": names[0], "strength": 0.5}}))
    kinds.append(("", {"persona": {"blend": {names[0]: 0.5, names[1]: 1.0}}}))
    kinds += [(name, {"activate": "answer"}) for name in (names[1], GUEST)]
    return [
        Case(name, question, seed, json.dumps(extra))
        for name, extra in kinds
        for question in QUESTIONS
        for seed in range(3)
    ]


async def expect(
    service: Service, cases: Sequence[Case], guests: Sequence[str], tokens: int
) -> dict[tuple[Case, str], str]:
    """Return what every case is answered, by the mask that the guest has."""
    expected = {}
    for case in cases:
        if case.voice == GUEST:
            for mask in guests:
                expected[case, mask] = await reply(service, case._replace(voice=mask), tokens)
        else:
            text = await reply(service, case, tokens)
            expected |= {(case, mask): text for mask in guests}
    return expected


async def measure_churn(
    personas: Path, engine: str, requests: int, clients: int, rows: int, tokens: int,
    record: dict[str, Any], save: Any,
) -> None:  # fmt: skip
    """Add requests to a record until it has so many."""
    names = Shelf(personas).sources
    guests = names[-2:]
    cases = make_cases(names[:-2])
    with alone(personas) as service:
        expected = await expect(service, cases, guests, tokens)
    async with serving(personas, engine, rows) as (client, _):
        loaded = Loaded({name: name for name in names[:-2]} | {GUEST: guests[0]})
        churn = Churn(client, loaded, guests)
        churn.expected = expected
        await churn.load(GUEST)
        while (done := record.get("requests", 0)) < requests:
            part, before, begin = min(500, requests - done), dict(churn.counts), time.monotonic()
            await churn.run(cases, part, clients, 0.05, tokens, seed=done)
            for name, count in churn.counts.items():
                record[name] = record.get(name, 0) + count - before[name]
            record["requests"] = done + part
            record["seconds"] = record.get("seconds", 0.0) + time.monotonic() - begin
            record["examples"] = [*record.get("examples", []), *churn.examples][:10]
            churn.examples.clear()
            record["health"] = (await client.get("/health")).json()
            save()
            print({name: value for name, value in record.items() if name != "health"}, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write; the exit code is 1 if a reply was another's or was lost."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("personas", type=Path)
    parser.add_argument("what", choices=("load", "churn"))
    parser.add_argument("--engines", default="continuous,static")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=None)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args(arguments)
    engines = args.engines.split(",")
    record: dict[str, Any] = {"format_version": FORMAT_VERSION}
    if args.out is not None and args.out.exists():
        record = json.loads(args.out.read_text("utf-8"))

    def save() -> None:
        if args.out is not None:
            write_json(args.out, record)

    if args.what == "load":
        record["load"] = asyncio.run(
            measure_load(
                args.personas, engines, args.clients, args.seconds, args.rows, args.tokens or 40
            )
        )
        save()
        parts = [
            engine[kind]
            for engine in record["load"]["engines"].values()
            for kind in ("one_client", "all_voices", "one_voice")
        ]
        return int(any(part["failed"] or part["mismatches"] for part in parts))
    own = record.setdefault("churn", {"engine": engines[0], "tokens": args.tokens or 6})
    asyncio.run(
        measure_churn(
            args.personas, own["engine"], args.requests, args.clients, args.rows, own["tokens"],
            own, save,
        )
    )  # fmt: skip
    return int(bool(own["mismatches"] or own["lost"]))


if __name__ == "__main__":
    sys.exit(main())
