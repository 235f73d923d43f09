"""A mask that is there already is worn as it is, and taken off again."""

import torch

from prosopon.arms import Lab
from prosopon.arms.worn import WornArm
from prosopon.data import Message, bundled, draw
from prosopon.data.contrast import bundled_contrast
from prosopon.evaluation.speaking import OptionQuestion
from prosopon.extraction import Extractor
from tests.tiny import tiny_model


def test_the_mask_speaks_and_the_base_comes_back():
    model, tokenizer = tiny_model("llama", chat=True)
    extractor = Extractor(model, tokenizer)
    sides = [draw(bundled.load(name), 4, 0) for name in ("bold", "cautious")]
    mask = extractor.extract(*sides, criterion="random", sparsity=0.5)
    lab = Lab(extractor, bundled_contrast("bold", questions=4), 4, 0, {})
    arm = WornArm("mine", mask)
    assert (arm.kind, arm.learns, arm.refuses(lab)) == ("mask", False, None)
    before = [parameter.clone() for parameter in model.parameters()]
    question = [OptionQuestion((Message("user", "Who?"),), ("Me.", "You."))]
    prepared = arm.prepare(lab)
    with prepared.speaking() as speaker:
        masked = speaker.score(question)[0].by["summed"]
    with prepared.speaking() as speaker:
        assert speaker.score(question)[0].by["summed"] == masked
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert prepared.cost.details["pruned_share"] == mask.pruned_share
    assert prepared.subnetwork is mask
