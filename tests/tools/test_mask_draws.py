"""Masks of an axis's ends beside two draws of one end, on a tiny model."""

import pytest

from prosopon.experiments.paper import find_sets, set_contrast
from prosopon.extraction import Extractor
from prosopon.models import LoadedModel
from tests.experiments.authors import write_axes
from tests.tiny import tiny_model
from tools import mask_draws


@pytest.fixture
def contrasts(tmp_path):
    write_axes(tmp_path, ("energy",))
    return {one.group: set_contrast(one, questions=4).contrast for one in find_sets(tmp_path)[0]}


def test_an_axis_and_both_its_ends_drawn_twice(contrasts):
    loaded = LoadedModel(*tiny_model("llama", chat=True), "tiny")
    rows = {row[0]: row for row in mask_draws.compare(loaded, contrasts, 4)}
    assert list(rows) == ["I-E", "I, two draws", "E, two draws"]
    masks = [
        Extractor(loaded.model, loaded.tokenizer).extract(
            *contrasts["I"].drawn(4, seed), criterion="wanda", sparsity=0.3
        )
        for seed in (0, 1)
    ]
    differ = sum(int((masks[0].keep[n] != masks[1].keep[n]).sum()) for n in masks[0].keep)
    assert rows["I, two draws"][1] == f"{differ / masks[0].total:.2%}"
    assert differ > 0
    same = mask_draws.row("one", masks[0], masks[0])
    assert same == ("one", "0.00%", "0.00%", "0.00%", "1.0000", "1.0000")


def test_one_end_alone_is_no_axis(contrasts):
    loaded = LoadedModel(*tiny_model("llama", chat=True), "tiny")
    assert list(mask_draws.compare(loaded, {"I": contrasts["I"]}, 4)) == []
