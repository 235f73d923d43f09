"""Measures of worn masks: against slow definitions, and the base untouched."""

import dataclasses

import pytest
import torch

from prosopon.data import Message, Persona, bundled, draw, split_contrast
from prosopon.errors import DataError, OptionError
from prosopon.evaluation import MEASURES, Effort, PairMeter, perplexity
from prosopon.evaluation.pair_meter import with_system
from prosopon.extraction import Extractor
from prosopon.lm import sample_general
from prosopon.runtime import worn
from tests.tiny import tiny_model

EFFORT = Effort(choices=6, answers=7, max_new_tokens=6, judge=20)


def texts(model, tokenizer):
    return sample_general(model, tokenizer, count=3, length=16, seed=9)


def meter(family="llama", chat=True):
    model, tokenizer = tiny_model(family, chat=chat)
    split = split_contrast(bundled.load("bold"), bundled.load("cautious"), judge=20, test=8)
    general = texts(model, tokenizer)
    made = PairMeter.with_judge(model, tokenizer, split.test, split.judge, general, EFFORT)
    return made, Extractor(model, tokenizer), split


def test_a_mask_is_measured_and_taken_off():
    measured, extractor, split = meter()
    before = [p.clone() for p in measured.model.parameters()]
    mask = extractor.extract(*split.calibration, criterion="random", sparsity=0.5)
    base = measured.measure("bold")
    masked = measured.measure("bold", mask)
    assert base.perplexity_ratio == 1
    assert masked.perplexity_ratio == masked.perplexity / base.perplexity != 1
    assert masked.target + masked.opposite + masked.neither == pytest.approx(1)
    after = list(measured.model.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert measured.measure("bold") == base
    with worn(measured.model, measured.tokenizer, mask):
        assert perplexity(measured.model, measured.general) == masked.perplexity
    assert list(base.to_json()) == list(MEASURES)


def test_the_base_is_known_before_the_first_mask_is_worn():
    first, extractor, split = meter()
    mask = extractor.extract(*split.calibration, criterion="random", sparsity=0.5)
    ratio = first.measure("bold", mask).perplexity_ratio
    second, _, _ = meter()
    second.measure("bold")
    assert second.measure("bold", mask).perplexity_ratio == ratio


def test_sides_are_exchanged():
    ours, _extractor, split = meter()
    theirs = PairMeter.with_judge(
        ours.model, ours.tokenizer, split.test[::-1], split.judge[::-1], ours.general, EFFORT
    )
    a, b = ours.measure("bold"), theirs.measure("cautious")
    assert (a.choice_per_token + b.choice_per_token, a.choice_summed + b.choice_summed) == (1, 1)
    assert (a.target, a.opposite) == (b.opposite, b.target)


def test_plain_texts_are_gone_on_from():
    model, tokenizer = tiny_model("llama")
    from prosopon.data import Example

    def plain(name):
        examples = bundled.load(name).examples[:160]
        told = [
            Example((Message("assistant", f"{i} {e.response}"),)) for i, e in enumerate(examples)
        ]
        return Persona(name, tuple(told))

    split = split_contrast(plain("bold"), plain("cautious"), judge=40, test=8)
    made = PairMeter.with_judge(
        model, tokenizer, split.test, split.judge, texts(model, tokenizer), EFFORT
    )
    found = made.measure("bold", system="Be bold.")
    assert 0 <= found.target <= 1
    assert found.mean_words > 0
    assert found.judge_accuracy > 0.8


def test_a_system_line_goes_first():
    prompt = (Message("user", "Hi"),)
    assert with_system(prompt, None) == prompt
    assert with_system(prompt, "Be bold.") == (Message("system", "Be bold."), *prompt)
    both = with_system((Message("system", "Short."), *prompt), "Be bold.")
    assert both == (Message("system", "Be bold.\nShort."), *prompt)


def test_parts_share_no_prompt_and_do_not_depend_on_order():
    target, opposite = bundled.load("bold"), bundled.load("cautious")
    split = split_contrast(target, opposite, judge=30, test=20)
    parts = [split.calibration, split.judge, split.test]
    asked = [{e.prompt for side in part for e in side.examples} for part in parts]
    assert not asked[0] & asked[1]
    assert not asked[1] & asked[2]
    assert not asked[0] & asked[2]
    assert sum(len(part[0]) for part in parts) == len(target)
    backwards = dataclasses.replace(target, examples=target.examples[::-1])
    again = split_contrast(backwards, opposite, judge=30, test=20)
    assert again.test[0].content_hash() == split.test[0].content_hash()
    exchanged = split_contrast(opposite, target, judge=30, test=20)
    assert exchanged.test == split.test[::-1]


def test_too_few_to_split_or_to_draw():
    few = dataclasses.replace(bundled.load("bold"), examples=bundled.load("bold").examples[:2])
    with pytest.raises(DataError, match="leave none for the"):
        split_contrast(few, few.opposite(), judge=5, test=5)
    with pytest.raises(DataError, match="bold: 3 calibration examples asked, 2 there are"):
        draw(few, 3, 0)
    assert draw(few, 2, 0).examples == few.examples


def test_effort_is_checked():
    with pytest.raises(OptionError, match="answers=0"):
        Effort(answers=0)
