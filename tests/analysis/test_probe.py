import pytest

from prosopon.analysis.probe import (
    Choices,
    bundled_axes,
    effect,
    file_axis,
    mean_choices,
    paired_json,
)
from prosopon.data import Example, Message, Persona
from prosopon.errors import DataError, OptionError, SubnetworkError
from prosopon.evaluation import choice_rates, perplexity
from prosopon.runtime import worn
from tests.analysis.samples import axis, probe
from tests.runtime.samples import assert_bits, subnetwork, weights


def test_choices_are_the_library_s_own_rates():
    asked, one = probe(), axis()
    mask = subnetwork(asked.model)
    found, loss = asked.measure(mask, one)
    with worn(asked.model, asked.tokenizer, mask):
        rates = choice_rates(asked.model, asked.tokenizer, one.items)
        expected = perplexity(asked.model, asked.general)
    assert found.rate == pytest.approx(rates.per_token)
    assert loss == pytest.approx(expected)
    assert asked.choices(mask, [one])["energy"] == found


def test_the_base_is_back_bit_for_bit_also_after_an_exception():
    asked, one = probe(), axis()
    before = weights(asked.model)
    base = asked.measure(None, one)
    assert asked.measure(subnetwork(asked.model), one) != base
    assert_bits(asked.model, before)
    asked.general = []
    with pytest.raises(DataError, match="no general text"):
        asked.measure(subnetwork(asked.model), one)
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
