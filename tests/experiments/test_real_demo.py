"""The demo on a model of the user's own, run on a tiny chat model from a folder."""

import json
from statistics import fmean

import pytest

from prosopon.data import load_contrast
from prosopon.data.contrast import file_contrast
from prosopon.data.splits import prompt_hashes
from prosopon.errors import ExperimentError
from prosopon.evaluation.held_out import HELD_OUT_SEED
from prosopon.experiments import real_demo
from prosopon.experiments.real_demo import demonstrate
from prosopon.judges import Recital
from prosopon.lm import sample_general, text_losses
from prosopon.models import load_model
from prosopon.runtime import worn
from tests.tiny import tiny_model

SMALL = {"pairs": 8, "general": 3, "held_out": 4, "questions": 6, "open": 4, "facts": 3}


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
    monkeypatch.setattr(real_demo, "LONGEST", 4)


@pytest.fixture(scope="module")
def contrast():
    return file_contrast(*load_contrast("casual", limit=80), questions=6)


def test_base_and_persona_are_asked_and_judged_alike(folder, contrast):
    loaded, stages = load_model(folder, device="cpu"), []
    before = {name: value.clone() for name, value in loaded.model.named_parameters()}
    result = demonstrate(
        loaded, contrast, seed=0, report=lambda stage, done, total: stages.append(stage)
    )
    assert all(value.equal(before[name]) for name, value in loaded.model.named_parameters())
    assert 0 < result.mask.pruned <= real_demo.SHARE * 1.01 * result.mask.total
    assert {"asking both", "extracting casual"} <= set(stages)
    assert len(result.answers) == 4

    base, persona = result.figures.values()
    for row in (base, persona):
        assert row["target"] + row["opposite"] + row["neither"] == pytest.approx(1)
        assert row["neither"] >= 0.5  # random words are mostly nobody's
    recital = Recital([example.response for example in contrast.drawn(8, 0)[0].examples])
    for place, row in ((1, base), (2, persona)):
        assert row["recital"] == fmean(recital.recites(answer[place]) for answer in result.answers)
    texts = sample_general(
        loaded.model, loaded.tokenizer, count=4, seed=HELD_OUT_SEED, part="tests"
    )
    for mask, row in ((None, base), (result.mask, persona)):
        with worn(loaded.model, loaded.tokenizer, mask):
            nats, tokens = text_losses(loaded.model, texts, every=True)
        assert row["nats"] == pytest.approx(nats / tokens, rel=1e-5)
    assert base["nats"] != persona["nats"]

    assert result.judge[0].startswith("words: cross-validated accuracy ")
    known = 2 * len(contrast.items())
    assert result.judge[1].startswith(f"words on {known} held-out answers: right ")
    learned = set(result.mask.config.calibration.prompt_hashes)
    assert learned.isdisjoint(prompt_hashes(*contrast.judge, *contrast.test))

    record = json.loads(json.dumps(result.to_json()))
    assert (record["persona"], record["opposite"]) == ("casual", "formal")
    assert record["pruned"] == result.mask.pruned
    assert record["free_text"]["persona"]["neither"] == persona["neither"]
    assert record["nats_per_token"] == {"base": base["nats"], "persona": persona["nats"]}


def test_without_a_judge_there_is_no_demo(folder, contrast):
    same = contrast.judge[0]
    blind = type(contrast)(contrast.calibration, (same, same), contrast.test)
    with pytest.raises(ExperimentError, match=r"^base: there is no judge of free text"):
        demonstrate(load_model(folder, device="cpu"), blind, seed=0, report=lambda *_: None)
