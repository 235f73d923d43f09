"""``choice``: does the arm find the persona's answer likelier than its opposite's?"""

from __future__ import annotations

from typing import ClassVar

from prosopon.evaluation.choice import margin, win
from prosopon.evaluation.speaking import NORMALISATIONS, OptionQuestion, Speaker, as_text
from prosopon.evaluation.tasks.base import TASKS, Outcome, Setting, TaskResult
from prosopon.evaluation.tasks.pairs import pairings


class Choice:
    """Both answers of every test question are scored, each after the question alone.

    The two do not stand in one prompt, so there is no order to swap; ``a-b`` asks that way.
    """

    name = "choice"
    summary = "paired choice: which of two answers is likelier, under four normalisations"
    measures: ClassVar = {
        "per-token": "share of questions whose matching answer is likelier per token",
        "summed": "the same by summed log-likelihood, which favours short answers",
        "per-byte": "the same per byte",
        "calibrated": "the same less each answer's likelihood after an empty question",
        "margin": "nats per token between the matching answer and the other",
    }

    def refuses(self, setting: Setting, *, writes: bool) -> str | None:
        """See :class:`~prosopon.evaluation.tasks.base.Task`; any contrast will do."""
        return None

    def run(self, speaker: Speaker, setting: Setting) -> TaskResult:
        """See :class:`~prosopon.evaluation.tasks.base.Task`."""
        asked = pairings(setting.contrast, setting.questions)
        scores = speaker.score([OptionQuestion(p.prompt, (p.matching, p.other)) for p in asked])
        outcomes = []
        for pairing, found in zip(asked, scores, strict=True):
            values: dict[str, float] = {each: win(found, each) for each in NORMALISATIONS}
            values["margin"] = margin(found, "per-token")
            chosen = pairing.matching if values["per-token"] > 0.5 else pairing.other
            outcomes.append(Outcome(pairing.question, values, as_text(pairing.prompt), chosen))
        return TaskResult(outcomes)


TASKS.add("choice", Choice())
