"""``cross-talk``: what the arm does to every other axis of the embedded model."""

import hashlib
from collections.abc import Sequence
from typing import ClassVar

from prosopon.data.grammar import Axis, judge, load_world
from prosopon.data.grammar.exam import choice_items, free_prompts
from prosopon.data.questions import prompt_text
from prosopon.evaluation.choice import win
from prosopon.evaluation.speaking import OptionQuestion, Speaker
from prosopon.evaluation.tasks.base import TASKS, Outcome, Setting, TaskResult


class CrossTalkTask:
    """Choices and free answers on the other axes.

    The arm's rate of choices less the base's is its cross-talk. In free text a persona should
    speak where it is asked for, and not answer every question.
    """

    name = "cross-talk"
    summary = "choices and free answers on the other axes of the embedded model"
    measures: ClassVar = {
        "choice:AXIS": "share of an axis's questions whose first pole's answer is likelier",
        "out-of-place": "share of free answers to other axes' questions that are the persona's",
        "astray": "share of them that are neither pole's of the axis that was asked about",
    }

    def refuses(self, setting: Setting, *, writes: bool) -> str | None:
        """Return why the task cannot be asked here, or None."""
        if setting.contrast.bundled:
            return None
        return "other axes are known of the embedded model's personas only"

    def run(self, speaker: Speaker, setting: Setting) -> TaskResult:
        """Ask, and return one outcome a question."""
        world = load_world()
        own = world.pole(setting.contrast.target).axis
        others = [axis for name, axis in world.axes.items() if name != own]
        outcomes = choices(speaker, setting, others)
        if speaker.writes:
            outcomes += answers(speaker, setting, others)
        return TaskResult(outcomes)


def choices(speaker: Speaker, setting: Setting, others: Sequence[Axis]) -> list[Outcome]:
    """Return paired choices on the axes."""
    count = max(1, setting.questions // len(others))
    questions = [
        (axis.name, OptionQuestion(item.prompt, item.answers, False))
        for axis in others
        for item in choice_items(axis.poles[0].name, count, seed=setting.seed)
    ]
    scores = speaker.score([question for _, question in questions])
    return [
        Outcome(
            _id(axis, prompt_text(question.prompt)),
            {f"choice:{axis}": win(option_scores, "per-token")},
        )
        for (axis, question), option_scores in zip(questions, scores, strict=True)
    ]


def answers(speaker: Speaker, setting: Setting, others: Sequence[Axis]) -> list[Outcome]:
    """Return free answers on the axes, a third as many as choices."""
    count = -(-setting.questions // (3 * len(others)))
    questions = [
        (axis, prompt)
        for axis in others
        for prompt in free_prompts(axis.poles[0].name, count, seed=setting.seed)
    ]
    texts = speaker.write(
        [prompt for _, prompt in questions],
        temperature=setting.temperature,
        max_new_tokens=setting.max_new_tokens,
        seed=setting.seed,
    )
    target, opposite = setting.contrast.target, setting.contrast.opposite
    outcomes = []
    for (axis, prompt), text in zip(questions, texts, strict=True):
        one, other = (pole.name for pole in axis.poles)
        values = {
            "out-of-place": float(judge(text, target, opposite) == "target"),
            "astray": float(judge(text, one, other) == "neither"),
        }
        shown = prompt_text(prompt)
        outcomes.append(Outcome(f"free-{_id(axis.name, shown)}", values, shown, text))
    return outcomes


def _id(axis: str, prompt: str) -> str:
    """Return an id that says what is asked, so that it is the same with another seed."""
    return f"{axis}-{hashlib.sha256(prompt.encode()).hexdigest()[:10]}"


TASKS.add("cross-talk", CrossTalkTask())
