"""``cross-talk``: what the arm does to every other axis of the embedded model."""

from __future__ import annotations

from typing import ClassVar

from prosopon.data.grammar import load_world
from prosopon.evaluation.grammar_tasks import choice_items
from prosopon.evaluation.scoring import win
from prosopon.evaluation.speaking import OptionQuestion, Speaker
from prosopon.evaluation.tasks.base import TASKS, Outcome, Setting, TaskResult


class CrossTalk:
    """Paired choices on the other axes; the arm's rate less the base's is its cross-talk."""

    name = "cross-talk"
    summary = "choices on the other axes of the embedded model, to be compared with the base's"
    measures: ClassVar = {
        "choice:AXIS": "share of an axis's questions whose first pole's answer is likelier",
    }

    def refuses(self, setting: Setting, *, writes: bool) -> str | None:
        """See :class:`~prosopon.evaluation.tasks.base.Task`."""
        if setting.contrast.bundled:
            return None
        return "other axes are known of the embedded model's personas only"

    def run(self, speaker: Speaker, setting: Setting) -> TaskResult:
        """See :class:`~prosopon.evaluation.tasks.base.Task`."""
        world = load_world()
        own = world.pole(setting.contrast.target).axis
        others = [axis for name, axis in world.axes.items() if name != own]
        count = max(1, setting.questions // len(others))
        asked = [
            (axis.name, number, OptionQuestion(item.prompt, (item.matching, item.not_matching)))
            for axis in others
            for number, item in enumerate(
                choice_items(axis.poles[0].name, count, seed=setting.seed)
            )
        ]
        scores = speaker.score([question for _, _, question in asked])
        outcomes = [
            Outcome(f"{axis}-{number}", {f"choice:{axis}": win(found, "per-token")})
            for (axis, number, _), found in zip(asked, scores, strict=True)
        ]
        return TaskResult(outcomes)


TASKS.add("cross-talk", CrossTalk())
