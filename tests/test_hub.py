"""The Hub is asked once whether it is there."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise

import pytest
from huggingface_hub import constants

from prosopon.hub import reason, unreachable


class Answer(BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.send_response(404)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_any_answer_is_a_hub(monkeypatch):
    server = HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        assert unreachable() is None
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "http://nowhere.invalid"])
def test_no_answer_has_a_reason_of_one_line(monkeypatch, endpoint):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    reason = unreachable()
    assert reason
    assert "\n" not in reason


def test_offline_by_setting(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert unreachable() == "HF_HUB_OFFLINE is set"


@pytest.mark.parametrize(
    ("messages", "line"),
    [
        (["refused"], "refused"),
        (["the  upload\nfailed", "refused"], "the upload failed: refused"),
        (["refused", "refused", "refused"], "refused"),  # as layers of one client hand it on
        (["cannot connect: refused", "refused"], "cannot connect: refused"),
        (["", "refused"], "OSError: refused"),
        (["a", "b", "c"], "a: b: c"),
    ],
)
def test_a_reason_is_said_once(messages, line):
    errors = [OSError(message) for message in messages]
    for error, cause in pairwise(errors):
        error.__cause__ = cause
    assert reason(errors[0]) == line
