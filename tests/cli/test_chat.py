"""``prosopon chat``: answers on the command line, at a terminal, and from plain text."""

import builtins
import json
import os
import pty
import select
import time

import pytest

from prosopon import models
from prosopon.cli import chat as command
from prosopon.cli.talk import Talk
from prosopon.runtime import PersonaModel
from prosopon.subnetwork import Subnetwork, write_pack
from tests.processes import forked, run_cli
from tests.runtime.samples import subnetwork
from tests.tiny import tiny_model

SHORT = ("--max-new-tokens", "4")


@pytest.fixture(scope="session")
def plain_folder(tmp_path_factory):
    """Return a folder with a tiny model that has no chat template."""
    folder = tmp_path_factory.mktemp("plain")
    for part in tiny_model("gpt2"):
        part.save_pretrained(folder)
    return folder


@pytest.fixture
def masks(tiny_folder, tmp_path):
    """Write masks of the tiny model where extract would: two of one persona, one of another."""
    model, _ = tiny_model("llama", chat=True)
    for seed, (folder, name) in enumerate(
        (("personas/introvert-contrastive-taylor", "introvert"), ("personas/bold-x", "bold"))
    ):
        mask = subnetwork(model, name, seed=seed, ranked=True)
        mask.config = mask.config.model_copy(update={"base_model": str(tiny_folder)})
        mask.save_pretrained(tmp_path / folder)
    return tmp_path


def test_the_persona_says_which_model(prosopon, masks):
    said = [
        json.loads(prosopon("chat", "-p", name, "--message", "Hi", *SHORT, "--json").stdout)
        for name in ("introvert", "personas/introvert-contrastive-taylor", "./personas/bold-x")
    ]
    assert [each["persona"] for each in said] == ["introvert", "introvert", "bold"]
    assert said[0] == said[1]


def test_a_pack_is_given_whole_or_one_of_it(prosopon, masks, tiny_folder):
    kept = {
        name: Subnetwork.from_pretrained(masks / f"personas/{folder}")
        for name, folder in (("a", "introvert-contrastive-taylor"), ("b", "bold-x"))
    }
    write_pack(masks / "x.pack", kept)
    options = ("-m", tiny_folder, "--message", "Hi", *SHORT, "--json")
    assert json.loads(prosopon("chat", "-p", "x.pack#b", *options).stdout)["persona"] == "b"
    assert json.loads(prosopon("chat", "-p", "x.pack", *options).stdout)["persona"] == "a"


def test_lines_from_a_pipe(prosopon, masks):
    lines = "Hello\n\n/base\n/persona nobody\n/persona intro\n/what\n/system Be kind.\n/help\n"
    done = prosopon("chat", "-p", "introvert", *SHORT, input=lines)
    assert ">" not in done.stdout  # prompts are for people
    assert "unknown persona 'nobody'" in done.stderr
    assert "unknown command '/what'" in done.stderr
    assert "/strength 0..1 turns the dial" in done.stderr
    quiet = prosopon("chat", "-p", "introvert", *SHORT, "-q", input="Hello\n/exit\nmore\n")
    assert quiet.stderr == ""
    assert quiet.stdout == done.stdout[: len(quiet.stdout)]


def test_plain_text_is_gone_on_from(prosopon, plain_folder):
    options = ("-m", plain_folder, "--temperature", "0", *SHORT)
    done = prosopon("chat", *options, "--prompt", "Once upon", "--json")
    assert json.loads(done.stdout)["prompt"] == "Once upon"
    piped = prosopon("chat", *options, "--prompt", "-", "--json", input="Once upon")
    assert json.loads(piped.stdout) == json.loads(done.stdout)
    talk = prosopon("chat", *options, "--message", "Once upon")
    assert "no chat template" in talk.stderr
    assert talk.stdout.strip() == json.loads(done.stdout)["continuation"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--json"], "--json needs --message"),
        (["--message", "a", "--prompt", "b"], "either --message"),
        (["-p", "nobody"], "nobody: no such folder or pack"),
        (["-p", "introvert", "--strength", "2", "--message", "a"], "between 0 and 1"),
    ],
)
def test_what_has_no_meaning(prosopon, masks, arguments, message):
    assert message in prosopon("chat", *arguments, code=2).stderr


@pytest.fixture
def talk():
    model, tokenizer = tiny_model("llama", chat=True)
    with PersonaModel(model, tokenizer) as wearer:
        wearer.load_persona(subnetwork(model, "bold"))
        talk = Talk(wearer, max_new_tokens=4)
        talk.wear("bold", 1.0)
        yield talk


def type_lines(monkeypatch, *lines):
    """Let ``input`` return lines, or raise what stands for one, and then end."""
    waiting = iter(lines)

    def read(_prompt=""):
        line = next(waiting, EOFError())
        if isinstance(line, BaseException):
            raise line
        return line

    monkeypatch.setattr(builtins, "input", read)


def test_ctrl_c_ends_the_answer_and_not_the_talk(talk, monkeypatch, capsys):
    answer = talk.wearer.chat

    def broken(messages, **options):
        pieces = answer(messages, **options)
        if messages[-1].content != "stop":
            return pieces

        def stopping():
            yield next(pieces)
            pieces.close()
            raise KeyboardInterrupt

        return stopping()

    monkeypatch.setattr(talk.wearer, "chat", broken)
    type_lines(monkeypatch, KeyboardInterrupt(), "stop", "go on", "/base")
    command.run_terminal(talk)
    assert "stopped; Ctrl-D or /exit ends the talk" in capsys.readouterr().err
    assert [turn.user for turn in talk.history["bold", 1.0]] == ["stop", "go on"]
    assert talk.wearer.active is None


def test_base_and_persona_side_by_side(talk, monkeypatch, capsys):
    type_lines(monkeypatch, "/both", "Hi", "/exit")
    command.run_terminal(talk)
    shown = capsys.readouterr().out
    assert "base" in shown
    assert "bold" in shown
    assert {key[0] for key in talk.history} == {None, "bold"}


def test_at_a_terminal(masks, monkeypatch):
    """A real terminal: status, prompts, completion, a bad byte, and an end."""
    master, slave = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    load = models.load_model
    monkeypatch.setattr(models, "load_model", lambda *a, **o: time.sleep(0.5) or load(*a, **o))
    shown = b""

    def read_until(text, limit=180):
        nonlocal shown
        start, end = len(shown), time.monotonic() + limit
        while text not in shown[start:] and time.monotonic() < end:
            if select.select([master], [], [], 1.0)[0]:
                shown += os.read(master, 65536)
        assert text in shown[start:], shown.decode(errors="replace")

    arguments = ["chat", "-p", "introvert", *SHORT]
    with forked(run_cli, arguments, masks, [slave] * 3) as (running, _):
        os.close(slave)
        read_until(b"introvert> ")
        os.write(master, b"/ba\t\n")
        read_until(b"base> ")
        os.write(master, b"\xff Hi\n")
        read_until(b"base> ")
        os.write(master, b"/persona int\t\n")
        read_until(b"introvert> ")
        os.write(master, b"/exit\n")
        running.join(60)
        os.close(master)
    assert running.exitcode == 0
    assert b"Traceback" not in shown
    assert b"loading" in shown
