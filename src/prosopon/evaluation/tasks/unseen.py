"""``unseen``: paired choice between sentences of kinds that the embedded model never saw."""

from typing import ClassVar

from prosopon.data.grammar.exam import ChoiceKind, choice_items
from prosopon.evaluation.choice import win
from prosopon.evaluation.speaking import OptionQuestion, Speaker
from prosopon.evaluation.tasks.base import TASKS, Outcome, Setting, TaskResult

KINDS: tuple[ChoiceKind, ...] = ("values", "forms")


class Unseen:
    """The questions of ``choice`` with answers whose values, or forms too, are new to the model."""

    name = "unseen"
    summary = "paired choice between answers of new values and of new forms (embedded model)"
    measures: ClassVar = {
        "values": "share of questions whose answer with unseen values is likelier per token",
        "forms": "the same for answers of unseen forms",
    }

    def refuses(self, setting: Setting, *, writes: bool) -> str | None:
        """See :class:`~prosopon.evaluation.tasks.base.Task`."""
        if setting.contrast.bundled:
            return None
        return "only of the embedded model is it known what it never saw"

    def run(self, speaker: Speaker, setting: Setting) -> TaskResult:
        """See :class:`~prosopon.evaluation.tasks.base.Task`."""
        outcomes = []
        for kind in KINDS:
            items = choice_items(
                setting.contrast.target, setting.questions, seed=setting.seed, kind=kind
            )
            scores = speaker.score([OptionQuestion(i.prompt, i.answers, False) for i in items])
            outcomes += [
                Outcome(item.question, {kind: win(score, "per-token")})
                for item, score in zip(items, scores, strict=True)
            ]
        return TaskResult(outcomes)


TASKS.add("unseen", Unseen())
