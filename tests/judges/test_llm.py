"""The LLM judge against a real endpoint on this machine that judges by a word."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from prosopon.errors import JudgeError
from prosopon.judges import LLMJudge, measure_accuracy
from prosopon.judges.llm import KEY


class Endpoint(BaseHTTPRequestHandler):
    """Says A where the answer is glad, B where it is sad; first fails as often as told."""

    def do_POST(self):
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.asked.append((self.path, self.headers.get("Authorization"), body))
            failing = server.failures.pop(0) if server.failures else None
        if failing is not None:
            self.send(failing, b"slow down")
            return
        if server.raw is not None:
            self.send(200, server.raw)
            return
        told = body["messages"][0]["content"].split("Answer: ")[1].split("\n")[0]
        word = "A" if "glad" in told else "B" if "sad" in told else "neither."
        self.send(200, json.dumps({"choices": [{"message": {"content": word}}]}).encode())

    def send(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Endpoint) as server:
        server.asked, server.failures, server.raw = [], [], None
        server.lock = threading.Lock()
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def judge(server, **changes):
    url = f"http://127.0.0.1:{server.server_address[1]}/v1/"
    settings = {"target": "is glad", "opposite": "is sad", "pause": 0.01} | changes
    return LLMJudge(url, "tiny", **settings)


TEXTS = ["I am glad.", "I am sad.", "Bananas.", " "]


def test_verdicts_in_order_and_blank_texts_are_not_asked(server, monkeypatch):
    monkeypatch.delenv(KEY, raising=False)
    assert judge(server).verdicts(TEXTS, ["How?"] * 4) == [
        "target", "opposite", "neither", "neither",
    ]  # fmt: skip
    assert len(server.asked) == 3
    path, key, body = server.asked[0]
    assert (path, key) == ("/v1/chat/completions", None)
    assert body["model"] == "tiny"
    assert "is glad" in body["messages"][0]["content"]
    assert "How?" in body["messages"][0]["content"]


def test_the_key_comes_from_the_environment(server, monkeypatch):
    monkeypatch.setenv(KEY, "secret")
    judge(server).verdicts(["I am glad."])
    assert server.asked[0][1] == "Bearer secret"


def test_nothing_is_asked_twice_and_replay_asks_nothing(server, tmp_path):
    cache = tmp_path / "verdicts.jsonl"
    first = judge(server, cache=cache).verdicts(TEXTS * 2)
    asked = len(server.asked)
    assert asked == 3
    assert judge(server, cache=cache).verdicts(TEXTS * 2) == first
    assert judge(server, cache=cache, replay=True).verdicts(TEXTS) == first[:4]
    assert len(server.asked) == asked
    with pytest.raises(JudgeError, match=r"1 verdicts are missing.*replay"):
        judge(server, cache=cache, replay=True).verdicts(["Something new."])
    assert judge(server, cache=cache, target="is happy").verdicts(["I am glad."]) == ["target"]
    assert len(server.asked) == asked + 1


def test_it_tries_again_and_gives_up(server):
    server.failures = [429, 503]
    assert judge(server, workers=1).verdicts(["I am sad."]) == ["opposite"]
    assert len(server.asked) == 3
    server.failures = [429] * 9
    with pytest.raises(JudgeError, match="HTTP 429: slow down"):
        judge(server, workers=1).verdicts(["I am sad."])
    server.failures = [401]
    with pytest.raises(JudgeError, match="HTTP 401"):
        judge(server, workers=1).verdicts(["I am sad."])


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"<html>", "not JSON"),
        (b'{"error": "no"}', "not a chat completion.*error"),
        (b'{"choices": [{"message": {"content": "I think"}}]}', "said 'I think', not A, B"),
        (b'{"choices": [{"message": {"content": ""}}]}', "not a chat completion"),
    ],
)
def test_replies_that_are_no_verdict(server, raw, told):
    server.raw = raw
    with pytest.raises(JudgeError, match=told):
        judge(server).verdicts(["I am sad."])


def test_nobody_there():
    nobody = LLMJudge("http://127.0.0.1:9/v1", "m", target="a", opposite="b", pause=0.001)
    with pytest.raises(JudgeError, match="cannot be reached"):
        nobody.verdicts(["text"])


def test_a_damaged_cache_is_named_with_its_line(server, tmp_path):
    cache = tmp_path / "verdicts.jsonl"
    judge(server, cache=cache).verdicts(["I am glad."])
    with cache.open("a") as file:
        file.write('{"key": "x", "verdict": "maybe"}\n')
    with pytest.raises(JudgeError, match=r"verdicts\.jsonl:2: not a verdict"):
        judge(server, cache=cache)


def test_its_accuracy_is_measured_on_texts_of_known_author(server):
    found = measure_accuracy(judge(server), ["glad", "so glad"], ["sad", "glad after all"])
    assert found.mean == 0.75
    assert found.count == 4
