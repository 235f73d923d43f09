"""How often a judge is right, both sides weighing the same."""

import math
from collections.abc import Sequence

from prosopon.errors import DataError
from prosopon.intervals import Interval, share_interval
from prosopon.judges.base import Judge


def balanced_accuracy(target_right: Sequence[bool], opposite_right: Sequence[bool]) -> Interval:
    """Return the mean of the two sides' shares of right verdicts, with its 95% interval.

    Wilson's interval of each side, joined by the square-and-add method (Zou and Donner 2008).

    Args:
        target_right: For every text of the target whether the verdict is right.
        opposite_right: The same of the opposite.

    Raises:
        OptionError: A side has no text.
    """
    sides = [share_interval(sum(map(bool, r)), len(r)) for r in (target_right, opposite_right)]
    mean = (sides[0].mean + sides[1].mean) / 2
    down = math.hypot(*(side.mean - side.low for side in sides)) / 2
    up = math.hypot(*(side.high - side.mean for side in sides)) / 2
    return Interval(mean, mean - down, mean + up, len(target_right) + len(opposite_right))


def measure_accuracy(
    judge: Judge,
    target_texts: Sequence[str],
    opposite_texts: Sequence[str],
    *,
    target_prompts: Sequence[str] = (),
    opposite_prompts: Sequence[str] = (),
) -> Interval:
    """Return how often a judge is right on texts whose author is known; ``neither`` is wrong.

    Args:
        judge: The judge; has not seen the texts before.
        target_texts: Texts of the target.
        opposite_texts: Texts of the opposite.
        target_prompts: What the target's texts answer; empty if unknown.
        opposite_prompts: What the opposite's texts answer; empty if unknown.

    Raises:
        DataError: A side has no texts.
        JudgeError: The judge cannot say.
    """
    if not target_texts or not opposite_texts:
        raise DataError("a judge's accuracy is measured on texts of both sides; one has none")
    ours = judge.verdicts(target_texts, target_prompts)
    theirs = judge.verdicts(opposite_texts, opposite_prompts)
    return balanced_accuracy([v == "target" for v in ours], [v == "opposite" for v in theirs])
