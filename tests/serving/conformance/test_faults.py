"""Servers that mix their rows up, each in its own way: the check names every one of them."""

import openai
import pytest

from prosopon.serving.conformance import checks, reloads
from prosopon.serving.conformance.admin import OwnAdmin
from prosopon.serving.conformance.client import ModelServer
from prosopon.serving.conformance.examiner import CheckSettings
from prosopon.serving.conformance.local import LocalModel
from prosopon.serving.conformance.verification import CHECKS, verify_server
from prosopon.serving.packed_batch import PackedBatch
from prosopon.serving.pages import Pages
from prosopon.subnetwork import Subnetwork
from tests.serving.conformance import faults
from tests.tiny import tiny_model

FEW = CheckSettings(questions=("Who?",), clients=3, max_tokens=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return faults.write_personas(tmp_path_factory.mktemp("personas"))


@pytest.fixture(scope="module")
def local(folder):
    masks = {name: Subnetwork.from_pretrained(folder / name) for name in faults.PERSONAS}
    with LocalModel(*tiny_model(chat=True), masks) as made:
        yield made


@pytest.fixture(autouse=True)
def little(monkeypatch):
    monkeypatch.setattr(checks, "PREFIXES", 1)
    monkeypatch.setattr(reloads, "CYCLES", 1)


def verify(live, *names, **settings):
    server = ModelServer(live.url)
    settings = {"admin": OwnAdmin(server, "root"), "settings": FEW} | settings
    report = verify_server(server, list(faults.PERSONAS), checks=names, **settings)
    assert not report.failures or "reloads" in names
    return {result.check: result for result in report.results}


def leaky(results):
    return {name for name, result in results.items() if result.leaks}


def test_a_good_server_passes_every_check(folder, local, monkeypatch):
    with faults.serving("none", folder, monkeypatch, kind="continuous") as live:
        results = verify(live, *CHECKS, local=local)
        assert live.service.personas == ["bold", "calm"]
    assert not leaky(results)
    assert not any(result.skipped or result.failures for result in results.values())
    assert not any(result.ties for result in results.values())
    counts = {name: result.requests for name, result in results.items()}
    assert counts.pop("reloads") > 4
    assert counts == {
        "again": 5, "local": 3, "base-in-crowd": 2, "personas-in-crowd": 4, "one-prompt": 6,
        "prefix": 3, "unknown-names": 9, "seeds": 18, "streams": 3,
    }  # fmt: skip
    assert 0 < results["local"].furthest < 1e-4


def test_base_rows_that_take_the_last_persona(folder, monkeypatch):
    """The fault of vLLM's issue 48421."""
    with faults.serving("base-as-the-last", folder, monkeypatch) as live:
        results = verify(live, "crowd", "one-prompt")
    assert "one-prompt" in leaky(results) <= {"base-in-crowd", "one-prompt"}
    wrong = results["one-prompt"].examples[0]
    assert (wrong.voice, wrong.whose) in (("base", "calm"), ("base", "bold"))
    assert wrong.line().startswith(f"base answered as {wrong.whose}, from token 1 on: ")


def test_names_of_nobody_that_the_base_answers(folder, monkeypatch):
    with faults.serving("unknown-as-base", folder, monkeypatch) as live:
        results = verify(live, "unknown-names")
    assert leaky(results) == {"unknown-names"}
    assert results["unknown-names"].leaks == results["unknown-names"].requests == 9
    wrong = results["unknown-names"].examples[0]
    assert (wrong.voice, wrong.whose) == ("tiny:nobody-4096", "base")


def test_a_prefix_cache_that_knows_no_persona(folder, local, monkeypatch):
    with faults.serving("prefix-by-text", folder, monkeypatch, rows=1) as live:
        results = verify(live, "prefix", local=local)
    assert leaky(results) == {"local", "prefix"}
    # Whoever asked a text first is right, and the two others read what it wrote.
    assert (results["prefix"].leaks, results["prefix"].requests) == (2, 3)
    assert results["local"].leaks == 2


def test_pages_that_know_no_persona(folder, local, monkeypatch):
    """The same in the continuous engine, whose own trial at the start would refuse it."""
    monkeypatch.setattr(Pages, "_salted", lambda self, key, tokens, more: tokens)
    with (
        faults.serving("none", folder, monkeypatch, kind="auto") as live,
        openai.OpenAI(base_url=f"{live.url}/v1", api_key="none") as client,
    ):
        assert client.models.list().data
        assert "differ from rows alone" in live.service.engine.fallback
    monkeypatch.setattr(PackedBatch, "measure", lambda *_: 0.0)
    with faults.serving("none", folder, monkeypatch, kind="continuous") as live:
        results = verify(live, "prefix", local=local)
        assert live.service.engine.shared > 0
    assert leaky(results) == {"prefix"}


def test_without_a_local_model_such_a_cache_is_not_seen_and_that_is_said(folder, monkeypatch):
    with faults.serving("prefix-by-text", folder, monkeypatch, rows=1) as live:
        server = ModelServer(live.url)
        report = verify_server(server, ["bold", "calm"], settings=FEW, checks=["prefix", "reloads"])
    assert report.leaks == 0
    assert report.local_tolerance is None
    assert report.results[-1].skipped == "no admin key"
    assert report.results[1].requests == 3  # every voice's second answer against its first
    assert any("without a local model" in note for note in report.notes)


def test_an_unloaded_persona_that_still_answers(folder, monkeypatch):
    with faults.serving("keeps-unloaded", folder, monkeypatch) as live:
        results = verify(live, "reloads")
    assert leaky(results) == {"reloads"}
    wrong = results["reloads"].examples[0]
    assert (wrong.voice, wrong.whose) == ("calm", "calm")
    assert "it is unloaded" in wrong.expected
    assert "loaded already" in results["reloads"].problems[0]


def test_a_name_that_keeps_the_mask_it_had_first(folder, monkeypatch):
    with faults.serving("keeps-first-mask", folder, monkeypatch) as live:
        results = verify(live, "reloads")
        assert live.service.personas == ["bold", "calm"]
    assert leaky(results) == {"reloads"}
    wrong = results["reloads"].examples[0]
    assert (wrong.voice, wrong.whose) == ("calm", "calm")
    assert wrong.expected.startswith("bold: ")
