"""Progress in lines: when one is written, and what it says."""

import threading

import pytest

from prosopon.progress import (
    ProgressLines,
    format_duration,
    inner_steps,
    listening,
    step_counter,
)


class Clock:
    """Seconds that a test moves."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def written():
    return []


@pytest.fixture
def report(clock, written):
    return ProgressLines(written.append, clock=clock)


def test_the_first_line_comes_at_once_and_the_next_after_half_a_minute(report, clock, written):
    report("moments", 0, 8)
    assert written == ["moments: 0/8 (0%)"]
    for step in (1, 2):
        clock.now += 14.9
        report("moments", step, 8)
    assert len(written) == 1
    clock.now += 0.2
    report("moments", 3, 8)
    assert written[1:] == ["moments: 3/8 (38%), 50 s left"]
    clock.now += 29.9
    report("moments", 4, 8)
    assert len(written) == 2


def test_a_step_that_takes_long_is_told_of_meanwhile(report, clock, written):
    report("loading", 0, 1)
    clock.now += 29.0
    report.tick()
    assert len(written) == 1
    clock.now += 1.0
    report.tick()
    assert written[1:] == ["loading: 0/1 (0%)"]


def test_stages_that_are_under_way_stand_in_one_line(report, clock, written):
    report("cells", 1, 3)
    clock.now += 600.0
    report("cells", 2, 3)
    report("moments", 1, 4)
    clock.now += 30.0
    report("moments", 2, 4)
    # From the first report of each stage: one step in 600 seconds, one in 30.
    assert written[1:] == [
        "cells: 2/3 (67%), 10 min left",
        "cells: 2/3 (67%), 10 min left; moments: 2/4 (50%), 60 s left",
    ]
    report("moments", 4, 4)
    report("cells", 3, 3)
    clock.now += 100.0
    report.tick()
    assert len(written) == 3


def test_what_is_left_grows_only_when_a_step_takes_longer_than_those_before(report, clock, written):
    report("cells", 0, 5)
    clock.now += 300.0
    report("cells", 1, 5)  # the line of 5 minutes each
    for minutes in (4, 1, 5, 10):
        clock.now += 60.0 * minutes
        report.tick()
    assert [line.rpartition(", ")[2] for line in written[1:]] == [
        "20 min left",
        "16 min left",
        "16 min left",  # the present one is due
        "25 min left",  # 7.5 minutes each: 5 and 10
        "42 min left",  # 12.5 minutes each
    ]
    report("cells", 4, 5)
    clock.now += 6000.0
    report.tick()
    assert written[-1].endswith("80%), 25 min left")  # never next to nothing


def test_steps_that_end_together_are_reported_together(report, clock, written):
    report("texts", 0, 640)
    clock.now += 60.0
    report("texts", 64, 640)
    for _ in range(2):
        clock.now += 30.0
        report.tick()
    assert [line.rpartition(", ")[2] for line in written[1:]] == [
        "9 min left",
        "8 min left",  # 8.5
        "8 min left",  # 8.25
    ]


def test_nothing_in_all_is_whole(report, written):
    report("texts", 0, 0)
    assert written == ["texts: 0/0 (100%)"]


def test_lines_come_from_a_thread_while_nothing_is_reported():
    second = threading.Event()
    lines = []

    def write(line):
        lines.append(line)
        if len(lines) == 2:
            second.set()

    report = ProgressLines(write, every=0.01)
    with report.ticking():
        report("loading", 0, 1)
        assert second.wait(20)
    count = len(lines)
    assert set(lines) == {"loading: 0/1 (0%)"}
    report.tick()
    assert len(lines) in (count, count + 1)  # the thread has ended; only this call writes


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1.24e-05, "under 0.01 s"), (0.02, "0.02 s"), (4.24, "4.2 s"), (45.4, "45 s"),
        (180, "3 min"), (7800, "2 h 10 min"),
    ],
)  # fmt: skip
def test_durations_are_for_people(seconds, text):
    assert format_duration(seconds) == text


def test_a_counter_adds_up_steps():
    lines = []
    advance = step_counter(lambda *line: lines.append(line), "reading", 5)
    advance(2)
    advance(3)
    assert lines == [("reading", 2, 5), ("reading", 5, 5)]


def test_inner_steps_are_said_once_they_take_long(clock):
    said = []
    with (
        listening(lambda *line: said.append(line)),
        inner_steps("tokens", 9, clock=clock) as advance,
    ):
        for _ in range(4):
            clock.now += 1
            advance(1)
    # From the third second on; closed although five steps were never needed.
    assert said == [("tokens", 3, 9), ("tokens", 4, 9), ("tokens", 9, 9)]


def test_short_inner_steps_and_those_that_nobody_listens_to_are_not_said(clock):
    said = []
    with (
        listening(lambda *line: said.append(line)),
        inner_steps("tokens", 2, clock=clock) as advance,
    ):
        advance(2)
    assert said == []
    with inner_steps("tokens", 2, clock=clock) as advance:
        assert advance is None


def test_inner_steps_that_break_off_are_closed(clock):
    said = []

    def break_off():
        with inner_steps("tokens", 2, clock=clock) as advance:
            clock.now += 5
            advance(1)
            raise KeyError("a")

    with listening(lambda *line: said.append(line)), pytest.raises(KeyError):
        break_off()
    assert said == [("tokens", 1, 2), ("tokens", 2, 2)]
    with inner_steps("tokens", 2, clock=clock) as advance:
        assert advance is None  # nobody listens any more
