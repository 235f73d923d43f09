"""``yes-no``: statements that the persona agrees or disagrees with, answered Yes or No."""

from typing import ClassVar

from prosopon.data.questions import ChoiceItem, prompt_text
from prosopon.evaluation.choice import win
from prosopon.evaluation.speaking import OptionQuestion, Speaker
from prosopon.evaluation.tasks.base import TASKS, Outcome, Setting, TaskResult

WORDS = ("yes", "no")


class YesNoTask:
    """Both words are scored after the statement, in both orders of asking for the rules' sake.

    Yes and No are one token each in most vocabularies, so all normalisations agree there; the
    share of Yes says how much of the rate is a liking for one word.
    """

    name = "yes-no"
    summary = "Yes/No statements (model-written-evals), with the share of Yes beside the rate"
    measures: ClassVar = {
        "per-token": "share of statements answered as the persona would",
        "calibrated": "the same less each word's likelihood after an empty question",
        "yes": "share answered Yes",
        "when-yes": "the rate where the persona says Yes",
        "when-no": "the rate where the persona says No",
    }

    def refuses(self, setting: Setting, *, writes: bool) -> str | None:
        """Return why the task cannot be asked here, or None."""
        if any(_is_yes_no(item) for item in setting.contrast.items()):
            return None
        return "no test question of this contrast is answered Yes or No"

    def run(self, speaker: Speaker, setting: Setting) -> TaskResult:
        """Ask, and return one outcome a question."""
        items = [p for p in setting.contrast.items() if _is_yes_no(p)][: setting.questions]
        scores = speaker.score([OptionQuestion(item.prompt, item.answers) for item in items])
        outcomes = []
        for item, option_scores in zip(items, scores, strict=True):
            won = win(option_scores, "per-token")
            says_yes = _word(item.matching) == "yes"
            values = {
                "per-token": won,
                "calibrated": win(option_scores, "calibrated"),
                "yes": won if says_yes else 1 - won,
                "when-yes" if says_yes else "when-no": won,
            }
            chosen = item.matching if won > 0.5 else item.not_matching
            outcomes.append(Outcome(item.question, values, prompt_text(item.prompt), chosen))
        return TaskResult(outcomes)


def _is_yes_no(item: ChoiceItem) -> bool:
    return sorted(map(_word, (item.matching, item.not_matching))) == sorted(WORDS)


def _word(answer: str) -> str:
    return answer.strip().strip(".!").casefold()


TASKS.add("yes-no", YesNoTask())
