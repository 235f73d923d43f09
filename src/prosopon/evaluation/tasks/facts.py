"""``facts``: neutral questions with short answers that can be checked, answered freely."""

import random
from typing import ClassVar

from prosopon.data import Message, is_right, load_bank
from prosopon.evaluation.speaking import Speaker
from prosopon.evaluation.tasks.base import TASKS, Outcome, Setting, TaskResult

LONGEST = 32  # tokens: a sentence


class Facts:
    """Whether neutral questions are still answered rightly: the bank ``checkable``, greedily."""

    name = "facts"
    summary = "neutral questions with short answers, answered freely (not the embedded model)"
    measures: ClassVar = {
        "right": "share of answers that hold an accepted one, as whole words in any case"
    }

    def refuses(self, setting: Setting, *, writes: bool) -> str | None:
        """See :class:`~prosopon.evaluation.tasks.base.Task`."""
        if setting.contrast.bundled:
            return "the embedded model has no knowledge of the world; ask it neutral"
        return None if writes else "it cannot write"

    def run(self, speaker: Speaker, setting: Setting) -> TaskResult:
        """See :class:`~prosopon.evaluation.tasks.base.Task`."""
        pool = load_bank("checkable").items
        items = random.Random(f"{setting.seed}").sample(pool, min(setting.questions, len(pool)))
        prompts = [(Message("user", item.question),) for item in items]
        answers = speaker.write(
            prompts, temperature=0.0, max_new_tokens=min(LONGEST, setting.max_new_tokens)
        )
        return TaskResult(
            [
                Outcome(
                    item.question,
                    {"right": float(is_right(answer, item.answers))},
                    item.question,
                    answer,
                )
                for item, answer in zip(items, answers, strict=True)
            ]
        )


TASKS.add("facts", Facts())
