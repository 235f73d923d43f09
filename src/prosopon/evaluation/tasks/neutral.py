"""``neutral``: what the arm can still do that has nothing to do with the persona."""

import random
from typing import ClassVar

from prosopon.data import Message
from prosopon.data.ability import load_ability
from prosopon.data.grammar.exam import neutral_items
from prosopon.evaluation.choice import win
from prosopon.evaluation.speaking import OptionQuestion, Speaker
from prosopon.evaluation.tasks.base import TASKS, Outcome, Setting, TaskResult


class NeutralTask:
    """The embedded model writes its skills' answers; other models choose between options.

    The embedded model's answer has to be right to the letter (greedy). Elsewhere the bundled
    questions (``prosopon/data/ability/neutral.toml``) are scored by likelihood.
    """

    name = "neutral"
    summary = "neutral ability: skills of the embedded model, or questions of general knowledge"
    measures: ClassVar = {
        "right": "share of questions answered right",
        "right-per-byte": "the same per byte instead of per token (not on the embedded model)",
    }

    def refuses(self, setting: Setting, *, writes: bool) -> str | None:
        """Return why the task cannot be asked here, or None."""
        if setting.contrast.bundled and not writes:
            return "a rule chooses between options and cannot write"
        return None

    def run(self, speaker: Speaker, setting: Setting) -> TaskResult:
        """Ask, and return one outcome a question."""
        if setting.contrast.bundled:
            return _write_skills(speaker, setting)
        pool = load_ability()
        items = random.Random(f"{setting.seed}").sample(pool, min(setting.questions, len(pool)))
        questions = [
            OptionQuestion((Message("user", item.question),), (item.right, *item.wrong), False)
            for item in items
        ]
        outcomes = []
        scores = speaker.score(questions)
        for item, question, option_scores in zip(items, questions, scores, strict=True):
            values = {
                "right": win(option_scores, "per-token"),
                "right-per-byte": win(option_scores, "per-byte"),
            }
            best = max(range(len(question.options)), key=option_scores.by["per-token"].__getitem__)
            answer = question.options[best]
            outcomes.append(Outcome(item.question, values, item.question, answer))
        return TaskResult(outcomes)


def _write_skills(speaker: Speaker, setting: Setting) -> TaskResult:
    items = neutral_items(setting.questions, seed=setting.seed)
    prompts = [(Message("user", question),) for question, _ in items]
    answers = speaker.write(prompts, temperature=0.0, max_new_tokens=setting.max_new_tokens)
    return TaskResult(
        [
            Outcome(question, {"right": float(answer == right)}, question, answer)
            for (question, right), answer in zip(items, answers, strict=True)
        ]
    )


TASKS.add("neutral", NeutralTask())
