"""Weight steering: a difference of two adapters, as strong as general text bears."""

import pytest
import torch

from prosopon.arms import ARMS
from prosopon.arms.adapter import adapted, scaled
from prosopon.arms.dose import LEAST, MOST
from prosopon.arms.weight_steering import subtract
from prosopon.errors import OptionError
from prosopon.lm import text_losses
from prosopon.models import find_sites
from tests.arms.samples import exchange, same_weights, state_of, tiny_contrast, tiny_lab, weights_of

QUICK = {"steps": 3, "lr": 0.01, "r": 2}


def logits(lab):
    with torch.no_grad():
        return lab.model(input_ids=torch.arange(10).unsqueeze(0)).logits


def random_state(lab, seed):
    generator = torch.Generator().manual_seed(seed)
    with adapted(lab.model, r=2, alpha=4.0, state=None) as parameters:
        return {n: torch.randn(p.shape, generator=generator) for n, p in parameters.items()}


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_the_joint_adapter_adds_the_difference_of_the_two(family):
    lab = tiny_lab(family)
    target, opposite = random_state(lab, 1), random_state(lab, 2)
    with adapted(lab.model, r=4, alpha=8.0, state=scaled(subtract(target, opposite), 0.3)):
        joint = logits(lab)
    before = weights_of(lab.model)
    with torch.no_grad():
        for site in find_sites(lab.model):
            stem = site.name
            name = next(n for n in target if n.startswith(f"{stem}.lora_A."))
            other = name.replace(".lora_A.", ".lora_B.")
            delta = target[other] @ target[name] - opposite[other] @ opposite[name]
            site.matrix().add_(0.3 * 2 * delta)
    assert not same_weights(lab.model, before)
    assert torch.allclose(logits(lab), joint, atol=2e-4)


def test_of_two_that_are_the_same_nothing_remains():
    lab = tiny_lab()
    state, base = random_state(lab, 1), logits(lab)
    with adapted(lab.model, r=4, alpha=8.0, state=scaled(subtract(state, state), 5.0)):
        assert torch.allclose(logits(lab), base, atol=1e-3)


def test_it_spends_what_general_text_bears_and_leaves_no_trace():
    lab = tiny_lab(options=QUICK | {"max_loss": 0.01})
    lab.extractor.general()
    before, weights, base = state_of(lab.model), weights_of(lab.model), logits(lab)
    prepared = ARMS.get("weight-steering").prepare(lab)
    details = prepared.cost.details
    assert LEAST <= details["scale"] <= MOST
    assert details["general_loss"] <= 0.01
    texts = lab.extractor.held_out()
    total, tokens = text_losses(lab.model, texts, every=True)
    with prepared.speaking():
        assert not torch.equal(logits(lab), base)
        worse, _ = text_losses(lab.model, texts, every=True)
    assert (worse - total) / tokens == pytest.approx(details["general_loss"], abs=1e-4)
    assert state_of(lab.model) == before
    assert same_weights(lab.model, weights)


def test_target_and_opposite_exchanged_it_points_the_other_way():
    contrast = tiny_contrast()
    options = QUICK | {"max_loss": 0, "scale": 1.0}
    moves = []
    for one in (contrast, exchange(contrast)):
        lab = tiny_lab(options=options, contrast=one)
        base = logits(lab)
        with ARMS.get("weight-steering").prepare(lab).speaking():
            moves.append((logits(lab) - base).flatten())
    assert torch.cosine_similarity(*moves, dim=0) < -0.5


def test_bad_options_are_refused():
    with pytest.raises(OptionError, match="max_loss=-1"):
        ARMS.get("weight-steering").prepare(tiny_lab(options={"max_loss": -1}))
