"""LoRA on the objective of contrastive-kl."""

import pytest
import torch

from prosopon.arms import ARMS
from prosopon.data import encode_all
from prosopon.data.pairs import pair_examples
from prosopon.errors import OptionError
from prosopon.gradients import Anchor, pair_log_odds
from tests.arms.samples import exchange, same_weights, state_of, tiny_contrast, tiny_lab, weights_of

QUICK = {"steps": 12, "lr": 0.01, "batch": 4, "max_loss": 0}


def odds(lab, arm_lab=None):
    """Mean log-odds of the calibration pairs, as the lab's model stands."""
    target, opposite = lab.contrast.drawn(lab.examples, lab.seed)
    pairs = pair_examples(target.examples, opposite.examples)
    sides = [encode_all([pair[i] for pair in pairs], lab.tokenizer) for i in (0, 1)]
    return float(pair_log_odds(lab.model, list(zip(*sides, strict=True))).mean())


def test_it_pulls_the_sides_apart_and_leaves_no_trace():
    lab = tiny_lab(options=QUICK)
    lab.extractor.general()
    before, weights, base = state_of(lab.model), weights_of(lab.model), odds(lab)
    prepared = ARMS.get("contrastive-lora").prepare(lab)
    with prepared.speaking():
        assert odds(lab) > base + 1
    assert odds(lab) == base
    assert state_of(lab.model) == before
    assert same_weights(lab.model, weights)


def test_exchanged_it_pulls_the_other_way():
    lab = tiny_lab(options=QUICK)
    base = odds(lab)
    other = tiny_lab(options=QUICK, contrast=exchange(tiny_contrast()))
    with ARMS.get("contrastive-lora").prepare(other).speaking():
        lab_odds = odds(other)
    assert lab_odds > -base + 1


def test_the_divergence_holds_it_near_the_base():
    sizes = []
    for weight in (0.0, 100.0):
        lab = tiny_lab(options=QUICK | {"kl_weight": weight})
        anchor = Anchor(lab.model, lab.extractor.general())
        with ARMS.get("contrastive-lora").prepare(lab).speaking(), torch.no_grad():
            sizes.append(sum(float(term) for term in anchor.terms(lab.model)))
    assert sizes[1] < 0.5 * sizes[0]


def test_a_dose_is_taken():
    lab = tiny_lab(options=QUICK | {"max_loss": 0.02})
    details = ARMS.get("contrastive-lora").prepare(lab).cost.details
    assert details["general_loss"] <= 0.02
    with pytest.raises(OptionError, match="epochs=0"):
        ARMS.get("contrastive-lora").prepare(tiny_lab(options={"epochs": 0}))


def test_the_power_of_likelihoods_changes_what_it_learns():
    answers = []
    for power in (0.0, 0.5):
        lab = tiny_lab(options=QUICK | {"likelihood_power": power})
        with ARMS.get("contrastive-lora").prepare(lab).speaking():
            answers.append(odds(lab))
    assert answers[0] != answers[1]
    assert answers[1] > odds(lab) + 0.5  # the sides come apart all the same
