"""The demo on a model of the user's own, run on a tiny chat model from a folder."""

import json

import pytest

from prosopon.data import load_bank, load_contrast
from prosopon.experiments import real_demo
from prosopon.experiments.real_demo import demonstrate
from prosopon.models import load_model
from tests.tiny import tiny_model

SMALL = {"pairs": 4, "general": 3, "held_out": 2, "open": 2, "facts": 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("real") / "tiny"
    model, tokenizer = tiny_model("llama", chat=True)
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(real_demo, "SIZES", SMALL)
    monkeypatch.setattr(real_demo, "TOKENS", {"open": 4, "facts": 4})


def test_base_and_persona_are_asked_the_same(folder):
    loaded, stages = load_model(folder, device="cpu"), []
    contrast = load_contrast("formal", limit=SMALL["pairs"])
    before = {name: value.clone() for name, value in loaded.model.named_parameters()}
    result = demonstrate(
        loaded, *contrast, seed=0, report=lambda stage, done, total: stages.append(stage)
    )
    assert all(value.equal(before[name]) for name, value in loaded.model.named_parameters())
    assert [row[0] for row in result.answers] == load_bank("style").questions[:2]
    assert 0 < result.mask.pruned <= real_demo.SHARE * 1.01 * result.mask.total
    assert result.nats[0] != result.nats[1]
    assert all(0 <= share <= 1 for share in result.facts)
    assert {"writing held-out text", "asking the base: open", "asking formal: facts"} <= set(stages)
    record = json.loads(json.dumps(result.to_json()))
    assert (record["persona"], record["opposite"]) == ("formal", "casual")
    assert record["pruned"] == result.mask.pruned
