"""Measures by the grammar: cross-talk, skills, and a prompt beside a mask."""

import pytest

from prosopon.data import bundled, draw
from prosopon.data.grammar import load_world
from prosopon.data.grammar.exam import choice_items
from prosopon.evaluation import Effort, GrammarMeter, choice_rates
from prosopon.extraction import Extractor
from prosopon.lm import sample_general
from prosopon.runtime import worn
from tests.tiny import tiny_model

EFFORT = Effort(choices=4, answers=3, max_new_tokens=4, neutral=5, cross=3)


@pytest.fixture(scope="module")
def meter():
    model, tokenizer = tiny_model("llama", chat=True)
    general = sample_general(model, tokenizer, count=3, length=16, seed=9)
    return GrammarMeter(model, tokenizer, general, EFFORT)


def test_the_base_talks_across_nothing(meter):
    found = meter.measure("bold", seed=1)
    assert (found.cross_talk, found.perplexity_ratio) == (0, 1)
    assert found.neither == 1  # a random model does not speak the grammar
    assert found.skills == 0
    assert found.judge_accuracy is None


def test_cross_talk_is_the_mean_change_on_the_other_axes(meter):
    extractor = Extractor(meter.model, meter.tokenizer)
    sides = [draw(bundled.load(name), 4, 0) for name in ("bold", "cautious")]
    mask = extractor.extract(*sides, criterion="random", sparsity=0.5)
    others = [a for a in load_world().axes.values() if "bold" not in [p.name for p in a.poles]]
    assert len(others) == 7

    def rates():
        asked = [choice_items(axis.poles[1].name, 3, seed=2) for axis in others]
        return [choice_rates(meter.model, meter.tokenizer, items).per_token for items in asked]

    before = rates()
    with worn(meter.model, meter.tokenizer, mask):
        after = rates()
    expected = sum(abs(a - b) for a, b in zip(before, after, strict=True)) / 7
    assert expected > 0
    assert meter.measure("bold", mask, seed=2).cross_talk == pytest.approx(expected)


def test_a_prompt_leaves_general_text_alone(meter):
    found = meter.measure("bold", system="You are bold.")
    assert found.perplexity_ratio == 1
    assert found.choice_per_token != meter.measure("bold").choice_per_token or found.cross_talk > 0
