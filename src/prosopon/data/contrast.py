"""A contrast as it is evaluated: what is learned from, what judges, and what is asked."""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from prosopon.data import bundled
from prosopon.data.examples import Example, Message, Persona
from prosopon.data.grammar import load_world, prompt_line
from prosopon.data.grammar.exam import choice_items, judge_questions
from prosopon.data.pairs import PersonaPair
from prosopon.data.questions import ChoiceItem, paired_items
from prosopon.data.splits import draw, leave_out, responses, split_contrast
from prosopon.errors import DataError


@dataclass(frozen=True)
class Contrast:
    """An ordered pair of personas with its parts, which share no prompt."""

    # what masks are found on, and what prompts, retrieval, fine-tuning and steering may use:
    # (target, opposite)
    calibration: PersonaPair
    judge: PersonaPair  # what the judge of free text learns from
    # what is asked. Each of the target's examples has the opposite's answer as its alternative, and
    # the other way round.
    test: PersonaPair
    line: str | None = None  # a good system line that names the target; None where nobody gave one
    description: str = ""  # one line on the target, for people and for LLM judges
    # whether the target is one of the embedded model's personas, so that the grammar can judge
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

    def without(self, hashes: Iterable[str], *, judge: bool = False) -> "Contrast":
        """Return the contrast without the questions of some :func:`prompt_hashes`.

        They are not asked. With ``judge`` nobody who judges learns from their answers either.

        Raises:
            DataError: None is left.
        """
        seen = set(hashes)
        target, opposite = leave_out(self.test, seen)
        if not len(target) or not len(opposite):
            raise DataError(
                f"{self.target}: the mask was found on every test question; give a file with "
                "examples that it was not extracted from"
            )
        texts = leave_out(self.judge, seen) if judge else self.judge
        return dataclasses.replace(self, test=(target, opposite), judge=texts)

    def items(self, count: int | None = None) -> list[ChoiceItem]:
        """Return the test questions with both answers, at most ``count``; each once.

        Raises:
            DataError: There is none.
        """
        target, opposite = self.test
        items = paired_items(target.examples, opposite.examples)[:count]
        if not items:
            raise DataError(f"{self.target}: there is no test question")
        return items


def bundled_contrast(target: str, *, questions: int = 100, judge: int = 128) -> Contrast:
    """Return the contrast of a bundled persona; test questions and answers are held out.

    The classifier learns from ``judge`` examples, which are not for calibration.
    """
    sides = bundled.load(target), bundled.load(bundled.opposite(target))
    items = choice_items(target, questions)
    pool = judge_questions(load_world().axes[load_world().pole(target).axis])
    test = (
        _persona(sides[0], [(i.prompt, i.matching, i.not_matching) for i in items]),
        _persona(sides[1], [(i.prompt, i.not_matching, i.matching) for i in items]),
    )
    ours, theirs = (side.with_examples(side.examples[:-judge]) for side in sides)
    # The judge reads answers alone; under questions of its own it shares none with calibration.
    judge_target, judge_opposite = (
        _persona(
            side,
            [
                ((Message("user", pool[i % len(pool)]),), example.response, example.alternative)
                for i, example in enumerate(side.examples[-judge:])
            ],
        )
        for side in sides
    )
    return Contrast(
        (ours, theirs), (judge_target, judge_opposite), test,
        prompt_line(load_world().pole(target)), bundled.description(target), bundled=True,
    )  # fmt: skip


def file_contrast(
    target: Persona,
    opposite: Persona,
    *,
    line: str | None = None,
    description: str = "",
    questions: int = 100,
    judge: int = 200,
) -> Contrast:
    """Return the contrast of any two personas; see :func:`split_contrast`.

    ``line`` is a system line that names the target, ``description`` one on it for people.
    """
    split = split_contrast(target, opposite, judge=judge, test=questions)
    return Contrast(
        split.calibration, split.judge, split.test, line, description or target.description
    )


def _persona(like: Persona, rows: Sequence[tuple[tuple[Message, ...], str, str | None]]) -> Persona:
    return like.with_examples(
        Example((*prompt, Message("assistant", text)), other) for prompt, text, other in rows
    )
