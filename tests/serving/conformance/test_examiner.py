"""Who is asked in which order, what counts as rounding, and how a wrong answer is described."""

import threading
from pathlib import Path

import pytest

from prosopon.serving.conformance.checks import everything, learn_voices
from prosopon.serving.conformance.client import Reply, ScoredToken, ServerError
from prosopon.serving.conformance.examiner import Ask, CheckSettings, Examiner, rounding
from prosopon.serving.conformance.results import CheckResult
from prosopon.serving.conformance.verification import CHECKS

VOICES = {None: "b", "bold": "b:bold", "calm": "b:calm"}


class Script:
    """Answers with what a function of model and text says, and notes who was asked."""

    def __init__(self, answer):
        self.answer, self.seen, self.busy, self.most = answer, [], 0, 0
        self._lock = threading.Lock()

    def ask(self, model, text, **_):
        with self._lock:
            self.seen.append((model, text))
        logprob = self.answer(model, text)
        return Reply(model, "stop", (ScoredToken(model, logprob, {model: logprob, "?": -9.0}),))


def examiner(answer, **settings):
    settings = CheckSettings(("one", "two"), **settings)
    return Examiner(Script(answer), VOICES, "{}:{}".format, settings, None, None, lambda *_: None)


def fail(status):
    def answer(*_):
        raise ServerError("broken", status)

    return answer


def test_of_every_question_another_voice_is_first():
    own = examiner(lambda model, text: -1.0)
    assert learn_voices(own) == []
    assert own.server.seen == [
        ("b", "one"), ("b:bold", "one"), ("b:calm", "one"),
        ("b:bold", "two"), ("b:calm", "two"), ("b", "two"),
    ]  # fmt: skip
    assert set(own.own) == {(voice, text, None) for voice, text, *_ in everything(own)}


def test_voices_that_cannot_be_told_apart_are_named():
    own = examiner(lambda model, text: -1.0)
    own.server.ask = lambda *_, **__: Reply("same", "stop", ())
    notes = learn_voices(own)
    assert [note.split(" answer alike")[0] for note in notes] == [
        "base and bold", "base and calm", "bold and calm",
    ]  # fmt: skip


def test_a_voice_that_does_not_answer_ends_it():
    with pytest.raises(ServerError, match="broken"):
        learn_voices(examiner(fail(404)))


def test_an_answer_is_held_against_its_voices_own():
    own = examiner(lambda model, text: -1.0)
    learn_voices(own)
    result = CheckResult("x", "y")
    right, wrong = (own.server.ask(model, "one") for model in ("b:bold", "b:calm"))
    own.hold_all(result, [Ask("bold", "one")] * 2, [right, wrong])
    own.hold(result, Ask("bold", "one"), ServerError("late", 504))
    assert (result.requests, result.leaks, result.failures) == (3, 1, 1)
    (example,) = result.examples
    assert (example.voice, example.whose, example.parted) == ("bold", "calm", "token 1")
    assert (example.expected, example.answer) == ("b:bold", "b:calm")
    assert own.whose(Ask("bold", "one"), Reply("?", "stop", ())) == "nobody"


def test_failures_are_outcomes_and_a_server_that_is_gone_is_an_error():
    asks = [Ask(None, "one")] * 3
    outcomes = examiner(fail(500)).crowd("x", asks)
    assert [outcome.status for outcome in outcomes] == [500] * 3
    with pytest.raises(ServerError):
        examiner(fail(None)).crowd("x", asks)


@pytest.mark.parametrize(
    ("noise", "limit"), [(0.0, 0.002), (1e-6, 0.002), (0.005, 0.05), (0.1, 0.2), (9.0, 0.2)]
)
def test_rounding_is_ten_times_what_was_seen_within_bounds(noise, limit):
    assert rounding(noise) == pytest.approx(limit)


def test_the_page_explains_every_check():
    page = (Path(__file__).parents[3] / "docs" / "serving.md").read_text("utf-8")
    assert all(f"`{check}`" in page for check in CHECKS if check != "crowd")
    assert "`base-in-crowd`, `personas-in-crowd`" in page
