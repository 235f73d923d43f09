"""Logs, counts, and the dashboard that shows them."""

from __future__ import annotations

import io
import json
import logging
import re
from pathlib import Path

import pytest

from prosopon.errors import OptionError, UnknownNameError
from prosopon.serving.engine import BatchReport, Engine
from prosopon.serving.logs import JsonLines, record, record_failure, start_logs
from prosopon.serving.metrics import Metrics
from prosopon.serving.refusal import Refusal, as_refusal
from tests.serving import samples
from tests.serving.samples import HTTP

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


@pytest.fixture
def stream():
    """Return what the logs write to; afterwards they are as before."""
    loggers = [logging.getLogger(name) for name in ("prosopon.serving", "uvicorn.error")]
    before = [(one.handlers, one.propagate, one.level) for one in loggers]
    text = io.StringIO()
    start_logs(text)
    yield text
    for one, (one.handlers, one.propagate, level) in zip(loggers, before, strict=True):
        one.setLevel(level)


def test_a_record_is_one_line_of_json(stream):
    record("request", status=200, persona='bold "\n')
    record("hidden", logging.DEBUG)
    (line,) = stream.getvalue().splitlines()
    fields = json.loads(line)
    assert fields.pop("time").endswith("+00:00")
    assert fields == {
        "level": "info", "event": "request", "status": 200, "persona": 'bold "\n'
    }  # fmt: skip


def test_a_failure_is_logged_by_kind_and_place(stream):
    def fail():
        raise ValueError("SECRET")

    try:
        fail()
    except ValueError as problem:
        record_failure("a batch failed", problem)
    fields = json.loads(stream.getvalue())
    assert (fields["level"], fields["kind"]) == ("error", "ValueError")
    assert fields["where"][-1].endswith(" fail")
    assert "SECRET" not in stream.getvalue()


def test_uvicorn_is_heard_from_warnings_on(stream):
    logger = logging.getLogger("uvicorn.error")
    logger.info("started")
    logger.warning("port %d", 80)
    assert json.loads(stream.getvalue())["event"] == "port 80"
    assert logger.handlers[0].formatter.__class__ is JsonLines


def test_batches_are_counted(attached):
    metrics = Metrics()
    metrics.watch(Engine(attached), lambda: 3)
    metrics.observe_batch(BatchReport(5, 2, 0.5, 4, 40, 32))
    text = metrics.text().decode()
    for line in (
        "prosopon_batch_rows_sum 5.0",
        'prosopon_batch_voices_bucket{le="2.0"} 1.0',
        "prosopon_batch_seconds_total 0.5",
        "prosopon_redrawn_tokens_total 4.0",
        'prosopon_prefix_tokens_total{kind="shared"} 32.0',
        'prosopon_prefix_tokens_total{kind="read"} 8.0',
        "prosopon_waiting_rows 0.0",
        "prosopon_personas 3.0",
    ):
        assert line in text
    attached.close()


def test_requests_and_tokens_are_counted(live):
    def count(text, name):
        return sum(float(x) for x in re.findall(rf"^{re.escape(name)} (\S+)$", text, re.M))

    def metrics():
        return HTTP.get(f"{live.url}/metrics").text

    body = {"model": "tiny:calm", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3}
    before = metrics()
    usage = HTTP.post(f"{live.url}/v1/chat/completions", json=body).json()["usage"]
    HTTP.get(f"{live.url}/a/path/of/a/stranger")
    after = metrics()
    for name, more in (
        ('prosopon_tokens_total{kind="read",persona="calm"}', usage["prompt_tokens"]),
        ('prosopon_tokens_total{kind="written",persona="calm"}', usage["completion_tokens"]),
        ("prosopon_first_token_seconds_count", 1),
        ('prosopon_requests_total{route="other",status="404"}', 1),
    ):
        assert count(after, name) - count(before, name) == more, name
    assert "stranger" not in after  # names from outside are no labels


def test_errors_become_refusals():
    assert as_refusal(UnknownNameError("persona", "x", ["bold"])).status == 404
    assert as_refusal(UnknownNameError("persona", "x", [])).code == "persona_not_found"
    assert as_refusal(OptionError("no")).status == 400
    bug = as_refusal(KeyError("SECRET"))
    assert (bug.status, "SECRET" in bug.message) == (500, False)
    assert as_refusal(own := Refusal(429, "later", "full")) is own
    assert own.body() == {
        "error": {
            "message": "later", "type": "invalid_request_error", "param": None, "code": "full"
        }
    }  # fmt: skip
    assert bug.body()["error"]["type"] == "server_error"


def test_the_dashboard_asks_for_what_is_counted():
    board = json.loads((DEPLOY / "grafana.json").read_text("utf-8"))
    asked = {
        name
        for panel in board["panels"]
        for target in panel["targets"]
        for name in re.findall(r"prosopon_\w+", target["expr"])
    }
    metrics = Metrics()
    metrics.watch(Engine(wearer := samples.wearer()), lambda: 0)
    wearer.close()
    counted = {
        sample.name for family in metrics.registry.collect() for sample in family.samples
    } | {
        f"{family.name}{end}"
        for family in metrics.registry.collect()
        for end in {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(
            family.type, [""]
        )
    }
    assert asked <= counted
    assert len(asked) >= 8
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_the_container_is_started_as_the_command_takes_it():
    import yaml

    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
    service = compose["services"]["prosopon"]
    assert service["ports"] == ["127.0.0.1:8000:8000"]
    assert "PROSOPON_API_KEY" in str(service["environment"])
    assert service["volumes"] == ["./personas:/personas:ro"]
    text = (DEPLOY / "Dockerfile").read_text("utf-8")
    assert re.search(r"^USER (?!root)", text, re.M)
    words = json.loads(re.search(r"^ENTRYPOINT (.*)$", text, re.M)[1])
    assert words[:2] == ["prosopon", "serve"]
