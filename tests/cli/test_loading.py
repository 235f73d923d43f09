"""Loading a model for a command: what is said while it loads, and what happens offline."""

import socket

import pytest
from huggingface_hub import constants

from prosopon.cli import console, loading


@pytest.fixture
def online(monkeypatch):
    """Let the Hub's library believe that it may ask, of an endpoint of the test's."""
    monkeypatch.setattr(loading, "getproxies", dict)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(console, "volume", console.Volume())

    def point(port):
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{port}")

    return point


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_a_hub_that_cannot_be_reached_is_not_asked_again(online, listener, capsys):
    port = listener.getsockname()[1]
    listener.close()
    online(port)
    loading.use_cache_offline()
    assert constants.HF_HUB_OFFLINE
    assert capsys.readouterr().err.count("cannot be reached") == 1
    loading.use_cache_offline()
    assert capsys.readouterr().err == ""


def test_a_hub_that_answers_is_asked(online, listener, capsys):
    online(listener.getsockname()[1])
    loading.use_cache_offline()
    assert not constants.HF_HUB_OFFLINE
    assert capsys.readouterr().err == ""


def test_a_proxy_is_trusted(online, listener, monkeypatch):
    port = listener.getsockname()[1]
    listener.close()
    online(port)
    monkeypatch.setattr(loading, "getproxies", lambda: {"https": "http://proxy"})
    loading.use_cache_offline()
    assert not constants.HF_HUB_OFFLINE


def test_a_model_that_is_nowhere_is_one_line(prosopon):
    done = prosopon("chat", "-m", "no-such-org/model", "--message", "Hi", code=2)
    assert len([line for line in done.stderr.splitlines() if line.startswith("error: ")]) == 1
    assert "no-such-org/model" in done.stderr.splitlines()[-1]


def test_a_local_model_loads_without_bars(prosopon, tiny_folder):
    done = prosopon("chat", "-m", tiny_folder, "--message", "Hi", "--max-new-tokens", "2")
    assert done.stderr == ""
