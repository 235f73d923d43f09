"""``a-b``: both answers stand in the question, lettered, in both orders."""

from typing import ClassVar

from prosopon.data import Message
from prosopon.data.questions import ChoiceItem, prompt_text
from prosopon.evaluation.choice import win
from prosopon.evaluation.speaking import OptionQuestion, Prompt, Speaker
from prosopon.evaluation.tasks.base import TASKS, Outcome, Setting, TaskResult

LETTERS = ("A", "B")


class LettersTask:
    """The letter is scored, once with the matching answer under A and once under B.

    An arm that only likes a letter is right half of the time and never consistent.
    """

    name = "a-b"
    summary = "two-choice questions A/B, each asked in both orders"
    measures: ClassVar = {
        "per-token": "share of questions answered as the persona would, over both orders",
        "consistent": "share whose answer is the same in both orders",
        "consistent-match": "share answered as the persona would in both orders",
        "a": "share of A",
    }

    def refuses(self, setting: Setting, *, writes: bool) -> str | None:
        """Return why the task cannot be asked here, or None."""
        if any(p.prompt and p.prompt[-1].role == "user" for p in setting.contrast.items()):
            return None
        return "the contrast is plain text: there is no question to put options into"

    def run(self, speaker: Speaker, setting: Setting) -> TaskResult:
        """Ask, and return one outcome a question."""
        items = [p for p in setting.contrast.items() if p.prompt and p.prompt[-1].role == "user"]
        items = items[: setting.questions]
        orders = [(lettered(p, 0), lettered(p, 1)) for p in items]
        scores = speaker.score([OptionQuestion(p, LETTERS, False) for both in orders for p in both])
        outcomes = []
        for number, item in enumerate(items):
            first = win(scores[2 * number], "per-token", 0)  # matching under A
            second = win(scores[2 * number + 1], "per-token", 1)  # matching under B
            values = {
                "per-token": (first + second) / 2,
                "consistent": float(first == second != 0.5),
                "consistent-match": float(first == second == 1),
                "a": (first + 1 - second) / 2,
            }
            text = prompt_text(orders[number][0])
            outcomes.append(Outcome(item.question, values, text, f"{first:g} {second:g}"))
        return TaskResult(outcomes)


def lettered(item: ChoiceItem, place: int) -> Prompt:
    """Return the question with both answers as options, the matching one at ``place``."""
    options = [item.not_matching, item.not_matching]
    options[place] = item.matching
    lines = [
        f"({letter}) {answer.strip()}" for letter, answer in zip(LETTERS, options, strict=True)
    ]
    question = item.prompt[-1].content
    text = "\n".join([question, *lines, "Answer with A or B."])
    return (*item.prompt[:-1], Message("user", text))


TASKS.add("a-b", LettersTask())
