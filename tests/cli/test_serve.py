"""The command that serves: what it refuses, and a server in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import sys

import httpx2
import pytest

from tests.processes import forked, run_cli
from tests.serving.samples import mask
from tests.tiny import tiny_model


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--personas", "nowhere"], "nowhere: no such folder of personas"),
        (["--host", "0.0.0.0"], "set PROSOPON_API_KEY, or listen on 127.0.0.1"),
        (["--name", "a:b"], "--name 'a:b'"),
        (["--model", "./nothing"], "nothing"),
    ],
)
def test_what_is_refused_before_anything_is_served(prosopon, monkeypatch, arguments, words):
    monkeypatch.delenv("PROSOPON_API_KEY", raising=False)
    done = prosopon("serve", *arguments, code=2)
    assert words in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--engine", "vllm"], "unknown engine 'vllm'. Choices: auto, continuous, static"),
        (
            ["--engine", "continuous", "--no-mixing"],
            "rows of several voices do not stand in one batch here",
        ),
    ],
)
def test_an_engine_that_there_is_not_or_that_cannot_run_is_refused(
    prosopon, tiny_folder, arguments, words
):
    """Nothing listens: a server that was asked for by name is never another one."""
    done = prosopon(
        "serve", "--model", tiny_folder, "--device", "cpu", "--port", "0", *arguments, code=2
    )
    assert words in " ".join(done.stderr.split())
    assert "listens on" not in done.stdout


def test_what_is_not_installed_is_named(prosopon, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("prosopon.serving.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    done = prosopon("serve", code=2)
    assert "serve needs prometheus_client: pip install 'prosopon[serve]'" in done.stderr


@pytest.fixture
def started(tiny_folder, tmp_path, monkeypatch):
    """Start the command, and return the process, its address and the file of its errors."""
    personas = tmp_path / "personas"
    mask(tiny_model(chat=True)[0], "bold").save_pretrained(personas / "bold")
    (personas / "ruin").mkdir()
    (personas / "ruin" / "subnetwork_config.json").write_text("{}")
    command = (
        "serve", "--model", tiny_folder, "--name", "tiny", "--personas", personas, "--port", "0",
        "--grace", "5", "--device", "cpu",
        "--engine", "auto",
    )  # fmt: skip
    monkeypatch.setenv("PROSOPON_API_KEY", "one, two")
    monkeypatch.setenv("PROSOPON_ADMIN_KEY", "root")
    log = tmp_path / "log"
    here, there = os.pipe()
    with log.open("w") as errors, os.fdopen(here) as said:
        streams = [errors.fileno(), there, errors.fileno()]
        with forked(run_cli, command, tmp_path, streams) as (process, _):
            os.close(there)
            yield process, said.readline().split()[-1], log


def test_it_serves_until_it_is_told_to_stop(started):
    process, url, log = started
    keys = {"Authorization": "Bearer two"}
    assert httpx2.get(f"{url}/models").status_code == 401
    models = [model["id"] for model in httpx2.get(f"{url}/models", headers=keys).json()["data"]]
    assert models == ["tiny", "tiny:bold"]
    body = {"model": "tiny:bold", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5}
    replies = [
        httpx2.post(f"{url}/chat/completions", headers=keys, json=body | {"seed": 3})
        for _ in range(2)
    ]
    texts = {reply.json()["choices"][0]["message"]["content"] for reply in replies}
    assert len(texts) == 1
    os.kill(process.pid, signal.SIGTERM)
    process.join(20)
    assert process.exitcode in (0, -signal.SIGTERM)
    text = log.read_text()
    assert "skipped ruin: " in text
    assert "engine: continuous batches of any voices, at most 8 rows, prefix cache" in text
    assert "no continuous batching" not in text
    requests = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    assert [line["status"] for line in requests] == [401, 200, 200, 200]
    assert "Hi" not in text
