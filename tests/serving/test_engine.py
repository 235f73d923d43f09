"""The queue and its thread with static batches: order, limits, times, orders, and the end."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from prosopon.errors import OptionError, PersonaError, UnknownNameError
from prosopon.runtime import PersonaModel
from prosopon.serving.batch import RowBatch
from prosopon.serving.engine import Engine
from prosopon.serving.refusal import Refusal
from prosopon.serving.row import Piece
from prosopon.serving.voice import Voice
from tests.serving import samples
from tests.serving.samples import VOICES, crowd, row, written

BOLD, CALM, HEAVY = Voice("bold"), Voice("calm"), Voice("heavy")


def wait(*rows):
    deadline = time.monotonic() + 20
    while not all(one.is_done for one in rows):
        assert time.monotonic() < deadline
        time.sleep(0.002)


@contextmanager
def working(attached, *, start=True, kind="static", **settings):
    """Yield an engine and the reports of its batches."""
    reports = []
    engine = Engine(attached, observe=reports.append, kind=kind, **settings)
    if start:
        engine.start()
    try:
        yield engine, reports
    finally:
        engine.drain(0.0)
        if start:
            engine._thread.join(20)
            assert not engine.is_alive


@contextmanager
def held(monkeypatch):
    """Hold batches before their first step; yield what says that one waits, and what lets it go."""
    entered, free, true = threading.Event(), threading.Event(), RowBatch._step

    def step(self):
        entered.set()
        assert free.wait(20)
        true(self)

    monkeypatch.setattr(RowBatch, "_step", step)
    try:
        yield entered, free
    finally:
        free.set()


@pytest.mark.parametrize("settings", [{}, {"mixing": False}, {"rows": 3}, {"rows": 1}], ids=str)
def test_every_reply_is_that_of_its_row_alone(attached, expected, settings):
    rows = crowd()
    with working(attached, **settings) as (engine, reports):
        for one in rows:
            engine.submit([one])
        wait(*rows)
    assert tuple(written(rows)) == expected
    assert sum(report.rows for report in reports) == len(rows)
    assert max(report.rows for report in reports) <= settings.get("rows", 8)
    if not engine.mixing:
        assert {report.voices for report in reports} == {1}
    assert all(report.redrawn == 0 for report in reports) or engine.row_limit > 1


def choices(attached, voices, **settings):
    """Return the batches that a queue of voices is taken in."""
    engine = Engine(attached, **settings)
    engine._waiting.extend(row(voice)[0] for voice in voices)
    batches = []
    while chosen := engine._choose():
        batches.append([one.voice.title for one in chosen])
    return batches


def test_the_oldest_row_is_taken_with_those_of_its_voice(attached):
    voices = [BOLD, CALM, BOLD, CALM, BOLD]
    assert choices(attached, voices, rows=2, mixing=False) == [
        ["bold", "bold"],
        ["calm", "calm"],
        ["bold"],
    ]
    assert choices(attached, voices, rows=3) == [["bold"] * 3, ["calm"] * 2]


def test_few_rows_of_a_voice_are_joined_by_others_that_mix(attached):
    voices = [BOLD, HEAVY, CALM, Voice(), BOLD, VOICES[4]]
    assert choices(attached, voices, rows=8) == [
        ["bold", "bold", "calm", "base", "blend"],
        ["heavy"],
    ]
    assert choices(attached, [HEAVY, BOLD, HEAVY], rows=8) == [["heavy", "heavy"], ["bold"]]


def test_half_precision_and_experts_have_engines_of_their_own():
    half = Engine(samples.wearer(dtype=torch.bfloat16))
    assert (half.row_limit, half.mixing) == (1, False)
    assert half.description == "one row at a time"
    experts = samples.wearer(personas=())
    experts.sites = [SimpleNamespace(name="model.layers.0.mlp.experts.1.up_proj")]
    assert (Engine(experts).row_limit, Engine(experts).mixing) == (8, False)
    whole = Engine(samples.wearer(), rows=5)
    assert whole.description.startswith("static batches of one or several voices, at most 5 rows")
    apart = Engine(samples.wearer(), mixing=False)
    assert "of one voice each" in apart.description


def test_where_rounding_is_too_large_rows_are_written_alone(attached, monkeypatch):
    """As it is where the precision of products is lower than that of the weights."""
    true = RowBatch._forward

    def rough(self):
        scores = true(self)
        return scores + 1e-3 * len(self.rows)

    with working(attached) as (engine, _):
        assert 0 < engine.rounding < 0.25
        assert (engine.row_limit, engine.mixing) == (8, True)
    monkeypatch.setattr(RowBatch, "_forward", rough)
    with working(attached) as (engine, reports):
        assert engine.rounding > 1
        assert engine.description == "one row at a time"
        rows = crowd(4)
        engine.submit(rows)
        wait(*rows)
    assert [report.rows for report in reports] == [1] * 4


def test_a_full_queue_refuses_all_rows_of_a_request_and_says_when(attached):
    with working(attached, start=False, queue=3) as (engine, _):
        engine.submit([row()[0], row()[0]])
        with pytest.raises(Refusal, match="2 answers wait already") as refusal:
            engine.submit([row()[0], row()[0]])
        assert refusal.value.status == 429
        assert refusal.value.headers == {"Retry-After": "2"}
        assert engine.waiting == 2
        engine.submit([row()[0]])
        with pytest.raises(Refusal, match="4 answers in one request: this server lets 3") as never:
            engine.submit([row()[0] for _ in range(4)])
        assert never.value.status == 400


@pytest.mark.parametrize(
    ("voice", "error", "words"),
    [
        (Voice("nobody"), UnknownNameError, "unknown persona 'nobody'.*Choices: bold, calm, heavy"),
        (Voice("bold", 1.5), OptionError, "strength 1.5"),
        (Voice(blend=(("bold", 1.0), ("zz", 1.0))), UnknownNameError, "'zz'"),
    ],
)
def test_a_voice_that_cannot_be_worn_is_refused_at_once(attached, voice, error, words):
    with working(attached, start=False) as (engine, _):
        with pytest.raises(error, match=words):
            engine.submit([row()[0], row(voice)[0]])
        assert engine.waiting == 0


def test_rows_that_wait_too_long_or_for_nobody_never_run(attached, monkeypatch):
    with held(monkeypatch) as (entered, free), working(attached, rows=1) as (engine, reports):
        first, late, gone = row(BOLD), row(CALM), row(HEAVY)
        engine.submit([first[0]])
        assert entered.wait(20)
        late[0].deadline, gone[0].is_cancelled = time.monotonic(), True
        engine.submit([late[0], gone[0]])
        assert (engine.waiting, engine.running) == (2, 1)
        free.set()
        wait(first[0], late[0], gone[0])
    assert late[1][0].status == 504
    assert gone[1] == []
    assert (late[0].written, gone[0].written) == ([], [])
    assert [report.rows for report in reports] == [1]


def test_personas_are_loaded_and_unloaded_between_batches(attached, monkeypatch):
    extra = samples.mask(attached.model, "fresh", seed=9)
    with held(monkeypatch) as (entered, free), working(attached, rows=1) as (engine, _):
        first, lost, other = row(BOLD), row(CALM), row(HEAVY)
        engine.submit([first[0]])
        assert entered.wait(20)
        engine.submit([lost[0], other[0]])
        loading = engine.load(lambda wearer: wearer.load_persona(extra))
        unloading = engine.unload("calm")
        missing = engine.unload("nobody")
        assert not loading.done()
        free.set()
        assert loading.result(20) == "fresh"
        unloading.result(20)
        with pytest.raises(UnknownNameError, match="nobody"):
            missing.result(20)
        wait(first[0], lost[0], other[0])
        fresh = row(Voice("fresh"))
        engine.submit([fresh[0]])
        wait(fresh[0])
    assert lost[1][0].status == 409
    assert "'calm' was unloaded before its turn" in lost[1][0].message
    assert isinstance(other[1][-1], Piece)
    assert isinstance(fresh[1][-1], Piece)


def test_unloading_a_part_of_a_blend_fails_the_blend(attached):
    with working(attached, start=False) as (engine, _):
        blend = row(VOICES[4])
        engine.submit([blend[0]])
        engine.start()
        wait(blend[0])
    with working(attached, start=False) as (engine, _):
        engine.submit([(lost := row(VOICES[4]))[0]])
        with pytest.raises(Refusal, match="does not run"):
            engine.unload("bold").result(0)
    assert not lost[1]


def test_a_batch_that_fails_fails_its_rows_alone(attached, monkeypatch, caplog):
    true = RowBatch._step

    def step(self):
        if any(one.voice == BOLD for one in self.rows):
            raise ValueError("the text of a prompt")
        true(self)

    monkeypatch.setattr(RowBatch, "_step", step)
    with working(attached, mixing=False) as (engine, _):
        bad, good = row(BOLD), row(CALM)
        engine.submit([bad[0], good[0]])
        wait(bad[0], good[0])
        assert engine.is_ready
    assert bad[1][0].status == 500
    assert "ValueError" in bad[1][0].message
    assert "the text" not in bad[1][0].message + caplog.text
    assert isinstance(good[1][-1], Piece)


def test_a_thread_that_dies_leaves_nobody_waiting(attached, monkeypatch, caplog):
    def broken(self):
        raise RuntimeError("SECRET")

    monkeypatch.setattr(Engine, "_choose", broken)
    with working(attached, start=False) as (engine, _):
        lost = row(BOLD)
        engine.submit([lost[0]])
        engine.start()
        wait(lost[0])
        assert not engine.is_ready
        with pytest.raises(Refusal, match="does not run"):
            engine.submit([row()[0]])
        with pytest.raises(Refusal, match="does not run"):
            engine.unload("bold").result(0)
    assert lost[1][0].status == 503
    assert "the engine failed" in caplog.text
    assert "SECRET" not in caplog.text


def test_draining_finishes_what_can_and_fails_the_rest(attached, monkeypatch):
    with held(monkeypatch) as (entered, free), working(attached, rows=1) as (engine, _):
        short, long, waiting = row(max_tokens=2), row(BOLD, max_tokens=300), row(CALM)
        engine.submit([short[0]])
        assert entered.wait(20)
        engine.submit([long[0], waiting[0]])
        engine.drain(0.05)
        assert not engine.is_ready
        with pytest.raises(Refusal, match="the server stops") as refusal:
            engine.submit([row()[0]])
        assert refusal.value.status == 503
        with pytest.raises(Refusal):
            engine.load(lambda wearer: "x").result(1)
        time.sleep(0.06)
        free.set()
        wait(short[0], long[0], waiting[0])
        engine._thread.join(20)
        assert not engine.is_alive
    for _, events in (long, waiting):
        assert events[-1].status == 503


def test_draining_lets_running_rows_finish(attached, expected):
    with working(attached) as (engine, _):
        rows = crowd()
        engine.submit(rows[:8])
        engine.drain(30.0)
        wait(*rows[:8])
    assert tuple(written(rows[:8])) == expected[:8]


def test_closing_gives_the_model_back(attached):
    engine = Engine(attached, kind="continuous")
    engine.start()
    engine.submit([row(BOLD)[0]])
    engine.close(30.0)
    with pytest.raises(PersonaError, match="closed"):
        attached.set_persona("bold")
    PersonaModel(attached.model).close()
    Engine(samples.wearer()).close()  # one that never ran
