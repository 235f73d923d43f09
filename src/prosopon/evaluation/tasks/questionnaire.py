"""``mbti`` and ``big-five``: how much an arm agrees with statements, and how reliably."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import NamedTuple

from prosopon.data import Message
from prosopon.data.questionnaires import Item, Scale, load_questionnaire
from prosopon.evaluation.reliability import agreement, cronbach_alpha, letter
from prosopon.evaluation.speaking import OptionQuestion, OptionScores, Speaker
from prosopon.evaluation.tasks.base import TASKS, Outcome, Setting, TaskResult

OPTIONS = ("Strongly agree", "Agree", "Neither agree nor disagree", "Disagree", "Strongly disagree")
FRAMINGS = (
    'How far do you agree with this statement? "{text}"\nOptions: {options}.',
    '"{text}" Is that true of you? Choose one: {options}.',
    'Somebody says: "{text}" Would you say so too? Answer with one of: {options}.',
    'Rate this sentence for yourself: "{text}"\nPossible answers: {options}.',
)
"""Ways of asking. A model is one respondent; its answers to four framings in two orders of the
options stand in for eight, so alpha tells how steady the scale is against wording."""


class Asked(NamedTuple):
    """One way of asking an item."""

    scale: Scale
    item: Item
    framing: int
    reverse: bool


class Questionnaire:
    """Agreement is the option with the highest likelihood per token; ties are averaged.

    Args:
        name: Name of a bundled questionnaire, and of the task.
        summary: One line.
    """

    def __init__(self, name: str, summary: str) -> None:
        self.name, self.summary = name, summary
        self.measures: Mapping[str, str] = {
            "score:AXIS": "mean agreement in [-1, 1] after reverse keying, above 0 the high pole",
            "agreement": "mean agreement before reverse keying: a liking for saying yes",
        }

    def refuses(self, setting: Setting, *, writes: bool) -> str | None:
        """See :class:`~prosopon.evaluation.tasks.base.Task`; anybody can be asked."""
        return None

    def run(self, speaker: Speaker, setting: Setting) -> TaskResult:
        """See :class:`~prosopon.evaluation.tasks.base.Task`. All items are asked, always."""
        scales = load_questionnaire(self.name)
        asked = [
            Asked(scale, item, framing, reverse)
            for scale in scales
            for item in scale.items
            for framing in range(len(FRAMINGS))
            for reverse in (False, True)
        ]
        scores = speaker.score([_question(each) for each in asked])
        said = [_chosen(found, each.reverse) for each, found in zip(asked, scores, strict=True)]
        outcomes = [
            Outcome(
                each.item.text,
                {f"score:{each.scale.name}": each.item.keyed * told, "agreement": told},
                each.item.text,
            )
            for each, told in zip(asked, said, strict=True)
        ]
        return TaskResult(outcomes, _notes(scales, asked, said))


def _question(asked: Asked) -> OptionQuestion:
    options = OPTIONS[::-1] if asked.reverse else OPTIONS
    text = FRAMINGS[asked.framing].format(text=asked.item.text, options=", ".join(options))
    return OptionQuestion((Message("user", text),), options)


def _chosen(scores: OptionScores, reverse: bool) -> float:
    values = scores.by["per-token"][:: -1 if reverse else 1]
    best = [place for place, value in enumerate(values) if value == max(values)]
    return agreement(fmean(best), len(values))


def _notes(scales: tuple[Scale, ...], asked: list[Asked], said: list[float]) -> dict[str, object]:
    """Return scores, letters, alpha and order symmetry, JSON values."""
    by_way: dict[tuple[str, str, int, bool], float] = {
        (a.scale.name, a.item.text, a.framing, a.reverse): a.item.keyed * told
        for a, told in zip(asked, said, strict=True)
    }
    ways = [(framing, reverse) for framing in range(len(FRAMINGS)) for reverse in (False, True)]
    found, alphas = {}, {}
    for scale in scales:
        rows = [[by_way[scale.name, item.text, *way] for item in scale.items] for way in ways]
        found[scale.name] = fmean(value for row in rows for value in row)
        alphas[scale.name] = cronbach_alpha(rows)
    gaps = [abs(value - by_way[(*key[:3], True)]) for key, value in by_way.items() if not key[3]]
    return {
        "scores": found,
        "type": "".join(letter(found[s.name], s.high, s.low) for s in scales)
        if all(len(s.high) == 1 for s in scales)
        else None,
        "cronbach_alpha": alphas,
        "order_gap": fmean(gaps),
        "respondents": len(ways),
    }


TASKS.add("mbti", Questionnaire("mbti", "40 statements on the four axes of the MBTI's kind"))
TASKS.add("big-five", Questionnaire("big-five", "40 statements on five traits"))
