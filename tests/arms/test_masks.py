"""Arms that wear masks: the extractor's own, worn alone, at their real size."""

import dataclasses

import pytest

from prosopon.arms import ARMS, Lab
from prosopon.arms.dose import Dialable
from prosopon.data import Example, Message, Persona
from prosopon.errors import OptionError
from prosopon.evaluation.speaking import OptionQuestion
from prosopon.extraction import Extractor
from prosopon.extraction.dial import mask_dial
from prosopon.lm import text_losses
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


@pytest.fixture(scope="module")
def shared():
    """Return a lab whose general text is sampled once."""
    lab = tiny_lab()
    lab.extractor.held_out()
    return lab


def rise_of(lab, mask):
    texts = lab.extractor.held_out()
    base, tokens = text_losses(lab.model, texts, every=True)
    with worn(lab.model, lab.tokenizer, mask):
        worse, _ = text_losses(lab.model, texts, every=True)
    return (worse - base) / tokens


@pytest.mark.parametrize("name", ["wanda", "contrastive-wanda", "contrastive-sparse", "sparsegpt"])
def test_the_dial_of_a_scored_mask_is_its_sparsity(name, shared):
    lab = dataclasses.replace(shared, options={"max_loss": 0.02})
    weights = weights_of(lab.model)
    ready = ARMS.get(name).prepare(lab)
    details = ready.cost.details
    mask = lab.extractor.extract(
        *lab.contrast.drawn(8, 0), criterion=name, sparsity=details["dose"]
    )
    assert ready.subnetwork == mask
    assert details["sparsity"] == details["dose"]
    assert rise_of(lab, mask) == pytest.approx(details["general_loss"], abs=1e-5)
    assert details["general_loss"] <= 0.02 or details["dose"] == 1e-4
    assert same_weights(lab.model, weights)


def test_a_scored_mask_reads_the_examples_once_for_every_level(shared, monkeypatch):
    said = []
    lab = dataclasses.replace(shared)
    monkeypatch.setattr(lab.extractor.collector, "settings", dataclasses.replace(
        lab.extractor.settings, report=lambda *given: said.append(given[0])
    ))  # fmt: skip
    dial = ARMS.get("contrastive-wanda").dial(lab)
    assert any(stage.startswith("reading") for stage in said)
    said.clear()
    found = [dial.within(limit) for limit in (0.005, 0.02, 0.05)]
    assert not any(stage.startswith("reading") for stage in said)
    doses = [ready.cost.details["dose"] for ready in found]
    assert doses == sorted(doses)
    assert doses[0] < doses[-1]


@pytest.mark.parametrize("name", ["contrastive-kl", "contrastive-taylor"])
def test_the_dial_of_a_light_mask_is_one_over_lambda_on_one_path(name, shared, monkeypatch):
    said = []
    settings = dataclasses.replace(
        shared.extractor.settings, report=lambda stage, *_: said.append(stage)
    )
    monkeypatch.setattr(shared.extractor.collector, "settings", settings)
    options = {"rounds": 3, "sparsity": 0.05}
    dial = ARMS.get(name).dial(dataclasses.replace(shared, options=options))
    assert said.count("pruning") >= 2
    said.clear()
    found = [dial.within(limit) for limit in (0.002, 0.01, 0.05)]
    assert "pruning" not in said
    pruned = [ready.subnetwork.pruned for ready in found]
    assert 0 < pruned[0] <= pruned[1] <= pruned[2] <= 0.05 * found[0].subnetwork.total
    for ready, limit in zip(found, (0.002, 0.01, 0.05), strict=True):
        details = ready.cost.details
        assert details["general_loss"] <= limit
        loss = rise_of(shared, ready.subnetwork)
        assert loss == pytest.approx(details["general_loss"], abs=1e-5)
        damage = ready.subnetwork.config.options["auto"]["damage"]
        assert damage == pytest.approx(1 / details["dose"])
        counted = name == "contrastive-kl"  # by its budget of loss
        assert ("texts_backward" in details) is ("texts_forward" in details) is counted


def test_what_a_light_arm_is_without_levels_stays(shared):
    options = {"rounds": 2, "max_loss": 0.01}
    ready = ARMS.get("contrastive-kl").prepare(dataclasses.replace(shared, options=options))
    sides = shared.contrast.drawn(8, 0)
    assert ready.subnetwork == shared.extractor.without_statistics(0).extract(
        *sides, criterion="contrastive-kl", options=options
    )
    read = ready.subnetwork.config.options["auto"]
    for name in ("texts_backward", "texts_forward"):
        assert ready.cost.details[name] == read[name] > 0


def test_who_has_no_dial():
    have = {name for name, arm in ARMS.items() if isinstance(arm, Dialable)}
    assert have >= {"wanda", "contrastive-wanda", "contrastive-kl", "lora", "steer2edit"}
    assert not have & {"base", "prompt", "few-shot", "random", "magnitude", "shortest", "opposite"}
    lab = tiny_lab(options={"sparsity": "auto"})
    with pytest.raises(OptionError, match="no dose at sparsity 'auto'"):
        ARMS.get("contrastive-taylor").dial(lab)
    with pytest.raises(OptionError, match=r"sparsity 0\.3 is the dose of 'wanda'"):
        mask_dial(lab.extractor, *lab.contrast.drawn(8, 0), criterion="wanda", sparsity=0.3)
    with pytest.raises(OptionError, match="has no option 'max_loss'"):
        ARMS.get("random").parse({"max_loss": 0.1})
