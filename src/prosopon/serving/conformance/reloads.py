"""Loading and unloading under load: a name means what was loaded last, or nothing."""

import threading
from itertools import count

from prosopon.serving.conformance.admin import Admin
from prosopon.serving.conformance.client import Reply, ServerError
from prosopon.serving.conformance.comparison import compare
from prosopon.serving.conformance.examiner import Ask, Examiner, title
from prosopon.serving.conformance.results import CheckResult, WrongAnswer

CYCLES = 2
"""How often a persona goes and comes back."""


def check_reloads(examiner: Examiner) -> CheckResult:
    """Unload a persona, load another's mask under its name, and load its own again, under load.

    Meanwhile all voices are asked. Gone, it must be refused; as another, it must speak as that
    one; back, as itself; and the others must never change. Afterwards it is loaded as before.
    """
    result = CheckResult("reloads", "loading and unloading under load")
    if (admin := examiner.admin) is None:
        result.skipped = "no admin key"
        return result
    movable = [name for name in examiner.models if name and name in admin.sources]
    if not movable:
        result.skipped = "no persona can be loaded anew: none lies in a folder of its own there"
        return result
    persona, other = movable[-1], movable[0]
    crowd = _Crowd(examiner)
    crowd.start()
    is_loaded = True
    try:
        for cycle in range(CYCLES):
            examiner.report("reloads", cycle + 1, CYCLES)
            for source in dict.fromkeys((other, persona)):
                admin.unload(persona)
                is_loaded = False
                _expect_refusal(examiner, result, persona)
                admin.load(persona, admin.sources[source])
                is_loaded = True
                _expect(examiner, result, persona, source)
    except ServerError as problem:
        if problem.status is None:
            raise
        result.fail(problem)
    finally:
        crowd.stop()
        if not is_loaded:
            _restore(result, admin, persona)
    for ask, outcome in crowd.outcomes:
        if ask.voice != persona:
            examiner.hold(result, ask, outcome)
        elif isinstance(outcome, Reply):
            _hold_either(examiner, result, ask, outcome, (persona, other))
    return result


class _Crowd:
    """Clients that ask all voices over and over."""

    def __init__(self, examiner: Examiner) -> None:
        self.outcomes: list[tuple[Ask, Reply | ServerError]] = []
        self._examiner, self._over = examiner, threading.Event()
        voices = list(examiner.models)
        clients = max(2, examiner.settings.clients - 1)
        self._threads = [
            threading.Thread(target=self._press, args=(voices, number)) for number in range(clients)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _press(self, voices: list[str | None], number: int) -> None:
        questions = self._examiner.settings.questions
        for turn in count(number):
            if self._over.is_set():
                return
            ask = Ask(voices[turn % len(voices)], questions[turn % len(questions)])
            try:
                self.outcomes.append((ask, self._examiner.ask(ask)))
            except ServerError as problem:
                self.outcomes.append((ask, problem))
                return


def _restore(result: CheckResult, admin: Admin, persona: str) -> None:
    try:
        admin.load(persona, admin.sources[persona])
    except ServerError as problem:
        result.fail(problem)


def _expect_refusal(examiner: Examiner, result: CheckResult, persona: str) -> None:
    for text in examiner.settings.questions[:2]:
        outcome = examiner.ask(Ask(persona, text))
        if isinstance(outcome, Reply):
            result.requests += 1
            result.leak(_wrong(examiner, Ask(persona, text), outcome, "a refusal: it is unloaded"))
        elif outcome.is_refusal:
            result.requests += 1
        else:
            result.fail(outcome)


def _expect(examiner: Examiner, result: CheckResult, persona: str, source: str) -> None:
    """Ask a name that speaks with a persona's mask."""
    for text in examiner.settings.questions[:2]:
        ask, outcome = Ask(persona, text), examiner.ask(Ask(persona, text))
        if isinstance(outcome, ServerError):
            result.fail(outcome)
            continue
        reference = examiner.own[source, text, None]
        if not result.count(compare(reference, outcome, examiner.tolerance)):
            result.leak(_wrong(examiner, ask, outcome, f"{source}: {reference.text}"))


def _hold_either(
    examiner: Examiner, result: CheckResult, ask: Ask, reply: Reply, voices: tuple[str, str]
) -> None:
    """Hold an answer against both voices that a name had meanwhile."""
    likenesses = [
        compare(examiner.own[voice, ask.text, None], reply, examiner.tolerance) for voice in voices
    ]
    likeness = next((one for one in likenesses if one.alike), likenesses[0])
    if not result.count(likeness):
        result.leak(_wrong(examiner, ask, reply, " or ".join(voices)))


def _wrong(examiner: Examiner, ask: Ask, reply: Reply, expected: str) -> WrongAnswer:
    """Describe an answer; it may also be the persona's own, where that was to be gone."""
    own = compare(examiner.own[ask.voice, ask.text, None], reply, examiner.tolerance)
    whom = title(ask.voice) if own.alike else examiner.whose(ask, reply)
    return WrongAnswer(title(ask.voice), ask.text, "the beginning", whom, expected, reply.text)
