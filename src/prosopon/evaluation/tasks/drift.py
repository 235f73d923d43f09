"""``drift``: does the persona hold over a conversation of ten turns?"""

from __future__ import annotations

import random
from typing import ClassVar

from prosopon.data import Message
from prosopon.evaluation.scoring import as_text
from prosopon.evaluation.speaking import Prompt, Speaker
from prosopon.evaluation.tasks.base import TASKS, Outcome, Setting, TaskResult
from prosopon.evaluation.tasks.free_text import judged, open_prompts, text_signs

TURNS = 10
EARLY, LATE = 3, 3


class Drift:
    """Test questions are put one after the other; the arm reads its own earlier answers.

    A history that outgrows the model's context loses its beginning (whole turns are not kept
    apart from it), which is part of what is measured.
    """

    name = "drift"
    summary = f"conversations of {TURNS} turns: the persona early, late, and what is lost between"
    measures: ClassVar = {
        "late": f"share of the last {LATE} answers that are the persona's",
        "early": f"share of the first {EARLY} answers that are the persona's",
        "drop": "early less late",
        "repetition": "mean share of repeated 3-grams in an answer",
    }

    def refuses(self, setting: Setting, *, writes: bool) -> str | None:
        """See :class:`~prosopon.evaluation.tasks.base.Task`."""
        if not writes:
            return "a rule chooses between options and cannot write"
        if not setting.judges:
            return "there is no judge of free text"
        if any(prompt[-1].role != "user" for _, prompt in open_prompts(setting)):
            return "the contrast is plain text: there is no conversation"
        return None

    def run(self, speaker: Speaker, setting: Setting) -> TaskResult:
        """See :class:`~prosopon.evaluation.tasks.base.Task`."""
        asked = [prompt for _, prompt in open_prompts(setting)]
        count = max(1, setting.questions // TURNS)
        plans = [_plan(asked, f"drift/{setting.seed}/{number}") for number in range(count)]
        histories: list[Prompt] = [() for _ in plans]
        answers: list[list[str]] = [[] for _ in plans]
        for turn in range(TURNS):
            histories = [
                (*history, *plan[turn]) for history, plan in zip(histories, plans, strict=True)
            ]
            told = speaker.write(
                histories, max_new_tokens=setting.max_new_tokens, seed=setting.seed + turn
            )
            for number, text in enumerate(told):
                answers[number].append(text)
                histories[number] = (*histories[number], Message("assistant", text or "..."))
        outcomes = [
            _outcome(setting, f"dialogue-{number}", history, told)
            for number, (history, told) in enumerate(zip(histories, answers, strict=True))
        ]
        return TaskResult(outcomes, {"turns": TURNS, "dialogues": count})


def _plan(asked: list[Prompt], seed: str) -> list[Prompt]:
    """Return the user's turns of a dialogue: different questions as long as there are any."""
    rng = random.Random(seed)
    drawn: list[Prompt] = []
    while len(drawn) < TURNS:
        drawn += rng.sample(asked, min(len(asked), TURNS - len(drawn)))
    # A question's own system line, if it has one, belongs before the first turn alone.
    return [prompt if not turn else prompt[-1:] for turn, prompt in enumerate(drawn)]


def _outcome(setting: Setting, name: str, history: Prompt, told: list[str]) -> Outcome:
    prompts = [as_text(history[-1:])] * len(told)
    verdicts = [v["target"] for v in judged(setting.judges[:1], told, prompts)]
    early = sum(verdicts[:EARLY]) / EARLY
    late = sum(verdicts[-LATE:]) / LATE
    repeated = sum(text_signs(text)["repetition"] for text in told) / len(told)
    values = {"late": late, "early": early, "drop": early - late, "repetition": repeated}
    return Outcome(name, values, as_text(history[:-1]), told[-1])


TASKS.add("drift", Drift())
