"""Arms that wear masks: the extractor's own, worn alone, at their real size."""

import dataclasses

import pytest

from prosopon.arms import ARMS, Lab
from prosopon.data import Example, Message, Persona
from prosopon.evaluation.speaking import OptionQuestion
from prosopon.extraction import Extractor
from prosopon.runtime import PersonaModel, worn
from tests.arms.samples import (
    PROMPTS,
    exchange,
    same_weights,
    tiny_contrast,
    tiny_lab,
    weights_of,
)
from tests.tiny import tiny_model

QUESTIONS = [OptionQuestion(prompt, ("Yes", "No people")) for prompt in PROMPTS]


def scores(lab, prepared):
    with prepared.speaking() as speaker:
        return speaker.score(QUESTIONS)


@pytest.mark.parametrize("name", ["wanda", "contrastive-wanda", "random"])
def test_a_criterion_s_arm_wears_the_extractor_s_mask(name, tmp_path):
    lab = tiny_lab(options={"sparsity": "0.4"})
    prepared = ARMS.get(name).prepare(lab)
    sides = lab.contrast.drawn(8, 0)
    mask = lab.extractor.extract(*sides, criterion=name, sparsity=0.4)
    assert prepared.subnetwork == mask
    mask.save_pretrained(tmp_path)
    # The date in the provenance has a fixed width, so that the sizes are equal.
    assert prepared.cost.bytes == sum(path.stat().st_size for path in tmp_path.iterdir())
    details = prepared.cost.details
    assert (details["pruned"], details["weights"]) == (mask.pruned, mask.total)
    assert (details["sparsity"], details["pattern"]) == (0.4, "row")
    base = scores(lab, ARMS.get("base").prepare(lab))
    worn = scores(lab, prepared)
    assert worn != base
    with PersonaModel(lab.model) as model:
        model.set_persona(model.load_persona(mask))
        assert scores(lab, ARMS.get("base").prepare(lab)) == worn


def test_criterion_options_and_patterns_are_passed_on():
    lab = tiny_lab(options={"importance": "relative", "pattern": "2:4"})
    config = ARMS.get("wanda").prepare(lab).subnetwork.config
    assert (config.options["importance"], config.pattern, config.sparsity) == (
        "relative",
        "2:4",
        0.5,
    )


def test_seconds_do_not_lean_on_the_arms_before():
    lab = tiny_lab()
    ARMS.get("wanda").prepare(lab)
    assert not lab.extractor.collector._statistics


def test_the_lab_s_seed_draws_the_random_mask():
    lab = tiny_lab()
    other = dataclasses.replace(lab, seed=1)
    masks = [ARMS.get("random").prepare(each).subnetwork for each in (lab, other, lab)]
    assert masks[0] == masks[2] != masks[1]
    assert [mask.config.seed for mask in masks] == [0, 1, 0]
    assert lab.extractor.seed == 0


def test_a_compensation_is_worn_too():
    lab = tiny_lab(options={"compensate": "true"})
    weights = weights_of(lab.model)
    prepared = ARMS.get("sparsegpt").prepare(lab)
    with_it = scores(lab, prepared)
    assert same_weights(lab.model, weights)
    with worn(lab.model, None, prepared.subnetwork):
        assert scores(lab, ARMS.get("base").prepare(lab)) == with_it
    prepared.subnetwork.compensation = None
    assert scores(lab, prepared) != with_it
    alone = ARMS.get("sparsegpt").prepare(tiny_lab())
    assert alone.subnetwork.keep.keys() == prepared.subnetwork.keep.keys()
    assert prepared.cost.bytes > alone.cost.bytes


def test_auto_says_when_there_are_too_few_examples():
    refused = ARMS.get("contrastive-taylor-auto").refuses(tiny_lab())
    assert refused == "sparsity 'auto' needs 20 calibration examples; there are 8"
    few = tiny_lab(options={"sparsity": "0.01"})
    assert ARMS.get("contrastive-taylor-auto").refuses(few) is None


@pytest.mark.parametrize("criterion", ["contrastive-wanda", "contrastive-taylor"])
def test_the_opposite_s_mask_is_that_of_the_exchanged_contrast(criterion):
    extra = {"rounds": 2} if criterion == "contrastive-taylor" else {}
    lab = tiny_lab(options={"criterion": criterion, **extra})
    prepared = ARMS.get("opposite").prepare(lab)
    exchanged = Lab(lab.extractor, exchange(lab.contrast), 8, 0, extra)
    other = ARMS.get(criterion).prepare(exchanged)
    assert prepared.subnetwork == other.subnetwork
    assert prepared.subnetwork.config.persona == "cautious"
    assert (
        prepared.subnetwork
        != ARMS.get(criterion).prepare(Lab(lab.extractor, lab.contrast, 8, 0, extra)).subnetwork
    )


def test_wanda_on_general_text_is_wanda_with_general_text_as_the_persona():
    texts = tuple(
        Example((Message("assistant", f"The people are {word} and more."),))
        for word in ("living", "No", "Yes", "here")
    )
    model, tokenizer = tiny_model("llama", chat=True)
    extractor = Extractor(model, tokenizer, general=Persona("general", texts))
    lab = Lab(extractor, tiny_contrast(), 8)
    found = ARMS.get("wanda-general").prepare(lab).subnetwork
    read = Persona("general", texts[:3])  # the last quarter is held out
    whole = Extractor(model, tokenizer, scope="all")
    assert found == whole.extract(read, criterion="wanda")
    assert found != whole.extract(lab.contrast.calibration[0], criterion="wanda")
    assert (found.config.persona, found.config.calibration.target_count) == ("general-text", 3)
