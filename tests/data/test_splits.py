"""Parts of a contrast share no prompt, and what a mask was found on can be left out."""

import dataclasses

import pytest

from prosopon.data import Example, Message, Persona, bundled, draw, split_contrast
from prosopon.data.contrast import file_contrast
from prosopon.data.splits import leave_out, prompt_hashes
from prosopon.errors import DataError


def persona(name, word, count=40, *, asked=True):
    rows = []
    for i in range(count):
        answer = Message("assistant", f"{word} {i}")
        rows.append(Example((Message("user", f"Day {i}?"), answer) if asked else (answer,)))
    return Persona(name, tuple(rows))


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


def test_hashes_are_of_prompts_short_sorted_and_each_once():
    ours, theirs = persona("loud", "HEY", 5), persona("calm", "well", 5)
    hashes = prompt_hashes(ours, theirs)
    assert len(hashes) == 5  # both sides answer the same prompts
    assert hashes == sorted(hashes)
    assert {len(text) for text in hashes} == {16}
    assert prompt_hashes(ours) == hashes
    assert (
        len(prompt_hashes(persona("a", "x", 3, asked=False), persona("b", "y", 3, asked=False)))
        == 6
    )


def test_what_was_seen_is_left_out_on_both_sides():
    ours, theirs = persona("loud", "HEY"), persona("calm", "well")
    seen = prompt_hashes(Persona("loud", ours.examples[:15]))
    left = leave_out((ours, theirs), seen)
    assert [len(side) for side in left] == [25, 25]
    assert left[0].examples == ours.examples[15:]
    assert left[1].examples == theirs.examples[15:]


def test_rows_of_plain_texts_go_together():
    ours, theirs = (persona(name, name, asked=False) for name in ("loud", "calm"))
    seen = prompt_hashes(Persona("loud", ours.examples[:3]), Persona("calm", theirs.examples[2:5]))
    left = leave_out((ours, theirs), seen)
    assert left[0].examples == ours.examples[5:]
    assert left[1].examples == theirs.examples[5:]


def test_a_contrast_without_what_was_seen_asks_the_rest_or_refuses():
    contrast = file_contrast(persona("loud", "HEY"), persona("calm", "well"), questions=10)
    assert len(contrast.items()) == 10
    seen = prompt_hashes(Persona("x", contrast.test[0].examples[:4]))
    assert len(contrast.without(seen).items()) == 6
    assert contrast.without(prompt_hashes(*contrast.calibration)) == contrast
    assert contrast.without(prompt_hashes(*contrast.judge)) == contrast
    learned = prompt_hashes(Persona("x", contrast.judge[1].examples[:3]))
    for before, after in zip(
        contrast.judge, contrast.without(learned, judge=True).judge, strict=True
    ):
        assert after.examples == before.examples[3:]
    with pytest.raises(DataError, match="the mask was found on every test question"):
        contrast.without(prompt_hashes(*contrast.test))
