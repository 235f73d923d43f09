"""Rows that come and go in a packed batch, against every row alone; and the engine that has one."""

from __future__ import annotations

import math
import time

import pytest
import torch

from prosopon.errors import OptionError, UnknownNameError
from prosopon.lm.generation import generate_tokens
from prosopon.serving import pages, sampling
from prosopon.serving.batch import RowBatch
from prosopon.serving.engine import Engine
from prosopon.serving.packed_batch import PackedBatch
from prosopon.serving.pages import EngineError, Pages
from prosopon.serving.refusal import Refusal
from prosopon.serving.row import Piece
from prosopon.serving.voice import Voice
from tests.runtime import samples as weights
from tests.serving import samples
from tests.serving.samples import VOICES, crowd, row, written
from tests.serving.test_engine import wait, working

BOLD, CALM, HEAVY = Voice("bold"), Voice("calm"), Voice("heavy")
LONG = [1, *range(40, 79)]


@pytest.fixture(scope="module")
def one():
    """Return a packed batch for all tests that leave it empty; the base is back after each."""
    attached = samples.wearer(personas=("bold", "calm", "heavy"))
    return PackedBatch(attached, Pages(attached.model, 8, 2048))


@pytest.fixture
def batch(one):
    one.clear()
    one.redrawn = one.pages.prompt_tokens = one.pages.shared = 0
    base = weights.weights(one.wearer.model)
    yield one
    weights.assert_bits(one.wearer.model, base)
    assert one.wearer.active is None
    assert not one.rows


def write(batch, rows, places=3):
    """Write rows, of which another one joins as soon as there is a place."""
    left = list(rows)
    while left or batch.rows:
        while left and len(batch.rows) < places and batch.fits(left[0]):
            batch.admit([left.pop(0)])
        batch.step()


def test_rows_that_come_and_go_write_what_each_writes_alone(batch, expected):
    for places in (3, 8):
        rows = crowd()
        write(batch, rows, places)
        assert tuple(written(rows)) == expected
    assert 0 <= batch.redrawn < 5


@pytest.mark.parametrize("family", ["gpt2", "qwen3"])
def test_other_families_too(family):
    attached = samples.wearer(family)
    rows = crowd()
    write(PackedBatch(attached, Pages(attached.model, 8, 2048)), rows, 5)
    assert written(rows) == samples.alone(attached)


def test_pages_of_one_voice_never_reach_another(batch):
    """One long prompt for all voices, again and again: every row is that of its voice alone."""
    voices = [*VOICES, Voice("bold", activate="answer"), Voice("calm", activate="answer")]

    def rows():
        return [
            row(voice, LONG, seed=number, max_tokens=6)[0] for number, voice in enumerate(voices)
        ]

    lonely = rows()
    for own in lonely:
        RowBatch(batch.wearer, [own], crowded=False).run()
    for places in (2, 8):
        again = rows()
        write(batch, again, places)
        assert written(again) == written(lonely)
    assert len(set(written(lonely))) == len(voices)
    # All but the first reading find the two whole pages: also answers alone, those of the base.
    assert batch.pages.shared >= (2 * len(voices) - 7) * 32


def test_what_was_answered_is_shared_by_the_next_turn_of_its_persona(batch):
    first, _ = row(BOLD, LONG, max_tokens=30, seed=3)
    write(batch, [first])
    talk = [*first.tokens, 5, 6]
    lonely = [row(voice, talk, seed=1)[0] for voice in (BOLD, Voice(), CALM)]
    again = [row(voice, talk, seed=1)[0] for voice in (BOLD, Voice(), CALM)]
    for own in lonely:
        RowBatch(batch.wearer, [own], crowded=False).run()
    before = batch.pages.shared
    write(batch, again)
    assert written(again) == written(lonely)
    assert batch.pages.shared - before == (len(talk) - 3) // 16 * 16


def test_a_persona_that_is_another_one_now_finds_no_pages_of_the_old_one():
    attached = samples.wearer()
    batch = PackedBatch(attached, Pages(attached.model, 4, 1024))
    write(batch, [row(BOLD, LONG)[0]])
    attached.unload_persona("bold")
    attached.load_persona(samples.mask(attached.model, "bold", 9))
    again, lonely = row(BOLD, LONG, seed=2)[0], row(BOLD, LONG, seed=2)[0]
    write(batch, [again])
    assert batch.pages.shared == 0
    RowBatch(attached, [lonely], crowded=False).run()
    assert written([again]) == written([lonely])
    attached.unload_persona("bold")
    attached.load_persona(samples.mask(attached.model, "bold", 0), "renamed")  # the first mask
    write(batch, [row(Voice("renamed"), LONG)[0]])
    assert batch.pages.shared == 32


def test_rounding_never_decides_though_it_is_large(batch, expected, monkeypatch):
    true, draws = Pages.read, torch.Generator().manual_seed(0)

    def wrong(self):
        scores = true(self)
        return scores + 0.03 * (2 * torch.rand(scores.shape, generator=draws) - 1)

    monkeypatch.setattr(Pages, "read", wrong)
    monkeypatch.setattr("prosopon.serving.batch.rounding_error", lambda scores, dtype: 0.03)
    rows = crowd()
    write(batch, rows)
    assert tuple(written(rows)) == expected
    assert 0 < batch.redrawn < sum(map(len, expected))


def test_every_draw_in_doubt_is_made_from_the_row_alone(batch, expected, monkeypatch):
    monkeypatch.setattr(sampling, "ROUNDING", 1e12)
    rows = crowd(3)
    write(batch, rows)
    assert tuple(written(rows)) == expected[:3]
    assert batch.redrawn == sum(map(len, expected[:3]))


def test_a_row_without_numbers_fails_alone_and_leaves_nothing_behind(batch, expected, monkeypatch):
    """NaNs in a row's keys and values reach all rows of a packed batch: it is read apart."""
    rows, (bad, events) = crowd(4), row(prompt=LONG)
    true, alone = Pages.read, RowBatch._alone

    def broken(self):
        return true(self) * (math.nan if bad in batch.rows else 1.0)

    def broken_alone(self, one):
        return alone(self, one) * (math.nan if one is bad else 1.0)

    monkeypatch.setattr(Pages, "read", broken)
    monkeypatch.setattr(RowBatch, "_alone", broken_alone)
    write(batch, [rows[0], rows[1], bad, rows[2], rows[3]])
    assert tuple(written(rows)) == expected[:4]
    assert [event.status for event in events] == [500]
    monkeypatch.undo()
    write(batch, [row(prompt=LONG)[0]])
    assert batch.pages.shared == 0


def test_a_step_that_fails_leaves_no_rows(batch, monkeypatch):
    def broken(self):
        raise RuntimeError("no memory")

    monkeypatch.setattr(Pages, "read", broken)
    batch.admit(crowd(3))
    with pytest.raises(RuntimeError, match="no memory"):
        batch.step()
    monkeypatch.undo()
    rows = crowd(2)
    write(batch, rows)
    assert len(rows[0].written) > 0


def test_measuring_sees_what_is_wrong(batch, monkeypatch):
    voices = [Voice(), BOLD, Voice("calm", 0.5), Voice("bold", activate="answer")]
    for limit in (8, 1):
        assert 0 < batch.measure(voices, limit) < 0.25
    true = Pages._salted
    monkeypatch.setattr(Pages, "_salted", lambda self, key, tokens, more: tokens)
    assert batch.measure(voices, 8) > 10  # pages that go by the text alone
    monkeypatch.setattr(Pages, "_salted", true)
    monkeypatch.setattr(Pages, "read", lambda self: torch.full((8, 281), math.nan))
    assert math.isnan(batch.measure(voices, 8)) or batch.measure(voices, 8) == 0


def test_an_engine_writes_every_row_as_alone_whatever_joins(attached, expected):
    rows, (heavy, _) = crowd(), row(HEAVY, max_tokens=5)
    with working(attached, kind="continuous", rows=4) as (engine, reports):
        assert engine.description.startswith("continuous batches of any voices, at most 4 rows")
        assert 0 < engine.rounding < 0.25
        for own in (*rows[:6], heavy, *rows[6:]):
            engine.submit([own])
        wait(*rows, heavy)
        assert (engine.prompt_tokens, engine.shared) == (sum(len(one.prompt) for one in rows), 0)
    assert tuple(written(rows)) == expected
    assert len(heavy.written) > 0
    assert max(report.rows for report in reports) == 4
    assert max(report.voices for report in reports) >= 3


def test_what_the_pages_never_hold_is_written_statically(attached, expected):
    rows, (long, events) = crowd(3), row(BOLD, LONG, max_tokens=20)
    with working(attached, kind="continuous", cache_tokens=64) as (engine, reports):
        engine.submit([rows[0], long, *rows[1:]])
        wait(*rows, long)
        assert 0 < engine.prompt_tokens < len(LONG)
    assert tuple(written(rows)) == expected[:3]
    lonely, _ = row(BOLD, LONG, max_tokens=20)
    RowBatch(attached, [lonely], crowded=False).run()
    assert long.written == lonely.written
    assert samples.text(events)
    assert len(reports) > 1


def test_a_persona_leaves_when_its_rows_have_ended(attached):
    long, base = row(BOLD, max_tokens=30, seed=7), row(max_tokens=30)
    with working(attached, kind="continuous") as (engine, _):
        engine.submit([long[0], base[0]])
        while not long[0].written:
            time.sleep(0.001)
        unloading, missing = engine.unload("bold"), engine.unload("nobody")
        waiting, other = row(BOLD), row(CALM)
        engine.submit([waiting[0], other[0]])
        unloading.result(20)
        assert long[0].is_done
        wait(waiting[0], other[0], base[0])
        with pytest.raises(UnknownNameError, match="nobody"):
            missing.result(20)
        loading = engine.load(lambda wearer: wearer.load_persona(samples.mask(wearer.model, "new")))
        assert loading.result(20) == "new"
    assert waiting[1][-1].status == 409
    assert isinstance(long[1][-1], Piece)
    assert isinstance(other[1][-1], Piece)


def test_rows_that_are_late_or_left_alone_go_and_steps_that_fail_too(attached, monkeypatch, caplog):
    late, gone, good = row(max_tokens=400), row(BOLD, max_tokens=400), row(CALM, max_tokens=5)
    with working(attached, kind="continuous") as (engine, _):
        engine.submit([late[0], gone[0], good[0]])
        while not gone[0].written:
            time.sleep(0.001)
        late[0].deadline, gone[0].is_cancelled = 0.0, True
        wait(late[0], gone[0], good[0])
        monkeypatch.setattr(Pages, "read", lambda self: 1 / 0)
        lost = row(prompt=LONG)
        engine.submit([lost[0]])
        wait(lost[0])
        monkeypatch.undo()
        again = row(CALM, max_tokens=5)
        engine.submit([again[0]])
        wait(again[0])
    assert late[1][-1].status == 504
    assert isinstance(good[1][-1], Piece)
    assert [event.status for event in lost[1]] == [500]
    assert again[0].written == good[0].written
    assert "a step failed" in caplog.text


@pytest.mark.parametrize(
    ("owner", "name", "value", "words"),
    [
        (
            pages,
            "NAMES",
            {"scheduler.Scheduler.walk": ()},
            r"^transformers .*no scheduler\.Scheduler\.walk$",
        ),
        (PackedBatch, "measure", lambda *_: 3.5, r"differ from rows alone by 3\.5 times"),
        (PackedBatch, "measure", lambda *_: math.nan, "differ from rows alone by nan"),
        (Pages, "read", lambda self: 1 / 0, "packed batches fail: ZeroDivisionError"),
    ],
)
def test_where_it_cannot_be_used_static_batches_say_why(
    attached, monkeypatch, owner, name, value, words
):
    monkeypatch.setattr(owner, name, value)
    with working(attached, kind="auto") as (engine, _):
        assert engine.description.startswith("static batches")
        own, events = row(BOLD)
        engine.submit([own])
        wait(own)
    assert isinstance(events[-1], Piece)
    with pytest.raises(EngineError, match=words) as refusal:
        Engine(attached, kind="continuous").start()
    assert str(refusal.value) == engine.fallback


@pytest.mark.parametrize("family", ["opt", "gpt_neox"])
def test_a_family_that_a_version_does_not_serve_from_pages_is_served_all_the_same(family):
    """Neither passes its pages on in transformers 5.24; both do in 5.23."""
    attached = samples.wearer(family)
    expected = samples.alone(attached)
    with working(attached, kind="auto", rows=4) as (engine, _):
        rows = crowd()
        engine.submit(rows)
        wait(*rows)
        assert engine.fallback is None or engine.fallback.startswith("packed batches fail: ")
    assert written(rows) == expected


def test_engines_that_are_not_continuous_by_their_settings(attached):
    with working(attached, kind="auto", mixing=False) as (engine, _):
        assert "--no-mixing" in engine.fallback
    with working(attached, kind="static") as (engine, _):
        assert engine.fallback is None
    half = samples.wearer(dtype=torch.bfloat16)
    with working(half, kind="auto") as (engine, _):
        assert engine.description == "one row at a time"
        assert "half precision" in engine.fallback
    with pytest.raises(
        OptionError, match=r"unknown engine 'x'\. Choices: auto, continuous, static"
    ):
        Engine(attached, kind="x")


def test_base_rows_are_the_base_as_it_generates(batch):
    expected = generate_tokens(
        batch.wearer.model, batch.wearer.tokenizer, samples.PROMPTS, temperature=0,
        max_new_tokens=12,
    )  # fmt: skip
    base = [row(prompt=p, temperature=0.0, max_tokens=12)[0] for p in samples.PROMPTS]
    write(batch, [own for pair in zip(base, crowd(4), strict=True) for own in pair], 8)
    ends = batch._ends
    assert [one.written for one in base] == [[t for t in row if t not in ends] for row in expected]
    assert not any(isinstance(row, Refusal) for row in base)
