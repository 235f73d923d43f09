"""``choice``: does the arm find the persona's answer likelier than its opposite's?"""

from typing import ClassVar

from prosopon.data.questions import prompt_text
from prosopon.evaluation.choice import margin, win
from prosopon.evaluation.speaking import NORMALISATIONS, OptionQuestion, Speaker
from prosopon.evaluation.tasks.base import TASKS, Outcome, Setting, TaskResult


class ChoiceTask:
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
        """Return why the task cannot be asked here, or None: any contrast will do."""
        return None

    def run(self, speaker: Speaker, setting: Setting) -> TaskResult:
        """Ask, and return one outcome a question."""
        items = setting.contrast.items(setting.questions)
        scores = speaker.score([OptionQuestion(item.prompt, item.answers) for item in items])
        outcomes = []
        for item, option_scores in zip(items, scores, strict=True):
            values: dict[str, float] = {
                normalisation: win(option_scores, normalisation) for normalisation in NORMALISATIONS
            }
            values["margin"] = margin(option_scores, "per-token")
            chosen = item.matching if values["per-token"] > 0.5 else item.not_matching
            outcomes.append(Outcome(item.question, values, prompt_text(item.prompt), chosen))
        return TaskResult(outcomes)


TASKS.add("choice", ChoiceTask())
