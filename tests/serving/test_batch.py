"""Rows in a crowd against every row alone, token by token; and the weights afterwards."""

from __future__ import annotations

import pytest
import torch

from prosopon.lm.generation import generate_tokens
from prosopon.serving import batch, sampling
from prosopon.serving.batch import RowBatch
from prosopon.serving.refusal import Refusal
from prosopon.serving.voice import Voice
from tests.runtime import samples as weights
from tests.serving import samples
from tests.serving.samples import alone, crowd, row, written


@pytest.mark.parametrize("family", ["gpt2", "opt", "gemma", "gpt_neox"])
def test_a_mixed_crowd_writes_what_each_row_writes_alone(family):
    attached = samples.wearer(family)
    base = weights.weights(attached.model)
    expected = alone(attached)
    rows = crowd()
    RowBatch(attached, rows).run()
    assert written(rows) == expected
    assert len(set(expected)) > len(expected) / 2
    weights.assert_bits(attached.model, base)
    assert attached.active is None


def test_a_crowd_of_the_first_family_too(attached, expected):
    for rows in (crowd(), crowd()[::-1]):
        RowBatch(attached, rows).run()
        assert tuple(written(rows[:: 1 if rows[0].settings.seed == 0 else -1])) == expected


def test_rows_of_one_voice_wear_it_in_the_weights(attached):
    lonely, rows = crowd(20)[4::5], crowd(20)[4::5]
    for one in lonely:
        RowBatch(attached, [one], crowded=False).run()
    seen = set()

    def watch():
        seen.add(attached.active)

    RowBatch(attached, rows).run(watch)
    assert seen == {"bold 0.5 + calm 1"}
    assert written(rows) == written(lonely)


def test_base_rows_beside_personas_are_the_base_alone(attached):
    expected = generate_tokens(
        attached.model, attached.tokenizer, samples.PROMPTS, temperature=0, max_new_tokens=12
    )
    base = [row(prompt=p, temperature=0.0, max_tokens=12)[0] for p in samples.PROMPTS]
    rows = [one for pair in zip(base, crowd(4), strict=True) for one in pair]
    RowBatch(attached, rows).run()
    ends = batch.end_tokens(attached.model, attached.tokenizer)
    assert [one.written for one in base] == [[t for t in row if t not in ends] for row in expected]


def test_every_draw_in_doubt_is_made_from_the_row_alone(attached, expected, monkeypatch):
    monkeypatch.setattr(sampling, "ROUNDING", 1e12)
    rows = crowd(3)
    own = RowBatch(attached, rows)
    own.run()
    assert tuple(written(rows)) == expected[:3]
    assert own.redrawn == sum(map(len, expected[:3]))


def test_rounding_never_decides_though_it_is_large(attached, expected, monkeypatch):
    """Scores of a crowd that are wrong in the second digit give the same text."""
    true = RowBatch._forward
    generator = torch.Generator().manual_seed(0)

    def wrong(self):
        scores = true(self)
        return scores + 0.03 * (2 * torch.rand(scores.shape, generator=generator) - 1)

    monkeypatch.setattr(RowBatch, "_forward", wrong)
    monkeypatch.setattr(batch, "rounding_error", lambda scores, dtype: 0.03)
    rows = crowd()
    own = RowBatch(attached, rows)
    own.run()
    assert tuple(written(rows)) == expected
    assert 0 < own.redrawn < sum(map(len, expected))


def test_a_family_without_a_cache_reads_everything_again(attached, expected, monkeypatch):
    true = RowBatch._call
    monkeypatch.setattr(RowBatch, "_call", lambda *args: (true(*args)[0], {}))
    rows = crowd()
    RowBatch(attached, rows).run()
    assert tuple(written(rows)) == expected


def test_a_cache_that_lets_no_row_go_is_made_again(attached, expected, monkeypatch):
    from transformers import DynamicCache

    def refuse(self, indices):
        raise AttributeError

    monkeypatch.setattr(DynamicCache, "batch_select_indices", refuse)
    rows = crowd()
    RowBatch(attached, rows).run()
    assert tuple(written(rows)) == expected


def test_a_row_that_nobody_waits_for_leaves_and_the_others_go_on(attached, expected):
    rows, steps = crowd(), 0

    def watch():
        nonlocal steps
        steps += 1
        rows[3].is_cancelled = steps >= 2

    own = RowBatch(attached, rows)
    own.run(watch)
    assert len(rows[3].written) == 2
    assert rows[3].is_done
    others = [own for number, own in enumerate(written(rows)) if number != 3]
    assert tuple(others) == expected[:3] + expected[4:]


def test_a_row_that_is_late_fails(attached):
    late, events = row(max_tokens=200)
    late.deadline = 0.0
    RowBatch(attached, [late]).run()
    assert isinstance(events[-1], Refusal)
    assert events[-1].status == 504
    assert len(late.written) == 1


def test_scores_that_are_no_numbers_fail_their_row_alone(attached, monkeypatch):
    true = RowBatch._forward

    def broken(self):
        scores = true(self)
        scores[0] = torch.nan
        return scores

    monkeypatch.setattr(RowBatch, "_forward", broken)
    (bad, events), (good, others) = row(), row(max_tokens=1)
    RowBatch(attached, [bad, good]).run()
    assert "NaN" in events[0].message
    assert len(good.written) == 1
    assert others[-1].finish == "length"


@pytest.mark.parametrize("voices", [[Voice("bold")] * 2, [Voice("bold"), Voice("calm")]])
def test_the_base_is_back_after_an_exception(attached, voices):
    class Broken(Exception):
        pass

    def watch():
        raise Broken

    with pytest.raises(Broken):
        RowBatch(attached, [row(voice, max_tokens=50)[0] for voice in voices]).run(watch)
    assert attached.active is None
    attached.set_persona("bold")  # and nothing is in the way
    attached.disable()


def test_in_half_precision_a_row_alone_is_drawn_at_once():
    attached = samples.wearer(dtype=torch.bfloat16)
    (one, events), (again, _) = row(seed=4), row(seed=4)
    for own in (one, again):
        lonely = RowBatch(attached, [own], crowded=False)
        lonely.run()
        assert lonely.redrawn == 0
    assert one.written == again.written
    assert samples.text(events) is not None
