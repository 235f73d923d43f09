"""Making a persona beside the server: the command, the lines that are read, what is refused."""

import asyncio
import json
import shlex
from contextlib import aclosing

import pytest

from prosopon.errors import OptionError, PersonaError, ProsoponError
from prosopon.page import making
from prosopon.page.making import Maker, MakingStep, Recipe, read_step
from prosopon.progress import EVERY, PACE, ProgressLines, line_seconds
from prosopon.serving.service import Service
from tests.serving import samples


@pytest.fixture
def maker(service):
    return Maker(service, ["--model", "embedded"])


def run(maker, recipe):
    async def all_of_it():
        return [step async for step in maker.make(recipe)]

    return asyncio.run(all_of_it())


def test_the_command_is_extracts(maker, service):
    words = Recipe("my own", "ours.jsonl", "theirs.jsonl", 12, False).words()
    assert words == ["--target", "ours.jsonl", "--opposite", "theirs.jsonl", "--examples", "12"]
    assert Recipe("bold", "bold").words() == ["--target", "bold", "--examples", "64", "--fast"]
    line = maker.command(Recipe("my own", "it's.txt"))
    assert shlex.split(line) == [
        "prosopon", "extract", "--model", "embedded", "--target", "it's.txt", "--examples", "64",
        "--fast", "--output", str(service.shelf.folder / "my own"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name", ["", " x", "x ", "../x", "a/b", ".x", "x.pack", "x.", "base", "a" * 61, "a:b", "a\nb"]
)
def test_a_name_that_cannot_be_is_refused(maker, name):
    with pytest.raises(OptionError, match="is no name for a persona"):
        maker.check(Recipe(name, "bold"))


@pytest.mark.parametrize("name", ["x", "Größe", "my own-one_2.0", "a" * 60])
def test_a_name_that_can_be_passes(maker, name):
    maker.check(Recipe(name, "bold"))


def test_a_name_that_is_taken_is_refused(maker, service):
    with pytest.raises(OptionError, match="a persona 'bold' is there already"):
        maker.check(Recipe("bold", "cautious"))
    service.unload("calm")
    try:  # it is on the shelf still
        with pytest.raises(OptionError, match="'calm' is there already"):
            maker.check(Recipe("calm", "cautious"))
    finally:
        service.load("calm")


def test_one_at_a_time(maker):
    maker.current = "slow"
    with pytest.raises(PersonaError, match="'slow' is being made; wait for it, or stop it"):
        maker.check(Recipe("quick", "bold"))
    with pytest.raises(PersonaError, match="'slow' is being made"):
        run(maker, Recipe("quick", "bold"))
    assert maker.current == "slow"


def test_a_server_without_a_folder_makes_nothing():
    attached = samples.wearer()
    own = Maker(Service(attached, "tiny"), [])
    with pytest.raises(PersonaError, match="has no folder of personas"):
        own.check(Recipe("x", "bold"))
    attached.close()


def test_what_extract_refuses_is_said_in_its_words(maker, service, tmp_path):
    file = tmp_path / "ours.jsonl"
    file.write_text('{"prompt": "a", "completion": "b"}\n{"prompt": "a", oops\n')
    with pytest.raises(ProsoponError, match=r"ours\.jsonl:2: not valid JSON") as refused:
        run(maker, Recipe("mine", str(file)))
    assert not str(refused.value).startswith("error")
    assert maker.current is None
    assert not (service.shelf.folder / "mine").exists()


def test_closing_ends_the_process(maker, service):
    async def leave():
        before = asyncio.all_tasks()
        async with aclosing(maker.make(Recipe("mine", "bold"))) as steps:
            assert await anext(steps) == MakingStep("starting")
            assert maker.current == "mine"
        assert asyncio.all_tasks() == before

    asyncio.run(leave())
    assert maker.current is None
    assert not (service.shelf.folder / "mine").exists()


def test_time_goes_on_while_nothing_is_said(maker, monkeypatch):
    monkeypatch.setattr(making, "TICK", 0.01)

    async def leave():
        async with aclosing(maker.make(Recipe("mine", "bold"))) as steps:
            return [await anext(steps) for _ in range(4)]

    assert asyncio.run(leave()) == [MakingStep("starting")] * 4


def test_the_lines_of_progress_are_read():
    lines, clock = [], iter(range(100))
    report = ProgressLines(lines.append, clock=lambda: next(clock), every=0.0)
    report("calibrating on bold", 0, 4)
    report("calibrating on bold", 1, 4)
    report("round 2: growing", 3, 3)
    steps = [read_step(line) for line in lines]
    assert steps[0] == MakingStep("calibrating on bold", 0.0, "")
    assert steps[1].share == 0.25
    assert steps[1].left.endswith(" s")
    assert steps[2] == MakingStep("round 2: growing", 1.0, "")


@pytest.mark.parametrize(
    "line", ["", "read 3 examples", "error: x", "a: 1/2", json.dumps({"a": 1}), "x: 1/2 (50%) more"]
)
def test_other_lines_are_no_steps(line):
    assert read_step(line) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(None, EVERY), ("0.5", 0.5), ("0", 0.1), ("-1", 0.1), ("often", EVERY)],
)
def test_the_environment_says_how_often_lines_come(monkeypatch, text, seconds):
    monkeypatch.delenv(PACE, raising=False)
    if text is not None:
        monkeypatch.setenv(PACE, text)
    assert line_seconds() == seconds
