"""The LLM judge of the real commands: asked once over HTTP, then replayed from its file."""

import json

import pytest

from tests.judges.test_llm import running

ASK = ["evaluate", "bold", "--arm", "prompt", "--task", "free-text", "--questions", "5"]
JUDGE = ["--judge-model", "little", "--judge-cache", "verdicts.jsonl"]


def told(done):
    return json.loads(done.stdout)["tasks"]["free-text"]


def test_what_was_asked_once_is_replayed_without_an_endpoint(prosopon, monkeypatch, general):
    monkeypatch.setenv("no_proxy", "*")
    judge = [*JUDGE, "--general", general]
    with running() as server:
        server.reply = lambda asked: "FIRST"
        first = told(prosopon(*ASK, *judge, "--judge-url", server.url, "--json"))
        count = len(server.asked)
    assert count >= 64 + 5  # texts of known author, and the answers
    assert first["notes"]["judges"]["llm"] is not None
    again = told(prosopon(*ASK, *judge, "--judge-replay", "--json"))
    assert again == first
    other = prosopon(*ASK[:-1], "9", *judge, "--judge-replay", code=2)
    assert "verdicts are not in it" in other.stderr


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--judge-replay", "--judge-model", "m"], "give --judge-cache"),
        (["--judge-replay", "--judge-model", "m", "--judge-cache", "no.jsonl"], "there is no no"),
        (["--judge-replay"], "takes both"),
        (["--judge-model", "m"], "takes both"),
    ],
)
def test_half_a_judge_is_refused(prosopon, options, told):
    done = prosopon(*ASK, *options, code=2)
    assert told in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_no_judge_is_none_and_a_whole_one_is_made_of_a_contrast(tmp_path):
    from prosopon.cli.judging import llm_judge
    from prosopon.errors import OptionError

    assert llm_judge(None, None, None) is None
    assert callable(llm_judge("http://localhost:1/v1", "m", None))
    (tmp_path / "verdicts.jsonl").write_text("")
    assert callable(llm_judge(None, "m", tmp_path / "verdicts.jsonl", replay=True))
    with pytest.raises(OptionError, match="takes both"):
        llm_judge("http://localhost:1/v1", None, None)
