"""The tool that presses a server: it passes a good one, and finds a reply that is another."""

import asyncio

import pytest
from openai import AsyncOpenAI
from tools.load_server import Load, press, quantile

from tests.serving import samples
from tools import load_server


@pytest.fixture(scope="module")
def url():
    with samples.running(samples.wearer(), queue=3, rows=2) as live:
        yield f"{live.url}/v1"


def push(url, expected, **settings):
    async def run():
        async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
            return await press(client, expected, **settings)

    return asyncio.run(run())


def test_a_good_server_passes(url, capsys, monkeypatch):
    monkeypatch.setattr(load_server, "QUESTIONS", ("Hi", "Who?"))
    few = ["--clients", "3", "--seconds", "0.3", "--tokens", "4", "--seeds", "1"]
    assert load_server.main([url, *few]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("| one client | 6 | ")
    assert lines[3].startswith("| 3 clients, 3 voices | ")
    assert lines[4].startswith("| 3 clients, tiny:calm alone | ")
    assert lines[3].endswith(" | 0 | 0 |")


def test_another_reply_and_a_failure_are_told(url):
    questions = {("tiny", "Hi", 0): "never", ("tiny:nobody", "Hi", 0): "x"}
    load = push(url, questions, clients=2, seconds=0.3, tokens=3)
    assert load.mismatches
    assert "'Hi'" in load.mismatches[0]
    assert "tiny:nobody" in load.failures[0]
    assert len(load.seconds) == len(load.mismatches)
    assert load.line("x").endswith(f" | {len(load.failures)} | {len(load.mismatches)} |")


def test_quantiles_and_an_empty_load():
    assert [quantile([3.0, 1.0, 2.0], share) for share in (0.0, 0.5, 0.99)] == [1.0, 2.0, 3.0]
    assert Load(failures=["x"]).line("none").startswith("| none | 0 |")
