"""The vLLM plugin, as far as it goes without vLLM; integrations/vllm/try_it.py tries the rest."""

import importlib
import sys
import tomllib
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "integrations/vllm"


@pytest.fixture
def plugin(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER / "src")
    yield importlib.import_module("prosopon_vllm")
    for name in [name for name in sys.modules if name.startswith("prosopon_vllm")]:
        del sys.modules[name]


def test_the_entry_point_is_there_and_is_idle_without_a_folder(plugin, monkeypatch):
    monkeypatch.delenv("PROSOPON_PERSONAS", raising=False)
    project = tomllib.loads((FOLDER / "pyproject.toml").read_text("utf-8"))["project"]
    module, _, function = project["entry-points"]["vllm.general_plugins"]["prosopon"].partition(":")
    assert getattr(importlib.import_module(module), function)() is None
    assert "vllm" not in sys.modules


def test_a_persona_stands_after_the_models_name(plugin):
    from prosopon_vllm.names import persona_source

    for name in ("base:bold", "org/m:bold", "m:bold"):
        assert persona_source("org/m", name) == "bold"
    assert persona_source("org/m", "base:hf:org/bold") == "hf:org/bold"
    assert persona_source("org/m", "base:all.pack#bold") == "all.pack#bold"
    for name in ("bold", "base", "base:", "other:bold", "/models/bold"):
        assert persona_source("org/m", name) is None
