import json

import pytest
import torch

from prosopon.analysis.probe import (
    Choices,
    Probe,
    ProbeAxis,
    bundled_axes,
    effect,
    file_axis,
    mean_choices,
    paired_json,
)
from prosopon.data import Example, Message, Persona, encode
from prosopon.data.questions import ChoiceItem
from prosopon.errors import DataError, OptionError, SubnetworkError
from prosopon.evaluation import choice_rates, perplexity
from prosopon.runtime import worn
from tests.analysis.samples import axis, probe
from tests.runtime.samples import assert_bits, subnetwork, weights


def test_choices_are_the_library_s_own_rates(asked):
    one = axis()
    mask = subnetwork(asked.model)
    found, loss = asked.measure(mask, one)
    with worn(asked.model, asked.tokenizer, mask):
        rates = choice_rates(asked.model, asked.tokenizer, one.items)
        expected = perplexity(asked.model, asked.general)
    assert found.rate == pytest.approx(rates.per_token)
    assert loss == pytest.approx(expected)
    assert asked.choices(mask, [one])["energy"] == found


def test_the_base_is_back_bit_for_bit_also_after_an_exception(asked):
    one = axis(count=2)
    before = weights(asked.model)
    base = asked.measure(None, one)
    assert asked.measure(subnetwork(asked.model), one) != base
    assert_bits(asked.model, before)
    silent = Probe(asked.model, asked.tokenizer)
    with pytest.raises(DataError, match="no general text"):
        silent.measure(subnetwork(asked.model), one)
    assert_bits(asked.model, before)
    with pytest.raises(SubnetworkError, match="does not belong"):
        asked.choices(subnetwork(probe(seed=1).model), [one])
    assert_bits(asked.model, before)


def test_effect_is_the_difference_with_its_interval():
    ours = Choices((1.0, 1.0, 0.5, 1.0), (0.4, 0.2, 0.0, 0.2))
    base = Choices((0.0, 1.0, 0.5, 0.0), (-0.4, 0.2, 0.0, -0.2))
    found = effect(ours, base)
    assert found.rate.difference.mean == pytest.approx(ours.rate - base.rate) == 0.5
    assert found.margin.difference.mean == pytest.approx(0.3)
    shown = paired_json(found.rate)
    assert shown["low"] <= 0.5 <= shown["high"]
    assert shown["questions"] == 4


def test_mean_over_masks_question_by_question():
    found = mean_choices([Choices((1.0, 0.0), (0.4, -0.2)), Choices((0.0, 0.0), (0.0, -0.4))])
    assert found.wins == (0.5, 0.0)
    assert found.margins == pytest.approx((0.2, -0.3))
    with pytest.raises(OptionError, match="no masks"):
        mean_choices([])


def test_bundled_axes():
    found = bundled_axes(3)
    assert [each.name for each in found][:2] == ["energy", "perception"]
    assert all(len(each.items) == 3 for each in found)
    assert found[0].toward("extravert") == 1
    assert found[0].toward("introvert") == -1
    assert found[0].toward("bold") == 0
    with pytest.raises(OptionError, match="at least one"):
        bundled_axes(0)


def test_an_axis_from_examples():
    def persona(name, answer):
        turns = (Message("user", "Where?"), Message("assistant", answer))
        return Persona(name, (Example(turns),))

    found = file_axis(persona("a", "here"), persona("b", "there"), 5)
    assert (found.target, found.opposite) == ("a", "b")
    assert [(i.matching, i.not_matching) for i in found.items] == [("here", "there")]
    with pytest.raises(OptionError, match="at least one"):
        file_axis(persona("a", "here"), persona("b", "there"), 0)


def slow_likelihood(asked, prompt, answer):
    """Log-likelihood per token of an answer: one forward pass, one token after the other."""
    row = encode((Message("user", prompt), Message("assistant", answer)), asked.tokenizer)
    with torch.no_grad():
        log_p = asked.model(torch.tensor([row.input_ids])).logits[0].double().log_softmax(-1)
    places = [place for place, counts in enumerate(row.scope) if counts]
    return sum(float(log_p[place - 1, row.input_ids[place]]) for place in places) / len(places)


def test_margins_are_those_of_a_slow_loop(asked):
    one = axis(count=3)
    margins = asked.choices(None, [one])["energy"].margins
    for item, margin in zip(one.items, margins, strict=True):
        prompt = item.prompt[0].content
        ours, theirs = (
            slow_likelihood(asked, prompt, a) for a in (item.matching, item.not_matching)
        )
        assert margin == pytest.approx(ours - theirs, abs=2e-4)


def test_exchanged_poles_turn_every_choice(asked):
    one = axis()
    items = tuple(ChoiceItem(i.prompt, i.not_matching, i.matching) for i in one.items)
    turned = ProbeAxis("turned", one.opposite, one.target, items)
    found = asked.choices(None, [one, turned])
    ours, theirs = found["energy"], found["turned"]
    assert theirs.wins == ours.toward(-1).wins
    assert theirs.margins == pytest.approx(ours.toward(-1).margins, abs=1e-5)
    assert theirs.rate == pytest.approx(1 - ours.rate)
    assert ours.toward(1) == ours == ours.toward(-1).toward(-1)


def test_two_answers_alike_are_a_tie(asked):
    item = ChoiceItem((Message("user", "Wer? 谁?"),), "Schüchtern", "Schüchtern")
    tie = asked.choices(None, [ProbeAxis("tie", "a", "b", (item,))])["tie"]
    assert (tie.wins, tie.margins) == ((0.5,), (0.0,))


def test_a_mask_that_prunes_nothing_changes_nothing(asked):
    one = axis()
    dense = subnetwork(asked.model, share=0.0)
    assert dense.pruned == 0
    assert asked.measure(dense, one) == asked.measure(None, one)


def test_an_effect_of_one_question_has_no_end():
    shown = paired_json(effect(Choices((1.0,), (0.5,)), Choices((0.0,), (0.0,))).margin)
    assert (shown["difference"], shown["questions"], shown["p"]) == (0.5, 1, 1)
    assert shown["low"] == -float("inf")
    assert "Infinity" in json.dumps(shown)


def test_other_questions_cannot_be_compared():
    with pytest.raises(OptionError):
        effect(Choices((1.0, 0.0), (0.5, 0.1)), Choices((0.0,), (0.0,)))


def test_an_axis_takes_no_more_questions_than_asked_for_and_needs_one():
    def persona(name, *answers):
        rows = enumerate(answers)
        turns = ((Message("user", f"Where {i}?"), Message("assistant", a)) for i, a in rows)
        return Persona(name, tuple(map(Example, turns)))

    ours, theirs = persona("大胆", "a", "b", "c"), persona("schüchtern", "x", "y", "z")
    assert [i.matching for i in file_axis(ours, theirs, 2).items] == ["a", "b"]
    assert file_axis(ours, theirs, 9).name == "大胆 / schüchtern"
    assert len(file_axis(ours, theirs, 9).items) == 3


def test_questions_of_bundled_axes_are_seeded_and_differ():
    first, again, other = bundled_axes(4), bundled_axes(4), bundled_axes(4, seed=1)
    assert first == again
    assert first != other
    assert len({axis.name for axis in first}) == len(first)
    for one in first:
        assert all(item.matching != item.not_matching for item in one.items)
