"""``perplexity``: how well the arm still predicts general text."""

from typing import ClassVar

from prosopon.evaluation.speaking import Speaker
from prosopon.evaluation.tasks.base import TASKS, Outcome, Setting, TaskResult


class PerplexityTask:
    """General text is read without anything before it, so a prompt changes nothing here.

    A perplexity is ``exp(sum of nats / sum of tokens)``; single texts only feed the sums.
    """

    name = "perplexity"
    summary = "held-out general text: nats and tokens, whose ratio gives the perplexity"
    measures: ClassVar = {
        "nats-per-token": "negative log-likelihood per token of a text",
        "nats": "the same, summed over the text",
        "tokens": "predicted tokens of the text",
    }

    def refuses(self, setting: Setting, *, writes: bool) -> str | None:
        """Return why the task cannot be asked here, or None."""
        if not writes:
            return "a rule chooses between options and cannot read text"
        return None if setting.general else "there is no general text"

    def run(self, speaker: Speaker, setting: Setting) -> TaskResult:
        """Ask, and return one outcome a question."""
        losses = speaker.losses(setting.general)
        return TaskResult(
            [
                Outcome(
                    f"text-{number}",
                    {"nats-per-token": nats / tokens, "nats": nats, "tokens": float(tokens)},
                )
                for number, (nats, tokens) in enumerate(losses)
                if tokens
            ]
        )


TASKS.add("perplexity", PerplexityTask())
