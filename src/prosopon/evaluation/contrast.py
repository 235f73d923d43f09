"""A contrast as it is evaluated: what is learned from, what judges, and what is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prosopon.data import Example, Message, Persona, load_persona
from prosopon.data.bundled import description
from prosopon.data.bundled import opposite as other_end
from prosopon.data.grammar import load_world, prompt_line
from prosopon.data.pairs import PersonaPair
from prosopon.data.splits import draw, responses, split_contrast
from prosopon.evaluation.grammar_tasks import choice_items


@dataclass(frozen=True)
class Contrast:
    """An ordered pair of personas with its parts, which share no prompt.

    Attributes:
        calibration: What masks are found on, and what prompts, retrieval, fine-tuning and
            steering may use: (target, opposite).
        judge: What the judge of free text learns from.
        test: What is asked. Each of the target's examples has the opposite's answer as its
            alternative, and the other way round.
        line: A good system line that names the target; None where nobody gave one.
        description: One line on the target, for people and for LLM judges.
        bundled: Whether the target is one of the embedded model's personas, so that the grammar
            can judge.
    """

    calibration: PersonaPair
    judge: PersonaPair
    test: PersonaPair
    line: str | None = None
    description: str = ""
    bundled: bool = False

    @property
    def target(self) -> str:
        """Name of the target."""
        return self.calibration[0].name

    @property
    def opposite(self) -> str:
        """Name of the opposite."""
        return self.calibration[1].name

    def drawn(self, count: int, seed: int) -> PersonaPair:
        """Return ``count`` calibration examples of each side, the same rows of both.

        Raises:
            DataError: There are fewer.
        """
        target, opposite = self.calibration
        return draw(target, count, seed), draw(opposite, count, seed)

    def judge_texts(self) -> tuple[list[str], list[str]]:
        """Return the answers that the judge learns from: the target's, the opposite's."""
        target, opposite = self.judge
        return responses(target.examples), responses(opposite.examples)

    def exchanged(self, line: str | None = None, description: str = "") -> Contrast:
        """Return the contrast whose target is this one's opposite."""
        return Contrast(
            self.calibration[::-1], self.judge[::-1], self.test[::-1], line, description,
            self.bundled,
        )  # fmt: skip


def bundled_contrast(target: str, *, questions: int = 100, judge: int = 128) -> Contrast:
    """Return the contrast of a bundled persona; test questions and answers are held out.

    Args:
        target: Its name.
        questions: Test questions.
        judge: Examples that the classifier learns from; they are not for calibration.

    Raises:
        UnknownNameError: No such persona; the message lists them.
    """
    ours, theirs = load_persona(target), load_persona(other_end(target))
    items = choice_items(target, questions)
    test = (
        _persona(ours, [(i.prompt, i.matching, i.not_matching) for i in items]),
        _persona(theirs, [(i.prompt, i.not_matching, i.matching) for i in items]),
    )

    def part(examples: slice) -> PersonaPair:
        first, second = (
            Persona(each.name, each.examples[examples], each.description) for each in (ours, theirs)
        )
        return first, second

    return Contrast(
        part(slice(None, -judge)),
        part(slice(-judge, None)),
        test,
        prompt_line(load_world().pole(target)),
        description(target),
        bundled=True,
    )


def file_contrast(
    target: Persona,
    opposite: Persona,
    *,
    line: str | None = None,
    description: str = "",
    questions: int = 100,
    judge: int = 200,
) -> Contrast:
    """Return the contrast of any two personas, split by prompt.

    Args:
        target: All examples of the target.
        opposite: All examples of the opposite.
        line: A system line that names the target.
        description: One line on the target.
        questions: Most prompts for the test; never more than a quarter of all.
        judge: Most prompts for the judge; likewise.

    Raises:
        DataError: A part of a side stays empty.
    """
    split = split_contrast(target, opposite, judge=judge, test=questions)
    told = description or target.description
    return Contrast(split.calibration, split.judge, split.test, line, told)


def _persona(like: Persona, rows: Sequence[tuple[tuple[Message, ...], str, str]]) -> Persona:
    examples = tuple(
        Example((*prompt, Message("assistant", told)), other) for prompt, told, other in rows
    )
    return Persona(like.name, examples, like.description)
