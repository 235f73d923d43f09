"""What every arm keeps to, on a tiny model."""

import json
import math
from typing import get_args

import pytest

from prosopon.arms import ARMS, Kind, Lab
from prosopon.data.contrast import bundled_contrast
from prosopon.evaluation.speaking import NORMALISATIONS, OptionQuestion
from prosopon.extraction import Extractor
from tests.arms.samples import same_weights, state_of, weights_of
from tests.tiny import tiny_model

QUICK = {"rounds": 2}
OPTIONS = {
    "contrastive-taylor": QUICK,
    "contrastive-taylor-auto": QUICK,
    "opposite": QUICK,
    "lora": {"steps": 2},
    "weight-steering": {"steps": 2, "r": 1},
    "contrastive-lora": {"steps": 2, "r": 1},
    "contrastive-kl": QUICK,
    "steering": {"layer": 1},
    "steer2edit": {"parts": "both", "alpha": 0.3},
}
NAMES = [
    "base", "prompt", "prompt-paper", "few-shot", "retrieval", "lora", "steering", "random",
    "magnitude", "wanda-general", "opposite", "shortest", "always-yes", "always-a", "wanda",
    "sparsegpt", "contrastive-wanda", "contrastive-sparse", "set-difference",
    "contrastive-effect", "contrastive-kl", "contrastive-taylor", "contrastive-taylor-auto",
    "weight-steering", "contrastive-lora", "steer2edit",
]  # fmt: skip


@pytest.fixture(scope="module")
def extractors():
    """Return one for all arms, and one of shorter texts for the arm that looks at many masks."""
    loaded = tiny_model("llama", chat=True)
    return [Extractor(*loaded, general_count=16, max_length=length) for length in (None, 64)]


@pytest.fixture(scope="module")
def contrast():
    return bundled_contrast("bold", questions=3)


def test_the_arms_that_were_promised_are_there():
    assert set(NAMES) <= set(ARMS.names())


def break_off(prepared, questions, scores):
    with prepared.speaking() as speaker:
        scores += speaker.score(questions)
        raise RuntimeError("in the middle")


@pytest.mark.parametrize("name", ARMS.names())
def test_an_arm_speaks_and_leaves_no_trace(name, extractors, contrast):
    arm, extractor = ARMS.get(name), extractors[name == "contrastive-taylor-auto"]
    lab = Lab(extractor, contrast, 20, 0, OPTIONS.get(name, {}))
    assert (arm.name, arm.kind in get_args(Kind), bool(arm.summary)) == (name, True, True)
    assert arm.refuses(lab) is None
    extractor.general()
    before, weights = state_of(extractor.model), weights_of(extractor.model)
    prepared = arm.prepare(lab)
    assert state_of(extractor.model) == before
    cost = prepared.cost
    assert cost.seconds >= 0
    assert cost.bytes >= 0
    json.dumps(dict(cost.details), allow_nan=False)
    examples = contrast.test[0].examples
    prompts = [example.prompt for example in examples]
    questions = [OptionQuestion(e.prompt, (e.response, e.alternative)) for e in examples]
    with prepared.speaking() as speaker:
        scores = speaker.score(questions)
        added = speaker.added_tokens(prompts)
        if speaker.writes:
            told = speaker.write(prompts[:1], max_new_tokens=4, seed=1)
            assert len(told) == 1
            nats, tokens = speaker.losses(extractor.general()[:1])[0]
            assert math.isfinite(nats)
            assert tokens == len(extractor.general()[0]) - 1
    assert state_of(extractor.model) == before
    assert same_weights(extractor.model, weights)
    for found in scores:
        assert list(found.by) == list(NORMALISATIONS)
        assert all(len(by) == 2 and all(map(math.isfinite, by)) for by in found.by.values())
    assert all(count > 0 if arm.kind == "prompting" else count == 0 for count in added)
    again = []
    with pytest.raises(RuntimeError, match="in the middle"):
        break_off(prepared, questions, again)
    assert again == scores  # a second time it says the same
    assert state_of(extractor.model) == before
    assert same_weights(extractor.model, weights)
