"""The LLM judge against a real HTTP server that judges by a word."""

import json
import re
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from prosopon.errors import DataError, JudgeError, OptionError
from prosopon.judges import LLMJudge, measure_accuracy

TARGET, OPPOSITE = "Loves parties and crowds.", "Loves books and silence."


def word(told):
    """Say whose the answer is by the description that names what it names."""
    answer = re.search(r"<answer>\n(.*)\n</answer>", told, re.DOTALL)[1]
    loved = next((w for w in ("parties", "books") if w in answer), None)
    first = re.search(r"FIRST person: (.*)", told)[1]
    return "NEITHER" if loved is None else "FIRST" if loved in first else "SECOND"


class Server(ThreadingHTTPServer):
    """Counts and keeps what it is asked; ``script`` answers first: (status, body or None)."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.asked, self.headers, self.script = [], [], []
        self.reply, self.pause, self.now, self.most = word, 0.0, 0, 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.asked.append(body)
            server.headers.append(dict(self.headers))
            scripted = server.script.pop(0) if server.script else (200, None)
            server.now += 1
            server.most = max(server.most, server.now)
        time.sleep(server.pause)
        with server.lock:
            server.now -= 1
        status, content = scripted
        if content is None:
            said = server.reply(body["messages"][-1]["content"])
            content = json.dumps({"choices": [{"message": {"content": said}}]})
        self.send_response(status if self.path == "/v1/chat/completions" else 404)
        self.send_header("Content-Length", str(len(content.encode())))
        self.send_header("Location", "/elsewhere") if 300 <= status < 400 else None
        self.end_headers()
        self.wfile.write(content.encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("PROSOPON_JUDGE_KEY", raising=False)
    with running() as started:
        yield started


@contextmanager
def running():
    with Server() as started:
        thread = threading.Thread(target=started.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield started
        finally:
            started.shutdown()
            thread.join()


def judge(server, **more):
    settings = {"target": TARGET, "opposite": OPPOSITE, "backoff": 0.01, "timeout": 10}
    return LLMJudge(server.url, "little", **settings | more)


TEXTS = ["I like parties.", "I like books.", "I like tea.", "Many parties", "My books"]
VERDICTS = ["target", "opposite", "neither", "target", "opposite"]


def test_verdicts_in_order_and_what_is_sent(server, monkeypatch):
    monkeypatch.setenv("PROSOPON_JUDGE_KEY", "sesame")
    prompts = [f"What do you like, number {n}?" for n in range(5)]
    found = judge(server)
    assert found.name == "llm"
    assert found.accuracy is None
    assert found.verdicts(TEXTS, prompts) == VERDICTS
    assert len(server.asked) == 5
    assert {headers["Authorization"] for headers in server.headers} == {"Bearer sesame"}
    body = next(b for b in server.asked if "number 3" in b["messages"][-1]["content"])
    assert (body["model"], body["temperature"]) == ("little", 0)
    told = body["messages"][-1]["content"]
    assert all(part in told for part in (TARGET, OPPOSITE, "Many parties"))


def test_no_key_no_header(server):
    judge(server).verdicts(TEXTS[:1])
    assert "Authorization" not in server.headers[0]


def test_both_sides_come_first_and_exchanging_them_exchanges_the_verdicts(server):
    texts = [f"{n} parties" for n in range(20)]
    server.reply = lambda told: "FIRST"  # likes a place, and reads nothing
    said = judge(server).verdicts(texts)
    assert {"target", "opposite"} == set(said)
    other = judge(server, target=OPPOSITE, opposite=TARGET).verdicts(texts)
    exchange = {"target": "opposite", "opposite": "target"}
    assert other == [exchange[verdict] for verdict in said]


def test_blank_texts_and_repeated_ones_cost_nothing(server):
    assert judge(server).verdicts(["", " \n", TEXTS[0], TEXTS[0]]) == [
        "neither", "neither", "target", "target",
    ]  # fmt: skip
    assert len(server.asked) == 1
    assert judge(server).verdicts([]) == []


def test_busy_then_ready(server):
    server.script = [(429, "slow down"), (503, "starting")]
    assert judge(server).verdicts(TEXTS[:1]) == ["target"]
    assert len(server.asked) == 3


def test_busy_for_good_says_so(server):
    server.script = [(500, "out of memory")] * 3
    with pytest.raises(JudgeError, match=r"asked 3 times; status 500: 'out of memory'"):
        judge(server, retries=2).verdicts(TEXTS[:1])


def test_no_answer_in_time(server):
    server.pause = 0.5
    with pytest.raises(JudgeError, match=r"asked 2 times; no answer in time"):
        judge(server, timeout=0.05, retries=1).verdicts(TEXTS[:1])


@pytest.mark.parametrize("status", [302, 401, 404])
def test_a_refusal_is_not_asked_again(server, status, monkeypatch):
    monkeypatch.setenv("PROSOPON_JUDGE_KEY", "sesame")
    server.script = [(status, "go away")]
    with pytest.raises(JudgeError, match=f"status {status}: 'go away'") as caught:
        judge(server).verdicts(TEXTS[:1])
    assert len(server.asked) == 1
    assert "sesame" not in str(caught.value)


def test_nobody_listens():
    with running() as gone:
        pass
    with pytest.raises(JudgeError, match="refused"):
        judge(gone).verdicts(TEXTS[:1])


@pytest.mark.parametrize("body", ["<html>", "[]", '{"choices": []}', '{"error": "no such model"}'])
def test_what_is_no_completion_is_shown(server, body):
    server.script = [(200, body)]
    with pytest.raises(JudgeError, match="not a chat completion: .*" + re.escape(body)):
        judge(server).verdicts(TEXTS[:1])


@pytest.mark.parametrize("reply", ["Perhaps the first?", "", "FIRST or SECOND"])
def test_a_malformed_reply_is_shown(server, reply):
    server.reply = lambda told: reply
    with pytest.raises(
        JudgeError, match="is not FIRST, SECOND or NEITHER but " + re.escape(repr(reply))
    ):
        judge(server).verdicts(TEXTS[:1])


@pytest.mark.parametrize("form", ["**{}**.", " {}\n", "<think>FIRST? SECOND?</think>\n{}"])
def test_harmless_wrapping_is_read(server, form):
    server.reply = lambda told: form.format(word(told).lower())
    assert judge(server).verdicts(TEXTS) == VERDICTS


def test_what_is_known_is_not_asked_again(server, tmp_path):
    cache = tmp_path / "kept" / "verdicts.jsonl"
    assert judge(server, cache=cache).verdicts(TEXTS) == VERDICTS
    assert len(server.asked) == 5
    assert judge(server, cache=cache).verdicts(TEXTS) == VERDICTS
    assert len(server.asked) == 5
    assert len(cache.read_text().splitlines()) == 5
    # Another question, description or model is another verdict.
    judge(server, cache=cache).verdicts(TEXTS[:1], ["What?"])
    judge(server, cache=cache, target="Loves parties.").verdicts(TEXTS[:1])
    LLMJudge(server.url, "large", target=TARGET, opposite=OPPOSITE, cache=cache).verdicts(TEXTS[:1])
    assert len(server.asked) == 8


def test_replay_reads_only_the_file(server, tmp_path):
    cache = tmp_path / "verdicts.jsonl"
    judge(server, cache=cache).verdicts(TEXTS)
    again = LLMJudge(
        "http://127.0.0.1:9/v1",
        "little",
        target=TARGET,
        opposite=OPPOSITE,
        cache=cache,
        replay=True,
    )
    assert again.verdicts(TEXTS) == VERDICTS
    with pytest.raises(JudgeError, match=r"verdicts.jsonl: 1 of 2 verdicts .*'Something new'"):
        again.verdicts([TEXTS[0], "Something new"])
    assert len(server.asked) == 5
    with pytest.raises(OptionError, match="replay reads verdicts from a file"):
        judge(server, replay=True)
    with pytest.raises(OptionError, match=r"nowhere.jsonl"):
        judge(server, replay=True, cache=tmp_path / "nowhere.jsonl")


def test_an_error_keeps_what_came_before_and_an_unfinished_line_is_dropped(server, tmp_path):
    cache = tmp_path / "verdicts.jsonl"
    server.reply = lambda told: "???" if "tea" in told else word(told)
    with pytest.raises(JudgeError, match="tea"):
        judge(server, cache=cache, concurrency=1).verdicts(TEXTS)
    lines = len(cache.read_text().splitlines())
    assert lines >= 2
    with cache.open("a") as file:
        file.write('{"key": "abc", "verd')
    server.reply = word
    with pytest.warns(UserWarning, match="not whole"):
        assert judge(server, cache=cache).verdicts(TEXTS) == VERDICTS
    assert len([json.loads(line) for line in cache.read_text().splitlines()]) == 5


def test_a_damaged_file_is_named_with_its_line(server, tmp_path):
    cache = tmp_path / "verdicts.jsonl"
    judge(server, cache=cache).verdicts(TEXTS[:1])
    with cache.open("a") as file:
        file.write('{"key": "abc", "verdict": "mine"}\n')
    with pytest.raises(JudgeError, match=r"verdicts.jsonl, line 2"):
        judge(server, cache=cache)


def test_no_more_requests_at_a_time_than_allowed(server):
    server.pause = 0.02
    judge(server, concurrency=3).verdicts([f"parties {n}" for n in range(12)])
    assert 1 < server.most <= 3


def test_accuracy_on_known_texts(server):
    measured = judge(server)
    theirs = ["My books", "books", "tea", "parties"]
    measured.accuracy = measure_accuracy(measured, ["parties a", "parties b"], theirs)
    assert measured.accuracy.mean == pytest.approx((1 + 2 / 4) / 2)
    assert measured.accuracy.low < measured.accuracy.mean <= measured.accuracy.high <= 1
    assert measured.accuracy.count == 6
    with pytest.raises(DataError, match="texts of both sides"):
        measure_accuracy(measured, [], theirs)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"target": " "}, "two different descriptions"),
        ({"opposite": TARGET}, "two different descriptions"),
        ({"concurrency": 0}, "concurrency"),
        ({"timeout": 0}, "timeout"),
        ({"retries": -1}, "retries"),
    ],
)
def test_settings_that_cannot_be(server, more, message):
    with pytest.raises(OptionError, match=message):
        judge(server, **more)


def test_an_address_and_a_model_are_needed(server):
    with pytest.raises(OptionError, match="http://"):
        LLMJudge("localhost:8000", "little", target=TARGET, opposite=OPPOSITE)
    with pytest.raises(OptionError, match="name of its model"):
        LLMJudge(server.url, "", target=TARGET, opposite=OPPOSITE)
    with pytest.raises(DataError, match="2 texts to judge, but 1 prompts"):
        judge(server).verdicts(["a", "b"], ["?"])
