"""The checks: what a server that keeps its rows apart never gets wrong."""

import random

from prosopon.serving.conformance.client import Reply, ServerError
from prosopon.serving.conformance.comparison import compare
from prosopon.serving.conformance.examiner import LEAST, MOST, Ask, Examiner, rounding, title
from prosopon.serving.conformance.results import CheckResult, WrongAnswer

PREFIX = (
    "Note {number}. We met at the old harbour before noon. The wind had turned, two boats were "
    "late, and nobody had brought the keys of the shed. So we sat on the wall and waited. "
)
"""Where many prompts begin alike: long enough for the blocks of a prefix cache."""

PREFIXES = 3
NAMES = 4096
"""Names that nobody gives a persona hold a number below this."""


def learn_voices(examiner: Examiner) -> list[str]:
    """Ask every voice alone, which the other checks compare with; return notes.

    Of every question another voice is the first who is asked, before any cache knows it.

    Raises:
        ServerError: A voice does not answer.
    """
    voices = list(examiner.models)
    asks = [
        Ask(voice, text)
        for number, text in enumerate(examiner.settings.questions)
        for voice in _turned(voices, number)
    ]
    for ask, outcome in zip(asks, examiner.one_by_one("alone", asks), strict=True):
        if isinstance(outcome, ServerError):
            raise outcome
        examiner.own[ask.voice, ask.text, None] = outcome
    alike = [
        f"{title(one)} and {title(other)}"
        for number, one in enumerate(voices)
        for other in voices[number + 1 :]
        if all(
            compare(examiner.own[one, q, None], examiner.own[other, q, None], LEAST)[:2]
            == (True, None)
            for q in examiner.settings.questions
        )
    ]
    said = "answer alike, so that nothing here can tell one from the other"
    return [f"{pair} {said}" for pair in alike]


def check_again(examiner: Examiner) -> CheckResult:
    """Ask the base in a crowd of the base, where nothing can leak, and every voice alone again.

    The first measures what rounding does on this server.
    """
    result = CheckResult("again", "the base beside the base; each alone once more")
    own = examiner.settings.tolerance
    examiner.tolerance = MOST if own is None else own
    base = [Ask(None, text) for text in examiner.settings.questions] * 2
    examiner.hold_all(result, base, examiner.crowd("the base alone", base))
    if own is None:
        examiner.tolerance = rounding(result.furthest)
    again = everything(examiner)
    examiner.hold_all(result, again, examiner.one_by_one("alone again", again))
    return result


def check_local(examiner: Examiner) -> CheckResult:
    """Compare what every voice says alone with what the local model says that wears it."""
    result = CheckResult("local", "each alone against the model worn here")
    questions, own = examiner.settings.questions, examiner.settings.tolerance
    examiner.local_tolerance = MOST if own is None else own
    for number, voice in enumerate(examiner.models):
        examiner.report("local model", number + 1, len(examiner.models))
        for text, reply in zip(questions, examiner.local_replies(voice, questions), strict=True):
            examiner.hold(result, Ask(voice, text), examiner.own[voice, text, None], reply)
        if voice is None and own is None:  # the base comes first, and shows what rounding does
            examiner.local_tolerance = rounding(result.furthest)
    return result


def check_crowd(examiner: Examiner) -> tuple[CheckResult, CheckResult]:
    """Ask all voices everything at once, in any order."""
    base = CheckResult("base-in-crowd", "base rows beside persona rows")
    personas = CheckResult("personas-in-crowd", "persona rows beside others")
    asks = everything(examiner) * examiner.settings.rounds
    random.Random(0).shuffle(asks)
    for ask, outcome in zip(asks, examiner.crowd("crowd", asks), strict=True):
        examiner.hold(base if ask.voice is None else personas, ask, outcome)
    return base, personas


def check_one_prompt(examiner: Examiner) -> CheckResult:
    """Ask all voices the same at once, one question after another."""
    result = CheckResult("one-prompt", "one prompt under all voices at once")
    voices = list(examiner.models)
    for text in examiner.settings.questions:
        asks = [Ask(voice, text) for voice in voices] * examiner.settings.rounds
        outcomes = examiner.crowd("one prompt", asks, len(asks))
        examiner.hold_all(result, asks, outcomes)
    return result


def check_prefix(examiner: Examiner) -> CheckResult:
    """Let voices read the same beginning right after each other, as a prefix cache would notice.

    With a local model all answers are compared with its; without one, a voice's second answer
    with its first.
    """
    result = CheckResult("prefix", "one beginning under one voice after another")
    voices, ends = list(examiner.models), examiner.settings.questions[:2]
    for number in range(PREFIXES):
        texts = [PREFIX.format(number=number) + end for end in ends]
        if examiner.local is None:
            texts = texts[:1] * 2
        asks = [Ask(voice, text) for text in texts for voice in _turned(voices, number)]
        outcomes = examiner.one_by_one("prefix", asks)
        for voice in voices if examiner.local else ():
            for text, reply in zip(texts, examiner.local_replies(voice, texts), strict=True):
                examiner.own[voice, text, None] = reply
        for ask, outcome in zip(asks, outcomes, strict=True):
            key = ask.voice, ask.text, None
            if examiner.local is not None:
                examiner.hold(result, ask, outcome, examiner.own[key])
            elif key in examiner.own:
                examiner.hold(result, ask, outcome)
            elif isinstance(outcome, Reply):
                examiner.own[key] = outcome
            else:
                result.fail(outcome)
    return result


def check_names(examiner: Examiner) -> CheckResult:
    """Ask for personas that are not there: they must be refused, and never answered by another."""
    result = CheckResult("unknown-names", "names of nobody")
    model_name = examiner.model_name
    base, *others = examiner.models.values()
    listed = {*examiner.server.models(), *examiner.models.values()}
    persona = next(name for name in examiner.models if name)
    names = [
        model_name(base, f"nobody-{NAMES}"), model_name(base, f"{persona}x"),
        model_name(base, persona[:-1]), model_name(base, persona.swapcase()),
        model_name(base, f"{persona} "), model_name(base, ""), f"{base}x",
        model_name(f"{base}x", persona), f"{others[-1]},{others[0]}",
    ]  # fmt: skip
    text = examiner.settings.questions[0]
    for number, name in enumerate(names, 1):
        examiner.report("unknown names", number, len(names))
        if not name.strip() or name in listed:
            continue
        try:
            reply = examiner.server.ask(name, text, max_tokens=examiner.settings.max_tokens)
        except ServerError as problem:
            if not problem.is_refusal:
                if problem.status is None:
                    raise
                result.fail(problem)
            else:
                result.requests += 1
            continue
        result.requests += 1
        whom = next(
            (
                title(voice)
                for voice in examiner.models
                if compare(examiner.own[voice, text, None], reply, examiner.tolerance).alike
            ),
            "nobody",
        )
        result.leak(WrongAnswer(name, text, "the name", whom, "a refusal", reply.text))
    return result


def check_seeds(examiner: Examiner) -> CheckResult:
    """Draw with seeds, alone and in a crowd; skipped where a seed alone does not repeat."""
    result = CheckResult("seeds", "draws with a seed, alone and in a crowd")
    text = examiner.settings.questions[0]
    asks = [Ask(voice, text, seed) for voice in examiner.models for seed in (1, 2)]
    first, second = (examiner.one_by_one("seeds", asks) for _ in range(2))
    for ask, one, other in zip(asks, first, second, strict=True):
        if isinstance(one, ServerError) or isinstance(other, ServerError):
            problem = one if isinstance(one, ServerError) else other
            assert isinstance(problem, ServerError)
            if problem.is_refusal:
                result.skipped = f"the server takes no seed: {problem}"
                return result
            result.fail(problem)
            return result
        likeness = compare(one, other, examiner.tolerance, drawn=True)
        if likeness.alike and likeness.parted is not None:
            result.skipped = "a seed does not repeat an answer, even alone"
            return result
        examiner.own[ask.voice, ask.text, ask.seed] = one
        examiner.hold(result, ask, other)
    crowd = asks * examiner.settings.rounds
    random.Random(1).shuffle(crowd)
    examiner.hold_all(result, crowd, examiner.crowd("seeds in a crowd", crowd))
    return result


def check_streams(examiner: Examiner) -> CheckResult:
    """Ask for streams, all at once: they must say what whole answers say."""
    result = CheckResult("streams", "streams against whole answers")
    asks = [ask._replace(stream=True) for ask in everything(examiner)]
    examiner.hold_all(result, asks, examiner.crowd("streams", asks))
    return result


def everything(examiner: Examiner) -> list[Ask]:
    """Return all questions to all voices."""
    return [Ask(voice, text) for voice in examiner.models for text in examiner.settings.questions]


def _turned(items: list[str | None], by: int) -> list[str | None]:
    by %= len(items)
    return items[by:] + items[:by]
