"""The command that asks a server whether it keeps its personas apart: its exit codes and lines."""

from __future__ import annotations

import json

import pytest

from prosopon.cli.verify_server import _show
from prosopon.serving.conformance.results import CheckResult, ServerReport, WrongAnswer
from tests.serving.conformance import faults

FEW = ("--check", "unknown-names", "--max-tokens", "1", "--rounds", "1")


@pytest.fixture(scope="module")
def personas(tmp_path_factory):
    return faults.write_personas(tmp_path_factory.mktemp("personas"))


def test_a_good_server_passes(prosopon, personas, tiny_folder, monkeypatch):
    (personas / "ruin").mkdir(exist_ok=True)
    (personas / "ruin" / "subnetwork_config.json").write_text("{}")
    with faults.serving("none", personas, monkeypatch) as live:
        done = prosopon(
            "verify-server", f"{live.url}/v1", "--personas", personas, "--model", tiny_folder, *FEW
        )
    assert "tiny at http://127.0.0.1" in done.stdout
    assert "with bold, calm" in done.stdout
    lines = {line.split()[0]: line.split() for line in done.stdout.splitlines() if line.split()}
    assert lines["unknown-names"][-5:-1] == ["9", "0", "0", "0"]
    assert lines["local"][-5:-1] == ["12", "0", "0", "0"]
    assert done.stdout.splitlines()[-1] == "nothing leaked"
    assert "skipped ruin: " in done.stderr


def test_a_leak_is_exit_code_1_and_is_named(prosopon, personas, monkeypatch):
    ask = ("--personas", personas, "--model", "none", *FEW)
    with faults.serving("unknown-as-base", personas, monkeypatch) as live:
        report = json.loads(prosopon("verify-server", live.url, *ask, "--json", code=1).stdout)
    assert (report["base"], report["personas"], report["leaks"]) == ("tiny", ["bold", "calm"], 9)
    assert report["results"][-1]["examples"][0]["whose"] == "base"


def test_leaks_failures_and_what_was_not_made_are_shown(capsys, monkeypatch):
    leaky = CheckResult("crowd", "all at once", requests=3)
    leaky.leak(WrongAnswer("base", "Who?", "token 2", "bold", "nobody", "everybody"))
    leaky.fail(OSError("late"))
    results = [leaky, CheckResult("reloads", "x", skipped="no admin key")]
    _show(ServerReport("http://here", "tiny", ["bold"], 0.25, 0.5, results, ["a note"]))
    lines = capsys.readouterr().out.splitlines()
    assert "crowd: base answered as bold, from token 2 on: 'everybody'" in lines
    assert "    asked 'Who?', expected 'nobody'" in lines
    assert {"crowd: late", "a note"} < set(lines)
    assert any("not made: no admin key" in line for line in lines)
    assert "0.2500 nats between answers of the server, 0.5000 beside" in lines[-2]
    assert lines[-1] == "1 leaked"


def test_a_server_that_cannot_be_asked_is_exit_code_2(prosopon, personas, monkeypatch):
    def refused(url, *arguments):
        done = prosopon("verify-server", url, "--personas", personas, *arguments, code=2)
        assert done.stdout == ""
        return done.stderr

    assert "refused" in refused("http://127.0.0.1:9")
    assert "begins with http://" in refused("127.0.0.1:8000")
    assert "--name-format 'x'" in refused("http://127.0.0.1:9", "--name-format", "x")
    with faults.serving("none", personas, monkeypatch) as live:
        words = refused(live.url, "--model", "none", "--name-format", "{persona}")
        assert "unknown model 'bold'" in words
        assert "the server lists tiny, tiny:bold, tiny:calm" in words
        assert "status 401" in refused(live.url, "--model", "none", "--admin-key", "wrong")
        done = prosopon("verify-server", live.url, "--personas", live.service.name, code=2)
        assert "no such folder of personas" in done.stderr
