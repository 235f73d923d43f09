"""Every error of docs/troubleshooting.md is made, and reads as the page says."""

import json
import re
import shlex
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from prosopon import PersonaModel, extract
from prosopon.errors import ProsoponError
from prosopon.models import gguf
from prosopon.plugins import unload_plugin
from prosopon.serving.access import Keys
from tests.commands import run_command
from tests.docs import workshop
from tests.serving import samples
from tests.serving.samples import HTTP
from tests.serving.test_engine import held
from tests.serving.test_server import until
from tests.tiny import tiny_model

PAGE = Path(__file__).resolve().parents[2] / "docs" / "troubleshooting.md"
CASES = [block.split("\n") for block in re.findall(r"```text\n(.*?)\n```", PAGE.read_text(), re.S)]
COMMANDS = [case for case in CASES if case[0].startswith("$ ")]
STATEMENTS = [case for case in CASES if case[0].startswith(">>> ")]
REQUESTS = [case for case in CASES if case[0].startswith(("GET ", "POST "))]
EARLIER = (
    "extract --target six.jsonl --model model --criterion wanda --sequential --work-dir work "
    "--output first"
)
"""What was run before; the page's command goes on in its folder."""
KEY = {"Authorization": "Bearer mine"}


def fits(stated, printed):
    """Tell whether a line is as stated, where ``...`` stands for anything."""
    return re.fullmatch(".+?".join(map(re.escape, stated.split("..."))), printed)


def named(cases):
    return pytest.mark.parametrize("case", cases, ids=[" ".join(case[0].split()) for case in cases])


def test_every_case_is_of_a_kind_that_is_tried():
    assert len(CASES) == len(COMMANDS) + len(STATEMENTS) + len(REQUESTS) > 60
    assert all(len(case) == 2 for case in CASES)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    workshop.build(folder)
    run_command(*EARLIER.split(), cwd=folder)
    yield folder
    unload_plugin(folder / "greedy.py")


@named(COMMANDS)
def test_a_command_says_what_the_page_says(case, shop, monkeypatch):
    command, stated = case[0], case[1]
    monkeypatch.delenv("PROSOPON_API_KEY", raising=False)
    if "model.gguf" in command:
        monkeypatch.setattr(gguf, "find_spec", lambda name: None)
    if command == "$ prosopon serve":
        for name in [name for name in sys.modules if name.startswith("prosopon.serving.")]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, "fastapi", None)
    done = run_command(*shlex.split(command)[2:], cwd=shop)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    assert any(fits(stated, line) for line in lines), "\n".join(lines)
    if stated.startswith("error: "):
        assert done.returncode == (130 if "interrupted" in stated else 2)
        assert fits(stated, lines[-1])
        assert "Traceback" not in done.stderr
    else:
        assert done.returncode == 0


@named(STATEMENTS)
def test_a_statement_raises_what_the_page_says(case, shop, monkeypatch):
    monkeypatch.chdir(shop)
    model, tokenizer = tiny_model(chat=True)
    names = {"model": model, "tokenizer": tokenizer, "extract": extract}
    with PersonaModel(model, tokenizer) as persona:
        persona.set_persona(persona.load_persona("personas/bold"))
        with pytest.raises(ProsoponError) as error:
            exec(
                case[0].removeprefix(">>> "),
                names | {"persona": persona, "PersonaModel": PersonaModel},
            )
        names.clear()
    assert fits(case[1], f"{error.typename}: {error.value}")


@pytest.fixture(scope="module")
def live():
    keys, attached = Keys(["mine"]), samples.wearer(personas=("bold",))
    with samples.running(attached, keys=keys, rows=1, queue=1) as server:
        yield server


def ask(live, method, path, settings, headers):
    body = {"messages": [{"role": "user", "content": "Hi"}]} | settings
    if body.get("user") == "a body of two megabytes":
        body["user"] = "x" * (2 << 20)
    if "longer than the context" in str(body["messages"]):
        body["messages"] = [{"role": "user", "content": "x" * 600}]
    body = settings if "source" in settings else body
    return HTTP.request(method, live.url.removesuffix("/v1") + path, json=body, headers=headers)


@named(REQUESTS)
def test_a_server_answers_what_the_page_says(case, live, monkeypatch):
    method, path, *body = case[0].split(" ", 2)
    settings = json.loads(body[0]) if body else {}
    headers = {} if case[1].startswith("401") else KEY
    if not case[1].startswith("429"):
        reply = ask(live, method, path, settings, headers)
    else:
        with ThreadPoolExecutor(2) as pool, held(monkeypatch) as (entered, _):
            first = pool.submit(ask, live, method, path, settings | {"max_tokens": 1}, headers)
            assert entered.wait(20)
            second = pool.submit(ask, live, method, path, settings | {"max_tokens": 1}, headers)
            until(lambda: live.service.engine.waiting == 1)
            reply = ask(live, method, path, settings, headers)
        assert first.result().status_code == second.result().status_code == 200
        assert int(reply.headers["Retry-After"]) > 0
    assert fits(case[1], f"{reply.status_code} {reply.json()['error']['message']}")
