"""LoRA: it learns, it is put in and taken out, and the base is never written."""

import pytest
import torch

from prosopon.arms import ARMS
from prosopon.arms.adapter import adapted, train
from prosopon.errors import DataError, ModelError, OptionError
from tests.arms.samples import (
    PROMPTS,
    same_weights,
    state_of,
    tiny_contrast,
    tiny_lab,
    weights_of,
)

FAMILIES = ["llama", "gpt2", "opt"]


def logits(lab):
    ids = torch.arange(10).unsqueeze(0)
    with torch.no_grad():
        return lab.model(input_ids=ids).logits


@pytest.mark.parametrize("family", FAMILIES)
def test_it_learns_and_leaves_the_base_as_it_was(family):
    said = []
    options = {"epochs": 6, "batch": 4, "lr": 0.01, "word_dropout": 0}
    lab = tiny_lab(family, options=options)
    lab.extractor.report = lambda *given: said.append(given)
    before, weights, base = state_of(lab.model), weights_of(lab.model), logits(lab)
    prepared = ARMS.get("lora").prepare(lab)
    assert said == [("training LoRA", step + 1, 12) for step in range(12)]
    details = prepared.cost.details
    assert details["last_loss"] < 0.9 * details["first_loss"]
    assert prepared.cost.bytes == 4 * details["parameters"]
    with prepared.speaking() as speaker:
        learned = logits(lab)
        assert not torch.equal(learned, base)
        assert len(speaker.write(PROMPTS, max_new_tokens=3)) == 2
        assert not any(parameter.requires_grad for parameter in lab.model.parameters())
    with prepared.speaking():
        assert torch.equal(logits(lab), learned)
    assert torch.equal(logits(lab), base)
    assert state_of(lab.model) == before
    assert same_weights(lab.model, weights)


def test_the_seed_decides_and_the_global_generator_stays():
    state = torch.get_rng_state()
    runs = [
        ARMS.get("lora").prepare(tiny_lab(options={"steps": 3}, seed=seed)).cost.details
        for seed in (0, 0, 1)
    ]
    assert torch.equal(torch.get_rng_state(), state)
    assert runs[0]["last_loss"] == runs[1]["last_loss"] != runs[2]["last_loss"]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_new_adapter_does_nothing_and_covers_all_but_the_head(family):
    lab = tiny_lab(family)
    base = logits(lab)
    sites = {site.name for site in lab.extractor.sites}
    with adapted(lab.model, r=2, alpha=4.0, state=None) as parameters:
        assert torch.equal(logits(lab), base)
        covered = {name.split(".lora_")[0] for name in parameters}
        wanting = [name for name, p in lab.model.named_parameters() if p.requires_grad]
        assert sorted(wanting) == sorted(parameters)
    assert covered == sites


def test_an_exception_in_training_leaves_no_trace():
    lab = tiny_lab(options={"steps": 5})
    before, weights = state_of(lab.model), weights_of(lab.model)

    def stop(stage, done, total):
        if done == 2:
            raise KeyboardInterrupt

    lab.extractor.report = stop
    with pytest.raises(KeyboardInterrupt):
        ARMS.get("lora").prepare(lab)
    assert state_of(lab.model) == before
    assert same_weights(lab.model, weights)


def test_gradients_and_flags_of_the_base_are_kept():
    lab = tiny_lab(options={"steps": 1})
    first = next(lab.model.parameters())
    first.requires_grad_(True)
    first.grad = torch.ones_like(first)
    ARMS.get("lora").prepare(lab)
    assert first.requires_grad
    assert torch.equal(first.grad, torch.ones_like(first))


def test_a_model_in_16_bits_has_an_adapter_in_32():
    lab = tiny_lab(options={"steps": 2}, dtype=torch.bfloat16)
    with ARMS.get("lora").prepare(lab).speaking():
        kinds = {p.dtype for name, p in lab.model.named_parameters() if ".lora_" in name}
        assert kinds == {torch.float32}
        assert logits(lab).isfinite().all()


def test_small_passes_add_up_to_one_step():
    lab = tiny_lab()
    texts = lab.extractor.encode(lab.contrast.drawn(8, 0)[0], "response")
    ends = []
    for limit in (1, 4096):
        with adapted(lab.model, r=2, alpha=4.0, state=None) as parameters:
            train(
                lab.model, parameters, texts, steps=2, batch=8, rate=1e-3, seed=0,
                max_tokens=limit,
            )  # fmt: skip
            ends.append({name: p.detach().clone() for name, p in parameters.items()})
    for name, value in ends[0].items():
        assert torch.allclose(value, ends[1][name], atol=1e-4)


def test_what_goes_wrong_is_said(monkeypatch):
    weights = tiny_lab()
    lab = tiny_lab(options={"steps": 4, "lr": 1e30})
    with pytest.raises(ModelError, match=r"LoRA diverges at step \d .*lower lr"):
        ARMS.get("lora").prepare(lab)
    assert same_weights(lab.model, weights_of(weights.model))
    with pytest.raises(DataError, match="99 calibration examples asked"):
        ARMS.get("lora").prepare(tiny_lab(examples=99))
    monkeypatch.setattr("prosopon.arms.lora.find_spec", lambda name: None)
    assert "prosopon[compare]" in ARMS.get("lora").refuses(lab)
    with pytest.raises(OptionError, match="lora needs peft"):
        ARMS.get("lora").prepare(lab)


def test_plain_texts_are_learned_too():
    lab = tiny_lab(contrast=tiny_contrast(plain=True), options={"steps": 2})
    assert ARMS.get("lora").prepare(lab).cost.details["steps"] == 2


def test_copies_with_words_left_out_are_learned_too():
    steps = [
        ARMS.get("lora").prepare(tiny_lab(options={"epochs": 1, "word_dropout": most})).cost.details
        for most in (0.0, 1.0)
    ]
    assert steps[1]["steps"] == 2 * steps[0]["steps"]


def test_a_dose_is_the_largest_scale_that_general_text_bears():
    options = {"epochs": 4, "batch": 4, "lr": 0.01, "word_dropout": 0}
    whole = ARMS.get("lora").prepare(tiny_lab(options=options)).cost.details
    assert whole["scale"] == 1.0
    assert "general_loss" not in whole
    lab = tiny_lab(options=options | {"max_loss": 0.01})
    details = ARMS.get("lora").prepare(lab).cost.details
    assert details["general_loss"] <= 0.01
    assert details["scale"] != 1.0
    assert details["last_loss"] == whole["last_loss"]
    with pytest.raises(OptionError, match=r"max_loss=-1\.0: must not be negative"):
        ARMS.get("lora").prepare(tiny_lab(options={"max_loss": -1}))
